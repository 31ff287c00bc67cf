"""Start under systemd: what "started" means, who gets the PIN, which socket starts what, and what is refused."""
# run: waits seconds=40 timeout=300 variants=release
import pathlib
import re
import shutil
import sqlite3
import tempfile
import threading
import unittest

import harness
import sdbox

SCHEMA = sorted((harness.ROOT / "store" / "schema").glob("[0-9][0-9][0-9]_*.sql"))
APPLICATION_ID = 0x63737264  # of a csrd store
STORE = "/var/lib/csrd/csrd.db"


class ReadyTest(sdbox.Case):
    def test_started_means_that_the_signer_answers(self):
        """F93: "systemctl start csrd" waits while there is no token, and says why."""
        box = self.box(token=False)
        start = self.begin(box, "systemctl", "start", "csrd")
        box.wait_show(sdbox.SIGNER_FAILED, "ActiveState", "active")
        self.assertEqual(box.show(sdbox.SIGNER, "ExecMainStatus"), "67", "no token")
        box.wait_status("csrd", "waiting for signer 'default'")
        self.assertEqual(box.readyz(), 503, "it answers all the same")
        self.assertTrue(sdbox.holds_for(0.5, lambda: start.poll() is None))
        self.assertEqual(box.show("csrd", "ActiveState"), "activating")
        box.make_token()
        box.start(sdbox.SIGNER)
        self.assertEqual(start.wait(harness.PATIENCE), 0, start.stdout.read())
        self.assertTrue(box.is_active("csrd"))
        self.assertEqual(box.readyz(), 200)
        self.assertIn("token default up", box.show("csrd", "StatusText"))
        self.assertEqual(box.create().status, 201)

    def test_the_first_connection_starts_the_signer(self):
        box = self.box()
        box.start(sdbox.SIGNER_SOCKET)
        self.assertEqual(box.show(sdbox.SIGNER, "ActiveState"), "inactive")
        answer = box.csrctl("reconcile")
        self.assertEqual(answer["left"], 0)
        self.assertTrue(box.is_active(sdbox.SIGNER))
        box.systemctl("stop", sdbox.SIGNER)
        self.assertEqual(box.show(sdbox.SIGNER, "Result"), "success")
        box.start("csrd")
        self.assertTrue(box.is_active(sdbox.SIGNER))

    def test_a_stopped_socket_starts_nothing(self):
        box = self.box()
        box.start("csrd")
        box.systemctl("stop", sdbox.SIGNER_SOCKET, sdbox.SIGNER)
        self.assertTrue(sdbox.holds_for(1.5, lambda: not box.is_active(sdbox.SIGNER)))
        self.assertEqual(box.create().status, 503)
        box.wait_status("csrd", "token default down")
        box.start(sdbox.SIGNER_SOCKET)
        self.assertEqual(box.create_soon().status, 201)


class HttpSocketTest(sdbox.Case):
    """csrd.socket"""

    def test_it_takes_the_place_of_listen(self):
        box = self.box(settings={"http": {"listen": "127.0.0.1:8081"}})
        box.start("csrd.socket", "csrd")
        self.assertEqual(box.create().status, 201)
        with box.network(), self.assertRaises(ConnectionRefusedError):
            harness.http_request(("127.0.0.1", 8081), "GET", "/readyz")
        self.assertRegex(box.messages("csrd"), r"\[http\] listen")

    def test_a_restart_refuses_nobody(self):
        """With the example that takes csrd's own network away."""
        box = self.box()
        box.drop_in("csrd.service", (sdbox.UNITS / "examples" / "csrd-socket-only.conf").read_text())
        box.start("csrd")
        answers, done = [], threading.Event()

        def ask():
            while not done.is_set():
                answers.append(box.request("GET", "/healthz").status)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        harness.wait_for("answers", lambda: len(answers) > 3)
        before = box.pid("csrd")
        box.systemctl("restart", "csrd")
        self.assertNotEqual(box.pid("csrd"), before)
        seen = len(answers)
        harness.wait_for("more answers", lambda: len(answers) > seen + 3 or not thread.is_alive())
        self.assertTrue(thread.is_alive(), "one was refused or cut off")
        done.set()
        thread.join(harness.PATIENCE)
        self.assertEqual(set(answers), {200})


