"""Who the caller is, without a secret: client certificates and users of this machine."""
# run: waits seconds=30
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import tempfile
import time
import unittest
import urllib.request

import harness
import pki

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


class IdentityCase(harness.Case):
    """A CA of clients, and csrd with a door for TLS that asks for its certificates."""

    def tls_service(self, asks, crl=False, settings=None, start=True, more=None):
        certificate, key = harness.make_certificate(self.folder)
        self.ca = pki.Ca(self.folder, "clients")
        self.ca_file, self.crl_file = self.folder / "clients.crt", self.folder / "clients.crl"
        self.ca_file.write_bytes(self.ca.certificate.read_bytes())
        values = {"listen_tls": "127.0.0.1:0", "tls_certificate": certificate, "tls_key": key,
                  "tls_client_certificate": asks, "tls_client_ca": self.ca_file}
        if crl:
            self.crl_file.write_bytes(self.ca.crl())
            values["tls_client_crl"] = self.crl_file
        values.update(settings or {})
        service = self.service(settings={"http": values, **(more or {})})
        self.server_certificate = certificate
        if start:
            service.start_hsm()
            self.start_csrd(service)
            service.wait_ready()
        return service

    def replace_crl(self, service, crl):
        """As a cron job does it; csrd takes it at once."""
        fresh = self.crl_file.with_suffix(".fresh")
        fresh.write_bytes(crl)
        fresh.rename(self.crl_file)
        before = service.csrd.log().count("is in use, valid until")
        service.csrd.signal(signal.SIGHUP)
        harness.wait_for("the reload", lambda: service.csrd.log().count("is in use, valid until") > before)

    def start_csrd(self, service):
        service.start_csrd()
        match = service.csrd.wait_log(r"listening on '127\.0\.0\.1:(\d+)' with TLS")
        self.door = ("127.0.0.1", int(match.group(1)))

    def context(self, pair=None, **options):
        context = ssl.create_default_context(cafile=str(self.server_certificate))
        if pair:
            context.load_cert_chain(*map(str, pair))
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def connect(self, context, session=None):
        raw = socket.create_connection(self.door, timeout=harness.PATIENCE)
        return context.wrap_socket(raw, server_hostname="localhost", session=session)

    def read_head(self, tls):
        """The status of the answer, whose body is read too."""
        response = http.client.HTTPResponse(tls)
        response.begin()
        response.read()
        return response.status

    def try_with(self, pair=None, **options):
        """The status of a small request, or the reason of the alert; "CLOSED" when its certificate ended in between.  The
        request follows the certificate at once."""
        try:
            with self.connect(self.context(pair, **options)) as tls:
                tls.sendall(REQUEST)
                return self.read_head(tls)
        except http.client.RemoteDisconnected:
            return "CLOSED"
        except ssl.SSLError as error:
            return re.sub(r"^TLSV1(_ALERT|3_ALERT)?_|^SSLV3_ALERT_", "", error.reason)

    def ask(self, method, path, pair=None, body=None, headers=None):
        connection = http.client.HTTPSConnection("localhost", self.door[1], context=self.context(pair), timeout=harness.PATIENCE)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body)
            headers["Content-Type"] = "application/json"
        connection.request(method, "/client/v4" + path, body, headers)
        response = connection.getresponse()
        answer = harness.Answer(response.status, response.headers, response.read())
        connection.close()
        return answer


