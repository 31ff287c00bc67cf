-- The first schema.  Times are microseconds since 1970, UTC.  Rules that must
-- hold whoever writes are said here, in constraints and triggers, and not only
-- in the program.

-- Which program brought the schema to which version, and when.  The version in
-- force is PRAGMA user_version.
CREATE TABLE schema_history (
	version INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	program TEXT NOT NULL,
	applied_us INTEGER NOT NULL
) STRICT;

-- csr_count: CSRs that count towards the quota (pending, active, deleting).
-- csr_active: active ones, the total of a list.  Both are kept by the triggers
-- below, so that neither a create nor a list counts rows.
CREATE TABLE accounts (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL,
	csr_quota INTEGER NOT NULL CHECK (csr_quota >= -1),
	csr_count INTEGER NOT NULL DEFAULT 0 CHECK (csr_count >= 0),
	csr_active INTEGER NOT NULL DEFAULT 0 CHECK (csr_active >= 0),
	created_us INTEGER NOT NULL
) STRICT;

CREATE TABLE zones (
	id TEXT PRIMARY KEY,
	account_id TEXT NOT NULL REFERENCES accounts (id),
	name TEXT NOT NULL,
	csr_quota INTEGER NOT NULL CHECK (csr_quota >= -1),
	csr_count INTEGER NOT NULL DEFAULT 0 CHECK (csr_count >= 0),
	csr_active INTEGER NOT NULL DEFAULT 0 CHECK (csr_active >= 0),
	created_us INTEGER NOT NULL
) STRICT;

