"""Many connections, slow ones and such as do not read: limits, times, memory and processor time (F140 to F149)."""
# run: waits seconds=33
import array
import fcntl
import os
import re
import resource
import signal
import socket
import termios
import time
import unittest

import harness
from raw_http import CLOSE, JSON, Case, Client

SLACK = 5 if harness.SANITIZE else 1
# How long an ordinary request may take beside the others, on a busy machine too.  What is mended took half a minute,
# or for ever; abuse_test measures the second that csrd promises.
SOON = 5 * SLACK


class ConnectionsCase(Case):
    def start(self, signer=False, **http):
        self.service_ = self.service(settings={"http": http, "log": {"level": "debug"}})
        if signer:
            self.service_.start()
        else:
            self.service_.start_csrd()
        self.own = self.descriptors()

    def stat(self):
        with open("/proc/%d/stat" % self.service_.csrd.pid, encoding="ascii") as f:
            return f.read()

    def cpu_seconds(self):
        fields = self.stat().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        with open("/proc/%d/statm" % self.service_.csrd.pid, encoding="ascii") as f:
            return int(f.read().split()[1]) * resource.getpagesize() / 2**20

    def connections(self):
        return self.descriptors() - self.own

    def client(self, **options):
        """One that does not take much before it reads."""
        client = Client(self.service_.address, **options)
        self.addCleanup(client.socket.close)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        return client

    def deaf_client(self):
        """Pipelines requests and never reads."""
        client = self.client(timeout=0.05)
        try:
            for _ in range(200):
                client.socket.sendall(self.head(b"GET", b"/healthz") * 50)
        except (socket.timeout, OSError):
            pass
        return client

    def full_page(self):
        """50 CSRs with 150 names of 253 characters: a page of nearly 5 MB.  Returns the request for it."""
        label = ".".join(["a" * 61, "b" * 61, "c" * 61])
        names = ["n%03d.%s.%s" % (i, label, "d" * 58 + ".org") for i in range(150)]
        answers = harness.in_parallel([lambda: self.service_.create(key_type="p256v1", sans=names)] * 50)
        self.assertEqual({answer.status for answer in answers}, {201})
        return self.head(b"GET", ("/client/v4" + self.service_.scope_path() + "?per_page=50").encode(),
                         b"Authorization: Bearer %s\r\n" % self.service_.token.encode())


