-- Callers without a secret: principals that are known by a client certificate or
-- as users of this machine.  Those with a secret may have such identities, too.

-- kind: 3 is one without a secret.  The table is made anew, since a CHECK cannot be
-- changed, and with it those that refer to it; their rowids stay.
CREATE TABLE principals_7 (
	id TEXT PRIMARY KEY,
	kind INTEGER NOT NULL CHECK (kind IN (1, 2, 3)),
	name TEXT NOT NULL,
	secret_hash BLOB UNIQUE CHECK (length(secret_hash) = 32),
	created_us INTEGER NOT NULL,
	not_before_us INTEGER NOT NULL,
	expires_us INTEGER NOT NULL,
	revoked_us INTEGER NOT NULL,
	networks TEXT NOT NULL DEFAULT '',
	last_used_us INTEGER NOT NULL DEFAULT 0,
	CHECK ((kind = 3) = (secret_hash IS NULL))
) STRICT;

INSERT INTO principals_7 (rowid, id, kind, name, secret_hash, created_us, not_before_us, expires_us, revoked_us,
	networks, last_used_us)
	SELECT rowid, id, kind, name, secret_hash, created_us, not_before_us, expires_us, revoked_us, networks,
	last_used_us FROM principals ORDER BY rowid;

CREATE TABLE grants_7 (
	principal_id TEXT NOT NULL REFERENCES principals_7 (id),
	account_id TEXT REFERENCES accounts (id),
	zone_id TEXT REFERENCES zones (id),
	permission INTEGER NOT NULL CHECK (permission IN (1, 2)),
	CHECK ((account_id IS NULL) <> (zone_id IS NULL)),
	UNIQUE (principal_id, account_id),
	UNIQUE (principal_id, zone_id)
) STRICT;

INSERT INTO grants_7 (rowid, principal_id, account_id, zone_id, permission)
	SELECT rowid, principal_id, account_id, zone_id, permission FROM grants ORDER BY rowid;

CREATE TABLE replaced_secrets_7 (
	secret_hash BLOB PRIMARY KEY CHECK (length(secret_hash) = 32),
	principal_id TEXT NOT NULL REFERENCES principals_7 (id),
	until_us INTEGER NOT NULL
) STRICT;

INSERT INTO replaced_secrets_7 (rowid, secret_hash, principal_id, until_us)
	SELECT rowid, secret_hash, principal_id, until_us FROM replaced_secrets ORDER BY rowid;

DROP TABLE replaced_secrets;
DROP TABLE grants;
DROP TABLE principals;
ALTER TABLE principals_7 RENAME TO principals;
ALTER TABLE grants_7 RENAME TO grants;
ALTER TABLE replaced_secrets_7 RENAME TO replaced_secrets;

CREATE UNIQUE INDEX principals_user_name ON principals (name COLLATE NOCASE) WHERE kind = 2 AND revoked_us = 0;

-- As in 002, which says why; principals_fixed is in 005.
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

-- As in 005.
CREATE INDEX replaced_secrets_principal ON replaced_secrets (principal_id);

CREATE TRIGGER principals_fixed BEFORE UPDATE ON principals
WHEN NEW.rowid <> OLD.rowid OR NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.name <> OLD.name OR
	NEW.created_us <> OLD.created_us OR NEW.networks <> OLD.networks OR
	(NEW.secret_hash IS NOT OLD.secret_hash AND (NEW.secret_hash IS NULL OR NOT EXISTS
		(SELECT 1 FROM replaced_secrets WHERE secret_hash = OLD.secret_hash AND principal_id = OLD.id)))
BEGIN
	SELECT RAISE(ABORT, 'principals: this column never changes');
END;

CREATE TRIGGER principals_secret_new BEFORE UPDATE OF secret_hash ON principals
WHEN EXISTS (SELECT 1 FROM principals WHERE secret_hash = NEW.secret_hash)
	OR EXISTS (SELECT 1 FROM replaced_secrets WHERE secret_hash = NEW.secret_hash)
BEGIN
	SELECT RAISE(ABORT, 'principals: exists already');
END;

CREATE TRIGGER principals_secret_replaced BEFORE INSERT ON principals
WHEN EXISTS (SELECT 1 FROM replaced_secrets WHERE secret_hash = NEW.secret_hash)
BEGIN
	SELECT RAISE(ABORT, 'principals: exists already');
