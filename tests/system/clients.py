"""HTTP clients as people use them (tests/clients/ and curl), a relay that writes down what they send, and proxies to
stand between them and csrd."""
import base64
import fcntl
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import unittest

import harness

SOURCE = harness.ROOT / "tests" / "clients"
BUILT = harness.ROOT / "build" / "clients"
BODY = json.dumps({**harness.SUBJECT, "key_type": "p256v1", "organization": "Žluťoučký kůň"}, ensure_ascii=False)

# What each step of a client gets, in the order of the steps: status and the codes of the errors.
STEPS = {
    "create": (201, []),
    "list": (200, []),
    "bad-json": (400, [1400]),
    "bad-token": (401, [1000]),
    "bad-type": (415, [10415]),
    "too-large": (413, [10413]),
    "delete": (200, []),
}
LAST_BEFORE_DELETE = list(STEPS)[-2]
TOO_LARGE = 1000000


def need(*names):
    """Skips the test unless these programs are there.  tools/install-deps.sh test installs them."""
    for name in names:
        if not find(name):
            raise unittest.SkipTest("'%s' is not installed" % name)


def find(name):
    """Debian's own first; programs of daemons are not in everybody's PATH."""
    return shutil.which(name, path="/usr/bin:/usr/sbin") or shutil.which(name)


# ---- a relay -------------------------------------------------------------------------------


class Relay:
    """Passes connections on to `to` and writes down what came from the clients' side."""

    def __init__(self, to):
        self.to = to
        self.seen = []  # one bytearray a connection
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:  # closed
                return
            try:
                far = socket.create_connection(self.to)
            except OSError:
                near.close()
                continue
            seen = bytearray()
            self.seen.append(seen)
            ends = threading.Semaphore(2)
            for source, sink, record in (near, far, seen), (far, near, None):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.pump, args=(source, sink, record, ends), daemon=True).start()

    @staticmethod
    def pump(source, sink, record, ends):
        try:
            while data := source.recv(65536):
                if record is not None:
                    record += data
                sink.sendall(data)
        except OSError:
            pass
        for end, how in (sink, socket.SHUT_WR), (source, socket.SHUT_RD):
            try:
                end.shutdown(how)
            except OSError:
                pass
        ends.acquire()
        if not ends.acquire(blocking=False):  # the other direction has ended, too
            source.close()
            sink.close()
        else:
            ends.release()

    def text(self):
        return b"\n".join(bytes(seen) for seen in self.seen).decode("latin-1")

    def close(self):
        self.listener.close()


def heads(text, method):
    """The heads of the requests of that method in what a relay saw."""
    return [part.split("\r\n\r\n")[0] for part in (method + " " + rest for rest in text.split(method + " ")[1:])
            if " HTTP/1." in part.split("\r\n")[0]]


def bodies(data):
    """The bodies with a length, in what a relay saw on one connection."""
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        body, data = data[:int(length.group(1)) if length else 0], data[int(length.group(1)) if length else 0:]
        if body:
            yield body


# ---- programs ------------------------------------------------------------------------------


