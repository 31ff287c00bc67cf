#!/usr/bin/python3
"""Crowds of bad clients around one csrd on this machine, a healthy client beside them, and a table of how csrd was.

    abuse.py --url http://127.0.0.1:8080 --pid PID --token TOKEN --account ID [--seconds 600] [--clients 500]
             [--kinds silent,resets] [--json FILE]

Each kind of bad client has a phase of its own, `--clients` of them at once; in the last phase, which takes two fifths of
the time, all kinds are there together, `--clients` of each.  At the end of each phase the bad clients keep what they have
and do nothing; csrd's processor time is measured then, when it has done what it was sent before (at the latest after a minute).

The healthy client makes one request after the other, each on a connection of its own: /healthz, the token verified, a CSR
created, read and deleted.  Each is measured.  When more connections come than csrd takes, csrd closes some that send
nothing yet; a client that is slow to be scheduled may be among them, and like any other it then sends its request again.

    kind        the bad clients; "all" is all kinds together
    came        connections that they made
    ended       those that csrd ended
    answers     what they were answered, where they read it
    healthy     requests of the healthy client
    again       those that were cut off without an answer and sent again; failed: not answered well then either
    longest     of them, from its begin to its end
    memory      the most that csrd held (VmHWM)
    idle        csrd's processor time while the bad clients did nothing, in per cent of one core

The token needs a write grant on the account, for the healthy client.  What the bad clients send with it is never a whole
create.  The kind full-pages asks for lists of 50, so the account should have large CSRs.

Loopback only.  It ends by itself; the crowd, a process of its own, ends when this one does.  Exit status: 0 it ran to its
end (judge the figures yourself), 2 wrong usage.
"""
import argparse
import collections
import heapq
import http.client
import ipaddress
import json
import os
import random
import resource
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

TICK = os.sysconf("SC_CLK_TCK")
# A crowd comes within this time for each kind in it.  All in one instant would be more than the kernel's queue of 4,096 holds:
# it drops the others' SYN, also the healthy client's, whose kernel sends it again after one second, or three.
COMING_SECONDS = 0.2
SUBJECT = {"country": "SE", "state": "Stockholm", "locality": "Stockholm", "organization": "Example AB",
           "common_name": "www.example.com", "sans": ["www.example.com"], "key_type": "p256v1"}
RESET = struct.pack("ii", 1, 0)
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


# ---- the kinds of bad clients ----------------------------------------------------------------


class Kind:
    """How one kind behaves.  A client connects, sends `first`, and calls `act` again and again."""

    reads = True    # takes what csrd sends
    window = None   # size of its receive buffer
    every = None    # seconds between two acts
    again = 1.0     # seconds until one whose connection ended comes back

    def __init__(self, target):
        self.target = target

    def first(self):
        return b""

    def act(self, peer):
        """What to send now; None: reset the connection."""
        return b""

    def post(self, *fields):
        return b"".join([b"POST %s HTTP/1.1\r\nHost: a\r\n" % self.target.path, self.target.authorization,
                         b"Content-Type: application/json\r\n", *fields, b"\r\n"])


class Silent(Kind):
    """Connects and says nothing."""


class DripHead(Kind):
    """A head that never ends, a byte at a time."""
    every = 0.5

    def first(self):
        return b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "

    def act(self, peer):
        return b"y"


class DripBody(Kind):
    """A create with credentials whose last byte never comes."""
    every = 0.5
    body = json.dumps(SUBJECT).encode()

    def first(self):
        return self.post(b"Content-Length: %d\r\n" % len(self.body))

    def act(self, peer):
        at = peer.acts - 1
        return self.body[at:at + 1] if at < len(self.body) - 1 else b""


class DripChunks(DripBody):
    """The same in chunks of one byte."""

    def first(self):
        return self.post(b"Transfer-Encoding: chunked\r\n")

    def act(self, peer):
        piece = super().act(peer)
        return b"1\r\n%s\r\n" % piece if piece else b""


class NoRead(Kind):
    """Asks now and then, and never reads an answer."""
    reads = False
    window = 2304
    every = 0.5

    def first(self):
        return b"GET /client/v4/user/tokens/verify HTTP/1.1\r\nHost: a\r\n%s\r\n" % self.target.authorization

    def act(self, peer):
        return self.first()


