-- What is written once stays, whoever writes.  INSERT OR REPLACE and UPDATE OR
-- REPLACE take away the rows that are in their way, and no delete trigger hears
-- of it (unless the writer has set PRAGMA recursive_triggers), so each key of
-- each table is guarded before the row comes.  A rowid is a key too.  Where a new
-- row's is left to SQLite it is -1 in a BEFORE trigger, so no row may have that.
-- "exists already" is what the program knows these refusals by.

-- csrs: ids, and the keys of CSRs (no two ever share one).
CREATE TRIGGER csrs_new BEFORE INSERT ON csrs
WHEN EXISTS (SELECT 1 FROM csrs WHERE rowid = NEW.rowid) OR EXISTS (SELECT 1 FROM csrs WHERE id = NEW.id)
	OR EXISTS (SELECT 1 FROM csrs WHERE key_id = NEW.key_id)
	OR EXISTS (SELECT 1 FROM csrs WHERE spki_sha256 = NEW.spki_sha256)
BEGIN
	SELECT RAISE(ABORT, 'csrs: exists already');
END;

CREATE TRIGGER csrs_rowid AFTER INSERT ON csrs
WHEN NEW.rowid < 1
BEGIN
	SELECT RAISE(ABORT, 'csrs: a rowid is positive');
END;

CREATE TRIGGER csrs_key_new BEFORE UPDATE OF key_id, spki_sha256 ON csrs
WHEN EXISTS (SELECT 1 FROM csrs WHERE key_id = NEW.key_id AND rowid <> OLD.rowid)
	OR EXISTS (SELECT 1 FROM csrs WHERE spki_sha256 = NEW.spki_sha256 AND rowid <> OLD.rowid)
BEGIN
	SELECT RAISE(ABORT, 'csrs: exists already');
END;

CREATE TRIGGER csrs_rowid_fixed BEFORE UPDATE ON csrs
WHEN NEW.rowid <> OLD.rowid
BEGIN
	SELECT RAISE(ABORT, 'csrs: a rowid never changes');
END;

-- audit: updates and deletes are refused since the first schema.
CREATE TRIGGER audit_new BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE sequence = NEW.sequence)
BEGIN
	SELECT RAISE(ABORT, 'audit: exists already');
END;

CREATE TRIGGER accounts_new BEFORE INSERT ON accounts
WHEN EXISTS (SELECT 1 FROM accounts WHERE rowid = NEW.rowid) OR EXISTS (SELECT 1 FROM accounts WHERE id = NEW.id)
BEGIN
	SELECT RAISE(ABORT, 'accounts: exists already');
END;

CREATE TRIGGER accounts_rowid AFTER INSERT ON accounts
WHEN NEW.rowid < 1
BEGIN
	SELECT RAISE(ABORT, 'accounts: a rowid is positive');
END;

CREATE TRIGGER accounts_fixed BEFORE UPDATE ON accounts
WHEN NEW.rowid <> OLD.rowid OR NEW.id <> OLD.id OR NEW.created_us <> OLD.created_us
BEGIN
	SELECT RAISE(ABORT, 'accounts: this column never changes');
END;

CREATE TRIGGER accounts_kept BEFORE DELETE ON accounts
BEGIN
	SELECT RAISE(ABORT, 'accounts: rows are never deleted');
END;

CREATE TRIGGER zones_new BEFORE INSERT ON zones
WHEN EXISTS (SELECT 1 FROM zones WHERE rowid = NEW.rowid) OR EXISTS (SELECT 1 FROM zones WHERE id = NEW.id)
BEGIN
	SELECT RAISE(ABORT, 'zones: exists already');
END;

CREATE TRIGGER zones_rowid AFTER INSERT ON zones
WHEN NEW.rowid < 1
BEGIN
	SELECT RAISE(ABORT, 'zones: a rowid is positive');
END;

CREATE TRIGGER zones_fixed BEFORE UPDATE ON zones
WHEN NEW.rowid <> OLD.rowid OR NEW.id <> OLD.id OR NEW.account_id <> OLD.account_id OR
	NEW.created_us <> OLD.created_us
BEGIN
	SELECT RAISE(ABORT, 'zones: this column never changes');
END;

CREATE TRIGGER zones_kept BEFORE DELETE ON zones
BEGIN
	SELECT RAISE(ABORT, 'zones: rows are never deleted');
END;

-- principals: a revoked one stays revoked, so that its name cannot come back to push a later user out.
CREATE TRIGGER principals_new BEFORE INSERT ON principals
WHEN EXISTS (SELECT 1 FROM principals WHERE rowid = NEW.rowid)
	OR EXISTS (SELECT 1 FROM principals WHERE id = NEW.id)
	OR EXISTS (SELECT 1 FROM principals WHERE secret_hash = NEW.secret_hash)
	OR (NEW.kind = 2 AND NEW.revoked_us = 0 AND EXISTS (SELECT 1 FROM principals
		WHERE kind = 2 AND revoked_us = 0 AND name = NEW.name COLLATE NOCASE))
