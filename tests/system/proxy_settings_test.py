"""F422 to F424: the settings that operations.md shows for HAProxy and nginx in front of csrd, as they stand there but for
addresses and paths; and what a client can do about its address."""
# run: waits seconds=12
import pathlib
import re
import socket
import ssl
import unittest

import clients
import harness
import proxies

PAGE = pathlib.Path(__file__).parents[2] / "doc" / "operations.md"
HAPROXY = """
global
    log stderr format raw local0
    stats socket @FOLDER@/stats mode 600
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""
NGINX = """
daemon off;
master_process off;
pid @FOLDER@/pid;
error_log stderr info;
events { worker_connections 200; }
http {
    access_log off;
    client_body_temp_path @FOLDER@/body;
    proxy_temp_path @FOLDER@/proxy;
    fastcgi_temp_path @FOLDER@/fastcgi;
    uwsgi_temp_path @FOLDER@/uwsgi;
    scgi_temp_path @FOLDER@/scgi;
%s}
"""


def blocks():
    """The indented blocks of that section."""
    section = PAGE.read_text().split("\n### Proxies in front\n")[1].split("\n### ")[0]
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", section, re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE).strip("\n") + "\n" for block in found]


class ProxySettingsTest(harness.Case):
    def shown(self, *words):
        """The one block that has all these words."""
        found = [block for block in blocks() if all(word in block for word in words)]
        self.assertEqual(len(found), 1, words)
        return found[0]

    def conf(self, block):
        """Lines of csrd.conf as settings; the proxy is on this machine, and so is csrd, on a port that is free."""
        settings = dict(line.split(" = ") for line in block.splitlines())
        self.door = ("127.0.0.1", harness.free_port())
        settings = {key: value.replace("10.0.0.10:8443", "127.0.0.1:%d" % self.door[1]).replace("10.0.0.5", "127.0.0.1")
                    for key, value in settings.items()}
        certificate, key = harness.make_certificate(self.folder)
        settings.update(tls_certificate=certificate, tls_key=key)
        if "proxy_protocol_from" in settings:  # the test itself is at the proxy's address, too
            settings["proxy_protocol_on"] = settings["listen_tls"]
        self.certificate, self.key = certificate, key
        return self.service(settings={"http": settings, "log": {"level": "debug"}}).start()

    def localised(self, block):
        pem = self.folder / "site.pem"
        pem.write_bytes(pathlib.Path(self.certificate).read_bytes() + pathlib.Path(self.key).read_bytes())
        for old, new in (("10.0.0.10:8443", "127.0.0.1:%d" % self.door[1]), ("csrd.example.com", "localhost"),
                         ("bind :8443", "bind 127.0.0.1:@PORT@"), ("bind :443", "bind 127.0.0.1:@PORT@"),
                         ("listen 443", "listen 127.0.0.1:@PORT@"), ("/etc/haproxy/site.pem", str(pem)),
                         ("/etc/haproxy/csrd-ca.pem", str(self.certificate)), ("/etc/nginx/site.crt", str(self.certificate)),
                         ("/etc/nginx/site.key", str(self.key)), ("/etc/nginx/csrd-ca.pem", str(self.certificate))):
            block = block.replace(old, new)
        self.assertNotIn("/etc/", block)
        return block

    def haproxy(self, block):
        clients.need("haproxy")
        proxy = proxies.Proxy(self, "haproxy", HAPROXY + self.localised(block), [clients.find("haproxy"), "-db", "-f"])
        harness.wait_for("HAProxy sees csrd as up", lambda: self.checked(proxy) == "L7OK")
        return proxy

    def checked(self, proxy):
        """How the last health check ended."""
        with socket.socket(socket.AF_UNIX) as asked:
            try:
                asked.connect(str(proxy.folder / "stats"))
            except OSError:
                return None
            asked.sendall(b"show stat\n")
            lines = b"".join(iter(lambda: asked.recv(65536), b"")).decode().splitlines()
        names = lines[0].lstrip("# ").split(",")
        return [dict(zip(names, line.split(","))) for line in lines[1:] if ",csrd," in line[:20]][0]["check_status"].lstrip("* ")

    def ask(self, proxy, service, source, *headers):
        """A request for nothing that is there, so that it is logged."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        with socket.create_connection(proxy.address, harness.PATIENCE, (source, 0)) as raw:
            port = raw.getsockname()[1]
            with context.wrap_socket(raw, server_hostname="localhost") as tls:
                tls.sendall("\r\n".join(["GET /client/v4/nothing HTTP/1.1", "Host: localhost", "Connection: close",
                                         "Authorization: " + service.bearer()["Authorization"], *headers, "\r\n"]).encode())
                answer = b"".join(iter(lambda: tls.recv(65536), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 404 "), answer)
        return port

    def check_header(self, service, proxy):
        """F422, F423: of the caller, whatever it writes itself."""
        self.ask(proxy, service, "127.0.0.2")
        service.csrd.wait_log(r"GET '/client/v4/nothing' from '127\.0\.0\.2 via 127\.0\.0\.1:\d+' over TLS")
        for number, lie in enumerate(("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 127.0.0.1",
                                      "Forwarded: for=198.51.100.1", "X-Forwarded-For: \"198.51.100.1"), 3):
            self.ask(proxy, service, "127.0.0.%d" % number, lie)
            service.csrd.wait_log(r"'/client/v4/nothing' from '127\.0\.0\.%d via 127\.0\.0\.1:\d+' over TLS" % number)

    def test_f424_haproxy_with_a_header(self):
        service = self.conf(self.shown("trusted_proxies"))
        self.check_header(service, self.haproxy(self.shown("option forwardfor")))
        # who is no trusted proxy is not believed
        context = ssl.create_default_context(cafile=str(self.certificate))
        with context.wrap_socket(socket.create_connection(self.door, harness.PATIENCE, ("127.0.0.9", 0)),
                                 server_hostname="localhost") as tls:
            tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9\r\nConnection: close\r\n\r\n")
            self.assertTrue(tls.recv(65536).startswith(b"HTTP/1.1 200 "))
        service.csrd.wait_log(r"GET '/healthz' from '127\.0\.0\.9:\d+' over TLS")
        service.stop()

    def test_f424_nginx_with_a_header(self):
        clients.need("nginx")
        service = self.conf(self.shown("trusted_proxies"))
        block = self.localised(self.shown("upstream csrd {", "proxy_ssl_verify"))
        self.check_header(service, proxies.Proxy(self, "nginx", NGINX % block, [clients.find("nginx"), "-c"]))
        service.stop()

    def test_f424_haproxy_with_the_proxy_protocol(self):
        service = self.conf(self.shown("proxy_protocol_from ="))
        block = self.shown("send-proxy-v2")
        for words in ("send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl,cert-cn check-send-proxy"):
            proxy = self.haproxy(block.replace("send-proxy-v2", words))
            port = self.ask(proxy, service, "127.0.0.2")
            service.csrd.wait_log(r"'/client/v4/nothing' from '127\.0\.0\.2:%d via 127\.0\.0\.1:\d+' over TLS" % port)
            self.assertRegex(service.csrd.log(), r"GET '/readyz' from '127\.0\.0\.1:\d+' over TLS")  # the check: LOCAL
            proxy.close()
        # version 1
        proxy = proxies.Proxy(self, "haproxy", HAPROXY + self.localised(re.sub("send-proxy-v2 .*", "send-proxy", block)),
                              [clients.find("haproxy"), "-db", "-f"])
        self.assertRaises((OSError, AssertionError), self.ask, proxy, service, "127.0.0.2")
        service.csrd.wait_log(r"no PROXY protocol header from '127\.0\.0\.1:\d+': version 1 of the PROXY protocol is not "
                              r"spoken, send version 2 \(HAProxy: send-proxy-v2\)")
        service.stop()


if __name__ == "__main__":
    unittest.main()
