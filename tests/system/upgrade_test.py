# run: seconds=1
"""A store and a token of csrd 0.1 are taken over by today's programs, through the service.

data/csrd-0.1.tar.xz was left by the programs of csrd 0.1 themselves, which were killed at their failpoints: a CSR in each
state, and a pool of three ready keys.  csrs.json in it says which CSR is what.
  active     two p256v1, one of them of a zone, and one rsa2048
  pending    three: without a key, with half a pair, with a pair (create.before-active)
  deleting   one, its key still there (delete.after-deleting)
  destroyed  one, under whose label there is a key again
"""
import json
import pathlib
import shutil
import tarfile
import unittest

import harness

OF_0_1 = pathlib.Path(__file__).parent / "data" / "csrd-0.1.tar.xz"
READY = 2


class UpgradeTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.s = self.service(populate=False, settings={"token default": {"node": "upgrade-test",
                                                                         "pool_p256v1": READY}})
        shutil.rmtree(self.s.folder / "hsm" / "tokens")
        with tarfile.open(OF_0_1) as archive:
            archive.extractall(self.s.folder)
        (self.s.folder / "state").chmod(0o700)
        self.csrs = json.loads((self.s.folder / "csrs.json").read_text())
        token = self.s.csrctl("token", "create", "--name", "after the upgrade", "--account",
                              self.s.account + ":write", "--zone", self.s.zone + ":write")
        self.s.token = token["token"]

    def test_every_state_ends_as_it_should(self):
        s, csrs = self.s, self.csrs
        labels_0_1 = {o["label"] for o in s.p11.objects()}
        self.assertTrue(any(label.startswith("csrd-pool:") for label in labels_0_1))
        s.start()
        s.wait_settled()
        states = {**dict.fromkeys(csrs["active"], "active"), **dict.fromkeys(csrs["pending"].values(), "failed"),
                  csrs["deleting"]: "destroyed", csrs["destroyed"]: "destroyed"}
        rows = s.rows()
        self.assertEqual({csr_id: rows[csr_id] for csr_id in states}, states)
        harness.wait_for("no key but those of rows and of the stock", lambda: not self.strangers(), every=0.1)
        for csr_id, was in csrs["active"].items():
            answer = s.get(csr_id, zone=was["zone"])
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual(answer.result["csr"], was["csr"])
            self.assertEqual(s.label(csr_id), "csrd:" + csr_id)
        self.assertEqual(s.csrctl("verify")["findings"], [])
        # the new ones live beside the old ones, and these can still be deleted
        created = s.create()
        self.assertEqual(created.status, 201, created)
        old = next(csr_id for csr_id, was in csrs["active"].items() if not was["zone"])
        self.assertEqual(s.delete(old).status, 200)
        self.assertNotIn("csrd:" + old, s.p11.labels())
        s.stop()
        self.assertEqual(s.csrctl("csr", "show", old)["state"], "destroyed")

    def strangers(self):
        """Labels on the token that no active row has, and that are not those of the new stock."""
        rows = set(self.s.key_labels("active").values())
        left = {o["label"] for o in self.s.p11.objects()} - rows
        ready = sum(pool["ready"] for pool in self.s.csrctl("status")["tokens"][0]["pool"])
        named = {label for label in left if label.startswith("csrd-") and not label.startswith("csrd-pool:")}
        return left - named or ready != READY or len(named) != READY


if __name__ == "__main__":
    unittest.main()
