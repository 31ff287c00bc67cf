"""What the crash tests share: kill -9 at a named point, start again, and everything must be as promised."""
import os
import signal

import harness

ROUNDS = int(os.environ.get("CSRD_CRASH_ROUNDS", "3"))

FINDINGS = ("pending", "deleting", "leftover", "missing", "unknown", "busy", "half_pairs")
SETTINGS = {"log": {"level": "info"}, "policy": {"reconcile_interval": "1s"}}


class CrashCase(harness.Case):
    """One service for all rounds of a test; `acknowledged` are ids of 201s that were not deleted since."""

    def start_service(self):
        self.s = self.service(settings=SETTINGS).start()
        self.acknowledged = []
        self.gone = []

    def acknowledge(self, **fields):
        answer = self.s.create(**fields)
        self.assertEqual(answer.status, 201, answer)
        self.acknowledged.append(answer.result["id"])
        return answer.result["id"]

    def try_request(self, function):
        """An answer, or None when csrd died before it gave one."""
        try:
            return function()
        except harness.GoneAway:
            return None

    def create_while_crashing(self, **fields):
        answer = self.try_request(lambda: self.s.create(**fields))
        if answer is not None and answer.status == 201:
            self.acknowledged.append(answer.result["id"])
        return answer

    def delete_while_crashing(self):
        """Deletes a fresh one: the answer or None, and its id."""
        csr_id = self.acknowledge()
        return self.delete_one_while_crashing(csr_id), csr_id

    def delete_one_while_crashing(self, csr_id):
        # From here on it may be there or not, but a 200 promises that it is gone.
        self.acknowledged.remove(csr_id)
        answer = self.try_request(lambda: self.s.delete(csr_id))
        if answer is not None and answer.status == 200:
            self.gone.append(csr_id)
        return answer

    def wait_killed(self, process):
        self.assertEqual(process.wait(), -signal.SIGKILL, "the failpoint was not reached\n" + process.tail())

    def check_round(self, what):
        """After the restart: settled, and keys and rows agree; every 201 is there."""
        try:
            self.s.wait_settled()
            self.s.check_sane(self, self.acknowledged, self.gone)
            for csr_id in self.acknowledged[-3:]:
                self.assertEqual(self.s.get(csr_id).status, 200)
            for csr_id in self.gone[-3:]:
                self.assertEqual(self.s.get(csr_id).status, 404)
        except AssertionError as error:
            logs = "\n-- csrd\n%s\n-- csrd-hsm\n%s" % (self.s.csrd.tail(), self.s.hsm.tail())
            raise AssertionError("%s: %s%s" % (what, error, logs)) from None

    def finish(self):
        """An ordinary create still works, nothing is left to reconcile, and every 201 of all rounds can be had."""
        self.acknowledge()
        for csr_id in self.acknowledged:
            self.assertEqual(self.s.get(csr_id).status, 200)
        report = self.s.csrctl("reconcile", "--min-age", "0")
        self.assertEqual({finding: report[finding] for finding in FINDINGS}, dict.fromkeys(FINDINGS, 0))
        self.s.stop()
