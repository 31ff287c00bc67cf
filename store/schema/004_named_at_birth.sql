-- Keys that are named at birth.  A key has its name, and with it its label on the
-- token, before any CSR; it is made and used before its row is written, and the row
-- is active from the start.

-- CKA_LABEL of both objects of the key: its name.  Keys of before have "csrd:<id>".
-- key_id is their CKA_ID; of a key with a name the 16 bytes of that.
ALTER TABLE csrs ADD COLUMN key_label TEXT;

UPDATE csrs SET key_label = 'csrd:' || id WHERE pem IS NOT NULL;

CREATE UNIQUE INDEX csrs_key_label ON csrs (key_label);

-- Rows that are pending are those of before; they only end.
DROP TRIGGER csrs_start_pending;

CREATE TRIGGER csrs_start_active BEFORE INSERT ON csrs
WHEN NEW.state <> 2 OR NEW.key_label IS NULL
BEGIN
	SELECT RAISE(ABORT, 'csrs: a row starts active, with the label of its key');
END;

-- A create that came to nothing is recorded before its key is destroyed: no row comes after that.
CREATE TRIGGER csrs_shut BEFORE INSERT ON csrs
WHEN EXISTS (SELECT 1 FROM audit WHERE object = NEW.id AND action = 'csr.failed')
BEGIN
	SELECT RAISE(ABORT, 'csrs: a create that has failed exists already');
END;

DROP TRIGGER csrs_legal_move;

CREATE TRIGGER csrs_legal_move BEFORE UPDATE OF state ON csrs
WHEN NOT ((OLD.state = 1 AND NEW.state = 5) OR (OLD.state = 2 AND NEW.state = 3) OR
	(OLD.state = 3 AND NEW.state = 4))
BEGIN
	SELECT RAISE(ABORT, 'csrs: not a legal move of state');
END;

DROP TRIGGER csrs_key_fixed;

CREATE TRIGGER csrs_key_fixed BEFORE UPDATE OF pem, key_label, key_id, spki_sha256, protection ON csrs
BEGIN
	SELECT RAISE(ABORT, 'csrs: the key of a CSR never changes');
END;

DROP TRIGGER csrs_key_new;

DROP TRIGGER csrs_new;

CREATE TRIGGER csrs_new BEFORE INSERT ON csrs
WHEN EXISTS (SELECT 1 FROM csrs WHERE rowid = NEW.rowid) OR EXISTS (SELECT 1 FROM csrs WHERE id = NEW.id)
	OR EXISTS (SELECT 1 FROM csrs WHERE key_label = NEW.key_label)
	OR EXISTS (SELECT 1 FROM csrs WHERE key_id = NEW.key_id)
	OR EXISTS (SELECT 1 FROM csrs WHERE spki_sha256 = NEW.spki_sha256)
BEGIN
	SELECT RAISE(ABORT, 'csrs: exists already');
END;

DROP TRIGGER csrs_count_insert_account;

CREATE TRIGGER csrs_count_insert_account AFTER INSERT ON csrs
WHEN NEW.zone_id IS NULL
BEGIN
	UPDATE accounts SET csr_count = csr_count + 1, csr_active = csr_active + 1 WHERE id = NEW.account_id;
END;

DROP TRIGGER csrs_count_insert_zone;

CREATE TRIGGER csrs_count_insert_zone AFTER INSERT ON csrs
WHEN NEW.zone_id IS NOT NULL
BEGIN
	UPDATE zones SET csr_count = csr_count + 1, csr_active = csr_active + 1 WHERE id = NEW.zone_id;
END;
