-- What an account or a zone demands of the CSRs that are made for it (api/policy.h).
-- A policy is never changed: a new version takes its place, and the old ones stay, so
-- that it can always be said which rules a CSR was made under.
CREATE TABLE policies (
	account_id TEXT REFERENCES accounts (id),
	zone_id TEXT REFERENCES zones (id),
	version INTEGER NOT NULL CHECK (version >= 1),
	made_us INTEGER NOT NULL,
	made_by TEXT NOT NULL,
	document TEXT NOT NULL,
	CHECK ((account_id IS NULL) <> (zone_id IS NULL)),
	UNIQUE (account_id, version),
	UNIQUE (zone_id, version)
) STRICT;

CREATE TRIGGER policies_new BEFORE INSERT ON policies
WHEN EXISTS (SELECT 1 FROM policies WHERE rowid = NEW.rowid)
	OR EXISTS (SELECT 1 FROM policies WHERE account_id = NEW.account_id AND version = NEW.version)
	OR EXISTS (SELECT 1 FROM policies WHERE zone_id = NEW.zone_id AND version = NEW.version)
BEGIN
	SELECT RAISE(ABORT, 'policies: exists already');
END;

CREATE TRIGGER policies_in_turn BEFORE INSERT ON policies
WHEN NEW.version <> 1 + (SELECT coalesce(max(version), 0) FROM policies
	WHERE account_id = NEW.account_id OR zone_id = NEW.zone_id)
BEGIN
	SELECT RAISE(ABORT, 'policies: versions follow each other');
END;

CREATE TRIGGER policies_rowid AFTER INSERT ON policies
WHEN NEW.rowid < 1
BEGIN
	SELECT RAISE(ABORT, 'policies: a rowid is positive');
END;

CREATE TRIGGER policies_fixed BEFORE UPDATE ON policies
BEGIN
	SELECT RAISE(ABORT, 'policies: a version never changes');
END;

CREATE TRIGGER policies_kept BEFORE DELETE ON policies
BEGIN
	SELECT RAISE(ABORT, 'policies: versions are never deleted');
END;

-- The versions that were in force when the row came; 0: none.
ALTER TABLE csrs ADD COLUMN account_policy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE csrs ADD COLUMN zone_policy INTEGER NOT NULL DEFAULT 0;

-- A CSR that was judged by a policy that is no longer in force gets no row.
CREATE TRIGGER csrs_policy_in_force BEFORE INSERT ON csrs
WHEN NEW.account_policy <> (SELECT coalesce(max(version), 0) FROM policies WHERE account_id = NEW.account_id)
	OR NEW.zone_policy <> (SELECT coalesce(max(version), 0) FROM policies WHERE zone_id = NEW.zone_id)
BEGIN
	SELECT RAISE(ABORT, 'csrs: made under a policy that is not in force');
END;

CREATE TRIGGER csrs_policy_fixed BEFORE UPDATE OF account_policy, zone_policy ON csrs
BEGIN
	SELECT RAISE(ABORT, 'csrs: this column never changes');
END;
