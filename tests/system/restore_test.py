"""A store that went back in time: F101 to F105 of doc/faults.md.

What was made or being deleted when a backup or a snapshot was taken may have come to its end since.  Nothing that csrd
does by itself destroys such a key, whichever way the store went back (J7).
"""
# run: waits seconds=41
# run: timeout=300
import contextlib
import json
import shutil
import signal
import sqlite3
import threading
import unittest

import harness

SETTINGS = {"policy": {"reconcile_interval": "1s"}}
BOTH = ["private", "public"]


class RestoreTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.s = self.service(settings=SETTINGS).start()
        self.bystander = self.s.create().result["id"]

    # -- what goes on while the store is copied

    def remembered(self):
        """How far the signer knows that its stores have come."""
        memory = self.s.folder / "state" / "stores"
        lines = memory.read_text().splitlines() if memory.exists() else []
        return max((int(line.split()[1]) for line in lines), default=0)

    def come_to(self):
        with contextlib.closing(sqlite3.connect(self.s.store_path)) as store:
            return store.execute("SELECT max(sequence) FROM audit").fetchone()[0]

    def caught_create(self, copy):
        """The label of the key of a CSR that was answered 201 after copy(), and of which the signer does not know that;
        it knows of others that came after copy().  csrd is dead."""
        s = self.s
        copy()
        copied = self.come_to()
        s.create()
        harness.wait_for("a signer that remembers more", lambda: self.remembered() > copied)
        s.wait_confirmed()
        s.arm("csrd", "create.before-confirm")
        answer = s.create()
        self.assertEqual(answer.status, 201)
        s.csrd.wait()
        return s.label(answer.result["id"])

    def delete_until_it_ends(self, csr_id):
        try:
            self.s.delete(csr_id)
        except (harness.GoneAway, OSError):
            pass

    def backup(self):
        self.s.csrctl("backup", self.folder / "backup.db")

    def snapshot(self):
        """As a file system's: database and log at one instant, in which nobody writes."""
        (self.folder / "snapshot").mkdir()
        for ending in ("", "-wal"):
            shutil.copy(str(self.s.store_path) + ending, self.folder / "snapshot" / ("csrd.db" + ending))

    def put_snapshot_back(self):
        self.s.stop()
        for ending in ("", "-wal", "-shm"):
            path = self.s.store_path.with_name("csrd.db" + ending)
            path.unlink(missing_ok=True)
            if ending != "-shm":
                shutil.copy(self.folder / "snapshot" / path.name, path)

    def restore(self):
        self.s.stop()
        return self.s.csrctl("restore", self.folder / "backup.db")

    # -- what must hold

    def verify(self):
        done = self.s.csrctl("verify", "--full", check=False)
        told = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1 if told["findings"] else 0, done.stdout + done.stderr)
        return {(f["kind"], f["object"]): f for f in told["findings"]}

    def assert_told(self, csr_id):
        """verify names it at once, and what it says to do destroys nothing."""
        finding = self.verify()[("set-aside", csr_id)]
        self.assertNotIn("--apply", finding["remedy"])
        self.assertIn("csr show", finding["remedy"])

    def assert_kept(self, label):
        self.assertEqual(self.s.p11.labels().get(label), BOTH)
        self.assertIn(("unknown-key", label), self.verify())

    def assert_set_aside(self, csr_id):
        self.assertEqual(self.s.p11.labels().get(self.s.label(csr_id)), BOTH)
        self.assertEqual(self.s.rows()[csr_id], "deleting")
        shown = self.s.csrctl("csr", "show", csr_id)
        self.assertTrue(shown["set_aside_at"], shown)

    def pass_several_times(self):
        """csrd compares all keys at its start, and settles rows on a timer and whenever the signer comes back."""
        s = self.s
        s.start_csrd()
        s.wait_ready()
        self.passes(2)
        s.hsm.kill()
        s.start_hsm()
        s.wait_ready()
        s.csrd.terminate()
        s.start_csrd()
        s.wait_ready()
        self.passes(2)

    def passes(self, count):
        def seen():
            return len(harness.re.findall(r"reconciliation of token 'default': \d+ checked", self.s.csrd.log()))
        before = seen()
        harness.wait_for("%d passes" % count, lambda: seen() >= before + count)

    # -- the cases

    def test_F101_restore_keeps_what_was_made_since(self):
        s = self.s
        label = self.caught_create(self.backup)
        (bound,) = set(s.key_labels("active").values()) - {label, s.label(self.bystander)}
        told = self.restore()
        self.assertEqual(told["set_aside"], 0)
        s.start_hsm()
        self.assert_kept(label)
        # Nor does the operator's own pass, before csrd has started or while it runs.
        before = s.csrctl("reconcile", "--apply", "--min-age", "0", check=False)
        self.assertEqual(before.returncode, 1)
        self.assertIn("does not vouch for this store", before.stderr)
        self.pass_several_times()
        report = json.loads(s.csrctl("reconcile", "--apply", "--min-age", "0", "--give-up", "all", check=False).stdout)
        self.assertEqual((report["set_aside"], report["unknown"], report["left"]), (0, 2, 2))
        self.assert_kept(label)
        self.assert_kept(bound)
        self.assertEqual(s.get(self.bystander).status, 200)
        s.stop()

    def test_F101_restore_keeps_what_was_being_deleted(self):
        s = self.s
        doomed, given, gone = (s.create().result["id"] for _ in range(3))
        labels = s.key_labels()
        s.hsm.signal(signal.SIGSTOP)
        callers = [threading.Thread(target=self.delete_until_it_ends, args=(i,), daemon=True) for i in (doomed, given, gone)]
        for caller in callers:
            caller.start()
        harness.wait_for("deleting rows", lambda: len(s.rows("deleting")) == 3)
        self.backup()
        s.csrd.kill()
        s.hsm.kill()
        for caller in callers:
            caller.join(harness.PATIENCE)
        s.csrctl("restore", self.folder / "backup.db")
        self.assertEqual(set(s.rows("deleting")), {doomed, given, gone})
        for kind in ("pubkey", "privkey"):
            s.p11.tool("--delete-object", "--type", kind, "--label", labels[gone])
        s.start_hsm()
        self.assert_told(doomed)
        self.pass_several_times()
        self.assert_set_aside(doomed)
        # Where there is no key nothing is kept, and the row ends by itself.
        harness.wait_for("the other row's end", lambda: s.rows()[gone] == "destroyed")
        self.assertEqual(set(self.verify()), {("set-aside", doomed), ("set-aside", given)})
        # Only a person's word, for this CSR or for all, destroys it.
        s.csrctl("reconcile", "--apply", "--give-up", "0a000000-0000-4000-8000-00000000000a", check=False)
        self.assert_set_aside(given)
        report = json.loads(s.csrctl("reconcile", "--apply", "--give-up", given, check=False).stdout)
        self.assertEqual((report["set_aside"], report["deleting"]), (1, 1))
        self.assertNotIn(labels[given], s.p11.labels())
        # A new DELETE is an act of its own.
        self.assertEqual(s.delete(doomed).status, 200)
        s.check_sane(self, [self.bystander], [doomed, given, gone])
        self.assertEqual(self.verify(), {})
        s.stop()

    def test_F102_snapshot_put_back(self):
        s = self.s
        label = self.caught_create(self.snapshot)
        self.put_snapshot_back()
        s.start_hsm()
        self.assert_kept(label)
        refused = s.csrctl("reconcile", "--apply", "--min-age", "0", "--give-up", "all", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertEqual(s.p11.labels().get(label), BOTH)
        s.start_csrd()
        s.csrd.wait_log(r"warning: .*the store went back: signer 'default' remembers its record \d+, and it had come to "
                        r"\d+; CSRs that were open are set aside and their keys kept \(0\): run 'csrctl verify --token default'")
        s.csrd.wait_log(r"warning: .*signer 'default' keeps the keys of CSRs of which it does not know whether they stand "
                        r"\(1\), whatever this store says of them: run 'csrctl verify --token default'")
        s.csrd.terminate()
        self.pass_several_times()
        self.assert_kept(label)
        with sqlite3.connect(s.store_path) as store:
            actions = store.execute("SELECT count(*) FROM audit WHERE action = 'store.rolled-back'").fetchone()[0]
        self.assertEqual(actions, 1, "noticed once")
        # It went back twice: to the same snapshot.
        self.put_snapshot_back()
        s.start_hsm()
        self.pass_several_times()
        self.assert_kept(label)
        s.stop()

    def test_F103_signer_that_has_forgotten(self):
        s = self.s
        label = self.caught_create(self.snapshot)
        self.put_snapshot_back()
        (s.folder / "state" / "stores").unlink()
        s.start_hsm()
        self.assert_kept(label)
        s.start_csrd()
        s.csrd.wait_log(r"warning: .*signer 'default' keeps the keys of CSRs .* \(1\)")
        s.csrd.terminate()
        self.pass_several_times()
        self.assert_kept(label)
        s.stop()

    def test_F103_signer_that_forgets_while_csrd_runs(self):
        """The store has not gone back under csrd's hands: what a crash left is settled as ever."""
        s = self.s
        s.arm("csrd-hsm", "signer.create.after-keygen")
        self.assertEqual(s.create().status, 503)
        s.hsm.wait()
        (s.folder / "state" / "stores").unlink()
        s.start_hsm()
        s.csrd.wait_log("forgot this store while csrd ran")
        s.wait_settled()
        harness.wait_for("a clean token", lambda: set(s.p11.labels()) == {s.label(self.bystander)})
        self.assertEqual(self.verify(), {})
        s.stop()

    def test_F103_each_signer_vouches_for_its_own(self):
        """One that has forgotten the store sets nothing aside that lives on another's token."""
        s = self.s
        s.stop()
        s.p11.add("second")
        s.settings["token second"] = {**s.settings["token default"], "uri": "pkcs11:token=second",
                                      "socket": s.folder / "second.sock", "state_dir": s.folder / "state2"}
        s.write_config()
        second = s.spawn("csrd-hsm", "-c", s.config_path, "-n", "second")
        second.wait_log("serving token ")
        s.start()
        s.csrd.wait_log("signer 'second' is up")
        s.arm("csrd", "create.before-commit")
        with self.assertRaises((harness.GoneAway, OSError)):
            s.create()
        s.csrd.wait()
        second.terminate()
        (s.folder / "state2" / "stores").unlink()
        s.spawn("csrd-hsm", "-c", s.config_path, "-n", "second").wait_log("serving token ")
        s.start_csrd()
        s.csrd.wait_log("signer 'second' is up")
        s.wait_settled()
        harness.wait_for("a clean token", lambda: set(s.p11.labels()) == {s.label(self.bystander)})

    def test_F103_damaged_memory_is_none(self):
        s = self.s
        label = self.caught_create(self.snapshot)
        self.put_snapshot_back()
        memory = self.s.folder / "state" / "stores"
        memory.write_text(memory.read_text()[:20])
        s.start_hsm()
        self.assertIn("no store is remembered", s.hsm.log())
        self.pass_several_times()
        self.assert_kept(label)
        s.stop()

    def test_F103_memory_that_cannot_be_written(self):
        """Keys are made all the same.  What a crash leaves open is then kept, since nobody vouches for the store."""
        s = self.s
        s.stop()
        state = self.s.folder / "state"
        (state / "stores").unlink()
        (state / "stores.new").mkdir()  # in the way of what is written first
        s.start()
        s.csrd.wait_log("warning: .*signer 'default' cannot remember how far the store has come: it cannot write its "
                        "state_dir")
        self.assertRegex(s.hsm.log(), "cannot write '.*/stores': Is a directory")
        s.arm("csrd", "create.before-commit")
        with self.assertRaises((harness.GoneAway, OSError)):
            s.create()
        s.csrd.wait()
        (label,) = set(s.p11.labels()) - {s.label(self.bystander)}
        s.start_csrd()
        s.wait_ready()
        self.passes(1)
        self.assert_kept(label)
        self.assertEqual(s.create().status, 201)
        s.stop()

    def test_F104_crash_while_it_is_noticed(self):
        """At each step of noticing, a crash leaves the key, and the next start goes on."""
        s = self.s
        for program, point in (("csrd", "set-aside.before"), ("csrd", "set-aside.after"), ("csrd", "set-aside.kept"),
                               ("csrd-hsm", "note-store.before-write"), ("csrd-hsm", "note-store.after-write")):
            with self.subTest(point):
                shutil.rmtree(self.folder / "snapshot", ignore_errors=True)
                label = self.caught_create(self.snapshot)
                self.put_snapshot_back()
                s.start_hsm()
                s.arm(program, point)
                s.start_csrd(wait=program != "csrd")  # killed: what it logged last may be lost
                (s.csrd if program == "csrd" else s.hsm).wait()
                if program == "csrd":
                    s.start_csrd()
                else:
                    s.start_hsm()
                s.wait_ready()
                self.passes(1)
                self.assert_kept(label)
                self.assertEqual(s.create().status, 201)

    def test_F105_ordinary_crash_is_settled(self):
        """Neither a crash of both, nor one right after the first start, is taken for a store that went back."""
        s = self.s
        for round_ in range(3):
            s.arm("csrd", "create.before-commit")
            with self.assertRaises((harness.GoneAway, OSError)):
                s.create()
            s.csrd.wait()
            s.hsm.kill()
            s.start()
            s.wait_settled()
        harness.wait_for("a clean token", lambda: set(s.p11.labels()) == {s.label(self.bystander)})
        with sqlite3.connect(s.store_path) as store:
            told = store.execute("SELECT count(*) FROM audit WHERE action = 'store.rolled-back'").fetchone()[0]
        self.assertEqual(told, 0)
        self.assertEqual(self.verify(), {})
        s.stop()


if __name__ == "__main__":
    unittest.main()
