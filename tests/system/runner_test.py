"""F169: tests/run.py gives jobs default signals and no input, however it was started itself: in the background of a
script (SIGINT and SIGQUIT ignored), under nohup (SIGHUP), with signals blocked, without a terminal, with its input closed."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import harness

RUNNER = harness.ROOT / "tests" / "run.py"
PROBE = """#!/bin/sh
grep -E '^Sig(Ign|Blk):' /proc/self/status
echo "input: $(readlink /proc/self/fd/0)"
echo "session: $(ps -o sid= -p $$) of $$"
echo 'ok 1 - probed'
"""
PROBE_TEST = """
import subprocess
import unittest


class Probe(unittest.TestCase):
    def test_probe(self):
        print()
        print(subprocess.run(["grep", "-E", "^Sig(Ign|Blk):", "/proc/self/status"], check=True, capture_output=True,
                             text=True).stdout)
"""
HOSTILE = ["env", "--ignore-signal=INT,QUIT,HUP,PIPE,TERM,ALRM,CHLD,USR1", "--block-signal=INT,TERM,USR2"]


class RunnerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="csrd-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_hostile(self, *arguments):
        done = subprocess.run([*HOSTILE, sys.executable, RUNNER, *arguments], capture_output=True, text=True,
                              timeout=harness.PATIENCE * 3, check=False, env=harness.clean_environment(),
                              start_new_session=True, preexec_fn=lambda: os.close(0))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def masks(self, text):
        # glibc's posix_spawn, which make uses, leaves its own signals 32 and 33 ignored; nobody can change these.
        own = 3 << 31
        return {name: int(value, 16) & ~own for name, value in re.findall(r"^Sig(Ign|Blk):\s*([0-9a-f]+)$", text, re.M)}

    def test_f169_a_program(self):
        probe = self.folder / "probe_test"
        probe.write_text(PROBE)
        probe.chmod(0o755)
        said = self.run_hostile("--build", self.folder, "--no-system", probe)
        self.assertIn("1 passed, 0 failed, 0 skipped", said)
        text = (self.folder / "test-logs" / "probe_test.log").read_text(encoding="utf-8")
        self.assertEqual(self.masks(text), {"Ign": 0, "Blk": 0}, text)
        self.assertIn("input: /dev/null\n", text)
        session, leader = re.search(r"session: +(\d+) of (\d+)", text).groups()
        self.assertEqual(session, leader, "a session of its own has no terminal")

    def test_f169_a_file_run_by_hand(self):
        path = self.folder / "probed_test.py"
        path.write_text(PROBE_TEST)
        masks = self.masks(self.run_hostile("--unittest", path))
        self.assertEqual(masks["Blk"], 0)
        for number in ("SIGINT", "SIGQUIT", "SIGTERM", "SIGALRM", "SIGCHLD", "SIGPIPE"):
            self.assertFalse(masks["Ign"] >> getattr(harness.signal, number) - 1 & 1, number)
        self.assertTrue(masks["Ign"] >> harness.signal.SIGHUP - 1 & 1, "nohup is obeyed")


if __name__ == "__main__":
    unittest.main()