class HandshakeTest(IdentityCase):
    def test_bad_certificates(self):
        """F25: expired, not yet valid, of another CA, self-signed, for servers, out of a CA's names, revoked, or none."""
        service = self.tls_service("required", crl=True)
        other = pki.Ca(self.folder, "other")
        middle = pki.Ca(self.folder, "middle", parent=self.ca)
        bound = pki.Ca(self.folder, "bound", parent=self.ca, constraints="permitted;DNS:good.example")
        revoked = self.ca.issue("revoked")
        revoked_ca = pki.Ca(self.folder, "revoked-ca", parent=self.ca)
        under_revoked = revoked_ca.issue("under")
        self.ca.revoke(revoked[0])
        self.ca.revoke(revoked_ca.certificate)
        self.replace_crl(service, self.ca.crl() + middle.crl() + bound.crl() + revoked_ca.crl())
        harness.make_certificate(self.folder, "own")
        cases = [
            (self.ca.issue("good"), 200, None),
            (middle.issue("below"), 200, None),
            (bound.issue("inside", san="DNS:a.good.example"), 200, None),
            (bound.issue("outside", san="DNS:a.bad.example"), "CERTIFICATE_UNKNOWN|BAD_CERTIFICATE|UNKNOWN_CA",
             "permitted subtree violation: subject 'CN=outside,O=Test', serial 1001, issuer 'CN=bound,O=Test'"),
            (self.ca.issue("expired", start=-3, end=-1), "CERTIFICATE_EXPIRED", "certificate has expired: subject 'CN=expired"),
            (self.ca.issue("early", start=1), "BAD_CERTIFICATE", "certificate is not yet valid: subject 'CN=early"),
            (other.issue("other"), "UNKNOWN_CA", "unable to .*: subject 'CN=other"),
            ((self.folder / "own.crt", self.folder / "own.key"), "UNKNOWN_CA", "self-signed certificate: subject 'CN=own"),
            (self.ca.issue("server", usage="serverAuth"), "UNSUPPORTED_CERTIFICATE",
             "uns.* certificate purpose: subject 'CN=server"),
            (revoked, "CERTIFICATE_REVOKED", "certificate revoked: subject 'CN=revoked"),
            (under_revoked, "CERTIFICATE_REVOKED", r"certificate revoked \(the CA 'CN=revoked-ca,O=Test'\): subject 'CN=under"),
            (None, "(TLSV13_ALERT_)?CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE",
             r"it has none, and \[http\] tls_client_certificate is required"),
        ]
        for versions in ({}, {"maximum_version": ssl.TLSVersion.TLSv1_2}):
            for pair, expected, logged in cases:
                with self.subTest(expected=expected, logged=logged, versions=versions):
                    self.assertRegex(str(self.try_with(pair, **versions)), "^(%s)$" % expected)
                    if logged:
                        service.csrd.wait_log(r"client certificate of '127\.0\.0\.1:\d+' refused: " + logged)
        # Every case is in the log at debug; at notice one in five seconds.
        self.assertLess(len(re.findall("notice: client certificate of", service.csrd.log())), 10)
        done = harness.run(["openssl", "s_client", "-connect", "%s:%d" % self.door, "-ign_eof", "-cert", revoked[0], "-key", revoked[1]],
                           input="GET /healthz HTTP/1.0\n\n", check=False)
        self.assertRegex(done.stdout + done.stderr, "alert certificate revoked|alert number 44")
        done = harness.run(["curl", "-sS", "--cacert", self.server_certificate, "--cert", cases[0][0][0], "--key", cases[0][0][1],
                            "-o", "/dev/null", "-w", "%{http_code}", "https://localhost:%d/healthz" % self.door[1]])
        self.assertEqual(done.stdout, "200")
        service.stop()

    def test_a_ca_beside_its_issuer(self):
        """F25: both in tls_client_ca, with CRLs that do not tell their keys, and an older CRL left in the file."""
        service = self.tls_service("required", crl=True)
        middle = pki.Ca(self.folder, "middle", parent=self.ca)
        good, revoked, above = middle.issue("good"), middle.issue("revoked"), self.ca.issue("above")
        old = middle.crl(seconds=1)
        middle.revoke(revoked[0])
        self.ca_file.write_bytes(self.ca.certificate.read_bytes() + middle.certificate.read_bytes())
        self.replace_crl(service, old + self.ca.crl() + middle.crl())
        for pair, expected in ((good, "200"), (above, "200"), (revoked, "CERTIFICATE_REVOKED")):
            with self.subTest(expected=expected):
                self.assertEqual(str(self.try_with(pair)), expected)
        self.assertNotIn("CRL of", "".join(re.findall(".*error: .*", service.csrd.log())))
        service.stop()

    def test_revoked_meanwhile(self):
        """F345: no session is resumed where certificates are asked for; a connection ends when its certificate does."""
        service = self.tls_service("optional", crl=True)
        good, revoked = self.ca.issue("good"), self.ca.issue("revoked")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context, session = self.context(good, maximum_version=version), None
            for _ in range(2):
                with self.connect(context, session) as tls:
                    tls.sendall(REQUEST)
                    self.assertEqual(self.read_head(tls), 200)
                    self.assertFalse(tls.session_reused)
                    session = tls.session
        stays, goes, shows_none = (self.connect(self.context(pair)) for pair in (good, revoked, None))
        for tls in (stays, goes, shows_none):
            tls.sendall(REQUEST)
            self.assertEqual(self.read_head(tls), 200)
        self.ca.revoke(revoked[0])
        self.replace_crl(service, self.ca.crl())
        for tls in (stays, shows_none):
            tls.sendall(REQUEST)
            self.assertEqual(self.read_head(tls), 200)
        goes.sendall(REQUEST)
        self.assertEqual(goes.recv(100), b"")
        service.csrd.wait_log("client certificate of '127.*' refused: not good any more, its connection is closed: certificate "
                              "revoked: subject 'CN=revoked")
        # Another CA in place of the first: what was good is not.
        other = pki.Ca(self.folder, "other")
        self.ca_file.write_bytes(other.certificate.read_bytes())
        self.replace_crl(service, other.crl())
        stays.sendall(REQUEST)
        self.assertEqual(stays.recv(100), b"")
        self.assertEqual(self.try_with(good), "UNKNOWN_CA")
        self.assertEqual(self.try_with(other.issue("fresh")), 200)
        for tls in (stays, goes, shows_none):
            tls.close()
        service.stop()

    def test_crl_that_ends(self):
        """F346: a CRL that has expired refuses all; the log, doctor and the figures say so; a new one mends it."""
        service = self.tls_service("optional", crl=True, settings={"credentials": "any"}, more={"metrics": {"listen": "127.0.0.1:0"}})
        good = self.ca.issue("good")
        self.assertEqual(self.try_with(good), 200)
        match = service.csrd.wait_log(r"figures for monitoring are shown at 'http://127\.0\.0\.1:(\d+)/metrics'")
        figures = ("127.0.0.1", int(match.group(1)))
        self.crl_file.write_bytes(self.ca.crl(seconds=1))
        harness.wait_for("the end of the CRL", lambda: self.try_with(good) != 200, every=0.2)
        self.assertEqual(self.try_with(good), "CERTIFICATE_EXPIRED")
        self.assertEqual(self.try_with(None), 200)
        service.csrd.wait_log("CRL has expired: subject 'CN=good")
        service.csrd.wait_log("the CRL of 'CN=clients,O=Test' has expired: all its certificates are refused until")
        with urllib.request.urlopen("http://%s:%d/metrics" % figures, timeout=harness.PATIENCE) as page:
            text = page.read().decode()
        end = int(re.search(r"^csrd_tls_client_crl_expiry_timestamp_seconds (\d+)$", text, re.M).group(1))
        self.assertLess(abs(end - time.time()), 300)
        self.assertRegex(text, r'csrd_tls_handshakes_total\{result="refused",version="none"\} [1-9]')
        self.assertRegex(text, r"(?m)^csrd_tls_client_ca_expiry_timestamp_seconds \d+$")

        def findings():
            report = json.loads(service.csrctl("doctor", check=False).stdout)
            return [check for check in report["checks"] if check["name"] == "tls-clients"]
        self.assertEqual(findings()[0]["status"], "fail", findings())
        self.assertIn("CRL", str(findings()))
        self.replace_crl(service, self.ca.crl())
        self.assertEqual(self.try_with(good), 200)
        self.assertEqual(findings()[0]["status"], "ok", findings())
        service.stop()


