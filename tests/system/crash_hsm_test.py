"""kill -9 of csrd-hsm at each named point of create and destroy, and at random times while it generates (F69, F73):
the caller gets 503, nothing acknowledged is lost, half pairs are cleaned, no row stays open."""
# run: seconds=105 timeout=400
import random
import threading
import time
import unittest

from crash_rounds import ROUNDS, CrashCase

BOTH, LONE, NONE = ["private", "public"], ["public"], None


class CrashHsmTest(CrashCase):
    def rounds(self, point, act, left):
        """left: the objects that the crash must leave under the label, so that the round is about what it says."""
        self.start_service()
        for number in range(ROUNDS):
            self.acknowledge()
            rows = self.s.rows()
            self.s.arm("csrd-hsm", point)
            answer, csr_id = act()
            self.assertEqual((answer.status, answer.codes), (503, [1503]), answer)
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
            self.wait_killed(self.s.hsm)
            if csr_id is None:
                (csr_id,) = set(self.s.rows("pending")) - set(rows)
            self.assertEqual(self.s.p11.labels().get("csrd:" + csr_id), left)
            self.s.start_hsm()
            self.s.wait_ready()
            self.check_round("%s, round %d" % (point, number + 1))
        self.assertTrue(self.s.csrd.is_running())
        self.finish()

    def create_rounds(self, point, left):
        self.rounds(point, lambda: (self.create_while_crashing(), None), left)

    def destroy_rounds(self, point, left):
        def act():
            answer, csr_id = self.delete_while_crashing()
            self.gone.append(csr_id)  # `deleting` is durable: it ends destroyed
            return answer, csr_id
        self.rounds(point, act, left)

    def test_create_before_keygen(self):
        self.create_rounds("signer.create.before-keygen", NONE)

    def test_create_half_pair(self):
        self.create_rounds("signer.create.half-pair", LONE)

    def test_create_after_keygen(self):
        self.create_rounds("signer.create.after-keygen", BOTH)

    def test_create_after_verify(self):
        self.create_rounds("signer.create.after-verify", BOTH)

    def test_destroy_before(self):
        self.destroy_rounds("signer.destroy.before", BOTH)

    def test_destroy_after_private(self):
        self.destroy_rounds("signer.destroy.after-private", LONE)

    def test_destroy_after_public(self):
        self.destroy_rounds("signer.destroy.after-public", NONE)

    def test_destroy_before_reply(self):
        self.destroy_rounds("signer.destroy.before-reply", NONE)

    def test_random_kill_in_generation(self):
        """No failpoint: the module itself is cut off wherever it is, with several generations at work."""
        self.start_service()
        rng = random.Random(20)  # the same delays each time; what they hit differs anyhow
        for number in range(ROUNDS):
            workers = [threading.Thread(target=self.create_while_crashing, kwargs={"key_type": kind})
                       for kind in ("rsa2048", "p256v1", "p256v1", "p256v1")]
            for worker in workers:
                worker.start()
            time.sleep(rng.uniform(0.0, 0.3))  # not for being right: to hit another instant each round
            self.s.hsm.kill()
            for worker in workers:
                worker.join()
            self.s.start_hsm()
            self.s.wait_ready()
            self.check_round("random kill, round %d" % (number + 1))
        self.finish()


if __name__ == "__main__":
    unittest.main()
