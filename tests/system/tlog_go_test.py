"""tlog/ against Go's own transparency log, golang.org/x/mod/sumdb: trees of every size up to 600 and of random ones up to
a million, proofs, and notes both ways.  The package golang-golang-x-mod-dev has it."""
# run: rare seconds=15
import pathlib
import subprocess
import unittest

import clients
import harness

SOURCE = harness.ROOT / "tests" / "tlog" / "tlog_check.go"
BUILT = harness.ROOT / "build" / "clients"
GOPATH = pathlib.Path("/usr/share/gocode")
SAY = harness.BIN.parent / "tests" / "tlog" / "tlog_say"


class TlogGoTest(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        clients.need("go")
        if not (GOPATH / "src/golang.org/x/mod").is_dir():
            raise unittest.SkipTest("golang-golang-x-mod-dev is not installed")
        cls.check = BUILT / "tlog-check"
        BUILT.mkdir(parents=True, exist_ok=True)
        environment = harness.clean_environment(GO111MODULE="off", GOPROXY="off", GOFLAGS="", GOTOOLCHAIN="local", GOENV="off",
                                                GOPATH=str(GOPATH), GOCACHE=str(BUILT / "go-cache"))
        harness.run([clients.find("go"), "build", "-o", cls.check, SOURCE], timeout=300, env=environment)

    def test_trees_and_proofs(self):
        said = self.folder / "proofs"
        with open(said, "wb") as file:
            subprocess.run([SAY, "proofs", "600", "1000000", "1000"], stdout=file, check=True, timeout=300)
        with open(said, "rb") as file:
            checked = harness.run([self.check, "proofs"], stdin=file, timeout=300).stdout
        self.assertGreater(int(checked.split()[0]), 10000)

    def test_vectors(self):
        vectors = (harness.ROOT / "tests" / "unit" / "tlog_vectors.inc").read_text(encoding="utf-8")
        self.assertEqual(harness.run([self.check, "vectors"]).stdout, vectors)

    def test_notes_of_ours(self):
        log = self.folder / "log"
        harness.run([SAY, "log", log, "70000", "csr.example.org/log/1"])
        for index in (0, 35000, 69999):
            proof = log / "proofs" / ("%d.tlog-proof" % index)
            entry = harness.run([self.check, "proof", log / "vkey", proof]).stdout
            self.assertIn('"index":%d,' % index, entry)

    def test_notes_of_go(self):
        harness.run([self.check, "sign", self.folder])
        note = (self.folder / "note").read_bytes()
        for kind in ("ed25519", "ecdsa"):
            vkey = (self.folder / kind).read_text(encoding="utf-8")
            verify = [SAY, "verify", vkey]
            self.assertEqual(subprocess.run(verify, input=note, check=False, timeout=60).returncode, 0)
            changed = subprocess.run(verify, input=note.replace(b"first", b"First"), check=False, timeout=60,
                                     capture_output=True)
            self.assertEqual(changed.returncode, 1)


if __name__ == "__main__":
    unittest.main()
