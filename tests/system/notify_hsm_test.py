"""What csrd-hsm tells a service manager: ready when its token is, how the token is, stopping, why it ended, and the
watchdog that is fed while calls of the module are in time (F29, F93); and how both programs write to the journal."""
# run: waits seconds=42
import contextlib
import os
import re
import signal
import socket
import time
import unittest

import faults
import harness
import lifecycle_test
import managed
from managed import SLOW, WATCHDOG


class NotifyHsmTest(managed.ManagedCase):
    # -- csrd-hsm

    def test_signer_says_why_it_ended(self):
        s = self.s
        s.pin_path.write_text("0000\n")
        self.assertEqual(s.start_hsm(wait=False).wait(), 77)
        self.assertRegex(self.hsm.status(), "^ended: the pin was refused")
        self.assertIsNone(self.hsm.find("READY"))
        opening = self.hsm.find("STATUS", "^opening token 'default'$")
        self.assertIsNotNone(opening)

    def test_signer_extends_its_start(self):
        s = self.s
        s.shim.set("C_Initialize sleep 6s once")
        s.start_hsm(wait=False)
        ready = self.hsm.wait("READY", seconds=6 + harness.PATIENCE)
        self.assertLess(self.hsm.wait("EXTEND_TIMEOUT_USEC", "^30000000$")["at"], ready["at"])
        s.stop()

    def test_signer_is_fed_during_a_long_call(self):
        """A key that takes its time, within its limit, is no hang."""
        s = self.s
        s.watchdog = {"csrd-hsm": WATCHDOG}
        self.start()
        s.shim.set("C_GenerateKeyPair sleep %ds once" % (4 * WATCHDOG))
        began = time.monotonic()
        call = lifecycle_test.Background(lambda: s.create(key_type="rsa2048"))
        self.assertEqual(call.wait().status, 201)
        self.assertGreater(call.finished_at - began, 4 * WATCHDOG)
        times = [began] + [m["at"] for m in self.hsm.fed_after(began) if m["at"] < call.finished_at]
        self.assertLess(max(b - a for a, b in zip(times, times[1:] + [call.finished_at])), WATCHDOG * 0.9)
        s.stop()

    def test_F29_signer_stops_with_a_call_in_flight(self):
        s = self.s
        self.start()
        s.shim.set("C_GenerateKeyPair sleep %ds once" % (2 * SLOW))
        call = lifecycle_test.Background(s.create)
        harness.wait_for("the call", lambda: any(c.answer == "sleep" for c in s.shim.calls()))
        s.hsm.signal(signal.SIGTERM)
        self.hsm.wait("STOPPING", "^1$")
        self.assertRegex(self.hsm.status(), "^stopping: SIGTERM")
        self.hsm.wait("EXTEND_TIMEOUT_USEC", "^30000000$", self.hsm.messages.index(self.hsm.find("READY")))
        self.assertEqual(call.wait().status, 201, "what is at work comes to its end")
        self.assertEqual(s.hsm.wait(), 0)
        s.stop()

    def hang(self):
        """A create whose call into the module does not come back."""
        s = self.s
        self.start()
        s.shim.set("C_GenerateKeyPair hang once")
        call = lifecycle_test.Background(s.create)
        harness.wait_for("the hang", lambda: any(c.answer == "hang" for c in s.shim.calls()))
        return call

    def assert_settles(self, call):
        s = self.s
        answer = call.wait()
        self.assertEqual((answer.status, answer.codes), (503, [1503]))
        self.assertEqual(s.rows(), {})
        s.start_hsm()
        s.wait_ready()
        s.wait_settled()
        s.check_sane(self)
        self.assertEqual(s.create().status, 201)
        s.stop()

    def test_F29_signer_with_a_hung_hsm_ends_by_its_deadline(self):
        s = self.s
        call = self.hang()
        began = time.monotonic()
        s.hsm.signal(signal.SIGTERM)
        self.assertEqual(s.hsm.wait(25 * SLOW + harness.PATIENCE), 75)
        self.assertLess(time.monotonic() - began, 30 * SLOW)
        self.assertRegex(self.hsm.status(), "^ended: the token failed")
        self.assert_settles(call)

    def test_F29_signer_with_a_hung_hsm_ends_at_once_on_the_second_sigterm(self):
        s = self.s
        call = self.hang()
        s.hsm.signal(signal.SIGTERM)
        s.hsm.wait_log("stopping: SIGTERM")
        began = time.monotonic()
        s.hsm.signal(signal.SIGTERM)
        self.assertEqual(s.hsm.wait(), 75)
        self.assertLess(time.monotonic() - began, 3 * SLOW)
        self.assert_settles(call)

    def test_sighup_changes_nothing_in_the_signer(self):
        s = self.s
        self.start()
        mark = self.hsm.mark()
        s.hsm.signal(signal.SIGHUP)
        s.hsm.wait_log("SIGHUP changes nothing here")
        self.assertEqual(s.create().status, 201)
        self.assertIsNone(self.hsm.find("RELOADING", since=mark))
        s.stop()

    def test_signer_by_socket(self):
        """A request that came before it is answered once the token is open."""
        s = self.s
        s.inherited["csrd-hsm"] = ("signer", "unix:%s" % s.socket_path)
        self.start()
        self.assertEqual(s.create().status, 201)
        s.csrd.terminate()
        self.assertEqual(s.hsm.terminate(), 0)
        self.assertTrue(s.socket_path.exists(), "it is the manager's")
        for names, kinds in (("signer", ["udp:127.0.0.1:0"]), ("signer", ["tcp:127.0.0.1:0"]),
                             ("signer:signer", ["unix:%s" % (self.folder / "a"), "unix:%s" % (self.folder / "b")])):
            with self.subTest(kinds=kinds):
                s.inherited["csrd-hsm"] = (names, *kinds)
                hsm = s.start_hsm(wait=False)
                self.assertEqual(hsm.wait(), 78)
                self.assertRegex(hsm.log(), "not a listening unix stream socket|gave 2 sockets, expected 1")

    # -- the journal

    @unittest.skipUnless(os.geteuid() == 0, "a mount namespace takes root")
    def test_events_in_the_journal_have_fields(self):
        """journald is a socket at its place, in a mount namespace of the program's."""
        s = self.s
        folder = self.folder / "journal"
        folder.mkdir()
        for program in ("csrd", "csrd-hsm"):
            s.journals[program] = folder
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as journal:
            journal.bind(str(folder / "socket"))
            s.start_hsm(wait=False)
            self.hsm.wait("READY")
            s.start_csrd(wait=False)
            s.shim.set("C_GenerateKeyPair return CKR_DEVICE_ERROR once")
            events = []

            def event(**wanted):
                journal.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        lines = journal.recv(65536).decode("utf-8").splitlines()
                        events.append(dict(line.split("=", 1) for line in lines))
                return next((e for e in events if all(re.search(v, e.get(k, "")) for k, v in wanted.items())), None)

            def wait_event(**wanted):
                return harness.wait_for(str(wanted), lambda: event(**wanted))

            served = wait_event(MESSAGE="^serving token 'csrd test'")
            self.assertEqual((served["PRIORITY"], served["SYSLOG_IDENTIFIER"], served["CSRD_TOKEN"]),
                             ("5", "csrd-hsm", "default"))
            self.assertNotIn("CODE_FILE", served)
            up = wait_event(MESSAGE="^signer 'default' is up")
            self.assertEqual((up["SYSLOG_IDENTIFIER"], up["CSRD_TOKEN"]), ("csrd", "default"))
            port = re.search(r":(\d+)'", wait_event(MESSAGE="^listening on")["MESSAGE"])[1]
            s.address = ("127.0.0.1", int(port))
            answer = s.create()
            self.assertIn(answer.status, (500, 503))
            (csr_id,) = faults.audit_objects(s.store_path, "csr.failed")
            failed = wait_event(SYSLOG_IDENTIFIER="^csrd-hsm$", CSRD_CSR_ID=csr_id)
            self.assertRegex(failed["MESSAGE"], "csr=" + csr_id)
            failed = wait_event(SYSLOG_IDENTIFIER="^csrd$", CSRD_REQUEST_ID=answer.headers["X-Request-Id"])
            self.assertRegex(failed["MESSAGE"], "req=" + answer.headers["X-Request-Id"])
            s.stop()
        for process in (s.csrd, s.hsm):
            self.assertEqual(process.log(), "", "nothing twice")

    @unittest.skipUnless(os.geteuid() == 0, "a mount namespace takes root")
    def test_events_go_to_stderr_when_journald_does_not_answer(self):
        s = self.s
        folder = self.folder / "journal"
        folder.mkdir()
        s.journals["csrd-hsm"] = folder
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as journal:
            journal.bind(str(folder / "socket"))  # nobody has it once this is closed
        s.start_hsm()
        self.assertRegex(s.hsm.log(), "(?m)^<5>serving token 'csrd test'")
        (folder / "socket").unlink()
        s.hsm.terminate()
        s.start_hsm()
        self.assertRegex(s.hsm.log(), "(?m)^<5>serving token 'csrd test'")
        s.stop()


if __name__ == "__main__":
    unittest.main()