class Pipeline(Kind):
    """Sends as many requests as csrd takes, and never reads."""
    reads = False
    window = 2304
    every = 0.5

    def first(self):
        return GET * 200

    def act(self, peer):
        return b"" if peer.unsent else GET * 200


class FullPages(Kind):
    """Asks for the longest list there is, and never reads it; gives up after a while and comes back.

    That it gives up is for want of a sign: to one that does not read, the end of its connection looks like nothing."""
    reads = False
    window = 2304
    every = 6.0
    again = 10.0

    def first(self):
        return b"GET %s?per_page=50 HTTP/1.1\r\nHost: a\r\n%s\r\n" % (self.target.path, self.target.authorization)

    def act(self, peer):
        return None if peer.acts > 1 + peer.patience else b""


class BadHeads(Kind):
    """Heads that must be refused; some leave the connection open afterwards, some hang up."""
    every = 1.0
    heads = [
        b"BAD\r\n\r\n", b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", b"GET /healthz HTTP/1.1\nHost: a\n\n", b"\0" * 64, b"a" * 9000,
        b"GET /healthz HTTP/9.1\r\nHost: a\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 500 + b"\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect:\t100-continue\r\n"
        b"Content-Length: 2\r\n\r\n{}", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]

    def first(self):
        return random.choice(self.heads)

    def act(self, peer):
        return None if peer.acts > peer.patience else b""


class Resets(Kind):
    """Resets the connection in the middle of something."""
    every = 0.3
    again = 0.5

    def first(self):
        whole = self.post(b"Content-Length: 1000\r\n") + DripBody.body
        return random.choice([b"", GET, GET * 20, whole[:random.randrange(1, len(whole))]])

    def act(self, peer):
        return None


class TlsHello(Kind):
    """Takes the port for one that speaks TLS."""
    every = 2.0

    def __init__(self, target):
        super().__init__(target)
        self.hello = ssl.MemoryBIO()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), self.hello, server_hostname="csrd").do_handshake()
        except ssl.SSLWantReadError:
            pass
        self.hello = self.hello.read()

    def first(self):
        return self.hello

    def act(self, peer):
        return None


KINDS = {"silent": Silent, "drip-head": DripHead, "drip-body": DripBody, "drip-chunks": DripChunks, "no-read": NoRead,
         "pipeline": Pipeline, "full-pages": FullPages, "bad-heads": BadHeads, "resets": Resets, "tls-hello": TlsHello}


class Target:
    def __init__(self, arguments):
        where = urllib.parse.urlsplit(arguments.url)
        self.address = (where.hostname, where.port or 80)
        if where.scheme != "http" or not ipaddress.ip_address(self.address[0]).is_loopback:
            raise SystemExit("abuse: '%s' is not plain HTTP on a loopback address such as http://127.0.0.1:8080" % arguments.url)
        self.account = arguments.account
        self.token = arguments.token
        self.path = b"/client/v4/accounts/%s/custom_csrs" % arguments.account.encode()
        self.authorization = b"Authorization: Bearer %s\r\n" % arguments.token.encode()


# ---- a crowd, which is a process of its own ----------------------------------------------------


class Peer:
    """One bad client; it comes back when its connection has ended."""

    def __init__(self, kind, figures, index):
        self.kind = kind
        self.figures = figures
        self.patience = index % 4  # of those that leave by themselves
        self.socket = None
        self.unsent = b""
        self.acts = 0


