"""What the fault tests share: a service whose signer loads tests/p11shim over SoftHSM, somebody who starts the signer
again when it ends, and a look at what a fault left behind.

After each fault (FaultCase.over): an ordinary create works within two seconds, keys and rows agree, and the signer
holds as many descriptors and sessions as before.
"""
import json
import os
import re
import sqlite3
import shutil
import subprocess
import threading
import time

import harness

SHIM = harness.BIN.parent / "tests" / "p11shim.so"
SLOW = 5 if harness.SANITIZE else 1
WITHIN = 2.0 * SLOW  # from the end of a fault to the next create that works

# Exit codes after which nobody starts the signer again (base/exit_code.h), and the orderly end.
NOT_AGAIN = (0, 64, 66, 67, 73, 77, 78)

TRACE_LINE = re.compile(r"(\d+\.\d+) (\d+)/(\d+) (C_\w+)(.*?) = (\w+)(?: (\d+)us)?$")


def audit_objects(store_path, action):
    """The ids of the CSRs of which the audit trail tells that."""
    store = sqlite3.connect("file:%s?mode=ro" % store_path, uri=True)
    try:
        return {re.search(r"[0-9a-f-]{36}", row[0])[0]
                for row in store.execute("SELECT object FROM audit WHERE action = ?", [action])}
    finally:
        store.close()


class Call:
    """One line of the shim's trace."""

    def __init__(self, match):
        self.at, self.pid, self.thread = float(match[1]), int(match[2]), int(match[3])
        self.function, self.text, self.answer = match[4], match[5], match[6]

    def number(self, name):
        found = re.search(r"\b%s=(\d+)" % name, self.text)
        return int(found[1]) if found else None


class Shim:
    """The rules, the trace and the counters of tests/p11shim, in a folder of the service."""

    def __init__(self, folder, module):
        self.folder = folder / "shim"
        self.folder.mkdir()
        self.rules, self.trace, self.state = (self.folder / name for name in ("rules", "trace", "state"))
        self.module = module
        self.set("")

    @property
    def environment(self):
        return {"P11SHIM_MODULE": str(self.module), "P11SHIM_RULES": str(self.rules),
                "P11SHIM_TRACE": str(self.trace), "P11SHIM_STATE": str(self.state)}

    def set(self, *rules):
        fresh = self.folder / "rules.new"
        fresh.write_text("".join(rule + "\n" for rule in rules))
        fresh.rename(self.rules)

    def clear(self):
        self.set("")

    def count(self, name):
        """Calls begun of a function, over all processes."""
        path = self.state / name
        return path.stat().st_size if path.exists() else 0

    def calls(self, since=0):
        """Those in the trace past the offset `since` (self.mark())."""
        if not self.trace.exists():
            return []
        with open(self.trace, encoding="utf-8", errors="replace") as file:
            file.seek(since)
            matches = [TRACE_LINE.match(line.rstrip("\n")) for line in file]
        return [Call(match) for match in matches if match]

    def mark(self):
        return self.trace.stat().st_size if self.trace.exists() else 0

    def open_sessions(self, pid):
        """How many the process holds; None for one that was never in the module."""
        open_now = set()
        for call in self.calls():
            if call.pid != pid:
                continue
            if call.function == "C_OpenSession" and call.answer == "CKR_OK":
                open_now.add(re.search(r"-> session=(\d+)", call.text)[1])
            elif call.function == "C_CloseSession":
                open_now.discard(str(call.number("session")))
            elif call.function in ("C_CloseAllSessions", "C_Finalize"):
                open_now.clear()
        return len(open_now)


class ShimService(harness.Service):
    """As Service, with the shim between the signer and SoftHSM."""

    def default_settings(self):
        self.shim = Shim(self.folder, self.p11.module)
        self.hsm_environment = {}  # more for csrd-hsm
        self.hsm_wrapper = []      # a command before it
        self.signer_program = None # instead of csrd-hsm, a copy
        settings = super().default_settings()
        # A copy: where it was built, others than the signer's user may own a folder on the way.
        settings["token default"]["module"] = shutil.copy(SHIM, self.folder)
        settings["token default"]["threads"] = 2
        settings["policy"] = {"reconcile_interval": "1s"}
        return settings

    def environment(self, program=None):
        environment = super().environment(program)
        if program == "csrd-hsm":
            environment.update(self.shim.environment)
            environment.update(self.hsm_environment)
        return environment

    def command(self, program, *arguments):
        command = super().command(program, *arguments)
        if program == "csrd-hsm" and self.signer_program:
            command[0] = self.signer_program
        return [*self.hsm_wrapper, *command] if program == "csrd-hsm" else command


class Supervisor:
    """Starts csrd-hsm again when it ends, as systemd would: not after an orderly end, and not after an exit code that
    says that starting again is of no use.  Its thread is the parent of all that it starts, so it never ends."""

    def __init__(self, service, every=0.05):
        self.service = service
        self.every = every
        self.ends = []        # exit statuses
        self.lock = threading.Lock()
        self.stopped = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.started = threading.Event()

    def start(self):
        self.thread.start()
        self.started.wait(harness.PATIENCE)
        self.service.hsm.wait_log("serving token ")
        return self

    def run(self):
        self.service.start_hsm(wait=False)
        self.started.set()
        while self.look():
            time.sleep(self.every)
        threading.Event().wait()

    def look(self):
        with self.lock:
            if self.stopped:
                return False
            status = self.service.hsm.popen.poll()
            if status is None:
                return True
            self.ends.append(status)
            if status in NOT_AGAIN:
                return False
            self.service.start_hsm(wait=False)
            return True

    def stop(self):
        """From here on what ends stays so."""
        with self.lock:
            self.stopped = True


