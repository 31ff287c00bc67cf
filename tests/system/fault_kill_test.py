"""kill -9 of csrd-hsm at random instants, again and again, under a load of creates and deletes of all key types (F73):
every key belongs to a row that was there before it, no 201 is lost, no two CSRs share a key, and in the end nothing
is unaccounted for.

CSRD_KILLS says how often; "make test-kills" does it a thousand times."""
# run: seconds=20 timeout=3000
import collections
import json
import os
import random
import re
import threading
import time
import unittest

import faults
import harness
from fault_token_test import public_key

KILLS = int(os.environ.get("CSRD_KILLS", "60"))
CLIENTS = 4
LEVEL = os.environ.get("CSRD_KILL_LOG", "notice")
KEEP = 6          # CSRs of a client before it begins to delete
LOOK_EVERY = 20   # kills between two looks at a token that nobody uses
POOL = {"pool_p256v1": 6, "pool_rsa2048": 2}


class Client(threading.Thread):
    """Creates and deletes until it is told to stop, and keeps the books."""

    def __init__(self, case, number):
        super().__init__(daemon=True)
        self.case, self.service = case, case.s
        self.rng = random.Random(number)
        self.stopping = threading.Event()
        self.answers = collections.Counter()
        self.mine = []        # 201, not deleted
        self.gone = []        # 200 to a delete
        self.keys = {}        # id → public key, of every 201
        self.problem = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.one()
        except BaseException as error:
            self.problem = error

    def one(self):
        if len(self.mine) > KEEP:
            self.delete(self.mine.pop(self.rng.randrange(len(self.mine))))
        else:
            self.create(self.rng.choice(("p256v1", "p256v1", "p256v1", "p256v1", "rsa2048")))

    def create(self, key_type):
        answer = self.service.create(key_type=key_type)
        self.answers["create %d" % answer.status] += 1
        if answer.status == 201:
            self.mine.append(answer.result["id"])
            self.keys[answer.result["id"]] = public_key(answer.result["csr"])
        elif answer.status == 503:
            time.sleep(0.01)  # not a whole Retry-After: it is a test
        elif answer.status != 500:  # the module's own errors; few, see account()
            raise AssertionError("a create was answered %s" % answer)

    def delete(self, csr_id):
        answer = self.service.delete(csr_id)
        self.answers["delete %d" % answer.status] += 1
        if answer.status == 200:
            self.gone.append(csr_id)
        elif answer.status != 503:  # 503: it is on its way, and will be gone
            raise AssertionError("a delete was answered %s" % answer)