class Crowd:
    """Reads commands from standard input: "quiet" (do nothing more), "end".  Its end is the end of the crowd."""

    def __init__(self, target, names, count):
        self.target = target
        self.slowness = len(names)  # so that many kinds together come back no faster than one alone
        self.epoll = select.epoll()
        self.epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        self.peers = {}      # descriptor → peer
        self.timers = []     # (when, number, peer, what)
        self.number = 0
        self.figures = {name: collections.Counter() for name in names}
        kinds = [(KINDS[name](target), self.figures[name]) for name in names]
        for index in range(count):
            for kind, figures in kinds:
                self.later(random.uniform(0, COMING_SECONDS * len(names)), Peer(kind, figures, index), None)

    def later(self, seconds, peer, what):
        self.number += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.number, peer, what))

    def connect(self, peer):
        sock = socket.socket(socket.AF_INET6 if ":" in self.target.address[0] else socket.AF_INET)
        sock.setblocking(False)
        if peer.kind.window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, peer.kind.window)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        sock.connect_ex(self.target.address)
        peer.socket, peer.unsent, peer.acts = sock, peer.kind.first(), 0
        peer.figures["came"] += 1
        self.peers[sock.fileno()] = peer
        self.epoll.register(sock.fileno(), self.events(peer) | select.EPOLLOUT)
        if peer.kind.every:
            self.later(peer.kind.every * random.uniform(0.5, 1), peer, sock)

    @staticmethod
    def events(peer):
        return select.EPOLLRDHUP | (select.EPOLLIN if peer.kind.reads else 0) | (select.EPOLLOUT if peer.unsent else 0)

    def end(self, peer):
        """Leaves with a reset, so that no port of ours waits."""
        self.epoll.unregister(peer.socket.fileno())
        del self.peers[peer.socket.fileno()]
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.socket.close()
        peer.socket = None
        self.later(peer.kind.again * self.slowness * random.uniform(0.5, 1.5), peer, None)

    def send(self, peer):
        try:
            while peer.unsent:
                peer.unsent = peer.unsent[peer.socket.send(peer.unsent):]
        except BlockingIOError:
            pass
        except OSError:
            peer.figures["ended"] += 1
            self.end(peer)
            return
        self.epoll.modify(peer.socket.fileno(), self.events(peer))

    def receive(self, peer):
        """True while the connection lives."""
        try:
            data = peer.socket.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if data.startswith(b"HTTP/1.1 "):
            peer.figures[data[9:12].decode("latin-1")] += 1
        return bool(data)

    def on_event(self, peer, what):
        gone = what & (select.EPOLLERR | select.EPOLLHUP)
        if what & select.EPOLLIN and not self.receive(peer):
            gone = True
        if what & select.EPOLLRDHUP and not peer.kind.reads:
            gone = True
        if gone:
            peer.figures["ended"] += 1
            self.end(peer)
        elif what & select.EPOLLOUT:
            self.send(peer)

    def on_timer(self, peer, connection):
        if connection is None:
            self.connect(peer)
        elif connection is peer.socket:  # not of a connection that has ended
            peer.acts += 1
            more = peer.kind.act(peer)
            if more is None:
                self.end(peer)
                return
            self.later(peer.kind.every, peer, connection)
            peer.unsent += more
            if more:
                self.send(peer)

    def command(self):
        return sys.stdin.readline().strip() or "end"

    def run(self):
        print("ready", flush=True)
        while True:
            wait = max(0.0, self.timers[0][0] - time.monotonic()) if self.timers else None
            for descriptor, what in self.epoll.poll(wait, 256):
                if descriptor == sys.stdin.fileno():
                    if self.command() == "quiet":
                        self.command()  # until the next one nobody moves
                    return
                if descriptor in self.peers:
                    self.on_event(self.peers[descriptor], what)
            for _ in range(256):
                if not self.timers or self.timers[0][0] > time.monotonic():
                    break
                _, _, peer, connection = heapq.heappop(self.timers)
                self.on_timer(peer, connection)


def crowd_main(arguments):
    signal.alarm(int(arguments.seconds) + 180)  # whatever happens
    os.nice(10)  # csrd and the healthy client are what is looked at
    crowd = Crowd(Target(arguments), arguments.crowd.split(","), arguments.clients)
    crowd.run()
    print(json.dumps(crowd.figures), flush=True)


# ---- the healthy client ------------------------------------------------------------------------


