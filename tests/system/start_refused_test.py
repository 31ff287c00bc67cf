"""What a start says when the system refuses something that it needs."""
import errno
import sqlite3
import unittest

import harness

EXIT_UNAVAILABLE, EXIT_SYSTEM = 69, 71
REFUSE = harness.BIN.parent / "tests" / "fakes" / "refuse_calls.so"


@unittest.skipIf(harness.SANITIZE, "a sanitizer's library must come first")
class StartRefused(harness.Case):
    """The preloaded library stands for a system call filter or a limit of the unit."""

    def refuse(self, service, *calls):
        path = self.folder / "refuse"
        path.write_text("".join("%s %d\n" % call for call in calls))
        original = service.environment

        def environment(program=None):
            return {**original(program), "LD_PRELOAD": str(REFUSE), "CSRD_REFUSE_FILE": str(path)}
        service.environment = environment
        return path

    def ended(self, process, status, says):
        self.assertEqual(process.popen.wait(harness.PATIENCE), status, process.tail())
        self.assertRegex(process.log(), says)
        self.assertNotIn("out of memory", process.log())
        self.assertNotIn("out of memory", process.log())

    def test_F110_csrd_without_randomness(self):
        service = self.service()
        self.refuse(service, ("getrandom", errno.ENOSYS))
        self.ended(service.start_csrd(wait=False), EXIT_SYSTEM,
                   "cannot start: the kernel gives no random bytes: Function not implemented")

    def test_F110_create_without_randomness(self):
        service = self.service()
        path = self.refuse(service)
        service.start()
        path.write_text("getrandom %d\n" % errno.EIO)
        answer = service.create()
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "5"), answer)
        self.assertEqual(service.rows(), {})
        self.assertRegex(service.csrd.log(), "the kernel gives no random bytes: Input/output error")
        path.write_text("getrandom %d\n" % errno.EAGAIN)
        self.assertEqual(service.create().status, 503)
        path.write_text("")
        self.assertEqual(service.create().status, 201)
        service.stop()

    def test_F110_csrctl_without_randomness(self):
        service = self.service()
        self.refuse(service, ("getrandom", errno.EIO))
        for command in ["account", "add"], ["token", "create", "--name", "x", "--account", service.account]:
            done = service.csrctl(*command, check=False)
            self.assertEqual(done.returncode, EXIT_SYSTEM, done.stderr)
            self.assertRegex(done.stderr, "cannot make .*: Input/output error")

    def test_F111_csrd_without_eventfd(self):
        service = self.service()
        self.refuse(service, ("eventfd", errno.EPERM))
        self.ended(service.start_csrd(wait=False), EXIT_SYSTEM, "eventfd.*: Operation not permitted")

    def test_F111_csrd_hsm_without_mlock(self):
        service = self.service()
        for number, says in (errno.EPERM, "Operation not permitted"), (errno.ENOMEM, "LimitMEMLOCK"):
            with self.subTest(number):
                self.refuse(service, ("mlock", number))
                self.ended(service.start_hsm(wait=False), EXIT_SYSTEM, "cannot lock .* in memory.*" + says)

    def test_F112_store_that_may_not_be_written(self):
        """The disk's refusal is no damage: the unit starts csrd again, and the line says what was refused."""
        service = self.service()
        self.refuse(service, ("pwrite", errno.EPERM))
        self.ended(service.start_csrd(wait=False), EXIT_SYSTEM, "csrd.db.*Operation not permitted")

    def test_F81_store_that_stays_locked(self):
        """Whoever locked it may let it go: the unit starts csrd again."""
        service = self.service()
        database = sqlite3.connect(service.store_path)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        try:
            self.ended(service.start_csrd(wait=False), EXIT_UNAVAILABLE, "database is locked")
        finally:
            database.close()

    def test_F116_not_ready_while_nothing_can_be_written(self):
        service = self.service()
        path = self.refuse(service)
        service.start()
        for number, says in ((errno.ENOSPC, "the disk is full"), (errno.EIO, "input/output error")):
            with self.subTest(says):
                path.write_text("pwrite %d\n" % number)
                self.assertEqual(service.create().status, 503)
                answer = harness.http_request(service.address, "GET", "/readyz")
                self.assertEqual(answer.status, 503)
                self.assertEqual([error["message"] for error in answer.json["errors"]],
                                 ["store: cannot be written: " + says])
                self.assertEqual(service.request("GET", service.scope_path()).status, 200)
                service.wait_ready(503)
                path.write_text("")
                service.wait_ready() # by itself: nobody has written meanwhile
                self.assertEqual(service.create().status, 201)
        service.stop()


if __name__ == "__main__":
    unittest.main()
