"""Clocks that are ahead and are set right, or are set wrong: F106 of doc/faults.md."""
# run: seconds=4
# run: variants=release
import harness

CLOCK = harness.BIN.parent / "tests" / "fakes" / "clock_ahead.so"
MINUTES, YEARS = 600, 10 * 365 * 86400


class Service(harness.Service):
    """Whose programs are started with a clock that is `ahead` by so many seconds."""
    ahead = 0

    def environment(self, program=None):
        environment = super().environment(program)
        if self.ahead:
            environment.update(LD_PRELOAD=str(CLOCK), CLOCK_AHEAD_S=str(self.ahead))
        return environment


class ClockTest(harness.Case):
    def setUp(self):
        super().setUp()
        folder = self.folder / "s"
        folder.mkdir()
        self.s = Service(self, folder, self.logs(), {"policy": {"reconcile_interval": "1s"}})
        self.s.start_hsm()

    def leave_open(self, ahead, deletes=False, headers=None):
        """What a crash left open while the clock was ahead: a row, whose id it is, or a key without one, then None."""
        s = self.s
        s.ahead = ahead
        s.start_csrd()
        s.wait_ready()
        if deletes:
            csr_id = s.create().result["id"]
        s.arm("csrd", "delete.after-deleting" if deletes else "create.before-commit")
        with self.assertRaises((harness.GoneAway, OSError)):
            if deletes:
                s.delete(csr_id)
            else:
                s.create(headers=headers)
        s.csrd.wait()
        s.ahead = 0
        return list(s.rows("deleting"))[-1] if deletes else None

    def test_F106_rows_of_the_future_are_settled_at_once(self):
        s = self.s
        for ahead in (MINUTES, YEARS):
            for deletes in (False, True):
                with self.subTest(ahead=ahead, deletes=deletes):
                    csr_id = self.leave_open(ahead, deletes)
                    s.start_csrd()
                    s.wait_settled()
                    if deletes:
                        self.assertEqual(s.rows()[csr_id], "destroyed")
                    harness.wait_for("a clean token", lambda: not s.p11.labels())
                    s.csrd.terminate()

    def test_F106_a_create_can_be_sent_again(self):
        s = self.s
        again = {"Idempotency-Key": "once"}
        self.leave_open(YEARS, headers=again)
        s.start_csrd()
        answer = harness.wait_for("an answer other than 503", lambda: [a for a in [s.create(headers=again)] if
                                                                       a.status != 503], every=0.05)[0]
        self.assertEqual(answer.status, 201, answer)
        s.check_sane(self, [answer.result["id"]])

    def test_F106_csrctl_settles_and_doctor_and_verify_name_them(self):
        s = self.s
        for minimum in ((), ("--min-age", "0s")):
            csr_id = self.leave_open(YEARS, deletes=True)
            done = s.csrctl("verify", check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertEqual([(f["kind"], f["object"]) for f in harness.json.loads(done.stdout)["findings"]],
                             [("unsettled", csr_id)])
            checks = {c["name"]: c for c in harness.json.loads(s.csrctl("doctor", check=False).stdout)["checks"]}
            self.assertEqual(checks["store-open-times"]["status"], "warn")
            self.assertIn(csr_id, checks["store-open-times"]["found"])
            report = s.csrctl("reconcile", "--apply", *minimum)
            self.assertEqual((report["deleting"], report["busy"], report["left"]), (1, 0, 0))
            self.assertEqual(s.rows()[csr_id], "destroyed")
            self.assertEqual(s.p11.labels(), {})

    def test_F106_what_csrd_makes_right_now_is_left_to_it(self):
        """csrctl's clock is wrong either way, and a create is under way: only the operator's word touches it."""
        s = self.s
        s.start_csrd()
        s.wait_ready()
        s.arm("csrd", "create.before-commit", sleep=True)
        caller = harness.threading.Thread(target=self.create_until_it_ends, daemon=True)
        caller.start()
        s.wait_at_failpoint("csrd")
        for ahead in (MINUTES, YEARS, -MINUTES):
            s.ahead = ahead
            done = s.csrctl("reconcile", "--apply", check=False)
            report = harness.json.loads(done.stdout)
            self.assertEqual((done.returncode, report["busy"], report["pending"]), (1, 1, 0), done.stdout)
            self.assertEqual(len(s.p11.labels()), 1)
        s.ahead = 0
        report = s.csrctl("reconcile", "--apply", "--min-age", "0s")
        self.assertEqual(report["pending"], 1)
        s.csrd.kill()
        caller.join(harness.PATIENCE)

    def create_until_it_ends(self):
        try:
            self.s.create()
        except (harness.GoneAway, OSError):
            pass


if __name__ == "__main__":
    harness.unittest.main()
