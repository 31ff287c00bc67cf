"""A token that is full (F63), shared with thousands of keys that are not ours (F66), that loses keys (F68) or halves
of pairs (F69) to others, and is written by others meanwhile (F71)."""
# run: seconds=60 timeout=400
import base64
import collections
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import unittest
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import faults
import harness

FOREIGN = (0, 1, 3000, 10000)  # pairs
CREATES = 16  # names are reserved so many at a time, and how far the journal is is written to the token with each block
STRANGERS = 3
LOAD_SECONDS = 6


def public_key(pem):
    key = x509.load_pem_x509_csr(pem.encode()).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class FullTokenTest(faults.FaultCase):
    def refused_creates(self, how_many=5):
        """503 each, at once, with a text that is no riddle."""
        for key_type in ("p256v1", "rsa2048", "p256v1", "p256v1", "rsa2048")[:how_many]:
            started = time.monotonic()
            answer = self.create_any((503,), key_type=key_type)
            self.assertEqual(answer.codes, [1503], answer)
            self.assertLess(time.monotonic() - started, 5 * faults.SLOW)

    def check_old_keys(self, ids):
        """What was made before is there, signs, and can be deleted."""
        data, out = self.folder / "data", self.folder / "out"
        data.write_bytes(b"\x01" * 32)
        for csr_id in ids:
            self.assertEqual(self.s.get(csr_id).status, 200)
            label = self.s.label(csr_id)
            (key,) = [o for o in self.s.p11.objects() if (o["label"], o["class"]) == (label, "private")]
            mechanism = "ECDSA" if key["type"] == "ec" else "SHA256-RSA-PKCS"
            self.s.p11.tool("--sign", "--mechanism", mechanism, "--id", key["id"], "--input-file", data,
                            "--output-file", out)
            self.assertGreater(out.stat().st_size, 60)
            out.unlink()

    def test_F63_device_memory(self):
        s = self.start_supervised()
        before = self.s.p11.labels()
        s.shim.set("C_GenerateKeyPair return CKR_DEVICE_MEMORY")
        self.refused_creates()
        self.assertEqual(s.p11.labels(), before, "no orphan")
        s.hsm.wait_log("CKR_DEVICE_MEMORY")
        self.check_old_keys(self.acknowledged)
        self.delete_any(self.acknowledged[0], (200,))  # which is how room is made
        self.over()
        self.finish()

    def test_F63_device_memory_after_half(self):
        """The token says that it is full, and has made the pair all the same."""
        s = self.start_supervised()
        before = self.s.p11.labels()
        s.shim.set("C_GenerateKeyPair after-return CKR_DEVICE_MEMORY")
        self.refused_creates(2)
        harness.wait_for("no orphan", lambda: self.s.p11.labels() == before, every=0.2)
        self.over()
        self.finish()

    def test_F63_token_folder_is_full(self):
        """A token folder of 1 MiB: pairs until there is no room, then errors, then a delete makes room."""
        s = self.start_on_small_disk()
        made = [self.create_ok() for _ in range(3)]
        filler = self.fill(made)
        self.create_any((500, 503))
        labels = s.p11.labels()
        self.assertEqual(set(labels), {s.label(i) for i in self.acknowledged}, "no orphan")
        self.assertEqual({tuple(v) for v in labels.values()}, {("private", "public")})
        self.check_old_keys([r["id"] for r in made[:2]])
        self.delete_any(made[0]["id"], (200,))
        filler.unlink()
        self.over()
        self.finish()

    def fill(self, made):
        """All the room that is left, and then creates until one is refused."""
        filler = pathlib.Path("/proc/%d/root%s/filler" % (self.holder.pid, self.s.p11.folder / "tokens"))
        with open(filler, "wb") as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
                    file.flush()
            except OSError:
                os.ftruncate(file.fileno(), max(0, os.fstat(file.fileno()).st_size - 5 * 4096))
        for _ in range(20):
            answer = self.create_any((201, 500, 503))
            if answer.status != 201:
                return filler
            made.append(answer.result)
        raise AssertionError("the disk does not get full")

    def start_on_small_disk(self):
        """Everything that uses the token runs in a mount namespace that goes with this test."""
        s = self.shim_service()
        tokens = s.p11.folder / "tokens"
        kept = s.p11.folder / "kept"
        shutil.copytree(tokens, kept)
        self.holder = self.mount_for(s, "mount -t tmpfs -o size=1m none '%s' && cp -a '%s/.' '%s'" % (
            tokens, kept, tokens))
        return self.start_supervised(service=s)


