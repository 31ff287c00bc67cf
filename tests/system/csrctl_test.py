# run: seconds=5
"""csrctl as operators and scripts use it: every command, --json, errors and exit codes, secrets."""
import hashlib
import json
import os
import pwd
import re
import sqlite3
import subprocess
import unittest

import harness

OK, FAILURE, USAGE, UNAVAILABLE, SYSTEM, CONFIG = 0, 1, 64, 69, 71, 78
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SUBCOMMANDS = ("account add", "account list", "zone add", "zone list", "token create", "token list", "token revoke",
               "user create", "user list", "user revoke", "account set", "account rename", "zone set", "zone rename",
               "csr list", "csr show", "csr delete", "audit", "pool list", "pool destroy", "reconcile", "status", "doctor",
               "completion", "verify", "backup", "restore", "config check", "config show")


class StoreCase(harness.Case):
    """A configuration and a place for a store; no token, no service."""

    def setUp(self):
        super().setUp()
        self.config = self.folder / "csrd.conf"
        self.store = self.folder / "csrd.db"
        self.pin = self.folder / "pin"
        self.pin.write_text("4711\n")
        self.pin.chmod(0o600)
        self.config.write_text("[store]\nurl = sqlite:%s\n[token default]\nmodule = %s\nuri = pkcs11:token=none\n"
                               "pin_file = %s\nsocket = %s\n" % (self.store, harness.softhsm_module(), self.pin,
                                                                 self.folder / "none.sock"))

    def ctl(self, *arguments, status=OK, environment=None, **kwargs):
        """The finished process; its exit status is checked."""
        done = subprocess.run([harness.BIN / "csrctl", "-c", self.config, *map(str, arguments)], capture_output=True,
                              text=True, timeout=harness.PATIENCE * 3, check=False,
                              env=harness.clean_environment(**(environment or {})), **kwargs)
        self.assertEqual(done.returncode, status, (arguments, done.stdout, done.stderr))
        if status != OK and "reconcile" not in arguments:
            self.assertRegex(done.stderr, r"(?m)^csrctl: ")
        return done

    def json(self, *arguments, status=OK, **kwargs):
        return json.loads(self.ctl("--json", *arguments, status=status, **kwargs).stdout)

    def query(self, sql, *values):
        database = sqlite3.connect(self.store)
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()

    def raw_store(self):
        return b"".join(path.read_bytes() for path in self.folder.glob("csrd.db*") if path.is_file())