class LimitsTest(ConnectionsCase):
    def test_f140_a_lingering_connection_costs_no_processor(self):
        """N3: the descriptor of a closed connection was cloned, and the loop span until it was gone."""
        self.start()
        for first in (b"BAD\r\n\r\n", self.head(b"GET", b"/healthz", CLOSE)):
            with self.subTest(first=first), Client(self.service_.address) as client:
                client.send(first)
                self.assertIsNotNone(client.answer())
                before, start = self.cpu_seconds(), time.monotonic()
                self.assertTrue(client.is_closed())  # its side
                harness.wait_for("the end of the linger", lambda: self.connections() == 0)
                self.assertGreater(time.monotonic() - start, 1)
                self.assertLess(self.cpu_seconds() - before, 0.1 * SLACK)

    def test_f141_max_connections_holds_against_those_who_pipeline(self):
        """N5: each answer on an old connection let a new one in."""
        self.start(max_connections=40)
        clients = [self.deaf_client() for _ in range(100)]
        self.assertLessEqual(self.connections(), 41)  # one may wait for room
        for _ in range(5):
            self.assertLess(self.assert_alive(), SOON)
            self.assertLessEqual(self.connections(), 41)
        self.assertEqual(len(clients), 100)

    def test_f142_room_is_looked_for_while_full(self):
        """N2: with more connections than the cap nobody looked again, and nobody was let in for good."""
        self.start(max_connections=12, idle_timeout="30s")
        held = [self.deaf_client() for _ in range(15)]
        for _ in range(3):
            silent = self.client()
            self.assertLess(self.assert_alive(), SOON)
            held.append(silent)
        held += [self.client().send(b"POST / HTTP/1.1\r\nX") for _ in range(20)]
        self.assertLess(self.assert_alive(), SOON)

    def test_f142_half_sent_requests_go_before_idle_connections(self):
        self.start(max_connections=3, idle_timeout="30s")
        with Client(self.service_.address) as kept:
            self.assertEqual(kept.send(self.head(b"GET", b"/healthz")).answer().status, 200)
            half = [self.client().send(b"GET / HTTP/1.1\r\nX") for _ in range(2)]
            sent = time.monotonic()
            harness.wait_for("a second that they stand still", lambda: time.monotonic() - sent > 1.1)
            for _ in half:
                self.assertEqual(self.client().send(self.head(b"GET", b"/healthz")).answer().status, 200)
            self.assertTrue(half[0].is_closed() and half[1].is_closed())
            self.assertEqual(kept.send(self.head(b"GET", b"/healthz")).answer().status, 200)

    def test_f142_an_expectation_is_nobodys_but_csrds(self):
        """N2: evhttp answered 417 by itself for a TAB before the value, and the connection was out of reach."""
        self.start(idle_timeout="1s")
        for expectation, status in ((b"\t100-continue", 404), (b"\tfoo", 417), (b"100-continue\t", 404)):
            with self.subTest(expectation=expectation), Client(self.service_.address) as client:
                client.send(self.head(b"POST", b"/x", JSON, b"Expect:%s\r\n" % expectation, b"Content-Length: 2\r\n") + b"{}")
                answer = client.answer()
                self.assertEqual(answer.status, status)
                self.assert_envelope(answer)

    def test_f143_descriptors_are_kept_for_signer_and_store(self):
        self.service_ = self.service(settings={"http": {"max_connections": 500}})
        plain = self.service_.command
        self.service_.command = lambda program, *more: (
            ["prlimit", "--nofile=64"] if program == "csrd" else []) + plain(program, *more)
        self.service_.start()
        held = [self.deaf_client() for _ in range(60)]
        self.service_.hsm.kill()
        self.service_.start_hsm()
        self.service_.wait_ready()
        answer = self.service_.create()
        self.assertEqual(answer.status, 201)
        self.assertEqual(len(held), 60)

    def test_f146_slow_requests_are_told_408(self):
        self.start(idle_timeout="1s")
        for sent in (b"GET / HTTP/1.1\r\nX: ", self.head(b"POST", b"/x", JSON, b"Content-Length: 10\r\n") + b"{",
                     self.head(b"POST", b"/x", JSON, b"Transfer-Encoding: chunked\r\n") + b"5\r\n{"):
            with self.subTest(sent=sent):
                answer = self.assert_refused(sent, 408)
                self.assertEqual(answer.codes, [10408])
        for sent in (b"", b"\r\n"):
            with self.subTest(sent=sent), Client(self.service_.address) as client:
                self.assertTrue(client.send(sent).is_closed())
                self.assertEqual(client.data, b"", "a connection that asked nothing is told nothing")
        with self.subTest("HEAD"), Client(self.service_.address) as client:
            answer = client.send(b"HEAD / HTTP/1.1\r\nX: ").answer(head=True)
            self.assertEqual(answer.status, 408)
            self.assertTrue(client.is_closed())
            self.assertEqual(client.data, b"", "content in an answer to HEAD")

    def test_request_ids_do_not_count(self):
        """N14"""
        self.start()
        with Client(self.service_.address) as client:
            ids = [client.send(self.head(b"GET", b"/healthz")).answer().headers["x-request-id"] for _ in range(600)]
        self.assertEqual(len(set(ids)), 600)
        halves = sorted(int(i.replace("-", "")[20:], 16) for i in ids)
        self.assertGreater(min(b - a for a, b in zip(halves, halves[1:])), 1)


