"""What raw bytes do to csrd's HTTP side: requests that two parsers could read in
two ways, sizes, slow and many clients, clients that leave, and stopping.  The
names of the tests name the rows of doc/faults.md."""
# run: waits seconds=26
import contextlib
import os
import resource
import signal
import socket
import time
import unittest

import harness
from raw_http import HOST, JSON, SMUGGLED, Case, Client


class ParsingTest(Case):
    """Needs no signer: nothing here gets that far."""

    def setUp(self):
        super().setUp()
        self.service_ = self.service(settings={"http": {"max_body_bytes": 4096, "max_header_bytes": 8192}})
        self.service_.start_csrd()
        self.before = self.descriptors()

    def tearDown(self):
        self.assert_alive()
        harness.wait_for("descriptors as before", lambda: self.descriptors() <= self.before)
        self.assertNotIn("/smuggled", self.service_.csrd.log())

    def test_f1_f2_content_length(self):
        body = b"12345" + SMUGGLED
        for lengths in ([b"5", b"6"], [b"5", b"5"], [b"+5"], [b"5,5"], [b"5, 5"], [b"0x5"], [b""], [b"-1"], [b"5 5"],
                        [b"18446744073709551621"]):
            fields = [b"Content-Length: %s\r\n" % length for length in lengths]
            with self.subTest(lengths=lengths):
                self.assert_refused(self.head(b"POST", b"/x", JSON, *fields) + body, 400, 413)

    def test_f3_f4_transfer_encoding(self):
        chunked = b"5\r\n12345\r\n0\r\n\r\n" + SMUGGLED
        for fields, statuses in (
                ([b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"], [400]),
                ([b"Transfer-Encoding: xchunked\r\n"], [400]),
                ([b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n"], [400]),
                ([b"Transfer-Encoding: chunked, identity\r\n"], [400]),
                ([b"Transfer-Encoding: gzip, chunked\r\n"], [501])):
            with self.subTest(fields=fields):
                self.assert_refused(self.head(b"POST", b"/x", JSON, *fields) + chunked, *statuses)

    def test_f4_chunks_that_are_none(self):
        for body in (b"0x5\r\n12345\r\n0\r\n\r\n", b"5\n12345\r\n0\r\n\r\n", b"5\r\n123456\r\n0\r\n\r\n", b"\r\n",
                     b"5 \r\n12345\r\n0\r\n\r\n", b"0\r\na: b\n\r\n"):
            with self.subTest(body=body):
                self.assert_refused(self.head(b"POST", b"/x", JSON, b"Transfer-Encoding: chunked\r\n") + body + SMUGGLED, 400)

    def test_f6_trailer_gives_no_authority(self):
        path = ("/client/v4" + self.service_.scope_path()).encode()
        trailer = b"0\r\nAuthorization: Bearer " + self.service_.token.encode() + b"\r\n\r\n"
        with Client(self.service_.address) as client:
            for first in (b"", b"2\r\n{}\r\n"):
                client.send(self.head(b"POST", path, JSON, b"Transfer-Encoding: chunked\r\n") + first + trailer)
                self.assertEqual(client.answer().codes, [1402])

    def test_f7_header_syntax(self):
        for data in (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                     self.head(b"GET", b"/", HOST), self.head(b"GET", b"/", b"X: a\r\n b\r\n"),
                     b"GET / HTTP/1.1\nHost: a\n\n", self.head(b"GET", b"/", b"X: a\n"),
                     self.head(b"GET", b"/", b"X: a\0b\r\n"), self.head(b"GET", b"/", b"X: a\rb\r\n"),
                     self.head(b"GET", b"/", b"X(y): a\r\n"), self.head(b"GET", b"/", b"no colon\r\n"),
                     self.head(b"GET", b"/", b"Authorization: Bearer a\r\n", b"Authorization: Bearer b\r\n"),
                     self.head(b"GET", b"/", b"X-Auth-Key: a\r\n", b"x-auth-key: a\r\n")):
            with self.subTest(data=data):
                self.assert_refused(data, 400)

    def test_f9_large_heads(self):
        memory = self.resident_kb()
        self.assert_refused(self.head(b"GET", b"/", b"X: " + b"a" * 9000 + b"\r\n"), 431)
        self.assert_refused(self.head(b"GET", b"/", b"a:b\r\n" * 2000), 431)
        self.assert_refused(self.head(b"GET", b"/", b"a:b\r\n" * 64), 431)
        self.assert_refused(b"GET /" + b"a" * 9000, 414)
        self.assert_refused(b"a" * 5_000_000, 501)
        self.assertLess(self.resident_kb() - memory, 8192 * (4 if harness.SANITIZE else 1))

    def resident_kb(self):
        with open("/proc/%d/statm" % self.service_.csrd.pid, encoding="ascii") as f:
            return int(f.read().split()[1]) * resource.getpagesize() // 1024

    def test_f10_body_limit(self):
        path = ("/client/v4" + self.service_.scope_path()).encode()
        for size in (4095, 4096):
            body = b"{}" + b" " * (size - 2)
            with self.subTest(size=size), Client(self.service_.address) as client:
                client.send(self.head(b"POST", path, JSON, b"Content-Length: %d\r\n" % size) + body)
                answer = client.answer()
                self.assertEqual((answer.status, answer.codes), (400, [1402]))  # read whole: then nobody is named
                self.assertNotIn("connection", answer.headers)
            with self.subTest(chunks=size), Client(self.service_.address) as client:
                client.send(self.head(b"POST", path, JSON, b"Transfer-Encoding: chunked\r\n"))
                for at in range(0, size, 1000):
                    piece = body[at:at + 1000]
                    client.send(b"%x;x=y\r\n%s\r\n" % (len(piece), piece))
                answer = client.send(b"0\r\n\r\n").answer()
                self.assertEqual((answer.status, answer.codes), (400, [1402]))
        chunks = (b"400\r\n" + b" " * 1024 + b"\r\n") * 4 + b"1\r\n \r\n0\r\n\r\n"
        self.assert_refused(self.head(b"POST", path, JSON, b"Transfer-Encoding: chunked\r\n") + chunks, 413)
        for size in (4097, 3_000_000):
            data = self.head(b"POST", path, JSON, b"Content-Length: %d\r\n" % size) + b" " * size
            with self.subTest(size=size):
                self.assertEqual(self.assert_refused(data, 413).codes, [10413])

    def test_f10_refused_body_may_be_sent_to_its_end(self):
        """A client that writes all before it reads gets the answer, not a reset."""
        with Client(self.service_.address) as client:
            client.socket.sendall(self.head(b"POST", b"/x", JSON, b"Content-Length: 600000\r\n"))
            self.assertTrue(client.fill())
            for _ in range(60):
                client.socket.sendall(b" " * 10_000)
            self.assertEqual(client.answer().status, 413)
            self.assertEqual(client.socket.recv(1), b"")

    def test_f11_targets(self):
        for target in (b"http://", b"ftp://evil/x", b"/%00", b"/%zz", b"*", b"/a b", b"/\xc3\xa9", b"/a#b"):
            with self.subTest(target=target):
                self.assert_refused(self.head(b"GET", target), 400)
        self.assert_refused(self.head(b"GET", b"https://localhost/healthz"), 421)
        for target in (b"//evil/x", b"http://evil/x", b"/../client/v4/user", b"/%2e%2e/healthz", b"/client/v4/..;/healthz", b"/healthz;x", b"/healthz/"):
            with self.subTest(target=target), Client(self.service_.address) as client:
                self.assertEqual(client.send(self.head(b"GET", target)).answer().status, 404)
        for line in self.service_.csrd.log().splitlines():
            self.assertRegex(line, r"^[\x20-\x7e]*$")

    def test_f12_methods_and_versions(self):
        for data, statuses in ((self.head(b"TRACE", b"/"), [501]), (self.head(b"CONNECT", b"a:1"), [501]),
                               (self.head(b"FOO", b"/"), [501]), (b"GET /\r\n\r\n", [400]), (b"GET /\r\n", [400]),
                               (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", [400, 505]),
                               (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 505])):
            with self.subTest(data=data):
                # HTTP/0.9 has no end of its head: what follows decides
                self.assert_refused(data if data.endswith(b"\r\n\r\n") else data + b"\r\n", *statuses)
        path = ("/client/v4" + self.service_.scope_path()).encode()
        for method in (b"PATCH", b"PUT"):
            with self.subTest(method=method), Client(self.service_.address) as client:
                answer = client.send(self.head(method, path)).answer()
                self.assertEqual((answer.status, answer.codes), (405, [10405]))
                self.assertIn("POST", answer.headers["allow"])

    def test_f13_expect(self):
        path = ("/client/v4" + self.service_.scope_path()).encode()
        expect = b"Expect: 100-continue\r\n"
        with Client(self.service_.address) as client:
            client.send(self.head(b"POST", path, JSON, expect, b"Content-Length: 2\r\n"))
            self.assertEqual(client.answer().status, 100)
            client.send(b"{}")
            self.assertEqual(client.answer().codes, [1402])
        self.assert_refused(self.head(b"POST", path, JSON, expect, b"Content-Length: 4097\r\n"), 413)
        self.assert_refused(self.head(b"POST", path, JSON, b"Expect: coffee\r\n", b"Content-Length: 2\r\n") + b"{}", 417)

    def test_content_type_is_asked_of_a_body(self):
        path = ("/client/v4" + self.service_.scope_path()).encode()
        for fields in ([], [b"Content-Type: text/plain\r\n"]):
            with self.subTest(fields=fields), Client(self.service_.address) as client:
                client.send(self.head(b"POST", path, *fields, b"Content-Length: 2\r\n") + b"{}")
                answer = client.answer()
                self.assertEqual((answer.status, answer.codes), (415, [10415]))
                self.assert_envelope(answer)
                self.assertEqual(client.send(self.head(b"GET", b"/healthz")).answer().status, 200)
        with Client(self.service_.address) as client:
            self.assertEqual(client.send(self.head(b"GET", b"/healthz", JSON)).answer().status, 200)

    def test_no_version_is_told(self):
        with Client(self.service_.address) as client:
            headers = client.send(self.head(b"GET", b"/healthz")).answer().headers
        self.assertNotIn("server", headers)
        self.assertIn("date", headers)

    def test_requests_in_pieces_and_in_one(self):
        """However the bytes are cut, the answers are the same."""
        one = self.head(b"GET", b"/healthz")
        two = self.head(b"POST", b"/nothing", JSON, b"Content-Length: 12\r\n") + b'{"a": "b c"}'
        three = self.head(b"GET", b"/healthz", b"Content-Length: 3\r\n") + b"xyz"
        four = self.head(b"HEAD", b"/healthz")
        whole = one + two + three + two + one + two
        want = [200, 404, 200, 404, 200, 404]
        for size in (1, 7, 61, len(whole)):
            with self.subTest(size=size), Client(self.service_.address) as client:
                client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(whole), size):
                    client.send(whole[at:at + size])
                self.assertEqual([client.answer().status for _ in want], want)
        with Client(self.service_.address) as client:
            client.send(four + one)
            while client.data.count(b"HTTP/1.1 ") < 2:
                self.assertTrue(client.fill())
            self.assertEqual(client.data.split(b"\r\n\r\n")[1][:13], b"HTTP/1.1 200 ", "HEAD has no body")

    def test_http_1_0_is_answered_and_closed(self):
        answer, closed = self.exchange(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertEqual(answer.status, 200)
        self.assertTrue(closed)

    def test_client_that_shuts_its_side_is_answered(self):
        with Client(self.service_.address) as client:
            client.send(self.head(b"GET", b"/readyz"))
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.answer().status, 503)


class SlowTest(Case):
    def setUp(self):
        super().setUp()
        self.service_ = self.service(settings={"http": {"idle_timeout": "2s", "max_connections": 700}})
        self.service_.start_csrd()
        self.before = self.descriptors()

    def drip(self, client, first, piece, limit):
        """Sends `piece` again and again; how long until the other side hung up."""
        start = time.monotonic()
        client.send(first)
        client.socket.settimeout(0.25)
        while time.monotonic() - start < limit:
            try:
                client.socket.sendall(piece)
            except OSError:
                return time.monotonic() - start
            try:
                if client.socket.recv(1000) == b"":
                    return time.monotonic() - start
            except socket.timeout:
                continue
            except OSError:
                return time.monotonic() - start
        self.fail("not cut after %.0f s" % limit)

    def test_f16_f17_slow_request_is_cut_at_an_absolute_deadline(self):
        post = self.head(b"POST", b"/x", JSON, b"Content-Length: 4000\r\n")
        for what, first, piece in (("head", b"GET / HTTP/1.1\r\n", b"X: y\r\n"), ("body", post, b" "), ("line", b"G", b"E")):
            with self.subTest(what=what), Client(self.service_.address) as client:
                took = self.drip(client, first, piece, harness.PATIENCE)
                self.assertGreater(took, 1.5)
                self.assertLess(took, 6 if not harness.SANITIZE else 15)

    def test_f16_500_slow_clients_and_a_healthy_one(self):
        clients = [Client(self.service_.address) for _ in range(500)]
        try:
            for client in clients:
                client.send(b"GET / HTTP/1.1\r\nX: ")
            self.assertLess(self.assert_alive(), 1 if not harness.SANITIZE else 5)
            for client in clients:
                self.assertTrue(client.is_closed())
        finally:
            for client in clients:
                client.socket.close()
        harness.wait_for("descriptors as before", lambda: self.descriptors() <= self.before + 1)

    def test_idle_connection_is_closed(self):
        with Client(self.service_.address) as fresh, Client(self.service_.address) as used:
            used.send(self.head(b"GET", b"/healthz"))
            self.assertEqual(used.answer().status, 200)
            start = time.monotonic()
            self.assertTrue(used.is_closed() and fresh.is_closed())
            self.assertGreater(time.monotonic() - start, 1)

    def test_f18_client_that_never_reads(self):
        """Its pipelined requests wait in its own buffers, and it is cut."""
        with Client(self.service_.address) as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.socket.settimeout(0.2)
            sent = 0
            request = self.head(b"GET", b"/healthz") * 100
            start = time.monotonic()
            while time.monotonic() - start < harness.PATIENCE:
                try:
                    sent += client.socket.send(request)
                except socket.timeout:
                    if self.descriptors() <= self.before:
                        break
                except OSError:
                    break
            self.assertLess(sent, 50_000_000)
            self.assertLess(time.monotonic() - start, harness.PATIENCE, "never cut")
        self.assert_alive()


class CrowdTest(Case):
    def test_f19_idle_connections_make_room(self):
        self.service_ = self.service(settings={"http": {"max_connections": 20}})
        self.service_.start_csrd()
        kept = [Client(self.service_.address) for _ in range(20)]
        for client in kept:
            self.assertEqual(client.send(self.head(b"GET", b"/healthz")).answer().status, 200)
        for _ in range(10):
            self.assertLess(self.assert_alive(), 1 if not harness.SANITIZE else 5)
        self.assertTrue(kept[0].is_closed(), "the one idle for longest went first")
        self.assertEqual(kept[-1].send(self.head(b"GET", b"/healthz")).answer().status, 200)
        for client in kept:
            client.socket.close()

    def test_f20_descriptors_run_out(self):
        self.service_ = self.service(settings={"http": {"max_connections": 500}})
        self.service_.start_csrd()
        csrd = self.service_.csrd
        harness.run(["prlimit", "--pid", str(csrd.pid), "--nofile=%d" % (self.descriptors() + 10)])
        lines, ticks, start = csrd.log().count("\n"), self.cpu_seconds(), time.monotonic()
        clients = []
        for _ in range(60):
            clients.append(Client(self.service_.address).send(b"GET / HTTP/1.1\r\nX: "))
        time.sleep(2)  # not to be right: two seconds of a process that must not be busy
        took = time.monotonic() - start
        self.assertLess((self.cpu_seconds() - ticks) / took, 0.1 if not harness.SANITIZE else 0.5)
        accept_lines = [line for line in csrd.log().splitlines()[lines:] if "debug" not in line]
        self.assertTrue(any("cannot accept a connection" in line for line in accept_lines), accept_lines)
        self.assertLess(len(accept_lines) / took, 10)
        for client in clients:
            client.socket.close()

        def serves():
            with contextlib.suppress(harness.GoneAway):  # until csrd has seen that the others left
                return self.assert_alive() < 1
        harness.wait_for("service again", serves)

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.service_.csrd.pid, encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_unix_socket(self):
        """Also from a client whose own socket has a name, which is a longer peer address."""
        self.service_ = self.service()
        path = str(self.service_.folder / "csrd.sock")
        self.service_.settings["http"]["listen"] = "127.0.0.1:0, unix:" + path
        self.service_.write_config()
        self.service_.start_csrd().wait_log("listening on 'unix:")
        with Client(path) as client:
            self.assertEqual(client.send(self.head(b"GET", b"/healthz")).answer().status, 200)
        with Client.__new__(Client) as client:
            client.data = b""
            client.socket = socket.socket(socket.AF_UNIX)
            client.socket.settimeout(harness.PATIENCE)
            client.socket.bind(str(self.service_.folder / ("c" * (107 - len(str(self.service_.folder)) - 1))))
            client.socket.connect(path)
            self.assertEqual(client.send(self.head(b"GET", b"/healthz")).answer().status, 200)
        self.assertEqual(self.service_.csrd.terminate(), 0)
        self.assertFalse(os.path.exists(path))


class InFlightTest(Case):
    """With a real signer, stopped and continued by signals to hold a create in flight."""

    def start(self, **http):
        self.service_ = self.service(settings={"http": http})
        self.service_.start()

    def hold(self):
        """Stops the signer; the create that comes next stays in flight."""
        self.service_.hsm.signal(signal.SIGSTOP)
        self.addCleanup(self.go_on)

    def go_on(self):
        if self.service_.hsm.is_running():
            self.service_.hsm.signal(signal.SIGCONT)

    def wait_pending(self, count=1):
        self.service_.wait_at_signer(count)

    def test_f14_pipelined_creates_one_at_a_time(self):
        self.start()
        with Client(self.service_.address) as client:
            self.hold()
            client.send(b"".join(self.create_bytes(name="pipelined %d" % i) for i in range(3)))
            self.wait_pending()
            self.assertLess(self.assert_alive(), 1 if not harness.SANITIZE else 5)
            self.assertEqual(self.service_.csrd.log().count("asks the signer for a key"), 1,
                             "the second began before the first was answered")
            self.go_on()
            answers = [client.answer() for _ in range(3)]
        self.assertEqual([answer.status for answer in answers], [201] * 3)
        self.assertEqual([answer.result["name"] for answer in answers], ["pipelined %d" % i for i in range(3)])
        self.assertEqual(len({answer.result["csr"] for answer in answers}), 3)
        self.service_.check_sane(self, acknowledged=[answer.result["id"] for answer in answers])

    def test_f22_client_resets_during_a_create(self):
        self.start()
        self.hold()
        clients = [Client(self.service_.address).send(self.create_bytes(name="left %d" % i)) for i in range(5)]
        self.wait_pending(5)
        for client in clients:
            client.reset()
        self.assert_alive()
        self.go_on()
        harness.wait_for("active rows", lambda: len(self.service_.rows("active")) == 5)
        answer = self.service_.create()
        self.assertEqual(answer.status, 201)
        self.service_.check_sane(self, acknowledged=[answer.result["id"]])

    def test_f28_sigterm_answers_what_is_in_flight(self):
        self.start()
        with Client(self.service_.address) as client, Client(self.service_.address) as idle, \
                Client(self.service_.address) as half:
            self.assertEqual(idle.send(self.head(b"GET", b"/healthz")).answer().status, 200)
            half.send(b"GET / HTTP/1.1\r\nX: ")
            self.hold()
            client.send(self.create_bytes())
            self.wait_pending()
            self.service_.csrd.signal(signal.SIGTERM)
            self.assertTrue(idle.is_closed())
            self.assertTrue(half.is_closed())
            with self.assertRaises(OSError):
                Client(self.service_.address)
            self.assertTrue(self.service_.csrd.is_running())
            self.go_on()
            answer = client.answer()
            self.assertEqual(answer.status, 201)
            self.assertEqual(answer.headers["connection"], "close")
            self.assertTrue(client.is_closed())
        self.assertEqual(self.service_.csrd.wait(), 0)
        self.service_.check_sane(self, acknowledged=[answer.result["id"]])

    def test_f29_sigterm_with_a_hung_signer_ends_by_the_deadline(self):
        self.start(drain_timeout="2s")
        self.hold()
        with Client(self.service_.address) as client:
            client.send(self.create_bytes())
            self.wait_pending()
            start = time.monotonic()
            self.service_.csrd.signal(signal.SIGTERM)
            self.assertEqual(self.service_.csrd.wait(), 0)
            self.assertGreater(time.monotonic() - start, 1)
            self.assertLess(time.monotonic() - start, 5 if not harness.SANITIZE else 15)
            self.assertIsNone(client.answer())
        self.assertEqual(self.service_.rows(), {})
        self.go_on()
        self.service_.start_csrd()
        self.service_.wait_ready()
        self.service_.wait_settled()
        self.service_.check_sane(self)

    def test_f29_second_signal_ends_at_once(self):
        self.start(drain_timeout="5m")
        self.hold()
        with Client(self.service_.address) as client:
            client.send(self.create_bytes())
            self.wait_pending()
            self.service_.csrd.signal(signal.SIGTERM)
            self.service_.csrd.wait_log("stopping on signal")
            self.service_.csrd.signal(signal.SIGINT)
            self.assertEqual(self.service_.csrd.wait(), 0)
        self.assertIn("second signal", self.service_.csrd.log())

    def test_sighup_reloads_or_keeps_the_old_configuration(self):
        """A good file is taken over, a bad one keeps the old configuration and names each problem."""
        self.start()
        csrd = self.service_.csrd
        self.service_.settings["http"]["max_body_bytes"] = "4096"
        self.service_.settings["http"]["max_connections"] = "99"
        self.service_.write_config()
        csrd.signal(signal.SIGHUP)
        csrd.wait_log("reloaded")
        self.assertRegex(csrd.log(), r"max_connections")
        self.assertEqual(self.service_.create(description="x" * 5000).status, 413)
        self.service_.settings["http"].update(max_body_bytes="7", nonsense="1")
        self.service_.write_config()
        csrd.signal(signal.SIGHUP)
        csrd.wait_log("the old one stays in force")
        self.assertRegex(csrd.log(), r"max_body_bytes.*'7'")
        self.assertIn("nonsense", csrd.log())
        self.assertEqual(self.service_.create(description="x" * 5000).status, 413)
        self.assertEqual(self.service_.create().status, 201)


if __name__ == "__main__":
    unittest.main()
