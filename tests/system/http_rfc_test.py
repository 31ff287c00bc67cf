"""What RFC 9110, 9112, 6750 and 3986 oblige an origin server to, on the wire.  Each name has the number of the RFC and of
the section; doc/http.md is the table that names these tests.  F151 to F156."""
# run: seconds=15
import calendar
import re
import socket
import time
import unittest

import harness
from raw_http import CLOSE, HOST, JSON, SMUGGLED, Case, Client

PROBE = b'{"probe": 1}'  # is answered with an error that names the field: the whole body came through
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CONTINUE = b"Expect: 100-continue\r\n"
NOBODY = "7b163417-1d2b-4c84-a38a-2fb7a0cd7752"
IMF_FIXDATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] "
                         r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT")


def field(name, value):
    return b"%s: %s\r\n" % (name, value)


def length(number):
    return field(b"Content-Length", b"%d" % number)


def chunk(data, extension=b""):
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def chunked(*pieces, trailer=b""):
    return b"".join(map(chunk, pieces)) + b"0\r\n" + trailer + b"\r\n"


class RfcCase(Case):
    http = {}

    def setUp(self):
        super().setUp()
        self.service_ = self.service(settings={"http": self.http})
        self.start()
        self.collection = ("/client/v4" + self.service_.scope_path()).encode()
        self.bearer = field(b"Authorization", b"Bearer " + self.service_.token.encode())
        # every GET route, and what it is answered here
        self.get_routes = {b"/healthz": 200, b"/openapi.json": 200, b"/client/v4/user/tokens/verify": 200,
                           self.collection: 200, self.collection + b"/" + NOBODY.encode(): 404, self.collection + b"/x": 400}

    def start(self):
        """Needs no signer, unless a class says so."""
        self.service_.start_csrd()

    def tearDown(self):
        self.assert_alive()
        self.assertNotIn("/smuggled", self.service_.csrd.log())

    def ask(self, data, head=False):
        """The first answer on a fresh connection."""
        with Client(self.service_.address) as client:
            answer = client.send(data).answer(head)
        self.assertIsNotNone(answer, "no answer to %r" % data[:200])
        return answer

    def get(self, path, *fields, method=b"GET"):
        return self.ask(self.head(method, path, self.bearer, *fields), method == b"HEAD")

    def post(self, body, *fields):
        """A whole POST to the collection; fields say how long its body is."""
        return self.head(b"POST", self.collection, self.bearer, JSON, *fields) + body

    def assert_probed(self, answer, context=None):
        """The body of PROBE was read, by a handler, as it was sent."""
        self.assertEqual(answer.status, 400, context)
        self.assertIn("probe", answer.body.decode(), context)

    def assert_goes_on(self, client, context=None):
        """The connection is where the next request begins."""
        self.assertEqual(client.send(self.head(b"GET", b"/healthz")).answer().status, 200, context)


