"""tests/debian13: what a machine cannot do is told from what went wrong, and one that is killed leaves nothing."""
# run: seconds=2
import fcntl
import os
import subprocess
import unittest

import harness

SCRIPT = harness.ROOT / "tests" / "debian13"
MIRROR = "http://mirror.example/debian"


@unittest.skipIf(os.geteuid() != 0, "it takes root")
class Debian13Test(harness.Case):
    def setUp(self):
        super().setUp()
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.command("apt-get", "[ \"$1\" != indextargets ] || echo %s/" % MIRROR)
        self.command("apt-config", "exit 0")

    def command(self, name, text):
        path = self.bin / name
        path.write_text("#!/bin/sh\n%s\n" % text)
        path.chmod(0o755)

    def environment(self):
        return harness.clean_environment(PATH="%s:/usr/sbin:/usr/bin:/sbin:/bin" % self.bin, DEBIAN13=str(self.folder))

    def why_not(self):
        done = subprocess.run([SCRIPT, "why-not"], env=self.environment(), capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 0 if done.stdout else 1, done.stderr)
        return done.stdout

    def answers(self, line):
        self.command("wget", "echo \"$@\" >'%s/asked'; echo '  %s' >&2; exit 8" % (self.folder, line))

    def test_F241_why_not(self):
        """One line where no run could do better; where one could, nothing, so that the run meets it and fails."""
        self.answers("HTTP/1.1 404 Not Found")
        self.assertEqual(self.why_not(), "the mirror that apt is configured with has no trixie\n")
        self.assertIn(MIRROR + "/dists/trixie/Release", (self.folder / "asked").read_text())
        for line in ("HTTP/1.1 503 Service Unavailable", "HTTP/1.1 200 OK", "unable to resolve host address"):
            self.answers(line)
            self.assertEqual(self.why_not(), "", line)
        self.command("unshare", "echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1")
        self.assertEqual(self.why_not(), "the kernel gives no namespaces: unshare: unshare failed: Operation not permitted\n")

    def test_F242_killed(self):
        """Not even what runs and is mounted in its namespaces is left."""
        alive, begun = self.folder / "alive", self.folder / "begun"
        self.command("debootstrap", "exec 7>'%s'\nflock 7\nmount -t tmpfs tmpfs \"$3\"\ntouch '%s'\nsleep 1000 &\nwait"
                     % (alive, begun))
        process = subprocess.Popen([SCRIPT, "make"], env=self.environment(), stdout=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        harness.wait_for("debootstrap", begun.exists)
        with open(alive, "w", encoding="utf-8") as lock:
            with self.assertRaises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process.kill()
            process.wait()
            harness.wait_for("the end of all of it", lambda: self.is_free(lock))
        self.assertNotIn(str(self.folder), open("/proc/self/mountinfo", encoding="utf-8").read())

    @staticmethod
    def is_free(lock):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False


if __name__ == "__main__":
    unittest.main()