class Accounts(StoreCase):
    def test_account_add_and_list(self):
        added = self.json("account", "add", "acme", "--name", "Acme, Inc. ünïcode", "--quota", "5")
        self.assertEqual({k: added[k] for k in ("id", "name", "quota")},
                         {"id": "acme", "name": "Acme, Inc. ünïcode", "quota": 5})
        fresh = self.json("account", "add")
        self.assertRegex(fresh["id"], r"^[0-9a-f]{32}$")
        self.assertIsNone(fresh["quota"])
        self.assertNotEqual(fresh["id"], self.json("account", "add", "--quota", "unlimited")["id"])
        listed = self.json("account", "list")["accounts"]
        self.assertEqual(len(listed), 3)
        by_id = {account["id"]: account for account in listed}
        self.assertRegex(by_id["acme"]["created_at"], TIME)
        self.assertEqual(by_id["acme"], {**added, "csr_count": 0, "created_at": by_id["acme"]["created_at"]})
        text = self.ctl("account", "list").stdout
        lines = text.splitlines()
        self.assertEqual(lines[0].split(), ["ID", "CSRS", "QUOTA", "CREATED", "NAME"])
        self.assertEqual(len(lines), 4)
        # Columns are aligned: every row has its time under the title.
        column = lines[0].index("CREATED")
        for line in lines[1:]:
            self.assertRegex(line[column:column + 21], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")

    def test_zone_add_and_list(self):
        self.ctl("account", "add", "acme")
        added = self.json("zone", "add", "z1", "--account", "acme", "--name", "example.com", "--quota", "0")
        self.assertEqual({k: added[k] for k in ("id", "account", "name", "quota")},
                         {"id": "z1", "account": "acme", "name": "example.com", "quota": 0})
        fresh = self.json("zone", "add", "--account=acme")
        self.assertRegex(fresh["id"], r"^[0-9a-f]{32}$")
        self.assertEqual({zone["id"] for zone in self.json("zone", "list")["zones"]}, {"z1", fresh["id"]})
        self.assertIn("example.com", self.ctl("zone", "list").stdout)

    def test_what_exists_and_what_does_not(self):
        self.ctl("account", "add", "acme")
        self.assertIn("account 'acme' already exists", self.ctl("account", "add", "acme", status=FAILURE).stderr)
        self.assertIn("no such account 'nobody'",
                      self.ctl("zone", "add", "z1", "--account", "nobody", status=FAILURE).stderr)
        self.ctl("zone", "add", "z1", "--account", "acme")
        self.assertIn("zone 'z1' already exists",
                      self.ctl("zone", "add", "z1", "--account", "acme", status=FAILURE).stderr)

    def test_the_audit_trail_names_the_operator(self):
        me = pwd.getpwuid(os.getuid()).pw_name
        self.ctl("account", "add", "a1", environment={"SUDO_USER": ""})
        self.ctl("account", "add", "a2", environment={"SUDO_USER": "alice"})
        actors = dict(self.query("SELECT object, actor FROM audit WHERE action = 'account.add'"))
        self.assertEqual(actors["a1"], "operator:" + me)
        # Only root's word counts for who is behind sudo.
        self.assertEqual(actors["a2"], "operator:alice" if os.getuid() == 0 else "operator:" + me)

    def test_no_store(self):
        for command in (("account", "list"), ("zone", "list"), ("token", "list"), ("user", "list"), ("csr", "list"),
                        ("token", "revoke", "x"), ("user", "revoke", "x"), ("reconcile",),
                        ("csr", "show", "7b163417-1d2b-4c84-a38a-2fb7a0cd7752")):
            with self.subTest(command=command):
                error = self.ctl(*command, status=UNAVAILABLE).stderr
                self.assertIn("no store at 'sqlite:%s': csrctl setup creates it, or csrctl account add" % self.store, error)
                self.assertEqual(len(error.splitlines()), 1, "no line of a log besides")
                self.assertFalse(self.store.exists())

    @unittest.skipUnless(os.getuid() == 0, "needs root")
    def test_root_leaves_files_to_the_owner_of_the_folder(self):
        owner = pwd.getpwnam("nobody")
        os.chmod(self.folder, 0o755)
        folder = self.folder / "lib"
        folder.mkdir()
        self.store = folder / "csrd.db"
        self.config.write_text(self.config.read_text().replace("sqlite:%s/csrd.db" % self.folder,
                                                               "sqlite:%s" % self.store))
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        self.ctl("account", "add", "acme")
        # A reader keeps the side files there while csrctl writes.
        reader = sqlite3.connect(self.store)
        self.addCleanup(reader.close)
        reader.execute("SELECT count(*) FROM accounts").fetchone()
        self.ctl("account", "add", "beta")
        files = list(folder.iterdir())
        self.assertTrue(files)
        for path in files:
            self.assertEqual(path.stat().st_uid, owner.pw_uid, path)


class Credentials(StoreCase):
    def setUp(self):
        super().setUp()
        self.ctl("account", "add", "acme")
        self.ctl("zone", "add", "z1", "--account", "acme")

    def test_token_create(self):
        done = self.ctl("token", "create", "--name", "ci", "--account", "acme:write", "--zone", "z1", "--json")
        made = json.loads(done.stdout)
        self.assertRegex(made["id"], UUID)
        self.assertEqual(made["name"], "ci")
        self.assertRegex(made["token"], r"^csrd_[0-9A-Za-z_-]{40,75}$")
        self.assertEqual(made["grants"], [{"scope": "account", "id": "acme", "permission": "write"},
                                          {"scope": "zone", "id": "z1", "permission": "read"}])
        self.assertNotIn("expires_at", made)
        self.assertIn("shown only this once", done.stderr)
        self.assertNotIn(made["token"], done.stderr)
        self.assert_only_the_hash_is_kept(made["token"])

    def test_user_create(self):
        done = self.ctl("--json", "user", "create", "--email", "ops@example.com", "--zone", "z1:write", "--expires", "1d")
        made = json.loads(done.stdout)
        self.assertRegex(made["id"], UUID)
        self.assertEqual(made["email"], "ops@example.com")
        self.assertRegex(made["key"], r"^[0-9a-f]{37,60}$")
        self.assertEqual(made["grants"], [{"scope": "zone", "id": "z1", "permission": "write"}])
        self.assertRegex(made["expires_at"], TIME)
        self.assertIn("shown only this once", done.stderr)
        self.assert_only_the_hash_is_kept(made["key"])

    def assert_only_the_hash_is_kept(self, secret):
        raw = self.raw_store()
        self.assertNotIn(secret.encode(), raw)
        self.assertIn(hashlib.sha256(secret.encode()).digest(), raw)
        for kind in ("token", "user"):
            self.assertNotIn(secret, self.ctl(kind, "list").stdout + self.ctl(kind, "list", "--json").stdout)

    def test_text_output(self):
        done = self.ctl("token", "create", "--name", "ci", "--account", "acme")
        self.assertRegex(done.stdout, r"(?m)^token +csrd_\S+$")
        self.assertRegex(done.stdout, r"(?m)^grants +acme:read$")
        self.assertRegex(done.stdout, r"(?m)^expires +never$")
        lines = self.ctl("token", "list").stdout.splitlines()
        self.assertEqual(lines[0].split(), ["ID", "NAME", "STATUS", "CREATED", "EXPIRES", "USED", "GRANTS"])
        self.assertRegex(lines[1], r" ci +active +\S+Z +never +never +acme:read$")

    def test_status_in_lists(self):
        def create(name, *more):
            return self.json("token", "create", "--name", name, "--account", "acme", *more)["id"]
        create("plain", "--expires", "never")
        create("later", "--not-before", "2999-01-01", "--expires", "2999-01-02T00:00:00+01:00")
        revoked = create("revoked", "--expires", "90d")
        ended = create("ended", "--expires", "1h")
        database = sqlite3.connect(self.store)
        database.execute("UPDATE principals SET expires_us = 1 WHERE id = ?", (ended,))
        database.commit()
        database.close()
        answer = self.json("token", "revoke", revoked)
        self.assertEqual((answer["id"], answer["name"]), (revoked, "revoked"))
        self.assertRegex(answer["revoked_at"], TIME)
        listed = {token["name"]: token for token in self.json("token", "list")["tokens"]}
        self.assertEqual({name: token["status"] for name, token in listed.items()},
                         {"plain": "active", "later": "not-yet-valid", "revoked": "revoked", "ended": "expired"})
        self.assertEqual(listed["later"]["not_before"][:19], "2999-01-01T00:00:00")
        self.assertEqual(listed["later"]["expires_at"][:19], "2999-01-01T23:00:00")
        self.assertEqual(listed["revoked"]["revoked_at"], answer["revoked_at"])
        self.assertNotIn("revoked_at", listed["plain"])
        # A second time keeps the first.
        again = self.ctl("token", "revoke", revoked, "--json")
        self.assertEqual(json.loads(again.stdout), answer)
        self.assertIn("revoked before", again.stderr)

    def test_user_revoke_by_address_and_by_id(self):
        first = self.json("user", "create", "--email", "ops@example.com", "--account", "acme")
        self.assertIn("user 'ops@example.com' already exists",
                      self.ctl("user", "create", "--email", "ops@example.com", "--account", "acme",
                               status=FAILURE).stderr)
        self.assertEqual(self.json("user", "revoke", "OPS@example.com")["id"], first["id"])
        self.ctl("user", "revoke", "ops@example.com", status=FAILURE)
        second = self.json("user", "create", "--email", "ops@example.com", "--account", "acme")
        self.assertNotEqual(second["id"], first["id"])
        self.assertEqual(self.json("user", "revoke", second["id"])["email"], "ops@example.com")
        self.assertEqual([user["status"] for user in self.json("user", "list")["users"]], ["revoked", "revoked"])

    def test_errors(self):
        grant = ("--account", "acme")
        for arguments, words in (
            (("token", "create", "--name", "x", "--account", "nobody"), "no such account 'nobody'"),
            (("token", "create", "--name", "x", "--zone", "nowhere:write"), "no such zone 'nowhere'"),
            (("token", "revoke", "nothing"), "no such token 'nothing'"),
            (("user", "revoke", "nobody@example.com"), "no such user 'nobody@example.com'"),
        ):
            with self.subTest(arguments=arguments):
                self.assertIn(words, self.ctl(*arguments, status=FAILURE).stderr)
        for arguments, words in (
            (("token", "create", *grant), "--name is missing"),
            (("token", "create", "--name", "x"), "at least one --account or --zone"),
            (("token", "create", "--name", "x", "--account", "acme:admin"), "ID or NAME, optionally followed by :read or :write"),
            (("token", "create", "--name", "x", *grant, *grant), "given twice"),
            (("token", "create", "--name", "x\ny", *grant), "none of them a control"),
            (("token", "create", "--name", "x\u00ady", *grant), "none of them a control, invisible"),  # F120
            (("token", "create", "--name", "\u2800", *grant), "at least one of them visible"),  # F121
            (("account", "add", "a2", "--name", "x\ufe0f"), "none of them a control, invisible"),
            (("token", "create", "--name", "x", *grant, "--expires", "soon"), "--expires 'soon'"),
            (("token", "create", "--name", "x", *grant, "--expires", "2020-01-01"), "has passed"),
            (("token", "create", "--name", "x", *grant, "--expires", "1h", "--not-before", "2h"), "not before"),
            (("user", "create", "--email", "nobody", *grant), "not an e-mail address"),
            (("user", "create", *grant), "--email is missing"),
        ):
            with self.subTest(arguments=arguments):
                done = self.ctl(*arguments, status=USAGE)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stdout, "")
        self.assertEqual(self.json("token", "list")["tokens"], [])

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([harness.BIN / "csrctl", "-c", self.config, "token", "create", "--name", "x",
                                   "--account", "acme"], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                                  env=harness.clean_environment(), timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, SYSTEM)
        self.assertIn("cannot write to standard output", done.stderr)