BEGIN
	SELECT RAISE(ABORT, 'principals: exists already');
END;

CREATE TRIGGER principals_rowid AFTER INSERT ON principals
WHEN NEW.rowid < 1
BEGIN
	SELECT RAISE(ABORT, 'principals: a rowid is positive');
END;

CREATE TRIGGER principals_fixed BEFORE UPDATE ON principals
WHEN NEW.rowid <> OLD.rowid OR NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.name <> OLD.name OR
	NEW.secret_hash <> OLD.secret_hash OR NEW.created_us <> OLD.created_us
BEGIN
	SELECT RAISE(ABORT, 'principals: this column never changes');
END;

CREATE TRIGGER principals_stay_revoked BEFORE UPDATE OF revoked_us ON principals
WHEN OLD.revoked_us <> 0 AND NEW.revoked_us <> OLD.revoked_us
BEGIN
	SELECT RAISE(ABORT, 'principals: revoked once and for all');
END;

CREATE TRIGGER principals_kept BEFORE DELETE ON principals
BEGIN
	SELECT RAISE(ABORT, 'principals: rows are never deleted');
END;

CREATE TRIGGER grants_new BEFORE INSERT ON grants
WHEN EXISTS (SELECT 1 FROM grants WHERE rowid = NEW.rowid)
	OR EXISTS (SELECT 1 FROM grants WHERE principal_id = NEW.principal_id AND account_id = NEW.account_id)
	OR EXISTS (SELECT 1 FROM grants WHERE principal_id = NEW.principal_id AND zone_id = NEW.zone_id)
BEGIN
	SELECT RAISE(ABORT, 'grants: exists already');
END;

CREATE TRIGGER grants_rowid AFTER INSERT ON grants
WHEN NEW.rowid < 1
BEGIN
	SELECT RAISE(ABORT, 'grants: a rowid is positive');
END;

CREATE TRIGGER grants_fixed BEFORE UPDATE ON grants
BEGIN
	SELECT RAISE(ABORT, 'grants: grants never change');
END;

CREATE TRIGGER grants_kept BEFORE DELETE ON grants
BEGIN
	SELECT RAISE(ABORT, 'grants: rows are never deleted');
END;

-- idempotency: a key is forgotten, but never means another CSR.
CREATE TRIGGER idempotency_new BEFORE INSERT ON idempotency
WHEN EXISTS (SELECT 1 FROM idempotency WHERE rowid = NEW.rowid)
	OR EXISTS (SELECT 1 FROM idempotency WHERE principal_id = NEW.principal_id
		AND scope_kind = NEW.scope_kind AND scope_id = NEW.scope_id AND key = NEW.key)
BEGIN
	SELECT RAISE(ABORT, 'idempotency: exists already');
END;

CREATE TRIGGER idempotency_rowid AFTER INSERT ON idempotency
WHEN NEW.rowid < 1
BEGIN
	SELECT RAISE(ABORT, 'idempotency: a rowid is positive');
END;

CREATE TRIGGER idempotency_fixed BEFORE UPDATE ON idempotency
WHEN NEW.rowid <> OLD.rowid OR NEW.principal_id <> OLD.principal_id OR NEW.scope_kind <> OLD.scope_kind OR
	NEW.scope_id <> OLD.scope_id OR NEW.key <> OLD.key OR NEW.csr_id <> OLD.csr_id OR
	NEW.request_hash <> OLD.request_hash
BEGIN
	SELECT RAISE(ABORT, 'idempotency: keys never change');
END;

CREATE TRIGGER schema_history_new BEFORE INSERT ON schema_history
WHEN EXISTS (SELECT 1 FROM schema_history WHERE version = NEW.version)
BEGIN
	SELECT RAISE(ABORT, 'schema_history: exists already');
END;

CREATE TRIGGER schema_history_fixed BEFORE UPDATE ON schema_history
BEGIN
	SELECT RAISE(ABORT, 'schema_history: records never change');
END;

CREATE TRIGGER schema_history_kept BEFORE DELETE ON schema_history
BEGIN
	SELECT RAISE(ABORT, 'schema_history: records are never deleted');
END;

-- One row that says nothing, to be written when a write has failed and it is to
-- be seen whether the next would succeed.
CREATE TABLE write_probe (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	filling BLOB NOT NULL
) STRICT;

INSERT INTO write_probe (id, filling) VALUES (1, x'');