class Healthy(threading.Thread):
    PAUSE = 0.05
    TIMEOUT = 20

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target = target
        self.lock = threading.Lock()
        self.nonce = random.getrandbits(64)
        self.number = 0
        self.times = []
        self.failures = []
        self.again = 0
        self.created = []
        self.may_ask = threading.Event()
        self.asks = threading.Lock()  # held while it does

    def exchange(self, method, path, body, headers):
        connection = http.client.HTTPConnection(*self.target.address, timeout=self.TIMEOUT)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            return None, str(error).encode()
        except (OSError, http.client.HTTPException) as error:
            return "%s: %s" % (type(error).__name__, error), b""
        finally:
            connection.close()

    def one(self, method, path, want, body=None):
        """One request, measured from its begin to its end; cut off without an answer, it is sent once more."""
        headers = {"Authorization": "Bearer " + self.target.token, "Connection": "close"}
        if body:
            self.number += 1
            headers.update({"Content-Type": "application/json", "Idempotency-Key": "%s-%d" % (self.nonce, self.number)})
        start = time.monotonic()
        status, answer = self.exchange(method, path, body, headers)
        again = status is None
        if again:
            status, answer = self.exchange(method, path, body, headers)
        with self.lock:
            self.times.append((time.monotonic() - start, "%s %s" % (method, path)))
            self.again += again
            if status != want:
                self.failures.append("%s %s: %s %s" % (method, path, status, answer[:200].decode("utf-8", "replace")))
        return json.loads(answer) if status == want else None

    def run(self):
        collection = self.target.path.decode()
        while True:
            self.may_ask.wait()
            with self.asks:
                self.one("GET", "/healthz", 200)
                self.one("GET", "/client/v4/user/tokens/verify", 200)
                made = self.one("POST", collection, 201, json.dumps({**SUBJECT, "name": "of the healthy client"}))
                if made:
                    self.created.append(made["result"]["id"])
                    self.one("GET", "%s/%s" % (collection, made["result"]["id"]), 200)
                    self.one("DELETE", "%s/%s" % (collection, made["result"]["id"]), 200)
            time.sleep(self.PAUSE)

    def take(self):
        """Since the last take: (requests, sent again, failures, (longest in seconds, which))."""
        with self.lock:
            taken = len(self.times), self.again, self.failures, max(self.times, default=(0.0, ""))
            self.times, self.again, self.failures = [], 0, []
        return taken

    def hold(self):
        """Returns when it has stopped asking."""
        self.may_ask.clear()
        with self.asks:
            pass


# ---- csrd, looked at from outside ---------------------------------------------------------------


class Watched:
    def __init__(self, pid):
        self.pid = pid

    def read(self, name):
        with open("/proc/%d/%s" % (self.pid, name), encoding="ascii") as source:
            return source.read()

    def status_mib(self, field):
        for line in self.read("status").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        raise KeyError(field)

    def forget_peak(self):
        try:
            with open("/proc/%d/clear_refs" % self.pid, "w", encoding="ascii") as target:
                target.write("5")
        except OSError:
            pass  # then the peak is that of its whole life

    def cpu(self):
        fields = self.read("stat").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rest(self, seconds=60):
        """Returns when it has done what it was sent before, or does not come to rest."""
        deadline = time.monotonic() + seconds
        before = self.cpu()
        while time.monotonic() < deadline:
            time.sleep(0.25)
            now = self.cpu()
            if now - before < 0.02:
                return
            before = now

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))


# ---- phases ----------------------------------------------------------------------------------------


def phase(arguments, names, seconds, watched, healthy):
    """One crowd from its coming to its end."""
    quiet = max(1.0, seconds / 5)
    watched.forget_peak()
    command = [sys.executable, os.path.abspath(__file__), "--url", arguments.url, "--token", arguments.token, "--account",
               arguments.account, "--seconds", str(seconds), "--clients", str(arguments.clients), "--crowd", ",".join(names)]
    healthy.take()
    healthy.may_ask.set()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        try:
            if crowd.stdout.readline() != "ready\n":
                raise RuntimeError("the crowd did not come")
            time.sleep(max(0.0, seconds - quiet))
            crowd.stdin.write("quiet\n")
            crowd.stdin.flush()
            healthy.hold()
            requests, again, failures, (longest, which) = healthy.take()
            watched.rest()
            cpu, start = watched.cpu(), time.monotonic()
            time.sleep(quiet)
            idle = (watched.cpu() - cpu) / (time.monotonic() - start)
            said, _ = crowd.communicate("end\n", timeout=30)
        finally:
            crowd.kill()
    figures = json.loads(said)
    total = collections.Counter()
    for each in figures.values():
        total.update(each)
    return {"kind": "all" if len(names) > 1 else names[0], "clients": arguments.clients * len(names),
            "came": total.pop("came", 0), "ended": total.pop("ended", 0), "answers": dict(sorted(total.items())),
            "came_by_kind": {name: each.get("came", 0) for name, each in figures.items()},
            "healthy": requests, "again": again, "failures": failures, "longest_ms": longest * 1000, "longest": which,
            "memory_mib": watched.status_mib("VmHWM"), "idle_percent": idle * 100}


