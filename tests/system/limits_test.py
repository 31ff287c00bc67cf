"""How much a caller may ask (F365 to F371, F96, F99): requests by API token and by address, connections by address,
credentials that were refused.  Callers are told apart by the address that they bind to, 127.0.0.2 and on."""
import http.client
import json
import re
import signal
import socket
import unittest

import harness
from harness import PATIENCE

LIST = "/client/v4/accounts/%s/custom_csrs?per_page=5" % harness.ACCOUNT
HOST = b"Host: a\r\n\r\n"
ONE, TWO, THREE = "127.0.0.2", "127.0.0.3", "127.0.0.4"


class LimitsCase(harness.Case):
    def start(self, signer=False, http=None, **limits):
        limits.setdefault("exempt", "none")
        service = self.service(settings={"limits": limits, "http": http or {}})
        self.service_ = service
        if signer:
            service.start()
        else:
            service.start_csrd()
        return service

    def set(self, section="limits", **values):
        """Changes the configuration, and waits until it is in force."""
        self.service_.settings[section].update(values)
        self.service_.write_config()
        before = len(re.findall("configuration '.*' reloaded", self.service_.csrd.log()))
        self.service_.csrd.signal(signal.SIGHUP)
        harness.wait_for("the reload", lambda: len(
            re.findall("configuration '.*' reloaded", self.service_.csrd.log())) > before)

    def connect(self, source):
        s = socket.create_connection(self.service_.address, PATIENCE, source_address=(source, 0))
        self.addCleanup(s.close)
        return s

    def request(self, source, path=LIST, method="GET", headers=None, body=None):
        connection = http.client.HTTPConnection(*self.service_.address, timeout=PATIENCE, source_address=(source, 0))
        try:
            connection.request(method, path, body, headers if headers is not None else self.service_.bearer())
            response = connection.getresponse()
            return harness.Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def statuses(self, count, source, **request):
        return [self.request(source, **request).status for _ in range(count)]

    def assert_left(self, answer, name, left, seconds):
        """What is left, and the time until all is there again, of which some may have passed."""
        found = re.search('"%s";r=%d;t=([0-9]+)' % (name, left), answer.headers["Ratelimit"])
        self.assertTrue(found, answer.headers["Ratelimit"])
        self.assertTrue(seconds - PATIENCE <= int(found[1]) <= seconds, found[0])

    def assert_limited(self, answer, name):
        self.assertEqual((answer.status, answer.codes), (429, [971]))
        self.assertIn("[limits] " + name, answer.json["errors"][0]["message"])
        self.assertTrue(1 <= int(answer.headers["Retry-After"]) <= 30, answer.headers["Retry-After"])
        self.assertIn('"%s";r=0;t=' % name, answer.headers["Ratelimit"])
        self.assertIn('"%s";q=' % name, answer.headers["Ratelimit-Policy"])
        self.assertIsNone(answer.headers["x-should-retry"])


