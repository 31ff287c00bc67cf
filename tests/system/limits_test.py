"""How much a caller may ask (F365 to F371, F96, F99): requests by API token and by address, connections by address,
credentials that were refused.  Callers are told apart by the address that they bind to, 127.0.0.2 and on."""
import http.client
import json
import re
import signal
import socket
import unittest
from unittest import mock

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
            return harness.answer_of(connection.getresponse(), method, path)
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
        self.assertEqual(self.statuses(1, ONE, path="/openapi.json", headers={}), [429])
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


class TokensTest(LimitsCase):
    """API tokens under control: where from, until when, when last, and a new value."""

    def create(self, *options, noun="token", name="--name"):
        made = self.service_.csrctl(noun, "create", name, options[0], "--account", self.service_.account + ":read", *options[1:])
        return made["id"], ({"Authorization": "Bearer " + made["token"]} if noun == "token" else
                            {"X-Auth-Email": options[0], "X-Auth-Key": made["key"]})

    def listed(self, token_id, noun="tokens"):
        return next(t for t in self.service_.csrctl(noun[:-1], "list")[noun] if t["id"] == token_id)

    def test_f370_from_where_a_token_is_accepted(self):
        """The answer is the one to an unknown token; the log says why."""
        unix = self.folder / "http.sock"
        service = self.start(http={"listen": "127.0.0.1:0, unix:%s" % unix})
        token_id, here = self.create("here", "--from", "127.0.0.2", "--from", "10.0.0.0/8", "--from", "2001:db8::/32")
        self.assertEqual(self.listed(token_id)["from"], ["127.0.0.2", "10.0.0.0/8", "2001:db8::/32"])
        _, local = self.create("local", "--from", "unix")
        self.assertEqual(self.statuses(1, ONE, headers=here), [200])
        refused = self.request(TWO, headers=here)
        unknown = self.request(TWO, headers={"Authorization": "Bearer csrd_unknown"})
        self.assertEqual((refused.status, refused.json), (401, unknown.json))
        self.assertEqual(self.statuses(1, ONE, headers=local), [401])
        for headers, status in ((local, b" 200 "), (here, b" 401 ")):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(PATIENCE)
                s.connect(str(unix))
                s.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\n\r\n"
                          % (LIST.encode(), headers["Authorization"].encode()))
                self.assertIn(status, s.recv(65536))
        self.assertRegex(service.csrd.log(), r"credential refused from '127\.0\.0\.3:\d+': token 'here' \(%s\): "
                         "it may not be used from there" % token_id)
        for wrong, why in (("10.0.0.1/8", r"10\.0\.0\.0/8"), ("example.com", "--from"), ("10.0.0.0/33", "--from")):
            done = service.csrctl("token", "create", "--name", "x", "--account", service.account, "--from", wrong, check=False)
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertRegex(done.stderr, why)

    def test_f371_a_new_value_for_a_token(self):
        service = self.start()
        token_id, old = self.create("ci", "--expires", "90d", "--from", ONE)
        self.assertEqual(self.statuses(1, ONE, headers=old), [200])
        before = self.listed(token_id)
        rolled = service.csrctl("token", "roll", "ci", "--grace", "1h")
        self.assertEqual((rolled["id"], rolled["name"]), (token_id, "ci"))
        second = {"Authorization": "Bearer " + rolled["token"]}
        self.assertEqual(self.statuses(1, ONE, headers=old) + self.statuses(1, ONE, headers=second), [200, 200])
        self.assertEqual(self.statuses(1, TWO, headers=old) + self.statuses(1, TWO, headers=second), [401, 401])
        # The next one ends the first, whatever its grace; without one the second ends at once, too.
        third = {"Authorization": "Bearer " + service.csrctl("token", "roll", token_id)["token"]}
        self.assertEqual([self.request(ONE, headers=headers).status for headers in (old, second, third)], [401, 401, 200])
        # A line about a refused credential comes at most once a second.
        harness.wait_for("the line in the log", lambda: self.request(ONE, headers=old).status != 401 or re.search(
            r"token 'ci' \(%s\): it was replaced by a new one" % token_id, service.csrd.log()), every=0.2)
        after = self.listed(token_id)
        self.assertEqual({**before, "last_used_at": 0}, {**after, "last_used_at": 0})
        actions = [r["action"] for r in service.csrctl("audit", "--object", token_id)["records"]]
        self.assertEqual(actions, ["token.roll", "token.roll", "token.create"])
        service.csrctl("token", "revoke", token_id)
        self.assertEqual(self.statuses(1, ONE, headers=third), [401])
        done = service.csrctl("token", "roll", token_id, check=False)
        self.assertRegex(done.stderr, "was revoked: create a new one")
        # A user's key.
        user_id, key = self.create("a@example.com", noun="user", name="--email")
        new = {**key, "X-Auth-Key": service.csrctl("user", "roll", "a@example.com")["key"]}
        self.assertEqual([self.request(ONE, headers=headers).status for headers in (key, new)], [401, 200])
        self.assertEqual(self.listed(user_id, "users")["status"], "active")

    def test_f372_last_use_and_a_warning_before_the_end(self):
        """Both are noted without a commit in the way of a request, and survive a restart."""
        port = harness.free_port()
        self.service_ = service = self.service(settings={"metrics": {"listen": "127.0.0.1:%d" % port}})
        service.start_csrd()
        token_id, soon = self.create("soon", "--expires", "13d")
        _, later = self.create("later", "--expires", "20d")
        self.assertNotIn("last_used_at", self.listed(token_id))
        self.assertEqual(self.statuses(20, ONE, headers=soon) + self.statuses(2, ONE, headers=later), [200] * 22)
        lines = re.findall("notice: .* expires in .*", service.csrd.log())
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], r"token 'soon' \(%s\) expires in 12 days, on 20" % token_id)
        checks = {check["name"]: check for check in json.loads(
            service.csrctl("doctor", check=False).stdout)["checks"]}
        self.assertEqual((checks["callers"]["status"], checks["callers"]["found"][:2]), ("warn", "1 "))
        text = harness.http_request(("127.0.0.1", port), "GET", "/metrics").body.decode()
        self.assertIn("csrd_principals_ending 1\n", text)
        service.csrd.terminate()
        used = self.listed(token_id)["last_used_at"]
        self.assertRegex(used, "^20..-")
        service.start_csrd()
        self.assertEqual(self.statuses(2, ONE, headers=soon), [200, 200])
        service.csrd.terminate()
        self.assertEqual(self.listed(token_id)["last_used_at"], used)
        self.assertNotIn("expires in", service.csrd.log())