class FaultKillTest(harness.Case):
    def test_F73_kill_at_random_instants(self):
        s = self.s = self.service(settings={
            "policy": {"reconcile_interval": "1s"}, "log": {"level": LEVEL}, "token default": POOL}).start()
        csrd_pid = s.csrd.pid
        self.clients = [Client(self, number) for number in range(CLIENTS)]
        for client in self.clients:
            client.start()
        rng = random.Random(73)
        self.took = []
        for number in range(1, KILLS + 1):
            self.one_kill(rng, number)
        self.stop_clients()
        self.assertTrue(s.csrd.is_running() and s.csrd.pid == csrd_pid)
        self.settle()
        self.account()
        s.stop()

    def one_kill(self, rng, number):
        made = self.total("create 201")
        # To hit another instant each time; every third time the load has not even begun to run again.
        time.sleep(rng.uniform(0.0, 0.25) if number % 3 else rng.uniform(0.0, 0.02))
        self.s.hsm.kill()
        if number % LOOK_EVERY == 0:
            self.check_dead()
        started = time.monotonic()
        self.s.start_hsm()
        if number % 3:
            self.wait_work(made)
            self.took.append(time.monotonic() - started)
        if number % LOOK_EVERY == 0:
            # What was cut off is settled one after the other; a backlog of all kills would make the token large.
            harness.wait_for("most rows settled", lambda: len(self.s.rows("pending", "deleting")) <= 2 * CLIENTS,
                             harness.PATIENCE * 3, every=0.2)
        for client in self.clients:
            if client.problem:
                raise client.problem

    def total(self, what):
        return sum(client.answers[what] for client in self.clients)

    def wait_work(self, made):
        def works():
            return self.total("create 201") > made or any(client.problem for client in self.clients)
        try:
            harness.wait_for("a create that works again", works)
        except AssertionError as error:
            raise AssertionError("%s\n%s\n%s" % (error, self.s.hsm.tail(), self.s.csrd.tail())) from None

    def check_dead(self):
        """I2 at the very instant of a crash: each active row has its key, each key its row or a name in the journal."""
        s = self.s
        rows = set(s.key_labels("active").values())  # first, for those with a key are still added
        labels = set(s.p11.labels())
        self.assertLessEqual(rows, labels, "an active row without a key")
        known = set(s.key_labels().values()) | set(re.findall(harness.KEY_NAME, s.journal_text()))
        self.assertLessEqual(labels, known, "a key of which nobody knows")

    def stop_clients(self):
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.join(harness.PATIENCE * 3)
            self.assertFalse(client.is_alive())
            if client.problem:
                raise client.problem

    def settle(self):
        s = self.s
        # What SoftHSM keeps of the token in a process may lack an object that other threads were at (F71): a look
        # at the files themselves.
        s.hsm.kill()
        s.start_hsm()
        s.wait_ready()
        created = s.create()
        self.assertEqual(created.status, 201, created)
        self.clients[0].mine.append(created.result["id"])
        self.clients[0].keys[created.result["id"]] = public_key(created.result["csr"])
        s.wait_settled(harness.PATIENCE * 3)
        # A kill may have cut off the destruction of what a failed create left; a comparison finds that and ends it.
        harness.wait_for("nothing left over", lambda: self.report()["leftover"] == 0, harness.PATIENCE * 3, every=0.2)
        # Until then a ready key may be in the making, and half of it on the token.
        harness.wait_for("a full pool", self.pool_is_full, harness.PATIENCE * 3, every=0.2)

    def pool_is_full(self):
        return all(pool["ready"] >= pool["target"] for pool in self.s.csrctl("status")["tokens"][0]["pool"])

    def report(self):
        return json.loads(self.s.csrctl("reconcile", "--min-age", "0", check=False).stdout)

    def account(self):
        s = self.s
        mine = [csr_id for client in self.clients for csr_id in client.mine]
        gone = [csr_id for client in self.clients for csr_id in client.gone]
        keys = {csr_id: key for client in self.clients for csr_id, key in client.keys.items()}
        s.check_sane(self, mine, gone)
        for csr_id in mine:
            self.assertEqual(s.get(csr_id).status, 200)
        self.assertEqual(len(set(keys.values())), len(keys), "two CSRs share a key (I3)")
        self.check_objects()
        report = self.report()
        findings = ("pending", "deleting", "leftover", "missing", "unknown", "busy", "half_pairs")
        self.assertEqual({name: report[name] for name in findings}, dict.fromkeys(findings, 0))
        self.check_audit(keys)
        self.tell(keys)
        self.assertLessEqual(self.total("create 500"), 3 + self.total("create 201") / 100, "token errors")

    def check_objects(self):
        """Every object on the token is half of an active CSR's pair or of a ready key's, no key is there twice."""
        objects = self.s.p11.objects()
        shells = [o for o in objects if self.is_shell(o)]
        objects = [o for o in objects if not self.is_shell(o)]
        rows = set(self.s.key_labels().values())
        pool = [o for o in objects if o["label"] not in rows]
        self.assertEqual([o for o in objects if not re.fullmatch(harness.KEY_NAME, o["label"])], [])
        self.assertLessEqual(len(shells), 2 * 4 * KILLS, "more than a kill can leave")
        print("%d shells of objects that SoftHSM had begun to write, without label, id or key" % len(shells))
        classes = collections.Counter((o["id"], o["class"]) for o in objects)
        self.assertEqual({c for c in classes.values()}, {1}, "a key id is there twice")
        halves = collections.defaultdict(set)
        for o in objects:
            halves[(o["id"], o["label"])].add(o["class"])
        self.assertEqual({key: sorted(c) for key, c in halves.items() if len(c) != 2}, {}, "half pairs")
        self.assertLessEqual(len(pool), 2 * sum(POOL.values()), "ready keys past the targets")

    @staticmethod
    def is_shell(o):
        """SoftHSM makes an object's file with defaults alone, and writes what it is in a second step."""
        return (o["label"], o["id"], o["public"], o["flags"]["local"], o["flags"]["token"]) == (
            "", "", None, False, False)

    def check_audit(self, keys):
        """I1: of every 201 the trail tells that it was made."""
        trail = faults.audit_objects(self.s.store_path, "csr.active")
        self.assertEqual([csr_id for csr_id in keys if csr_id not in trail], [], "a 201 without an audit record")

    def tell(self, keys):
        answers = sum((client.answers for client in self.clients), collections.Counter())
        rows = collections.Counter(self.s.rows().values())
        self.took.sort()
        print("%d kills; answers: %s; rows: %s; %d distinct keys" % (KILLS, dict(answers), dict(rows), len(keys)))
        print("from the start of a signer to the next 201: median %.2f s, worst %.2f s" % (
            self.took[len(self.took) // 2], self.took[-1]))


if __name__ == "__main__":
    unittest.main()