def build(name, command, environment=None):
    """Runs `command` to make BUILT/name unless it is newer than all sources, once, however many want it."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        product = BUILT / name
        newest = max(path.stat().st_mtime for path in SOURCE.iterdir())
        if not product.exists() or product.stat().st_mtime < newest:
            harness.run(command, timeout=300, cwd=SOURCE, env=environment)
    return product


def go_client():
    need("go")
    # No module, no network, and nothing of the developer's own settings.
    environment = harness.clean_environment(GO111MODULE="off", GOPROXY="off", GOFLAGS="", GOTOOLCHAIN="local",
                                            GOENV="off", GOCACHE=str(BUILT / "go-cache"))
    return [build("client-go", [find("go"), "build", "-o", BUILT / "client-go", SOURCE / "client.go"], environment)]


def java_client():
    need("java", "javac")
    build("Client.class", [find("javac"), "-d", BUILT, SOURCE / "Client.java"])
    return [find("java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", BUILT, "Client"]


def node_client(mode):
    need("node")
    return [find("node"), SOURCE / "client.mjs", mode]


def python_client(mode):
    if mode == "requests" and not pathlib.Path("/usr/lib/python3/dist-packages/requests").exists():
        raise unittest.SkipTest("python3-requests is not installed")
    return ["/usr/bin/python3", "-I", SOURCE / "client.py", mode]


class Played:
    """The lines of one client: step → (status, content type, body)."""

    def __init__(self):
        self.steps = {}

    def take(self, line):
        name, status, rest = line.split(" ", 2)
        kind, _, body = rest.rstrip("\n").rpartition(" ")
        self.steps[name] = (int(status), kind, base64.b64decode(body))
        return name


def play(command, service, address, before_delete):
    """Runs a client of tests/clients against `address`; calls before_delete(the CSR's id) when it is about to delete."""
    environment = harness.clean_environment(CSRD_URL="http://%s:%d/client/v4" % address, CSRD_TOKEN=service.token,
                                            CSRD_ACCOUNT=service.account, CSRD_BODY=BODY,
                                            CSRD_TOO_LARGE=str(TOO_LARGE), LC_ALL="C.UTF-8",
                                            no_proxy="*", NO_PROXY="*")
    played = Played()
    with subprocess.Popen([str(word) for word in command], env=environment, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        guard = threading.Timer(harness.PATIENCE * 3, process.kill)
        guard.start()
        try:
            for line in process.stdout:
                if played.take(line) == LAST_BEFORE_DELETE:
                    before_delete(created_id(played))
                    process.stdin.write("\n")
                    process.stdin.flush()
            complaint = process.stderr.read()
            status = process.wait()
        finally:
            guard.cancel()
            process.kill()
    if status or list(played.steps) != list(STEPS):
        raise AssertionError("%s: exit status %d after %s\n%s" % (command[0], status, list(played.steps), complaint))
    return played


def created_id(played):
    status, _, body = played.steps["create"]
    if status != 201:
        raise AssertionError("the create: %d %s" % (status, body.decode("utf-8", "replace")))
    return json.loads(body)["result"]["id"]


class Curl:
    """The same steps with curl; each is a process of its own."""

    def __init__(self, *options):
        """options: how a POST sends what is on standard input."""
        need("curl")
        self.options = options

    def one(self, url, headers, options=(), text=None):
        arguments = [word for name, value in headers.items() for word in ("-H", "%s: %s" % (name, value))]
        done = harness.run(["curl", "-q", "-sS", "--noproxy", "*", "-w", r"\n%{http_code} %{content_type}", *options,
                            *arguments, url], input=text, env=harness.clean_environment(LC_ALL="C.UTF-8"))
        body, _, verdict = done.stdout.rpartition("\n")
        status, _, kind = verdict.partition(" ")
        return int(status), kind, body.encode()

    def play(self, service, address, before_delete):
        collection = "http://%s:%d/client/v4%s" % (*address, service.scope_path())
        played = Played()

        def step(name, url=collection, options=(), text=None, token=service.token, kind="application/json"):
            headers = {"Authorization": "Bearer " + token}
            if text is not None:
                headers["Content-Type"] = kind
                options = self.options
            played.steps[name] = self.one(url, headers, options, text)

        step("create", text=BODY)
        step("list")
        step("bad-json", text='{"country": "SE"')
        step("bad-token", text=BODY, token="csrd_nobody")
        step("bad-type", text=BODY, kind="text/plain")
        step("too-large", text=BODY + " " * TOO_LARGE)
        before_delete(created_id(played))
        step("delete", "%s/%s" % (collection, created_id(played)), ["-X", "DELETE"])
        return played


# ---- what must be so, whichever client ------------------------------------------------------


class Case(harness.Case):
    def setUp(self):
        super().setUp()
        self.service_ = self.service().start()
        self.relay = Relay(self.service_.address)
        self.addCleanup(self.relay.close)

    def door(self):
        """The address that clients are told."""
        return self.relay.address

    def assert_made_one(self, csr_id):
        """Between create and delete: one row, one key pair."""
        self.assertEqual(self.service_.rows(), {csr_id: "active"})
        self.assertEqual(self.service_.p11.labels(), {self.service_.label(str(csr_id)): ["private", "public"]})

    def play(self, client):
        played = client(self.service_, self.door(), self.assert_made_one)
        self.assertEqual({name: step[:2] for name, step in played.steps.items()},
                         {name: (status, "application/json") for name, (status, _) in STEPS.items()},
                         {name: step[2][:300] for name, step in played.steps.items()})
        bodies = {name: json.loads(step[2]) for name, step in played.steps.items()}
        for name, (status, codes) in STEPS.items():
            self.assertEqual(bodies[name]["success"], status < 300, bodies[name])
            self.assertEqual([error["code"] for error in bodies[name]["errors"]], codes, name)
        created = bodies["create"]["result"]
        self.assertEqual({key: created[key] for key in json.loads(BODY)}, json.loads(BODY))
        harness.run(["openssl", "req", "-verify", "-noout"], input=created["csr"])
        self.assertEqual(bodies["list"]["result"], [created])
        self.assertEqual(bodies["delete"]["result"], {"id": created["id"]})
        self.assertEqual(self.service_.rows(), {created["id"]: "destroyed"})
        self.assertEqual(self.service_.p11.labels(), {})
        return heads(self.relay.text(), "POST")

    def play_program(self, command):
        return self.play(lambda *arguments: play(command, *arguments))

    def assert_chunked(self, posts):
        """That these clients did what they are here for."""
        self.assertEqual(len(posts), len(STEPS) - 2)
        for head in posts:
            self.assertIn("transfer-encoding: chunked", head.lower())
            self.assertNotIn("content-length:", head.lower())
