"""[metrics] listen: what csrd shows to a monitoring system, and the rules in doc/monitoring that read it (F326, F330 to F339)."""
# run: seconds=20
import json
import os
import re
import signal
import socket
import ssl
import time
import unittest

import harness
import pki

MONITORING = harness.ROOT / "doc" / "monitoring"
SAMPLE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
METRIC = re.compile(r"\b(?:csrd|process)_[a-z_]+\b")
DAY = 86400


class Page:
    """A page of figures: {(name, labels as sorted pairs): value}."""

    def __init__(self, text):
        self.text = text
        self.types = dict(re.findall(r"(?m)^# TYPE (\w+) (\w+)$", text))
        self.samples = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = SAMPLE.match(line).groups()
                key = (name, tuple(sorted(LABEL.findall(labels or ""))))
                assert key not in self.samples, "twice: %s" % line
                self.samples[key] = float(value)

    def value(self, name, **labels):
        """The sum of the samples that have those labels, and perhaps others; None: there is none."""
        found = [value for (other, pairs), value in self.samples.items()
                 if other == name and set(labels.items()) <= set(pairs)]
        return sum(found) if found else None

    def family(self, name):
        """The metric that a sample belongs to."""
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        return base if self.types.get(base) == "histogram" else name


def start(case, settings=None):
    settings = settings or {}
    settings.setdefault("metrics", {}).setdefault("listen", "127.0.0.1:0")
    return case.service(settings=settings).start()


def start_with_tls(case, settings=None, days=90, clients=False):
    """clients: it asks for certificates of clients, too."""
    certificate, key = harness.make_certificate(case.folder, days=days)
    tls = {"listen_tls": "127.0.0.1:0", "tls_certificate": certificate, "tls_key": key}
    if clients:
        ca = pki.Ca(case.folder, "clients")
        ca.crl()
        tls.update(tls_client_certificate="optional", tls_client_ca=ca.certificate, tls_client_crl=ca.folder / "crl.pem")
    return start(case, {**(settings or {}), "http": tls})


def metrics_address(service):
    match = service.csrd.wait_log(r"figures for monitoring are shown at 'http://127\.0\.0\.1:(\d+)/metrics'")
    return "127.0.0.1", int(match.group(1))


def scrape(service, timeout=harness.PATIENCE):
    answer = harness.http_request(metrics_address(service), "GET", "/metrics", timeout=timeout, is_api=False)
    assert answer.status == 200, answer
    return Page(answer.body.decode())


def wait_page(service, what, condition):
    """The first page for which the condition holds."""
    def look():
        page = scrape(service)
        return page if condition(page) else None
    return harness.wait_for(what, look, seconds=harness.PATIENCE * 2)


class DoorTest(harness.Case):
    def test_the_page_is_what_prometheus_takes(self):
        """F330"""
        service = start(self)
        service.create()
        for method in ("GET", "HEAD"):
            answer = harness.http_request(metrics_address(service), method, "/metrics?name=x", is_api=False)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        done = harness.run(["promtool", "check", "metrics"], input=scrape(service).text)
        self.assertEqual(done.stdout + done.stderr, "")
        service.stop()

    def test_nothing_else_is_there(self):
        """F330"""
        service = start(self)
        door = metrics_address(service)
        for path in ("/", "/metrics/", "/healthz", "/client/v4/user/tokens/verify"):
            self.assertEqual(harness.http_request(door, "GET", path, is_api=False).status, 404, path)
        answer = harness.http_request(door, "POST", "/metrics", b"x", is_api=False)
        self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD"))
        self.assertEqual(harness.http_request(door, "GET", "/metrics", headers={"X": "y" * 20000}, is_api=False).status,
                         431)
        self.assertEqual(harness.http_request(service.address, "GET", "/metrics").status, 404)
        service.stop()

    def test_not_configured_it_is_not_there(self):
        """F330"""
        service = self.service().start()
        self.assertNotIn("figures for monitoring", service.csrd.log())
        self.assertEqual(harness.http_request(service.address, "GET", "/metrics").status, 404)
        service.stop()

    def test_it_shows_a_full_front_door(self):
        """F331: the front door has no room, and the figures say so; an idle reader of them does not keep others out."""
        service = start(self, {"http": {"max_connections": 2}})
        door = metrics_address(service)
        idle = [harness.socket.create_connection(door) for _ in range(20)]
        self.addCleanup(lambda: [connection.close() for connection in idle])
        front = [harness.socket.create_connection(service.address) for _ in range(6)]
        self.addCleanup(lambda: [connection.close() for connection in front])
        page = wait_page(service, "connections closed to make room",
                         lambda page: page.value("csrd_http_connections_evicted_total") >= 4)
        self.assertEqual(page.value("csrd_http_connections_max"), 2)
        self.assertLessEqual(page.value("csrd_http_connections"), 2)
        self.assertGreaterEqual(page.value("csrd_http_connections_accepted_total"), 6)

    def test_an_address_that_is_taken(self):
        """F332"""
        taken = harness.socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        service = self.service(settings={"metrics": {"listen": "127.0.0.1:%d" % taken.getsockname()[1]}})
        csrd = service.start_csrd(wait=False)
        self.assertEqual(csrd.wait(), 73)
        self.assertIn("cannot listen on '127.0.0.1:%d': another process has it" % taken.getsockname()[1], csrd.log())