class CredentialTest(sdbox.Case):
    def test_the_pin_is_read_by_one_process_alone(self):
        """F92"""
        box = self.box()
        box.start("csrd")
        self.assertEqual(box.create().status, 201)
        copy = "/run/credentials/%s/pin" % sdbox.SIGNER
        self.assertEqual(box.path(copy).read_text(), sdbox.PIN + "\n")
        for path in (copy, "/etc/csrd/credentials/default.pin"):
            done = box.run("setpriv", "--reuid", "csrd", "--regid", "csrd", "--clear-groups", "cat", path, check=False)
            self.assertIn("Permission denied", done.stderr)
        for unit in ("csrd", sdbox.SIGNER):
            self.check_process(box, box.host_pid(unit))
        user = "csrd-hsm"
        for what in ("environ", "mem", "maps"):  # not even by another process of the same user
            done = box.run("setpriv", "--reuid", user, "--regid", user, "--clear-groups", "head", "-c", "1",
                           "/proc/%d/%s" % (box.pid(sdbox.SIGNER), what), check=False)
            self.assertIn("Permission denied", done.stderr)

    def check_process(self, box, pid):
        for what in ("environ", "cmdline"):
            self.assertNotIn(sdbox.PIN.encode(), pathlib.Path("/proc/%d/%s" % (pid, what)).read_bytes())
        inside = pathlib.Path("/proc/%d/root" % pid)
        self.assertNotIn(sdbox.PIN, "".join(file.read_text() for file in (inside / "etc/csrd/credentials").glob("*")),
                         "the folder itself is not in its sandbox")
        self.assertTrue(list(box.path("/etc/csrd/credentials").glob("*")))

    def test_a_crash_leaves_no_pin(self):
        """F92: no core file, and nothing in any file or log."""
        box = self.box()
        box.start("csrd")
        before = box.pid(sdbox.SIGNER)
        box.systemctl("kill", "--signal=SEGV", sdbox.SIGNER)
        harness.wait_for("a new signer", lambda: box.pid(sdbox.SIGNER) not in (0, before))
        self.assertEqual(box.create_soon().status, 201)
        self.assertIn("code=killed, status=11/SEGV", box.messages(sdbox.SIGNER), "killed, and not dumped")
        found = box.run("grep", "-rlaF", sdbox.PIN, "/var/lib/csrd", "/var/lib/csrd-hsm", "/var/lib/systemd", "/tmp",
                        "/run/log", "/run/systemd", "/etc/csrd", check=False).stdout.split()
        self.assertEqual(found, ["/etc/csrd/credentials/default.pin"])
        self.assertNotIn(sdbox.PIN, str(box.journal()))

    def test_a_pin_sealed_to_the_machine(self):
        """examples/pin-encrypted.conf"""
        box = self.box()
        box.path("/etc/csrd/credentials/default.pin").unlink()
        box.run("systemd-creds", "encrypt", "--name=pin", "-", "/etc/csrd/credentials/default.pin.cred", input=sdbox.PIN)
        box.drop_in(sdbox.SIGNER, (sdbox.UNITS / "examples" / "pin-encrypted.conf").read_text())
        box.start("csrd")
        self.assertEqual(box.create().status, 201)


class RefusedTest(sdbox.Case):
    """F91: what makes a start fail, at once and without another try."""

    def fails(self, box, unit, status):
        box.systemctl("start", "--no-block", unit)
        box.wait_show(unit, "ActiveState", "failed")
        self.assertEqual(box.show(unit, "ExecMainStatus"), str(status), box.status(unit))
        self.assertTrue(sdbox.holds_for(1.5, lambda: box.show(unit, "NRestarts") == "0"))
        box.systemctl("reset-failed", unit)

    def test_files_that_others_may_write_or_read(self):
        box = self.box()
        config = box.path("/etc/csrd/csrd.conf")
        config.chmod(0o666)
        self.fails(box, "csrd.service", 78)
        self.fails(box, sdbox.SIGNER, 78)
        config.chmod(0o644)
        module = box.path("/usr/lib/libcsrd-p11shim.so")
        module.chmod(0o757)
        self.fails(box, sdbox.SIGNER, 66)
        module.chmod(0o755)
        box.write("/var/lib/csrd-hsm/pin", sdbox.PIN, 0o644, "csrd-hsm")
        box.write_config({"token default": {"pin_file": "/var/lib/csrd-hsm/pin"}})
        self.fails(box, sdbox.SIGNER, 78)
        box.path("/var/lib/csrd-hsm/pin").chmod(0o600)
        box.start("csrd")

    def test_no_pin_file(self):
        box = self.box()
        box.path("/etc/csrd/credentials/default.pin").unlink()
        self.fails(box, sdbox.SIGNER, 243)  # systemd's own: CREDENTIALS

    def test_strangers_at_the_signers_socket(self):
        box = self.box()
        box.start("csrd")
        script = "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(20); " \
                 "s.connect('/run/csrd-hsm/default.sock'); print(len(s.recv(1)))"
        for group, wanted in (("nogroup", "Permission"), ("csrd", "0")):
            done = box.run("setpriv", "--reuid", "nobody", "--regid", group, "--clear-groups", "/usr/bin/python3", "-c",
                           script, check=False)
            self.assertIn(wanted, done.stdout + done.stderr)
        self.assertIn("refused", box.messages(sdbox.SIGNER))

    def test_no_configuration_is_no_failure(self):
        box = self.box(configure=False)
        box.start("csrd")
        self.assertEqual(box.show("csrd", "ActiveState"), "inactive")
        self.assertEqual(box.show("csrd", "ConditionResult"), "no")


