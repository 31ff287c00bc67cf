"""F88, F400: as no_memory_test.py, at every place of the requests and at every third place of a start."""
# run: named seconds=420 timeout=1500
import unittest

import harness
import no_memory


@unittest.skipIf(harness.SANITIZE, "a sanitizer's library must come first")
class NoMemoryAllTest(no_memory.NoMemoryCase):
    def test_F88_csrd_at_work(self):
        self.no_memory_service().start()
        for flow in self.create, self.list, self.read, self.delete:
            self.at_work("csrd", flow)
        self.check_sane()
        self.s.stop()

    def test_F88_csrd_hsm_at_work(self):
        self.no_memory_service().start()
        for flow in self.create, self.delete:
            self.at_work("csrd-hsm", flow)
        self.check_sane()
        self.s.stop()

    def test_F400_at_start(self):
        self.no_memory_service()
        for program in "csrd", "csrd-hsm":
            places = self.learn_start(program)
            for number in self.some(places, len(places) // 3):
                with self.subTest(program=program, number=number):
                    (self.s.folder / "state" / "probe").unlink(missing_ok=True)
                    self.start_once(program, number)


if __name__ == "__main__":
    unittest.main()
