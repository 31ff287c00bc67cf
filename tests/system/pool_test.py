"""The key pool in the whole service: kill -9 at each of its named points and no key is ever given twice (I3, F73), a
reconciliation never touches a ready key, and `csrctl status` tells the levels."""
# run: seconds=46 timeout=400
import collections
import hashlib
import subprocess
import unittest

import harness
from crash_rounds import FINDINGS, ROUNDS, SETTINGS, CrashCase

TARGET = 4
POOL = {"token default": {"pool_p256v1": TARGET, "node": "node-1", "pool_pause": "10ms", "pool_quiet": "50ms"}}
LABEL = "csrd-pool:node-1:p256v1"


class PoolTest(CrashCase):
    def start_pool(self, threads=4):
        token = {**POOL["token default"], "threads": threads}
        self.s = self.service(settings={**SETTINGS, "token default": token}).start()
        self.acknowledged, self.gone = [], []
        self.wait_full()

    def levels(self):
        return {level["key_type"]: level for level in self.s.csrctl("status")["tokens"][0]["pool"]}

    def wait_full(self):
        harness.wait_for("full pool", lambda: self.levels()["p256v1"]["ready"] == TARGET, every=0.05)

    def pool_objects(self):
        """CKA_ID → classes of what stands under the pool's label."""
        found = collections.defaultdict(list)
        for key in self.s.p11.objects():
            if key["label"] == LABEL:
                found[key["id"]].append(key["class"])
        return found

    def objects_at_rest(self, count):
        """SoftHSM shows another process an object without its label while the signer writes to it or to the token:
        it is looked at until there are so many, and what is wrong with them for good stays wrong."""
        seen = []

        def looked():
            seen[:] = [key for key in self.s.p11.objects() if key["label"]]
            return len(seen) == count

        try:
            harness.wait_for("%d objects" % count, looked, every=0.05)
        except AssertionError:
            odd = [key for key in self.s.p11.objects() if not key["label"].startswith("csrd:")]
            self.assertEqual(len(seen), count, "%s %s" % (self.levels(), sorted(
                (key["id"], key["class"], key["label"]) for key in odd)))
        return seen

    def check_keys(self):
        """Whole pairs alone, each id and each public key once, and only what the pool or an active row accounts for."""
        objects = self.objects_at_rest(2 * (len(self.s.rows("active")) + TARGET))
        labels = {key["label"] for key in objects}
        active = set(self.s.rows("active"))
        self.assertEqual(labels - {LABEL}, {"csrd:" + csr_id for csr_id in active})
        ids = collections.Counter((key["id"], key["class"]) for key in objects)
        self.assertEqual(set(ids.values()), {1})
        self.assertEqual(len(objects), 2 * (len(active) + TARGET))
        points = [key["public"] for key in objects if key["class"] == "public"]
        self.assertEqual(len(points), len(set(points)))
        self.assertEqual(set(map(len, self.pool_objects().values())), {2})

    def check_hashes(self):
        """No two CSRs that were ever made have one public key."""
        hashes = []
        for csr_id in self.acknowledged:
            pem = self.s.get(csr_id).result["csr"]
            done = subprocess.run(["openssl", "req", "-noout", "-pubkey"], input=pem, capture_output=True, text=True, check=True)
            hashes.append(hashlib.sha256(done.stdout.encode()).hexdigest())
        self.assertEqual(len(hashes), len(set(hashes)))

    def check_pool_round(self, what):
        self.check_round(what)
        self.wait_full()
        self.check_keys()

    def finish_pool(self):
        self.acknowledge()
        self.wait_full()
        self.check_keys()
        self.check_hashes()
        report = self.s.csrctl("reconcile", "--apply", "--min-age", "0")
        self.assertEqual({finding: report[finding] for finding in FINDINGS}, dict.fromkeys(FINDINGS, 0))
        self.check_keys()
        self.s.stop()

    def rounds(self, point, left):
        """left: the classes under the label of the CSR that the crash cut off."""
        self.start_pool(threads=1)  # SoftHSM 2.6.1 may lose what several write: doc/hsm-compatibility.md
        for number in range(ROUNDS):
            self.acknowledge()
            rows = self.s.rows()
            self.s.arm("csrd-hsm", point)
            answer = self.create_while_crashing()
            self.assertEqual((answer.status, answer.codes), (503, [1503]), answer)
            self.wait_killed(self.s.hsm)
            (csr_id,) = set(self.s.rows("pending")) - set(rows)
            self.assertEqual(self.s.p11.labels().get("csrd:" + csr_id), left)
            self.s.start_hsm()
            self.s.wait_ready()
            self.check_pool_round("%s, round %d" % (point, number + 1))
        self.finish_pool()

    def test_claim_after_private(self):
        self.rounds("pool.claim.after-private", ["private"])

    def test_claim_after_public(self):
        self.rounds("pool.claim.after-public", ["private", "public"])

    def test_fill_after_keygen(self):
        self.start_pool(threads=1)
        for number in range(ROUNDS):
            self.s.arm("csrd-hsm", "pool.fill.after-keygen")
            for _ in range(TARGET - 1):  # below half, keys are made beside callers; answers may be cut off or not
                self.create_while_crashing()
            self.wait_killed(self.s.hsm)
            self.s.start_hsm()
            self.s.wait_ready()
            self.check_pool_round("pool.fill.after-keygen, round %d" % (number + 1))
        self.finish_pool()

    def test_pool_outlives_a_restart(self):
        self.start_pool()
        before = set(self.pool_objects())
        self.s.hsm.kill()
        self.s.start_hsm()
        self.s.wait_ready()
        self.wait_full()
        self.assertEqual(set(self.pool_objects()), before)
        self.acknowledge()
        key_id = self.s.csrctl("csr", "show", self.acknowledged[0])["key"]["id"]
        self.assertIn(key_id, before)
        self.finish_pool()

    def test_many_callers_at_once(self):
        self.start_pool()
        for _ in range(3):
            answers = harness.in_parallel([self.s.create] * 12)
            self.assertEqual([answer.status for answer in answers], [201] * 12)
            self.acknowledged += [answer.result["id"] for answer in answers]
        self.check_pool_round("callers")
        self.finish_pool()

    def test_status(self):
        self.start_pool()
        status = self.s.csrctl("status")["tokens"][0]
        self.assertEqual(status["pool"], [{"key_type": "p256v1", "ready": TARGET, "target": TARGET}])
        self.assertTrue(status["usable"])
        self.assertEqual((status["token"], status["threads"], status["queued"]), ("default", 4, 0))
        self.s.stop()
        done = self.s.csrctl("status", check=False)
        self.assertEqual(done.returncode, 69)


