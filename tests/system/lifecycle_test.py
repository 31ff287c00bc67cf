"""Programs that come, go and fail around a running service: 503 with Retry-After, nothing lost, settled later; reload;
drain (F22, F28, F29, F56, F81, F93)."""
# run: waits seconds=33
import contextlib
import http.client
import json
import signal
import sqlite3
import threading
import time
import unittest

import harness


class Background:
    """One call on a thread."""

    def __init__(self, function):
        self.result = self.error = None
        self.finished_at = None
        self.thread = threading.Thread(target=self.run, args=(function,), daemon=True)
        self.thread.start()

    def run(self, function):
        try:
            self.result = function()
        except Exception as error:  # handed to wait()
            self.error = error
        self.finished_at = time.monotonic()

    def wait(self):
        self.thread.join(harness.PATIENCE * 3)
        if self.thread.is_alive():
            raise AssertionError("no answer")
        if self.error:
            raise self.error
        return self.result


class LifecycleTest(harness.Case):
    def assert_unavailable(self, answer):
        self.assertEqual((answer.status, answer.codes), (503, [1503]), answer)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertLessEqual(int(answer.headers["Retry-After"]), 60)

    def health(self, service, path="/healthz"):
        return harness.http_request(service.address, "GET", path)

    # -- the signer

    def test_signer_not_there_yet(self):
        s = self.service()
        s.start_csrd()
        s.wait_ready(status=503)
        self.assertEqual(self.health(s).status, 200)
        self.assertIn("default", self.health(s, "/readyz").body.decode(), "it says which is not ready")
        self.assert_unavailable(s.create())
        self.assertEqual(s.rows(), {}, "no row before the signer is up")
        s.start_hsm()
        s.wait_ready()
        self.assertEqual(s.create().status, 201)
        s.stop()

    def test_signer_goes_and_comes_back(self):
        s = self.service().start()
        kept = s.create().result
        s.hsm.kill()
        s.wait_ready(status=503)
        self.assert_unavailable(s.create())
        self.assertEqual(s.get(kept["id"]).result, kept, "reading needs no signer")
        self.assertEqual(s.request("GET", s.scope_path()).status, 200)
        self.assert_unavailable(s.delete(kept["id"]))
        s.start_hsm()
        s.wait_ready()
        answer = s.get(kept["id"])
        if answer.status == 200:  # the refused delete changed nothing, or it is finished now
            self.assertEqual(s.delete(kept["id"]).status, 200)
        self.assertEqual(s.get(kept["id"]).status, 404)
        s.wait_settled()
        s.check_sane(self, gone=[kept["id"]])
        s.stop()

    def test_signer_dies_in_a_create(self):
        s = self.service().start()
        s.arm("csrd-hsm", "signer.create.after-keygen")
        self.assert_unavailable(s.create())
        self.assertEqual(s.hsm.wait(), -signal.SIGKILL)
        self.assertEqual(s.rows(), {})
        s.start_hsm()
        s.wait_ready()
        s.wait_settled()
        self.assertEqual(s.rows(), {})
        self.assertEqual(s.p11.objects(), [], "the key that nobody got is gone")
        self.assertEqual(s.create().status, 201)
        s.stop()

    def test_signer_hangs(self):
        s = self.service(settings={"http": {"request_timeout": "2s"}, "token default": {"threads": 1}}).start()
        s.arm("csrd-hsm", "signer.create.before-keygen", sleep=True)
        started = time.monotonic()
        first = Background(s.create)
        s.wait_at_failpoint("csrd-hsm")
        second = Background(s.create)
        while not first.finished_at:
            asked = time.monotonic()
            self.assertEqual(self.health(s).status, 200)
            self.assertLess(time.monotonic() - asked, 1.0)
            time.sleep(0.05)
            self.assertLess(time.monotonic() - started, harness.PATIENCE)
        self.assert_unavailable(first.wait())
        self.assert_unavailable(second.wait())
        s.hsm.kill()
        s.start_hsm()
        s.wait_ready()
        s.wait_settled()
        s.check_sane(self)
        self.assertEqual(s.create().status, 201)
        s.stop()

    def test_signer_ends_in_a_create(self):
        """SIGTERM of csrd-hsm alone."""
        s = self.service().start()
        calls = [Background(lambda: s.create(key_type="rsa2048")) for _ in range(6)]
        s.wait_at_signer()
        self.assertEqual(s.hsm.terminate(), 0)
        answers = [call.wait() for call in calls]
        for answer in answers:
            if answer.status != 201:
                self.assert_unavailable(answer)
        s.start_hsm()
        s.wait_ready()
        s.wait_settled()
        s.check_sane(self, [answer.result["id"] for answer in answers if answer.status == 201])
        s.stop()

    # -- the store

    def test_store_locked(self):
        s = self.service().start()
        kept = s.create().result
        with contextlib.closing(sqlite3.connect(s.store_path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            call = Background(s.create)
            while not call.finished_at:
                asked = time.monotonic()
                self.assertEqual(self.health(s).status, 200)
                self.assertLess(time.monotonic() - asked, 1.0, "the loop waits for the store")
                time.sleep(0.05)
            self.assert_unavailable(call.wait())
            database.execute("ROLLBACK")
        self.assertEqual(s.create().status, 201)
        s.wait_settled()  # the store that could take no row could not be told that none comes, either
        s.check_sane(self, [kept["id"]])
        s.stop()

    def test_store_locked_at_the_commit(self):
        """Nobody knows whether a key was used, and that cannot be written down: settled once the store is there again."""
        s = self.service().start()
        s.arm("csrd-hsm", "signer.create.before-keygen", sleep=True)
        call = Background(s.create)
        s.wait_at_failpoint("csrd-hsm")
        with contextlib.closing(sqlite3.connect(s.store_path, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            s.hsm.kill()  # the outcome is uncertain, and cannot be written down either
            self.assert_unavailable(call.wait())
            s.start_hsm()
            database.execute("ROLLBACK")
        s.wait_ready()
        s.wait_settled(harness.PATIENCE * 2)
        s.check_sane(self)
        self.assertEqual(s.create().status, 201)
        s.stop()

    # -- the client

    def test_client_leaves_in_a_create(self):
        s = self.service().start()
        for key_type in ("rsa2048", "p256v1"):
            connection = http.client.HTTPConnection(*s.address)
            body = json.dumps({**harness.SUBJECT, "key_type": key_type})
            connection.request("POST", "/client/v4" + s.scope_path(), body,
                               {**s.bearer(), "Content-Type": "application/json"})
            connection.close()
        harness.wait_for("both active", lambda: len(s.rows("active")) == 2)
        s.check_sane(self)
        self.assertEqual(len(s.request("GET", s.scope_path()).result), 2)
        s.stop()

    # -- signals to csrd

    def test_reload(self):
        s = self.service().start()
        self.assertEqual(s.create(key_type="rsa2048").status, 201)
        s.settings["policy"] = {"key_types": "p256v1"}
        s.write_config()
        s.csrd.signal(signal.SIGHUP)
        harness.wait_for("the new policy", lambda: s.create(key_type="rsa2048").codes == [1417])
        self.assertEqual(s.create(key_type="p256v1").status, 201)

        # A bad file changes nothing and is named with its line.
        s.settings["policy"] = {"key_types": "rsa2048", "nonsense": "1"}
        s.write_config()
        s.csrd.signal(signal.SIGHUP)
        s.csrd.wait_log(r"csrd\.conf:\d+: .*nonsense")
        self.assertEqual(s.create(key_type="rsa2048").codes, [1417])
        self.assertEqual(s.create(key_type="p256v1").status, 201)

        # What cannot change while running is named, the rest is taken over.
        s.settings["policy"] = {"key_types": "rsa2048, p256v1"}
        s.settings["store"]["queue_max"] = 77
        s.write_config()
        s.csrd.signal(signal.SIGHUP)
        s.csrd.wait_log(r"queue_max")
        harness.wait_for("the old policy", lambda: s.create(key_type="rsa2048").status == 201)
        s.stop()

    def test_drain(self):
        s = self.service().start()
        s.hsm.signal(signal.SIGSTOP)
        calls = [Background(lambda: s.create(key_type="rsa2048")) for _ in range(8)]
        s.wait_at_signer(8)
        s.csrd.signal(signal.SIGTERM)
        s.csrd.wait_log("stopping on signal")
        s.hsm.signal(signal.SIGCONT)
        answers = [call.wait() for call in calls]
        self.assertEqual([answer.status for answer in answers], [201] * 8)
        self.assertEqual(s.csrd.wait(), 0)
        with self.assertRaises(ConnectionRefusedError):
            self.health(s)
        s.check_sane(self, [answer.result["id"] for answer in answers])
        s.start_csrd()
        s.wait_ready()
        for answer in answers:
            self.assertEqual(s.get(answer.result["id"]).result, answer.result)
        s.stop()

    def test_drain_with_a_hung_signer(self):
        s = self.service(settings={"http": {"drain_timeout": "1s"}}).start()
        s.arm("csrd-hsm", "signer.create.before-keygen", sleep=True)
        call = Background(s.create)
        s.wait_at_failpoint("csrd-hsm")
        s.csrd.signal(signal.SIGTERM)
        s.csrd.wait()
        with contextlib.suppress(harness.GoneAway):
            self.assert_unavailable(call.wait())
        self.assertEqual(s.rows(), {})
        s.hsm.kill()
        s.start()
        s.wait_settled()
        s.check_sane(self)
        s.stop()

    def test_idle_connections_do_not_hold_up_the_end(self):
        s = self.service().start()
        idle = http.client.HTTPConnection(*s.address)
        idle.request("GET", "/healthz")
        self.assertEqual(idle.getresponse().read() is not None, True)
        started = time.monotonic()
        self.assertEqual(s.csrd.terminate(), 0)
        self.assertLess(time.monotonic() - started, 5)
        idle.close()
        s.stop()

    # -- what no program may leave behind

    def test_secrets_stay_out_of_sight(self):
        """F92, I7: neither the PIN nor a token is in argv, the environment or a log."""
        s = self.service().start()
        s.create()
        s.request("GET", "/user/tokens/verify")
        secrets = [s.p11.PIN, s.token, s.key]
        for process in (s.csrd, s.hsm):
            for name in ("cmdline", "environ"):
                with open("/proc/%d/%s" % (process.pid, name), "rb") as seen:
                    text = seen.read().decode("utf-8", "replace")
                for secret in secrets:
                    self.assertNotIn(secret, text)
        s.stop()
        for process in (s.csrd, s.hsm):
            for secret in secrets:
                self.assertNotIn(secret, process.log())
        stored = b"".join(path.read_bytes() for path in s.folder.glob("csrd.db*"))
        for secret in secrets:
            self.assertNotIn(secret.encode(), stored)


if __name__ == "__main__":
    unittest.main()