END;

CREATE TRIGGER principals_used BEFORE UPDATE OF last_used_us ON principals
WHEN NEW.last_used_us < OLD.last_used_us
BEGIN
	SELECT RAISE(ABORT, 'principals: the last use does not go back');
END;

CREATE TRIGGER replaced_secrets_new BEFORE INSERT ON replaced_secrets
WHEN EXISTS (SELECT 1 FROM replaced_secrets WHERE secret_hash = NEW.secret_hash)
	OR EXISTS (SELECT 1 FROM replaced_secrets WHERE rowid = NEW.rowid)
BEGIN
	SELECT RAISE(ABORT, 'replaced_secrets: exists already');
END;

CREATE TRIGGER replaced_secrets_fixed BEFORE UPDATE ON replaced_secrets
WHEN NEW.rowid <> OLD.rowid OR NEW.secret_hash <> OLD.secret_hash OR NEW.principal_id <> OLD.principal_id OR
	NEW.until_us > OLD.until_us
BEGIN
	SELECT RAISE(ABORT, 'replaced_secrets: all that changes is that one ends sooner');
END;

CREATE TRIGGER replaced_secrets_rowid AFTER INSERT ON replaced_secrets
WHEN NEW.rowid < 1
BEGIN
	SELECT RAISE(ABORT, 'replaced_secrets: a rowid is positive');
END;

CREATE TRIGGER replaced_secrets_kept BEFORE DELETE ON replaced_secrets
BEGIN
	SELECT RAISE(ABORT, 'replaced_secrets: rows are never deleted');
END;

-- kind: 1 URI, 2 DNS name, 3 e-mail address, 4 subject, 5 number of a user.
-- value: in the form in which it is compared.  removed_us: 0 as long as it counts.
-- It belongs to one principal at a time; what was removed may be another's later.
CREATE TABLE identities (
	id INTEGER PRIMARY KEY,
	kind INTEGER NOT NULL CHECK (kind IN (1, 2, 3, 4, 5)),
	value TEXT NOT NULL CHECK (value <> ''),
	principal_id TEXT NOT NULL REFERENCES principals (id),
	added_us INTEGER NOT NULL,
	removed_us INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX identities_in_force ON identities (kind, value) WHERE removed_us = 0;
CREATE INDEX identities_value ON identities (kind, value);
CREATE INDEX identities_principal ON identities (principal_id);

CREATE TRIGGER identities_new BEFORE INSERT ON identities
WHEN EXISTS (SELECT 1 FROM identities WHERE id = NEW.id)
	OR (NEW.removed_us = 0 AND EXISTS (SELECT 1 FROM identities
		WHERE kind = NEW.kind AND value = NEW.value AND removed_us = 0))
BEGIN
	SELECT RAISE(ABORT, 'identities: exists already');
END;

CREATE TRIGGER identities_id AFTER INSERT ON identities
WHEN NEW.id < 1
BEGIN
	SELECT RAISE(ABORT, 'identities: an id is positive');
END;

CREATE TRIGGER identities_of_revoked BEFORE INSERT ON identities
WHEN NOT EXISTS (SELECT 1 FROM principals WHERE id = NEW.principal_id AND revoked_us = 0)
BEGIN
	SELECT RAISE(ABORT, 'identities: their principal is there and not revoked');
END;

CREATE TRIGGER identities_fixed BEFORE UPDATE ON identities
WHEN NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.value <> OLD.value OR NEW.principal_id <> OLD.principal_id OR
	NEW.added_us <> OLD.added_us OR OLD.removed_us <> 0 OR NEW.removed_us = 0
BEGIN
	SELECT RAISE(ABORT, 'identities: all that changes is that one is removed, once and for all');
END;

CREATE TRIGGER identities_kept BEFORE DELETE ON identities
BEGIN
	SELECT RAISE(ABORT, 'identities: rows are never deleted');
END;

-- Those of a revoked principal are free for another.
CREATE TRIGGER identities_end AFTER UPDATE OF revoked_us ON principals
WHEN OLD.revoked_us = 0 AND NEW.revoked_us <> 0
BEGIN
	UPDATE identities SET removed_us = NEW.revoked_us WHERE principal_id = NEW.id AND removed_us = 0;
END;
