"""What the system tests stand on: a fresh SoftHSM token, a configuration, and
the real programs, each in a folder of its own that goes when the test ends.

    class SomeTest(harness.Case):
        def test_it(self):
            service = self.service()          # token, config, account, zone, token, user
            service.start()                   # csrd-hsm and csrd; returns when /readyz says so
            answer = service.create()         # POST, as an account
            self.assertEqual(answer.status, 201)

Each program logs into $CSRD_TEST_LOGS/<test>/<program>.<n>.log, which stays.
A sanitizer report of any of them fails the test that started it.  A program
dies with the test (PDEATHSIG), however that ends.

Environment: CSRD_BIN (the built programs, of a FAILPOINTS=1 variant),
CSRD_TEST_LOGS, CSRD_SANITIZE.
"""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import openapi

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("CSRD_BIN", ROOT / "build" / "release-failpoints" / "bin"))
SANITIZE = os.environ.get("CSRD_SANITIZE", "")
SOFTHSM_PATHS = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                 "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so")

# How long to wait for something that ought to happen at once.
PATIENCE = 60 if SANITIZE else 20

ACCOUNT = "0123456789abcdef0123456789abcdef"
ZONE = "fedcba9876543210fedcba9876543210"

SUBJECT = {
    "country": "US", "state": "California", "locality": "San Francisco", "organization": "Example, Inc.",
    "common_name": "example.com", "sans": ["example.com", "www.example.com"],
}


def softhsm_module():
    for path in SOFTHSM_PATHS:
        if os.path.exists(path):
            return path
    raise FileNotFoundError("SoftHSM's module is not installed (package softhsm2)")


def wait_for(what, condition, seconds=PATIENCE, every=0.01):
    """Polls until condition() is true and returns its value; fails naming `what`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("no '%s' within %.0f s" % (what, seconds))
        time.sleep(every)


def run(command, check=True, timeout=120, **kwargs):
    """A foreign program; its output is in the failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **kwargs)
    if check and done.returncode:
        raise AssertionError("%s: exit status %d\n%s%s" % (" ".join(map(str, command)), done.returncode, done.stdout,
                                                        done.stderr))
    return done


