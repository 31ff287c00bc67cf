"""Idempotency-Key through the whole service (F87): one key pair however often, however parallel, across crashes; the
same key with another body is 409."""
# run: seconds=15
import signal
import time
import unittest

import harness


class IdempotencyTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.s = self.service().start()

    def create(self, key, **fields):
        return self.s.create(headers={"Idempotency-Key": key}, **fields)

    def create_until_done(self, key, **fields):
        """As a client does: again after a 503, as long as Retry-After asks for it."""
        for _ in range(20):
            answer = self.create(key, **fields)
            if answer.status != 503:
                return answer
            time.sleep(min(float(answer.headers["Retry-After"]), 2))
        return answer

    def check_one(self, *ids):
        """These and no others are active, each with its key."""
        self.s.wait_settled()
        self.s.check_sane(self, ids)
        self.assertEqual(set(self.s.rows("active")), set(ids))

    def test_twice(self):
        first = self.create("k-1", name="one")
        again = self.create("k-1", name="one")
        self.assertEqual((first.status, again.status), (201, 201))
        self.assertEqual(first.json, again.json)
        other = self.create("k-2", name="one")
        self.assertEqual(other.status, 201)
        self.check_one(first.result["id"], other.result["id"])

    def test_across_restart(self):
        first = self.create("k", key_type="rsa2048")
        self.s.stop()
        self.s.start()
        self.assertEqual(self.create("k", key_type="rsa2048").json, first.json)
        self.check_one(first.result["id"])

    def test_other_body(self):
        first = self.create("k")
        for fields in ({"name": "x"}, {"sans": ["example.com"]}, {"key_type": "rsa2048"}):
            answer = self.create("k", **fields)
            self.assertEqual((answer.status, answer.codes), (409, [1421]), fields)
            self.assertEqual(answer.headers["x-should-retry"], "false")
        self.assertEqual(self.create("k").json, first.json)
        self.check_one(first.result["id"])

    def test_other_scope_and_principal(self):
        """A key belongs to who said it, and to the account or zone it was said for."""
        mine = self.create("k").result["id"]
        zone = self.s.create(zone=True, headers={"Idempotency-Key": "k"}).result["id"]
        self.s.bearer = lambda: {"X-Auth-Email": self.s.email, "X-Auth-Key": self.s.key}
        theirs = self.create("k").result["id"]
        self.assertEqual(len({mine, zone, theirs}), 3)
        self.check_one(mine, zone, theirs)

    def test_ten_in_parallel(self):
        for key_type in ("rsa2048", "p256v1"):
            answers = harness.in_parallel([lambda: self.create("parallel-" + key_type, key_type=key_type)] * 10)
            done = [answer for answer in answers if answer.status == 201]
            waiting = [answer for answer in answers if answer.status != 201]
            self.assertGreaterEqual(len(done), 1)
            for answer in waiting:
                self.assertEqual((answer.status, answer.codes), (503, [1503]), answer)
                self.assertGreater(int(answer.headers["Retry-After"]), 0)
            final = self.create_until_done("parallel-" + key_type, key_type=key_type)
            self.assertEqual([answer.json for answer in done], [final.json] * len(done))
        self.assertEqual(len(self.s.rows()), 2, "one row for each key, failed ones included")
        self.check_one(*self.s.rows("active"))

    def crash_csrd(self, point):
        self.s.arm("csrd", point)
        with self.assertRaises(harness.GoneAway):
            self.create(point)
        self.assertEqual(self.s.csrd.wait(), -signal.SIGKILL)
        before = self.s.rows()
        self.s.start_csrd()
        self.s.wait_ready()
        return before

    def test_kill_after_the_first_was_durable(self):
        before = self.crash_csrd("create.after-active")
        self.assertEqual(list(before.values()), ["active"])
        answer = self.create("create.after-active")
        self.assertEqual(answer.status, 201)
        self.check_one(*before)
        self.assertEqual([answer.result["id"]], list(before))

    def test_kill_before_the_first_was_durable(self):
        done = []
        for point in ("create.after-pending", "create.before-active"):
            before = self.crash_csrd(point)
            self.assertIn("pending", before.values())
            answer = self.create_until_done(point)
            self.assertEqual(answer.status, 201)
            self.assertNotIn(answer.result["id"], before)
            done.append(answer.result["id"])
            self.check_one(*done)

    def test_kill_of_the_signer(self):
        self.s.arm("csrd-hsm", "signer.create.after-keygen")
        answer = self.create("k")
        self.assertEqual((answer.status, answer.codes), (503, [1503]))
        self.assertEqual(self.s.hsm.wait(), -signal.SIGKILL)
        self.s.start_hsm()
        self.s.wait_ready()
        answer = self.create_until_done("k")
        self.assertEqual(answer.status, 201)
        self.check_one(answer.result["id"])


if __name__ == "__main__":
    unittest.main()
