"""csrctl backup and restore: copies of the store under load, and what must not become a store (F82, F84)."""
# run: waits seconds=31
import hashlib
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import unittest

import harness

NOBODY = 65534
EXIT_FAILED, EXIT_STORE, EXIT_UNAVAILABLE, EXIT_IN_USE, EXIT_SYSTEM = 1, 65, 69, 73, 71


def read(path, sql, *values):
    """Rows of a database that nobody else has open."""
    database = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    try:
        return database.execute(sql, values).fetchall()
    finally:
        database.close()


def change(path, *statements):
    database = sqlite3.connect(path)
    try:
        for statement in statements:
            database.execute(statement)
        database.commit()
    finally:
        database.close()


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


class StoreCase(harness.Case):
    """A service, and what csrctl leaves in its folder."""

    def files(self, service, folder=None):
        """Names beside the store that neither csrd nor the harness put there."""
        known = re.compile(r"csrd\.(conf|db(-wal|-shm|\.lock|\.running)?)$|hsm|pin$|state$|failpoint")
        return sorted(name for name in os.listdir(folder or service.folder) if not known.match(name))

    def refused(self, service, *arguments, status, says):
        done = service.csrctl(*arguments, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr, says)
        self.assertEqual(done.stdout, "")
        return done


class Backup(StoreCase):
    def setUp(self):
        super().setUp()
        self.there = self.folder / "backups"
        self.there.mkdir()

    def fill(self, service, records, text="y" * 200):
        """More pages than one step of a backup copies."""
        database = sqlite3.connect(service.store_path)
        database.executemany("INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
                             " VALUES (1, 'test.note', 'x', 'test', '', '', ?)", ((text,) for _ in range(records)))
        database.commit()
        database.close()

    def check_copy(self, path, told):
        """A whole database in one file, as the summary says."""
        self.assertEqual(read(path, "PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(read(path, "PRAGMA foreign_key_check"), [])
        self.assertEqual(read(path, "PRAGMA journal_mode"), [("delete",)])
        self.assertEqual(read(path, "SELECT count(*) FROM csrs WHERE state = 2 AND (pem IS NULL OR key_id IS NULL OR"
                              " spki_sha256 IS NULL OR protection IS NULL)"), [(0,)])
        states = dict(read(path, "SELECT state, count(*) FROM csrs GROUP BY state"))
        names = ["pending", "active", "deleting", "destroyed", "failed"]
        self.assertEqual(told["csrs"], {name: states.get(i + 1, 0) for i, name in enumerate(names)})
        self.assertEqual([(told["audit_records"], told["audit_records"])],
                         read(path, "SELECT count(*), max(sequence) FROM audit"))
        self.assertEqual(told["sha256"], sha256(path))
        self.assertEqual(told["bytes"], os.path.getsize(path))
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)

    def test_F84_backup_under_load(self):
        service = self.service()
        self.fill(service, 40000)
        service.start()
        made, lock, enough = [], threading.Lock(), threading.Event()

        def load():
            while not enough.is_set():
                answer = service.create()
                self.assertEqual(answer.status, 201, answer)
                with lock:
                    made.append(answer.result["id"])

        threads = [threading.Thread(target=load, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for i in range(3):
                harness.wait_for("new CSRs", lambda n=len(made): len(made) > n + 3)
                path = self.there / ("%d.db" % i)
                before = len(made)
                known = set(made[:before])
                told = service.csrctl("backup", path)
                self.assertEqual(told["file"], str(path))
                self.assertGreater(told["bytes"], 8 * 1024 * 1024)
                self.check_copy(path, told)
                active = {row[0] for row in read(path, "SELECT id FROM csrs WHERE state = 2")}
                self.assertLessEqual(known, active, "a CSR that was answered before is not in the backup")
        finally:
            enough.set()
            for thread in threads:
                thread.join()
        self.assertEqual(self.files(service), [])
        self.assertEqual(sorted(os.listdir(self.there)), ["0.db", "1.db", "2.db"])
        # The trail of the live store tells of each, with its hash; that of a copy only of those before it.
        service.stop()
        records = read(service.store_path, "SELECT actor, object, detail FROM audit WHERE action = 'store.backup'"
                       " ORDER BY sequence")
        self.assertEqual(len(records), 3)
        for i, (actor, what, detail) in enumerate(records):
            self.assertRegex(actor, "^operator:")
            self.assertEqual(what, "store")
            self.assertIn(sha256(self.there / ("%d.db" % i)), detail)
            self.assertIn(str(self.there / ("%d.db" % i)), detail)
        self.assertEqual(read(self.there / "2.db", "SELECT count(*) FROM audit WHERE action = 'store.backup'"), [(2,)])

    def test_place_and_force(self):
        service = self.service()
        path = self.there / "a.db"
        path.write_text("precious")
        beside = pathlib.Path(str(service.store_path) + ".backup") # what people call a copy
        beside.write_text("precious too")
        self.refused(service, "backup", path, status=EXIT_FAILED, says="exists already: --force")
        self.assertEqual(path.read_text(), "precious")
        self.check_copy(path, service.csrctl("backup", "--force", path))
        told = service.csrctl("backup", self.there)
        self.assertRegex(told["file"], re.escape(str(self.there)) + r"/csrd-\d{8}T\d{6}Z\.db$")
        self.check_copy(told["file"], told)
        self.refused(service, "backup", self.there / "none" / "b.db", status=EXIT_SYSTEM, says="there is no folder")
        self.refused(service, "backup", status=64, says="argument is missing")
        # People get the same as words, and no progress where there is no terminal.
        done = harness.run([harness.BIN / "csrctl", "-c", service.config_path, "backup", self.there / "c.db"],
                           env=service.environment("csrctl"))
        self.assertIn(sha256(self.there / "c.db"), done.stdout)
        self.assertEqual(done.stderr, "")
        self.assertEqual(len(os.listdir(self.there)), 3)
        self.assertEqual(self.files(service), [beside.name])
        self.assertEqual(beside.read_text(), "precious too")

    def to_stdout(self, service, stdout=subprocess.PIPE, **environment):
        return subprocess.run([harness.BIN / "csrctl", "-c", service.config_path, "backup", "-"], stdout=stdout,
                              stderr=subprocess.PIPE, check=False, timeout=harness.PATIENCE * 3,
                              env={**service.environment("csrctl"), **environment})

    def test_F199_to_standard_output(self):
        s = self.service()
        self.fill(s, 3000)
        done = self.to_stdout(s, TMPDIR=str(self.there))
        self.assertEqual(done.returncode, 0, done.stderr)
        copy = self.there / "sent.db"
        copy.write_bytes(done.stdout)
        self.assertIn("sha256 %s" % sha256(copy), done.stderr.decode())
        self.assertEqual(read(copy, "PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(read(copy, "SELECT count(*) FROM audit WHERE action = 'test.note'"), [(3000,)])
        self.assertEqual(os.listdir(self.there), ["sent.db"])
        self.assertEqual(self.files(s), [])
        detail = read(s.store_path, "SELECT detail FROM audit WHERE action = 'store.backup'")[0][0]
        self.assertEqual(detail, "%d bytes, sha256 %s, to 'standard output'" % (len(done.stdout), sha256(copy)))
        # A reader that goes away, a full disk: not taken for a backup.
        with open("/dev/full", "wb") as full:
            done = self.to_stdout(s, stdout=full)
        self.assertEqual(done.returncode, EXIT_SYSTEM)
        self.assertIn(b"cut short on its way to standard output: No space left", done.stderr)
        done = self.to_stdout(s, TMPDIR=str(self.folder / "nothing"))
        self.assertEqual((done.returncode, done.stdout), (EXIT_SYSTEM, b""))
        self.assertIn(b"set TMPDIR=FOLDER to use another one", done.stderr)
        self.refused(s, "backup", "-", status=64, says="there is no --json")

    def test_the_folder_is_not_there(self):
        s = self.service()
        self.refused(s, "backup", self.folder / "none" / "x.db", status=EXIT_SYSTEM,
                     says="there is no folder '.*/none': install -d -m 0700 .*/none")

    def test_no_store(self):
        service = self.service(populate=False)
        self.refused(service, "backup", self.there / "a.db", status=EXIT_UNAVAILABLE, says="No such file")
        self.assertEqual(os.listdir(self.there), [])

    def test_damaged_store_gives_no_backup(self):
        service = self.service()
        self.fill(service, 5000)
        pages = os.path.getsize(service.store_path) // 4096
        with open(service.store_path, "r+b") as file:
            file.seek(4096 * (pages // 2))
            file.write(b"\xa5" * 4096)
        self.refused(service, "backup", self.there / "a.db", status=EXIT_STORE, says="damaged|malformed")
        self.assertEqual(os.listdir(self.there), [])
        self.assertEqual(self.files(service), [])

    def test_killed_in_the_middle(self):
        service = self.service()
        service.arm("csrctl", "backup.proven")
        done = self.refused(service, "backup", self.there / "a.db", status=70, says="ended by signal 9")
        self.assertNotIn("sanitizer", done.stderr)
        self.assertEqual(os.listdir(self.there), [])
        self.check_copy(self.there / "a.db", service.csrctl("backup", self.there / "a.db"))
        self.assertEqual(self.files(service), [])

    def test_both_processes_killed(self):
        service = self.service()
        service.arm("csrctl", "backup.proven", sleep=True)
        process = service.spawn("csrctl", "-c", service.config_path, "backup", self.there / "a.db")
        harness.wait_for("the failpoint", lambda: not service.failpoint_path("csrctl").exists())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.assertFalse((self.there / "a.db").exists())
        # The next one is made at once, whatever those two left beside the store.
        self.check_copy(self.there / "b.db", service.csrctl("backup", self.there / "b.db"))
        self.assertEqual(self.files(service), [])

    def on_terminal(self, service, *arguments, interrupt=None):
        """(exit status, what came on the terminal).  interrupt: called once with the process when there is progress."""
        ours, theirs = os.openpty()
        process = subprocess.Popen([harness.BIN / "csrctl", "-c", service.config_path, *arguments], stdin=theirs,
                                   stdout=theirs, stderr=theirs, env=service.environment("csrctl"),
                                   start_new_session=True)
        os.close(theirs)
        text = b""
        try:
            while True:
                try:
                    piece = os.read(ours, 4096)
                except OSError: # the last one has closed it
                    break
                text += piece
                if interrupt and b" %" in text:
                    interrupt(process)
                    interrupt = None
            return process.wait(harness.PATIENCE), text.decode()
        finally:
            os.close(ours)
            process.kill()
            process.wait()

    def test_progress_and_interrupt_on_a_terminal(self):
        service = self.service()
        self.fill(service, 60000, "y" * 2000)
        status, text = self.on_terminal(service, "backup", self.there / "a.db")
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"copying the database: \d+ %")
        self.assertRegex(text, r"\r\x1b\[Kbackup +/.*a\.db")
        for number, to_all in (signal.SIGINT, True), (signal.SIGTERM, False):
            with self.subTest(number):
                def interrupt(process, number=number, to_all=to_all):
                    (os.killpg if to_all else os.kill)(process.pid, number)
                status, text = self.on_terminal(service, "backup", self.there / "b.db", interrupt=interrupt)
                self.assertEqual(status, 1, text)
                self.assertIn("interrupted: no backup was made", text)
                self.assertEqual(os.listdir(self.there), ["a.db"])
                self.assertEqual(self.files(service), [])

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_root_backs_up_the_store_of_another_user(self):
        service = self.service()
        os.chmod(self.folder, 0o711)
        store = self.folder / "store"
        shutil.move(service.store_path, self.folder / "moved.db")
        store.mkdir(mode=0o700)
        shutil.move(self.folder / "moved.db", store / "csrd.db")
        for name in (store, store / "csrd.db"):
            os.chown(name, NOBODY, NOBODY)
        service.settings["store"]["url"] = "sqlite:%s" % (store / "csrd.db")
        service.write_config()
        os.chmod(service.folder, 0o711)
        self.there.chmod(0o700)
        told = service.csrctl("backup", self.there / "a.db")
        self.check_copy(self.there / "a.db", told)
        self.assertEqual(os.stat(self.there / "a.db").st_uid, 0)
        for name in os.listdir(store):
            self.assertEqual(os.stat(store / name).st_uid, NOBODY, name)
        # Only root may read the backup, and yet the store that comes of it is the other user's.
        service.csrctl("restore", self.there / "a.db")
        for name in os.listdir(store):
            self.assertEqual(os.stat(store / name).st_uid, NOBODY, name)
        self.assertEqual(os.stat(store / "csrd.db").st_mode & 0o7777, 0o600)


class Restore(StoreCase):
    def prepared(self):
        """A stopped service with one CSR more than its backup, and the backup."""
        service = self.service().start()
        first = service.create().result["id"]
        backup = self.folder / "backup.db"
        service.csrctl("backup", backup)
        second = service.create().result["id"]
        service.stop()
        return service, backup, first, second

    def ids(self, path):
        return {row[0] for row in read(path, "SELECT id FROM csrs")}

    def test_restore(self):
        service, backup, first, second = self.prepared()
        told = service.csrctl("restore", backup)
        self.assertEqual(told["sha256"], sha256(backup))
        self.assertIn("csrctl verify", told["next"])
        self.assertRegex(told["kept"], r"/csrd\.db\.before-restore-\d{8}T\d{6}Z$")
        self.assertEqual(self.ids(service.store_path), {first})
        self.assertEqual(self.ids(told["kept"]), {first, second})
        self.assertEqual(read(told["kept"], "PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(os.stat(service.store_path).st_mode & 0o7777, 0o600)
        self.assertEqual(self.files(service), [os.path.basename(told["kept"])])
        records = read(service.store_path, "SELECT actor, detail FROM audit WHERE action = 'store.restore'")
        self.assertEqual(len(records), 1)
        self.assertIn(told["sha256"], records[0][1])
        service.start()
        self.assertEqual(service.get(first).status, 200)
        self.assertEqual(service.get(second).status, 404)
        self.assertEqual(service.create().status, 201)
        service.stop()

    def test_F118_nobody_writes_what_a_restore_throws_away(self):
        """Between the last look at the old store and the new one in its place no csrctl gets in."""
        service, backup, first, _ = self.prepared()
        service.arm("csrctl", "restore.before-swap", sleep=True)
        restore = service.spawn("csrctl", "-c", service.config_path, "restore", backup)
        harness.wait_for("the failpoint", lambda: not service.failpoint_path("csrctl").exists())
        done = self.refused(service, "account", "add", "lost", status=EXIT_UNAVAILABLE, says="replaced by a restore")
        self.assertIn("busy", done.stderr)
        restore.kill()
        told = service.csrctl("restore", backup)
        self.assertEqual(self.ids(service.store_path), {first})
        service.csrctl("account", "add", "kept")
        self.assertEqual(read(told["kept"], "SELECT count(*) FROM accounts WHERE id IN ('lost', 'kept')"), [(0,)])

    def test_F118_a_restore_waits_for_who_writes(self):
        service, backup, first, second = self.prepared()
        service.arm("csrctl", "store.batch", sleep=True)
        writer = service.spawn("csrctl", "-c", service.config_path, "account", "add", "slow")
        harness.wait_for("the failpoint", lambda: not service.failpoint_path("csrctl").exists())
        self.refused(service, "restore", backup, status=EXIT_UNAVAILABLE, says="in use by another csrctl")
        self.assertEqual(self.ids(service.store_path), {first, second})
        writer.kill()
        service.csrctl("restore", backup)
        self.assertEqual(self.ids(service.store_path), {first})

    def test_F113_over_the_log_of_a_store_that_is_gone(self):
        """csrd does not start on it; the restore does away with the log, and keeps it."""
        service, backup, first, _ = self.prepared()
        log = pathlib.Path(str(service.store_path) + "-wal")
        log.write_text("what was never in the file")
        service.store_path.unlink()
        csrd = service.start_csrd(wait=False)
        self.assertEqual(csrd.popen.wait(harness.PATIENCE), EXIT_STORE)
        self.assertIn("is gone, and its log", csrd.log())
        self.assertFalse(service.store_path.exists())
        service.csrctl("restore", backup)
        self.assertEqual(self.ids(service.store_path), {first})
        kept = self.files(service)
        self.assertEqual(len(kept), 1)
        self.assertRegex(kept[0], r"^csrd\.db\.before-restore-\d{8}T\d{6}Z-wal$")
        self.assertEqual((service.folder / kept[0]).read_text(), "what was never in the file")

    def test_over_nothing(self):
        service, backup, first, _ = self.prepared()
        service.store_path.unlink()
        told = service.csrctl("restore", backup)
        self.assertNotIn("kept", told)
        self.assertEqual(self.ids(service.store_path), {first})
        self.assertEqual(self.files(service), [])

    def test_running_csrd(self):
        service = self.service().start()
        backup = self.folder / "backup.db"
        service.csrctl("backup", backup)
        made = service.create().result["id"]
        self.refused(service, "restore", backup, status=EXIT_IN_USE, says="csrd runs .* stop it first")
        self.assertEqual(service.get(made).status, 200)
        service.stop()
        self.assertEqual(self.files(service), [])

    def test_store_in_use_by_another_program(self):
        service, backup, _, second = self.prepared()
        database = sqlite3.connect(service.store_path)
        database.execute("SELECT count(*) FROM csrs").fetchall()
        self.refused(service, "restore", backup, status=69, says="in use by another program")
        database.close()
        self.assertIn(second, self.ids(service.store_path))
        self.assertEqual(self.files(service), [])

    def test_F82_what_is_no_backup(self):
        service, backup, _, _ = self.prepared()
        before = sha256(service.store_path)
        bad = self.folder / "bad.db"

        def corrupt():
            with open(bad, "r+b") as file:
                file.seek(4096 * 8)
                file.write(b"\xa5" * 4096)

        def cut():
            os.truncate(bad, os.path.getsize(bad) - 4096 * 3)

        table = [
            ("text", lambda: bad.write_text("[http]\nlisten = 127.0.0.1:0\n" * 100), EXIT_STORE, "not a database"),
            ("empty", lambda: bad.write_text(""), EXIT_STORE, "empty, not a database"),
            ("newer", lambda: change(bad, "PRAGMA user_version = 99"), EXIT_STORE, "schema version 99.* up to"),
            ("foreign", lambda: change(bad, "PRAGMA application_id = 7"), EXIT_STORE, "not one of csrd"),
            ("corrupt", corrupt, EXIT_STORE, "damaged|malformed"),
            ("cut", cut, EXIT_STORE, "damaged|malformed"),
            ("index", lambda: change(bad, "PRAGMA writable_schema = ON",
                                     "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE"
                                     " name = 'csrs_active_id') WHERE name = 'csrs_active_name'"), EXIT_STORE,
             "damaged|malformed"),
            ("missing", bad.unlink, EXIT_FAILED, "No such file"),
            ("folder", bad.mkdir, EXIT_FAILED, "not a regular file"),
        ]
        for name, spoil, status, says in table:
            with self.subTest(name):
                if not bad.exists():
                    shutil.copy(backup, bad)
                else:
                    bad.write_bytes(backup.read_bytes())
                if name == "folder":
                    bad.unlink()
                spoil()
                self.refused(service, "restore", bad, status=status, says=says)
                self.assertEqual(sha256(service.store_path), before)
                self.assertEqual(self.files(service), [])

    def test_live_database_is_no_backup(self):
        service, backup, _, _ = self.prepared()
        live = self.folder / "live.db"
        shutil.copy(backup, live)
        database = sqlite3.connect(live)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE more (x)")
        self.refused(service, "restore", live, status=EXIT_FAILED, says="in use, with a log beside it")
        database.close()

    def test_over_a_store_with_a_log(self):
        """After a crash the last commits are in the log alone: kept with the old store, and never in the new one."""
        service, backup, first, second = self.prepared()
        service.start()
        third = service.create().result["id"]
        service.csrd.kill()
        service.hsm.terminate()
        self.assertGreater(os.path.getsize(str(service.store_path) + "-wal"), 0)
        told = service.csrctl("restore", backup)
        self.assertEqual(self.ids(service.store_path), {first})
        self.assertEqual(self.ids(told["kept"]), {first, second, third})
        service.start()
        self.assertEqual(service.get(third).status, 404)
        service.stop()

    def test_over_a_damaged_store(self):
        """What cannot be opened any more is kept as it is, log and all."""
        service, backup, first, _ = self.prepared()
        log = pathlib.Path(str(service.store_path) + "-wal")
        service.store_path.write_bytes(b"no database" * 1000)
        log.write_bytes(b"no log" * 1000)
        told = service.csrctl("restore", backup)
        self.assertFalse(log.exists())
        self.assertEqual(self.ids(service.store_path), {first})
        self.assertEqual(pathlib.Path(told["kept"]).read_bytes(), b"no database" * 1000)
        self.assertEqual(pathlib.Path(told["kept"] + "-wal").read_bytes(), b"no log" * 1000)

    def test_killed_at_any_point(self):
        """Old or new, and whole; a second try does it."""
        service, backup, first, second = self.prepared()
        for point in ("restore.proven", "restore.kept", "restore.before-swap", "restore.swapped"):
            with self.subTest(point):
                service.arm("csrctl", point)
                done = service.csrctl("restore", backup, check=False)
                self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
                new = point == "restore.swapped"
                self.assertEqual(self.ids(service.store_path), {first} if new else {first, second})
                self.assertEqual(read(service.store_path, "PRAGMA integrity_check"), [("ok",)])
                service.start()
                self.assertEqual(service.get(first).status, 200)
                self.assertEqual(service.get(second).status, 404 if new else 200)
                service.stop()
        told = service.csrctl("restore", backup)
        self.assertEqual(self.ids(service.store_path), {first})
        self.assertTrue(os.path.exists(told["kept"]))
        left = [name for name in self.files(service) if ".before-restore-" not in name]
        self.assertEqual(left, [])


if __name__ == "__main__":
    unittest.main()