class BusyTest(ConnectionsCase):
    """Clients and their requests at work.  The signer is held still meanwhile, so that they stay at work."""

    def hold_signer(self):
        self.service_.hsm.signal(signal.SIGSTOP)
        self.addCleanup(self.service_.hsm.signal, signal.SIGCONT)

    def wait_pending(self, count):
        self.service_.wait_at_signer(count)

    def test_f147_who_comes_while_all_are_busy_waits(self):
        """Listening goes on while idle connections could make room.  When they had become busy, the next client was
        accepted and hung up on."""
        self.start(signer=True, max_connections=2)
        busy = [self.client() for _ in range(2)]
        for client in busy:
            self.assertEqual(client.send(self.head(b"GET", b"/healthz")).answer().status, 200)
        self.hold_signer()
        for client in busy:
            client.send(self.create_bytes())
        self.wait_pending(2)
        late = [self.client().send(self.head(b"GET", b"/healthz")) for _ in range(3)]
        self.service_.csrd.wait_log("no more connections are accepted for now")
        self.assertLessEqual(self.connections(), 3)
        self.service_.hsm.signal(signal.SIGCONT)
        for client in late:
            self.assertEqual(client.answer().status, 200)
        for client in busy:
            self.assertEqual(client.answer().status, 201)

    def test_f147_who_waits_for_room_does_not_hold_up_the_end(self):
        self.start(signer=True, max_connections=1)
        busy = self.client()
        self.assertEqual(busy.send(self.head(b"GET", b"/healthz")).answer().status, 200)
        self.hold_signer()
        busy.send(self.create_bytes())
        self.wait_pending(1)
        late = self.client().send(self.head(b"GET", b"/healthz"))
        self.service_.csrd.wait_log("no more connections are accepted for now")
        self.service_.csrd.signal(signal.SIGTERM)
        self.assertTrue(late.is_closed())
        self.service_.hsm.signal(signal.SIGCONT)
        self.assertEqual(busy.answer().status, 201)
        self.assertEqual(self.service_.csrd.wait(), 0)

    def test_f157_an_idle_connection_whose_request_has_come_is_not_closed(self):
        """The next client is accepted before csrd has read the request of a connection that looks idle."""
        self.start(max_connections=2)
        healthz = self.head(b"GET", b"/healthz")
        for _ in range(3):
            harness.wait_for("answers that keep their connection", self.connections_are_kept)
            harness.wait_for("the end of that connection", lambda: self.connections() == 0)
            kept = [self.client() for _ in range(2)]
            for client in kept:
                self.assertFalse(self.closes(client.send(healthz)))
            self.service_.csrd.signal(signal.SIGSTOP)
            self.addCleanup(self.service_.csrd.signal, signal.SIGCONT)
            harness.wait_for("csrd to stand still", lambda: ") T " in self.stat())
            late = self.client().send(healthz)
            for client in kept:
                client.send(healthz)
            self.service_.csrd.signal(signal.SIGCONT)
            for client in kept + [late]:
                self.assertEqual(client.answer().status, 200)
                client.socket.close()
            harness.wait_for("the end of all of them", lambda: self.connections() == 0)

    def test_f266_while_more_come_than_may_an_answer_ends_its_connection(self):
        """Whoever asks for one thing after the other made progress all the time, so that the next in line waited for seconds."""
        self.start(max_connections=3)
        healthz = self.head(b"GET", b"/healthz")
        kept = [self.client() for _ in range(3)]
        for client in kept:
            self.assertFalse(self.closes(client.send(healthz)))
        late = self.client().send(healthz)
        self.assertTrue(self.closes(late), "somebody had to go for it")
        self.assertTrue(late.is_closed())
        self.assertTrue(self.closes(kept[-1].send(healthz)))
        harness.wait_for("answers that keep their connection", self.connections_are_kept)

    def connections_are_kept(self):
        client = self.client().send(self.head(b"GET", b"/healthz"))
        closes = self.closes(client)
        client.socket.close()
        return not closes

    @staticmethod
    def closes(client):
        answer = client.answer()
        assert answer.status == 200, answer.status
        return answer.headers.get("connection") == "close"

    def test_f149_the_end_does_not_wait_for_ever_for_a_reader(self):
        self.start(drain_timeout="1s")
        deaf = self.deaf_client()
        self.service_.csrd.signal(signal.SIGTERM)
        self.assertEqual(self.service_.csrd.wait(), 0)
        self.service_.csrd.wait_log("0 requests are unanswered and 1 connections open at the end of the drain time")
        deaf.socket.close()

    @staticmethod
    def unread(client):
        size = array.array("i", [0])
        fcntl.ioctl(client.socket, termios.FIONREAD, size)
        return size[0]

    def test_f148_a_client_that_breaks_off_while_busy(self):
        """Nothing is read of a client whose request is at work, so most that leave are noticed when the answer is
        sent.  One that still has a 100 (Continue) to take is noticed at once, and its connection goes before the
        request is answered."""
        self.service_ = self.service(settings={"log": {"level": "debug"}})
        path = str(self.service_.folder / "http.sock")
        self.service_.settings["http"]["listen"] += ", unix:" + path
        self.service_.write_config()
        self.service_.start()
        healthz = self.head(b"GET", b"/healthz")
        with Client(path) as client:
            client.send(healthz)
            each = harness.wait_for("an answer", lambda: self.unread(client))
        answers = 1  # so many that the socket takes no more, in a whole number of them
        while True:
            client = Client(path)
            self.addCleanup(client.socket.close)
            client.send(healthz * answers)
            harness.wait_for("%d answers" % answers, lambda: self.unread(client) == answers * each)
            head, body = self.create_bytes().split(b"\r\n\r\n")
            client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
            try:
                harness.wait_for("100", lambda: self.unread(client) > answers * each, seconds=1)
            except AssertionError:
                break
            client.socket.close()
            answers += 1
        self.hold_signer()
        client.send(body)
        self.wait_pending(1)
        client.socket.close()
        self.service_.csrd.wait_log("broke while its request was in progress")
        self.service_.hsm.signal(signal.SIGCONT)
        self.service_.csrd.wait_log("the client left before its answer, a 201")
        self.assertEqual(list(self.service_.rows().values()), ["active"])
        self.assert_alive()
        self.service_.stop()