class FiguresTest(harness.Case):
    maxDiff = None

    def test_requests_are_counted(self):
        """F333"""
        service = start(self)
        made = service.create(key_type="p256v1").result["id"]
        service.create(key_type="p256v1", country="?")
        path = "/client/v4/accounts/%s/custom_csrs" % service.account
        bearer = {"Authorization": "Bearer " + service.token}
        for _ in range(3):
            self.assertEqual(harness.http_request(service.address, "GET", path, headers=bearer).status, 200)
        self.assertEqual(harness.http_request(service.address, "HEAD", path + "/" + made, headers=bearer).status, 200)
        other = {"Authorization": "Bearer " + service.token[::-1]}
        self.assertEqual(harness.http_request(service.address, "GET", path, headers=other).status, 401)
        self.assertEqual(harness.http_request(service.address, "DELETE", path + "/" + made,
                                              headers=bearer).status, 200)
        page = scrape(service)
        collection, one = "/{scope}/custom_csrs", "/{scope}/custom_csrs/{csr}"
        for route, method, code, count in ((collection, "POST", "201", 1), (collection, "POST", "400", 1),
                                           (collection, "GET", "200", 3), (collection, "GET", "401", 1),
                                           (one, "HEAD", "200", 1), (one, "DELETE", "200", 1),
                                           (collection, "POST", "503", 0)):
            self.assertEqual(page.value("csrd_http_requests_total", route=route, method=method, code=code), count,
                             (route, method, code))
        self.assertEqual(page.value("csrd_http_request_duration_seconds_count", route=collection, method="POST"), 2)
        self.assertEqual(page.value("csrd_auth_duration_seconds_count"), 8)
        self.assertEqual(page.value("csrd_signer_create_duration_seconds_count", key_type="p256v1"), 1)
        self.assertGreater(page.value("csrd_signer_create_duration_seconds_sum", key_type="p256v1"), 0)
        self.assertEqual(page.value("csrd_signer_destroy_duration_seconds_count"), 1)
        self.assertEqual(page.value("csrd_signer_calls_total", call="create_csr", result="ok"), 1)
        # the create and both ends of the delete, and the lineage that a new store gets
        self.assertGreaterEqual(page.value("csrd_store_operation_duration_seconds_count", kind="write"), 3)
        self.assertGreaterEqual(page.value("csrd_store_commit_duration_seconds_count"), 3)
        self.assertGreaterEqual(page.value("csrd_store_operation_duration_seconds_count", kind="read"), 6)
        service.stop()

    def test_no_caller_can_make_a_series(self):
        """F334: whatever clients send, the labels are those of fixed tables."""
        service = start(self)
        before = wait_page(service, "all that is not of requests", lambda page: page.value("csrd_signer_threads")
                           and page.value("csrd_comparison_checked") is not None)
        for i in range(50):
            for method, path in (("GET", "/x%d" % i), ("M%d" % i, "/healthz"), ("GET", "/accounts/%032x/custom_csrs" % i),
                                 ("GET", "/accounts/%s/custom_csrs/%d" % (service.account, i)),
                                 ("DELETE", "/healthz"), ("GET", "/client/v4/zones/%032x/custom_csrs/y" % i)):
                harness.http_request(service.address, method, path)
        after = scrape(service)
        more = set(after.samples) - set(before.samples)
        self.assertLessEqual(len(more), 10, more)
        for _, labels in more:
            self.assertIn(dict(labels)["method"], {"GET", "DELETE", "other"})
        self.assertEqual(after.value("csrd_http_requests_total", route="none", code="404"), 50)
        self.assertNotIn(service.account, after.text)
        service.stop()

    def test_handshakes_are_counted(self):
        """F326: by how they end; the end of the certificate is that of the one in use, also after a renewal."""
        service = start_with_tls(self, days=90)
        door = ("127.0.0.1", int(service.csrd.wait_log(r"listening on '127\.0\.0\.1:(\d+)' with TLS").group(1)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def visit(version, session=None):
            context.maximum_version = version
            with context.wrap_socket(socket.create_connection(door, timeout=harness.PATIENCE), session=session) as tls:
                tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertTrue(tls.recv(1000))
                return tls.session

        def count(page):
            return [page.value("csrd_tls_handshakes_total", result=result, version=version)
                    for result, version in (("full", "1.2"), ("full", "1.3"), ("resumed", "1.2"), ("resumed", "1.3"),
                                            ("failed", "none"), ("timeout", "none"))]
        self.assertEqual(count(scrape(service)), [0] * 6)
        for version, resumed in ((ssl.TLSVersion.TLSv1_2, 2), (ssl.TLSVersion.TLSv1_3, 1)):
            session = visit(version)
            for _ in range(resumed):
                visit(version, session)
        with socket.create_connection(door, timeout=harness.PATIENCE) as raw:
            raw.sendall(b"\x00garbage that is no hello")
        harness.http_request(door, "GET", "/healthz")  # no handshake at all
        page = wait_page(service, "a handshake that failed", lambda page: count(page)[4] > 0)
        self.assertEqual(count(page), [1, 1, 2, 1, 1, 0])
        self.assertAlmostEqual(page.value("csrd_tls_certificate_expiry_timestamp_seconds"), time.time() + 90 * DAY, delta=DAY)
        harness.make_certificate(self.folder, days=10)
        service.csrd.signal(signal.SIGHUP)
        wait_page(service, "the end of the new certificate", lambda page: page.value(
            "csrd_tls_certificate_expiry_timestamp_seconds") < time.time() + 11 * DAY)
        service.stop()

    def test_without_tls_there_are_no_figures_of_it(self):
        """F326"""
        service = start(self)
        self.assertNotIn("csrd_tls_", scrape(service).text)
        service.stop()

    def test_every_figure_is_explained(self):
        """F335: doc/monitoring/README.md has each figure that csrd shows, with its type and labels, and no other."""
        service = start_with_tls(self, {"token default": {"pool_p256v1": 1}}, clients=True)
        service.create()
        page = wait_page(service, "figures of every kind", lambda page: page.value("csrd_comparison_checked") is not None
                         and page.value("csrd_signer_threads") and page.value("csrd_pool_ready_keys") is not None)
        shown = {}
        for name, labels in page.samples:
            family = page.family(name)
            shown.setdefault(family, set()).update(key for key, _ in labels if key != "le")
        self.assertEqual(set(page.types), set(shown), "a metric without a sample")
        explained = {}
        for row in (MONITORING / "README.md").read_text(encoding="utf-8").splitlines():
            match = re.match(r"\| `((?:csrd|process)_\w+)` \| (\w+) \| (.*?) \| ", row)
            if match:
                explained[match.group(1)] = (match.group(2), set(re.findall(r"`(\w+)`", match.group(3))))
        self.assertEqual(explained, {name: (page.types[name], labels) for name, labels in shown.items()})
        service.stop()


class RulesTest(harness.Case):
    """doc/monitoring/alerts.yml, on the figures of a real csrd."""
    maxDiff = None

    def firing(self, page, expected):
        """promtool says that exactly those alerts fire if the figures stay as they are on this page for three hours."""
        series = [{"series": "%s{%s}" % (name, ",".join("%s=%s" % (key, json.dumps(value)) for key, value in labels)),
                   "values": "%sx180" % json.dumps(value)} for (name, labels), value in page.samples.items()]
        test = {"rule_files": [str(MONITORING / "alerts.yml")], "evaluation_interval": "1m", "tests": [{
            "interval": "1m", "input_series": series, "promql_expr_test": [{
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "170m",
                "exp_samples": [{"labels": '{alertname="%s"}' % name, "value": 1} for name in expected]}]}]}
        path = self.folder / "rules_test.json"  # JSON is YAML
        path.write_text(json.dumps(test), encoding="utf-8")
        harness.run(["promtool", "test", "rules", path])

    def test_the_rules_and_their_own_tests(self):
        """F336"""
        harness.run(["promtool", "check", "rules", MONITORING / "alerts.yml"])
        harness.run(["promtool", "test", "rules", MONITORING / "alerts_test.yml"])
        rules = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
        tests = (MONITORING / "alerts_test.yml").read_text(encoding="utf-8")
        for alert in re.findall(r"- alert: (\w+)", rules):
            self.assertIn('alertname="%s"' % alert, tests)

    def test_rules_and_dashboard_name_figures_that_exist(self):
        """F336: and only those."""
        service = start_with_tls(self, clients=True)
        known = set(scrape(service).types)
        service.stop()
        dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
        self.assertGreater(len(dashboard["panels"]), 10)
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        expressions.append((MONITORING / "alerts.yml").read_text(encoding="utf-8"))
        for expression in expressions:
            for name in METRIC.findall(expression):
                self.assertIn(re.sub(r"_(bucket|sum|count)$", "", name), known)

    def test_a_signer_that_is_stopped(self):
        """F337: the figures say so, at once and without waiting for it, and the alert fires; then all is well again."""
        service = start(self)
        self.firing(wait_page(service, "a usable token", lambda page: page.value("csrd_token_usable")), [])
        service.hsm.terminate()
        page = wait_page(service, "the signer down", lambda page: page.value("csrd_signer_up") == 0)
        self.assertEqual(page.value("csrd_token_usable"), 0)
        self.assertIsNone(page.value("csrd_signer_threads"), "nobody knows what a signer does that is away")
        self.firing(page, ["CsrdSignerDown"])
        service.start_hsm()
        page = wait_page(service, "the signer up", lambda page: page.value("csrd_token_usable") == 1)
        self.assertEqual(page.value("csrd_signer_links_total"), 2)
        self.firing(page, [])
        service.stop()

    def test_a_signer_that_hangs(self):
        """F337: a page is made without it, and after a while says that it is of no use."""
        service = start(self)
        wait_page(service, "a usable token", lambda page: page.value("csrd_token_usable"))
        os.kill(service.hsm.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            scrape(service)
            self.assertLess(time.monotonic() - began, 2)
            page = wait_page(service, "a token of no use", lambda page: page.value("csrd_token_usable") == 0)
        finally:
            os.kill(service.hsm.pid, signal.SIGCONT)
        self.assertEqual(page.value("csrd_signer_up"), 1)
        self.firing(page, ["CsrdTokenNotUsable"])
        service.stop()

    def test_a_key_that_is_gone(self):
        """F338"""
        service = start(self)
        self.assertEqual(service.create(key_type="p256v1").status, 201)
        for label in service.p11.labels():
            service.p11.tool("--delete-object", "--type", "privkey", "--label", label)
        service.stop()
        service.start()
        page = wait_page(service, "the comparison", lambda page: page.value("csrd_comparison_checked"))
        self.assertEqual(page.value("csrd_comparison_findings", finding="missing"), 1)
        self.firing(page, ["CsrdKeysMissing"])
        service.stop()

    def test_a_reload_that_is_refused(self):
        """F339"""
        service = start(self)
        good = service.config_path.read_text(encoding="utf-8")
        service.config_path.write_text(good + "[nonsense]\n", encoding="utf-8")
        service.csrd.signal(signal.SIGHUP)
        page = wait_page(service, "a reload refused", lambda page: page.value("csrd_config_last_reload_successful") == 0)
        self.firing(page, ["CsrdReloadRefused"])
        service.config_path.write_text(good, encoding="utf-8")
        service.csrd.signal(signal.SIGHUP)
        wait_page(service, "a reload", lambda page: page.value("csrd_config_last_reload_successful") == 1)
        service.stop()


if __name__ == "__main__":
    unittest.main()
