"""Idempotency-Key through the whole service (F87): one key pair however often, however parallel, across crashes; the
same key with another body is 409.  A repeat waits for the first and ends as that one did (F137)."""
# run: waits seconds=20
import json
import signal
import socket
import threading
import unittest

import faults
import harness


class IdempotencyTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.s = self.service().start()

    def create(self, key, **fields):
        return self.s.create(headers={"Idempotency-Key": key}, **fields)

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
            self.assertEqual([answer.status for answer in answers], [201] * 10)
            self.assertEqual([answer.json for answer in answers], [answers[0].json] * 10)
        self.assertEqual(len(self.s.rows()), 2, "one row for each key")
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
        before = self.crash_csrd("create.after-commit")
        self.assertEqual(list(before.values()), ["active"])
        answer = self.create("create.after-commit")
        self.assertEqual(answer.status, 201)
        self.check_one(*before)
        self.assertEqual([answer.result["id"]], list(before))

    def test_kill_before_the_first_was_durable(self):
        self.assertEqual(self.crash_csrd("create.before-commit"), {})
        answer = self.create("create.before-commit")
        self.assertEqual(answer.status, 201)
        self.check_one(answer.result["id"])

    def test_kill_of_the_signer(self):
        self.s.arm("csrd-hsm", "signer.create.after-keygen")
        answer = self.create("k")
        self.assertEqual((answer.status, answer.codes), (503, [1503]))
        self.assertEqual(self.s.hsm.wait(), -signal.SIGKILL)
        self.s.start_hsm()
        self.s.wait_ready()
        answer = self.create("k")
        self.assertEqual(answer.status, 201)
        self.check_one(answer.result["id"])


class SlowSignerTest(faults.FaultCase):
    """F137: a generation takes a second and a half."""

    def start(self, **http):
        self.s = self.shim_service(settings={"http": http}).start()
        self.s.shim.set("C_GenerateKeyPair sleep 1500ms")
        self.generated = self.s.shim.count("C_GenerateKeyPair")

    def create(self):
        return self.s.create(headers={"Idempotency-Key": "k"})

    def start_create(self):
        """One on a thread of its own, and its answer to come; it is at work when this returns."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.create()), daemon=True)
        thread.start()
        self.s.wait_at_work()
        return thread, answers

    def check_one(self, answers):
        self.assertEqual([answer.status for answer in answers], [201] * len(answers))
        self.assertEqual([answer.json for answer in answers], [answers[0].json] * len(answers))
        self.assertEqual(self.s.shim.count("C_GenerateKeyPair"), self.generated + 1)
        self.assertEqual(list(self.s.rows()), [answers[0].result["id"]])

    def test_ten_in_parallel(self):
        self.start()
        self.check_one(harness.in_parallel([self.create] * 10))
        self.s.check_sane(self)

    def test_first_client_leaves(self):
        self.start()
        body = json.dumps({**harness.SUBJECT, "key_type": "p256v1"})
        head = ["POST /client/v4%s HTTP/1.1" % self.s.scope_path(), "Host: h", "Idempotency-Key: k",
                "Authorization: " + self.s.bearer()["Authorization"], "Content-Type: application/json",
                "Content-Length: %d" % len(body), "", ""]
        with socket.create_connection(self.s.address) as client:
            client.sendall(("\r\n".join(head) + body).encode())
            self.s.wait_at_work()
        self.check_one(harness.in_parallel([self.create] * 2))

    def test_drain(self):
        self.start()
        first, answers = self.start_create()
        second = threading.Thread(target=lambda: answers.append(self.create()), daemon=True)
        second.start()
        self.s.csrd.wait_log("waiting for CSR ")
        self.assertEqual(self.s.csrd.terminate(), 0)
        first.join(harness.PATIENCE)
        second.join(harness.PATIENCE)
        self.assertEqual(len(answers), 2)
        self.check_one(answers)

    def test_time_is_up(self):
        """Nobody knows what became of the first, so a repeat is a create of its own; one key is left in the end."""
        self.start(request_timeout="1s")
        self.s.shim.set("C_GenerateKeyPair sleep 4s")
        for _ in range(2):
            answer = self.create()
            self.assertEqual((answer.status, answer.codes, answer.headers["Retry-After"]), (503, [1503], "5"))
        self.s.shim.clear()
        harness.wait_for("idle threads", lambda: not self.s.csrctl("status")["tokens"][0]["busy"])
        harness.wait_for("the keys that nobody got to go", lambda: not self.s.p11.labels(), harness.PATIENCE * 2)
        answer = self.create()
        self.assertEqual(answer.status, 201)
        self.s.check_sane(self, [answer.result["id"]])


if __name__ == "__main__":
    unittest.main()
