-- API tokens and users under control: where they may be used from, when they were
-- last used, and secrets that were replaced.

-- networks: ", " between them, in the form of base/address.h; '': anywhere.
-- last_used_us: noted once an hour at most; 0: never.
ALTER TABLE principals ADD COLUMN networks TEXT NOT NULL DEFAULT '';
ALTER TABLE principals ADD COLUMN last_used_us INTEGER NOT NULL DEFAULT 0;

-- A secret that has another in its place, and until when it is valid beside it.
-- It stays here, so that it never comes back.
CREATE TABLE replaced_secrets (
	secret_hash BLOB PRIMARY KEY CHECK (length(secret_hash) = 32),
	principal_id TEXT NOT NULL REFERENCES principals (id),
	until_us INTEGER NOT NULL
) STRICT;

CREATE INDEX replaced_secrets_principal ON replaced_secrets (principal_id);

-- A secret changes only when the one before is among the replaced ones.
DROP TRIGGER principals_fixed;

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
