"""The module crashes, aborts or calls exit() inside (F57), and the signer starts no process after it has loaded it
(F72)."""
# run: seconds=19 timeout=300
import signal
import unittest

import faults
import harness

NO_FORK = harness.BIN.parent / "tests" / "fakes" / "no_fork"
TOKEN_FAILED = 75

# how it ends → the exit status that a supervisor sees
ENDS = {"segv": -signal.SIGSEGV, "abort": -signal.SIGABRT, "kill": -signal.SIGKILL, "exit 0": TOKEN_FAILED,
        "exit 3": TOKEN_FAILED}


class FaultCrashTest(faults.FaultCase):
    def start_crashing(self):
        s = self.shim_service(settings={"token default": {"keep_alive": "1h"}})
        # A signal is to end the signer as it would in service, and not in a sanitizer's report of it.
        s.hsm_environment["ASAN_OPTIONS"] = ":".join(filter(None, (
            s.environment().get("ASAN_OPTIONS"), "handle_segv=0", "handle_abort=0")))
        return self.start_supervised(service=s)

    def crashes(self, function, act):
        """Each end, and one after the module has done what it was asked for."""
        s = self.start_crashing()
        for action in (*ENDS, "after-segv"):
            with self.subTest(function=function, action=action):
                ends = len(self.supervisor.ends)
                s.shim.set("%s %s once" % (function, action))
                act()
                self.over()
                self.assertEqual(len(self.supervisor.ends), ends + 1, "ended once, started again once")
                self.assertEqual(self.supervisor.ends[-1], ENDS[action.removeprefix("after-")])
        self.assertTrue(s.csrd.is_running())
        self.finish()

    def create(self):
        self.create_any((503,))

    def delete(self):
        self.delete_any(self.acknowledged[0], (503,))

    def test_F57_in_generation(self):
        self.crashes("C_GenerateKeyPair", self.create)

    def test_F57_in_signature(self):
        self.crashes("C_Sign", self.create)

    def test_F57_in_destruction(self):
        self.crashes("C_DestroyObject", self.delete)

    def test_F57_in_search(self):
        self.crashes("C_FindObjects", self.delete)

    def test_F57_while_many_wait(self):
        """Eight creates in the module or behind it: each is answered, none twice, and all rows are settled."""
        s = self.start_crashing()
        s.shim.set("C_GenerateKeyPair@3 segv once")
        answers = harness.in_parallel([lambda: self.s.create(timeout=60)] * 8)
        self.assertLessEqual({answer.status for answer in answers}, {201, 503})
        self.assertIn(503, {answer.status for answer in answers})
        self.acknowledged += [answer.result["id"] for answer in answers if answer.status == 201]
        self.over()
        self.assertEqual(self.supervisor.ends, [-signal.SIGSEGV])
        self.finish()


class NoForkTest(faults.FaultCase):
    """tests/fakes/no_fork runs a program under a system call filter: making a process is death by SIGSYS, threads are
    fine.  (That no source of csrd calls fork, popen or system is looked after by "make lint".)"""

    def test_F72_the_filter_works(self):
        """Else the next test proves nothing."""
        for command, status in ((["sh", "-c", "true & wait"], -signal.SIGSYS), (["/bin/true"], 0),
                                (["/usr/bin/python3", "-c", "import threading as t; t.Thread(target=print).start()"], 0),
                                (["/usr/bin/python3", "-c", "import os; os.posix_spawn('/bin/true', ['true'], {})"],
                                 -signal.SIGSYS)):
            with self.subTest(command=command):
                done = harness.run([NO_FORK, *command], check=False)
                self.assertEqual(done.returncode, status, done.stderr)

    def test_F72_no_process_is_made(self):
        # One thread: SoftHSM 2.6.1 may lose what several write (doc/hsm-compatibility.md).
        s = self.shim_service(settings={"token default": {"keep_alive": "100ms", "pool_p256v1": 2, "threads": 1}})
        s.hsm_wrapper = [NO_FORK]
        # The leak check of AddressSanitizer makes a process at the end; the tests beside this one do it.
        s.hsm_environment["ASAN_OPTIONS"] = ":".join(filter(None, (
            s.environment().get("ASAN_OPTIONS"), "detect_leaks=0")))
        self.start_supervised(service=s)
        self.create_ok(key_type="rsa2048")
        self.delete_any(self.acknowledged[0], (200,))
        for rules in (["invalidate-sessions"], ["C_GenerateKeyPair return CKR_DEVICE_ERROR"],
                      ["invalidate-sessions", "C_OpenSession return CKR_DEVICE_ERROR"], ["C_Sign corrupt"]):
            s.shim.set(*rules)
            for _ in range(3):
                self.create_any()
            self.over()
        self.assertEqual(self.supervisor.ends, [])
        self.finish()


if __name__ == "__main__":
    unittest.main()
