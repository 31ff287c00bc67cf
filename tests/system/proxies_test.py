"""F162, F163: HAProxy and nginx in front of csrd.  Every client of real_clients_test.py through both, with nginx passing
request bodies on unbuffered over kept connections; and HAProxy's health checks."""
# run: seconds=22
import socket
import unittest

import clients
import harness
import proxies


class Clients:
    """Over clients.Case.  The proxy is between the client and the relay, so the relay sees what csrd is sent: whatever the
    proxy makes of it.  (nginx puts a length on a chunked body that came whole with its head.)"""

    def setUp(self):
        super().setUp()
        self.proxy = self.start_proxy(self.relay.address)

    def door(self):
        return self.proxy.address

    def test_node_request(self):
        self.play_program(clients.node_client("request"))

    def test_node_fetch_with_a_stream(self):
        self.play_program(clients.node_client("fetch"))

    def test_go_with_a_pipe(self):
        self.play_program(clients.go_client())

    def test_java_with_a_stream_and_h2c(self):
        self.play_program(clients.java_client())

    def test_python_http_client_with_a_generator(self):
        self.play_program(clients.python_client("http.client"))

    def test_python_requests_with_a_generator(self):
        self.play_program(clients.python_client("requests"))

    def test_curl_upload_of_standard_input(self):
        self.play(clients.Curl("-X", "POST", "-T", "-").play)

    def test_curl_http2(self):
        self.play(clients.Curl("--http2", "--data-binary", "@-").play)

    def test_a_body_that_comes_in_pieces_is_passed_on_in_pieces(self):
        """The second piece is sent when csrd's side has seen the first."""
        data = clients.BODY.encode()
        head = "POST /client/v4%s HTTP/1.1\r\nHost: csrd\r\nAuthorization: Bearer %s\r\nConnection: close\r\n" \
               "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % (
                   self.service_.scope_path(), self.service_.token)
        with socket.create_connection(self.door(), harness.PATIENCE) as client:
            client.sendall(head.encode() + b"14\r\n%s\r\n" % data[:20])
            harness.wait_for("the first piece", lambda: data[:20].decode("latin-1") in self.relay.text())
            client.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data) - 20, data[20:]))
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 201 "), answer)
        self.assertIn("transfer-encoding: chunked", clients.heads(self.relay.text(), "POST")[0].lower())
        self.service_.check_sane(self)
        self.assertEqual(list(self.service_.rows().values()), ["active"])


class HaproxyClientsTest(Clients, clients.Case):
    def start_proxy(self, to):
        return proxies.haproxy(self, to)


class NginxClientsTest(Clients, clients.Case):
    def start_proxy(self, to):
        return proxies.nginx(self, to)


class HealthCheckTest(harness.Case):
    """F163: a check takes csrd for alive when it is, and only then."""

    def state(self, proxy, wanted):
        """By a check that was made: before the first one HAProxy takes it for UP."""
        def look():
            status, check = proxies.haproxy_state(proxy)
            return status == wanted and check.startswith("L7OK") == (wanted == "UP")
        return harness.wait_for("HAProxy says " + wanted, look)

    def ask(self, proxy, path):
        return harness.http_request(proxy.address, "GET", path, is_api=False).status

    def test_httpchk_as_it_is_by_default(self):
        """OPTIONS / in HTTP/1.0, without a Host."""
        service = self.service()
        service.start_csrd()
        relay = clients.Relay(service.address)
        self.addCleanup(relay.close)
        proxy = proxies.haproxy(self, relay.address, "check inter 100ms", "option httpchk")
        harness.wait_for("three checks", lambda: relay.text().count("OPTIONS / HTTP/1.0\r\n") >= 3)
        self.assertEqual(proxies.haproxy_state(proxy)[0], "UP", proxies.haproxy_state(proxy))
        self.assertEqual(self.ask(proxy, "/healthz"), 200)
        service.stop()
        self.state(proxy, "DOWN")
        self.assertEqual(self.ask(proxy, "/healthz"), 503)

    def test_httpchk_of_readyz(self):
        for number, how in enumerate(("option httpchk HEAD /readyz", "option httpchk GET /readyz",
                                      "option httpchk\nhttp-check send meth GET uri /readyz ver HTTP/1.1 hdr Host csrd")):
            with self.subTest(how):
                service = self.service(str(number)).start()
                proxy = proxies.haproxy(self, service.address, "check inter 100ms fall 1 rise 1", how)
                self.state(proxy, "UP")
                self.assertEqual(self.ask(proxy, "/healthz"), 200)
                service.hsm.kill()
                self.state(proxy, "DOWN")
                service.start_hsm()
                self.state(proxy, "UP")
                proxy.close()
                service.stop()


if __name__ == "__main__":
    unittest.main()