-- kind: 1 API token, 2 user.  A time of 0 is none.
CREATE TABLE principals (
	id TEXT PRIMARY KEY,
	kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
	name TEXT NOT NULL,
	secret_hash BLOB NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
	created_us INTEGER NOT NULL,
	not_before_us INTEGER NOT NULL,
	expires_us INTEGER NOT NULL,
	revoked_us INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX principals_user_name ON principals (name COLLATE NOCASE) WHERE kind = 2 AND revoked_us = 0;

-- permission: 1 read, 2 write.  Exactly one of account_id and zone_id is set.
CREATE TABLE grants (
	principal_id TEXT NOT NULL REFERENCES principals (id),
	account_id TEXT REFERENCES accounts (id),
	zone_id TEXT REFERENCES zones (id),
	permission INTEGER NOT NULL CHECK (permission IN (1, 2)),
	CHECK ((account_id IS NULL) <> (zone_id IS NULL)),
	UNIQUE (principal_id, account_id),
	UNIQUE (principal_id, zone_id)
) STRICT;

-- state: 1 pending, 2 active, 3 deleting, 4 destroyed, 5 failed.
-- zone_id is NULL for a CSR of the account itself.
-- sans: one "type value" a line, in the order given.  The names are always
-- written and read whole and never searched, so they need no table of their own.
-- key_id and spki_sha256 stay when the key is destroyed: no two CSRs ever share a key.
CREATE TABLE csrs (
	id TEXT PRIMARY KEY,
	account_id TEXT NOT NULL REFERENCES accounts (id),
	zone_id TEXT REFERENCES zones (id),
	token_name TEXT NOT NULL,
	principal_id TEXT NOT NULL,
	state INTEGER NOT NULL CHECK (state IN (1, 2, 3, 4, 5)),
	created_us INTEGER NOT NULL,
	updated_us INTEGER NOT NULL,
	key_type INTEGER NOT NULL,
	country TEXT NOT NULL,
	province TEXT NOT NULL,
	locality TEXT NOT NULL,
	organization TEXT NOT NULL,
	organizational_unit TEXT,
	common_name TEXT NOT NULL,
	sans TEXT NOT NULL,
	name TEXT,
	description TEXT,
	pem TEXT,
	key_id BLOB UNIQUE CHECK (length(key_id) = 16),
	spki_sha256 BLOB UNIQUE CHECK (length(spki_sha256) = 32),
	protection INTEGER,
	CHECK ((state IN (2, 3, 4)) = (pem IS NOT NULL)),
	CHECK ((pem IS NULL) = (key_id IS NULL)),
	CHECK ((pem IS NULL) = (spki_sha256 IS NULL)),
	CHECK ((pem IS NULL) = (protection IS NULL))
) STRICT;

-- Lists of active CSRs, one index an order (account_tag is the same for all of a scope).
CREATE INDEX csrs_active_created ON csrs (account_id, zone_id, created_us, id) WHERE state = 2;
CREATE INDEX csrs_active_name ON csrs (account_id, zone_id, name, id) WHERE state = 2;
CREATE INDEX csrs_active_id ON csrs (account_id, zone_id, id) WHERE state = 2;
-- What reconciliation has to settle: few rows among many.
CREATE INDEX csrs_unsettled ON csrs (id) WHERE state IN (1, 3);

CREATE TRIGGER csrs_start_pending BEFORE INSERT ON csrs
WHEN NEW.state <> 1
BEGIN
	SELECT RAISE(ABORT, 'csrs: a row starts pending');
END;

CREATE TRIGGER csrs_legal_move BEFORE UPDATE OF state ON csrs
WHEN NOT ((OLD.state = 1 AND NEW.state IN (2, 5)) OR (OLD.state = 2 AND NEW.state = 3) OR
	(OLD.state = 3 AND NEW.state = 4))
BEGIN
	SELECT RAISE(ABORT, 'csrs: not a legal move of state');
END;

CREATE TRIGGER csrs_fixed BEFORE UPDATE OF id, account_id, zone_id, token_name, principal_id, created_us, key_type,
	country, province, locality, organization, organizational_unit, common_name, sans, name, description ON csrs
BEGIN
	SELECT RAISE(ABORT, 'csrs: this column never changes');
END;

CREATE TRIGGER csrs_key_fixed BEFORE UPDATE OF pem, key_id, spki_sha256, protection ON csrs
WHEN OLD.state <> 1
BEGIN
	SELECT RAISE(ABORT, 'csrs: the key of a CSR never changes');
END;

CREATE TRIGGER csrs_kept BEFORE DELETE ON csrs
BEGIN
	SELECT RAISE(ABORT, 'csrs: rows are never deleted');
END;

CREATE TRIGGER csrs_count_insert_account AFTER INSERT ON csrs
WHEN NEW.zone_id IS NULL
BEGIN
	UPDATE accounts SET csr_count = csr_count + 1 WHERE id = NEW.account_id;
END;

CREATE TRIGGER csrs_count_insert_zone AFTER INSERT ON csrs
WHEN NEW.zone_id IS NOT NULL
BEGIN
	UPDATE zones SET csr_count = csr_count + 1 WHERE id = NEW.zone_id;
END;

CREATE TRIGGER csrs_count_move_account AFTER UPDATE OF state ON csrs
WHEN NEW.zone_id IS NULL
BEGIN
	UPDATE accounts SET
		csr_count = csr_count + (NEW.state IN (1, 2, 3)) - (OLD.state IN (1, 2, 3)),
		csr_active = csr_active + (NEW.state = 2) - (OLD.state = 2)
	WHERE id = NEW.account_id;
END;

CREATE TRIGGER csrs_count_move_zone AFTER UPDATE OF state ON csrs
WHEN NEW.zone_id IS NOT NULL
BEGIN
	UPDATE zones SET
		csr_count = csr_count + (NEW.state IN (1, 2, 3)) - (OLD.state IN (1, 2, 3)),
		csr_active = csr_active + (NEW.state = 2) - (OLD.state = 2)
	WHERE id = NEW.zone_id;
END;

-- Written in the transaction of the change it tells of; never changed after.
CREATE TABLE audit (
	sequence INTEGER PRIMARY KEY,
	at_us INTEGER NOT NULL,
	action TEXT NOT NULL,
	object TEXT NOT NULL,
	actor TEXT NOT NULL,
	request_id TEXT NOT NULL,
	peer TEXT NOT NULL,
	detail TEXT NOT NULL
) STRICT;

CREATE INDEX audit_object ON audit (object, sequence);

CREATE TRIGGER audit_no_gap AFTER INSERT ON audit
WHEN NEW.sequence <> 1 AND NOT EXISTS (SELECT 1 FROM audit WHERE sequence = NEW.sequence - 1)
BEGIN
	SELECT RAISE(ABORT, 'audit: the sequence has no gaps');
END;

CREATE TRIGGER audit_fixed BEFORE UPDATE ON audit
BEGIN
	SELECT RAISE(ABORT, 'audit: records never change');
END;

CREATE TRIGGER audit_kept BEFORE DELETE ON audit
BEGIN
	SELECT RAISE(ABORT, 'audit: records are never deleted');
END;

-- scope_kind: 1 account, 2 zone.
CREATE TABLE idempotency (
	principal_id TEXT NOT NULL,
	scope_kind INTEGER NOT NULL CHECK (scope_kind IN (1, 2)),
	scope_id TEXT NOT NULL,
	key TEXT NOT NULL,
	csr_id TEXT NOT NULL REFERENCES csrs (id),
	request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
	created_us INTEGER NOT NULL,
	UNIQUE (principal_id, scope_kind, scope_id, key)
) STRICT;

CREATE INDEX idempotency_csr ON idempotency (csr_id);
CREATE INDEX idempotency_created ON idempotency (created_us);