class Rfc9110Test(RfcCase):
    def test_9110_3_3_credentials_are_those_of_one_request(self):
        with Client(self.service_.address) as client:
            self.assertEqual(client.send(self.head(b"GET", self.collection, self.bearer)).answer().status, 200)
            self.assertEqual(client.send(self.head(b"GET", self.collection)).answer().codes, [1402])

    def test_9110_4_1_targets_of_8000_octets(self):
        path = b"/client/v4/user/tokens/verify?x="
        self.assertEqual(self.get(path + b"y" * (8000 - len(path))).status, 200)

    def test_9110_4_2_absolute_targets_that_are_none(self):
        """No host (§4.2.1, §4.2.2), user information (§4.2.4), a fragment (§7.1), another scheme (§7.4)."""
        for target in (b"http:///healthz", b"http://:80/healthz", b"https:///healthz", b"http://user@localhost/healthz",
                       b"http://user:secret@localhost/healthz", b"http://@localhost/healthz", b"http:/healthz",
                       b"http:healthz", b"http://localhost/healthz#top", b"http://localhost:x/healthz",
                       b"http://localhost:80:80/healthz", b"http://[::1/healthz", b"http://a%zz/healthz", b"http://a b/",
                       b"ftp://localhost/healthz", b"file:///healthz", b"urn:healthz"):
            with self.subTest(target=target):
                self.assert_refused(self.head(b"GET", target), 400, 421)

    def test_9110_5_1_unknown_fields_are_ignored(self):
        fields = (b"X-Nonsense: 1\r\n", b"!#$%&'*+-.^_`|~0aZ: odd but a token\r\n", b"Empty:\r\n",
                  b"From: \xc3\xa9\xff\x80 \"<>\r\n")  # other octets are opaque: §5.5
        self.assertEqual(self.get(self.collection, *fields).status, 200)

    def test_9110_5_3_nothing_is_done_before_the_head_is_whole(self):
        whole = self.post(PROBE, length(len(PROBE)))
        cut = whole.index(b"\r\n\r\n") + 2
        with Client(self.service_.address) as client:
            client.send(whole[:cut])
            self.assert_alive()
            client.send(self.bearer + whole[cut:])
            answer = client.answer()
            self.assertEqual((answer.status, answer.codes), (400, [10400]), "two credentials, one of them late")
            self.assertTrue(client.is_closed())

    def test_9110_5_5_blanks_around_values_do_not_count(self):
        token = self.service_.token.encode()
        for before, after in ((b"", b""), (b" ", b" "), (b"\t", b"\t"), (b" \t\t ", b"\t  ")):
            with self.subTest(before=before, after=after):
                fields = [name + b":" + before + value + after + b"\r\n" for name, value in (
                    (b"Host", b"localhost"), (b"Authorization", b"Bearer " + token), (b"Content-Type", b"application/json"),
                    (b"Content-Length", b"%d" % len(PROBE)), (b"Idempotency-Key", b"k"), (b"Connection", b"close"))]
                answer, closed = self.exchange(b"POST %s HTTP/1.1\r\n%s\r\n" % (self.collection, b"".join(fields)) + PROBE)
                self.assert_probed(answer)
                self.assertTrue(closed)

    def test_9110_5_6_1_2_empty_list_elements(self):
        for value in (b",close", b"close,", b", ,\t, close ,,", b"keep-alive,,close"):
            with self.subTest(connection=value):
                _, closed = self.exchange(self.head(b"GET", b"/healthz", field(b"Connection", value)))
                self.assertTrue(closed)
        with Client(self.service_.address) as client:
            client.send(self.head(b"GET", b"/healthz", b"Connection: , ,\r\n"))
            self.assertEqual(client.answer().status, 200)
            self.assert_goes_on(client)
        for value in (b",chunked", b"chunked,", b", chunked ,\t,", b"chunked\r\nTransfer-Encoding:"):
            with self.subTest(transfer_encoding=value):
                self.assert_probed(self.ask(self.post(chunked(PROBE), field(b"Transfer-Encoding", value))))
        with Client(self.service_.address) as client:
            client.send(self.post(b"", length(len(PROBE)), b"Expect: ,100-continue,\r\n"))
            self.assertEqual(client.answer().status, 100)
            self.assert_probed(client.send(PROBE).answer())

    def test_9110_5_6_4_quoted_parameters(self):
        for value in (b"application/json", b"Application/JSON", b"application/json;charset=utf-8",
                      b"application/json ; charset=\"utf-8\"", b"application/json; charset=\"u\\tf-8\"",
                      b"application/json; x=\";, \\\" =\""):
            head = self.head(b"POST", self.collection, self.bearer, field(b"Content-Type", value), length(len(PROBE)))
            with self.subTest(value=value):
                self.assert_probed(self.ask(head + PROBE))

    def test_9110_6_2_versions(self):
        """Answers are HTTP/1.1 whatever minor version is asked, and other major versions are told so."""
        for version in (b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2", b"HTTP/1.9"):
            with self.subTest(version=version), Client(self.service_.address) as client:
                client.send(b"GET /healthz %s\r\n%s\r\n" % (version, HOST))
                self.assertTrue(client.fill())
                self.assertTrue(client.data.startswith(b"HTTP/1.1 200 "), client.data)
        for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9"):
            with self.subTest(version=version):
                answer = self.assert_refused(b"GET /healthz %s\r\n%s\r\n" % (version, HOST), 505)
                self.assertIn("HTTP/1.1", answer.body.decode(), "it says what is spoken here (§15.6.6)")

    def test_9110_6_5_1_trailers_are_not_header_fields(self):
        no_credential = self.head(b"POST", self.collection, JSON, CHUNKED)
        self.assertEqual(self.ask(no_credential + chunked(PROBE, trailer=self.bearer)).codes, [1402])
        no_type = self.head(b"POST", self.collection, self.bearer, CHUNKED)
        self.assertEqual(self.ask(no_type + chunked(PROBE, trailer=JSON)).status, 415)
        with Client(self.service_.address) as client:
            client.send(self.post(chunked(PROBE, trailer=CLOSE + HOST + length(5) + CHUNKED), CHUNKED))
            self.assert_probed(client.answer())
            self.assert_goes_on(client)

    def test_9110_6_6_1_every_answer_is_dated(self):
        requests = {
            200: self.head(b"GET", b"/healthz"),
            204: self.head(b"OPTIONS", b"/healthz"),
            304: self.head(b"GET", self.collection, self.bearer, b"If-None-Match: *\r\n"),
            400: b"?\r\n\r\n",
            401: self.head(b"GET", self.collection, b"Authorization: Bearer none\r\n"),
            403: self.head(b"GET", b"/accounts/other/custom_csrs", self.bearer),
            404: self.head(b"GET", b"/nothing"),
            405: self.head(b"DELETE", b"/healthz"),
            412: self.head(b"GET", self.collection, self.bearer, b"If-Match: \"x\"\r\n"),
            413: self.post(b"", length(10_000_000)),
            414: b"GET /" + b"a" * 70_000,
            415: self.head(b"POST", self.collection, self.bearer, length(2)) + b"{}",
            417: self.head(b"GET", b"/", b"Expect: tea\r\n"),
            431: self.head(b"GET", b"/", b"a: b\r\n" * 65),
            501: self.head(b"TRACE", b"/"),
            503: self.head(b"GET", b"/readyz"),
            505: b"GET / HTTP/2.0\r\n\r\n",
        }
        for status, data in requests.items():
            with self.subTest(status=status):
                answer = self.ask(data)
                self.assertEqual(answer.status, status)
                self.assertRegex(answer.headers["date"], IMF_FIXDATE)
                then = calendar.timegm(time.strptime(answer.headers["date"], "%a, %d %b %Y %H:%M:%S GMT"))
                self.assertLess(abs(time.time() - then), harness.PATIENCE)

    def test_9110_7_1_forms_of_one_method_are_not_for_others(self):
        for method in (b"GET", b"HEAD", b"POST", b"DELETE", b"PUT", b"PATCH"):
            for target in (b"*", b"localhost:80"):
                with self.subTest(method=method, target=target), Client(self.service_.address) as client:
                    self.assertEqual(client.send(self.head(method, target)).answer(method == b"HEAD").status, 400)
                    self.assertTrue(client.is_closed())
        self.assert_refused(self.head(b"OPTIONS", b"localhost:80"), 400)

    def test_9110_7_4_https_without_tls(self):
        """A resource of https is not served over a connection that nothing secures."""
        answer = self.assert_refused(self.head(b"GET", b"https://localhost/healthz"), 421)
        self.assertIn("https", answer.body.decode())

    def test_9110_7_6_2_max_forwards_is_no_matter_here(self):
        self.assertEqual(self.ask(self.head(b"OPTIONS", b"*", b"Max-Forwards: 0\r\n")).status, 204)

    def test_9110_7_8_upgrade_is_never_taken_up(self):
        fields = (b"Connection: Upgrade, HTTP2-Settings\r\n", b"Upgrade: h2c, websocket\r\n", b"HTTP2-Settings: AAAA\r\n")
        for version in (b"HTTP/1.0", b"HTTP/1.1"):
            with self.subTest(version=version):
                answer = self.ask(b"GET /healthz %s\r\n%s%s\r\n" % (version, HOST, b"".join(fields)))
                self.assertEqual(answer.status, 200)
                self.assertNotIn("upgrade", answer.headers)
        with Client(self.service_.address) as client:
            client.send(self.post(b"", length(len(PROBE)), CONTINUE, *fields))
            self.assertEqual(client.answer().status, 100)
            self.assert_probed(client.send(PROBE).answer())
            self.assert_goes_on(client)

    def test_9110_8_4_content_codings(self):
        for coding in (b"gzip", b"x-gzip", b"deflate", b"br", b"identity, gzip", b"identity gzip", b"none"):
            with self.subTest(coding=coding):
                answer = self.ask(self.post(PROBE, field(b"Content-Encoding", coding), length(len(PROBE))))
                self.assertEqual((answer.status, answer.codes), (415, [10415]))
                self.assertEqual(answer.headers["accept-encoding"], "identity")
                self.assertNotIn("accept", answer.headers)
        for coding in (b"identity", b"Identity", b"", b",", b"identity,", b", identity ,, identity"):
            with self.subTest(coding=coding):
                self.assert_probed(self.ask(self.post(PROBE, field(b"Content-Encoding", coding), length(len(PROBE)))))

    def test_9110_8_6_no_length_where_there_is_no_content(self):
        with Client(self.service_.address) as client:
            client.send(self.post(b"", length(2), CONTINUE))
            self.assertNotIn("content-length", client.answer().headers)  # 100
            client.send(b"{}")
            self.assertIn("content-length", client.answer().headers)
        self.assertNotIn("content-length", self.ask(self.head(b"OPTIONS", b"*")).headers)  # 204
        answer = self.get(self.collection, b"If-None-Match: *\r\n")
        self.assertEqual(answer.status, 304)
        self.assertNotEqual(answer.headers.get("content-length"), "0")

    def test_9110_8_7_content_location_changes_nothing(self):
        answer = self.ask(self.post(PROBE, length(len(PROBE)), b"Content-Location: /healthz\r\n"))
        self.assert_probed(answer)

    def test_9110_9_1_methods(self):
        for path in self.get_routes:
            for method in (b"GET", b"HEAD"):
                with self.subTest(path=path, method=method):
                    self.assertNotIn(self.get(path, method=method).status, (405, 501))
        for method in (b"PROPFIND", b"get", b"Get", b"GETT", b"G", b"M-SEARCH"):
            with self.subTest(method=method):
                self.assert_refused(self.head(method, b"/healthz"), 501)
        for method in (b"PUT", b"PATCH", b"POST", b"DELETE"):
            with self.subTest(method=method):
                self.assertEqual(self.get(b"/healthz", method=method).status, 405)

    def test_9110_9_3_1_content_of_get_is_read_and_has_no_meaning(self):
        for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE"):
            for fields, body in (((length(len(SMUGGLED)),), SMUGGLED), ((CHUNKED,), chunked(SMUGGLED))):
                with self.subTest(method=method, body=body), Client(self.service_.address) as client:
                    client.send(self.head(method, b"/nothing", *fields) + body)
                    self.assertEqual(client.answer(method == b"HEAD").status, 404)
                    self.assert_goes_on(client)

    def test_9110_9_3_2_head(self):
        """The fields of GET, and not an octet of content; nor for errors."""
        for path, status in {**self.get_routes, b"/nothing": 404, b"/readyz": 503}.items():
            with self.subTest(path=path), Client(self.service_.address) as client:
                got = client.send(self.head(b"GET", path, self.bearer)).answer()
                self.assertEqual(got.status, status)
                headed = client.send(self.head(b"HEAD", path, self.bearer)).answer(head=True)
                self.assertEqual(headed.status, status)
                self.assert_goes_on(client)
                for own in ("date", "x-request-id"):
                    self.assertTrue(got.headers.pop(own) and headed.headers.pop(own))
                self.assertEqual(headed.headers, got.headers)
                self.assertEqual(headed.headers["content-length"], str(len(got.body)))
        for fields, status in (((), 400), ((b"Authorization: Bearer none\r\n",), 401)):
            with self.subTest(fields=fields), Client(self.service_.address) as client:
                client.send(self.head(b"HEAD", self.collection, *fields))
                self.assertEqual(client.answer(head=True).status, status)
                self.assert_goes_on(client)

    def test_9110_9_3_2_head_that_is_refused(self):
        """Also where the parser says no: what follows the head of the answer is the end of the connection."""
        for fields in ((HOST,), (b"a: b\r\n" * 65,), (b"Expect: tea\r\n",), (length(10_000_000),), (b"X: a\n",),
                       (b"X: \0\r\n",), (b"X: " + b"a" * 70_000 + b"\r\n",)):
            with self.subTest(fields=fields), Client(self.service_.address) as client:
                answer = client.send(self.head(b"HEAD", b"/healthz", *fields)).answer(head=True)
                self.assertGreaterEqual(answer.status, 400)
                self.assertTrue(client.is_closed())
                self.assertEqual(client.data, b"")

    def test_9110_9_3_6_connect(self):
        for target in (b"localhost:80", b"localhost:", b"localhost", b":80", b"localhost:99999", b"localhost:x", b"/", b"*"):
            with self.subTest(target=target):
                answer = self.assert_refused(self.head(b"CONNECT", target) + SMUGGLED, 400, 501)
                self.assertNotIn("transfer-encoding", answer.headers)

    def test_9110_9_3_7_options(self):
        item = self.collection + b"/" + NOBODY.encode()
        read, all_of_them = "GET, HEAD, OPTIONS", "DELETE, GET, HEAD, OPTIONS, POST"
        for path, allow in ((b"/healthz", read), (self.collection, read + ", POST"), (item, "DELETE, " + read),
                            (b"/user/tokens/verify", read), (b"*", all_of_them), (b"http://localhost", all_of_them)):
            with self.subTest(path=path), Client(self.service_.address) as client:
                answer = client.send(self.head(b"OPTIONS", path)).answer()
                self.assertEqual(answer.status, 204)
                self.assertEqual(", ".join(sorted(answer.headers["allow"].split(", "))), allow)
                self.assert_goes_on(client)
        self.assertEqual(self.ask(self.head(b"OPTIONS", b"/nothing")).status, 404)

    def test_9110_9_3_8_trace_gives_nothing_back(self):
        answer = self.assert_refused(self.head(b"TRACE", b"/healthz", self.bearer), 501)
        self.assertNotIn(self.service_.token, answer.body.decode())

    def test_9110_10_1_1_continue_comes_before_the_content(self):
        for framing, body in ((length(len(PROBE)), PROBE), (CHUNKED, chunked(PROBE))):
            for value in (b"100-continue", b"100-Continue", b"\t100-CONTINUE "):
                with self.subTest(framing=framing, value=value), Client(self.service_.address) as client:
                    client.send(self.post(b"", framing, b"Expect:" + value + b"\r\n"))
                    self.assertEqual(client.answer().status, 100)
                    self.assert_probed(client.send(body).answer())
                    self.assert_goes_on(client)

    def test_9110_10_1_1_no_continue_for_http_1_0(self):
        """Nor any other 1xx (§15.2)."""
        for value in (b"100-continue", b"tea"):
            data = self.post(PROBE, length(len(PROBE)), field(b"Expect", value)).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
            with self.subTest(value=value):
                answer, closed = self.exchange(data)
                self.assertTrue(closed)
                self.assert_probed(answer)

    def test_9110_10_1_1_no_continue_where_no_content_comes(self):
        for fields in ((), (length(0),)):
            with self.subTest(fields=fields), Client(self.service_.address) as client:
                client.send(self.head(b"GET", b"/healthz", CONTINUE, *fields))
                self.assertEqual(client.answer().status, 200)
        with Client(self.service_.address) as client:
            client.send(self.post(PROBE, length(len(PROBE)), CONTINUE))
            self.assert_probed(client.answer(), "it was all here")

    def test_9110_10_1_1_what_the_head_decides_is_answered_at_once(self):
        """The final status, without a 100 before it; and since the content is not read, the end of the connection."""
        self.assert_refused(self.post(b"", length(10_000_000), CONTINUE), 413)
        self.assert_refused(self.post(b"", length(2), b"Expect: tea\r\n"), 417)
        self.assert_refused(self.post(b"", length(2), b"Expect: 100-continue, tea\r\n"), 417)
        self.assert_refused(self.post(b"", b"Transfer-Encoding: gzip, chunked\r\n", CONTINUE), 501)

    def test_9110_10_2_1_allow_is_true(self):
        """405 lists the methods of the resource: those that are listed are not 405, and the others are."""
        for path in (b"/healthz", b"/readyz", b"/user/tokens/verify", self.collection,
                     self.collection + b"/" + NOBODY.encode(), self.collection + b"/"):
            refused = self.get(path, method=b"PUT")
            self.assertEqual(refused.status, 405)
            allowed = refused.headers["allow"].encode().split(b", ")
            self.assertEqual(len(set(allowed)), len(allowed))
            for method in (b"GET", b"HEAD", b"OPTIONS", b"POST", b"DELETE", b"PATCH", b"PUT"):
                with self.subTest(path=path, method=method):
                    status = self.get(path, method=method).status
                    self.assertEqual(status == 405, method not in allowed, "%d, allowed: %s" % (status, allowed))

    def test_9110_11_4_credentials(self):
        token = self.service_.token.encode()
        for value in (b"Bearer " + token, b"bearer " + token, b"BEARER    " + token):
            with self.subTest(value=value):
                answer = self.ask(self.head(b"GET", self.collection, field(b"Authorization", value)))
                self.assertEqual(answer.status, 200)

    def test_9110_11_6_1_every_401_has_a_challenge(self):
        for value in (b"Bearer none", b"Bearer", b"Basic dTpw", b"", b"Bearer a b", b"Digest x=y"):
            with self.subTest(value=value):
                answer = self.ask(self.head(b"GET", self.collection, field(b"Authorization", value)))
                self.assertEqual(answer.status, 401)
                self.assertRegex(answer.headers["www-authenticate"], r'^Bearer realm="[a-z]+"(, |$)')  # §11.5: quoted
        answer = self.ask(self.head(b"GET", self.collection, b"X-Auth-Email: a@b\r\nX-Auth-Key: c\r\n"))
        self.assertEqual(answer.status, 401)
        self.assertIn("www-authenticate", answer.headers)

    def test_9110_12_5_what_a_client_would_rather_have_changes_nothing(self):
        plain = self.get(b"/healthz")
        for line in (b"Accept: text/html\r\n", b"Accept: application/json;q=0\r\n", b"Accept-Charset: latin1\r\n",
                     b"Accept-Language: sv\r\n", b"Accept-Encoding: gzip\r\n", b"Accept-Encoding:\r\n", b"TE: trailers\r\n"):
            with self.subTest(line=line):
                answer = self.get(b"/healthz", line)
                self.assertEqual((answer.status, answer.body), (200, plain.body))
                self.assertEqual(set(answer.headers), set(plain.headers))

    def test_9110_12_5_3_accept_encoding_only_where_a_coding_was_the_fault(self):
        head = self.head(b"POST", self.collection, self.bearer, b"Content-Type: text/plain\r\n", length(2))
        answer = self.ask(head + b"{}")
        self.assertEqual(answer.status, 415)
        self.assertNotIn("accept-encoding", answer.headers)
        self.assertEqual(answer.headers["accept"], "application/json")

    def test_9110_13_preconditions_without_validators(self):
        """csrd gives no entity tags and no dates: "*" is there, no tag matches, and dates are ignored."""
        for path in (self.collection, b"/user/tokens/verify"):
            for line, status in ((b"If-Match: *\r\n", 200), (b"If-Match: \"x\"\r\n", 412),
                                 (b"If-Match: W/\"x\", \"y\"\r\n", 412), (b"If-None-Match: *\r\n", 304),
                                 (b"If-None-Match: \"x\"\r\n", 200),
                                 (b"If-None-Match: W/\"x\", \"y\"\r\n", 200),
                                 (b"If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT\r\n", 200),
                                 (b"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n", 200),
                                 (b"If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT\r\n", 200),
                                 (b"If-Match: \"x\"\r\nIf-None-Match: *\r\n", 412),  # the order of §13.2.2
                                 (b"If-Match: *\r\nIf-None-Match: *\r\n", 304)):
                for method in (b"GET", b"HEAD"):
                    with self.subTest(path=path, line=line, method=method), Client(self.service_.address) as client:
                        client.send(self.head(method, path, self.bearer, line))
                        answer = client.answer(head=method == b"HEAD")
                        self.assertEqual(answer.status, status)
                        self.assert_goes_on(client)
                        if status == 304:
                            self.assertEqual(answer.headers["cache-control"], "no-store")  # §15.4.5

    def test_9110_13_2_1_preconditions_do_not_hide_another_answer(self):
        item = self.collection + b"/" + NOBODY.encode()
        for line in (b"If-Match: \"x\"\r\n", b"If-None-Match: *\r\n"):
            for method, path, fields, status in (
                    (b"GET", item, self.bearer, 404), (b"GET", b"/nothing", self.bearer, 404), (b"GET", item, b"", 400),
                    (b"GET", self.collection, b"Authorization: Bearer none\r\n", 401), (b"OPTIONS", b"/healthz", b"", 204),
                    (b"GET", b"/accounts/other/custom_csrs", self.bearer, 403), (b"PUT", item, self.bearer, 405),
                    (b"GET", self.collection + b"?page=0", self.bearer, 400), (b"GET", b"/readyz", b"", 503)):
                with self.subTest(line=line, method=method, path=path):
                    self.assertEqual(self.ask(self.head(method, path, fields, line)).status, status)

    def test_9110_14_2_ranges_are_ignored(self):
        whole = self.get(b"/healthz")
        for line in (b"Range: bytes=0-0\r\n", b"Range: bytes=999999999999999999999-\r\n", b"Range: lines=1-2\r\n",
                     b"Range: bytes=0-0\r\nIf-Range: \"x\"\r\n", b"If-Range: \"x\"\r\n"):
            with self.subTest(line=line):
                answer = self.get(b"/healthz", line)
                self.assertEqual((answer.status, answer.body), (200, whole.body))
                self.assertNotIn("content-range", answer.headers)
        self.assert_probed(self.ask(self.post(PROBE, length(len(PROBE)), b"Content-Range: bytes 0-1/20\r\n")))  # §14.4

    def test_9110_15_5_errors_explain_themselves(self):
        """Each 4xx and 5xx has the envelope, so that a person can read what was wrong."""
        for data in (b"?\r\n\r\n", self.head(b"FOO", b"/"), b"GET / HTTP/2.0\r\n\r\n", self.head(b"GET", b"/nothing"),
                     self.head(b"GET", b"/", b"Expect: tea\r\n"), self.head(b"GET", b"/readyz"), b"GET /" + b"a" * 70_000,
                     self.head(b"GET", b"/", b"X: " + b"a" * 70_000), self.post(b"", length(10_000_000)),
                     self.head(b"GET", self.collection, self.bearer, b"If-Match: \"x\"\r\n")):
            with self.subTest(data=data[:60]):
                self.assert_envelope(self.ask(data))


class Rfc9112Test(RfcCase):
    def test_9112_2_2_bare_cr(self):
        for data in (b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n", b"GET / HTTP/1.1\r" + HOST + b"\r\n",
                     self.head(b"GET", b"/", b"X\ry: a\r\n"), self.head(b"GET", b"/", b"X: a\r\r\n"),
                     self.head(b"GET", b"/", b"X: \ra\r\n")):
            with self.subTest(data=data):
                self.assert_refused(data, 400)

    def test_9112_2_2_empty_line_before_a_request(self):
        with Client(self.service_.address) as client:
            client.send(b"\r\n" + self.post(PROBE, length(len(PROBE))) + b"\r\n" + self.head(b"GET", b"/healthz"))
            self.assert_probed(client.answer())
            self.assertEqual(client.answer().status, 200)

    def test_9112_2_2_blank_before_the_first_field(self):
        for blank in (b" ", b"\t", b"  \t"):
            for line in (blank + b"X: y\r\n", blank + b"\r\n"):
                with self.subTest(line=line):
                    self.assert_refused(b"GET /healthz HTTP/1.1\r\n" + line + HOST + b"\r\n", 400)

    def test_9112_2_2_what_is_no_http_gets_400(self):
        for data in (b"EHLO example.org\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
                     b"{}\r\n\r\n", b"GET\r\n\r\n", b" GET / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1 \r\n\r\n", b"GET\t/\tHTTP/1.1\r\n\r\n", b"G\xc3\x89T / HTTP/1.1\r\n\r\n"):
            with self.subTest(data=data):
                self.assert_refused(data, 400)

    def test_9112_2_3_the_version_is_case_sensitive(self):
        for version in (b"http/1.1", b"Http/1.1", b"HTTP/1", b"HTTP/1.10", b"HTTP/01.1", b"HTTPS/1.1",
                        b"HTTP/1.1.1", b"HTTP/ 1.1"):
            with self.subTest(version=version):
                self.assert_refused(b"GET /healthz %s\r\n%s\r\n" % (version, HOST), 400)

    def test_9112_3_method_or_target_too_long(self):
        self.assert_refused(self.head(b"M" * 300, b"/"), 501)
        for target in (b"/" + b"a" * 9000, b"/?" + b"a" * 70_000, b"http://localhost/" + b"a" * 9000):
            with self.subTest(target=target[:20], whole=True):
                self.assert_refused(self.head(b"GET", target), 414)
            with self.subTest(target=target[:20], whole=False):
                self.assert_refused(b"GET " + target, 414)

    def test_9112_3_2_host(self):
        for data in (b"GET /healthz HTTP/1.1\r\n\r\n", b"GET http://localhost/healthz HTTP/1.1\r\n\r\n",
                     b"OPTIONS * HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.0\r\n" + HOST + HOST + b"\r\n",
                     b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n"):
            with self.subTest(data=data):
                self.assert_refused(data, 400)
        for value in (b"a b", b"a/b", b"a@b", b"user:secret@a", b"a:b", b"a:80:80", b"a:-1", b"[::1", b"::1", b"[::1]80",
                      b"[]", b"[::g]", b"[1:2]", b"a%", b"a%zz", b"a\xc3\xa9", b"a\\b", b"a?b", b"a#b", b"a\"", b"<a>",
                      b"a\tb"):
            for version in (b"HTTP/1.1", b"HTTP/1.0"):
                with self.subTest(value=value, version=version):
                    self.assert_refused(b"GET /healthz %s\r\nHost: %s\r\n\r\n" % (version, value), 400)
        for value in (b"localhost", b"LOCALHOST:80", b"a:", b"127.0.0.1", b"[::1]", b"[::1]:8080", b"[fe80::1:2:3]",
                      b"[v1.a:b]", b"[::ffff:127.0.0.1]:1", b"_a-b.c~", b"a%20b", b"a!$&'()*+,;=", b"xn--abc.example.", b""):
            with self.subTest(value=value):
                self.assertEqual(self.ask(b"GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n" % value).status, 200)

    def test_9112_3_2_2_absolute_form(self):
        """Accepted, routed by its path and query; its host counts and not that of Host."""
        for prefix in (b"http://localhost", b"HTTP://LOCALHOST:80", b"http://[::1]:8080", b"http://other.example"):
            with self.subTest(prefix=prefix):
                self.assertEqual(self.get(prefix + b"/healthz").status, 200)
                self.assertEqual(self.get(prefix + b"/nothing").status, 404)
                self.assertEqual(self.get(prefix).status, 404)  # the path is "/"
                self.assertEqual(self.get(prefix + self.collection + b"?per_page=5").json["result_info"]["per_page"], 5)
                self.assertEqual(self.get(prefix + self.collection + b"?per_page=0").status, 400)
                self.assertEqual(self.get(prefix + b"?/healthz").status, 404)
        answer = self.ask(b"GET http://localhost/healthz HTTP/1.1\r\nHost:\r\n\r\n")
        self.assertEqual(answer.status, 200)

    def test_9112_3_2_4_asterisk_form(self):
        with Client(self.service_.address) as client:
            client.send(self.head(b"OPTIONS", b"*"))
            self.assertEqual(client.answer().status, 204)
            self.assert_goes_on(client)

    def test_9112_6_1_chunked(self):
        for pieces in ([PROBE], [PROBE[:1], PROBE[1:]], [PROBE[i:i + 1] for i in range(len(PROBE))]):
            for value in (b"chunked", b"Chunked", b"CHUNKED", b"\tchunked "):
                with self.subTest(pieces=len(pieces), value=value), Client(self.service_.address) as client:
                    data = self.post(chunked(*pieces), b"Transfer-Encoding:" + value + b"\r\n")
                    client.send(data + self.head(b"GET", b"/healthz"))
                    self.assert_probed(client.answer())
                    self.assertEqual(client.answer().status, 200)
        self.assertEqual(self.ask(self.post(chunked(), CHUNKED)).codes, self.ask(self.post(b"", length(0))).codes)

    def test_9112_6_1_chunked_however_it_is_cut(self):
        data = self.post(chunk(PROBE, b";a=\"b\"") + b"0\r\nX: y\r\n\r\n", CHUNKED) + self.head(b"GET", b"/healthz")
        for size in (1, 2, 3, 7):
            with self.subTest(size=size), Client(self.service_.address) as client:
                client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(0, len(data), size):
                    client.send(data[at:at + size])
                self.assert_probed(client.answer())
                self.assertEqual(client.answer().status, 200)

    def test_9112_6_1_codings_that_are_not_known(self):
        for value in (b"gzip, chunked", b"x, chunked", b"identity, chunked", b"gzip,chunked"):
            with self.subTest(value=value):
                self.assert_refused(self.post(chunked(SMUGGLED), field(b"Transfer-Encoding", value)) + SMUGGLED, 501)

    def test_9112_6_1_length_and_coding(self):
        for fields in ((length(5), CHUNKED), (CHUNKED, length(5)), (length(0), CHUNKED),
                       (CHUNKED, b"Content-Length: x\r\n")):
            with self.subTest(fields=fields):
                self.assert_refused(self.post(chunked(PROBE), *fields) + SMUGGLED, 400)

    def test_9112_6_1_coding_in_http_1_0(self):
        for fields in ((CHUNKED,), (CHUNKED, b"Connection: keep-alive\r\n"), (CHUNKED, length(5))):
            with self.subTest(fields=fields):
                data = self.post(chunked(PROBE), *fields).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
                self.assert_refused(data + SMUGGLED, 400)

    def test_9112_6_3_chunked_is_not_the_last_coding(self):
        for value in (b"gzip", b"identity", b"chunked, gzip", b"chunked, identity", b"xchunked", b"chunkedx", b"chunke d",
                      b"\x0bchunked", b"chunked, chunked", b"\"chunked\"", b"chunked;q=1", b"", b","):
            with self.subTest(value=value):
                self.assert_refused(self.post(chunked(PROBE), field(b"Transfer-Encoding", value)) + SMUGGLED, 400)
        for fields in ((CHUNKED, CHUNKED), (CHUNKED, b"Transfer-Encoding: gzip\r\n")):
            with self.subTest(fields=fields):
                self.assert_refused(self.post(chunked(PROBE), *fields) + SMUGGLED, 400)

    def test_9112_7_1_sizes(self):
        for size in (b"c", b"C", b"0c", b"0000000c"):
            with self.subTest(size=size):
                self.assert_probed(self.ask(self.post(size + b"\r\n" + PROBE + b"\r\n0\r\n\r\n", CHUNKED)))
        self.assert_probed(self.ask(self.post(chunk(PROBE) + b"0000\r\n\r\n", CHUNKED)))
        for size in (b"ffffffff", b"100000000", b"ffffffffffffffff", b"10000000000000000", b"1000000000000000c", b"f" * 40):
            with self.subTest(size=size):
                self.assert_refused(self.post(size + b"\r\n" + PROBE + b"\r\n0\r\n\r\n", CHUNKED) + SMUGGLED, 400, 413)
        for size in (b"", b" ", b"0x5", b"+5", b"-5", b"5h", b"g", b"5 ", b" 5", b"5\t", b"5.0", b"5,5", b"\x005"):
            with self.subTest(size=size):
                self.assert_refused(self.post(size + b"\r\nabcde\r\n0\r\n\r\n", CHUNKED) + SMUGGLED, 400)

    def test_9112_7_1_chunks_that_are_none(self):
        for body in (b"5\nabcde\r\n0\r\n\r\n", b"5\r\nabcde\n0\r\n\r\n", b"5\r\nabcdef\r\n0\r\n\r\n",
                     b"5\r\nabcd\r\n0\r\n\r\n", b"5\rabcde\r\n0\r\n\r\n", b"5\r\nabcde0\r\n\r\n",
                     b"5\r\nabcde\r\n\r\n0\r\n\r\n", b"5\r\nabcde\r\n0\n\n",
                     b"5\r\nabcde\r\n0\r\n\n", b"5\r\nabcde\r\n0\r\nX: y\n\r\n", b"5\r\nabcde\r\n0\r\nno colon\r\n\r\n",
                     b"5\r\nabcde\r\n0\r\nX : y\r\n\r\n", b"5\r\nabcde\r\n0\r\n X: y\r\n\r\n",
                     b"5\r\nabcde\r\n0\r\nX: a\0b\r\n\r\n"):
            with self.subTest(body=body):
                self.assert_refused(self.post(body, CHUNKED) + SMUGGLED, 400)

    def test_9112_7_1_content_has_the_same_limit_when_it_is_chunked(self):
        piece = b" " * 4096
        self.assert_refused(self.post(b"".join([chunk(piece)] * 17), CHUNKED), 413)
        self.assert_refused(self.post(b"10001\r\n", CHUNKED), 413)

    def test_9112_7_1_1_extensions_are_ignored(self):
        for extension in (b";a", b";a=b", b";a=\"b;c\"", b";a=\"\\\"\\\\ \"", b" ; a = b ; c", b"\t;\ta", b";a;b;c=d"):
            with self.subTest(extension=extension):
                self.assert_probed(self.ask(self.post(chunk(PROBE, extension) + b"0" + extension + b"\r\n\r\n", CHUNKED)))
        for extension in (b";a=\"b\nc\"", b";a=\"b\r\nc\"", b";\0", b";a\rb"):
            with self.subTest(extension=extension):
                self.assert_refused(self.post(chunk(PROBE, extension) + b"0\r\n\r\n", CHUNKED) + SMUGGLED, 400)
        endless = b"1;" + b"a" * 100_000
        answer = self.assert_refused(self.post(endless, CHUNKED), 400, 413, 431)
        self.assertLess(answer.status, 500)
        self.assert_refused(self.post((b"1;a=" + b"b" * 30 + b"\r\n{\r\n") * 5000, CHUNKED), 400, 413, 431)

    def test_9112_7_1_2_trailers_have_a_limit(self):
        self.assert_refused(self.post(chunk(PROBE) + b"0\r\nX: " + b"y" * 100_000, CHUNKED), 400, 413, 431)
        self.assert_refused(self.post(chunk(PROBE) + b"0\r\n" + b"X: y\r\n" * 20_000, CHUNKED), 400, 413, 431)

    def test_9112_8_requests_that_end_too_early_are_not_carried_out(self):
        for data in (self.create_bytes(name="short")[:-1], self.create_bytes(name="short")[:-40], self.create_bytes()[:60],
                     self.post(chunked(PROBE)[:-2], CHUNKED), self.post(chunk(PROBE), CHUNKED)):
            with self.subTest(data=data[-40:]), Client(self.service_.address) as client:
                client.send(data)
                client.socket.shutdown(socket.SHUT_WR)
                answer = client.answer()
                self.assertIn(answer and answer.status, (None, 400))
                self.assertTrue(client.is_closed())
        self.assertEqual(self.service_.rows(), {})

    def test_9112_9_3_persistence(self):
        for version, fields, persists in (
                (b"HTTP/1.1", b"", True), (b"HTTP/1.1", b"Connection: keep-alive\r\n", True),
                (b"HTTP/1.1", b"Connection: x\r\n", True), (b"HTTP/1.1", b"Connection: closed\r\n", True),
                (b"HTTP/1.1", b"Keep-Alive: timeout=5\r\n", True),
                (b"HTTP/1.2", b"", True), (b"HTTP/1.1", b"X: close\r\n", True), (b"HTTP/1.1", CLOSE, False),
                (b"HTTP/1.1", b"Connection: CLOSE\r\n", False), (b"HTTP/1.1", b"Connection: keep-alive, Close\r\n", False),
                (b"HTTP/1.1", b"Connection: keep-alive\r\nConnection: close\r\n", False), (b"HTTP/1.0", b"", False),
                (b"HTTP/1.0", b"Connection: keep-alive\r\n", False), (b"HTTP/1.0", CLOSE, False)):
            data = b"GET /healthz %s\r\n%s%s\r\n" % (version, HOST, fields)
            with self.subTest(data=data), Client(self.service_.address) as client:
                answer = client.send(data).answer()
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers.get("connection"), None if persists else "close")
                if persists:
                    self.assert_goes_on(client)
                else:
                    self.assertTrue(client.is_closed())

    def test_9112_9_3_content_of_a_refused_request_is_no_request(self):
        """It is read, or the connection ends."""
        for head in (self.head(b"POST", self.collection, self.bearer, length(len(SMUGGLED))),        # 415
                     self.head(b"POST", self.collection, JSON, length(len(SMUGGLED))),               # 1402
                     self.head(b"POST", b"/nothing", JSON, length(len(SMUGGLED))),                   # 404
                     self.head(b"PUT", self.collection, JSON, length(len(SMUGGLED))),                # 405
                     self.head(b"POST", self.collection, JSON, b"Expect: tea\r\n", length(len(SMUGGLED)))):
            with self.subTest(head=head), Client(self.service_.address) as client:
                answer = client.send(head + SMUGGLED).answer()
                self.assertGreaterEqual(answer.status, 400)
                if answer.headers.get("connection") == "close":
                    self.assertTrue(client.is_closed())
                    self.assertEqual(client.data, b"")
                else:
                    self.assert_goes_on(client)

    def test_9112_9_3_2_pipelined_answers_come_in_order(self):
        client_paths = [b"/nothing/%d" % i if i % 3 else self.collection + b"?page=%d" % (i + 1) for i in range(30)]
        with Client(self.service_.address) as client:
            client.send(b"".join(self.head(b"GET", path, self.bearer) for path in client_paths))
            for i, _ in enumerate(client_paths):
                answer = client.answer()
                self.assertEqual(answer.status, 404 if i % 3 else 200)
                if i % 3 == 0:
                    self.assertEqual(answer.json["result_info"]["page"], i + 1)

    def test_9112_9_6_nothing_is_done_after_close(self):
        for first in (self.head(b"GET", b"/healthz", CLOSE), self.head(b"GET", b"/nothing", b"Connection: x,  Close\r\n"),
                      b"GET /healthz HTTP/1.0\r\n\r\n", self.post(PROBE, length(len(PROBE)), CLOSE),
                      self.post(chunked(PROBE), CHUNKED, CLOSE), b"BAD\r\n\r\n", self.head(b"FOO", b"/"),
                      self.post(b"", length(10_000_000))):
            with self.subTest(first=first):
                answer, closed = self.exchange(first + SMUGGLED)
                self.assertIsNotNone(answer)
                self.assertTrue(closed)

    def test_9112_11_1_answers_cannot_be_split(self):
        """What a peer writes never becomes a line of an answer's head: Client would see it."""
        for target in (b"/%0d%0aX:%20y", b"/accounts/%0d%0aSet-Cookie:x/custom_csrs",
                       b"/healthz?%0d%0a%0d%0aHTTP/1.1%20200%20OK", self.collection + b"?order=%0d%0aX:y"):
            with self.subTest(target=target), Client(self.service_.address) as client:
                answer = client.send(self.head(b"GET", target, self.bearer)).answer()
                self.assertFalse({"x", "set-cookie"} & set(answer.headers))
                self.assert_goes_on(client)


class Rfc9112IdleTest(RfcCase):
    http = {"idle_timeout": "1s"}

    def test_9112_9_5_time_out_is_a_graceful_close(self):
        with Client(self.service_.address) as client:
            self.assert_goes_on(client)
            self.assertEqual(client.socket.recv(1), b"", "FIN and not RST")


class Rfc6750Test(RfcCase):
    def challenge(self, path, *fields):
        answer = self.ask(self.head(b"GET", path, *fields))
        return answer.status, answer.headers.get("www-authenticate")

    def test_6750_3_challenge(self):
        """Bearer and at least one parameter, an error code where a token was at fault and none where there was none."""
        realm = 'Bearer realm="csrd"'
        self.assertEqual(self.challenge(self.collection), (400, realm))
        self.assertEqual(self.challenge(self.collection, b"Authorization: Bearer none\r\n"),
                         (401, realm + ', error="invalid_token"'))
        self.assertEqual(self.challenge(self.collection, b"Authorization: Basic dTpw\r\n"), (401, realm))
        self.assertEqual(self.challenge(self.collection, b"X-Auth-Email: a@b\r\nX-Auth-Key: c\r\n"), (401, realm))
        self.assertEqual(self.challenge(b"/accounts/other/custom_csrs", self.bearer),
                         (403, realm + ', error="insufficient_scope"'))
        self.assertEqual(self.challenge(self.collection, self.bearer), (200, None))
        self.assertEqual(self.challenge(b"/nothing"), (404, None))


class KeysTest(RfcCase):
    """What needs a CSR that is there."""

    def start(self):
        self.service_.start()

    def setUp(self):
        super().setUp()
        self.csr = self.service_.create(key_type="p256v1").result["id"]
        self.item = self.collection + b"/" + self.csr.encode()

    def test_9110_9_2_1_safe_methods_change_nothing(self):
        for method in (b"GET", b"HEAD", b"OPTIONS"):
            for query in (b"", b"?_method=DELETE", b"?method=DELETE&action=delete"):
                with self.subTest(method=method, query=query):
                    fields = [field(name, b"DELETE") for name in (b"X-HTTP-Method-Override", b"X-HTTP-Method",
                                                                  b"X-Method-Override")]
                    self.assertLess(self.get(self.item + query, *fields, method=method).status, 300)
        self.assertEqual(self.service_.rows(), {self.csr: "active"})

    def test_9110_9_3_2_head_of_a_csr(self):
        with Client(self.service_.address) as client:
            got = client.send(self.head(b"GET", self.item, self.bearer)).answer()
            headed = client.send(self.head(b"HEAD", self.item, self.bearer)).answer(head=True)
            self.assertEqual((headed.status, headed.headers["content-length"]), (200, str(len(got.body))))
            self.assert_goes_on(client)

    def test_9110_9_3_3_location_of_what_was_created(self):
        """Wherever the request was sent to, its relative form is what leads back to the CSR."""
        for path in (self.collection, self.collection.removeprefix(b"/client/v4")):
            with self.subTest(path=path):
                data = self.create_bytes(key_type="p256v1").replace(self.collection, path, 1)
                answer = self.ask(data)
                self.assertEqual(answer.status, 201)
                self.assertEqual(answer.headers["location"], path.decode() + "/" + answer.result["id"])
                self.assertEqual(self.get(answer.headers["location"].encode()).result["id"], answer.result["id"])

    def test_9110_9_3_5_delete(self):
        with Client(self.service_.address) as client:
            client.send(self.head(b"DELETE", self.item, self.bearer, length(len(SMUGGLED))) + SMUGGLED)
            answer = client.answer()
            self.assertEqual((answer.status, answer.result), (200, {"id": self.csr}))
            self.assert_goes_on(client)

    def test_9110_13_1_1_if_match_of_a_csr(self):
        """A delete that is made conditional on a tag destroys nothing: csrd gives no tags."""
        self.assertEqual(self.get(self.item, b"If-Match: \"x\"\r\n", method=b"DELETE").status, 412)
        self.assertEqual(self.get(self.item, b"If-None-Match: *\r\n", method=b"DELETE").status, 412)
        self.assertEqual(self.get(self.item, b"If-Match: \"x\"\r\n").status, 412)
        self.assertEqual(self.get(self.item, b"If-None-Match: *\r\n").status, 304)
        self.assertEqual(self.service_.rows(), {self.csr: "active"})
        self.assertEqual(self.get(self.item, b"If-Match: *\r\n").status, 200)
        self.assertEqual(self.get(self.item, b"If-Match: *\r\nIf-None-Match: \"x\"\r\n", method=b"DELETE").status, 200)
        self.assertEqual(self.get(self.item, b"If-Match: \"x\"\r\n", method=b"DELETE").status,
                         self.get(self.item, method=b"DELETE").status, "it is gone, whatever the condition")

    def test_9110_13_1_1_if_match_of_a_create(self):
        """The collection is there, and no tag is its."""
        for line in (b"If-Match: \"x\"\r\n", b"If-None-Match: *\r\n"):
            data = self.create_bytes(key_type="p256v1").replace(HOST, HOST + line, 1)
            with self.subTest(line=line):
                self.assertEqual(self.ask(data).status, 412)
        self.assertEqual(self.service_.rows(), {self.csr: "active"})
        data = self.create_bytes(key_type="p256v1").replace(HOST, HOST + b"If-Match: *\r\nIf-None-Match: \"x\"\r\n", 1)
        self.assertEqual(self.ask(data).status, 201)

    def test_9112_6_1_chunked_create(self):
        head, body = self.create_bytes(key_type="p256v1").split(b"\r\n\r\n", 1)
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length"))
        self.assertEqual(self.ask(head + b"\r\n" + CHUNKED + b"\r\n" + chunked(body[:10], body[10:])).status, 201)
        self.assertEqual(len(self.service_.rows()), 2)


if __name__ == "__main__":
    unittest.main()
