"""Sessions, logins and the module itself fail, hang and come back (F54, F55, F56, F58, F59, F60, F61, F65, F171, F175): the signer
finds its way back by itself, or ends with an exit code that says what to do, and csrd's loop never notices."""
# run: waits seconds=80 timeout=300
import os
import re
import shutil
import threading
import time
import unittest

import faults
import harness

TOKEN_FAILED, NO_MODULE, NO_TOKEN, PIN, CONFIG = 75, 66, 67, 77, 78
TIMEOUTS = {"timeout_generate": "3s", "timeout_sign": "1s", "timeout_other": "1s", "keep_alive": "200ms"}
FAST = {"token default": TIMEOUTS}
NOBODY = 65534
FOR_EVER_SECONDS = 1.5  # how long a fault "for ever" is watched


class Health:
    """Asks /healthz all the time: with Health(service) as health: …"""

    def __init__(self, service):
        self.service = service
        self.took = []
        self.failures = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.stop.wait(0.02):
            started = time.monotonic()
            try:
                answer = harness.http_request(self.service.address, "GET", "/healthz", timeout=10)
            except (harness.GoneAway, OSError) as error:
                self.failures.append(repr(error))
                continue
            self.took.append(time.monotonic() - started)
            if answer.status != 200:
                self.failures.append(repr(answer))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def check(self, case):
        """Always answered; the bound is for the middle one, because the machine may be busy with other tests."""
        case.assertEqual(self.failures, [])
        case.assertGreater(len(self.took), 2)
        case.assertLess(sorted(self.took)[len(self.took) // 2], 0.1 * faults.SLOW, "/healthz is slow")


class FaultSessionTest(faults.FaultCase):
    # On a busy machine an RSA key may take longer than the time limits of these tests.
    KEY_TYPES = ("p256v1", "p256v1", "p256v1")

    def fault(self, *rules, creates=3, statuses=(500, 503), seconds=FOR_EVER_SECONDS):
        """Under these rules creates are refused at once and /healthz answers; then an ordinary create works."""
        with Health(self.s) as health:
            self.s.shim.set(*rules)
            until = time.monotonic() + seconds
            while creates > 0 or time.monotonic() < until:
                started = time.monotonic()
                self.create_any(statuses)
                self.assertLess(time.monotonic() - started, 5 * faults.SLOW)
                creates -= 1
                time.sleep(0.05)
            self.over()
        health.check(self)

    # -- F54, F55, F59: sessions and the login

    def test_F54_no_session_for_ever(self):
        self.start_supervised(FAST)
        for value in ("CKR_DEVICE_ERROR", "CKR_TOKEN_NOT_PRESENT", "CKR_GENERAL_ERROR"):
            with self.subTest(value=value):
                self.fault("invalidate-sessions", "C_OpenSession return " + value)
                self.s.hsm.wait_log("the hsm is down: C_OpenSession: " + value)
        self.assertEqual(self.supervisor.ends, [])
        self.finish()

    def test_F232_one_session_for_four_threads(self):
        """While the token has one session to spare every create is made, one after the other or six at a time."""
        s = self.start_supervised({"token default": {**TIMEOUTS, "threads": 4, "timeout_generate": "30s"}})
        harness.in_parallel([self.create_ok] * 4)
        s.shim.set("sessions-max 1", "invalidate-sessions")
        for _ in range(20):
            self.create_ok()
        harness.in_parallel([self.create_ok] * 6)
        harness.in_parallel([self.create_ok] * 6)
        s.wait_ready()
        (token,) = s.csrctl("status")["tokens"]
        self.assertTrue(token["usable"])
        self.assertRegex(token["detail"], r"^1 of 4 sessions")
        s.shim.clear()
        harness.wait_for("four sessions", lambda: "4 of 4 threads work" in s.hsm.log(), every=0.2)
        self.over()
        self.finish()

    def test_F55_all_sessions_die_at_once(self):
        """Four creates on four sessions that all end under them: one rebuild, one login at most, nobody is refused."""
        s = self.start_supervised({"token default": {**TIMEOUTS, "threads": 4, "keep_alive": "1h"}})
        harness.in_parallel([self.create_ok] * 8)
        for _ in range(3):
            made = len(self.acknowledged)
            logins, rebuilds = s.shim.count("C_Login"), s.hsm.log().count("a session was lost")
            with Health(s) as health:
                s.shim.set("C_GenerateKeyPair sleep 500ms")
                mark = s.shim.mark()
                creates = threading.Thread(target=lambda: harness.in_parallel([self.create_ok] * 4), daemon=True)
                creates.start()
                harness.wait_for("four calls at a time", lambda m=mark: sum(
                    call.answer == "sleep" for call in s.shim.calls(m)) == 4)
                s.shim.set("invalidate-sessions")
                creates.join()
                self.over()
            health.check(self)
            self.assertEqual(len(self.acknowledged), made + 5)
            self.assertLessEqual(s.shim.count("C_Login") - logins, 1, "one login, not one for each thread")
            harness.wait_for("a rebuild", lambda r=rebuilds: s.hsm.log().count("a session was lost") > r)
            self.assertEqual(s.hsm.log().count("a session was lost"), rebuilds + 1, "one rebuild")
        self.assertEqual(s.shim.count("C_Finalize"), 0)
        self.finish()

    def test_F55_idle_sessions_die(self):
        """Nobody asks for anything: the keep-alive finds out, and the next create does not meet it."""
        s = self.start_supervised(FAST)
        logins = s.shim.count("C_Login")
        s.shim.set("invalidate-sessions")
        harness.wait_for("a new login", lambda: s.shim.count("C_Login") > logins)
        s.hsm.wait_log("an idle session failed")
        self.over()
        self.finish()

    def test_F59_login_is_lost(self):
        s = self.start_supervised({"token default": {**TIMEOUTS, "keep_alive": "1h"}})
        for rule in ("C_GenerateKeyPair return CKR_USER_NOT_LOGGED_IN once",
                     "C_SignInit return CKR_USER_NOT_LOGGED_IN once"):
            with self.subTest(rule=rule):
                logins = s.shim.count("C_Login")
                with Health(s) as health:
                    s.shim.set(rule)
                    self.create_ok()
                    self.over()
                health.check(self)
                self.assertLessEqual(s.shim.count("C_Login") - logins, 1, "at most one login")
        with self.subTest("for ever"):
            self.fault("C_GenerateKeyPair return CKR_USER_NOT_LOGGED_IN")
        self.assertEqual(s.shim.count("C_Login.bad"), 0)
        self.finish()

    def test_F59_already_logged_in(self):
        s = self.start_supervised({"token default": {**TIMEOUTS, "keep_alive": "1h"}})
        s.shim.set("invalidate-sessions", "C_Login after-return CKR_USER_ALREADY_LOGGED_IN")
        self.create_ok()
        self.over()
        self.finish()

    # -- F56: a call that takes its time, or does not come back

    def test_F56_slow_call(self):
        """Slower than usual, within its time: everybody waits, nothing else happens."""
        s = self.start_supervised({"token default": {**TIMEOUTS, "timeout_generate": "10s"}})
        with Health(s) as health:
            s.shim.set("C_GenerateKeyPair sleep 1s")
            self.create_ok()
            self.over()
        health.check(self)
        self.assertEqual(self.supervisor.ends, [])
        self.finish()

    def test_F56_hung_call(self):
        """Each ends the process within its time, with one line that says which call it was."""
        s = self.start_supervised(FAST)
        for count, (function, what) in enumerate((("C_GenerateKeyPair", "timeout_generate"), ("C_Sign", "timeout_sign"),
                                                  ("C_FindObjects", "timeout_other")), 1):
            with self.subTest(function=function):
                hung = s.hsm
                with Health(s) as health:
                    s.shim.set("%s hang once" % function)
                    if function == "C_FindObjects":
                        self.delete_any(self.acknowledged[0])
                    else:
                        self.create_any((503,))
                    harness.wait_for("the end of the hung signer", lambda n=count: len(self.supervisor.ends) == n, 10)
                    self.over()
                health.check(self)
                self.assertEqual(self.supervisor.ends[-1], TOKEN_FAILED)
                # A destroy is asked for by the key's name, so it is the key that is told.
                key, csr = ((r" for key 'csrd-[a-z2-7]{26}'", "") if function == "C_FindObjects" else
                            ("", " csr=[0-9a-f-]{36}"))
                line = [l for l in hung.log().splitlines() if "the token hangs" in l]
                self.assertEqual(len(line), 1, hung.tail())
                self.assertRegex(line[0], r"%s \([a-z ]+%s\) has not come back for [13]\.\d+ s, %s is [13]\.000 s[^=]*%s$" % (
                    function, key, what, csr))
        self.finish()

    # -- F58: C_Initialize and C_Finalize

    def start_ends(self, *rules, code, says, seconds=10):
        s = self.s
        s.shim.set(*rules)
        started = time.monotonic()
        process = s.start_hsm(wait=False)
        self.assertEqual(process.wait(seconds * faults.SLOW), code, process.tail())
        self.assertRegex(process.log(), says)
        return time.monotonic() - started

    def test_F58_initialize(self):
        s = self.s = self.shim_service(settings=FAST)
        self.start_ends("C_Initialize return CKR_DEVICE_ERROR", code=NO_MODULE, says="does not initialise")
        took = self.start_ends("C_Initialize hang", code=TOKEN_FAILED, says="C_Initialize .*has not come back")
        self.assertLess(took, 5 * faults.SLOW)
        self.start_ends("C_Login hang", code=TOKEN_FAILED, says="C_Login .*has not come back")
        # Nobody knows whether the token counted that login: it is not made again unasked (I6).
        self.start_ends(code=PIN, says="not tried again")
        (s.folder / "state" / "pin-refused").unlink()
        s.shim.clear()
        self.start_supervised(service=s)
        self.over()
        self.finish()

    def test_F58_finalize(self):
        """A module that crashes, hangs or exits while it is closed changes neither the exit code nor takes for ever."""
        s = self.s = self.shim_service(settings=FAST)
        actions = ["hang", "exit 3", "return CKR_GENERAL_ERROR"]
        if not harness.SANITIZE:  # there a crash is left to the sanitizer, which reports it and chooses the exit code
            actions += ["segv", "abort"]
        for action in actions:
            with self.subTest(action=action):
                s.shim.set("C_Finalize " + action)
                process = s.start_hsm()
                started = time.monotonic()
                self.assertEqual(process.terminate(10 * faults.SLOW), 0, process.tail())
                self.assertLess(time.monotonic() - started, 8 * faults.SLOW)
        s.shim.clear()
        self.start_supervised(service=s)
        self.finish()

    def test_F58_module_calls_exit(self):
        """exit(0) by the module is no orderly end: the signer is started again."""
        s = self.start_supervised(FAST)
        with Health(s) as health:
            s.shim.set("C_GenerateKeyPair exit 0 once")
            self.create_any((503,))
            harness.wait_for("its end", lambda: self.supervisor.ends)
            self.over()
        health.check(self)
        self.assertEqual(self.supervisor.ends, [TOKEN_FAILED])
        self.finish()

    # -- F60, F61: the PIN

    def test_F60_wrong_pin_and_twenty_starts(self):
        s = self.start_supervised(FAST)
        self.supervisor.stop()
        self.assertEqual(s.hsm.terminate(), 0)
        s.pin_path.write_text("00000000\n")
        with Health(s) as health:
            for start in range(20):
                if start % 5 == 4:  # as a service manager hands out credentials: another file, the same PIN
                    s.pin_path.with_suffix(".new").write_text("00000000\n")
                    s.pin_path.with_suffix(".new").chmod(0o600)
                    s.pin_path.with_suffix(".new").rename(s.pin_path)
                self.start_ends(code=PIN, says="not tried again" if start else "refused the pin")
            self.create_any((503,))
            self.assertEqual(s.shim.count("C_Login.bad"), 1)
        health.check(self)
        self.assertNotIn("00000000", (s.folder / "state" / "pin-refused").read_text())
        s.pin_path.write_text(harness.Token.PIN + "\n")
        s.start_hsm()
        self.ordinary_create()
        self.assertEqual(s.shim.count("C_Login.bad"), 1)
        self.finish()

    def test_F175_a_wrong_pin_that_the_token_does_not_name(self):
        """Some modules answer a wrong PIN with whatever they have: two tries, a minute apart, and no more."""
        s = self.s = self.shim_service(settings=FAST)
        marker = s.folder / "state" / "pin-refused"
        for code in ("CKR_USER_TYPE_INVALID", "CKR_FUNCTION_FAILED", "0x80000129"):
            with self.subTest(code=code):
                before = s.shim.count("C_Login")
                for start in range(20):
                    self.start_ends("C_Login return " + code, code=TOKEN_FAILED,
                                    says="not tried again yet" if start else "one more try is made", seconds=20)
                    (s.folder / "state" / "away-since").unlink()  # no pauses, so that all is within the minute
                self.assertEqual(s.shim.count("C_Login") - before, 1)
                text = marker.read_text()
                marker.write_text(re.sub(r"(?m)^failures 1 .*$", "failures 1 1600000000000000", text))  # long ago
                self.start_ends("C_Login return " + code, code=PIN, says="that may be its way of reporting a wrong pin")
                self.start_ends("C_Login return " + code, code=PIN, says="failed 2 times")
                self.assertEqual(s.shim.count("C_Login") - before, 2)
                marker.unlink()
        s.shim.clear()
        self.start_supervised(service=s)
        with Health(s) as health:  # and at work: the PIN was changed on the HSM
            before = s.shim.count("C_Login")
            s.shim.set("C_Login return CKR_USER_TYPE_INVALID", "invalidate-sessions")
            for _ in range(30):
                self.create_any((503,))
                time.sleep(0.05)
            self.assertEqual(s.shim.count("C_Login") - before, 1)
        health.check(self)

    def test_F60_no_place_for_the_marker(self):
        """A refusal could not be remembered: no start."""
        s = self.s = self.shim_service(settings={"token default": {**TIMEOUTS, "state_dir": "/proc/csrd-hsm-state"}})
        self.start_ends(code=CONFIG, says="state_dir '/proc/csrd-hsm-state'")
        open_to_all = self.folder / "open"
        open_to_all.mkdir()
        open_to_all.chmod(0o777)
        s.settings["token default"]["state_dir"] = open_to_all
        s.write_config()
        self.start_ends(code=CONFIG, says="writable by others")
        self.assertEqual(s.shim.count("C_Login"), 0)

    def test_F60_crash_in_login_counts(self):
        s = self.s = self.shim_service(settings=FAST)
        s.shim.set("C_Login after-kill once")
        process = s.start_hsm(wait=False)
        self.assertEqual(process.wait(), -9)
        for _ in range(3):
            self.start_ends(code=PIN, says="or that attempt was cut off")
        self.assertEqual(s.shim.count("C_Login"), 1)

    def test_F61_pin_flags(self):
        s = self.s = self.shim_service(settings=FAST)
        self.start_ends("C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY", code=PIN, says="no attempt made")
        self.start_ends("C_GetTokenInfo flags +CKF_USER_PIN_LOCKED", code=PIN, says="is locked")
        self.assertEqual(s.shim.count("C_Login"), 0)
        self.start_ends("C_Login return CKR_PIN_EXPIRED", code=PIN, says="CKR_PIN_EXPIRED")
        self.assertEqual(s.shim.count("C_Login"), 1)
        (s.folder / "state" / "pin-refused").unlink()
        s.shim.set("C_GetTokenInfo flags +CKF_USER_PIN_COUNT_LOW")
        s.start_hsm().wait_log("gave token .* a wrong pin since the last login")
        self.assertEqual(s.hsm.terminate(), 0)
        s.shim.clear()
        self.start_supervised(service=s)
        with Health(s) as health:
            s.shim.set("C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY")
            s.hsm.wait_log("one more wrong pin locks it")
            self.over()
        health.check(self)
        self.finish()

    # -- F65: the token goes away and comes back

    def away(self, seconds=FOR_EVER_SECONDS):
        """The token's folder is moved away for a while, and back."""
        tokens = self.s.p11.folder / "tokens"
        os.rename(tokens, tokens.with_name("away"))
        try:
            self.s.wait_ready(status=503, seconds=self.asking_seconds()) if self.create_any((500, 503)) else None
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                self.create_any((503,))
                time.sleep(0.1)
        finally:
            os.rename(tokens.with_name("away"), tokens)

    @staticmethod
    def asking_seconds():
        return 5 * faults.SLOW

    def test_F65_token_folder_goes_and_comes(self):
        s = self.start_supervised({"token default": {**TIMEOUTS, "timeout_other": "10s"}})
        for _ in range(3):
            with Health(s) as health:
                self.away()
                self.over()
            health.check(self)
        s.hsm.wait_log("the module was reinitialised")
        self.assertEqual(self.supervisor.ends, [], "without a new process")
        self.finish()

    def start_as_nobody(self):
        """Everything that the signer needs belongs to a user without rights, whom modes stop as they do not stop root."""
        s = self.shim_service(settings=FAST)
        self.folder.chmod(0o755)
        s.logs.chmod(0o777)  # a sanitizer's report
        programs = self.folder / "programs"
        programs.mkdir()
        for path in (harness.BIN / "csrd-hsm", faults.SHIM):
            shutil.copy(path, programs)
        s.settings["token default"].update(module=programs / faults.SHIM.name, client_users="root")
        s.write_config()
        s.signer_program = programs / "csrd-hsm"
        for path in [s.folder, *s.folder.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        s.hsm_wrapper = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--pdeathsig",
                         "KILL", "--"]
        return self.start_supervised(service=s)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to become somebody else")
    def test_F65_token_folder_is_forbidden(self):
        s = self.start_as_nobody()
        tokens = s.p11.folder / "tokens"
        mode = tokens.stat().st_mode
        for _ in range(2):
            with Health(s) as health:
                tokens.chmod(0)
                try:
                    self.refused()
                finally:
                    tokens.chmod(mode)
                self.over()
            health.check(self)
        self.assertEqual(self.supervisor.ends, [], "without a new process")
        self.finish()

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to change users")
    def test_F171_what_would_not_be_destroyed_is_not_called_gone(self):
        """SoftHSM forgets an object whose file it could not remove: it is on the token, and this process finds it no more.
        The answers are 503 until the signer has looked with fresh eyes; the key is gone when a delete says so."""
        s = self.start_as_nobody()
        csr_id = self.acknowledged[0]
        (token,) = (s.p11.folder / "tokens").iterdir()
        with Health(s) as health:
            token.chmod(0o555)
            try:
                for _ in range(5):
                    self.assertEqual(s.delete(csr_id).status, 503)
                    self.assertEqual(s.rows()[csr_id], "deleting")
                    self.assertEqual(s.p11.labels()[s.label(csr_id)], ["private", "public"])
                    self.assertNotIn(csr_id, faults.audit_objects(s.store_path, "csr.destroyed"))
            finally:
                token.chmod(0o700)
            harness.wait_for("the delete to be settled", lambda: s.rows()[csr_id] == "destroyed", 20 * faults.SLOW)
            self.assertNotIn(s.label(csr_id), s.p11.labels())
        health.check(self)
        self.acknowledged.remove(csr_id)
        self.gone.append(csr_id)
        self.over(within=5 * faults.SLOW)
        self.finish()

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to mount")
    def test_F65_token_folder_is_read_only(self):
        s = self.shim_service(settings=FAST)
        tokens = s.p11.folder / "tokens"
        self.mount_for(s, "mount --bind '%s' '%s'" % (tokens, tokens))
        self.start_supervised(service=s)
        remount = [*s.hsm_wrapper, "mount", "-o"]
        with Health(s) as health:
            # Busy as long as somebody writes.
            harness.wait_for("read-only folder", lambda: harness.run(
                [*remount, "remount,bind,ro", tokens], check=False).returncode == 0, every=0.05)
            try:
                self.refused()
                self.assertEqual(s.get(self.acknowledged[0]).status, 200)
                self.delete_any(self.acknowledged[1], (503,))
            finally:
                harness.run([*remount, "remount,bind,rw", tokens])
            self.over()
        health.check(self)
        self.assertEqual(self.supervisor.ends, [], "without a new process")
        self.finish()

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to mount")
    def test_F446_start_on_a_full_disk(self):
        """The PIN is tried, since there is room for its marker; what only reads goes on; it recovers by itself."""
        s = self.s = self.shim_service(settings=FAST)
        state = s.folder / "state"
        state.mkdir(mode=0o700)
        self.mount_for(s, "mount -t tmpfs -o size=256k,mode=0700 none '%s'" % state)
        s.start()
        self.acknowledged, self.gone = [], []
        self.create_ok()
        self.assertEqual(s.hsm.terminate(), 0)
        # A block is left over where a file was that is written anew.
        fill = [*s.hsm_wrapper, "sh", "-c", "cat /dev/zero >'%s/full'; cat /dev/zero >'%s/fuller'" % (state, state)]
        harness.run(fill, check=False)
        s.start_hsm()
        s.wait_ready()
        self.create_any((503,))
        self.delete_any(self.acknowledged[0], (503,))
        self.assertEqual(s.hsm.log().count("cannot be written: No space left on device; no key is made"), 1)
        s.csrctl("verify")
        self.assertIn("its journal cannot be written", s.csrctl("doctor", check=False).stdout)
        harness.run([*s.hsm_wrapper, "sh", "-c", "rm '%s'/full*" % state])
        s.hsm.wait_log("can be written again")
        self.create_ok()
        s.csrctl("verify")
        s.stop()

    def refused(self, seconds=FOR_EVER_SECONDS):
        """No create works, and /readyz says so, for as long as it lasts."""
        self.create_any((500, 503))
        self.s.wait_ready(status=503, seconds=5 * faults.SLOW)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.create_any((503,))
            time.sleep(0.1)

    def test_F65_token_is_exchanged(self):
        """Another token of the same label is not ours: no login, no key on it, until the right one is back."""
        s = self.start_supervised({"token default": {**TIMEOUTS, "keep_alive": "100ms"}})
        logins = s.shim.count("C_Login")
        with Health(s) as health:
            s.shim.set("invalidate-sessions", "C_GetTokenInfo serial 0123456789abcdef")
            s.wait_ready(status=503, seconds=5 * faults.SLOW)
            for _ in range(5):
                self.create_any((503,))
            s.hsm.wait_log("was exchanged: serial '0123456789abcdef' is there")
            self.assertEqual(s.shim.count("C_Login"), logins, "the pin is not shown to it")
            self.over()
        health.check(self)
        self.finish()

    def test_F65_away_at_start(self):
        """A token that was never there needs a person; one that was served before is waited for."""
        s = self.s = self.shim_service(settings=FAST)
        tokens = s.p11.folder / "tokens"
        os.rename(tokens, tokens.with_name("away"))
        tokens.mkdir()
        self.start_ends(code=NO_TOKEN, says="no token fits")
        tokens.rmdir()
        os.rename(tokens.with_name("away"), tokens)
        self.start_supervised(service=s)
        self.supervisor.stop()
        with Health(s) as health:
            s.hsm.kill()
            os.rename(tokens, tokens.with_name("away"))
            tokens.mkdir()
            self.start_ends(code=TOKEN_FAILED, says="it was served before")
            self.start_ends("C_Initialize return CKR_DEVICE_ERROR", code=TOKEN_FAILED, says="it was served before")
            # In a long outage a start pauses before it ends, and a stop does not wait for that.
            since = s.folder / "state" / "away-since"
            since.write_text("2026-01-01T00:00:00Z\n")
            s.start_hsm(wait=False).wait_log("a pause of 10 s")
            self.assertEqual(s.hsm.terminate(5 * faults.SLOW), 0)
            tokens.rmdir()
            os.rename(tokens.with_name("away"), tokens)
            self.start_ends("C_GetTokenInfo serial 0123456789abcdef", code=NO_TOKEN, says="was exchanged")
            s.shim.clear()
            s.start_hsm()
            self.assertFalse(since.exists())
            self.ordinary_create()
        health.check(self)
        self.finish()


if __name__ == "__main__":
    unittest.main()