class FilesTest(IdentityCase):
    def test_refused_at_start(self):
        """F347: files of CAs and CRLs that are missing, empty, no CA's, or do not fit are named, with a remedy."""
        service = self.tls_service("required", crl=True, start=False)
        leaf, key = self.ca.issue("leaf")
        namesake = pki.Ca(self.folder / "s", "clients")  # the same name, another key
        other = pki.Ca(self.folder, "other")
        two = self.folder / "two.crt"
        two.write_bytes(self.ca.certificate.read_bytes() + other.certificate.read_bytes())
        wrong_crl = self.folder / "wrong.crl"
        wrong_crl.write_bytes(namesake.crl())
        namesakes = self.folder / "namesakes.crt"
        namesakes.write_bytes(self.ca.certificate.read_bytes() + namesake.certificate.read_bytes())
        two_keys = self.folder / "two-keys.crl"
        two_keys.write_bytes(self.ca.crl() + namesake.crl())
        middle = pki.Ca(self.folder, "middle", parent=self.ca)
        chain = self.folder / "chain.crt"
        chain.write_bytes(self.ca.certificate.read_bytes() + middle.certificate.read_bytes())
        self.ca.revoke(middle.certificate)
        without_middle = self.folder / "without-middle.crl"
        without_middle.write_bytes(self.ca.crl() + middle.crl())
        damaged = self.folder / "damaged.crl"
        damaged.write_bytes(self.ca.crl().replace(b"\nM", b"\n*", 1))
        for values, pattern in (
                ({"tls_client_ca": self.folder / "none"}, r"tls_client_ca '.*none': cannot open: No such file"),
                ({"tls_client_ca": key}, r"tls_client_ca '.*': holds no certificate; PEM is accepted"),
                ({"tls_client_ca": leaf}, r"tls_client_ca '.*': 'CN=leaf,O=Test' is not the certificate of a CA"),
                ({"tls_client_crl": self.ca_file}, r"tls_client_crl '.*': holds no CRL; PEM is accepted"),
                ({"tls_client_crl": damaged}, r"tls_client_crl '.*': is damaged; PEM is accepted"),
                ({"tls_client_crl": wrong_crl}, r"tls_client_crl '.*': 'CN=clients,O=Test' did not sign the CRL of its name"),
                ({"tls_client_ca": two}, r"tls_client_crl '.*': 'CN=other,O=Test' of tls_client_ca has no CRL there"),
                ({"tls_client_ca": namesakes}, r"tls_client_crl '.*': 'CN=clients,O=Test' of tls_client_ca has no CRL there"),
                ({"tls_client_ca": namesakes, "tls_client_crl": two_keys},
                 r"tls_client_crl '.*': 'CN=clients,O=Test' has CRLs of two keys"),
                ({"tls_client_ca": chain, "tls_client_crl": without_middle},
                 r"tls_client_crl '.*': 'CN=middle,O=Test' of tls_client_ca is revoked; remove it"),
        ):
            saved = dict(service.settings["http"])
            service.settings["http"].update(values)
            service.write_config()
            with self.subTest(pattern):
                csrd = service.start_csrd(wait=False)
                self.assertEqual(csrd.wait(), 78, csrd.tail())
                self.assertRegex(csrd.log(), "cannot serve TLS: .*" + pattern)
            service.settings["http"] = saved

    def test_config_check(self):
        """F347: keys that contradict each other."""
        service = self.tls_service("required", start=False)
        self.check_refuses(service, "http", (
                ({"tls_client_ca": None}, r"tls_client_certificate: needs tls_client_ca"),
                ({"tls_client_certificate": None}, r"tls_client_ca: is not used while tls_client_certificate is none"),
                ({"tls_client_certificate": None, "tls_client_ca": None, "tls_client_crl": "/x"}, "tls_client_crl: is not used without"),
                ({"tls_client_certificate": "yes"}, "'yes' is not accepted, it must be none, optional or required"),
                ({"tls_client_certificate": None, "tls_client_ca": None, "credentials": "both"}, "credentials: both: nobody could call"),
        ))


