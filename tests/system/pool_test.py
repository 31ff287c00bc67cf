"""The key pool in the whole service: kill -9 at each of its named points and no key is ever given twice (I3, F73), what was
open then is destroyed and the rest is kept (J3), a reconciliation never touches a ready key, and `csrctl status` tells the
levels."""
# run: waits seconds=80 timeout=900
import collections
import hashlib
import subprocess
import unittest

import harness
from crash_rounds import FINDINGS, ROUNDS, SETTINGS, CrashCase

TARGET = 4
POOL = {"token default": {"pool_p256v1": TARGET, "node": "node-1", "pool_pause": "10ms", "pool_quiet": "50ms"}}


class PoolTest(CrashCase):
    def start_pool(self, threads=4):
        token = {**POOL["token default"], "threads": threads}
        self.s = self.service(settings={**SETTINGS, "token default": token}).start()
        self.acknowledged, self.gone = [], []
        self.wait_full()

    def start_signer(self):
        self.s.start_hsm()
        self.s.wait_ready()
        self.wait_full()

    def levels(self):
        return {level["key_type"]: level for level in self.s.csrctl("status")["tokens"][0]["pool"]}

    def wait_full(self):
        harness.wait_for("full pool", lambda: self.levels()["p256v1"]["ready"] == TARGET, every=0.05)

    def unused(self):
        """Names on the token that no row has: the ready keys, when nothing else is left."""
        return set(self.s.p11.labels()) - set(self.s.key_labels().values())

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
            known = set(self.s.key_labels("active").values())
            odd = [key for key in self.s.p11.objects() if key["label"] not in known]
            self.assertEqual(len(seen), count, "%s %s" % (self.levels(), sorted(
                (key["id"], key["class"], key["label"]) for key in odd)))
        return seen

    def check_keys(self):
        """Whole pairs alone, each name, each id and each public key once, and only what the pool or an active row
        accounts for."""
        names = set(self.s.key_labels("active").values())
        objects = self.objects_at_rest(2 * (len(names) + TARGET))
        labels = collections.Counter(key["label"] for key in objects)
        self.assertLessEqual(names, set(labels))
        self.assertEqual(len(labels), len(names) + TARGET)
        self.assertEqual(set(labels.values()), {2})
        ids = collections.Counter((key["id"], key["class"]) for key in objects)
        self.assertEqual(set(ids.values()), {1})
        points = [key["public"] for key in objects if key["class"] == "public"]
        self.assertEqual(len(points), len(set(points)))

    def check_hashes(self):
        """No two CSRs that were ever made have one public key."""
        hashes = []
        for csr_id in self.acknowledged:
            pem = self.s.get(csr_id).result["csr"]
            done = subprocess.run(["openssl", "req", "-noout", "-pubkey"], input=pem, capture_output=True, text=True, check=True)
            hashes.append(hashlib.sha256(done.stdout.encode()).hexdigest())
        self.assertEqual(len(hashes), len(set(hashes)))

    def check_pool_round(self, what):
        self.wait_full()  # while the signer writes, others see halves: see objects_at_rest
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

    def crash_in_create(self, point):
        self.s.arm("csrd-hsm", point)
        answer = self.create_while_crashing()
        self.assertEqual((answer.status, answer.codes), (503, [1503]), answer)
        self.wait_killed(self.s.hsm)

    def use_rounds(self, point):
        """In a create whose key is of a block that an earlier one opened."""
        self.start_pool(threads=1)  # SoftHSM 2.6.1 may lose what several write: doc/hsm-compatibility.md
        for number in range(ROUNDS):
            block = self.unused()
            self.acknowledge()  # opens all that there are
            self.wait_full()
            later = self.unused() - block
            self.assertEqual(len(later), 1)
            self.crash_in_create(point)
            self.start_signer()
            self.check_pool_round("%s, round %d" % (point, number + 1))
            self.assertEqual(self.unused() & block, set(), "open keys that the signer died with")
            self.assertLessEqual(later, self.unused(), "a key that was made later was not open")
        self.finish_pool()

    def test_use_after_sign(self):
        self.use_rounds("signer.create.after-sign")

    def test_use_after_verify(self):
        self.use_rounds("signer.create.after-verify")

    def test_use_before_used_is_durable(self):
        self.use_rounds("journal.before-sync")

    def test_use_after_used(self):
        self.use_rounds("signer.create.after-used")

    def open_rounds(self, point, kept):
        """In a create that opens a block; kept: what was to be opened is ready still, since the journal has no word of it."""
        self.start_pool(threads=1)
        for number in range(ROUNDS):
            block = self.unused()
            self.crash_in_create(point)
            self.start_signer()
            self.check_pool_round("%s, round %d" % (point, number + 1))
            self.assertEqual(self.unused() & block, block if kept else set())
            self.acknowledge()
            self.wait_full()
            self.assertEqual(self.s.hsm.terminate(), 0)  # what is open is closed
            self.start_signer()
        self.finish_pool()

    def test_open_before(self):
        self.open_rounds("stock.open.before", True)

    def test_open_after_journal(self):
        self.open_rounds("stock.open.after-journal", False)

    def test_open_with_both_words(self):
        self.open_rounds("stock.word.both", False)

    def test_open_after_write(self):
        self.open_rounds("stock.open.after-write", False)

    def fill_rounds(self, point):
        self.start_pool(threads=1)
        for number in range(ROUNDS):
            self.s.arm("csrd-hsm", point)
            self.create_while_crashing()  # what it takes is made again; its answer may be cut off or not
            self.wait_killed(self.s.hsm)
            self.start_signer()
            self.check_pool_round("%s, round %d" % (point, number + 1))
        self.finish_pool()

    def test_fill_after_keygen(self):
        self.fill_rounds("pool.fill.after-keygen")

    def test_fill_after_made(self):
        self.fill_rounds("pool.fill.after-made")

    def test_pool_outlives_a_kill(self):
        self.start_pool()
        before = self.unused()
        self.s.hsm.kill()
        self.start_signer()
        self.assertEqual(self.unused(), before)
        self.acknowledge()
        self.assertIn(self.s.label(self.acknowledged[0]), before)
        self.finish_pool()

    def test_pool_outlives_a_stop(self):
        """What was open, too: the signer says so when it ends."""
        self.start_pool()
        self.acknowledge()
        self.wait_full()
        before = self.unused()
        self.assertEqual(self.s.hsm.terminate(), 0)
        self.start_signer()
        self.assertEqual(self.unused(), before)
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
            s.settings["token default"].update(pool_p256v1=3, node=node, state_dir=self.folder / node)
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
        harness.wait_for("a full pool", lambda: s.csrctl("status")["tokens"][0]["pool"][0]["ready"] == 3, every=0.05)
        ready = s.csrctl("reconcile", "--min-age", "0")["ready"]
        labels = s.p11.labels()
        self.assertIn(s.label(kept), labels)
        self.assertEqual((ready, len(labels)), (3, 4), labels)
        s.stop()

    def test_J10_a_node_that_is_renamed(self):
        """As a container that keeps its state_dir is at each start: its ready keys are its own, under either name."""
        s = self.service(settings={"token default": {"pool_p256v1": 3, "node": "0123456789ab"}}).start()

        def wait_full():
            harness.wait_for("three ready keys", lambda: s.csrctl("status")["tokens"][0]["pool"][0]["ready"] == 3,
                             every=0.05)

        wait_full()
        ready = set(s.p11.labels())
        self.assertEqual(s.hsm.terminate(), 0)
        s.settings["token default"]["node"] = "fedcba987654"
        s.write_config()
        s.start_hsm()
        s.wait_ready()
        wait_full()
        self.assertEqual(set(s.p11.labels()), ready)
        csr_id = s.create().result["id"]
        self.assertIn(s.label(csr_id), ready)
        self.assertEqual(s.csrctl("pool", "list"), {"nodes": []})
        done = s.csrctl("pool", "destroy", "0123456789ab", "--yes", check=False)
        self.assertIn("no ready keys of a node", done.stderr)
        self.assertIn(s.label(csr_id), s.p11.labels())
        s.stop()


if __name__ == "__main__":
    unittest.main()
