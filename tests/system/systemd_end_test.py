"""Under systemd: reload, stop, and what happens after each program has died or hangs."""
# run: waits seconds=69 timeout=300 variants=release
import threading
import time
import unittest

import harness
import sdbox


class Caller(threading.Thread):
    """One create, whatever comes of it."""

    def __init__(self, box):
        super().__init__(daemon=True)
        self.box = box
        self.status = None  # 0: cut off
        self.start()

    def run(self):
        try:
            self.status = self.box.create().status
        except (OSError, harness.GoneAway):
            self.status = 0

    def result(self):
        self.join(harness.PATIENCE)
        return self.status


class EndCase(sdbox.Case):
    def started(self, **options):
        box = self.box(**options)
        box.start("csrd")
        self.assertEqual(box.create().status, 201)
        return box

    def in_flight(self, box, number, rule="C_Sign sleep 3s"):
        """Callers whose keys are made and whose signatures take that long."""
        box.shim.set(rule)
        before = box.shim.count("C_Sign")
        asked = self.asked(box)
        callers = [Caller(box) for _ in range(number)]
        harness.wait_for("%d creates at work" % number, lambda: self.asked(box) == asked + number)
        harness.wait_for("a signature at work", lambda: box.shim.count("C_Sign") > before)
        return callers

    @staticmethod
    def asked(box):
        """How many creates went to the signer, as csrd's log of level debug says it."""
        return box.messages("csrd").count("asks the signer for a key")

    def settled(self, box, active):
        """Nothing is left of what was in flight: neither rows nor keys."""
        harness.wait_for("settled rows", lambda: not box.rows("pending", "deleting"), every=0.1)
        self.assertEqual(len(box.rows("active")), active)
        harness.wait_for("nothing left to reconcile", lambda: self.left(box) == 0, every=0.1)

    @staticmethod
    def left(box):
        """How much is not settled yet.  There is no pool, so a key that was used for nothing is to go, too."""
        report = box.csrctl("reconcile", "--min-age", "0", check=False)
        return sum(report[name] for name in ("pending", "deleting", "leftover", "missing", "unknown", "half_pairs",
                                              "busy", "ready"))


class ReloadTest(EndCase):
    def test_good_and_bad(self):
        """F93: a file with a mistake changes nothing, and everybody is told."""
        box = self.started()
        pid = box.pid("csrd")
        box.write_config({"policy": {"key_types": "rsa2048"}})
        box.systemctl("reload", "csrd")
        self.assertEqual(box.create().status, 400, "p256v1 is not listed any more")
        self.assertIn("reloaded", box.wait_status("csrd", "configuration"))

        box.write_config({"policy": {"key_types": "p256v1"}}, extra="junk\n")
        done = box.systemctl("reload", "csrd", check=False)
        self.assertNotEqual(done.returncode, 0, "systemctl says so")
        self.assertIn("refused", box.wait_status("csrd", "refused"))
        self.assertIn("old configuration", box.show("csrd", "StatusText"))
        self.assertEqual(box.create().status, 400, "the old one is in force")
        self.assertEqual((box.show("csrd", "ActiveState"), box.pid("csrd")), ("active", pid))
        # F251: each mistake once in the journal, by csrd, and not by the check that makes systemctl fail
        box.wait_message("csrd", "csrd.conf:")
        said = [line for line in box.messages("csrd").splitlines() if "csrd.conf:" in line]
        self.assertEqual(len(said), 1, said)

        box.write_config()
        box.systemctl("reload", "csrd")
        box.wait_status("csrd", "reloaded")
        self.assertEqual(box.create().status, 201)
        self.assertEqual(box.pid("csrd"), pid)


class StopTest(EndCase):
    def test_stop_waits_for_what_is_in_flight(self):
        """F28"""
        box = self.started()
        callers = self.in_flight(box, 2, "C_Sign sleep 1500ms")
        box.systemctl("stop", "csrd")
        self.assertEqual([caller.result() for caller in callers], [201, 201])
        self.assertEqual((box.show("csrd", "Result"), box.show("csrd", "ExecMainStatus")), ("success", "0"))

    def test_stop_of_all_at_once(self):
        """As at shutdown: csrd first, and its signer as long as it needs it."""
        box = self.started()
        callers = self.in_flight(box, 3, "C_Sign sleep 1s")  # one of them has to wait for a thread
        box.systemctl("stop", "csrd", sdbox.SIGNER, sdbox.SIGNER_SOCKET)
        self.assertEqual([caller.result() for caller in callers], [201, 201, 201])
        for unit in ("csrd", sdbox.SIGNER):
            self.assertEqual(box.show(unit, "Result"), "success", box.status(unit))

    def test_stop_does_not_wait_for_a_hung_hsm(self):
        """F29: csrd is gone by its drain_timeout, and what it left on the token is settled later."""
        box = self.started(settings={"http": {"drain_timeout": "1s"}, "token default": {"timeout_sign": "5s"}})
        caller = self.in_flight(box, 1, "C_Sign hang once")[0]
        began = time.monotonic()
        box.systemctl("stop", "csrd")
        self.assertLess(time.monotonic() - began, 4)
        self.assertEqual(box.show("csrd", "Result"), "success")
        self.assertIn(caller.result(), (0, 503))
        self.assertEqual(list(box.rows().values()), ["active"], "there is no row of it")
        box.start("csrd")
        self.assertEqual(box.create_soon().status, 201)
        self.settled(box, active=2)


