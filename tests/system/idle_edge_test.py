"""F164: a connection that was idle for about as long as one side lets it, and a POST on it in that very instant: by a
client of csrd's, and by proxies in front.  Each POST has an Idempotency-Key, so whoever got no answer sends it again."""
# run: waits seconds=50
import http.client
import json
import time
import unittest

import harness
import proxies


class IdleTest(harness.Case):
    """The sleeping is what is tested here: nothing waits for something else to be done by sleeping."""

    AT_ONCE = 20
    ROUNDS = 10

    def key(self, number):
        return {"Idempotency-Key": "edge-%d" % number, "Content-Type": "application/json"}

    def edges(self, idle):
        """How long to be idle, for each round: within 1 % of `idle`, before and after."""
        return [idle * (0.99 + 0.02 * index / (self.ROUNDS - 1)) for index in range(self.ROUNDS)]

    def posts(self, service, address, idle):
        """AT_ONCE callers, each with one connection: be idle, POST, again.  key's number → status, or None when the
        connection ended before the answer."""
        outcome = {}

        def caller(index):
            connection = None
            for turn, pause in enumerate(self.edges(idle)):
                number = turn * self.AT_ONCE + index
                if connection is None:
                    connection = http.client.HTTPConnection(*address, timeout=harness.PATIENCE)
                    connection.request("GET", "/healthz")
                    connection.getresponse().read()
                time.sleep(pause)
                try:
                    connection.request("POST", "/client/v4" + service.scope_path(), self.body(number),
                                       {**service.bearer(), **self.key(number)})
                    response = connection.getresponse()
                    response.read()
                    outcome[number] = response.status
                except (http.client.HTTPException, OSError):
                    outcome[number] = None
                    connection.close()
                    connection = None
            if connection:
                connection.close()

        harness.in_parallel([lambda index=index: caller(index) for index in range(self.AT_ONCE)])
        self.assertEqual(len(outcome), self.AT_ONCE * self.ROUNDS)
        return outcome

    def body(self, number):
        return json.dumps({**harness.SUBJECT, "key_type": "p256v1", "name": "edge %d" % number})

    def check(self, service, address, outcome):
        """Everything once more with the same key: 201 for each, and one CSR for each key."""
        ids = {}
        for number in outcome:
            answer = harness.http_request(address, "POST", "/client/v4" + service.scope_path(), self.body(number).encode(),
                                          {**service.bearer(), **self.key(number)})
            self.assertEqual(answer.status, 201, answer)
            self.assertEqual(answer.result["name"], "edge %d" % number)
            ids[number] = answer.result["id"]
        self.assertEqual(len(set(ids.values())), len(outcome))
        service.check_sane(self, ids.values())
        self.assertEqual(set(service.rows()), set(ids.values()), "a row that no key names")

    def test_a_client_at_the_edge_of_idle_timeout(self):
        service = self.service(settings={"http": {"idle_timeout": "1s"}}).start()
        outcome = self.posts(service, service.address, 1.0)
        self.assertLessEqual(set(outcome.values()), {201, None})
        self.check(service, service.address, outcome)
        service.stop()

    def test_nginx_that_keeps_connections_longer(self):
        """A mistake of the operator's (doc/operations.md): some POSTs die with 502; none is made twice or lost."""
        service = self.service(settings={"http": {"idle_timeout": "1s"}}).start()
        proxy = proxies.nginx(self, service.address, "keepalive_timeout 60s;")
        outcome = self.posts(service, proxy.address, 1.0)
        self.assertLessEqual(set(outcome.values()), {201, 502})
        self.check(service, service.address, outcome)
        service.stop()

    def test_nginx_that_closes_first(self):
        service = self.service(settings={"http": {"idle_timeout": "1s"}}).start()
        proxy = proxies.nginx(self, service.address, "keepalive_timeout 500ms;")
        outcome = self.posts(service, proxy.address, 0.5)
        self.assertEqual(set(outcome.values()), {201})
        self.check(service, service.address, outcome)
        service.stop()

    def test_haproxy_that_closes_first(self):
        service = self.service(settings={"http": {"idle_timeout": "2s"}}).start()
        proxy = proxies.haproxy(self, service.address, "pool-purge-delay 500ms", "http-reuse always")
        outcome = self.posts(service, proxy.address, 0.5)
        self.assertEqual(set(outcome.values()), {201})
        self.check(service, service.address, outcome)
        service.stop()


if __name__ == "__main__":
    unittest.main()
