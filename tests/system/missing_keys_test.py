# run: seconds=13 timeout=180
"""200,000 rows whose keys the token lacks (F233): the comparison asks for lists and not for each key, and whoever creates a
CSR meanwhile does not notice it."""
import base64
import sqlite3
import time
import unittest

import faults
import harness

ROWS = 200000
CREATE_SECONDS = 3 * faults.SLOW
SEARCHES = 400  # of both lists, the keys that are asked for one by one, and what creates need

# Copies of one row, as they would be if each had been made with a key of its own.
COPY = """
INSERT INTO csrs (id, account_id, zone_id, token_name, principal_id, state, created_us, updated_us, key_type, country,
    province, locality, organization, organizational_unit, common_name, sans, name, description, pem, key_label, key_id,
    spki_sha256, protection)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
SELECT printf('%08x-1d2b-4c84-a38a-2fb7a0cd7752', n * 20011), account_id, zone_id, token_name, principal_id, state,
    created_us, updated_us, key_type, country, province, locality, organization, organizational_unit, common_name, sans,
    name, description, pem, key_label(n), key_id(n), randomblob(32), protection FROM csrs, numbers WHERE csrs.id = ?
"""


def key_id(number):
    return b"node" + number.to_bytes(12, "big")


def key_label(number):
    return "csrd-" + base64.b32encode(key_id(number)).decode().rstrip("=").lower()


class MissingKeysTest(faults.FaultCase):
    def fill_store(self, s, csr_id):
        database = sqlite3.connect(s.store_path)
        with database:
            # How often a row was counted is not the question, and takes most of the time.
            counters = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
                                        " AND name LIKE 'csrs_count_%'").fetchall()
            for name, _ in counters:
                database.execute("DROP TRIGGER " + name)
            database.create_function("key_id", 1, key_id)
            database.create_function("key_label", 1, key_label)
            database.execute(COPY, (ROWS, csr_id))
            for _, text in counters:
                database.execute(text)
        database.close()

    def test_F233_creates_beside_a_comparison(self):
        s = self.shim_service(settings={"policy": {"reconcile_interval": "1h"}, "token default": {"threads": 4}})
        s.start()
        csr_id = s.create().result["id"]
        s.stop()
        self.fill_store(s, csr_id)
        s.start_hsm()
        searches = s.shim.count("C_FindObjectsInit")
        s.start_csrd()
        s.wait_ready()
        slowest, creates = 0, 0
        while "%d missing" % ROWS not in s.csrd.log():
            started = time.monotonic()
            answer = s.create()
            slowest = max(slowest, time.monotonic() - started)
            self.assertEqual(answer.status, 201, answer)
            creates += 1
        self.assertGreater(creates, 0)
        self.assertLess(slowest, CREATE_SECONDS)
        self.assertLess(s.shim.count("C_FindObjectsInit") - searches, SEARCHES + 10 * creates)
        s.stop()


if __name__ == "__main__":
    unittest.main()
