"""F160, F161: clients as people use them, at their defaults: Node, Go, Java, Python, curl, wget.  Each makes a CSR with a
body of unknown length where it can (chunked), lists, is refused as JSON, and deletes."""
# run: seconds=14
import unittest

import clients
import harness


class RealClientsTest(clients.Case):
    def test_node_request(self):
        self.assert_chunked(self.play_program(clients.node_client("request")))

    def test_node_fetch_with_a_stream(self):
        self.assert_chunked(self.play_program(clients.node_client("fetch")))

    def test_go_with_a_pipe(self):
        self.assert_chunked(self.play_program(clients.go_client()))

    def test_java_with_a_stream_and_h2c(self):
        posts = self.play_program(clients.java_client())
        self.assert_chunked(posts)
        for head in posts:
            self.assertIn("upgrade: h2c", head.lower())

    def test_python_http_client_with_a_generator(self):
        self.assert_chunked(self.play_program(clients.python_client("http.client")))

    def test_python_requests_with_a_generator(self):
        self.assert_chunked(self.play_program(clients.python_client("requests")))

    def test_curl_upload_of_standard_input(self):
        posts = self.play(clients.Curl("-X", "POST", "-T", "-").play)
        self.assert_chunked(posts)
        for head in posts:
            self.assertIn("expect: 100-continue", head.lower())

    def test_curl_http2(self):
        for head in self.play(clients.Curl("--http2", "--data-binary", "@-").play):
            self.assertIn("upgrade: h2c", head.lower())


class LookingTest(clients.Case):
    """Clients that ask for no body: HEAD."""

    def curl_head(self, path, *options):
        done = harness.run(["curl", "-q", "-sS", "--noproxy", "*", "-I", *options,
                            "http://%s:%d%s" % (*self.door(), path)])
        lines = done.stdout.splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        return int(lines[0].split(" ")[1]), headers

    def test_curl_head(self):
        bearer = ["-H", "Authorization: Bearer " + self.service_.token]
        self.assertEqual(self.service_.create().status, 201)
        for path, options in ("/healthz", []), ("/readyz", []), ("/client/v4" + self.service_.scope_path(), bearer):
            with self.subTest(path):
                status, headers = self.curl_head(path, *options)
                whole = harness.http_request(self.service_.address, "GET", path, headers=self.service_.bearer())
                self.assertEqual((status, headers["content-type"]), (200, "application/json"))
                self.assertEqual(int(headers["content-length"]), len(whole.body))
        self.assertEqual(self.curl_head("/client/v4" + self.service_.scope_path())[0], 400)
        self.assertEqual(self.curl_head("/nothing")[0], 404)

    def spider(self, path):
        done = harness.run(["wget", "--no-config", "--no-proxy", "--spider", "--tries=1", "--timeout=10", "-nv",
                            "http://%s:%d%s" % (*self.door(), path)], check=False)
        return done.returncode

    def test_curl_that_knows_no_other_than_http2(self):
        """The preface of HTTP/2 is refused at once: curl says so, and does not wait."""
        done = harness.run(["curl", "-q", "-sS", "--noproxy", "*", "--http2-prior-knowledge", "--max-time", "10",
                            "http://%s:%d/healthz" % self.door()], check=False)
        self.assertNotIn(done.returncode, (0, 28), done.stderr)  # 28: it took too long
        self.assertIn("PRI * HTTP/2.0", self.relay.text())
        self.assertEqual(self.curl_head("/healthz")[0], 200)

    def test_wget_spider(self):
        clients.need("wget")
        self.assertEqual(self.spider("/healthz"), 0)
        self.assertEqual(self.spider("/readyz"), 0)
        for head in clients.heads(self.relay.text(), "HEAD"):
            self.assertIn("wget", head.lower())
        self.service_.hsm.kill()
        self.service_.wait_ready(status=503)
        self.assertEqual(self.spider("/readyz"), 8, "wget's word for an error of the server")
        self.assertEqual(self.spider("/healthz"), 0)


if __name__ == "__main__":
    unittest.main()