class NamesTest(IdentityCase):
    def verify(self, pair, headers=None):
        return self.ask("GET", "/user/tokens/verify", pair, headers=headers)

    def test_names(self):
        """F348: which names count; two principals' names, none, one with a NUL in it, too many; a subject without them."""
        service = self.tls_service("optional")
        grant = ["--account", service.account + ":read"]

        def add(name, *identity):
            return service.csrctl("principal", "add", "--name", name, *identity, *grant)["id"]
        ids = {
            "spiffe": add("spiffe", "--cert-san", "uri:SPIFFE://Example.ORG/Build"),
            "dns": add("dns", "--cert-san", "dns:Build.Example.org", "--cert-san", "dns:other.example.org"),
            "email": add("email", "--cert-san", "email:Build@Example.ORG"),
            "subject": add("subject", "--cert-subject", r"cn = Build  7 , OU=a\,b\2Bc,O=Example  AB,C=SE"),
        }
        subject = "/C=SE/O=Example AB/OU=a,b\\+c/CN=build 7"
        cases = (
            ("uri", dict(san="URI:spiffe://example.org/Build"), ids["spiffe"]),
            ("path", dict(san="URI:spiffe://example.org/build"), "no principal that may act now is known by uri:spiffe://example.org/build"),
            ("dns", dict(san="DNS:BUILD.example.org"), ids["dns"]),
            ("two-of-one", dict(san="DNS:other.example.org,DNS:build.example.org,DNS:unknown.example"), ids["dns"]),
            ("wild", dict(san="DNS:*.example.org"), "neither a subject alternative name"),
            ("email", dict(san="email:Build@example.org"), ids["email"]),
            ("local", dict(san="email:build@example.org"), "known by email:build@example.org"),
            ("ip", dict(san="IP:127.0.0.1", subject=subject), ids["subject"]),
            ("subject", dict(subject=subject), ids["subject"]),
            ("shadowed", dict(subject=subject, san="DNS:unknown.example"), "known by dns:unknown.example"),
            ("short", dict(subject="/C=SE/O=Example AB/CN=build 7"), "known by subject:cn=build 7,o=example ab,c=se"),
            ("two", dict(san="URI:spiffe://example.org/Build,DNS:build.example.org"), "two principals have names of uri:"),
            ("nul", dict(san="DER:30:0B:82:09" + "".join(":%02X" % c for c in b"dns\0.com.")), "with a NUL in it"),
            ("many", dict(san="DNS:build.example.org," + ",".join("DNS:h%d.example" % i for i in range(16))), "more than 16"),
        )
        for name, how, expected in cases:
            with self.subTest(name):
                answer = self.verify(self.ca.issue(name, **how))
                if answer.status == 200:
                    self.assertEqual(answer.result["id"], expected)
                else:
                    self.assertEqual((answer.status, answer.codes), (401, [1000]))
                    self.assertIn(str(expected), answer.json["errors"][0]["message"])
        service.csrd.wait_log(r"credential refused from '127\.0\.0\.1:\d+' with uri:spiffe://example.org/build \(certificate [0-9A-F]+\): unknown")
        self.assertEqual(self.verify(None).codes, [1402])
        # The token of the request wins, good or bad, whatever the certificate says.
        spiffe = self.ca.issue("again", san="URI:spiffe://example.org/Build")
        self.assertNotEqual(self.verify(spiffe, service.bearer()).result["id"], ids["spiffe"])
        for headers in ({"Authorization": "Bearer csrd_wrong"}, {"Authorization": ""}, {"X-Auth-Email": service.email, "X-Auth-Key": "x"}):
            self.assertEqual(self.verify(spiffe, headers).codes, [1000])
        self.assertEqual(self.verify(spiffe, {"X-Auth-Email": service.email}).codes, [1402])
        # The ends of a principal, and of an identity.
        service.csrctl("principal", "unbind", "dns", "--cert-san", "dns:build.example.org")
        self.assertEqual(self.verify((self.ca.folder / "dns.crt", self.ca.folder / "dns.key")).status, 401)
        self.assertEqual(self.verify((self.ca.folder / "two-of-one.crt", self.ca.folder / "two-of-one.key")).status, 200)
        service.csrctl("principal", "revoke", "spiffe")
        self.assertEqual(self.verify(spiffe).status, 401)
        service.csrd.wait_log("by principal 'spiffe' .*: 401")
        service.csrctl("principal", "bind", "email", "--cert-san", "uri:spiffe://example.org/Build")
        self.assertEqual(self.verify(spiffe).result["id"], ids["email"])
        add("late", "--cert-san", "dns:late.example", "--not-before", "2099-01-01")
        add("over", "--cert-san", "dns:over.example", "--expires", "1s")
        self.assertEqual(self.verify(self.ca.issue("late", san="DNS:late.example")).status, 401)
        service.csrd.wait_log("by principal 'late' .*: 401")
        over = self.ca.issue("over", san="DNS:over.example")
        harness.wait_for("the end of the principal", lambda: self.verify(over).status == 401, every=0.2)
        service.stop()

    def test_callers_and_their_csrs(self):
        """F349: a certificate makes, reads and deletes CSRs; never another's; trail and log say by what it was known."""
        service = self.tls_service("optional")
        other = "0" * 32
        service.csrctl("account", "add", other)
        service.csrctl("principal", "add", "--name", "one", "--cert-san", "uri:spiffe://a/one", "--account", service.account + ":write")
        service.csrctl("principal", "add", "--name", "two", "--cert-san", "uri:spiffe://a/two", "--account", other + ":write")
        one, two = (self.ca.issue(name, san="URI:spiffe://a/" + name) for name in ("one", "two"))
        body = {**harness.SUBJECT, "key_type": "p256v1"}
        path = "/accounts/%s/custom_csrs" % service.account
        made = self.ask("POST", path, one, body)
        self.assertEqual(made.status, 201, made)
        csr = path + "/" + made.result["id"]
        self.assertEqual(self.ask("GET", csr, one).status, 200)
        for method in ("GET", "DELETE"):
            for where in (csr, csr.replace(service.account, other)):
                self.assertEqual(self.ask(method, where, two).codes, [1404 if service.account in where else 1419])
        self.assertEqual(self.ask("GET", path, two).codes, [1404])
        self.assertEqual(self.ask("POST", path, two, body).codes, [1404])
        serial = self.serial(one)
        service.csrd.wait_log(r"POST '.*' from '127\.0\.0\.1:\d+' over TLS by principal 'one' \(.*\) as "
                              r"uri:spiffe://a/one \(certificate %s\): 201" % serial)
        # A browser sends these without asking first; they change nothing.
        for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {}):
            answer = self.ask("POST", path, one, json.dumps(body).encode(), headers)
            self.assertEqual(answer.status, 415, answer)
        # What it asks about first is not allowed.
        for method in ("DELETE", "POST"):
            asked = self.ask("OPTIONS", csr, None, headers={"Origin": "https://evil.example", "Access-Control-Request-Method": method})
            self.assertFalse([name for name in asked.headers if name.lower().startswith("access-control")])
        self.assertEqual(self.ask("DELETE", csr, one).status, 200)
        trail = service.csrctl("audit", "--object", made.result["id"])["records"]
        self.assertEqual(len(trail), 3)
        for record in trail:
            self.assertRegex(record["peer"], r"^127\.0\.0\.1:\d+ as uri:spiffe://a/one \(certificate %s\)$" % serial)
        service.stop()

    def serial(self, pair):
        return harness.run(["openssl", "x509", "-in", pair[0], "-noout", "-serial"]).stdout.strip().split("=")[1]

    def test_both(self):
        """F350: with credentials = both a token counts only beside a certificate that is bound to its principal."""
        service = self.tls_service("optional", settings={"credentials": "both"})
        mine, others = (self.ca.issue(name, san="DNS:%s.example" % name) for name in ("mine", "others"))
        service.csrctl("principal", "add", "--name", "p", "--cert-san", "dns:others.example", "--account", service.account)
        bearer = service.bearer()
        self.assertEqual(self.verify(mine, bearer).status, 401)
        service.csrd.wait_log("token 'test' .*: it came without the client certificate or the user that is bound to it")
        service.csrctl("principal", "bind", "test", "--cert-san", "dns:mine.example")
        self.assertEqual(self.verify(mine, bearer).status, 200)
        for pair, headers, codes in ((others, bearer, [1000]), (None, bearer, [1000]), (mine, {}, [1402]), (others, {}, [1402]),
                                     (None, {}, [1402]), (mine, {"Authorization": "Bearer x"}, [1000])):
            answer = self.verify(pair, headers)
            self.assertEqual(answer.codes, codes, answer)
        wrong, unknown = self.verify(others, bearer), self.verify(others, {"Authorization": "Bearer x"})
        self.assertEqual(wrong.json["errors"], unknown.json["errors"])  # whether the token is good is not told
        self.assertEqual(service.request("GET", "/user/tokens/verify").status, 401)  # over plain HTTP
        service.settings["http"]["credentials"] = "any"
        service.write_config()
        service.csrd.signal(signal.SIGHUP)
        harness.wait_for("the reload", lambda: self.verify(None, bearer).status == 200)
        service.stop()