def make_certificate(folder, name="server", days=90, key_args=("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
    """A self-signed certificate for localhost: the paths of certificate and key."""
    certificate, key = folder / (name + ".crt"), folder / (name + ".key")
    run(["openssl", "req", "-x509", *key_args, "-nodes", "-keyout", key, "-out", certificate, "-days", str(days),
         "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
    key.chmod(0o600)
    return certificate, key


def clean_environment(**more):
    """Ours without what make, the SDK or SoftHSM of the developer would bring in."""
    drop = re.compile(r"MAKE|MFLAGS|CSRD_|CLOUDFLARE_|SOFTHSM2_|PKCS11_|npm_|NOTIFY_SOCKET|WATCHDOG_|LISTEN_|JOURNAL_STREAM|CREDENTIALS_DIRECTORY")
    environment = {key: value for key, value in os.environ.items() if not drop.match(key)}
    environment.update(more)
    return environment


# ---- a process under test --------------------------------------------------------

KEY_NAME = r"csrd-[a-z2-7]{26}"


class Process:
    """One started program with its log file."""

    def __init__(self, command, log_path, environment, cwd=None):
        self.command = [str(word) for word in command]
        self.name = os.path.basename(self.command[0])
        self.log_path = pathlib.Path(log_path)
        with open(self.log_path, "ab") as log:
            # setpriv: the process dies with the thread that starts it.  Its pid is the program's (exec).
            self.popen = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--"] + self.command,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                          env=environment, cwd=cwd, start_new_session=True)

    @property
    def pid(self):
        return self.popen.pid

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def is_running(self):
        return self.popen.poll() is None

    def wait(self, seconds=PATIENCE):
        """Its exit status, negative for a signal."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("'%s' still runs after %.0f s\n%s" % (self.name, seconds, self.tail())) from None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        """kill -9 and reap; nothing for one that has ended."""
        if self.is_running():
            self.popen.kill()
        return self.popen.wait(PATIENCE)

    def terminate(self, seconds=PATIENCE):
        if self.is_running():
            self.popen.terminate()
        return self.wait(seconds)

    def tail(self, lines=30):
        return "\n".join("    " + line for line in self.log().splitlines()[-lines:])

    def wait_log(self, pattern, seconds=PATIENCE):
        """Until its log matches; the match."""
        def look():
            match = re.search(pattern, self.log())
            if not match and not self.is_running():
                match = re.search(pattern, self.log())
                if not match:
                    raise AssertionError("'%s' ended with %s before it logged '%s'\n%s" % (
                        self.name, self.popen.returncode, pattern, self.tail()))
            return match
        try:
            return wait_for(pattern, look, seconds)
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, self.tail())) from None


# ---- an HTTP answer -----------------------------------------------------------------


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def result(self):
        return self.json["result"]

    @property
    def codes(self):
        return [error["code"] for error in self.json["errors"]]

    def __repr__(self):
        return "<%d %s>" % (self.status, self.body[:500].decode("utf-8", "replace"))


class GoneAway(Exception):
    """The server closed the connection without an answer."""


def answer_of(response, method, path, sent=None, is_api=True):
    """Reads an http.client response.  is_api: it must be one of doc/openapi.json, and so must what a create sent, if that
    was accepted."""
    answer = Answer(response.status, response.headers, response.read())
    if is_api:
        openapi.must_fit(method, path, answer, sent)
    return answer


def http_request(address, method, path, body=None, headers=None, timeout=PATIENCE, is_api=True):
    """One request on a connection of its own.  body: bytes, or anything JSON.  GoneAway when it is cut off after it
    was made; ConnectionRefusedError when nobody listens.  is_api: as answer_of says."""
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    connection.connect()
    try:
        connection.request(method, path, body, headers)
        return answer_of(connection.getresponse(), method, path, body, is_api)
    except (http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionError) as error:
        raise GoneAway(str(error)) from error
    finally:
        connection.close()


# ---- a token ----------------------------------------------------------------------------


class Token:
    """A SoftHSM token in a folder of its own."""

    PIN = "4711-test-pin"

    def __init__(self, folder, label="csrd test"):
        self.folder = pathlib.Path(folder)
        self.label = label
        self.module = softhsm_module()
        self.conf = self.folder / "softhsm2.conf"
        self.wrapper = []  # a command before each program that looks at the token
        tokens = self.folder / "tokens"
        tokens.mkdir(parents=True)
        self.conf.write_text("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n" % tokens)
        self.add(label)

    @property
    def environment(self):
        return {"SOFTHSM2_CONF": str(self.conf)}

    @property
    def uri(self):
        return "pkcs11:token=%s" % self.label.replace(" ", "%20")

    def add(self, label):
        run(["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", self.PIN],
            env=clean_environment(**self.environment))

    def ask(self, command, *arguments, label=None):
        """p11.py in a process of its own."""
        done = run([*self.wrapper, sys.executable, ROOT / "tests" / "system" / "p11.py", self.module,
                    label or self.label, self.PIN, command, *arguments], env=clean_environment(**self.environment))
        return json.loads(done.stdout)

    def objects(self):
        """All private and public keys: dictionaries of class, label, id, type, flags, public."""
        return self.ask("list")

    def labels(self):
        """label → sorted list of the classes that stand under it; only labels of csrd's keys, those of 0.1 too."""
        found = {}
        for key in self.objects():
            if re.fullmatch("csrd-[a-z2-7]{26}|csrd:.*", key["label"]):
                found.setdefault(key["label"], []).append(key["class"])
        return {label: sorted(classes) for label, classes in found.items()}

    def tool(self, *arguments, check=True):
        return run([*self.wrapper, "pkcs11-tool", "--module", self.module, "--token-label", self.label, "--login",
                    "--pin", self.PIN, *arguments], check=check, env=clean_environment(**self.environment))


# ---- the service ---------------------------------------------------------------------------


class Service:
    """A token, a configuration, and csrd-hsm and csrd over them.  Made by Case.service."""

    def __init__(self, case, folder, logs, settings=None, populate=True):
        self.case = case
        self.folder = pathlib.Path(folder)
        self.logs = pathlib.Path(logs)
        self.logs.mkdir(parents=True, exist_ok=True)
        self.p11 = Token(self.folder / "hsm")
        self.config_path = self.folder / "csrd.conf"
        self.store_path = self.folder / "csrd.db"
        self.socket_path = self.folder / "hsm.sock"
        self.pin_path = self.folder / "pin"
        self.pin_path.write_text(Token.PIN + "\n")
        self.pin_path.chmod(0o600)
        self.settings = self.default_settings()
        for section, values in (settings or {}).items():
            self.settings.setdefault(section, {}).update(values)
        self.write_config()
        self.csrd = None
        self.hsm = None
        self.address = None
        self.started = 0
        self.account, self.zone = ACCOUNT, ZONE
        self.token = self.email = self.key = None
        if populate:
            self.populate()

    def default_settings(self):
        return {
            "http": {"listen": "127.0.0.1:0"},
            "store": {"url": "sqlite:%s" % self.store_path},
            "log": {"level": "debug"},
            "token default": {
                "module": self.p11.module, "uri": self.p11.uri, "pin_file": self.pin_path,
                "state_dir": self.folder / "state",
                "socket": self.socket_path, "threads": 4,
            },
        }

    def write_config(self, extra=""):
        """self.settings (section → key → value) as the file; a value of None leaves the key out."""
        lines = []
        for section, values in self.settings.items():
            lines.append("[%s]" % section)
            lines += ["%s = %s" % (key, value) for key, value in values.items() if value is not None]
            lines.append("")
        self.config_path.write_text("\n".join(lines) + extra, encoding="utf-8")

    # -- programs

    def environment(self, program=None):
        environment = clean_environment(**self.p11.environment)
        if program:
            environment["CSRD_FAILPOINT_FILE"] = str(self.failpoint_path(program))
        if SANITIZE:
            for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
                given = os.environ.get(name)
                environment[name] = (given + ":" if given else "") + "log_path=%s" % (self.logs / "sanitizer")
        return environment

    def command(self, program, *arguments):
        return [BIN / program, *arguments]

    def spawn(self, program, *arguments):
        self.started += 1
        log_path = self.logs / ("%s.%03d.log" % (program, self.started))
        process = Process(self.command(program, *arguments), log_path, self.environment(program), cwd=self.folder)
        self.case.processes.append(process)
        return process

    def csrctl(self, *arguments, check=True, text=None):
        """csrctl --json …: its JSON answer; with check=False the finished process."""
        done = subprocess.run([BIN / "csrctl", "-c", self.config_path, "--json", *map(str, arguments)], input=text,
                              capture_output=True, text=True, timeout=PATIENCE * 3, env=self.environment("csrctl"),
                              cwd=self.folder, check=False)
        if not check:
            return done
        if done.returncode:
            raise AssertionError("csrctl %s: exit status %d\n%s%s" % (" ".join(map(str, arguments)), done.returncode,
                                                                    done.stdout, done.stderr))
        return json.loads(done.stdout) if done.stdout.strip() else None

    def populate(self):
        self.csrctl("account", "add", self.account, "--name", "test account")
        self.csrctl("zone", "add", self.zone, "--account", self.account, "--name", "example.com")
        grants = ["--account", self.account + ":write", "--zone", self.zone + ":write"]
        self.token = self.csrctl("token", "create", "--name", "test", *grants)["token"]
        self.email = "user@example.com"
        self.key = self.csrctl("user", "create", "--email", self.email, *grants)["key"]

    def start_hsm(self, wait=True):
        self.hsm = self.spawn("csrd-hsm", "-c", self.config_path)
        if wait:
            self.hsm.wait_log("serving token ")
        return self.hsm

    def start_csrd(self, wait=True):
        """wait: until it listens; readiness is wait_ready."""
        self.csrd = self.spawn("csrd", "-c", self.config_path)
        if wait:
            match = self.csrd.wait_log(r"listening on '127\.0\.0\.1:(\d+)'")
            self.address = ("127.0.0.1", int(match.group(1)))
        return self.csrd

    def start(self):
        self.start_hsm()
        self.start_csrd()
        self.wait_ready()
        return self

    def wait_ready(self, status=200, seconds=PATIENCE):
        def look():
            try:
                answer = http_request(self.address, "GET", "/readyz", timeout=5)
            except (GoneAway, OSError):
                answer = None
            if not self.csrd.is_running():
                raise AssertionError("csrd ended with %s\n%s" % (self.csrd.popen.returncode, self.csrd.tail()))
            return answer if answer is not None and answer.status == status else None
        try:
            return wait_for("/readyz with %d" % status, look, seconds)
        except AssertionError as error:
            tails = "".join("\n-- %s\n%s" % (p.name, p.tail()) for p in (self.csrd, self.hsm) if p)
            raise AssertionError(str(error) + tails) from None

    def stop(self):
        """SIGTERM to both; each must end with 0."""
        for process in (self.csrd, self.hsm):
            if process and process.is_running():
                status = process.terminate()
                self.case.assertEqual(status, 0, "'%s' after SIGTERM\n%s" % (process.name, process.tail()))

    @property
    def url(self):
        return "http://%s:%d/client/v4" % self.address

    # -- failpoints (base/failpoint.h)

    def failpoint_path(self, program):
        return self.folder / ("failpoint.%s" % program)

    def arm(self, program, name, sleep=False):
        path = self.failpoint_path(program)
        fresh = path.with_suffix(".new")
        fresh.write_text(name + (" sleep" if sleep else ""))
        fresh.rename(path)

    def disarm(self, program):
        self.failpoint_path(program).unlink(missing_ok=True)

    # -- requests

    def bearer(self):
        return {"Authorization": "Bearer " + self.token}

    def request(self, method, path, body=None, headers=None, timeout=PATIENCE):
        """path is below /client/v4."""
        headers = {**self.bearer(), **(headers or {})}
        return http_request(self.address, method, "/client/v4" + path, body, headers, timeout)

    def scope_path(self, zone=False):
        return "/zones/%s/custom_csrs" % self.zone if zone else "/accounts/%s/custom_csrs" % self.account

    def create(self, zone=False, headers=None, timeout=PATIENCE * 3, **fields):
        """p256v1 unless told otherwise; a field of None is left out."""
        body = {**SUBJECT, "key_type": "p256v1", **fields}
        body = {key: value for key, value in body.items() if value is not None}
        return self.request("POST", self.scope_path(zone), body, headers, timeout)

    def get(self, csr_id, zone=False):
        return self.request("GET", "%s/%s" % (self.scope_path(zone), csr_id))

    def delete(self, csr_id, zone=False, timeout=PATIENCE):
        return self.request("DELETE", "%s/%s" % (self.scope_path(zone), csr_id), timeout=timeout)

    # -- looking behind

    def wait_at_failpoint(self, program):
        wait_for("the failpoint of '%s'" % program, lambda: not self.failpoint_path(program).exists())

    def wait_at_signer(self, count=1):
        """Until so many creates wait for the signer, as csrd's log of level debug says it."""
        def look():
            log = self.csrd.log()
            answered = set(re.findall(r"POST '.*: \d+ in .* csr=(\S+)", log))
            return len(set(re.findall(r"asks the signer for a key.* csr=(\S+)", log)) - answered) == count
        return wait_for("%d creates at the signer" % count, look)

    def wait_at_work(self):
        """Until the signer is at a request."""
        return wait_for("a request at work", lambda: self.csrctl("status")["tokens"][0]["busy"], every=0.05)

    def journal_text(self):
        """All entries of the signer's journal, as they are in its files."""
        folder = self.folder / "state" / "journal"
        return b"".join(path.read_bytes() for path in (folder / "tail", *folder.glob("tile/entries/**/*"))
                        if path.is_file()).decode("utf-8", "replace")

    def wait_confirmed(self):
        """Until the signer knows that each CSR of the store stands, as its journal says it."""
        def confirmed():
            bound = " ".join(re.findall(r'"action":"bound"[^{}]*', self.journal_text()))
            return set(self.key_labels("active").values()) <= set(re.findall(KEY_NAME, bound))
        return wait_for("confirmed keys", confirmed, every=0.02)

    def rows(self, *states):
        """What the store holds: id → state, of the given states or all."""
        listed = self.csrctl("csr", "list", "--limit", 1000000)
        self.case.assertEqual(len(listed["csrs"]), listed["total_count"])
        rows = {row["id"]: row["state"] for row in listed["csrs"] if not states or row["state"] in states}
        return rows

    def has_pool(self):
        return any(name.startswith("pool_") for name in self.settings["token default"])

    def key_labels(self, *states):
        """id → label of its key, of the given states or all."""
        database = sqlite3.connect("file:%s?mode=ro" % self.store_path, uri=True)
        rows = database.execute("SELECT id, key_label FROM csrs WHERE key_label IS NOT NULL").fetchall()
        database.close()
        wanted = self.rows(*states) if states else None
        return {csr_id: label for csr_id, label in rows if wanted is None or csr_id in wanted}

    def label(self, csr_id):
        return self.key_labels()[csr_id]

    def is_settled(self):
        if self.rows("pending", "deleting"):
            return False
        # A signer at work, for a csrd that is dead even, uses a key that it does not know the end of a moment later.
        tokens = json.loads(self.csrctl("status", check=False).stdout)["tokens"]
        if any(token.get("busy") or token.get("queued") for token in tokens):
            return False
        done = self.csrctl("reconcile", check=False)
        if done.returncode == 69:  # EX_UNAVAILABLE: there is no signer
            return True
        report = json.loads(done.stdout)
        # Without a pool a key that was used for nothing is a create's, or one that the signer is about to destroy.
        unused = 0 if self.has_pool() else report["ready"]
        return report["pending"] + report["deleting"] + report["busy"] + unused == 0

    def wait_settled(self, seconds=PATIENCE):
        """Until no row is open, and the signer, if there is one, knows what became of each key that it used."""
        return wait_for("settled rows and keys", self.is_settled, seconds, every=0.05)

    def check_keys(self, case, mine):
        """What is on the token are the keys of the active rows, `mine`, and as many ready ones as csrd knows of.  A
        pool is filled meanwhile: the key that is being made is half a pair, and then one more than was counted."""
        deadline = time.monotonic() + (PATIENCE if self.has_pool() else 0)
        while True:
            labels = self.p11.labels()
            more = self.csrctl("reconcile", "--min-age", "0")["ready"] if self.has_pool() else 0
            halves = {k: v for k, v in labels.items() if v != ["private", "public"]}
            if (len(set(labels) - mine) == more and not halves) or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        case.assertEqual(mine - set(labels), set(), "active rows without keys: %s" % self.objects_without_label())
        case.assertEqual(len(set(labels) - mine), more,
                         "keys without rows: %s; %s" % (set(labels) - mine, self.objects_without_label()))
        case.assertEqual(halves, {}, "half pairs: %s" % self.objects_without_label())

    def objects_without_label(self):
        """What SoftHSM 2.6.1 may have left of an object that two threads were at (doc/hsm-compatibility.md)."""
        return "%d objects without a label" % sum(not key["label"] for key in self.p11.objects())

    def check_sane(self, case, acknowledged=(), gone=()):
        """What must hold whenever nothing is in flight (I1, I2, I3 of doc/architecture.md)."""
        rows = self.rows()
        active = {csr_id for csr_id, state in rows.items() if state == "active"}
        case.assertEqual([i for i, s in rows.items() if s in ("pending", "deleting")], [], "rows left unsettled")
        self.check_keys(case, set(self.key_labels("active").values()))
        case.assertLessEqual(set(acknowledged), active, "a 201 was lost")
        case.assertFalse(set(gone) & active, "a deleted CSR came back")


class Case(unittest.TestCase):
    """A test with services; cleans up after them and fails on a sanitizer report."""

    maxDiff = 4000

    def setUp(self):
        self.processes = []
        self.log_folders = set()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="csrd-test-"))
        self.addCleanup(self.tear_down_processes)

    def tear_down_processes(self):
        running = [process for process in reversed(self.processes) if process.is_running()]
        for process in running:
            process.popen.terminate()
        late = []
        for process in running:
            try:
                status = process.popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                late.append(process.name)
                process.kill()
                continue
            if status not in (0, -signal.SIGTERM):
                late.append("%s (exit status %d)" % (process.name, status))
        shutil.rmtree(self.folder, ignore_errors=True)
        problems = ["did not end on SIGTERM as it should: %s" % name for name in late]
        for folder in self.log_folders:
            problems += sanitizer_reports(folder)
        if problems:
            self.fail("\n".join(problems))

    def logs(self, name=""):
        base = pathlib.Path(os.environ.get("CSRD_TEST_LOGS", ROOT / "build" / "test-logs"))
        folder = base / (self.id().split(".", 1)[-1] + name)
        if folder not in self.log_folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self.log_folders.add(folder)
        return folder

    def check_refuses(self, service, section, cases):
        """csrd -t with each of `cases` (values of that section, and what must be said of them)."""
        for values, pattern in cases:
            saved = dict(service.settings[section])
            service.settings[section].update(values)
            service.write_config()
            done = subprocess.run([BIN / "csrd", "-t", "-c", service.config_path], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 78)
            self.assertRegex(done.stderr, pattern)
            service.settings[section] = saved

    def service(self, name="", settings=None, populate=True):
        """settings: section → key → value, over the defaults."""
        folder = self.folder / ("s" + name)
        folder.mkdir()
        return Service(self, folder, self.logs(name and "." + name), settings, populate)


def sanitizer_reports(folder):
    """Texts of what sanitizers wrote under log_path (log_path.<pid>)."""
    return ["%s:\n%s" % (path, path.read_text(encoding="utf-8", errors="replace")[:6000])
            for path in sorted(pathlib.Path(folder).glob("sanitizer.*")) if path.stat().st_size]


# ---- several at once ---------------------------------------------------------------------------


def in_parallel(functions):
    """Calls all of them at the same time, each on a thread; their results in order, or the first exception."""
    results = [None] * len(functions)
    gate = threading.Barrier(len(functions))

    def call(index, function):
        try:
            gate.wait()
            results[index] = (function(), None)
        except BaseException as error:  # handed to the caller below
            results[index] = (None, error)

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, error in results:
        if error:
            raise error
    return [value for value, _ in results]


def free_port():
    """A port that was free a moment ago, for programs that cannot be told 0."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
