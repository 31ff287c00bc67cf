"""kill -9 of csrd at each named point of create, delete and settling (F73): nothing acknowledged is lost, no key is without a
row, no row stays open."""
# run: waits seconds=25 timeout=400
import random
import threading
import time
import unittest

import harness
from crash_rounds import ROUNDS, CrashCase

CREATE = ("create.before-commit", "create.after-commit", "create.before-confirm")
DELETE = ("delete.after-deleting", "settle.after-key", "delete.after-destroyed")
SETTLE = ("settle.after-shut", "settle.after-key")


class CrashCsrdTest(CrashCase):
    def crash(self, point, act):
        self.s.arm("csrd", point)
        act()
        self.wait_killed(self.s.csrd)
        self.restart()

    def restart(self):
        self.s.start_csrd()
        self.s.wait_ready()

    def rounds(self, point, one_round, count=ROUNDS):
        self.start_service()
        for number in range(count):
            one_round()
            self.check_round("%s, round %d" % (point, number + 1))
        self.finish()

    def create_rounds(self, point):
        def one_round():
            answers = []
            self.crash(point, lambda: answers.append(self.create_while_crashing()))
            self.assertEqual(answers, [None], "no answer is given past the point")
        self.rounds(point, one_round)
        # The create was durable before the crash, answered or not.
        extra = 1 if point == "create.after-commit" else 0
        self.assertEqual(len(self.final_active), len(self.acknowledged) + extra * ROUNDS)

    def delete_rounds(self, point):
        def one_round():
            deleted = []
            self.crash(point, lambda: deleted.append(self.delete_while_crashing()))
            answer, csr_id = deleted[0]
            self.assertIsNone(answer)
            # `deleting` was durable before the point, so it ends destroyed.
            self.gone.append(csr_id)
        self.rounds(point, one_round)

    def finish(self):
        self.final_active = self.s.rows("active")
        self.acknowledged_before_finish = len(self.acknowledged)
        super().finish()
        self.acknowledged = self.acknowledged[:self.acknowledged_before_finish]

    def test_create_before_commit(self):
        self.create_rounds(CREATE[0])

    def test_create_after_commit(self):
        self.create_rounds(CREATE[1])

    def test_create_before_confirm(self):
        """J6: it was answered, and the signer does not know."""
        def one_round():
            self.s.wait_confirmed()
            self.crash(CREATE[2], self.acknowledge)
        self.rounds(CREATE[2], one_round)
        self.assertEqual(set(self.final_active), set(self.acknowledged))

    def test_delete_after_deleting(self):
        self.delete_rounds(DELETE[0])

    def test_delete_before_destroyed(self):
        self.delete_rounds(DELETE[1])

    def test_delete_after_destroyed(self):
        self.delete_rounds(DELETE[2])

    def settle_rounds(self, crash_point, settle_point):
        """csrd is killed in the middle of a create, and again while the next start settles what that left."""
        def one_round():
            self.s.arm("csrd", crash_point)
            self.assertIsNone(self.create_while_crashing())
            self.wait_killed(self.s.csrd)
            self.s.arm("csrd", settle_point)
            self.s.start_csrd()
            self.wait_killed(self.s.csrd)
            self.restart()
            harness.wait_for("the key of a failed row to go", self.keys_have_rows)
        self.rounds(crash_point + ", then " + settle_point, one_round, max(2, ROUNDS // 4))

    def keys_have_rows(self):
        return set(self.s.p11.labels()) <= set(self.s.key_labels("active").values())

    def test_settle_after_shut(self):
        self.settle_rounds(CREATE[0], SETTLE[0])

    def test_settle_after_key(self):
        self.settle_rounds(CREATE[0], SETTLE[1])

    def test_random_kill(self):
        """No failpoint: creates and deletes at work, and the signer goes on with what it was told."""
        self.start_service()
        rng = random.Random(21)  # the same delays each time; what they hit differs anyhow
        for number in range(ROUNDS):
            victims = [self.acknowledge() for _ in range(2)]
            work = [lambda kind=kind: self.create_while_crashing(key_type=kind)
                    for kind in ("rsa2048", "p256v1", "p256v1")]
            work += [lambda victim=victim: self.delete_one_while_crashing(victim) for victim in victims]
            workers = [threading.Thread(target=self.ignore_refusal, args=(one,)) for one in work]
            for worker in workers:
                worker.start()
            time.sleep(rng.uniform(0.0, 0.15))  # not for being right: to hit another instant each round
            self.s.csrd.kill()
            for worker in workers:
                worker.join()
            self.restart()
            self.check_round("random kill, round %d" % (number + 1))
        super().finish()

    def ignore_refusal(self, function):
        try:
            function()
        except ConnectionRefusedError:
            pass  # csrd was dead before this one came


if __name__ == "__main__":
    unittest.main()
