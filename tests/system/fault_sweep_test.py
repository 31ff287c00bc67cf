"""F53: every PKCS#11 function that the signer calls answers every value of a list, once and for ever.  The table of
functions is what the shim's trace saw, so none is forgotten: at start the process says why it does not serve, or
serves; at work a request is answered 201, 500 or 503, a token that does not work is said to be down, no key is
without a row, and what came after the fault works."""
# run: rare seconds=230 timeout=700
import time
import unittest

import faults
import harness

CKR = {
    0x05: "GENERAL_ERROR", 0x06: "FUNCTION_FAILED", 0x30: "DEVICE_ERROR", 0x31: "DEVICE_MEMORY",
    0x32: "DEVICE_REMOVED", 0x50: "FUNCTION_CANCELED", 0x54: "FUNCTION_NOT_SUPPORTED", 0x82: "OBJECT_HANDLE_INVALID",
    0x101: "USER_NOT_LOGGED_IN", 0xB1: "SESSION_COUNT", 0xB3: "SESSION_HANDLE_INVALID", 0xE0: "TOKEN_NOT_PRESENT",
    0xE1: "TOKEN_NOT_RECOGNIZED", 0x190: "CRYPTOKI_NOT_INITIALIZED",
}

# What the sweep must not miss, whatever the trace says.
KNOWN = {
    "C_Initialize", "C_GetSlotList", "C_GetTokenInfo", "C_GetMechanismInfo", "C_OpenSession", "C_Login",
    "C_GenerateKeyPair", "C_GetAttributeValue", "C_SignInit", "C_Sign", "C_FindObjectsInit", "C_FindObjects",
    "C_FindObjectsFinal", "C_CreateObject", "C_DestroyObject", "C_GetSessionInfo", "C_CloseSession", "C_Finalize",
}

# A create cannot do without these functions, and these values say that it is the token and not this one request.
NEEDED = {"C_SignInit", "C_Sign"}  # a pool's key was generated and read back before
ILL = {0x30, 0x31, 0x32, 0xB3, 0xE0, 0xE1, 0x101, 0x190}

# Ends of a start that failed (base/exit_code.h): no module, no token, a system call, the token failed, PIN, config.
START_ENDS = {66, 67, 70, 71, 75, 77, 78}

# A start that remembers its token makes one throw-away key.  What a probe calls is swept with a probe as well, for a
# value that may mean anything and one that means that the device is gone.
PROBED = {"C_GenerateKeyPair", "C_SignInit", "C_Sign", "C_GetAttributeValue", "C_CreateObject", "C_DestroyObject"}


class FaultSweepTest(faults.FaultCase):
    SETTINGS = {"token default": {"keep_alive": "100ms", "pool_p256v1": 2}, "log": {"level": "info"}}

    # -- the table

    def learn(self):
        """Everything that a signer's life holds: start, creates, a delete, a comparison, a lost session, a token that
        went away and came back, an idle time, the end."""
        s = self.start_supervised(self.SETTINGS, "learn")
        self.delete_any(self.create_ok()["id"], (200,))
        s.csrctl("reconcile", "--min-age", "0")
        s.shim.set("invalidate-sessions")
        self.over()
        s.shim.set("invalidate-sessions", "C_OpenSession return CKR_DEVICE_ERROR")
        self.create_any()
        self.over()
        harness.wait_for("a look at an idle session", lambda: s.shim.count("C_GetSessionInfo"))
        self.finish()
        seen = {call.function for call in s.shim.calls()}
        self.assertLessEqual(KNOWN, seen, "the trace misses what the signer is known to call")
        print("functions of the sweep: %d: %s" % (len(seen), " ".join(sorted(seen))))
        return sorted(seen - {"C_GetFunctionList"})

    # -- at work

    def test_F53_every_function_at_work(self):
        functions = self.learn()
        self.start_supervised(self.SETTINGS)
        for function in functions:
            for value, name in CKR.items():
                with self.subTest(function=function, value="0x%x %s" % (value, name)):
                    self.one_fault(function, value, "")
            with self.subTest(function=function, value="0x30 once"):
                self.one_fault(function, 0x30, " once")
            with self.subTest(function=function, what="after all values"):
                self.over()
        self.assertEqual(self.supervisor.ends, [], "no value ends the process")
        self.finish()

    def one_fault(self, function, value, once):
        s = self.s
        s.shim.set("%s return 0x%x%s" % (function, value, once))
        try:
            create = self.create_any()
            self.delete_any(self.acknowledged[0])
            if not once and function in NEEDED and value in ILL:
                self.assertIn(create.status, (500, 503), "a create that cannot have worked")
                self.wait_down()
        finally:
            s.shim.clear()
            self.ordinary_create()

    def wait_down(self):
        """csrd says that it is not ready, because its HSM is not."""
        self.s.wait_ready(status=503, seconds=5 * faults.SLOW)

    # -- at start

    def test_F53_every_function_at_start(self):
        s = self.s = self.shim_service(settings=self.SETTINGS)
        if harness.SANITIZE:
            # libp11 0.4.12 does not free its slots when one of them cannot be asked.
            suppressions = self.folder / "lsan"
            suppressions.write_text("leak:libp11.so\n")
            s.hsm_environment["LSAN_OPTIONS"] = ":".join((
                s.environment()["LSAN_OPTIONS"], "suppressions=%s" % suppressions, "print_suppressions=0"))
        s.start_hsm()
        self.assertEqual(s.hsm.terminate(), 0)
        functions = sorted({call.function for call in s.shim.calls()})
        self.assertLessEqual({"C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login"}, set(functions))
        for function in functions:
            for value, name in CKR.items():
                with self.subTest(function=function, value="0x%x %s" % (value, name)):
                    self.one_start(function, value)
        s.shim.clear()
        (s.folder / "state" / "pin-refused").unlink(missing_ok=True)
        s.start_hsm()
        s.start_csrd()
        s.wait_ready()
        self.assertEqual(s.create().status, 201)
        s.stop()

    def one_start(self, function, value):
        """It serves, or it ends at once with a code and a line that names what failed; it never dies of it."""
        s = self.s
        if function in PROBED and value in (0x05, 0x30):
            (s.folder / "state" / "probe").unlink(missing_ok=True)
        for name in ("away-since", "pin-refused"):  # each is the first start of an outage, and the first login
            (s.folder / "state" / name).unlink(missing_ok=True)
        s.shim.set("%s return 0x%x" % (function, value))
        process = s.start_hsm(wait=False)
        started = time.monotonic()
        harness.wait_for("end or service with %s 0x%x" % (function, value),
                         lambda: not process.is_running() or "serving token " in process.log())
        self.assertLess(time.monotonic() - started, 10 * faults.SLOW)
        if process.is_running():
            status = process.terminate(30)
            self.assertIn(status, (0, 75), process.tail())
            return
        self.assertIn(process.popen.returncode, START_ENDS, process.tail())
        self.assertRegex(process.log(), r"error", "it says why")


if __name__ == "__main__":
    unittest.main()
