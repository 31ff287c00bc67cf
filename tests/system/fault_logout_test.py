# run: seconds=21 timeout=400
"""Somebody logs the user out at any call that a whole pass of reconciliation makes (F296): what csrd, its store and its audit
trail then say to be gone is gone from the token."""
import json
import shutil
import sqlite3
import unittest

import faults

STATE_DELETING, STATE_DESTROYED = 3, 4
PLACES = (("C_FindObjectsInit", "logout"), ("C_FindObjects", "logout"), ("C_FindObjectsFinal", "logout"),
          ("C_FindObjectsFinal", "after-logout"), ("C_GetAttributeValue", "logout"),
          ("C_GetAttributeValue", "after-logout"), ("C_DestroyObject", "logout"), ("C_DestroyObject", "after-logout"))


class FaultLogoutTest(faults.FaultCase):
    def query(self, text, *values):
        store = sqlite3.connect(self.s.store_path)
        with store:
            rows = store.execute(text, values).fetchall()
        store.close()
        return rows

    def one_of_each(self):
        """A CSR, one that is being deleted, and one that was deleted and whose key is left."""
        s = self.s = self.shim_service(settings={"token default": {"threads": 1, "keep_alive": "1h"}})
        s.start()
        self.kept, self.deleting, self.leftover = (self.create_ok(key_type="p256v1")["id"] for _ in range(3))
        s.stop()
        for csr_id, states in ((self.deleting, (STATE_DELETING,)), (self.leftover, (STATE_DELETING, STATE_DESTROYED))):
            for state in states:
                self.query("UPDATE csrs SET state = ? WHERE id = ?", state, csr_id)
        self.key = s.key_labels()
        self.assertEqual(set(s.p11.labels()), {self.key[i] for i in (self.kept, self.deleting, self.leftover)})
        self.saved = self.folder / "saved"
        self.parts = (s.store_path, s.folder / "state", s.p11.folder / "tokens")
        self.saved.mkdir()
        for part in self.parts:
            (shutil.copytree if part.is_dir() else shutil.copy2)(part, self.saved / part.name)

    def put_back(self):
        for part in self.parts:
            if part.is_dir():
                shutil.rmtree(part)
                shutil.copytree(self.saved / part.name, part)
            else:
                shutil.copy2(self.saved / part.name, part)

    def check(self, told):
        """As the store and the audit trail have it, and as csrctl told it."""
        states = dict(self.query("SELECT id, state FROM csrs"))
        labels = self.s.p11.labels()
        gone = faults.audit_objects(self.s.store_path, "csr.leftover-destroyed")
        self.assertEqual(labels.get(self.key[self.kept]), ["private", "public"])
        if states[self.deleting] == STATE_DESTROYED:
            self.assertNotIn(self.key[self.deleting], labels)
        if self.leftover in gone:
            self.assertNotIn(self.key[self.leftover], labels)
        for finding in json.loads(told)["findings"] if told.startswith("{") else ():
            self.assertNotIn(finding["finding"], ("missing", "unknown"), told)

    def test_F296_logged_out_at_any_call_of_a_pass(self):
        self.one_of_each()
        s = self.s
        logouts = finished = 0
        for function, what in PLACES:
            n, reached = 1, True
            while reached:
                with self.subTest(rule="%s@%d %s" % (function, n, what)):
                    self.put_back()
                    s.start_hsm()
                    before = s.shim.count(function)
                    s.shim.set("%s@%d %s" % (function, n, what))
                    told = s.csrctl("reconcile", "--apply", "--min-age", "0", check=False)
                    reached = s.shim.count(function) >= before + n
                    s.shim.clear()
                    self.assertEqual(s.hsm.terminate(), 0)
                    self.check(told.stdout)
                    logouts += reached
                    finished += told.returncode == 0
                n += 1 + n // 5
        self.assertGreater(logouts, 30)
        self.assertGreater(finished, len(PLACES))  # each place once without a logout, and those that it does not hurt


if __name__ == "__main__":
    unittest.main()