class CommandLine(StoreCase):
    def groups(self):
        """As the program names them when none is given."""
        words = self.ctl(status=USAGE).stderr.splitlines()[0].split("it is one of ")[1]
        return words.split(", ")

    def test_help_fits_a_screen(self):
        groups = self.groups()
        self.assertLessEqual({command.split()[0] for command in SUBCOMMANDS}, set(groups))
        for arguments in [("--help",), ("-h",)] + [(group, "--help") for group in groups] + \
                [tuple(command.split()) + ("--help",) for command in SUBCOMMANDS]:
            with self.subTest(arguments=arguments):
                text = self.ctl(*arguments).stdout
                self.assertTrue(text.startswith("Usage: csrctl "), text)
                self.assertLessEqual(len(text.splitlines()), 24)
                self.assertLessEqual(max(map(len, text.splitlines())), 80)
        for group in groups:
            self.assertIn(group, self.ctl("--help").stdout)
        self.assertRegex(self.ctl("--version").stdout, r"^csrctl \d+\.\d+\.\d+\n$")

    def test_wrong_command_lines(self):
        self.ctl("account", "add", "acme")
        for arguments, words in (
            ((), "account, zone, quota, token, user, principal, csr"),
            (("frobnicate",), "unknown command 'frobnicate'"),
            (("frobnicate",), "account, zone, quota, token, user, principal, csr"),
            (("token",), "create, list, revoke"),
            (("token", "make"), "create, list, revoke"),
            (("account", "list", "extra"), "unexpected argument 'extra'"),
            (("account", "add", "a", "b"), "unexpected argument 'b'"),
            (("account", "add", "no spaces"), "not an id"),
            (("account", "add", "x" * 33), "not an id"),
            (("account", "add", "x", "--quota", "-1"), "--quota '-1'"),
            (("account", "add", "x", "--quota", "many"), "--quota 'many'"),
            (("account", "list", "--nonsense"), "--nonsense"),
            (("account", "add", "--name"), "--name"),
            (("zone", "add", "z"), "--account is missing"),
            (("token", "revoke"), "an argument is missing"),
            (("csr", "show", "17"), "not a CSR id"),
            (("csr", "list", "--state", "lost"), "--state 'lost'"),
            (("csr", "list", "--limit", "0"), "--limit '0'"),
            (("csr", "list", "--account", "a", "--zone", "z"), "one --account or one --zone"),
            (("reconcile", "--min-age", "2"), "--min-age '2'"),
        ):
            with self.subTest(arguments=arguments):
                done = self.ctl(*arguments, status=USAGE)
                self.assertIn(words, done.stderr)
                self.assertIn("--help", done.stderr)
                self.assertEqual(done.stdout, "")
        self.assertEqual(len(self.json("account", "list")["accounts"]), 1)

    def test_options_stand_anywhere(self):
        expected = json.loads(self.ctl("account", "add", "--json", "acme").stdout)["id"]
        self.assertEqual(expected, "acme")
        for arguments in (("--json", "account", "list"), ("account", "--json", "list"), ("account", "list", "--json")):
            self.assertEqual(json.loads(self.ctl(*arguments).stdout)["accounts"][0]["id"], "acme")
        self.ctl("token", "create", "--account", "acme", "--name", "x")
        bare = subprocess.run([harness.BIN / "csrctl", "account", "list", "-c", self.config], capture_output=True,
                              text=True, check=True, env=harness.clean_environment(), timeout=harness.PATIENCE)
        self.assertIn("acme", bare.stdout)

    def test_bad_configuration(self):
        self.config.write_text("[store]\nurll = x\n")
        done = self.ctl("account", "list", status=CONFIG)
        self.assertIn("%s:2:" % self.config, done.stderr)
        self.config.unlink()
        self.assertIn(str(self.config), self.ctl("account", "list", status=CONFIG).stderr)

    def test_no_such_things(self):
        self.ctl("account", "add", "acme")
        missing = "7b163417-1d2b-4c84-a38a-2fb7a0cd7752"
        self.assertIn("no such CSR '%s'" % missing, self.ctl("csr", "show", missing, status=FAILURE).stderr)
        self.assertIn("no such account 'nobody'", self.ctl("csr", "list", "--account", "nobody", status=FAILURE).stderr)
        self.assertIn("[token other]", self.ctl("reconcile", "--token", "other", status=FAILURE).stderr)
        self.assertIn("no such zone 'nowhere'", self.ctl("csr", "list", "--zone", "nowhere", status=FAILURE).stderr)
        self.assertIn("[token other]", self.ctl("status", "--token", "other", status=FAILURE).stderr)
        done = self.ctl("status", status=UNAVAILABLE)
        self.assertIn("the signer of token 'default' does not answer at '%s'" % (self.folder / "none.sock"), done.stderr)
        done = self.ctl("reconcile", status=UNAVAILABLE)
        self.assertIn("the signer of token 'default' does not answer at '%s'" % (self.folder / "none.sock"), done.stderr)


