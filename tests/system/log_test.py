"""Who reads the log, or does not, holds nobody up (F127, F129), and what stands in the place of closed standard
descriptors (F128)."""
# run: seconds=37
import http.client
import os
import re
import socket
import subprocess
import threading
import unittest

import harness
import managed

REQUESTS = 4000  # at debug, several times what the log's queue holds
CLIENTS = 2

# The descriptors $1 … are closed in the program that is the rest.
WITHOUT = """exec 3>&-; for fd in 0 1 2; do case $1 in *$fd*) eval "exec $fd>&-";; esac; done; shift; exec "$@"
"""


class Pipe:
    """A log that is read only when the test says so."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.text = ""
        self.thread = None

    def log(self):
        return self.text

    def read(self):
        """From now on, until all ends that write are closed."""
        os.close(self.writer)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with os.fdopen(self.reader, "r", encoding="utf-8") as stream:
            for line in stream:
                self.text += line


class LogTest(managed.ManagedCase):
    def spawn_into(self, pipe, program):
        """The program with its log in the pipe."""
        s = self.s
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, s.command(program, "-c", s.config_path))],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=pipe.writer,
                                   env=s.environment(program), cwd=s.folder, start_new_session=True)

        def end():
            process.kill()
            process.wait()
        self.addCleanup(end)
        return process

    def at_port(self):
        port = harness.free_port()
        self.s.settings["http"]["listen"] = "127.0.0.1:%d" % port
        self.s.write_config()
        self.s.address = ("127.0.0.1", port)

    def is_ready(self):
        try:
            return harness.http_request(self.s.address, "GET", "/readyz", timeout=5).status == 200
        except (OSError, harness.GoneAway):
            return False

    def ask(self, count):
        """Requests with credentials on one connection; all are answered."""
        connection = http.client.HTTPConnection(*self.s.address, timeout=harness.PATIENCE)
        try:
            for _ in range(count):
                connection.request("GET", "/client/v4" + self.s.scope_path() + "?per_page=5", headers=self.s.bearer())
                response = connection.getresponse()
                response.read()
                self.assertEqual(response.status, 200)
        finally:
            connection.close()

    def serve_unread(self):
        """Everything goes on while nobody takes the log; how many lines there were at least."""
        harness.in_parallel([lambda: self.ask(REQUESTS // CLIENTS)] * CLIENTS)
        self.assertEqual(self.health().status, 200)
        for _ in range(5):
            self.assertEqual(self.s.create().status, 201)
        self.assertEqual(self.health().status, 200)

    def lost_of(self, text):
        return sum(int(number) for number in re.findall(r"(\d+) lines of the log were lost", text))

    def answers_of(self, text):
        """Lines of requests that were answered."""
        return len(re.findall(r"custom_csrs.* 200", text))

    def test_f127_a_pipe_that_nobody_reads(self):
        self.at_port()
        pipe, s = Pipe(), self.s
        hsm, csrd = (self.spawn_into(pipe, program) for program in ("csrd-hsm", "csrd"))
        harness.wait_for("/readyz", self.is_ready)
        self.serve_unread()
        pipe.read()
        harness.wait_for("the count of the lost", lambda: self.lost_of(pipe.log()))
        self.ask(1)
        lost = self.lost_of(pipe.log())
        for process in (csrd, hsm):
            process.terminate()
            self.assertEqual(process.wait(harness.PATIENCE), 0)
        pipe.thread.join(harness.PATIENCE)
        self.assertGreaterEqual(self.answers_of(pipe.log()) + lost, REQUESTS + 1)
        self.assertGreater(self.answers_of(pipe.log()), 100)
        self.assertRegex(pipe.log(), r"csrd notice: stopped\n")
        self.assertRegex(pipe.log(), r"csrd-hsm notice: stopped\n")
        self.assertEqual(len(re.findall(r"^\d{4}-\d\d-\d\dT\S+ csrd(?:-hsm)? \w+: .*$", pipe.log(), re.M)),
                         pipe.log().count("\n"), "whole lines")

    def test_f127_the_end_with_a_pipe_that_nobody_reads(self):
        self.at_port()
        pipe = Pipe()
        hsm, csrd = (self.spawn_into(pipe, program) for program in ("csrd-hsm", "csrd"))
        harness.wait_for("/readyz", self.is_ready)
        self.ask(REQUESTS // 10)
        for process in (csrd, hsm):
            process.terminate()
            self.assertEqual(process.wait(harness.PATIENCE), 0)
        os.close(pipe.writer)
        os.close(pipe.reader)

    def test_f127_a_bad_end_with_a_pipe_that_nobody_reads(self):
        """A module that calls exit(3), or hangs, ends its signer as it does with a log that is read."""
        self.at_port()
        s = self.s
        for rule, limit in (("C_Sign exit 0", "5m"), ("C_Sign hang", "500ms")):
            with self.subTest(rule):
                s.settings["token default"]["timeout_sign"] = limit
                s.write_config()
                pipe = Pipe()
                hsm, csrd = (self.spawn_into(pipe, program) for program in ("csrd-hsm", "csrd"))
                harness.wait_for("/readyz", self.is_ready)
                self.ask(REQUESTS // 10)
                s.shim.set(rule)
                self.assertEqual(s.create().status, 503)
                self.assertEqual(hsm.wait(harness.PATIENCE), 75)
                s.shim.clear()
                csrd.terminate()
                self.assertEqual(csrd.wait(harness.PATIENCE), 0)
                os.close(pipe.writer)
                os.close(pipe.reader)

    @unittest.skipUnless(os.geteuid() == 0, "a mount namespace takes root")
    def test_f129_a_journald_that_stands_still(self):
        """Its socket is there and full."""
        self.at_port()
        s = self.s
        folder = self.folder / "journal"
        folder.mkdir()
        s.journals["csrd"] = folder
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.bind(str(folder / "socket"))
            s.start_hsm()
            s.start_csrd(wait=False)
            harness.wait_for("/readyz", self.is_ready)
            self.serve_unread()
            text, fields = "", []
            journal.settimeout(harness.PATIENCE)
            while not self.lost_of(text):
                entry = journal.recv(65536).decode("utf-8")
                fields.append(dict(line.split("=", 1) for line in entry.splitlines()))
                text += fields[-1]["MESSAGE"] + "\n"
            self.assertGreaterEqual(self.answers_of(text) + self.lost_of(text), REQUESTS)
            self.assertTrue(any("CSRD_REQUEST_ID" in entry for entry in fields))
            self.assertEqual({entry["SYSLOG_IDENTIFIER"] for entry in fields}, {"csrd"})
            reader = threading.Thread(target=self.drain, args=(journal,), daemon=True)
            reader.start()
            s.stop()
        self.assertEqual(s.csrd.log(), "", "nothing went elsewhere")

    def drain(self, journal):
        try:
            while True:
                journal.recv(65536)
        except OSError:
            pass

    # -- F128

    def targets(self, pid):
        return [os.readlink("/proc/%d/fd/%d" % (pid, fd)) for fd in range(3)]

    def test_f128_standard_descriptors_closed(self):
        """csrd and csrd-hsm: /dev/null has their numbers, and nothing of ours."""
        self.at_port()
        s = self.s
        processes = []
        for program in ("csrd-hsm", "csrd"):
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", WITHOUT, "sh", "012",
                                        *map(str, s.command(program, "-c", s.config_path))],
                                       env=s.environment(program), cwd=s.folder, start_new_session=True)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            processes.append(process)
        harness.wait_for("/readyz", self.is_ready)
        self.assertEqual(s.create().status, 201)
        for process in processes:
            self.assertEqual(self.targets(process.pid), ["/dev/null"] * 3)
        for process in reversed(processes):
            process.terminate()
            self.assertEqual(process.wait(harness.PATIENCE), 0)

    def test_f128_csrctl_says_that_its_output_is_lost(self):
        """An API token that nobody was shown is no success, and the database is not what it was written into."""
        s = self.s
        done = harness.run(["sh", "-c", WITHOUT, "sh", "01", *map(str, s.command("csrctl", "-c", s.config_path)), "token",
                            "list"], check=False, env=s.environment("csrctl"))
        self.assertEqual((done.returncode, done.stdout), (71, ""))
        self.assertIn("cannot write to standard output", done.stderr)
        self.assertEqual(len(s.csrctl("token", "list")["tokens"]), 1)


if __name__ == "__main__":
    unittest.main()
