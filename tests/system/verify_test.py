"""csrctl verify: what was changed behind csrd's back, in the store or on the token, is found and nothing is changed."""
# run: waits seconds=54
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import time
import unittest

import faults
import harness
import operator_test

EXIT_UNAVAILABLE = 69
UUID = "01234567-89ab-cdef-0123-456789abcdef"


class Verify(harness.Case):
    def database(self, service, *statements):
        """Statements with the schema's guards out of their way, and back afterwards."""
        database = sqlite3.connect(service.store_path)
        guards = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            database.execute("DROP TRIGGER %s" % name)
        for statement, *values in statements:
            database.execute(statement, values)
        for _, sql in guards:
            database.execute(sql)
        database.commit()
        database.close()

    def dump(self, service):
        database = sqlite3.connect(service.store_path)
        text = "\n".join(database.iterdump())
        database.close()
        return text

    def one(self, service, sql, *values):
        database = sqlite3.connect(service.store_path)
        row = database.execute(sql, values).fetchone()
        database.close()
        return row

    def verify(self, service, *options):
        """(kind, object) of every finding, and the document."""
        before = self.dump(service), service.p11.labels()
        done = service.csrctl("verify", *options, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        told = harness.json.loads(done.stdout)
        self.assertEqual(told["ok"], done.returncode == 0)
        self.assertEqual(told["ok"], told["findings"] == [])
        for finding in told["findings"]:
            self.assertTrue(finding["remedy"])
        self.assertEqual((self.dump(service), service.p11.labels()), before, "it changed something")
        return {(finding["kind"], finding["object"]) for finding in told["findings"]}, told

    def populated(self, count=3, **settings):
        service = self.service(settings=settings).start()
        ids = [service.create().result["id"] for _ in range(count)]
        service.csrd.terminate()
        return service, ids

    def test_all_is_well(self):
        """Every key type and every kind of name, deleted ones too."""
        types = ["rsa2048", "p256v1", "rsa3072", "rsa4096", "p384v1", "ed25519"]
        service = self.service(settings={"policy": {"key_types": ", ".join(types), "san_types": "dns, ip, email, uri"}})
        service.start()
        ids = [service.create(key_type=key_type).result["id"] for key_type in types]
        names = ["example.com", "*.example.org", "192.0.2.1", "2001:db8::7", "someone@example.com",
                 "https://example.com/a?b=c"]
        ids.append(service.create(zone=True, sans=names, organizational_unit="Büro, Öst", locality="Zürich").result["id"])
        self.assertEqual(service.delete(ids[1]).status, 200)
        for options, read in ((), 0), (("--full",), len(ids) - 1):
            found, told = self.verify(service, *options)
            self.assertEqual(found, set())
            self.assertEqual(told["csrs_checked"], len(ids))
            self.assertEqual(told["keys_read"], read)
            self.assertEqual(told["store"]["csrs"]["active"], len(ids) - 1)
        service.stop()

    def test_keys(self):
        service, (gone, half, whole) = self.populated()
        service.p11.tool("--delete-object", "--type", "privkey", "--label", service.label(gone))
        service.p11.tool("--delete-object", "--type", "pubkey", "--label", service.label(gone))
        service.p11.tool("--delete-object", "--type", "pubkey", "--label", service.label(half))
        service.p11.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "csrd:" + UUID, "--id", "01" * 16)
        service.p11.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "csrd:no id", "--id", "02" * 16)
        wanted = {("missing-key", gone), ("half-pair", half), ("unknown-key", "csrd:" + UUID),
                  ("unknown-key", "csrd:no id")}
        for options in (), ("--full",):
            self.assertEqual(self.verify(service, *options)[0], wanted)
        self.assertEqual(self.verify(service, "--full")[1]["keys_read"], 1)
        # The same for people, with a remedy for each kind.
        done = harness.run([harness.BIN / "csrctl", "-c", service.config_path, "verify"], check=False,
                           env=service.environment("csrctl"))
        self.assertEqual(done.returncode, 1)
        for kind, what in wanted:
            self.assertRegex(done.stdout, "(?m)^%s +%s  " % (kind, what))
            self.assertRegex(done.stdout, r"(?m)^%s \(\d\): " % kind)
        self.assertIn("4 differences", done.stdout)
        self.paste(service, done.stdout)
        self.assertEqual(done.stderr, "")
        self.assertNotIn(whole, done.stdout)
        # F260: the single CSR is named, so that its remedy can be pasted
        self.assertIn("'csrctl csr delete %s'" % gone, done.stdout)
        # F258: on a terminal all but what is to be pasted
        for command in ("verify",), ("reconcile",), ("status",):
            text, _ = operator_test.on_terminal([harness.BIN / "csrctl", "-c", service.config_path, *command], 80,
                                                service.environment("csrctl"))
            wide = [line for line in text.splitlines() if len(line) > 80 and "pkcs11-tool" not in line]
            self.assertEqual(wide, [])

    def paste(self, service, said):
        """F199: the commands for an unknown key work as they are printed, but for the PIN that they ask for."""
        commands = re.findall(r"(?m)^(?:env .*)?pkcs11-tool .*--delete-object.*$", said)
        self.assertEqual(len(commands), 2, said)
        label = next(what for what in ("csrd:" + UUID, "csrd:no id") if what in commands[0])
        for command in commands:
            harness.run(["sh", "-c", command.replace("--login", "--login --pin " + service.p11.PIN)],
                        env=service.environment("csrctl"))
        self.assertNotIn(label, service.p11.labels())

    def test_F199_full_is_not_quadratic(self):
        """A search by label reads every object of the token in some modules, so verify --full does not search for each
        key; and a key that was exchanged since it was last looked at is found out all the same."""
        (self.folder / "shim").mkdir()
        s = faults.ShimService(self, self.folder / "shim", self.logs(".shim"), None)
        s.start()
        ids = [s.create().result["id"] for _ in range(60)]
        s.csrd.terminate()
        mark = s.shim.mark()
        found, told = self.verify(s, "--full")
        self.assertEqual((found, told["keys_read"]), (set(), len(ids)))
        searches = sum(call.function == "C_FindObjectsInit" for call in s.shim.calls(mark))
        self.assertLess(searches, len(ids))
        for what in ("privkey", "pubkey"):
            s.p11.tool("--delete-object", "--type", what, "--label", s.label(ids[3]))
        s.p11.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", s.label(ids[3]), "--id",
                   self.one(s, "SELECT hex(key_id) FROM csrs WHERE id = ?", ids[3])[0])
        s.p11.tool("--delete-object", "--type", "privkey", "--label", s.label(ids[4]))
        found = self.verify(s, "--full")[0]
        self.assertLessEqual({("wrong-key", ids[3]), ("half-pair", ids[4])}, found)
        self.assertEqual({what for _, what in found}, {ids[3], ids[4]})
        self.assertEqual(s.hsm.terminate(), 0)

    def test_F256_how_long_it_takes_is_said_beforehand(self):
        """Also where it is no terminal; on one how far it is, and how long it will still take, is shown."""
        (self.folder / "shim").mkdir()
        s = faults.ShimService(self, self.folder / "shim", self.logs(".shim"), None)
        s.start()
        for _ in range(8):
            self.assertEqual(s.create().status, 201)
        s.csrd.terminate()
        said = r"reading the 8 keys of token 'default' takes about \d+ s; it may be interrupted"
        self.assertNotRegex(s.csrctl("verify", "--full", check=False).stderr, "takes about")
        s.shim.set("C_GetAttributeValue sleep 600ms")
        command = [harness.BIN / "csrctl", "-c", s.config_path, "verify", "--full"]
        master, slave = pty.openpty()
        for stderr, pattern in ((subprocess.PIPE, said), (slave, r"reading their keys: \d+ %, about \d+ s left")):
            child = subprocess.Popen(command, env=s.environment("csrctl"), stdout=subprocess.DEVNULL, stderr=stderr)
            descriptor = child.stderr.fileno() if child.stderr else master
            text = ""
            deadline = time.monotonic() + harness.PATIENCE * 3
            while not re.search(pattern, text) and time.monotonic() < deadline:
                if select.select([descriptor], [], [], 0.2)[0]:
                    part = os.read(descriptor, 65536).decode("utf-8", "replace")
                    if not part:
                        break
                    text += part
            self.assertRegex(text, pattern)
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.wait(harness.PATIENCE), 1)
            if child.stderr:
                child.stderr.close()
        os.close(master)
        os.close(slave)
        s.shim.clear()
        self.assertEqual(s.hsm.terminate(), 0)

    def test_keys_exchanged(self):
        """The right label and key id, and another key: only reading it tells."""
        service, (same, other, weaker) = self.populated()
        key_id = self.one(service, "SELECT hex(key_id) FROM csrs WHERE id = ?", other)[0]
        for what in ("privkey", "pubkey"):
            service.p11.tool("--delete-object", "--type", what, "--label", service.label(other))
        service.p11.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", service.label(other), "--id", key_id,
                         "--usage-derive")
        self.database(service, ("UPDATE csrs SET protection = protection - 64 WHERE id = ?", weaker))
        self.assertEqual(self.verify(service)[0], set())
        found, told = self.verify(service, "--full")
        self.assertLessEqual({("wrong-key", other), ("protection", other), ("protection", weaker)}, found)
        self.assertNotIn(same, {what for _, what in found})
        self.assertEqual(told["keys_read"], 3)
        # Another type of key altogether.
        for what in ("privkey", "pubkey"):
            service.p11.tool("--delete-object", "--type", what, "--label", service.label(other))
        service.p11.tool("--keypairgen", "--key-type", "rsa:1024", "--label", service.label(other), "--id", key_id)
        found, told = self.verify(service, "--full")
        self.assertIn(("unreadable-key", other), found)

    def test_rows_against_their_csr(self):
        service, ids = self.populated(count=8)
        pems = [self.one(service, "SELECT pem FROM csrs WHERE id = ?", csr_id)[0] for csr_id in ids]
        lines = pems[6].splitlines()
        lines[-2] = ("B" if lines[-2][0] != "B" else "C") + lines[-2][1:]
        spoilt = "\n".join(lines) + "\n"
        self.database(
            service,
            ("UPDATE csrs SET common_name = 'other.example' WHERE id = ?", ids[0]),
            ("UPDATE csrs SET sans = sans || 'dns more.example' || char(10) WHERE id = ?", ids[1]),
            ("UPDATE csrs SET organizational_unit = 'Security' WHERE id = ?", ids[2]),
            ("UPDATE csrs SET key_type = 5 WHERE id = ?", ids[3]),
            ("UPDATE csrs SET pem = ? WHERE id = ?", pems[7], ids[4]),
            ("UPDATE csrs SET pem = 'no CSR' WHERE id = ?", ids[5]),
            ("UPDATE csrs SET pem = ? WHERE id = ?", spoilt, ids[6]))
        found, told = self.verify(service)
        self.assertEqual(found, {("csr", csr_id) for csr_id in ids[:7]})
        says = {}
        for finding in told["findings"]:
            says.setdefault(finding["object"], []).append(finding["text"])
        for csr_id, word in zip(ids, ("common name", "names", "organizational unit", "type", "SHA-256", "cannot be read",
                                      "signature")):
            self.assertEqual(len(says[csr_id]), 1, says[csr_id])
            self.assertIn(word, says[csr_id][0])

    def test_the_store_by_itself(self):
        service, ids = self.populated()
        def rule(name):
            return self.one(service, "SELECT sql FROM sqlite_schema WHERE name = ?", name)[0]
        gap, kept = rule("audit_no_gap"), rule("audit_kept")
        table = [
            ("a record of the audit trail", [("DELETE FROM audit WHERE sequence = 3",)], "audit trail"),
            ("its beginning", [("DELETE FROM audit WHERE sequence < 3",)], "audit trail"),
            ("a state", [("UPDATE csrs SET state = 4 WHERE id = ?", ids[0])], ids[0]),
            ("a counter", [("UPDATE accounts SET csr_count = 99",)], "account " + service.account),
            ("a reference", [("PRAGMA foreign_keys = OFF",), ("DELETE FROM accounts",)], "csrs"),
        ]
        keep = sqlite3.connect(service.store_path)
        copy = sqlite3.connect(":memory:")
        keep.backup(copy)
        keep.close()
        for name, statements, what in table:
            with self.subTest(name):
                self.database(service, *statements)
                found, _ = self.verify(service)
                self.assertIn(("store", what), found)
                back = sqlite3.connect(service.store_path)
                copy.backup(back)
                back.close()
        with self.subTest("a guard of the schema"):
            database = sqlite3.connect(service.store_path)
            database.execute("DROP TRIGGER audit_kept")
            database.execute("DROP TRIGGER audit_no_gap")
            database.execute("CREATE TRIGGER audit_no_gap AFTER INSERT ON audit BEGIN SELECT 1; END")
            database.execute("CREATE TABLE more (x)")
            database.commit()
            found, _ = self.verify(service)
            self.assertEqual(found, {("store", "trigger audit_kept"), ("store", "trigger audit_no_gap"),
                                     ("store", "table more")})
            database.execute("DROP TABLE more")
            database.execute("DROP TRIGGER audit_no_gap")
            database.execute(gap)
            database.execute(kept)
            database.commit()
            database.close()
            self.assertEqual(self.verify(service)[0], set())

    def test_unsettled_and_leftover(self):
        service, ids = self.populated(count=1)
        service.arm("csrd", "create.before-commit")
        service.start_csrd()
        service.wait_ready()
        with self.assertRaises((harness.GoneAway, OSError, harness.http.client.HTTPException)):
            service.create()
        service.csrd.wait()
        (unsettled,) = set(service.p11.labels()) - {service.label(ids[0])}
        found, _ = self.verify(service)
        self.assertEqual([kind for kind, _ in found], ["unsettled"])
        (csr_id,) = [what for _, what in found]
        self.assertNotIn(csr_id, service.rows())
        service.csrctl("reconcile", "--apply")
        self.assertNotIn(unsettled, service.p11.labels())
        self.assertEqual(self.verify(service)[0], set())
        # The key of a deleted CSR that came back.
        service.start_csrd()
        service.wait_ready()
        label, key_id = service.label(ids[0]), self.one(service, "SELECT hex(key_id) FROM csrs")[0]
        self.assertEqual(service.delete(ids[0]).status, 200)
        service.csrd.terminate()
        service.p11.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", label, "--id", key_id)
        self.database(service, ("UPDATE csrs SET updated_us = 1",))
        found, _ = self.verify(service)
        self.assertEqual({("leftover-key", ids[0])}, found)

    def test_a_create_at_work_is_no_difference(self):
        """Its key has no row yet, and the csrd that runs knows why."""
        service, ids = self.populated(count=1)
        service.arm("csrd", "create.before-commit", sleep=True)
        service.start_csrd()
        service.wait_ready()
        caller = harness.threading.Thread(target=lambda: self.create_until_it_ends(service), daemon=True)
        caller.start()
        service.wait_at_failpoint("csrd")
        found, told = self.verify(service)
        self.assertEqual((found, told["in_work"]), (set(), 1))
        service.csrd.kill()
        caller.join()

    def create_until_it_ends(self, service):
        try:
            service.create()
        except (harness.GoneAway, OSError):
            pass

    def test_absent_signer_is_told_at_once(self):
        service = self.service()
        for command in (["verify"], ["reconcile"], ["reconcile", "--apply"]):
            started = time.monotonic()
            done = service.csrctl(*command, check=False)
            took = time.monotonic() - started
            self.assertEqual(done.returncode, EXIT_UNAVAILABLE, done.stderr)
            self.assertRegex(done.stderr, "the signer of token 'default' does not answer at .*hsm.sock")
            self.assertLess(took, 4, "%s waits for what is not there" % command)
        # Somebody who does not answer is waited for, and not for ever.
        listener = harness.socket.socket(harness.socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(service.socket_path))
        listener.listen()
        done = service.csrctl("verify", check=False)
        self.assertEqual(done.returncode, EXIT_UNAVAILABLE, done.stderr)
        self.assertIn("accepts the connection and sends nothing", done.stderr)
        # … nor is the operator who has had enough of it kept
        started = time.monotonic()
        child = subprocess.Popen([harness.BIN / "csrctl", "-c", service.config_path, "verify"],
                                 env=service.environment("csrctl"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                 text=True)
        listener.settimeout(harness.PATIENCE)
        listener.accept()[0].close()  # of the one before
        held, _ = listener.accept()
        self.addCleanup(held.close)
        child.send_signal(signal.SIGINT)
        self.assertIn("interrupted", child.communicate(timeout=harness.PATIENCE)[1])
        self.assertEqual(child.returncode, 1)
        self.assertLess(time.monotonic() - started, 4)
        done = service.csrctl("verify", "--token", "none", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no [token none]", done.stderr)

    def test_under_load(self):
        """What comes and goes meanwhile is no difference."""
        service = self.service().start()

        def work():
            for _ in range(6):
                made = service.create()
                self.assertEqual(made.status, 201, made.body)
                self.assertEqual(service.delete(made.result["id"]).status, 200)
        def look():
            return [self.quick(service) for _ in range(4)]
        results = harness.in_parallel([work, work, look])
        self.assertEqual(results[2], [[]] * 4)
        service.stop()

    def quick(self, service):
        return harness.json.loads(service.csrctl("verify", "--full", check=False).stdout)["findings"]


if __name__ == "__main__":
    unittest.main()