class RatesTest(LimitsCase):
    def test_f365_requests_by_address(self):
        service = self.start(reads_per_address="3/1h", writes_per_address="2/1h")
        answers = [self.request(ONE) for _ in range(4)]
        self.assertEqual([answer.status for answer in answers], [200, 200, 200, 429])
        for left, answer in zip((2, 1, 0), answers):
            self.assert_left(answer, "reads_per_address", left, 1200 * (3 - left))
        for answer in answers:
            self.assertEqual(answer.headers["Ratelimit-Policy"], '"reads_per_address";q=3;w=3600')
        self.assert_limited(answers[3], "reads_per_address")
        # Whatever is asked: no route, no credential, no HTTP; HEAD is a read, all the rest are writes.
        self.assertEqual(self.statuses(1, ONE, path="/nowhere"), [429])
        self.assertEqual(self.statuses(1, ONE, headers={}), [429])
        self.assertEqual(self.statuses(1, ONE, method="HEAD"), [429])
        self.assertEqual(self.statuses(3, ONE, method="DELETE"), [405, 405, 429])
        # Others are not touched, and health checks never.
        self.assertEqual(self.statuses(1, TWO), [200])
        self.assertEqual(self.statuses(2, ONE, path="/healthz"), [200, 200])
        # Every answer that was counted says so: refusals of each layer too.
        with self.connect(TWO) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            self.assertRegex(s.recv(65536), rb"HTTP/1.1 400 (?s:.*)\r\nRatelimit: \"reads_per_address\";r=1;t=")
        self.assert_left(self.request(TWO, "/nowhere"), "reads_per_address", 0, 3600)
        # A reload counts at once.
        self.set(reads_per_address="off", exempt=TWO)
        self.assertEqual(self.statuses(1, ONE), [200])
        self.assertIsNone(self.request(ONE).headers["Ratelimit"])
        self.assertEqual(self.statuses(3, TWO, method="DELETE"), [405] * 3)
        lines = re.findall("notice: too many .*", service.csrd.log())
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("too many reads from address '%s'" % ONE, lines[0])

    def test_f366_requests_by_principal(self):
        service = self.start(signer=True, reads_per_principal="3/1h", writes_per_principal="1/1h", reads_per_address="50/1h")
        answers = [self.request(source) for source in (ONE, TWO, THREE, ONE)]
        self.assertEqual([answer.status for answer in answers], [200, 200, 200, 429])
        self.assert_left(answers[1], "reads_per_address", 49, 72)
        self.assert_left(answers[1], "reads_per_principal", 1, 2400)
        self.assert_limited(answers[3], "reads_per_principal")
        # A user and other API tokens have buckets of their own.
        user = {"X-Auth-Email": service.email, "X-Auth-Key": service.key}
        self.assertEqual(self.statuses(4, ONE, headers=user), [200, 200, 200, 429])
        # Nothing is made when the answer is 429.
        self.assertEqual(service.create().status, 201)
        self.assertEqual(service.create().status, 429)
        self.assertEqual(len(service.rows()), 1)
        # What the caller is refused for is counted, and so is what he may not do.
        other = {"Authorization": "Bearer " + service.csrctl("token", "create", "--name", "other", "--account",
                                                            service.account + ":read")["token"]}
        answer = self.request(ONE, "/client/v4/accounts/elsewhere/custom_csrs", headers=other)
        self.assertEqual(answer.status, 403)
        self.assert_left(answer, "reads_per_principal", 2, 1200)

    def test_f367_a_bucket_fills_again(self):
        """429 with Retry-After, which is when the next request passes."""
        self.start(reads_per_address="2/2s")
        self.assertEqual(self.statuses(2, ONE), [200, 200])
        answer = self.request(ONE)
        self.assertIn(answer.status, (200, 429))  # a slow machine may have given one back already
        harness.wait_for("the next to pass", lambda: self.request(ONE).status == 200)


class ConnectionsTest(LimitsCase):
    def asked(self, source):
        s = self.connect(source)
        s.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST)
        return s

    @staticmethod
    def is_closed(s):
        try:
            return s.recv(65536) == b""
        except ConnectionError:
            return True

    def test_f368_connections_by_address(self):
        service = self.start(http={"max_connections_per_address": 3, "idle_timeout": "30s"})
        held = [self.connect(ONE) for _ in range(3)]
        for s in held:
            s.sendall(b"GET /healthz HTTP/1.1\r\nX")  # amid a head: nothing to spare for a moment
        refused = [self.connect(ONE) for _ in range(5)]
        others = [self.asked(TWO) for _ in range(3)]
        for s in others:
            self.assertIn(b" 200 ", s.recv(65536))
        self.assertTrue(any(self.is_closed(s) for s in refused + held[:1]))
        # One of its own goes for one more that comes: the address is never shut out, and others keep theirs.
        def served():
            with self.asked(ONE) as s:
                try:
                    return b" 200 " in s.recv(65536)
                except ConnectionError:
                    return False
        harness.wait_for("an answer at the cap", served)
        for s in others:
            s.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST)
            self.assertIn(b" 200 ", s.recv(65536))
        self.set("http", max_connections_per_address=0)
        more = [self.asked(ONE) for _ in range(20)]
        for s in more:
            self.assertIn(b" 200 ", s.recv(65536))
        self.assertLessEqual(len(re.findall("notice: connection of '127.0.0.2' refused: it has 3", service.csrd.log())), 2)

    def test_f368_who_is_exempt_has_any_number(self):
        self.start(http={"max_connections_per_address": 1}, exempt="127.0.0.0/29")
        for s in [self.asked(ONE) for _ in range(10)]:
            self.assertIn(b" 200 ", s.recv(65536))


