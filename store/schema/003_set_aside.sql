-- A store that went back in time.  A CSR that was being made or deleted at the
-- instant of a backup or a snapshot went on to its end afterwards: its caller may
-- hold a 201 for it.  When the store goes back to that instant its row is set
-- aside, and its key is destroyed by nobody but a person, or a new DELETE.

-- 0: no.  Else when: the row was pending (and is failed since) or deleting then.
ALTER TABLE csrs ADD COLUMN set_aside_us INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER csrs_set_aside_later BEFORE INSERT ON csrs
WHEN NEW.set_aside_us <> 0
BEGIN
	SELECT RAISE(ABORT, 'csrs: a row does not start set aside');
END;

CREATE TRIGGER csrs_set_aside_stays BEFORE UPDATE OF set_aside_us ON csrs
WHEN NEW.set_aside_us <> OLD.set_aside_us AND NOT (OLD.set_aside_us = 0 AND NEW.set_aside_us > 0 AND
	((OLD.state = 1 AND NEW.state = 5) OR (OLD.state = 3 AND NEW.state = 3)))
BEGIN
	SELECT RAISE(ABORT, 'csrs: only an open row is set aside, once and for good');
END;

-- Under which name the signer of a token remembers this store.  A new one is drawn
-- whenever the store went back, so that what the signer remembers under the old
-- one vouches for nothing any more.  No row: no signer has seen this store yet.
CREATE TABLE lineages (
	token_name TEXT PRIMARY KEY,
	lineage BLOB NOT NULL CHECK (length(lineage) = 16)
) STRICT;
