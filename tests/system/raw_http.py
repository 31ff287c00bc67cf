"""HTTP on a bare socket: a client that sends exactly the bytes it is told to, and
reads the answers one by one.  For tests that need what no HTTP library sends."""
import json
import os
import re
import socket
import struct
import time

import harness
import openapi

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"

# RFC 9112 §4 and §5, what csrd has no need of left out: obs-text, tabs, an empty value.
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [ !-~]*")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([!-~](?:[ -~]*[!-~])?)")


def read_head(data):
    """The head of an answer, without its empty line: (status, {name in lower case: value}).  AssertionError for
    what csrd must not send: what the grammar has no place for, a field twice, framing that it has no use for."""
    lines = data.split(b"\r\n")
    status = STATUS_LINE.fullmatch(lines[0])
    assert status, "no status line: %r" % data
    headers = {}
    for line in lines[1:]:
        field = FIELD_LINE.fullmatch(line)
        assert field, "no field line: %r in %r" % (line, data)
        name = field.group(1).decode("ascii").lower()
        assert name not in headers, "'%s' stands there twice in %r" % (name, data)
        headers[name] = field.group(2).decode("ascii")
    assert "transfer-encoding" not in headers and headers.get("connection", "close") == "close", headers
    assert ("content-length" in headers) != has_no_content(int(status.group(1))), headers  # RFC 9110 §8.6
    return int(status.group(1)), headers


def has_no_content(status):
    """Whatever its fields say (RFC 9110 §6.4.1)."""
    return status < 200 or status in (204, 304)


class Client:
    """A socket that sends what it is told and reads answers one by one."""

    def __init__(self, address, timeout=harness.PATIENCE):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may hang up on us in the middle: what it answered is looked at
        return self

    def fill(self):
        try:
            more = self.socket.recv(65536)
        except ConnectionResetError:
            more = b""
        self.data += more
        return bool(more)

    def answer(self, head=False):
        """The next one; None when the connection ends before it.  head: it answers a HEAD, so it has no content."""
        while b"\r\n\r\n" not in self.data:
            if not self.fill():
                return None
        head_bytes, self.data = self.data.split(b"\r\n\r\n", 1)
        status, headers = read_head(head_bytes)
        length = 0 if head or has_no_content(status) else int(headers.get("content-length", 0))
        while len(self.data) < length:
            if not self.fill():
                return None
        body, self.data = self.data[:length], self.data[length:]
        answer = harness.Answer(status, headers, body)
        if status >= 200 and "x-request-id" in headers:  # csrd's, and not of its door for figures
            openapi.must_fit_any(answer)
        return answer

    def is_closed(self):
        """Waits for the other side to hang up; anything it says first is kept in data."""
        while self.fill():
            pass
        return True

    def reset(self):
        """Leaves as a crashed client does: RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Case(harness.Case):
    def exchange(self, data):
        """Sends, takes one answer, and sees whether the connection ended with nothing more said: (answer, closed)."""
        with Client(self.service_.address) as client:
            answer = client.send(data).answer()
            if answer is None or answer.headers.get("connection") != "close":
                return answer, False
            client.is_closed()
            self.assertEqual(client.data, b"", "more than one answer to %r" % data[:200])
            return answer, True

    def assert_refused(self, data, *statuses):
        """One answer of that status in the envelope, then the end of the connection."""
        answer, closed = self.exchange(data)
        self.assertIsNotNone(answer, "no answer to %r" % data[:200])
        self.assertIn(answer.status, statuses, "%r → %r" % (data[:200], answer))
        self.assertTrue(closed, "not closed after %r" % data[:200])
        self.assert_envelope(answer)
        return answer

    def assert_envelope(self, answer):
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertRegex(answer.headers["x-request-id"], r"^[0-9a-f-]{36}$")
        body = answer.json
        self.assertIs(body["success"], False)
        self.assertIsNone(body["result"])
        self.assertTrue(body["errors"][0]["message"])

    def head(self, method, path, *fields):
        return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (method, path, HOST, b"".join(fields))

    def create_bytes(self, **fields):
        """A whole create as it goes over the wire."""
        body = json.dumps({**harness.SUBJECT, "key_type": "p256v1", **fields}).encode()
        service = self.service_
        head = self.head(b"POST", ("/client/v4" + service.scope_path()).encode(), JSON,
                         b"Authorization: Bearer %s\r\n" % service.token.encode(), b"Content-Length: %d\r\n" % len(body))
        return head + body

    def assert_alive(self):
        """An ordinary request works, and soon."""
        start = time.monotonic()
        answer = harness.http_request(self.service_.address, "GET", "/healthz")
        self.assertEqual(answer.status, 200)
        return time.monotonic() - start

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.service_.csrd.pid))
