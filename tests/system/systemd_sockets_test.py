"""Sockets of each name under a real systemd, and a certificate and a key that it hands over as credentials (F426, F428)."""
# run: waits seconds=12 variants=release
import re
import socket
import ssl
import textwrap
import unittest

import harness
import sdbox

REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def shown_unit():
    """As operations.md shows it."""
    page = (harness.ROOT / "doc" / "operations.md").read_text()
    block = re.search(r"csrd-https\.socket && systemctl restart csrd`:\n\n((?:      .*\n|\n)+)", page).group(1)
    return textwrap.dedent(block)


class SocketsTest(sdbox.Case):
    def ask(self, raw, path=b"/healthz"):
        raw.settimeout(harness.PATIENCE)
        raw.sendall(REQUEST % path)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
        raw.close()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:200])

    def over_tls(self, box, host, certificate):
        context = ssl.create_default_context(cafile=str(certificate))
        with box.network():
            raw = socket.create_connection((host, 443), harness.PATIENCE)
        self.ask(context.wrap_socket(raw, server_hostname="localhost"))

    def test_f428_https_metrics_paths_and_credentials(self):
        box = self.box(settings={"http": {"tls_certificate": "credential:tls_certificate", "tls_key": "credential:tls_key"},
                                 "log": {"level": "debug", "reads": "yes"}})
        certificate, key = harness.make_certificate(box.path("/root"))
        key.chmod(0o600)
        box.drop_in("csrd.service", "LoadCredential=tls_certificate:/root/server.crt\nLoadCredential=tls_key:/root/server.key",
                    "tls")
        box.write("/etc/systemd/system/csrd-https.socket", shown_unit())
        box.write("/etc/systemd/system/csrd-metrics.socket",
                  "[Socket]\nListenStream=127.0.0.1:9464\nFileDescriptorName=metrics\nService=csrd.service\n")
        box.drop_in("csrd.socket", "[Socket]\nListenStream=/run/csrd-http.sock\nListenStream=@csrd-http\nSocketUser=csrd\n"
                                   "SocketGroup=csrd\nSocketMode=0660")
        box.systemctl("daemon-reload")
        box.start("csrd.socket", "csrd-https.socket", "csrd-metrics.socket", "csrd")
        self.assertEqual(box.create().status, 201)
        # one socket of both families, and IPv4 callers are shown as such
        self.over_tls(box, "127.0.0.1", certificate)
        self.over_tls(box, "::1", certificate)
        box.wait_message("csrd", "listening on '[::]:443' with TLS, a socket of the service manager")
        box.wait_message("csrd", "GET '/healthz' from '127.0.0.1:")
        self.assertNotIn("::ffff:", box.messages("csrd"))
        self.assertRegex(box.messages("csrd"), r"GET '/healthz' from '\[::1\]:\d+' over TLS")
        with box.network():
            self.ask(socket.create_connection(("127.0.0.1", 9464), harness.PATIENCE), b"/metrics")
        # the abstract one belongs to the network's namespace, the path to the file system's
        for address in ("\0csrd-http", str(box.path("/run/csrd-http.sock"))):
            with box.network():
                raw = socket.socket(socket.AF_UNIX)
                raw.connect(address)
            self.ask(raw)
        self.assertEqual(oct(box.path("/run/csrd-http.sock").stat().st_mode & 0o777), "0o660")
        for path in ("/root/server.key", "/run/credentials/csrd.service/tls_key"):
            done = box.run("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "cat", path, check=False)
            self.assertIn("Permission denied", done.stderr)
        # a restart with a new pair: nobody is refused meanwhile, and the new one is shown
        fresh, _ = harness.make_certificate(box.path("/root"))
        with box.network():
            waiting = socket.create_connection(("127.0.0.1", 443), harness.PATIENCE)
        before = box.pid("csrd")
        box.systemctl("restart", "csrd")
        self.assertNotEqual(box.pid("csrd"), before)
        waiting.close()
        self.over_tls(box, "127.0.0.1", fresh)


if __name__ == "__main__":
    unittest.main()
