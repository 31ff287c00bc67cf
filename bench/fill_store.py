#!/usr/bin/python3
"""Fills a store with active CSRs, as csrd adds them and under all rules of the schema.

    fill_store.py DATABASE ACCOUNT ROWS PEM_FILE [--keys FILE] [--ids FILE]

csrd must not run; the account must be there.  ROWS is how many active CSRs the account has afterwards.
--keys   writes the key id of each, 16 bytes, for fake_signer
--ids    writes the UUIDs, one a line
"""
import argparse
import base64
import pathlib
import sqlite3

BATCH = 50000
PRINCIPAL = "00000000-0000-4000-8000-000000000000"

# One UUID of version 4.
UUID = """lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' ||
    substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"""

ADD = """
WITH RECURSIVE n (i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :end),
    keys (i, key) AS MATERIALIZED (SELECT i, randomblob(16) FROM n)
INSERT INTO csrs (id, account_id, token_name, principal_id, state, created_us, updated_us, key_type, country, province,
    locality, organization, common_name, sans, name, pem, key_label, key_id, spki_sha256, protection)
SELECT %s, :account, 'default', :principal, 2, 1700000000000000 + i * 1000000, 1700000000000000 + i * 1000000, 2, 'US',
    'California', 'San Francisco', 'Example, Inc.', 'host-' || i || '.example.com',
    'dns host-' || i || '.example.com' || char(10) || 'dns www.host-' || i || '.example.com' || char(10), 'host ' || i,
    :pem, key_name(key), key, randomblob(32), :protection
FROM keys
""" % UUID

AUDIT = """
INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)
SELECT created_us, 'csr.active', id, principal_id, '', '127.0.0.1', '' FROM csrs WHERE rowid > :last
"""

PROTECTION = 0xef  # token, private, sensitive, always sensitive, never extractable, local, sign


def key_name(key):
    return "csrd-" + base64.b32encode(key).decode().rstrip("=").lower()


def fill(db, account, rows, pem):
    """Brings the account to `rows` active CSRs."""
    have, = db.execute("SELECT csr_active FROM accounts WHERE id = ?", (account,)).fetchone()
    while have < rows:
        end = min(rows, have + BATCH)
        db.execute("BEGIN IMMEDIATE")
        last, = db.execute("SELECT coalesce(max(rowid), 0) FROM csrs").fetchone()
        db.execute(ADD, {"first": have, "end": end, "account": account, "principal": PRINCIPAL, "pem": pem,
                         "protection": PROTECTION})
        db.execute(AUDIT, {"last": last})
        db.execute("COMMIT")
        have = end


def write_lists(db, keys_path, ids_path):
    with open(keys_path or "/dev/null", "wb") as keys, open(ids_path or "/dev/null", "w", encoding="ascii") as ids:
        for csr_id, key_id in db.execute("SELECT id, key_id FROM csrs WHERE state = 2"):
            keys.write(key_id)
            ids.write(csr_id + "\n")


def main():
    parser = argparse.ArgumentParser(description="fills a store with active CSRs")
    parser.add_argument("database")
    parser.add_argument("account")
    parser.add_argument("rows", type=int)
    parser.add_argument("pem")
    parser.add_argument("--keys")
    parser.add_argument("--ids")
    given = parser.parse_args()

    db = sqlite3.connect("file:%s?mode=rw" % given.database, uri=True, isolation_level=None)
    db.create_function("key_name", 1, key_name, deterministic=True)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA cache_size = -1000000")
    # A store to measure with: nobody misses it after a power cut.
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = MEMORY")
    fill(db, given.account, given.rows, pathlib.Path(given.pem).read_text(encoding="ascii"))
    if given.keys or given.ids:
        write_lists(db, given.keys, given.ids)
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


if __name__ == "__main__":
    main()