class ForeignKeysTest(faults.FaultCase):
    """F66.  Times depend on the module; what csrd-hsm asks of it must not depend on what else is there."""

    def test_F66_foreign_keys(self):
        s = self.s = self.shim_service(settings={"policy": {"reconcile_interval": "1h"}})
        s.p11.ask("make-pair", "somebody else's")
        (folder,) = (s.p11.folder / "tokens").iterdir()
        self.pair = [path for path in folder.glob("*.object") if path.name != "token.object"]
        self.assertEqual(len(self.pair), 2)
        self.there = 1
        self.one_life()  # from here on each finds on the token what the one before wrote there
        seen = {}
        for count in FOREIGN:
            self.set_foreign(folder, count)
            seen[count] = self.one_life(seen.get(0))
        for count in FOREIGN[1:]:
            with self.subTest(foreign=count):
                self.assertEqual(seen[count]["create"], seen[0]["create"], "calls of the creates")
                self.assertEqual(seen[count]["start"], seen[0]["start"], "calls of a start")
                self.assertEqual(seen[count]["delete"], seen[0]["delete"], "calls of the deletes")
        print("calls of a start: %s" % dict(seen[0]["start"]))
        print("calls of %d creates: %s" % (CREATES, dict(seen[0]["create"])))

    def set_foreign(self, folder, count):
        """SoftHSM keeps an object a file; the name is free.  A copy is another object."""
        if count == 0:
            for path in self.pair:
                path.rename(folder.parent.parent / path.name)
            self.there = 0
            return
        if self.there == 0:
            for path in self.pair:
                (folder.parent.parent / path.name).rename(path)
            self.there = 1
        data = [path.read_bytes() for path in self.pair]
        for _ in range(self.there, count):
            for content in data:
                (folder / ("%s.object" % uuid.uuid4())).write_bytes(content)
        self.there = count

    def one_life(self, first=None):
        s = self.s
        s.start_hsm()  # which may probe the token; the next start remembers
        self.assertEqual(s.hsm.terminate(), 0)
        mark = s.shim.mark()
        s.start_hsm()
        if first:
            harness.wait_for("the calls of a start", lambda: not first["start"] - self.tally(mark), every=0.1)
        self.quiet()
        start = self.tally(mark)
        s.start_csrd()
        s.wait_ready()
        # Until the comparison that csrd makes at start is over.
        s.csrd.wait_log(r"(?i)reconcil|compar|agree|settled")
        self.quiet()
        ids = []
        mark = s.shim.mark()
        for _ in range(CREATES):
            ids.append(self.create_ok()["id"])
        create = self.tally(mark)
        mark = s.shim.mark()
        for csr_id in ids:
            self.delete_any(csr_id, (200,))
        delete = self.tally(mark)
        s.stop()
        return {"start": start, "create": create, "delete": delete}

    def tally(self, mark):
        """Calls by function, without those that a thread makes when it is idle."""
        idle = {"C_GetSessionInfo", "C_GetTokenInfo"}
        return collections.Counter(call.function for call in self.s.shim.calls(mark) if call.function not in idle)

    def quiet(self):
        """Until nobody searches the token any more."""
        state = {"size": -1, "since": 0.0}

        def still():
            size = len([c for c in self.s.shim.calls() if c.function.startswith("C_Find")])
            if size != state["size"]:
                state.update(size=size, since=time.monotonic())
            return time.monotonic() - state["since"] > 0.3
        harness.wait_for("a quiet token", still, every=0.05)


