"""kill -9 of csrd-hsm at each named point of create, confirm and destroy, and at random times while it generates (F69, F73):
the caller gets 503, nothing acknowledged is lost, no key is without a row, half pairs are cleaned, no row stays open."""
# run: seconds=60 timeout=700
import random
import threading
import time
import unittest

import faults
from crash_rounds import ROUNDS, CrashCase

BOTH, LONE, NONE = ["private", "public"], ["public"], None
NAMES = 16  # that are reserved at a time


class CrashHsmTest(CrashCase):
    def rounds(self, point, act, left):
        """left: the objects that the crash must leave under the name of the key, so that the round is about what it says."""
        self.start_service()
        self.failed = 0
        for number in range(ROUNDS):
            self.acknowledge()
            self.s.wait_confirmed()
            self.s.arm("csrd-hsm", point)
            answer, label = act()
            self.assertEqual((answer.status, answer.codes), (503, [1503]), answer)
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
            self.wait_killed(self.s.hsm)
            self.assertEqual(self.on_token(label), left)
            self.s.start_hsm()
            self.s.wait_ready()
            self.check_round("%s, round %d" % (point, number + 1))
        self.assertTrue(self.s.csrd.is_running())
        self.assertEqual(len(faults.audit_objects(self.s.store_path, "csr.failed")), self.failed)
        self.finish()

    def on_token(self, label):
        """The objects under that name; without one under the only name that no row has."""
        labels = self.s.p11.labels()
        if label:
            return labels.get(label)
        rowless = set(labels) - set(self.s.key_labels().values())
        self.assertLessEqual(len(rowless), 1)
        return labels[rowless.pop()] if rowless else None

    def create_rounds(self, point, left):
        def act():
            self.failed += 1
            return self.create_until_killed(), None
        self.rounds(point, act, left)

    def create_until_killed(self):
        """Most points are reached by the first one, that of new names by the one that finds none."""
        for _ in range(NAMES + 1):
            answer = self.create_while_crashing()
            if answer.status != 201:
                break
        return answer

    def destroy_rounds(self, point, left):
        def act():
            answer, csr_id = self.delete_while_crashing()
            self.gone.append(csr_id)  # `deleting` is durable: it ends destroyed
            return answer, self.s.label(csr_id)
        self.rounds(point, act, left)

    def test_create_after_reserve(self):
        self.create_rounds("signer.create.after-reserve", NONE)

    def test_create_before_keygen(self):
        self.create_rounds("signer.create.before-keygen", NONE)

    def test_create_half_pair(self):
        self.create_rounds("signer.create.half-pair", LONE)

    def test_create_after_keygen(self):
        self.create_rounds("signer.create.after-keygen", BOTH)

    def test_create_after_made(self):
        self.create_rounds("signer.create.after-made", BOTH)

    def test_create_after_sign(self):
        self.create_rounds("signer.create.after-sign", BOTH)

    def test_create_after_verify(self):
        self.create_rounds("signer.create.after-verify", BOTH)

    def test_create_before_used_is_durable(self):
        self.create_rounds("journal.before-sync", BOTH)

    def test_create_after_used(self):
        """The signer knows a CSR of which there is no row: csrd has the key destroyed."""
        self.create_rounds("signer.create.after-used", BOTH)

    def confirm_rounds(self, point):
        """The signer dies when it is told that a row is there: it is told again, and the key stays."""
        self.start_service()
        for number in range(ROUNDS):
            self.s.arm("csrd-hsm", point)
            self.acknowledge()
            self.wait_killed(self.s.hsm)
            self.s.start_hsm()
            self.s.wait_ready()
            self.s.wait_confirmed()
            self.check_round("%s, round %d" % (point, number + 1))
        self.assertEqual(faults.audit_objects(self.s.store_path, "csr.failed"), set())
        self.finish()

    def test_confirm_before_bound(self):
        self.confirm_rounds("signer.confirm.before-journal")

    def test_confirm_after_bound(self):
        self.confirm_rounds("signer.confirm.before-reply")

    def test_destroy_before(self):
        self.destroy_rounds("signer.destroy.before", BOTH)

    def test_destroy_after_private(self):
        self.destroy_rounds("signer.destroy.after-private", LONE)

    def test_destroy_after_public(self):
        self.destroy_rounds("signer.destroy.after-public", NONE)

    def test_destroy_before_journal(self):
        self.destroy_rounds("signer.destroy.before-journal", NONE)

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