class UserTest(IdentityCase):
    """Users of this machine, over a unix socket."""

    def curl(self, uid, *arguments):
        command = ["curl", "-s", "--unix-socket", self.path, "-w", "\n%{http_code}", "http://localhost/client/v4/user/tokens/verify",
                   *arguments]
        if uid is not None:
            command = ["setpriv", "--reuid", str(uid), "--clear-groups", "--"] + command
        body, _, status = harness.run(command, check=False).stdout.rpartition("\n")
        return int(status), body

    @unittest.skipIf(os.geteuid() != 0, "only root can be another user")
    def test_users(self):
        """F351: a user is the principal bound to the number; others, and whoever has no number, are refused."""
        sockets = pathlib.Path(tempfile.mkdtemp(prefix="csrd-id-"))
        self.addCleanup(shutil.rmtree, sockets)
        sockets.chmod(0o755)
        self.path = sockets / "api.sock"
        service = self.service(settings={"http": {"listen": "127.0.0.1:0, unix:%s" % self.path}})
        service.start()
        self.path.chmod(0o666)
        grant = ["--account", service.account + ":read"]
        mine = service.csrctl("principal", "add", "--name", "mine", "--unix-user", "7654321", *grant)["id"]
        root = service.csrctl("principal", "add", "--name", "root", "--unix-user", "root", *grant)
        self.assertEqual(root["known_by"], ["unix-user:0"])
        status, body = self.curl(7654321)
        self.assertEqual((status, json.loads(body)["result"]["id"]), (200, mine))
        status, body = self.curl(None)
        self.assertEqual(json.loads(body)["result"]["id"], root["id"])
        status, body = self.curl(7654322)
        self.assertEqual(status, 401)
        self.assertIn("no principal that may act now is known by unix-user:7654322", body)
        status, body = self.curl(65534)
        self.assertEqual(status, 401)
        self.assertIn("a user that this machine has no number for", body)
        status, body = self.curl(7654322, "-H", "Authorization: Bearer " + service.token)
        self.assertNotEqual(json.loads(body)["result"]["id"], mine)
        self.assertEqual(self.curl(7654321, "-H", "Authorization: Bearer x")[0], 401)
        for text, pattern in (("65534", "whoever has no number"), ("no-such-user", "no such user"), ("-1", "no such user"),
                              ("4294967295", "no such user")):
            done = service.csrctl("principal", "bind", "mine", "--unix-user=" + text, check=False)
            self.assertEqual(done.returncode, 64)
            self.assertRegex(done.stderr, pattern)
        service.csrd.wait_log("credential refused from 'unix' with unix-user:7654322: unknown")
        service.stop()

    def test_a_trusted_proxy(self):
        """F351: what a trusted proxy is known by is never its client's, whatever it says of the client or leaves out."""
        sockets = pathlib.Path(tempfile.mkdtemp(prefix="csrd-id-"))
        self.addCleanup(shutil.rmtree, sockets)
        self.path = sockets / "api.sock"
        service = self.service(settings={"http": {"listen": "127.0.0.1:0, unix:%s" % self.path, "trusted_proxies": "unix",
                                                  "forwarded_header": "x-forwarded-for"}})
        service.start()
        service.csrctl("principal", "add", "--name", "proxy", "--unix-user", str(os.geteuid()), "--account",
                       service.account + ":read")
        for fields in ([], ["-H", "X-Forwarded-For: unknown"], ["-H", "X-Forwarded-For: unix:"], ["-H", "X-Forwarded-For;"],
                       ["-H", "X-Forwarded-For: 203.0.113.7"]):
            with self.subTest(fields=fields):
                self.assertIn(self.curl(None, *fields)[0], (400, 401))
        status, _ = self.curl(None, "-H", "X-Forwarded-For: 203.0.113.7", "-H", "Authorization: Bearer " + service.token)
        self.assertEqual(status, 200)
        service.stop()

    def test_csrctl(self):
        """F352: principals are added, bound, shown and listed; mistakes are named, with what is accepted."""
        service = self.service()
        grant = ["--account", service.account + ":read"]
        made = service.csrctl("principal", "add", "--name", "build", "--cert-san", "uri:spiffe://a/b", *grant)
        self.assertNotIn("token", made)
        token = service.csrctl("token", "create", "--name", "two-ways", "--cert-san", "dns:ci.example", *grant)
        self.assertEqual(token["known_by"], ["dns:ci.example"])
        service.csrctl("principal", "bind", "user@example.com", "--cert-san", "email:user@example.com", "--unix-user", "7654321")
        shown = service.csrctl("principal", "show", "user@example.com")
        self.assertEqual((shown["kind"], shown["known_by"]), ("user", ["email:user@example.com", "unix-user:7654321"]))
        listed = service.csrctl("principal", "list")["principals"]
        self.assertEqual({each["kind"] for each in listed}, {"principal", "token", "user"})
        self.assertEqual([each["known_by"] for each in listed if each["kind"] == "principal"], [["uri:spiffe://a/b"]])
        self.assertEqual(service.csrctl("principal", "unbind", made["id"][:8], "--cert-san", "uri:spiffe://a/b")["id"], made["id"])
        trail = service.csrctl("audit", "--object", "build")["records"]
        self.assertEqual([record["action"] for record in trail], ["principal.unbind", "principal.add"])
        self.assertEqual({record["detail"] for record in trail}, {"uri:spiffe://a/b"})
        for arguments, code, pattern in (
                (["add", "--name", "x", *grant], 64, "at least one --cert-san, --cert-subject or --unix-user"),
                (["add", "--name", "x", "--unix-user", "1"], 64, "principal add: at least one --account or --zone"),
                (["add", "--name", "x", "--cert-san", "dns:ci.example", *grant], 1, "bound already"),
                (["bind", "build", "--cert-san", "dns:ci.example"], 1, "is bound already: see 'csrctl principal list'"),
                (["bind", "build"], 64, "--unix-user is missing"),
                (["bind", "build", "--cert-san", "dns:*.example"], 64, "dns:NAME .no wildcard."),
                (["bind", "build", "--cert-san", "ip:127.0.0.1"], 64, "uri:URI, such as"),
                (["bind", "build", "--cert-san", "uri:no-scheme"], 64, "uri:URI, such as"),
                (["bind", "build", "--cert-san", "email:a@b@c"], 64, "email:ADDRESS"),
                (["bind", "build", "--cert-subject", "build"], 64, "an element is not TYPE=VALUE; a subject as of RFC 4514"),
                (["bind", "build", "--cert-subject", "CN=a;b"], 64, "without a backslash"),
                (["bind", "build", "--cert-subject", "CN=#0c0161"], 64, "hexadecimal"),
                (["bind", "build", "--cert-subject", "XX=a"], 64, "type of an attribute is not known"),
                (["bind", "build", "--cert-subject", "C=Sweden"], 64, "too long, or not what its type allows"),
                (["bind", "nobody", "--unix-user", "5"], 1, "is called 'nobody'"),
                (["unbind", "build", "--unix-user", "5"], 1, "is not bound to it"),
        ):
            with self.subTest(arguments):
                done = service.csrctl("principal", *arguments, check=False)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertRegex(done.stderr, pattern)


if __name__ == "__main__":
    unittest.main()