class PagesTest(ConnectionsCase):
    def setUp(self):
        super().setUp()
        self.start(signer=True, max_connections=100, idle_timeout="5s")
        self.page = self.full_page()

    def test_f144_f145_big_answers(self):
        with self.subTest("one reader gets it whole, and no turn of the loop takes 20 ms"):
            self.service_.csrd.wait_log("worst turn")
            for _ in range(3):
                with Client(self.service_.address) as client:
                    answer = client.send(self.page).answer()
                    self.assertEqual(len(answer.result), 50)
                    self.assertGreater(len(answer.body), 4_000_000)
            worst = max(int(us) for us in re.findall(r"worst turn of the loop so far took (\d+) us", self.service_.csrd.log()))
            self.assertLess(worst, 20_000 * (10 if harness.SANITIZE else 1))
        with self.subTest("a slow reader that makes progress gets it whole, past idle_timeout"):
            with Client(self.service_.address, timeout=harness.PATIENCE) as slow:
                slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                slow.send(self.page)
                start, got = time.monotonic(), 0
                while time.monotonic() - start < 7:
                    got += len(slow.socket.recv(16384))
                    time.sleep(0.05)  # not to be right: this is the reader's pace
                slow.data = b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"
                while slow.fill():
                    if len(slow.data) + got > len(answer.body):
                        break
                self.assertGreater(len(slow.data) + got, len(answer.body))
        with self.subTest("those who do not read are bounded in memory, and others are served meanwhile"):
            deaf = []
            for _ in range(60):
                deaf.append(self.client().send(self.page))
            for _ in range(10):
                self.assertLess(self.assert_alive(), SOON)
            self.assertLess(self.resident_mib(), 200 * SLACK)
            for client in deaf:
                client.reset()
            harness.wait_for("the end of all of them", lambda: self.connections() <= 1)
            self.assertLess(self.resident_mib(), 100 * SLACK)


if __name__ == "__main__":
    unittest.main()
