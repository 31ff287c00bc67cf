"""Version 2 of the PROXY protocol (F417 to F420): from whom it is taken, before HTTP and before TLS, in any pieces, and
what becomes of what is none.  Proxies are 127.0.0.2 here; all other addresses are others."""
# run: waits seconds=14
import http.client
import os
import random
import select
import socket
import ssl
import struct
import time
import unittest

import harness

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY, OTHER = "127.0.0.2", "127.0.0.3"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def header(source="192.0.2.7", port=1234, tlvs=b"", command=1):
    """source: None for LOCAL with nothing behind it."""
    if source is None:
        return SIGNATURE + b"\x20\0" + struct.pack(">H", len(tlvs)) + tlvs
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, "::1" if ":" in source else "127.0.0.1")
    rest = addresses + struct.pack(">HH", port, 80) + tlvs
    return SIGNATURE + bytes([0x20 | command, 0x21 if ":" in source else 0x11]) + struct.pack(">H", len(rest)) + rest


class ProxyProtocolTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.certificate, key = harness.make_certificate(self.folder)
        self.unix = self.folder / "http.sock"
        self.service_ = self.service(settings={"http": {
            "listen": "127.0.0.1:0, unix:%s" % self.unix, "listen_tls": "127.0.0.1:0", "tls_certificate": self.certificate,
            "tls_key": key, "proxy_protocol_from": PROXY}, "log": {"level": "debug", "reads": "yes"}})

    def start(self):
        service = self.service_.start()
        self.csrd = service.csrd
        match = self.csrd.wait_log(r"listening on '127\.0\.0\.1:(\d+)' with TLS")
        self.tls_door = ("127.0.0.1", int(match.group(1)))
        self.plain_door = service.address
        return service

    def connect(self, door=None, source=PROXY):
        return socket.create_connection(door or self.plain_door, harness.PATIENCE, (source, 0))

    def context(self):
        return ssl.create_default_context(cafile=str(self.certificate))

    def answer(self, raw, request=HEALTH):
        """All that comes back."""
        raw.sendall(request)
        return self.rest(raw)

    def rest(self, raw):
        parts = []
        try:
            while part := raw.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        raw.close()
        return b"".join(parts)

    def assert_peer(self, pattern):
        """Of the newest access log line."""
        return self.csrd.wait_log(r"GET '[^']*' from '%s'" % pattern)

    def ask_over_tls(self, raw, request=HEALTH):
        tls = self.context().wrap_socket(raw, server_hostname="localhost")
        return self.answer(tls, request)

    def test_f417_who_is_believed(self):
        service = self.start()
        ok = b"HTTP/1.1 200 "
        # the header and the request in one packet; the next request is of the same caller
        with self.connect() as raw:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = raw
            raw.sendall(header("192.0.2.7", 1001))
            for _ in range(2):
                connection.request("GET", "/client/v4" + service.scope_path(), headers=service.bearer())
                response = connection.getresponse()
                self.assertEqual(response.status, 200, response.read())
                response.read()
        self.assert_peer(r"192\.0\.2\.7:1001 via 127\.0\.0\.2:\d+")
        self.assertTrue(self.answer(self.connect(), header("2001:db8::7", 1002) + HEALTH).startswith(ok))
        # extensions are skipped; LOCAL, unix and unspecified speak for the proxy itself
        self.assertTrue(self.answer(self.connect(), header(tlvs=b"\4\1\0" + b"n" * 256) + HEALTH).startswith(ok))
        for own in (header(None), header(None, tlvs=b"\4\0\0"), SIGNATURE + b"\x21\0\0\0",
                    SIGNATURE + b"\x21\x31\0\xd8" + bytes(216), SIGNATURE + b"\x20\x11\0\x0c" + bytes(12)):
            with self.subTest(own):
                raw = self.connect()
                port = raw.getsockname()[1]
                request = b"GET /client/v4/nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                self.assertTrue(self.answer(raw, own + request).startswith(b"HTTP/1.1 404 "))
                self.assert_peer(r"127\.0\.0\.2:%d" % port)
        # what a caller does is recorded with its address, and with its proxy's
        with self.connect() as raw:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = raw
            raw.sendall(header("192.0.2.8", 1003))
            connection.request("POST", "/client/v4" + service.scope_path(),
                               '{"country":"SE","state":"S","locality":"S","organization":"E","common_name":"a.example.com",'
                               '"sans":["a.example.com"],"key_type":"p256v1"}',
                               {**service.bearer(), "Content-Type": "application/json"})
            response = connection.getresponse()
            self.assertEqual(response.status, 201, response.read())
        peers = [record["peer"] for record in service.csrctl("audit")["records"] if record["action"] == "csr.active"]
        self.assertEqual(len(peers), 1)
        self.assertRegex(peers[0], r"^192\.0\.2\.8:1003 via 127\.0\.0\.2:\d+$")
        # whoever is not named: unchanged, and a header of theirs is no request
        self.assertTrue(self.answer(self.connect(source=OTHER)).startswith(ok))
        for bad, said in ((header(), b"proxy_protocol_from does not name"), (header(None), b"does not name"),
                          (b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n", b"version 1 with none")):
            for door in (self.plain_door, self.tls_door):
                answer = self.answer(self.connect(door, OTHER), bad + HEALTH)
                self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
                self.assertIn(said, answer)
        # named ones must send one, and no second one
        for bad, said in ((HEALTH, b"a PROXY protocol header, version 2, is expected"),
                          (b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n", b"send version 2"),
                          (header() + header() + HEALTH, b"does not name"),
                          (SIGNATURE + b"\x21\x11\0\x08" + bytes(8), b"too short"),
                          (SIGNATURE + b"\x21\x11\xff\xff" + bytes(600), b"longer than 552 bytes")):
            answer = self.answer(self.connect(), bad)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), (bad, answer))
            self.assertIn(said, answer)
        self.csrd.wait_log(r"warning: no PROXY protocol header from '127\.0\.0\.2:\d+': ")
        service.stop()

    def test_f418_before_tls(self):
        service = self.start()
        ok = b"HTTP/1.1 200 "
        for source in ("192.0.2.9", "2001:db8::9", None):
            raw = self.connect(self.tls_door)
            raw.sendall(header(source, 2001))
            self.assertTrue(self.ask_over_tls(raw).startswith(ok))
        self.assert_peer(r"192\.0\.2\.9:2001 via 127\.0\.0\.2:\d+")
        # the header and the first record in one packet, cut at any place: nothing of the record is lost
        whole = header(tlvs=b"\4\0\2ab")
        for cut in [*range(1, len(whole)), len(whole) + 1, len(whole) + 5]:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            self.assertRaises(ssl.SSLWantReadError, tls.do_handshake)
            first = whole + outgoing.read()
            raw = self.connect(self.tls_door)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.sendall(first[:cut])
            if cut % 8 == 0:
                time.sleep(0.01)  # so that it is read in two pieces now and then; right either way
            raw.sendall(first[cut:])
            incoming.write(raw.recv(65536))
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    incoming.write(raw.recv(65536))
            raw.sendall(outgoing.read())
            raw.close()
        # TLS without a header, and a header that is none: cut off, with a line that says why
        raw = self.connect(self.tls_door)
        self.assertRaises(OSError, self.context().wrap_socket, raw, server_hostname="localhost")
        raw.close()
        self.csrd.wait_log(r"no PROXY protocol header from '127\.0\.0\.2:\d+': a PROXY protocol header, version 2, is exp")
        self.assertIn(b"is expected from this address", self.answer(self.connect(self.tls_door)))
        self.assertIn(b"plain HTTP was sent", self.answer(self.connect(self.tls_door), header() + HEALTH))
        # others speak TLS as ever
        self.assertTrue(self.ask_over_tls(self.connect(self.tls_door, OTHER)).startswith(ok))
        service.stop()

    def test_f419_slow_and_random_headers(self):
        self.service_.settings["http"]["idle_timeout"] = "2s"
        self.service_.write_config()
        service = self.start()
        doors = (self.plain_door, self.tls_door)

        def descriptors():
            return len(os.listdir("/proc/%d/fd" % self.csrd.pid))
        before = descriptors()
        # a byte now and then, half a header, and nothing, at either door: cut off by one deadline
        began = time.monotonic()
        slow, half, silent = ([self.connect(door) for door in doors] for _ in range(3))
        for raw in half:
            raw.sendall(header()[:20])
        at = 0
        waiting = set(slow + half + silent)
        while waiting and time.monotonic() - began < harness.PATIENCE:
            if at < (time.monotonic() - began) * 5:
                for raw in slow:
                    try:
                        raw.send(header(tlvs=b"\4\0\xff" + bytes(255))[at:at + 1])
                    except OSError:
                        pass
                at += 1
            for raw in select.select(list(waiting), [], [], 0.05)[0]:
                try:
                    self.assertEqual(raw.recv(1), b"")
                except ConnectionResetError:
                    pass
                waiting.discard(raw)
        self.assertFalse(waiting)
        self.assertGreater(time.monotonic() - began, 1)
        for raw in slow + half + silent:
            raw.close()
        self.csrd.wait_log(r"no PROXY protocol header from '127\.0\.0\.2:\d+': it took too long")
        random.seed(419)
        for number in range(10000):
            bad = bytearray(header() if number % 3 else SIGNATURE + random.randbytes(random.randrange(60)))
            for _ in range(random.randrange(3)):
                bad[random.randrange(len(bad))] = random.randrange(256)
            raw = self.connect(doors[number % 2])
            try:
                raw.sendall(bytes(bad) + (HEALTH if number % 5 else b""))
            except OSError:
                pass
            raw.close()
        harness.wait_for("the descriptors are back", lambda: descriptors() <= before)
        self.assertEqual(harness.http_request(self.plain_door, "GET", "/healthz").status, 200)
        self.assertLess(self.csrd.log().count("no PROXY protocol header"), 50)
        service.stop()

    def test_f420_doors_and_reload(self):
        """proxy_protocol_on: the other doors know nothing of it; a reload changes who is believed."""
        self.service_.settings["http"].update(listen="unix:%s, 127.0.0.1:0" % self.unix,
                                              proxy_protocol_on="unix:%s, 127.0.0.9:1" % self.unix,
                                              proxy_protocol_from="unix, 127.0.0.0/8", max_connections_per_address=2)
        self.service_.write_config()
        service = self.start()  # its readiness is asked for without a header
        self.csrd.wait_log(r"warning: nobody listens on '127\.0\.0\.9:1' of \[http\] proxy_protocol_on")
        self.assertTrue(self.answer(self.connect()).startswith(b"HTTP/1.1 200 "))
        self.assertIn(b"does not name", self.answer(self.connect(), header() + HEALTH))

        def by_unix(request):
            raw = socket.socket(socket.AF_UNIX)
            raw.settimeout(harness.PATIENCE)
            raw.connect(str(self.unix))
            return self.answer(raw, request)
        self.assertIn(b"is expected from this address", by_unix(HEALTH))
        self.assertTrue(by_unix(header("192.0.2.10", 3001) + HEALTH).startswith(b"HTTP/1.1 200 "))
        self.assert_peer(r"192\.0\.2\.10:3001 via unix")
        # csrctl speaks for itself, as a health check does
        self.assertEqual(service.csrctl("status")["csrd"]["state"], "ready")
        # F425: what is limited by address is limited by the caller's, not by the proxy's
        held = [socket.socket(socket.AF_UNIX) for _ in range(6)]
        for number, raw in enumerate(held):
            raw.settimeout(harness.PATIENCE)
            raw.connect(str(self.unix))
            raw.sendall(header("192.0.2.%d" % (20 + number if number < 3 else 30)) + HEALTH.replace(b"close", b"x"))
            if number < 5:
                self.assertTrue(raw.recv(65536).startswith(b"HTTP/1.1 200 "), number)
        gone = harness.wait_for("one too many is closed", lambda: [
            raw for raw in select.select(held[3:5], [], [], 0)[0] if raw.recv(65536) == b""] or (
                select.select(held[5:], [], [], 0)[0] and held[5].recv(65536) == b"" and [held[5]]))
        self.assertEqual(len(gone), 1)
        for raw in held[:3]:
            raw.sendall(HEALTH)
            self.assertTrue(self.rest(raw).startswith(b"HTTP/1.1 200 "))
        for raw in held[3:]:
            raw.close()
        service.settings["http"]["proxy_protocol_from"] = "127.0.0.0/8"
        service.write_config()
        self.csrd.signal(1)
        harness.wait_for("the unix door without a header", lambda: by_unix(HEALTH).startswith(b"HTTP/1.1 200 "))
        service.stop()


if __name__ == "__main__":
    unittest.main()
