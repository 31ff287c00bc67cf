# run: seconds=2
"""F305, F307: lists that are longer than a page of the store and than what csrctl keeps before it prints."""
import json
import os
import sqlite3
import subprocess
import unittest

import harness
from csrctl_test import StoreCase

ROWS = 1203  # of accounts, zones and tokens: three pages
RECORDS = 60_000
MEMORY_KIB = 3 * 1024  # that many records take more than six times as much, as rows of a table or as JSON


class LongLists(StoreCase):
    def fill(self, *statements):
        database = sqlite3.connect(self.store)
        with database:
            for statement in statements:
                database.execute("WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT ?) " + statement[0],
                                 (statement[1],))
        database.close()

    def run_measured(self, *arguments):
        """What it prints, and the most memory that it had, in KiB."""
        with open(self.folder / "output", "w+b") as output:
            process = subprocess.Popen([harness.BIN / "csrctl", "-c", self.config, *arguments], stdout=output,
                                       stderr=subprocess.PIPE, env=harness.clean_environment())
            stderr = process.stderr.read().decode()
            process.stderr.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(process.returncode, 0, stderr)
            output.seek(0)
            return output.read().decode(), usage.ru_maxrss

    def test_every_row_of_a_long_list(self):
        self.ctl("account", "add", "first", "--name", "the first")
        self.fill(("INSERT INTO accounts (id, name, csr_quota, created_us)"
                   " SELECT printf('a%05d', i), 'account ' || i, -1, 1000000 FROM n", ROWS),
                  ("INSERT INTO zones (id, account_id, name, csr_quota, created_us)"
                   " SELECT printf('z%05d', i), 'first', 'zone ' || i, -1, 1000000 FROM n", ROWS),
                  # those of one instant come by their ids
                  ("INSERT INTO principals (id, kind, name, secret_hash, created_us, not_before_us, expires_us,"
                   " revoked_us) SELECT printf('00000000-0000-4000-8000-%012d', i), 1, 'token ' || i, randomblob(32),"
                   " 1000000 + i / 700, 0, 0, 0 FROM n", ROWS))
        for noun, array, ids in (
            ("account", "accounts", ["a%05d" % i for i in range(ROWS)] + ["first"]),
            ("zone", "zones", ["z%05d" % i for i in range(ROWS)]),
            ("token", "tokens", ["00000000-0000-4000-8000-%012d" % i for i in range(ROWS)]),
        ):
            with self.subTest(noun):
                self.assertEqual([row["id"] for row in self.json(noun, "list")[array]], ids)
                lines = self.ctl(noun, "list").stdout.splitlines()
                self.assertEqual([line.split()[0] for line in lines], ["ID"] + ids)
        # what stands on the last page is found by its name
        self.assertEqual(self.json("zone", "add", "--account", "account %d" % (ROWS - 1))["account"],
                         "a%05d" % (ROWS - 1))
        self.assertEqual(self.json("token", "revoke", "token %d" % (ROWS - 1))["id"],
                         "00000000-0000-4000-8000-%012d" % (ROWS - 1))

    def test_the_history_of_one_csr_is_one_table(self):
        self.ctl("account", "add", "first")
        csr = "10000000-0000-4000-8000-000000000000"
        self.fill(("INSERT INTO csrs (id, account_id, token_name, principal_id, state, created_us, updated_us, key_type,"
                   " country, province, locality, organization, common_name, sans, pem, key_label, key_id,"
                   " spki_sha256, protection) SELECT '%s', 'first', 'default',"
                   " 'operator:x', 2, 1000000, 1000000, 2, 'SE', 'a', 'b', 'c', 'host.example.org', 'dns host.example.org' || char(10),"
                   " 'x', 'csrd-aaaaaaaaaaaaaaaaaaaaaaaaaa', zeroblob(16), randomblob(32), 7 FROM n" % csr, 1),
                  ("INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
                   " SELECT 1000000, 'csr.pending', '%s', 'system', '', '', 'event-' || i FROM n" % csr, ROWS))
        facts, table, _ = self.ctl("csr", "show", csr).stdout.split("\n\n")
        self.assertIn("host.example.org", facts)
        lines = table.splitlines()
        self.assertEqual(lines[0].split()[:2], ["AT", "ACTION"])
        self.assertEqual([line.split()[-1] for line in lines[1:]], ["event-%d" % i for i in range(ROWS)])

    def test_trail_takes_no_more_memory_than_a_part_of_it(self):
        self.ctl("account", "add", "first")
        self.fill(("INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
                   " SELECT 1000000 * i, 'csr.active', printf('00000000-0000-4000-8000-%012d', i), 'system', '', '',"
                   " 'what is to be said of it ' || i FROM n", RECORDS - 1))
        everything = list(range(RECORDS, 0, -1))
        for options, numbers in (
            ([], lambda text: [int(line.split()[0]) for line in text.splitlines()[1:]]),
            (["--json"], lambda text: [record["sequence"] for record in json.loads(text)["records"]]),
        ):
            with self.subTest(options):
                _, least = self.run_measured(*options, "audit", "--limit", "2000")
                text, most = self.run_measured(*options, "audit", "--limit", "1000000")
                self.assertEqual(numbers(text), everything)
                if not harness.SANITIZE:
                    self.assertLess(most - least, MEMORY_KIB)


if __name__ == "__main__":
    unittest.main()