class QuotaTest(LimitsCase):
    def test_f99_a_flood_of_creates_up_to_the_quota(self):
        """As many as the quota says, at once or one after the other, and no key besides."""
        service = self.start(signer=True)
        service.csrctl("quota", "set", service.account, "5")
        answers = harness.in_parallel([lambda: service.create(key_type="p256v1")] * 30)
        self.assertEqual(sorted(a.status for a in answers), [201] * 5 + [403] * 25)
        for answer in answers:
            if answer.status == 403:
                self.assertEqual((answer.codes, answer.headers["x-should-retry"]), ([1403], "false"))
        harness.wait_for("the keys of the losers to be gone", lambda: len(service.p11.labels()) == 5)
        self.assertEqual(service.csrctl("quota", "show", service.account)["quotas"],
                         [{"scope": "account", "id": service.account, "name": mock.ANY, "quota": 5, "used": 5, "left": 0}])
        # Zones have their own; a change is in force at once; a delete makes room.
        self.assertEqual(service.create(zone=True, key_type="p256v1").status, 201)
        service.csrctl("quota", "set", "--zone", service.zone, "1")
        self.assertEqual(service.create(zone=True, key_type="p256v1").codes, [1403])
        service.csrctl("quota", "set", "--zone", service.zone, "unlimited")
        self.assertEqual(service.create(zone=True, key_type="p256v1").status, 201)
        made = next(a.result["id"] for a in answers if a.status == 201)
        self.assertEqual(service.delete(made).status, 200)
        self.assertEqual(service.create(key_type="p256v1").status, 201)
        self.assertEqual([(q["scope"], q["quota"], q["used"], q["left"]) for q in service.csrctl("quota", "show")["quotas"]],
                         [("account", 5, 5, 0), ("zone", None, 2, None)])
        for arguments in (("quota", "set", service.account), ("quota", "set", service.account, "-1"),
                          ("quota", "set", "--zone", service.zone, service.account, "1")):
            self.assertEqual(service.csrctl(*arguments, check=False).returncode, 64, arguments)


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
        text = harness.http_request(("127.0.0.1", port), "GET", "/metrics", is_api=False).body.decode()
        for line in ('csrd_limits_refused_requests_total{limit="address"} 1',
                     'csrd_limits_refused_requests_total{limit="principal"} 1',
                     'csrd_limits_refused_requests_total{limit="failed_logins"} 1',
                     "csrd_failed_logins_total 2", "csrd_limits_dropped_total 0",
                     "csrd_http_connections_refused_total 0"):
            self.assertIn(line + "\n", text)


if __name__ == "__main__":
    unittest.main()
