"""What csrd tells a service manager, by the words of sd_notify(3): ready when it is and not before, why not, reloading,
stopping, and the watchdog that is fed while it gets on with its work (F29, F93); and the sockets that it inherits."""
# run: waits seconds=45
import contextlib
import os
import re
import signal
import socket
import sqlite3
import ssl
import time
import unittest

import harness
import lifecycle_test
import managed
from managed import SLOW, WATCHDOG


class NotifyTest(managed.ManagedCase):
    # -- csrd

    def test_ready_when_the_signer_is(self):
        s = self.s
        s.start_csrd()
        waiting = self.csrd.wait("STATUS", "^waiting for signer 'default': .+")
        self.csrd.wait("EXTEND_TIMEOUT_USEC", "^60000000$")
        self.assertIsNone(self.csrd.find("READY"))
        self.assertEqual(self.csrd.messages[0]["EXTEND_TIMEOUT_USEC"], "600000000", "for the store")
        self.assertEqual(self.csrd.messages[1]["STATUS"], "opening the store")
        self.assertNotIn("not connected yet", self.csrd.wait("STATUS", "cannot|No such|refused|not there")["STATUS"])
        self.assertEqual(self.health().status, 200, "it serves meanwhile")
        s.start_hsm()
        ready = self.csrd.wait("READY")
        self.assertRegex(ready["STATUS"], "^serving; token default up")
        self.assertGreater(ready["at"], self.hsm.find("READY")["at"], "not before its signer")
        self.assertGreater(ready["at"], waiting["at"])
        mark = self.csrd.mark()
        s.hsm.kill()
        self.csrd.wait("STATUS", "^serving; token default down: .+", mark)
        s.start_hsm()
        self.csrd.wait("STATUS", "^serving; token default up", mark)
        s.stop()
        self.assertEqual(len([m for m in self.csrd.messages if "READY" in m]), 1, "once")

    def test_not_ready_while_the_token_is_down(self):
        s = self.s
        s.settings["token default"]["keep_alive"] = "1s"
        s.write_config()
        s.start_hsm()
        s.shim.set("C_GenerateKeyPair return CKR_DEVICE_ERROR", "C_OpenSession return CKR_DEVICE_ERROR",
                   "C_GetSessionInfo return CKR_DEVICE_ERROR")
        self.hsm.wait("STATUS", "^token 'csrd test' is not usable: .+")
        s.start_csrd()
        self.csrd.wait("STATUS", "^waiting for signer 'default': .*CKR_DEVICE_ERROR")
        self.assertIsNone(self.csrd.find("READY"))
        mark = self.hsm.mark()
        cleared = time.monotonic()
        s.shim.clear()
        self.hsm.wait("STATUS", "^serving token 'csrd test'", mark)
        self.assertGreater(self.csrd.wait("READY")["at"], cleared)
        s.stop()

    def test_the_pool_is_in_the_status(self):
        self.s.settings["token default"]["pool_p256v1"] = 3
        self.s.write_config()
        self.start()
        self.hsm.wait("STATUS", r"^serving token 'csrd test'; pool p256v1 3/3$")
        self.csrd.wait("STATUS", r"^serving; token default up, pool p256v1 3/3$")
        self.s.stop()

    def test_reload(self):
        s = self.s
        self.start()
        before = time.monotonic() * 1000000
        s.settings["policy"] = {"key_types": "p256v1"}
        s.write_config()
        for pattern in ("; configuration reloaded at ....-..-..T..:..:..Z$",
                        r"; reload refused at .*Z, the old configuration stays: .*csrd\.conf:\d+: .*nonsense"):
            mark = self.csrd.mark()
            s.csrd.signal(signal.SIGHUP)
            reloading = self.csrd.wait("RELOADING", "^1$", mark)
            self.assertTrue(before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic() * 1000000)
            ready = self.csrd.wait("READY", "^1$", mark)
            self.assertRegex(ready["STATUS"], "^serving; token default up.*" + pattern)
            self.assertLess(reloading["at"], ready["at"])
            s.settings["policy"] = {"nonsense": "1"}
            s.write_config()
        self.assertEqual(s.create().status, 201)
        s.stop()

    def test_reload_before_ready(self):
        """There is no reload to be told of, and it must not pass for ready."""
        s = self.s
        s.start_csrd()
        self.csrd.wait("STATUS", "^waiting")
        s.csrd.signal(signal.SIGHUP)
        self.csrd.wait("STATUS", "^waiting .*; configuration reloaded at ")
        self.assertIsNone(self.csrd.find("RELOADING"))
        self.assertIsNone(self.csrd.find("READY"))
        s.stop()

    def test_stop_asks_for_the_time_that_it_takes(self):
        s = self.s
        self.start()
        s.hsm.signal(signal.SIGSTOP)
        call = lifecycle_test.Background(s.create)
        s.wait_at_signer()
        mark = self.csrd.mark()
        s.csrd.signal(signal.SIGTERM)
        self.csrd.wait("STOPPING", "^1$", mark)
        self.csrd.wait("EXTEND_TIMEOUT_USEC", "^35000000$", mark)  # drain_timeout and a bit
        self.assertRegex(self.csrd.status(), "^stopping: 1 requests in flight$")
        s.hsm.signal(signal.SIGCONT)
        self.assertEqual(call.wait().status, 201)
        self.assertEqual(s.csrd.wait(), 0)
        self.assertRegex(self.csrd.status(), "^stopping")
        s.stop()

    def test_F29_a_second_sigterm_ends_it_at_once(self):
        s = self.s
        self.start()
        s.arm("csrd-hsm", "signer.create.before-keygen", sleep=True)
        call = lifecycle_test.Background(s.create)
        s.wait_at_failpoint("csrd-hsm")
        s.csrd.signal(signal.SIGTERM)
        s.csrd.wait_log("stopping on signal")
        self.assertTrue(s.csrd.is_running(), "the first waits for what is in flight")
        started = time.monotonic()
        s.csrd.signal(signal.SIGTERM)
        self.assertEqual(s.csrd.wait(), 0)
        self.assertLess(time.monotonic() - started, 2 * SLOW)
        with contextlib.suppress(harness.GoneAway):
            call.wait()
        self.assertEqual(s.rows(), {})
        s.hsm.kill()
        s.start()
        s.wait_settled()
        s.check_sane(self)
        s.stop()

    def test_a_start_that_fails_says_why(self):
        s = self.s
        s.settings["http"]["nonsense"] = "1"
        s.write_config()
        for program, code in (("csrd", 78), ("csrd-hsm", 78)):
            process = s.spawn(program, "-c", s.config_path)
            self.assertEqual(process.wait(), code)
            self.assertIsNone(s.managers[program].find("READY"))
            s.managers[program].wait("STATUS", "configuration")
        s.settings["http"].pop("nonsense")
        s.settings["store"]["url"] = "sqlite:/nowhere/csrd.db"
        s.write_config()
        self.assertNotEqual(s.spawn("csrd", "-c", s.config_path).wait(), 0)
        self.csrd.wait("STATUS", "^cannot start: ")

    # -- the watchdog of csrd

    def assert_not_fed(self, manager, since):
        """For longer than the manager would wait."""
        harness.wait_for("time to pass", lambda: time.monotonic() > since + 2 * WATCHDOG)
        fed = manager.fed_after(since)
        self.assertEqual(fed, [])

    def test_watchdog_is_fed(self):
        self.s.watchdog = {"csrd": WATCHDOG, "csrd-hsm": WATCHDOG}
        self.start()
        began = time.monotonic()
        for manager in (self.csrd, self.hsm):
            harness.wait_for("six feeds", lambda m=manager: len(m.fed_after(began)) >= 6, WATCHDOG * 6)
            times = [m["at"] for m in manager.fed_after(began)]
            gaps = [b - a for a, b in zip(times, times[1:])]
            self.assertLess(max(gaps), WATCHDOG * 0.9, gaps)
        self.s.stop()

    def test_watchdog_of_a_store_that_hangs(self):
        s = self.s
        s.watchdog = {"csrd": WATCHDOG}
        self.start()
        s.arm("csrd", "store.batch", sleep=True)
        s.csrd.wait_log("the store thread has been at one batch for .* no longer fed", seconds=WATCHDOG * 4 + harness.PATIENCE)
        since = time.monotonic()
        self.assertEqual(self.health().status, 200, "the loop itself runs")
        self.csrd.wait("STATUS", r"^serving; .*; store at one batch for \d+ s$")
        self.assert_not_fed(self.csrd, since)
        s.csrd.kill()
        s.start_csrd()
        s.wait_ready()
        s.stop()

    def test_watchdog_of_a_loop_that_hangs(self):
        s = self.s
        s.watchdog = {"csrd": WATCHDOG}
        self.start()
        s.arm("csrd", "create.before-commit", sleep=True)
        call = lifecycle_test.Background(s.create)
        harness.wait_for("the failpoint", lambda: not s.failpoint_path("csrd").exists())
        self.assert_not_fed(self.csrd, time.monotonic())
        s.csrd.kill()
        with self.assertRaises(harness.GoneAway):
            call.wait()
        s.start_csrd()
        s.wait_ready()
        s.wait_settled()
        s.stop()

    def test_watchdog_of_a_store_that_is_locked(self):
        """It fails, which is not to hang: csrd goes on, and says so."""
        s = self.s
        s.watchdog = {"csrd": WATCHDOG * 4}
        self.start()
        mark = self.csrd.mark()
        with contextlib.closing(sqlite3.connect(s.store_path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            self.assertEqual(s.create().status, 503)
            since = time.monotonic()
            harness.wait_for("a feed", lambda: self.csrd.fed_after(since), WATCHDOG * 8)
            database.execute("ROLLBACK")
        self.assertEqual(s.create().status, 201)
        self.assertIsNone(self.csrd.find("READY", since=mark))
        s.stop()

    def test_a_manager_that_reads_no_more(self):
        """PID 1 that froze: the loop of neither program waits for it (I8)."""
        s = self.s
        s.watchdog = {"csrd": 0.2, "csrd-hsm": 0.2}  # many messages
        self.start()
        for manager in (self.csrd, self.hsm):
            manager.stalled.set()
            manager.thread.join(harness.PATIENCE)
        # More than any queue of the kernel's takes (net.unix.max_dgram_qlen).
        with open("/proc/sys/net/unix/max_dgram_qlen", encoding="ascii") as file:
            length = int(file.read())
        filler = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        filler.setblocking(False)
        for manager in (self.csrd, self.hsm):
            with contextlib.suppress(BlockingIOError):
                for _ in range(2 * length + 2):
                    filler.sendto(b"X=1", str(manager.path))
        until = time.monotonic() + 2 * SLOW
        while time.monotonic() < until:
            self.assertEqual(self.health().status, 200)
            self.assertEqual(s.create().status, 201)
        filler.close()
        s.stop()

    # -- sockets of the manager's

    def start_inheriting(self, names, *kinds, listen="127.0.0.1:1"):  # which it could not open
        self.s.inherited["csrd"] = (names, *kinds)
        self.s.settings["http"]["listen"] = listen
        self.s.write_config()
        return self.s.start_csrd(wait=False)

    def test_sockets_named_http_replace_listen(self):
        s = self.s
        path = self.folder / "http.sock"
        csrd = self.start_inheriting("http:http", "tcp:127.0.0.1:0", "unix:%s" % path)
        match = csrd.wait_log(r"listening on '127\.0\.0\.1:(\d+)', a socket of the service manager, instead of \[http\]")
        csrd.wait_log("listening on 'unix:%s', a socket" % path)
        # F254: whoever changed [http] listen is told that csrd.socket is what counts, and how to change it
        csrd.wait_log(r"warning: csrd\.socket has '127\.0\.0\.1:%s, unix:%s', \[http\] listen says '127\.0\.0\.1:1': the "
                      r"former is served; 'csrctl setup --token default' gives" % (match[1], path))
        s.address = ("127.0.0.1", int(match[1]))
        self.assertEqual(self.health().status, 200)
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertRegex(client.recv(4096), b"^HTTP/1.1 200 ")
        self.assertEqual(csrd.terminate(), 0)
        self.assertTrue(path.exists(), "it is the manager's")

    def test_F254_the_same_addresses_need_no_word(self):
        six = os.path.exists("/proc/net/if_inet6")
        path = self.folder / "http.sock"
        csrd = self.start_inheriting("http:http" + (":http" if six else ""), "unix:%s" % path, "tcp:127.0.0.1:0",
                                     *(["tcp6:::1:0"] if six else []),
                                     listen="127.0.0.1:0, [0:0::1]:0, unix:%s" % path)
        csrd.wait_log("is ready to serve")
        self.assertNotIn("csrd.socket has", csrd.log())
        self.assertEqual(csrd.terminate(), 0)

    def health_of(self, client, answer=b"HTTP/1.1 200 ", path="/healthz"):
        client.settimeout(harness.PATIENCE)
        client.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
        self.assertEqual(client.recv(4096)[:len(answer)], answer)
        client.close()

    def test_f426_sockets_of_every_kind(self):
        """Several of each name, of both families, by path and without one; those of others than the file's are served."""
        six = os.path.exists("/proc/net/if_inet6")
        path, abstract = self.folder / "http.sock", "csrd-test-%d" % os.getpid()
        certificate, key = harness.make_certificate(self.folder)
        self.s.settings["http"].update(tls_certificate=certificate, tls_key=key, listen_tls="127.0.0.1:3")
        self.s.settings["metrics"] = {"listen": "127.0.0.1:2"}
        csrd = self.start_inheriting("https:http:metrics:http:http:https" + (":https" if six else ""), "tcp:127.0.0.1:0",
                                     "tcp:127.0.0.1:0", "tcp:127.0.0.1:0", "unix:%s" % path, "unix:@" + abstract,
                                     "tcp:0.0.0.0:0", *(["tcp6:::1:0"] if six else []))
        csrd.wait_log("is ready to serve")
        log = csrd.log()
        plain = re.search(r"listening on '127\.0\.0\.1:(\d+)', a socket of the service manager, instead of \[http\] listen$", log,
                          re.MULTILINE)
        self.health_of(socket.create_connection(("127.0.0.1", int(plain[1]))))
        for address in (str(path), "\0" + abstract):
            client = socket.socket(socket.AF_UNIX)
            client.connect(address)
            self.health_of(client)
        self.assertIn("listening on 'unix:@%s', a socket" % abstract, log)
        tls = re.findall(r"listening on '\[?([0-9.:]+?)\]?:(\d+)' with TLS, a socket of the service manager, instead of \[http\] "
                         r"listen_tls", log)
        self.assertEqual(len(tls), 2 + six, log)
        context = ssl.create_default_context(cafile=str(certificate))
        for host, port in tls:
            self.health_of(context.wrap_socket(socket.create_connection((host, int(port))), server_hostname="localhost"))
        figures = re.search(r"figures for monitoring are shown at 'http://127\.0\.0\.1:(\d+)/metrics', a socket of the service", log)
        self.health_of(socket.create_connection(("127.0.0.1", int(figures[1]))), path="/metrics")
        self.assertRegex(log, r"warning: sockets named 'https' of the service manager have '.*', \[http\] listen_tls says "
                              r"'127\.0\.0\.1:3': the former are served")
        self.assertRegex(log, r"warning: sockets named 'metrics' .*, \[metrics\] listen says '127\.0\.0\.1:2': the former")
        self.assertEqual(csrd.terminate(), 0)
        self.assertTrue(path.exists(), "it is the manager's")

    def test_f427_sockets_that_are_not_ours(self):
        """And those of a wrong kind: what it is, and what is expected."""
        expected = r" of the service manager is %s, expected a stream socket that listens \(ListenStream=, Accept=no\)"
        for number, (names, kind, reason) in enumerate((
                ("admin", "tcp:127.0.0.1:0", "a socket named 'admin', expected 'http', 'https' or 'metrics'"),
                ("", "tcp:127.0.0.1:0", "a socket named 'unknown', expected 'http'"),
                ("http", "deaf", expected % "a socket that does not listen"),
                ("metrics", "udp:127.0.0.1:0", expected % "a datagram socket"),
                ("http", "seqpacket:@csrd-test-%d" % os.getpid(), expected % "a socket of type SOCK_SEQPACKET"),
                ("https", "pipe", expected % "no socket"),
                ("https", "tcp:127.0.0.1:0", "for TLS, and there is no certificate: set"),
                ("https", "unix:%s" % (self.folder / "a.sock"), "a unix socket is for 'http'"),
                ("metrics", "unix:%s" % (self.folder / "b.sock"), "a unix socket is for 'http'"),
                ("http", "tcp:0.0.0.0:0", "plain HTTP on '0.0.0.0:.*can be read by others"),
                ("http", "tcp6::::0", r"plain HTTP on '\[::\]:.*can be read by others"))):
            with self.subTest(names=names, kind=kind):
                if kind.startswith("tcp6") and not os.path.exists("/proc/net/if_inet6"):
                    self.skipTest("no IPv6 here")
                csrd = self.start_inheriting(names, kind)
                self.assertEqual(csrd.wait(), 78, csrd.tail())
                self.assertRegex(csrd.log(), reason)

    def test_a_socket_for_everybody_if_the_file_says_so(self):
        self.s.settings["http"]["allow_plain_http"] = "yes"
        csrd = self.start_inheriting("http", "tcp:0.0.0.0:0")
        csrd.wait_log(r"listening on '0\.0\.0\.0:\d+', a socket")
        self.assertEqual(csrd.terminate(), 0)


if __name__ == "__main__":
    unittest.main()
