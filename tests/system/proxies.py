"""HAProxy and nginx between a client and csrd, each with a configuration in a folder of the test's own."""
import pathlib
import socket
import tempfile

import clients
import harness


# The rest of the section "http" follows it.
NGINX_HEAD = """daemon off;
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
"""


def listens(address):
    try:
        socket.create_connection(address, 1).close()
        return True
    except OSError:
        return False


class Proxy:
    """Starts when made; dies with the test."""

    def __init__(self, case, name, configuration, command):
        """configuration: text in which @PORT@ and @FOLDER@ stand for what they say."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=case.folder))
        self.address = ("127.0.0.1", harness.free_port())
        self.path = self.folder / (name + ".conf")
        self.path.write_text(configuration.replace("@PORT@", str(self.address[1])).replace("@FOLDER@", str(self.folder)))
        self.process = harness.Process([*command, self.path], case.logs() / (name + ".log"), harness.clean_environment(),
                                       cwd=self.folder)
        case.addCleanup(self.process.kill)
        harness.wait_for("%s listens" % name, self.is_up)

    def close(self):
        self.process.kill()

    def is_up(self):
        if not self.process.is_running():
            raise AssertionError("'%s' ended\n%s" % (self.process.name, self.process.tail()))
        return listens(self.address)


def haproxy(case, to, server="", backend=""):
    """server: more words for the server line; backend: more lines for the section."""
    clients.need("haproxy")
    proxy = Proxy(case, "haproxy", """
global
    log stderr format raw local0
    maxconn 200
    stats socket @FOLDER@/stats mode 600
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:@PORT@
    default_backend csrd
backend csrd
    %s
    server one %s:%d %s
""" % ("\n    ".join(backend.splitlines()), *to, server), [clients.find("haproxy"), "-db", "-f"])
    harness.wait_for("HAProxy's own socket", (proxy.folder / "stats").exists)
    return proxy


def haproxy_row(proxy, section, server):
    """What HAProxy knows of a server, by name."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(proxy.folder / "stats"))
        asked.sendall(b"show stat\n")
        answer = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
    lines = answer.splitlines()
    names = lines[0].lstrip("# ").split(",")
    return next(dict(zip(names, line.split(","))) for line in lines[1:] if line.startswith("%s,%s," % (section, server)))


def haproxy_state(proxy):
    """What HAProxy thinks of its server: UP, DOWN, "no check"; and the reason of its last check."""
    row = haproxy_row(proxy, "csrd", "one")
    return row["status"], row["check_status"] + " " + row["check_code"]


def nginx(case, to, keepalive="", location=""):
    """Requests are passed on as they come, over connections that are kept.  keepalive: lines for the upstream;
    location: more lines for the location."""
    clients.need("nginx")
    return Proxy(case, "nginx", NGINX_HEAD + """    upstream csrd {
        server %s:%d;
        keepalive 32;
        %s
    }
    server {
        listen 127.0.0.1:@PORT@;
        location / {
            proxy_pass http://csrd;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            %s
        }
    }
}
""" % (*to, keepalive, location), [clients.find("nginx"), "-c"])