class NodesTest(harness.Case):
    """Containers that are started without a name: each leaves its ready keys behind."""

    def test_F230_ready_keys_of_nodes_that_are_gone(self):
        s = self.service(settings={"policy": {"reconcile_interval": "1s"}})
        for node in ("0123456789ab", "fedcba987654", "csrd-1"):
            s.settings["token default"].update(pool_p256v1=3, node=node)
            s.write_config()
            s.start_hsm()
            harness.wait_for("three ready keys", lambda: s.csrctl("status")["tokens"][0]["pool"][0]["ready"] == 3,
                             every=0.05)
            if node != "csrd-1":
                s.hsm.terminate()
        s.start_csrd()
        s.wait_ready()
        kept = s.create().result["id"]

        def others():
            token = s.csrctl("status")["tokens"][0]
            return token["other_nodes"], token["other_keys"]

        harness.wait_for("their number in the status", lambda: others() == (2, 6), every=0.1)
        said = harness.run([harness.BIN / "csrctl", "-c", s.config_path, "status"], env=s.environment("csrctl"),
                           cwd=s.folder).stdout
        self.assertIn("6 ready keys of 2 other nodes", said)
        self.assertEqual(s.csrctl("pool", "list"), {"nodes": [{"node": "0123456789ab", "keys": 3},
                                                              {"node": "fedcba987654", "keys": 3}]})
        # Not its own, not nobody's, and not without a yes.
        for arguments, status, why in ((("csrd-1", "--yes"), 1, "signer's own keys"),
                                       (("nobody", "--yes"), 1, "no ready keys of a node 'nobody'"),
                                       (("0123456789ab",), 64, "give --yes")):
            done = s.csrctl("pool", "destroy", *arguments, check=False)
            self.assertEqual(done.returncode, status, done)
            self.assertIn(why, done.stderr)
        self.assertEqual(s.csrctl("pool", "destroy", "0123456789ab", "--yes"),
                         {"node": "0123456789ab", "token": "default", "objects": 6})
        self.assertEqual(s.csrctl("pool", "list"), {"nodes": [{"node": "fedcba987654", "keys": 3}]})
        s.csrctl("pool", "destroy", "fedcba987654", "--yes")
        self.assertEqual(s.csrctl("pool", "list"), {"nodes": []})
        harness.wait_for("none in the status", lambda: others() == (0, 0), every=0.1)
        labels = {key["label"] for key in s.p11.objects()}
        self.assertEqual(labels, {"csrd-pool:csrd-1:p256v1", "csrd:" + kept})
        s.stop()


if __name__ == "__main__":
    unittest.main()