class Csrs(harness.Case):
    """Over a real service: what csrctl says is what the API gave and what the token holds."""

    def text(self, service, *arguments, status=OK):
        done = subprocess.run([harness.BIN / "csrctl", "-c", service.config_path, *map(str, arguments)],
                              capture_output=True, text=True, timeout=harness.PATIENCE * 3, check=False,
                              env=service.environment("csrctl"))
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def test_list_and_show(self):
        s = self.service().start()
        ids = [s.create(name="n%d" % i, description="line\u00a0one").result["id"] for i in range(3)]
        zone_id = s.create(zone=True, organizational_unit="Ops").result["id"]
        self.assertEqual(s.delete(ids[0]).status, 200)
        listed = s.csrctl("csr", "list")
        self.assertEqual([csr["id"] for csr in listed["csrs"]], [zone_id] + ids[::-1])
        self.assertEqual(listed["total_count"], 4)
        self.assertEqual([csr["state"] for csr in listed["csrs"]], ["active", "active", "active", "destroyed"])
        self.assertEqual([c["id"] for c in s.csrctl("csr", "list", "--zone", s.zone)["csrs"]], [zone_id])
        self.assertEqual([c["id"] for c in s.csrctl("csr", "list", "--account", s.account, "--state", "active")["csrs"]],
                         ids[:0:-1])
        few = s.csrctl("csr", "list", "--limit", "2", "--oldest")
        self.assertEqual(([c["id"] for c in few["csrs"]], few["total_count"]), (ids[:2], 4))
        text = self.text(s, "csr", "list")
        self.assertEqual(len(text.splitlines()), 5)
        self.assertRegex(text, r"(?m)^%s +active +\S+Z +p256v1 +default +zone example\.com +example\.com$" % zone_id)

        shown = s.csrctl("csr", "show", zone_id.upper())
        api = s.get(zone_id, zone=True).result
        self.assertEqual(shown["csr"], api["csr"])
        self.assertEqual((shown["state"], shown["scope"], shown["scope_id"], shown["account"], shown["token"]),
                         ("active", "zone", s.zone, s.account, "default"))
        self.assertEqual(shown["subject"]["organizational_unit"], "Ops")
        self.assertEqual([san["value"] for san in shown["sans"]], api["sans"])
        key = [k for k in s.p11.objects() if k["label"] == shown["key"]["label"] and k["class"] == "private"]
        self.assertEqual([k["id"] for k in key], [shown["key"]["id"]])
        public = harness.run(["openssl", "req", "-pubkey", "-noout"], input=shown["csr"]).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(),
                             capture_output=True, check=True).stdout
        self.assertEqual(shown["key"]["spki_sha256"], hashlib.sha256(der).hexdigest())
        self.assertLessEqual({"token", "private", "sensitive", "always_sensitive", "never_extractable", "local", "sign"},
                             {word.replace("-", "_") for word in shown["key"]["protection"]})
        self.assertNotIn("extractable", shown["key"]["protection"])
        self.assertEqual([h["action"] for h in shown["history"]], ["csr.active"])
        self.assertEqual({h["actor"] for h in shown["history"]}, {shown["principal"]})

        gone = s.csrctl("csr", "show", ids[0])
        self.assertEqual([h["action"] for h in gone["history"]],
                         ["csr.active", "csr.deleting", "csr.destroyed"])
        self.assertEqual(self.text(s, "csr", "show", zone_id, "--pem"), shown["csr"])
        text = self.text(s, "csr", "show", zone_id)
        for words in (shown["key"]["label"], shown["key"]["id"], shown["key"]["spki_sha256"], "csr.active", "Ops", shown["csr"]):
            self.assertIn(words, text)
        s.stop()

    def test_reconcile(self):
        s = self.service()
        s.start()
        kept = s.create().result["id"]
        gone = s.create().result["id"]
        s.stop()
        s.start_hsm()
        clean = s.csrctl("reconcile", "--min-age", "0")
        self.assertEqual({k: v for k, v in clean.items() if k not in ("token", "applied", "vouched", "checked",
                                                                         "findings")},
                         dict.fromkeys(("pending", "deleting", "leftover", "missing", "unknown", "busy", "set_aside",
                                        "half_pairs", "unread", "unclear", "ready", "others", "left"), 0))
        self.assertTrue(clean["vouched"])
        self.assertEqual((clean["token"], clean["applied"], clean["findings"]), ("default", False, []))
        self.assertEqual(clean["checked"], 4)
        self.stop_hsm(s)

        # One of each: a key nobody knows, and a delete that came to no end.
        unknown = "csrd:7b163417-1d2b-4c84-a38a-2fb7a0cd7752"
        s.p11.ask("make-pair", unknown)
        database = sqlite3.connect(s.store_path)
        database.execute("UPDATE csrs SET state = 3, updated_us = 1 WHERE id = ?", (gone,))
        database.commit()
        database.close()
        s.start_hsm()
        found = self.report(s, FAILURE, "--min-age", "0")
        self.assertEqual((found["deleting"], found["unknown"], found["left"]), (1, 1, 2))
        self.assertEqual({f["finding"]: (f["label"], f["key"]) for f in found["findings"]},
                         {"deleting": (s.label(gone), "pair"), "unknown": (unknown, "pair")})
        self.assertEqual(s.rows()[gone], "deleting", "only looked")
        applied = self.report(s, FAILURE, "--apply")  # the unknown key is left
        self.assertEqual((applied["applied"], applied["deleting"], applied["left"]), (True, 1, 1))
        self.assertEqual(s.rows(), {kept: "active", gone: "destroyed"})
        self.assertEqual(set(s.p11.labels()), {s.label(kept), unknown})
        actor = s.csrctl("csr", "show", gone)["history"][-1]["actor"]
        self.assertTrue(actor.startswith("operator:"), actor)
        text = self.text(s, "reconcile", status=FAILURE)
        self.assertRegex(text, r"(?m)^unknown +pair +%s$" % unknown)
        self.assertIn("1 left to do", text)
        self.stop_hsm(s)

        # A pending row of csrd 0.1 with half a pair, too young for the default age.
        database = sqlite3.connect(s.store_path)
        database.execute("DROP TRIGGER csrs_start_active")
        columns = ("account_id, zone_id, token_name, principal_id, created_us, updated_us, key_type, country, province,"
                   " locality, organization, organizational_unit, common_name, sans, name, description")
        database.execute("INSERT INTO csrs (id, state, %s) SELECT ?, 1, %s FROM csrs WHERE id = ?" % (columns, columns),
                         ("0a000000-0000-4000-8000-00000000000a", kept))
        database.commit()
        database.close()
        s.p11.ask("make-half", "csrd:0a000000-0000-4000-8000-00000000000a")
        s.start_hsm()
        young = self.report(s, FAILURE, "--apply")
        self.assertEqual((young["pending"], young["busy"]), (0, 1))
        self.stop_hsm(s)

    def report(self, service, status, *arguments):
        done = service.csrctl("reconcile", *arguments, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def stop_hsm(self, service):
        self.assertEqual(service.hsm.terminate(), 0)


if __name__ == "__main__":
    unittest.main()
