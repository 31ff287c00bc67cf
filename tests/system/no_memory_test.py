"""F88: memory runs out at some calls of each of four requests, and of a start, in csrd and in csrd-hsm; "make
test-rare" does so at each place (no_memory_all_test.py).  CSRD_SEED chooses others."""
# run: seconds=15
import unittest

import harness
import no_memory


@unittest.skipIf(harness.SANITIZE, "a sanitizer's library must come first")
class NoMemoryTest(no_memory.NoMemoryCase):
    def test_F88_at_work(self):
        self.no_memory_service().start()
        self.at_work("csrd", self.create, 4)
        self.at_work("csrd", self.list, 2)
        self.at_work("csrd", self.read, 2)
        self.at_work("csrd", self.delete, 4)
        self.at_work("csrd-hsm", self.create, 6)
        self.at_work("csrd-hsm", self.delete, 2)
        self.check_sane()
        self.s.stop()

    def test_F88_at_start(self):
        """Without a look at the places, which takes longer than the starts: most calls of csrd read the suffixes."""
        self.no_memory_service()
        for program, calls in ("csrd", 3500), ("csrd-hsm", 10000):
            for _ in range(3):
                number = self.random.randrange(200, calls)
                with self.subTest(program=program, number=number):
                    self.start_once(program, number)


if __name__ == "__main__":
    unittest.main()
