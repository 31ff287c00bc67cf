"""F21: accept(2) fails for a client that has left meanwhile, for lack of memory or buffers, or for a signal: both
programs go on, and log little."""
import errno
import os
import re
import socket
import unittest

import harness

REFUSE = harness.BIN.parent / "tests" / "fakes" / "refuse_calls.so"


@unittest.skipIf(harness.SANITIZE, "a sanitizer's library must come first")
class AcceptErrors(harness.Case):
    ERRORS = (errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENOBUFS, errno.ENOMEM, errno.EINTR)

    def start(self):
        service = self.service(settings={"log": {"level": "info"}})
        original = service.environment

        def environment(program=None):
            values = original(program)
            if program in ("csrd", "csrd-hsm"):
                values.update(LD_PRELOAD=str(REFUSE), CSRD_REFUSE_FILE=str(self.folder / program))
            return values
        service.environment = environment
        return service.start()

    def refuse(self, program, number=None):
        path = self.folder / program
        fresh = path.with_suffix(".new")
        fresh.write_text("" if number is None else "accept4 %d\n" % number)
        fresh.rename(path)

    def test_F21_csrd(self):
        service = self.start()
        for number in self.ERRORS:
            with self.subTest(os.strerror(number)):
                self.refuse("csrd", number)
                for _ in range(5):  # these may be served, hung up on, or wait in the kernel's queue
                    try:
                        harness.http_request(service.address, "GET", "/healthz", timeout=0.05)
                    except (harness.GoneAway, TimeoutError, OSError):
                        pass
                self.refuse("csrd")
                self.assertEqual(service.create().status, 201)
        lines = re.findall("cannot accept a connection: (.*); trying", service.csrd.log())
        self.assertTrue(0 < len(lines) <= len(self.ERRORS), lines)
        service.stop()

    def test_F21_csrd_hsm(self):
        service = self.start()
        for number in self.ERRORS:
            with self.subTest(os.strerror(number)):
                self.refuse("csrd-hsm", number)
                for _ in range(5):
                    with socket.socket(socket.AF_UNIX) as caller:
                        caller.connect(str(service.socket_path))
                self.refuse("csrd-hsm")
                self.assertEqual(service.csrctl("status")["tokens"][0]["usable"], True)
                self.assertEqual(service.create().status, 201)
        self.assertLessEqual(service.hsm.log().count("cannot accept"), 20)
        service.stop()


if __name__ == "__main__":
    unittest.main()