class DeathTest(EndCase):
    def test_kill_of_the_signer(self):
        box = self.started()
        callers = self.in_flight(box, 2)
        before = box.pid(sdbox.SIGNER)
        box.systemctl("kill", "--signal=KILL", sdbox.SIGNER)
        box.shim.clear()
        self.assertEqual([caller.result() for caller in callers], [503, 503])
        box.wait_show(sdbox.SIGNER, "NRestarts", "1")
        self.assertEqual(box.create_soon().status, 201)
        self.assertNotEqual(box.pid(sdbox.SIGNER), before)
        self.assertTrue(box.is_active("csrd"))
        self.assertEqual(box.show("csrd", "NRestarts"), "0")
        self.settled(box, active=2)

    def test_kill_of_csrd(self):
        box = self.started()
        callers = self.in_flight(box, 2, "C_Sign sleep 1s")
        signer = box.pid(sdbox.SIGNER)
        box.systemctl("kill", "--signal=KILL", "csrd")
        self.assertEqual([caller.result() for caller in callers], [0, 0])
        box.shim.clear()
        box.wait_show("csrd", "NRestarts", "1")
        self.assertEqual(box.create_soon().status, 201)
        box.wait_show("csrd", "ActiveState", "active")
        self.assertEqual(box.pid(sdbox.SIGNER), signer, "the signer lived on")
        self.settled(box, active=2)

    def test_a_loop_that_hangs(self):
        """F93: csrd's watchdog."""
        box = self.box()
        box.drop_in("csrd.service", "WatchdogSec=2s")
        box.start("csrd")
        self.assertEqual(box.create().status, 201)
        self.assertTrue(sdbox.holds_for(3, lambda: box.readyz() == 200), "an idle one is fed")
        self.assertEqual(box.show("csrd", "NRestarts"), "0")
        box.systemctl("kill", "--kill-who=main", "--signal=STOP", "csrd")
        box.wait_show("csrd", "NRestarts", "1")
        self.assertIn("Watchdog timeout", box.messages("csrd"))
        self.assertEqual(box.create_soon().status, 201)

    def test_a_signer_that_hangs(self):
        """F93: the signer's, when all of it stands still."""
        box = self.box()
        box.drop_in(sdbox.SIGNER, "WatchdogSec=2s")
        box.start("csrd")
        self.assertTrue(sdbox.holds_for(3, lambda: box.readyz() == 200), "an idle one is fed")
        box.systemctl("kill", "--kill-who=main", "--signal=STOP", sdbox.SIGNER)
        box.wait_show(sdbox.SIGNER, "NRestarts", "1")
        self.assertIn("Watchdog timeout", box.messages(sdbox.SIGNER))
        self.assertEqual(box.create_soon().status, 201)

    def test_a_token_that_hangs(self):
        """The signer's own watchdog: exit 75, and started again."""
        box = self.started(settings={"token default": {"timeout_sign": "1s"}})
        caller = self.in_flight(box, 1, "C_Sign hang once")[0]
        self.assertEqual(caller.result(), 503)
        box.wait_show(sdbox.SIGNER, "NRestarts", "1")
        self.assertIn("status=75", box.messages(sdbox.SIGNER))
        self.assertEqual(box.create_soon().status, 201)
        self.settled(box, active=2)

    def test_an_hsm_that_is_away_for_long(self):
        """More starts than any limit counts: it is back by itself when the token is."""
        box = self.started()
        box.drop_in(sdbox.SIGNER, "RestartSec=20ms")
        tokens = box.path("/var/lib/csrd-hsm/softhsm")
        tokens.rename(tokens.with_name("away"))
        box.systemctl("kill", "--signal=KILL", sdbox.SIGNER)
        harness.wait_for("restarts", lambda: int(box.show(sdbox.SIGNER, "NRestarts")) >= 12, every=0.1)
        self.assertIn("status=75", box.messages(sdbox.SIGNER))
        self.assertEqual(box.readyz(), 503)
        box.wait_status("csrd", "token default down")
        tokens.with_name("away").rename(tokens)
        self.assertEqual(box.create_soon().status, 201)
        self.assertEqual(box.readyz(), 200)
        self.assertEqual(box.show("csrd", "NRestarts"), "0")