class SharedTokenTest(faults.FaultCase):
    def test_F68_key_destroyed_outside(self):
        s = self.start_supervised()
        lost, kept = self.acknowledged[0], self.acknowledged[1:]
        (key_id,) = {o["id"] for o in s.p11.objects() if o["label"] == s.label(lost)}
        for kind in ("privkey", "pubkey"):
            s.p11.tool("--delete-object", "--type", kind, "--id", key_id)
        report = self.reconcile()
        self.assertEqual((report["missing"], report["unknown"]), (1, 0), report)
        self.assertEqual([(f["finding"], f["csr"], f["key"]) for f in report["findings"]],
                         [("missing", lost, "none")])
        self.assertEqual(set(s.rows("active")), {lost, *kept}, "nothing is changed unasked")
        self.assertEqual(s.delete(lost).status, 200)
        self.acknowledged.remove(lost)
        self.gone.append(lost)
        self.assertEqual(self.reconcile()["missing"], 0)
        self.over()
        self.finish()

    def test_F69_half_pair_of_a_csr(self):
        """The private key of an active CSR is gone and the public one is there: missing, with what is left."""
        s = self.start_supervised()
        broken = self.acknowledged[0]
        (key_id,) = {o["id"] for o in s.p11.objects() if o["label"] == s.label(broken)}
        s.p11.tool("--delete-object", "--type", "privkey", "--id", key_id)
        report = self.reconcile()
        self.assertEqual([(f["finding"], f["csr"], f["key"]) for f in report["findings"]],
                         [("missing", broken, "public-only")])
        self.assertEqual(s.delete(broken).status, 200)
        self.acknowledged.remove(broken)
        self.assertNotIn(s.label(broken), s.p11.labels())
        self.over()
        self.finish()

    def test_F69_half_pair_of_nobody(self):
        """A lone public key with a label of ours and no row: reported, counted, and never destroyed unasked."""
        s = self.start_supervised()
        name = base64.b32encode(uuid.uuid4().bytes).decode().rstrip("=").lower()
        for label in ("csrd-" + name, "csrd:" + str(uuid.uuid4())):  # of today, of csrd 0.1
            with self.subTest(label=label):
                s.p11.ask("make-half", label)
                report = self.reconcile()
                self.assertEqual((report["unknown"], report["half_pairs"]), (1, 1), report)
                (finding,) = report["findings"]
                self.assertEqual((finding["finding"], finding["label"], finding["key"]),
                                 ("unknown", label, "public-only"))
                self.assertEqual(self.reconcile("--apply")["unknown"], 1)
                self.assertIn(label, s.p11.labels())
                s.p11.tool("--delete-object", "--type", "pubkey", "--label", label)
        self.over()
        self.finish()

    def test_F71_others_write_the_same_token(self):
        """Three processes make and destroy keys on the token while creates and deletes go on.  SoftHSM may then show
        one of the processes an object twice, or one that is gone, until its module is initialised again: a delete that
        cannot be proved stays open until the signer does that by itself.  And it may not show one that is there, which
        nobody can tell from one that is gone: for the comparison at the end the signer starts again."""
        s = self.start_supervised()
        command = [sys.executable, harness.ROOT / "tests" / "system" / "p11.py", s.p11.module, s.p11.label,
                   s.p11.PIN, "churn"]
        strangers = [subprocess.Popen([*command, "stranger %d" % n], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True,
                                      env=harness.clean_environment(**s.p11.environment)) for n in range(STRANGERS)]
        for stranger in strangers:
            self.addCleanup(stranger.kill)
        self.answers = collections.Counter()
        self.keys = {}
        self.lock = threading.Lock()
        until = time.monotonic() + LOAD_SECONDS
        harness.in_parallel([lambda n=n: self.work(until, n) for n in range(4)])
        made = []
        for stranger in strangers:
            out, err = stranger.communicate("enough", timeout=harness.PATIENCE)
            self.assertEqual(stranger.returncode, 0, err)
            made.append(int(out))
        print("strangers made %s pairs; answers: %s" % (made, dict(self.answers)))
        self.assertGreater(min(made), 3)
        self.assertGreater(self.answers["create 201"], 20)
        self.assertEqual(len(set(self.keys.values())), len(self.keys), "two CSRs share a key (I3)")
        self.over(within=5 * faults.SLOW)
        self.assertEqual(self.supervisor.ends, [], "without a new process")
        s.hsm.kill()
        self.ordinary_create(5 * faults.SLOW)
        self.finish()

    def work(self, until, number):
        mine = []
        while time.monotonic() < until:
            answer = self.s.create(key_type="rsa2048" if number == 0 else "p256v1")
            self.assertIn(answer.status, (201, 500, 503), answer)
            with self.lock:
                self.answers["create %d" % answer.status] += 1
            if answer.status == 201:
                mine.append(answer.result["id"])
                with self.lock:
                    self.keys[answer.result["id"]] = public_key(answer.result["csr"])
            if len(mine) > 3:
                csr_id = mine.pop(0)
                status = self.s.delete(csr_id).status
                self.assertIn(status, (200, 503))
                with self.lock:
                    self.answers["delete %d" % status] += 1
                    if status == 200:
                        self.gone.append(csr_id)
        with self.lock:
            self.acknowledged += mine


if __name__ == "__main__":
    unittest.main()