COLUMNS = "%-12s %7s %7s %7s  %-28s %8s %6s %6s %8s %8s %6s"


def show(row):
    answers = " ".join("%s×%d" % pair for pair in row["answers"].items())
    print(COLUMNS % (row["kind"], row["clients"], row["came"], row["ended"], answers, row["healthy"], row["again"],
                     len(row["failures"]), "%.0f ms" % row["longest_ms"], "%.0f MiB" % row["memory_mib"], "%.1f %%" % row["idle_percent"]))
    if row["longest_ms"] > 500:
        print("    longest: " + row["longest"])
    for failure in row["failures"][:5]:
        print("    failed: " + failure)
    sys.stdout.flush()


def settle(watched, descriptors, seconds=45):
    """Until csrd holds no more descriptors than before; how many it holds."""
    deadline = time.monotonic() + seconds
    while watched.descriptors() > descriptors and time.monotonic() < deadline:
        time.sleep(0.1)
    return watched.descriptors()


def abuse(arguments):
    target, watched = Target(arguments), Watched(arguments.pid)
    names = arguments.kinds.split(",")
    before = {"descriptors": watched.descriptors(), "memory_mib": watched.status_mib("VmRSS")}
    healthy = Healthy(target)
    healthy.start()
    print(COLUMNS % ("kind", "clients", "came", "ended", "answers", "healthy", "again", "failed", "longest", "memory", "idle"))
    rows = []
    each = arguments.seconds * (0.6 if len(names) > 1 else 1) / len(names)
    for name in names:
        rows.append(phase(arguments, [name], each, watched, healthy))
        show(rows[-1])
    if len(names) > 1:
        rows.append(phase(arguments, names, arguments.seconds * 0.4, watched, healthy))
        show(rows[-1])
    after = {"descriptors": settle(watched, before["descriptors"]), "memory_mib": watched.status_mib("VmRSS")}
    for what, figures in ("before", before), ("after", after):
        print("%-8s %d descriptors, %.0f MiB" % (what, figures["descriptors"], figures["memory_mib"]))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump({"phases": rows, "before": before, "after": after, "created": healthy.created}, out, indent=1)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Crowds of bad clients around a csrd on loopback.")
    parser.add_argument("--url", required=True, help="such as http://127.0.0.1:8080")
    parser.add_argument("--pid", type=int, help="csrd's process id")
    parser.add_argument("--token", required=True, help="an API token with a write grant on the account")
    parser.add_argument("--account", required=True)
    parser.add_argument("--seconds", type=float, default=600, help="in all (600)")
    parser.add_argument("--clients", type=int, default=500, help="of each kind at once (500)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of: " + ", ".join(KINDS))
    parser.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    parser.add_argument("--crowd", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set((arguments.crowd or arguments.kinds).split(",")) - set(KINDS)
    if unknown:
        parser.error("no kind is called '%s'; there are: %s" % ("', '".join(sorted(unknown)), ", ".join(KINDS)))
    if not 1 <= arguments.clients <= 1000 or not 1 <= arguments.seconds <= 3600:
        parser.error("--clients is 1 to 1000, --seconds 1 to 3600")
    if not arguments.pid and not arguments.crowd:
        parser.error("--pid is required")
    return arguments


def main():
    arguments = parse_arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    (crowd_main if arguments.crowd else abuse)(arguments)


if __name__ == "__main__":
    main()
