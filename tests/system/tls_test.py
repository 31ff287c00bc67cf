"""TLS on csrd's doors: handshakes good and bad, the files, and what of plain HTTP must hold there too."""
# run: waits seconds=40
import ctypes
import ctypes.util
import datetime
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

import harness

HELLO_TIMEOUT = 10


class TlsCase(harness.Case):
    def tls_service(self, settings=None, start=True, days=90):
        certificate, key = harness.make_certificate(self.folder, days=days)
        http_settings = {"listen_tls": "127.0.0.1:0", "tls_certificate": certificate, "tls_key": key}
        http_settings.update((settings or {}).get("http", {}))
        service = self.service(settings={**(settings or {}), "http": http_settings})
        self.certificate, self.key = certificate, key
        if start:
            service.start()
            self.find_door(service)
        return service

    def find_door(self, service):
        match = service.csrd.wait_log(r"listening on '127\.0\.0\.1:(\d+)' with TLS")
        self.door = ("127.0.0.1", int(match.group(1)))

    def context(self, **options):
        context = ssl.create_default_context(cafile=str(self.certificate))
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def connect(self, context=None, session=None):
        raw = socket.create_connection(self.door, timeout=harness.PATIENCE)
        return (context or self.context()).wrap_socket(raw, server_hostname="localhost", session=session)

    def ask(self, service, method="GET", path="/healthz", body=None, context=None):
        connection = http.client.HTTPSConnection("localhost", self.door[1], context=context or self.context(),
                                                 timeout=harness.PATIENCE)
        headers = service.bearer()
        if body is not None:
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        answer = harness.answer_of(connection.getresponse(), method, path, body and body.encode())
        connection.close()
        return answer

    def shake_hands(self, raw, tls, incoming, outgoing):
        """Of a TLS object that is no socket."""
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))

    def replace(self, source, target):
        """As a renewal does it."""
        fresh = target.with_suffix(".fresh")
        fresh.write_bytes(source.read_bytes())
        fresh.chmod(source.stat().st_mode & 0o777)
        fresh.rename(target)

    def shown(self):
        """The subject of the certificate that a new connection gets."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with self.connect(context) as tls:
            der = tls.getpeercert(binary_form=True)
        text = ssl.DER_cert_to_PEM_cert(der)
        return subprocess.run(["openssl", "x509", "-noout", "-subject"], input=text, capture_output=True, text=True,
                              check=True).stdout.strip()


def key_updates(raw, count):
    """A handshake of TLS 1.3 on that socket, and the bytes of many KeyUpdates to be sent there.  ssl has no KeyUpdate."""
    lib = ctypes.CDLL(ctypes.util.find_library("ssl"))
    crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
    pointer = ctypes.c_void_p
    for function, result, arguments in (
            (lib.TLS_client_method, pointer, []), (lib.SSL_CTX_new, pointer, [pointer]), (lib.SSL_new, pointer, [pointer]),
            (lib.SSL_set_bio, None, [pointer, pointer, pointer]), (lib.SSL_connect, ctypes.c_int, [pointer]),
            (lib.SSL_key_update, ctypes.c_int, [pointer, ctypes.c_int]), (lib.SSL_do_handshake, ctypes.c_int, [pointer]),
            (crypto.BIO_s_mem, pointer, []), (crypto.BIO_new, pointer, [pointer]),
            (crypto.BIO_read, ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_int]),
            (crypto.BIO_write, ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_int])):
        function.restype, function.argtypes = result, arguments
    connection = lib.SSL_new(lib.SSL_CTX_new(lib.TLS_client_method()))  # verifies nothing
    incoming, outgoing = crypto.BIO_new(crypto.BIO_s_mem()), crypto.BIO_new(crypto.BIO_s_mem())
    lib.SSL_set_bio(connection, incoming, outgoing)
    buffer = ctypes.create_string_buffer(65536)

    def taken():
        parts = []
        while (got := crypto.BIO_read(outgoing, buffer, len(buffer))) > 0:
            parts.append(buffer.raw[:got])
        return b"".join(parts)
    while lib.SSL_connect(connection) != 1:
        raw.sendall(taken())
        got = raw.recv(65536)
        assert got, "the handshake was refused"
        crypto.BIO_write(incoming, got, len(got))
    raw.sendall(taken())
    parts = []
    for i in range(count):
        assert lib.SSL_key_update(connection, 0) == 1 and lib.SSL_do_handshake(connection) == 1
        if i % 1000 == 0:
            parts.append(taken())
    return b"".join(parts) + taken()


def read_answer(stream):
    """One answer with Content-Length: status and body."""
    status = int(stream.readline().split()[1])
    length = 0
    for line in iter(stream.readline, b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, stream.read(length)


def exchange(tls, data, count):
    """Sends all of `data` and reads meanwhile: the statuses of `count` answers.  On one thread, since Python's ssl and
    OpenSSL do not let two be at one connection."""
    deadline = time.monotonic() + harness.PATIENCE
    taken, statuses = b"", []
    tls.setblocking(False)
    while len(statuses) < count and time.monotonic() < deadline:
        wanted = ([tls], [tls] if data else [])
        try:
            if data:
                data = data[tls.send(data[:16384]):]
        except ssl.SSLWantWriteError:
            pass
        except ssl.SSLWantReadError:
            wanted = ([tls], [])
        try:
            while chunk := tls.recv(65536):
                taken += chunk
            break  # the end
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        while (end := taken.find(b"\r\n\r\n") + 4) > 3:
            length = int(re.search(rb"(?i)content-length: (\d+)", taken[:end])[1])
            if len(taken) < end + length:
                break
            statuses.append(int(taken.split(b" ", 2)[1]))
            taken = taken[end + length:]
        if len(statuses) < count:
            select.select(*wanted, [], 1)
    tls.settimeout(harness.PATIENCE)
    return statuses


class SpokenTest(TlsCase):
    def test_versions_and_clients(self):
        """F310: TLS 1.2 and 1.3 with curl, Python and openssl; older versions are refused; ALPN; the log names TLS."""
        service = self.tls_service()
        answer = self.ask(service, "POST", "/client/v4" + service.scope_path(), {**harness.SUBJECT, "key_type": "p256v1"})
        self.assertEqual(answer.status, 201)
        service.csrd.wait_log(r"POST '.*' from '127\.0\.0\.1:\d+' over TLS by .*: 201 in")
        url = "https://localhost:%d/healthz" % self.door[1]
        for version in ("--tls-max 1.2", "--tlsv1.3"):
            done = harness.run(["curl", "-sS", "--cacert", self.certificate, *version.split(), "-w", "%{http_code} %{http_version}",
                                "-o", "/dev/null", url])
            self.assertEqual(done.stdout, "200 1.1")
        for version in ("-tls1", "-tls1_1"):
            done = harness.run(["openssl", "s_client", "-connect", "%s:%d" % self.door, version, "-cipher",
                                "DEFAULT@SECLEVEL=0"], check=False, input="")
            self.assertIn("alert", done.stdout + done.stderr)
            self.assertRegex(done.stdout, r"Cipher is \(NONE\)")
        for scheme, status in ((b"https", 200), (b"http", 421)):  # F323
            with self.connect() as tls:
                tls.sendall(b"GET %s://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" % scheme)
                self.assertEqual(read_answer(tls.makefile("rb"))[0], status)
        done = harness.run(["openssl", "s_client", "-connect", "%s:%d" % self.door, "-alpn", "h2,http/1.1"], input="")
        self.assertIn("ALPN protocol: http/1.1", done.stdout)
        done = harness.run(["openssl", "s_client", "-connect", "%s:%d" % self.door, "-alpn", "h2"], check=False, input="")
        self.assertIn("no application protocol", done.stdout + done.stderr)
        service.stop()

    def test_close_notify_and_renegotiation(self):
        """F311: the last answer of a connection is followed by close_notify; a client cannot renegotiate."""
        service = self.tls_service()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(maximum_version=version)
            context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
            with self.connect(context) as tls:
                tls.suppress_ragged_eofs = False
                tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                text = b""
                while True:
                    got = tls.recv(65536)  # SSLEOFError without close_notify
                    if not got:
                        break
                    text += got
                self.assertTrue(text.startswith(b"HTTP/1.1 200"), text)
        done = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % self.door, "-tls1_2"], input="R\n",
                              capture_output=True, text=True, timeout=harness.PATIENCE, check=False)
        self.assertRegex(done.stdout + done.stderr, "no renegotiation|no_renegotiation")
        service.stop()

    def test_half_close(self):
        """F312: a client that says the end behind its request gets its answer, whichever the records are."""
        service = self.tls_service()
        for count in range(20):
            raw = socket.create_connection(self.door, timeout=harness.PATIENCE)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            self.shake_hands(raw, tls, incoming, outgoing)
            # The first of two records fills most of libevent's buffer, so that it reads the second one into two
            # pieces, and meets the end behind it before it hands over what it has.
            tls.write(b"GET /healthz HTTP/1.1\r\nX-Fill: " + b"x" * 5000)
            tls.write(b"\r\nHost: a\r\n\r\n")
            try:
                tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            raw.sendall(outgoing.read())
            self.assertTrue(raw.recv(65536))
            raw.close()
            # Python's ssl reads nothing behind its own end; csrd's log tells that the request was not lost.
            harness.wait_for("the request", lambda n=count: service.csrd.log().count("GET '/healthz'") > n)
        service.stop()

    def test_half_close_behind_two_requests(self):
        """F312: so does each of two requests."""
        service = self.tls_service()
        raw = socket.create_connection(self.door, timeout=harness.PATIENCE)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        self.shake_hands(raw, tls, incoming, outgoing)
        tls.write(b"GET /healthz HTTP/1.1\r\nX-Fill: " + b"x" * 5000)  # as above
        tls.write(b"\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /half")
        try:
            tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        raw.sendall(outgoing.read())
        while raw.recv(65536):  # to the end, which does not wait for the rest of the third
            pass
        raw.close()
        harness.wait_for("the requests", lambda: service.csrd.log().count("GET '/healthz'") >= 2)
        self.assertNotIn("408 the request did not arrive", service.csrd.log())
        service.stop()

    def test_tickets(self):
        """F313: sessions are resumed by ticket, in both versions; not after the certificate was replaced."""
        service = self.tls_service()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(maximum_version=version)
            for round_ in range(3):
                session = None if round_ == 0 else session
                with self.connect(context, session) as tls:
                    tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                    self.assertEqual(read_answer(tls.makefile("rb"))[0], 200)
                    self.assertEqual(tls.session_reused, round_ > 0)
                    session = tls.session
            before = service.csrd.log().count("is in use, valid until")
            service.csrd.signal(signal.SIGHUP)
            harness.wait_for("a reload", lambda: service.csrd.log().count("is in use, valid until") > before)
            with self.connect(context, session) as tls:
                self.assertFalse(tls.session_reused)
        service.stop()


class BytesTest(TlsCase):
    def test_pipelines_and_large_bodies(self):
        """F314: many requests in one record, a body over many records, a head cut at each byte, chunked bodies."""
        service = self.tls_service()
        one = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        with self.connect() as tls:
            stream = tls.makefile("rb")
            for count in (400, 1500):  # 14 KiB: one record; 52 KiB: several, over csrd's buffers
                self.assertEqual(exchange(tls, one * count, count), [200] * count)
            for byte in one:
                tls.send(bytes([byte]))
            self.assertEqual(read_answer(stream)[0], 200)
            body = json.dumps({**harness.SUBJECT, "key_type": "p256v1"}).encode() + b" " * 60000
            body = body[:65000]
            head = "POST /client/v4%s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n" % (
                service.scope_path(), service.token)
            tls.sendall((head + "Content-Length: %d\r\n\r\n" % len(body)).encode() + body + one)
            self.assertEqual(read_answer(stream)[0], 201)
            self.assertEqual(read_answer(stream)[0], 200)
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 997]), body[i:i + 997]) for i in range(0, len(body), 997))
            tls.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode() + chunks + b"0\r\n\r\n" + one)
            self.assertEqual(read_answer(stream)[0], 201)
            self.assertEqual(read_answer(stream)[0], 200)
            tls.sendall((head + "Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)).encode())
            self.assertIn(b"100", stream.readline())
            stream.readline()
            tls.sendall(body)
            self.assertEqual(read_answer(stream)[0], 201)
        service.stop()

    def test_large_answers(self):
        """F315: an answer of many records comes whole to readers fast and slow; one who stops is cut off in time."""
        service = self.tls_service({"http": {"idle_timeout": "2s"}})
        sans = ["host-%03d.%s.example.com" % (i, "x" * 50) for i in range(150)]
        in_parallel = [lambda: service.create(sans=sans, common_name=sans[0][:64].rsplit(".", 1)[0] + ".a") for _ in range(4)]
        for _ in range(13):
            for answer in harness.in_parallel(in_parallel):
                self.assertEqual(answer.status, 201, answer)
        path = "/client/v4%s?per_page=50" % service.scope_path()
        expected = service.request("GET", "%s?per_page=50" % service.scope_path()).body
        self.assertGreater(len(expected), 500000)
        self.assertEqual(self.ask(service, "GET", path).body, expected)
        request = ("GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n" % (path, service.token)).encode()
        with self.connect() as tls:  # 32 KiB in 50 ms and less: progress, over more than idle_timeout
            tls.sendall(request)
            stream = tls.makefile("rb", buffering=0)
            text = b""
            while len(text) < len(expected):
                got = stream.read(32768)
                self.assertTrue(got, "cut off after %d bytes" % len(text))
                text += got
                time.sleep(0.05)
            self.assertTrue(text.endswith(expected))
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(self.door)
        tls = self.context().wrap_socket(raw, server_hostname="localhost")
        tls.sendall(request * 20)
        service.csrd.wait_log("it did not read its answer in time")
        tls.close()
        service.stop()


class HandshakeTest(TlsCase):
    def hello(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return outgoing.read()

    def test_cut_at_random(self):
        """F24, F316: a thousand handshakes cut off, garbled or stalled anywhere leave nothing behind."""
        service = self.tls_service()
        rng = random.Random(20)
        self.ask(service)
        fds = len(os.listdir("/proc/%d/fd" % service.csrd.pid))
        for i in range(1000):
            hello = bytearray(self.hello())
            raw = socket.create_connection(self.door, timeout=harness.PATIENCE)
            kind = i % 4
            if kind == 1:
                hello[rng.randrange(1, len(hello))] ^= 1 << rng.randrange(8)
            if kind == 2:
                hello = bytes([0x16]) + rng.randbytes(rng.randrange(1, 400))
            raw.sendall(hello[:rng.randrange(len(hello) + 1)] if kind in (0, 3) else hello)
            if kind == 3:  # a reset
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if kind == 1 and i % 8 == 1:
                raw.settimeout(1)
                try:
                    raw.recv(65536)
                except OSError:
                    pass
            raw.close()
        self.assertEqual(self.ask(service).status, 200)
        harness.wait_for("closed connections",
                         lambda: len(os.listdir("/proc/%d/fd" % service.csrd.pid)) <= fds + 1)
        self.assertLess(len(re.findall("TLS handshake with", service.csrd.log())), 30)
        service.stop()

    def test_deadline(self):
        """F24: no hello, a hello a byte at a time, half a hello: cut off in time; others are served meanwhile."""
        service = self.tls_service({"http": {"idle_timeout": "2s"}})
        hello = self.hello()
        silent, half, slow = (socket.create_connection(self.door, timeout=harness.PATIENCE) for _ in range(3))
        half.sendall(hello[:100])
        begin = time.monotonic()
        slow.settimeout(0.1)
        ended = False
        for byte in hello:
            try:
                slow.send(bytes([byte]))
                ended = slow.recv(1) == b""
            except socket.timeout:
                continue
            except OSError:
                ended = True
            if ended:
                break
        self.assertTrue(ended, "a hello of one byte in 100 ms was waited for")
        self.assertLess(time.monotonic() - begin, HELLO_TIMEOUT)
        for raw in (silent, half):
            try:
                self.assertEqual(raw.recv(1), b"")
            except ConnectionResetError:
                pass
        self.assertEqual(self.ask(service).status, 200)
        service.csrd.wait_log("TLS handshake with '127.*' failed: it took too long")
        service.stop()

    def test_plain_http(self):
        """F317: plain HTTP at a door with TLS gets a 400 that says so; garbage an alert; the log is not flooded."""
        service = self.tls_service()
        for _ in range(50):
            answer = harness.http_request(self.door, "GET", "/healthz")
            self.assertEqual(answer.status, 400)
            self.assertIn("https://", answer.json["errors"][0]["message"])
        answer = harness.http_request(self.door, "POST", "/client/v4" + service.scope_path(), b"x" * 60000)
        self.assertEqual(answer.status, 400)
        service.csrd.wait_log("refused a request from '127.*': 400 plain HTTP was sent to a port that speaks TLS")
        self.assertLess(service.csrd.log().count("plain HTTP was sent"), 10)
        with socket.create_connection(self.door, timeout=harness.PATIENCE) as raw:
            raw.sendall(b"\x00garbage that is no hello")
            try:
                raw.recv(100)
            except ConnectionResetError:
                pass
        service.csrd.wait_log("TLS handshake with '127.*' failed: ")
        self.assertEqual(self.ask(service).status, 200)
        service.stop()

    def test_connection_cap(self):
        """F318: connections without a handshake do not keep others out at max_connections; draining ends them."""
        service = self.tls_service({"http": {"max_connections": 8}})
        silent = [socket.create_connection(self.door, timeout=harness.PATIENCE) for _ in range(20)]
        for _ in range(10):
            self.assertEqual(self.ask(service).status, 200)
        silent += [socket.create_connection(self.door, timeout=harness.PATIENCE) for _ in range(3)]
        begin = time.monotonic()
        service.stop()
        self.assertLess(time.monotonic() - begin, 10)
        for raw in silent:
            raw.close()


class FloodTest(TlsCase):
    def test_key_updates(self):
        """F324: a client that sends KeyUpdate after KeyUpdate gets its turns, and so do others."""
        service = self.tls_service()
        raw = socket.socket()
        raw.settimeout(harness.PATIENCE)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # sent is as good as taken
        raw.connect(self.door)
        flood = key_updates(raw, 100000)
        sent = threading.Event()

        def send():
            try:
                raw.sendall(flood)
            except OSError:  # idle_timeout, on a slow machine
                pass
            sent.set()
        sender = threading.Thread(target=send)
        answered = 0
        with self.connect() as tls:
            stream = tls.makefile("rb")
            sender.start()
            while not sent.is_set():
                tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertEqual(read_answer(stream)[0], 200)
                answered += 1
        sender.join()
        raw.close()
        self.assertGreater(answered, 100, "answers while %d bytes of KeyUpdate were taken" % len(flood))
        service.stop()


class FilesTest(TlsCase):
    def refused(self, service, pattern):
        csrd = service.start_csrd(wait=False)
        self.assertEqual(csrd.wait(), 78, csrd.tail())
        self.assertRegex(csrd.log(), pattern)

    def test_refused_at_start(self):
        """F26, F319: files that are missing, damaged, open to others, encrypted or no pair are named, with a remedy."""
        service = self.tls_service(start=False)
        other_certificate, other_key = harness.make_certificate(self.folder, "other")
        encrypted = self.folder / "encrypted.key"
        harness.run(["openssl", "pkey", "-in", self.key, "-aes256", "-passout", "pass:x", "-out", encrypted])
        encrypted.chmod(0o600)
        damaged = self.folder / "damaged.crt"
        damaged.write_text(self.certificate.read_text().replace("\nM", "\nX", 1))
        open_key = self.folder / "open.key"
        open_key.write_bytes(self.key.read_bytes())
        open_key.chmod(0o644)
        for certificate, key, pattern in (
                (self.folder / "none.crt", self.key, r"tls_certificate '.*none\.crt': cannot open: No such file"),
                (damaged, self.key, r"tls_certificate '.*damaged\.crt': holds no certificate; PEM is accepted"),
                (self.key, self.key, r"tls_certificate '.*': holds no certificate"),
                (self.certificate, self.folder / "none.key", r"tls_key '.*none\.key': there is no such file"),
                (self.certificate, other_key, r"tls_key '.*other\.key': is not the key of the first certificate"),
                (self.certificate, encrypted, r"tls_key '.*': is encrypted"),
                (self.certificate, open_key, r"tls_key '.*open\.key': is not readable, or is open to others.*0600"),
                (self.certificate, "credential:tls_key", r"'credential:tls_key': systemd handed no credentials over; add LoadCredential"),
        ):
            service.settings["http"].update(tls_certificate=certificate, tls_key=key)
            service.write_config()
            with self.subTest(pattern):
                self.refused(service, "cannot serve TLS: .*" + pattern)

    def test_config_check(self):
        """F320: listen_tls without its files, at an address of listen, or with what is no address."""
        service = self.tls_service(start=False)
        self.check_refuses(service, "http", (
                ({"tls_key": None}, r"\[http\] tls_key: missing, listen_tls needs it: the PEM file of its private key"),
                ({"tls_certificate": None}, r"\[http\] tls_certificate: missing, listen_tls needs it"),
                ({"tls_key": "server.key"}, r"tls_key: 'server.key' is not accepted, it must be the absolute path of a file, or credential:NAME"),
                ({"listen_tls": "localhost:1"}, r"listen_tls: 'localhost:1' is not accepted, it must be ADDRESS:PORT"),
                ({"listen_tls": "unix:/x/y"}, r"listen_tls: 'unix:/x/y' is not accepted, .* a unix socket needs no TLS"),
                ({"listen": "127.0.0.1:81", "listen_tls": "127.0.0.1:81"}, r"listen_tls: '127.0.0.1:81' is in listen too"),
        ))

    def test_reload(self):
        """F26: new files are taken by SIGHUP and by themselves; a pair that does not fit leaves the old one in use."""
        service = self.tls_service()
        harness.make_certificate(self.folder, "fresh")
        harness.make_certificate(self.folder, "third")
        self.assertIn("server", self.shown())
        self.replace(self.folder / "fresh.crt", self.certificate)
        service.csrd.signal(signal.SIGHUP)
        service.csrd.wait_log(r"the TLS certificate was not reloaded, the one before stays in use: .*tls_key '.*' is not|"
                              r"the TLS certificate was not reloaded, the one before stays in use: .*is not the key of")
        self.assertIn("server", self.shown())
        self.replace(self.folder / "fresh.key", self.key)
        service.csrd.signal(signal.SIGHUP)
        harness.wait_for("the new certificate", lambda: "fresh" in self.shown(), every=0.1)
        self.replace(self.folder / "third.crt", self.certificate)
        self.replace(self.folder / "third.key", self.key)
        harness.wait_for("the third certificate", lambda: "third" in self.shown(), every=0.2)
        service.stop()

    def test_a_key_that_is_given_its_mode_later(self):
        """F325: a renewal leaves a key that others can read; once it has its mode it is taken, without a signal."""
        service = self.tls_service()
        _, fresh_key = harness.make_certificate(self.folder, "fresh")
        fresh_key.chmod(0o644)
        self.replace(self.folder / "fresh.crt", self.certificate)
        self.replace(fresh_key, self.key)
        service.csrd.wait_log(r"the TLS certificate was not reloaded, .*tls_key '.*': is not readable, or is open to others")
        self.assertIn("server", self.shown())
        self.key.chmod(0o600)
        harness.wait_for("the new certificate", lambda: "fresh" in self.shown(), every=0.2)
        service.stop()

    def test_reload_under_load(self):
        """F321: no request fails while the certificate is replaced again and again."""
        service = self.tls_service()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        harness.make_certificate(self.folder, "fresh")
        pairs = [(self.folder / (name + ".crt"), self.folder / (name + ".key")) for name in ("first", "fresh")]
        pairs[0][0].write_bytes(self.certificate.read_bytes())
        pairs[0][1].write_bytes(self.key.read_bytes())
        pairs[0][1].chmod(0o600)
        stop = threading.Event()
        done, failed = [], []

        def caller(keeps):
            tls = None
            while not stop.is_set():
                try:
                    tls = tls or self.connect(context)
                    tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                    with tls.makefile("rb") as stream:
                        done.append(read_answer(stream)[0])
                    if not keeps:
                        tls.close()
                        tls = None
                except Exception as error:  # pylint: disable=broad-except
                    failed.append(repr(error))
                    return
        threads = [threading.Thread(target=caller, args=(keeps,)) for keeps in (True, True, False, False)]
        for thread in threads:
            thread.start()
        for round_ in range(20):
            for source, target in zip(pairs[round_ % 2], (self.certificate, self.key)):
                self.replace(source, target)
            seen = len(done)
            before = service.csrd.log().count("reloaded")
            service.csrd.signal(signal.SIGHUP)
            harness.wait_for("a reload", lambda: service.csrd.log().count("reloaded") > before)
            harness.wait_for("requests", lambda: len(done) > seen + 10 or failed)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(set(done), {200})
        service.stop()

    def test_expiry(self):
        """F322: a certificate that ends within 30 days is warned of in the log and by doctor; one that is fine is not."""
        service = self.tls_service(days=20)
        service.csrd.wait_log(r"warning.*TLS certificate '.*server\.crt' expires in (19|20) days|TLS certificate '.*' expires in (19|20) days")

        def finding():
            report = json.loads(service.csrctl("doctor", check=False).stdout)
            return [check for check in report["checks"] if check["name"] == "tls"][0]
        self.assertEqual(finding()["status"], "warn")
        self.assertRegex(str(finding()), "expires in (19|20) days")
        harness.make_certificate(self.folder, days=90)
        self.assertEqual(finding()["status"], "ok")
        self.key.chmod(0o644)
        self.assertEqual(finding()["status"], "fail")
        self.key.chmod(0o600)
        service.stop()


if __name__ == "__main__":
    unittest.main()