class FaultCase(harness.Case):
    KEY_TYPES = ("p256v1", "rsa2048", "p256v1")  # of the keys that are there before the fault

    def setUp(self):
        super().setUp()
        self.acknowledged, self.gone = [], []

    def shim_service(self, name="", settings=None):
        folder = self.folder / ("s" + name)
        folder.mkdir()
        return ShimService(self, folder, self.logs(name and "." + name), settings)

    def start_supervised(self, settings=None, name="", service=None):
        """A service at work, with what its signer holds noted down."""
        self.s = service or self.shim_service(name, settings)
        self.acknowledged, self.gone = [], []  # a test may start more than one, one after the other
        self.supervisor = Supervisor(self.s)
        self.addCleanup(self.supervisor.stop)
        self.supervisor.start()
        self.s.start_csrd()
        self.s.wait_ready()
        self.csrd_pid = self.s.csrd.pid
        for key_type in self.KEY_TYPES:
            self.create_ok(key_type=key_type)
        self.note_holdings()
        return self.s

    # -- a token folder that can be taken away

    def mount_for(self, service, command):
        """A mount namespace that goes with this test: `command` is run in it, and then everything that uses the
        token.  Its process."""
        script = command + " && echo ready && exec sleep 1000000"
        holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", "unshare", "-m", "--", "sh", "-c", script],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(holder.communicate)
        self.addCleanup(holder.kill)
        if holder.stdout.readline() != "ready\n":
            self.skipTest("mounting is not permitted here: %s" % holder.stderr.read().strip())
        service.hsm_wrapper = service.p11.wrapper = ["nsenter", "-t", str(holder.pid), "-m", "--"]
        return holder

    # -- requests

    def create_ok(self, **fields):
        answer = self.s.create(**fields)
        self.assertEqual(answer.status, 201, answer)
        self.acknowledged.append(answer.result["id"])
        return answer.result

    def create_any(self, statuses=(201, 500, 503), **fields):
        """While a fault is on: an answer with one of the statuses; a 503 says when to come again."""
        answer = self.s.create(**fields)
        self.assertIn(answer.status, statuses, answer)
        if answer.status == 201:
            self.acknowledged.append(answer.result["id"])
        else:
            self.assertNotIn("csr\":", answer.body.decode(), "no CSR is released")
        if answer.status == 503:
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
        return answer

    def delete_any(self, csr_id, statuses=(200, 503)):
        answer = self.s.delete(csr_id)
        self.assertIn(answer.status, statuses, answer)
        if csr_id in self.acknowledged:
            self.acknowledged.remove(csr_id)  # from here on: there or not
        if answer.status == 200:
            self.gone.append(csr_id)
        return answer

    # -- the end of a fault

    def ordinary_create(self, within=WITHIN, **fields):
        """One that works, at the latest `within` seconds from now."""
        deadline = time.monotonic() + within
        while True:
            answer = self.s.create(**fields)
            if answer.status == 201:
                self.acknowledged.append(answer.result["id"])
                return answer.result
            if time.monotonic() > deadline:
                raise AssertionError("no create works %.1f s after the fault: %s\n%s" % (
                    within, answer, self.s.hsm.tail(12)))
            time.sleep(0.02)

    def note_holdings(self):
        self.descriptors = {process: self.descriptors_of(process) for process in (self.s.csrd, self.s.hsm)}
        self.sessions = self.s.shim.open_sessions(self.s.hsm.pid)

    @staticmethod
    def descriptors_of(process):
        return len(os.listdir("/proc/%d/fd" % process.pid))

    def check_holdings(self):
        """Descriptors and sessions are back where they were, in the process that is there now."""
        for process, before in zip((self.s.csrd, self.s.hsm), self.descriptors.values()):
            harness.wait_for("%d descriptors of %s" % (before, process.name),
                             lambda p=process, b=before: self.descriptors_of(p) <= b)
        harness.wait_for("%d sessions" % self.sessions,
                         lambda: self.s.shim.open_sessions(self.s.hsm.pid) <= self.sessions)

    def over(self, within=WITHIN):
        """The fault has just ended."""
        self.s.shim.clear()
        result = self.ordinary_create(within)
        self.assertTrue(self.s.csrd.is_running() and self.s.csrd.pid == self.csrd_pid, "csrd lived through it")
        self.s.wait_settled()
        self.assertEqual(self.left_over("destroyed"), [], "a row is destroyed when its key is proved to be gone")
        # What a failed create left and nobody could destroy at the time is found by csrd's next comparison.
        harness.wait_for("nothing left over", lambda: not self.left_over("failed"), every=0.2)
        self.s.check_sane(self, self.acknowledged, self.gone)
        self.check_holdings()
        return result

    def reconcile(self, *arguments):
        """The report of csrctl, whose exit status says whether something is left."""
        def ask():
            # 69: the module is being reinitialised after a destroy that proved nothing, which takes a moment.
            done = self.s.csrctl("reconcile", "--min-age", "0", *arguments, check=False)
            return done if done.returncode != 69 else None
        done = harness.wait_for("an answer to reconcile", ask, every=0.2)
        report = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1 if report["left"] else 0, done)
        return report

    def left_over(self, state):
        """Keys on the token whose rows are in that state."""
        labels = self.s.p11.labels()  # first: a key that goes meanwhile is none
        rows = self.s.rows()
        return [label for label in labels if rows.get(label[5:]) == state]

    def finish(self):
        """Nothing is left to reconcile, and both programs end in order."""
        report = self.reconcile()
        findings = ("pending", "deleting", "leftover", "missing", "unknown", "busy", "half_pairs")
        self.assertEqual({name: report[name] for name in findings}, dict.fromkeys(findings, 0))
        self.supervisor.stop()
        self.s.stop()