class AwayTest(EndCase):
    """F191: with the units as they are installed, a signer that is started while its HSM is away."""

    def taken_away(self, box):
        """The folder of the tokens, where it is now; the signer was started at least this often since."""
        tokens = box.path("/var/lib/csrd-hsm/softhsm")
        away = tokens.rename(tokens.with_name("away"))
        box.systemctl("kill", "--signal=KILL", sdbox.SIGNER)
        harness.wait_for("restarts", lambda: int(box.show(sdbox.SIGNER, "NRestarts")) >= 7, 60, every=0.1)
        self.assertEqual(box.readyz(), 503)
        return away

    def given_back(self, box, away):
        away.rename(away.with_name("softhsm"))
        self.assertEqual(box.create_soon(30).status, 201)
        self.assertTrue(box.is_active(sdbox.SIGNER_SOCKET))
        self.assertFalse(box.is_active(sdbox.SIGNER_FAILED))

    def test_started_while_the_hsm_is_away(self):
        """Since 254 systemd takes each start that is tried again for a failed one, unless told otherwise."""
        box = self.started()
        opened = box.show(sdbox.SIGNER_SOCKET, "ActiveEnterTimestampMonotonic")
        away = self.taken_away(box)
        self.assertEqual(box.show(sdbox.SIGNER_SOCKET, "ActiveEnterTimestampMonotonic"), opened, "it stays open")
        self.assertEqual(box.show(sdbox.SIGNER_FAILED, "ActiveEnterTimestampMonotonic"), "0", "nobody has to mend it")
        self.given_back(box, away)

    if sdbox.systemd_version() >= 254:
        def test_units_of_an_older_release(self):
            """A package of Debian 12 on a machine that was upgraded: its socket flaps, and is not given up."""
            box = self.box()
            box.drop_in(sdbox.SIGNER, "RestartMode=normal")
            box.start("csrd")
            away = self.taken_away(box)
            self.assertNotEqual(box.show(sdbox.SIGNER_FAILED, "ActiveEnterTimestampMonotonic"), "0")
            self.given_back(box, away)


class PinTest(EndCase):
    def test_a_refused_pin_is_tried_once(self):
        """I6 under systemd: no loop by restart nor by socket, and one attempt whoever starts it how often."""
        box = self.box()
        box.write("/etc/csrd/credentials/default.pin", "not-the-pin\n", 0o600)
        start = self.begin(box, "systemctl", "start", "csrd")
        box.wait_show(sdbox.SIGNER_FAILED, "ActiveState", "active")
        self.assertEqual((box.show(sdbox.SIGNER, "ActiveState"), box.show(sdbox.SIGNER, "ExecMainStatus")), ("failed", "77"))
        self.assertEqual(box.shim.count("C_Login"), 1)
        begun = self.starts(box)
        self.assertTrue(sdbox.holds_for(2.5, lambda: self.starts(box) == begun), "csrd's connections start nothing")
        for _ in range(3):
            box.systemctl("start", sdbox.SIGNER, check=False)
            box.wait_show(sdbox.SIGNER_FAILED, "ActiveState", "active")
        self.assertEqual(self.starts(box), begun + 3)
        self.assertEqual((box.shim.count("C_Login"), box.show(sdbox.SIGNER, "NRestarts")), (1, "0"))
        self.assertEqual(box.readyz(), 503)
        # F252: the operator's file, and not the folder that is gone with the unit
        box.wait_message(sdbox.SIGNER, "refused the pin of '/etc/csrd/credentials/default.pin[.cred]'")
        self.assertNotIn("/run/credentials", box.messages(sdbox.SIGNER))
        # F257: the cause first, and what follows from it marked
        failed = [(check["name"], check.get("follows_from")) for check in box.csrctl("doctor", check=False)["checks"]
                  if check["status"] == "fail"]
        self.assertEqual(failed[0], ("pin", None), failed)
        self.assertEqual({cause for _, cause in failed[1:]}, {"pin"}, failed)
        self.assertIn(("unit", "pin"), failed)

        box.write("/etc/csrd/credentials/default.pin", sdbox.PIN + "\n", 0o600)
        box.start(sdbox.SIGNER)
        self.assertEqual(start.wait(harness.PATIENCE), 0)
        self.assertEqual(box.create().status, 201)
        self.assertFalse(box.is_active(sdbox.SIGNER_FAILED))

    @staticmethod
    def starts(box):
        """Processes that systemd has begun."""
        return len({entry["INVOCATION_ID"] for entry in box.journal("_PID=1", "UNIT=" + sdbox.SIGNER)
                    if entry["MESSAGE"].startswith("Starting ") and "INVOCATION_ID" in entry})


if __name__ == "__main__":
    unittest.main()
