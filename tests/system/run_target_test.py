"""`make run`: a whole service from nothing, ready-made lines to use it, Ctrl-C ends it, the next run goes on."""
# run: seconds=2
import os
import pathlib
import re
import signal
import subprocess
import unittest

import harness


class RunTargetTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.run_dir = self.folder / "run dir"  # with a blank, as people have
        self.port = harness.free_port()
        self.log_folder = self.logs()

    def start(self, name):
        self.log_path = self.log_folder / (name + ".log")
        with open(self.log_path, "wb") as log:
            # setsid: a terminal's Ctrl-C reaches the whole foreground group, as killpg does here.
            process = subprocess.Popen(["make", "run", "RUN_DIR=%s" % self.run_dir, "PORT=%d" % self.port],
                                       cwd=harness.ROOT, env=harness.clean_environment(), stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.addCleanup(self.end, process)

        def ready():
            if process.poll() is not None:
                raise AssertionError("make run ended with %d\n%s" % (process.returncode, self.output()))
            return (self.run_dir / "ready").exists()
        harness.wait_for("ready", ready, 300)
        return process

    def output(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def end(self, process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def programs(self):
        """Processes that were started for our folder."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            name = os.path.basename(words[0]).decode("utf-8", "replace")
            if name in ("csrd", "csrd-hsm") and any(bytes(self.run_dir) in word for word in words):
                found.append(name)
        return sorted(found)

    def variables(self):
        done = harness.run(["sh", "-c", 'set -a; . "$1" && env', "sh", self.run_dir / "env"],
                           env={"PATH": os.environ["PATH"]})
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("CSRD_"))

    def interrupt(self, process):
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(harness.PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("Ctrl-C did not end it\n" + self.output()) from None
        harness.wait_for("the end of both programs", lambda: self.programs() == [])

    def list(self, variables, scope="accounts", name="CSRD_ACCOUNT"):
        path = "/client/v4/%s/%s/custom_csrs" % (scope, variables[name])
        answer = harness.http_request(("127.0.0.1", self.port), "GET", path,
                                      headers={"Authorization": "Bearer " + variables["CSRD_TOKEN"]})
        self.assertEqual(answer.status, 200, answer)
        return {item["id"]: item for item in answer.result}

    def test_make_run(self):
        process = self.start("first")
        self.assertEqual(self.programs(), ["csrd", "csrd-hsm"])
        variables = self.variables()
        self.assertEqual(set(variables), {"CSRD_" + name for name in ("URL", "TOKEN", "ACCOUNT", "ZONE", "EMAIL", "KEY")})
        self.assertEqual(variables["CSRD_URL"], "http://127.0.0.1:%d/client/v4" % self.port)
        self.assertIn("-----BEGIN CERTIFICATE REQUEST-----", self.output(), "it shows one CSR")
        first = self.list(variables)
        first.update(self.list(variables, "zones", "CSRD_ZONE"))
        self.assertGreaterEqual(len(first), 1)
        self.check_curl_line(variables, len(first))
        self.check_key(variables)
        self.interrupt(process)
        self.assertFalse((self.run_dir / "ready").exists(), "it is not ready any more")

        process = self.start("second")
        self.assertEqual(self.variables(), variables, "the same data again")
        again = self.list(variables)
        again.update(self.list(variables, "zones", "CSRD_ZONE"))
        self.assertLessEqual(set(first), set(again))
        self.assertEqual({key: again[key] for key in first}, first)
        self.interrupt(process)

    def check_curl_line(self, variables, had):
        """The ready-made lines, as somebody would paste them."""
        text = self.output()
        match = re.search(r"^[ \t]*(\. [^\n]*\n[ \t]*curl (?:[^\n]*\\\n)*[^\n]*)", text, re.M)
        self.assertTrue(match, text)
        done = harness.run(["sh", "-c", match.group(1)], cwd=harness.ROOT, env=harness.clean_environment())
        self.assertIn("BEGIN CERTIFICATE REQUEST", done.stdout, match.group(1))
        now = {**self.list(variables), **self.list(variables, "zones", "CSRD_ZONE")}
        self.assertEqual(len(now), had + 1)

    def check_key(self, variables):
        path = "/client/v4/zones/%s/custom_csrs" % variables["CSRD_ZONE"]
        headers = {"X-Auth-Email": variables["CSRD_EMAIL"], "X-Auth-Key": variables["CSRD_KEY"]}
        answer = harness.http_request(("127.0.0.1", self.port), "GET", path, headers=headers)
        self.assertEqual(answer.status, 200, answer)


if __name__ == "__main__":
    unittest.main()