class FailedLoginsTest(LimitsCase):
    WRONG = {"Authorization": "Bearer csrd_" + "x" * 49}

    def test_f96_a_thousand_bad_logins(self):
        """They are refused, the log stays small, and right credentials from the same address are right."""
        service = self.start(failed_logins_per_address="20/1h", failed_logins_per_user="5/1h")
        connection = http.client.HTTPConnection(*service.address, timeout=PATIENCE, source_address=(ONE, 0))
        seen = []
        for i in range(1000):
            connection.request("GET", LIST, headers={"Authorization": "Bearer csrd_%049d" % i})
            response = connection.getresponse()
            body = json.loads(response.read())
            seen.append(response.status)
            self.assertEqual(body["errors"][0]["code"], 1000 if response.status == 401 else 971)
            if i % 250 == 0:
                self.assertEqual(self.request(ONE).status, 200)
                self.assertEqual(self.request(TWO).status, 200)
        self.assertEqual(seen, [401] * 20 + [429] * 980)
        answer = self.request(ONE, headers=self.WRONG)
        self.assert_limited(answer, "failed_logins_per_address")
        # A credential that nobody has used before, and one that comes after an expired one.
        fresh = {"Authorization": "Bearer " + service.csrctl("token", "create", "--name", "fresh", "--account",
                                                            service.account + ":read")["token"]}
        self.assertEqual(self.request(ONE, headers=fresh).status, 200)
        lines = re.findall("(?m)^.* (?:notice|info): (?:credential refused|too many|GET).*", service.csrd.log())
        self.assertLess(len(lines), 60, lines[:10])
        # By user, from anywhere; the right key is right.
        wrong = {"X-Auth-Email": service.email.upper(), "X-Auth-Key": "0" * 40}
        right = {"X-Auth-Email": service.email, "X-Auth-Key": service.key}
        self.assertEqual(self.statuses(6, TWO, headers=wrong), [401] * 5 + [429])
        self.assert_limited(self.request(THREE, headers=wrong), "failed_logins_per_user")
        self.assertEqual(self.statuses(1, TWO, headers=right), [200])
        # None at all is no failed login; nor is a right one, however often.
        self.assertEqual(self.statuses(25, THREE, headers={}), [400] * 25)

    def test_f96_the_log_of_an_expired_token_stays_small(self):
        service = self.start()
        value = service.csrctl("token", "create", "--name", "old", "--account", service.account + ":read")
        service.csrctl("token", "revoke", value["id"])
        headers = {"Authorization": "Bearer " + value["token"]}
        self.assertEqual(set(self.statuses(200, ONE, headers=headers)), {401, 429})
        lines = re.findall("(?m)^.* (?:notice|info): .*'old'.*", service.csrd.log())
        self.assertTrue(1 <= len(lines) < 40, len(lines))


class FiguresTest(LimitsCase):
    def test_f369_figures_say_whom_the_limits_refused(self):
        port = harness.free_port()
        self.service_ = service = self.service(settings={
            "limits": {"exempt": "none", "reads_per_address": "1/1h", "failed_logins_per_address": "1/1h",
                       "reads_per_principal": "1/1h"},
            "metrics": {"listen": "127.0.0.1:%d" % port}})
        service.start_csrd()
        self.assertEqual(self.statuses(2, ONE), [200, 429])
        self.assertEqual(self.statuses(1, TWO), [429])
        wrong = {"Authorization": "Bearer wrong"}
        self.assertEqual([self.request(source, headers=wrong, method="POST").status for source in (ONE, ONE)], [401, 429])
        text = harness.http_request(("127.0.0.1", port), "GET", "/metrics").body.decode()
        for line in ('csrd_limits_refused_requests_total{limit="address"} 1',
                     'csrd_limits_refused_requests_total{limit="principal"} 1',
                     'csrd_limits_refused_requests_total{limit="failed_logins"} 1',
                     "csrd_failed_logins_total 2", "csrd_limits_dropped_total 0",
                     "csrd_http_connections_refused_total 0"):
            self.assertIn(line + "\n", text)


if __name__ == "__main__":
    unittest.main()