class UpgradeTest(sdbox.Case):
    """A store that an older csrd left."""

    def taken_out(self, box):
        """The store of a stopped csrd as a file of ours: SQLite would follow box.path() back to this machine's root."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="csrd-test-"))
        self.addCleanup(shutil.rmtree, folder)
        self.assertFalse(box.path(STORE + "-wal").exists(), "csrd closed it in order")
        shutil.copy(box.path(STORE), folder / "now.db")
        return folder / "now.db"

    def put_back(self, box, path):
        shutil.copy(path, box.path(STORE))  # the file stays csrd's

    def older(self, path):
        """What is in that store, in the schema before the newest; the only one while there is one."""
        steps = SCHEMA[:-1] or SCHEMA
        now, older = sqlite3.connect(path), sqlite3.connect(path.with_name("older.db"))
        for step in steps:
            older.executescript(step.read_text())
        older.execute("PRAGMA application_id = %d" % APPLICATION_ID)
        older.execute("PRAGMA user_version = %d" % int(steps[-1].name[:3]))
        for table in ("accounts", "principals", "grants", "csrs", "audit"):
            self.copy(now, older, table)
        older.execute("UPDATE accounts SET csr_count = (SELECT count(*) FROM csrs WHERE state IN (1, 2, 3)),"
                      " csr_active = (SELECT count(*) FROM csrs WHERE state = 2)")
        older.commit()
        older.close()
        now.close()
        return path.with_name("older.db")

    @staticmethod
    def copy(now, older, table):
        columns = [row[1] for row in older.execute("PRAGMA table_info(%s)" % table)]
        rows = [dict(zip(columns, row)) for row in now.execute("SELECT %s FROM %s" % (", ".join(columns), table))]
        for row in rows:
            later = {}
            if table == "csrs" and "key_label" not in columns:  # a row started pending then
                later = {name: row[name] for name in ("pem", "key_id", "spki_sha256", "protection", "state")}
                row.update(dict.fromkeys(later), state=1)
            older.execute("INSERT INTO %s (%s) VALUES (%s)" % (table, ", ".join(columns), ", ".join("?" * len(columns))),
                          list(row.values()))
            if later:
                older.execute("UPDATE csrs SET %s WHERE id = ?" % ", ".join(name + " = ?" for name in later),
                              [*later.values(), row["id"]])

    def test_an_older_store_is_served(self):
        box = self.box()
        box.start("csrd")
        old = box.create().result
        box.systemctl("stop", "csrd")
        self.put_back(box, self.older(self.taken_out(box)))
        box.start("csrd")
        answer = box.api("GET", "/" + old["id"])
        self.assertEqual((answer.status, answer.result["csr"]), (200, old["csr"]))
        new = box.create().result["id"]
        self.assertEqual(box.rows(), {old["id"]: "active", new: "active"})
        self.assertEqual(box.api("DELETE", "/" + old["id"]).status, 200)
        box.systemctl("stop", "csrd")
        store = sqlite3.connect(self.taken_out(box))
        self.addCleanup(store.close)
        self.assertEqual(store.execute("PRAGMA user_version").fetchone()[0], int(SCHEMA[-1].name[:3]))
        self.assertEqual(store.execute("PRAGMA integrity_check").fetchone()[0], "ok")

    def test_a_newer_store_is_left_alone(self):
        box = self.box()
        box.start("csrd")
        box.systemctl("stop", "csrd")
        path = self.taken_out(box)
        store = sqlite3.connect(path)
        store.execute("PRAGMA user_version = 999")
        store.close()
        self.put_back(box, path)
        box.systemctl("start", "--no-block", "csrd")
        box.wait_show("csrd", "ActiveState", "failed")
        self.assertEqual(box.show("csrd", "ExecMainStatus"), "65")
        self.assertEqual(box.show("csrd", "NRestarts"), "0")


class JournalTest(sdbox.Case):
    def test_fields(self):
        box = self.box()
        box.start("csrd")
        answer = box.create()
        request_id, csr_id = answer.headers["X-Request-Id"], answer.result["id"]
        of_request = box.journal("CSRD_REQUEST_ID=" + request_id)
        self.assertTrue(of_request, "found by the id that the caller was given")
        of_csr = box.journal("CSRD_CSR_ID=" + csr_id)
        self.assertTrue(of_csr, "found by the id of the CSR")
        of_token = box.journal("CSRD_TOKEN=default")
        self.assertTrue(of_token, "found by the token's name")
        for entry in of_request + of_csr + of_token:
            self.assertIn(entry["_SYSTEMD_UNIT"], ("csrd.service", sdbox.SIGNER))
            self.assertIn(entry["SYSLOG_IDENTIFIER"], ("csrd", "csrd-hsm"))
            self.assertRegex(entry["PRIORITY"], "^[3-7]$")
            self.assertFalse(re.match(r"<[0-7]>", entry["MESSAGE"]))
        self.assertEqual(len([entry for entry in box.journal("-p", "err", "_SYSTEMD_UNIT=csrd.service")]), 0)


if __name__ == "__main__":
    unittest.main()
