# run: seconds=8
"""F195 to F197: an operator finds a CSR, sees who did what, changes an account, and deletes what the HSM has lost; by
names, on a terminal of 80 columns, and whole in a pipe."""
import fcntl
import os
import pty
import re
import signal
import sqlite3
import struct
import subprocess
import termios
import time
import unittest

import harness
from csrctl_test import FAILURE, OK, USAGE, StoreCase

DAY_US = 24 * 3600 * 1000000


def on_terminal(command, columns, environment):
    """What it prints on a terminal of that width, and its exit status."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=slave,
                          stderr=subprocess.PIPE, env=environment) as process:
        os.close(slave)
        output = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # EIO: nobody has it open any more
                break
            if not part:
                break
            output += part
        process.wait(harness.PATIENCE)
    os.close(master)
    return output.decode().replace("\r\n", "\n"), process.returncode


class ListCase(StoreCase):
    """CSRs of two accounts, a zone, two callers and two tokens, put there by hand as csrd 0.1 began them: no HSM is
    needed to look."""

    def setUp(self):
        super().setUp()
        self.ctl("account", "add", "acme", "--name", "Payments")
        self.ctl("account", "add", "0123456789abcdef0123456789abcdef")
        self.ctl("zone", "add", "z1", "--account", "acme", "--name", "example.com")
        self.ci = self.json("token", "create", "--name", "ci", "--account", "acme:write")["id"]
        self.ops = self.json("user", "create", "--email", "ops@example.com", "--zone", "z1:write")["id"]
        self.now = int(time.time() * 1000000)
        self.ids = []
        database = sqlite3.connect(self.store)
        for guard in ("start_active", "legal_move", "key_fixed"):
            database.execute("DROP TRIGGER csrs_" + guard)
        database.close()
        self.add(3 * 3600 * 1000000, "www.example.com", principal=self.ci)
        self.add(90 * 1000000, "mail.example.net", zone="z1", principal=self.ops, key_type=1,
                 sans="dns mail.example.net\nemail root@mail.example.net\n")
        self.add(40 * DAY_US, "old.example.org", name="The old Mailer", principal=self.ci, token="second")
        self.add(400 * DAY_US, "x" * 60 + ".org", account="0123456789abcdef0123456789abcdef", principal=self.ci)
        self.www, self.mail, self.old, self.oldest = self.ids

    def add(self, age_us, common_name, account="acme", zone=None, principal="", key_type=2, sans=None, name=None,
            token="default"):
        at = self.now - age_us
        csr = "%08x-1d2b-4c84-a38a-2fb7a0cd7752" % (0xabc00000 + len(self.ids))
        database = sqlite3.connect(self.store)
        with database:
            database.execute(
                "INSERT INTO csrs (id, account_id, zone_id, token_name, principal_id, state, created_us, updated_us,"
                " key_type, country, province, locality, organization, common_name, sans, name)"
                " VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, 'US', 'CA', 'SF', 'Example', ?, ?, ?)",
                (csr, account, zone, token, principal, at, at, key_type, common_name,
                 sans or "dns %s\n" % common_name, name))
        database.close()
        self.ids.append(csr)

    def found(self, *arguments):
        return [csr["id"] for csr in self.json("csr", "list", *arguments)["csrs"]]

    def terminal(self, *arguments, columns=80, status=OK):
        text, code = on_terminal([harness.BIN / "csrctl", "-c", self.config, *arguments], columns,
                                 harness.clean_environment())
        self.assertEqual(code, status, text)
        return text


class Finding(ListCase):
    def test_the_newest_first(self):
        self.assertEqual(self.found(), [self.mail, self.www, self.old, self.oldest])
        self.assertEqual(self.found("--oldest"), [self.oldest, self.old, self.www, self.mail])
        self.assertEqual(self.found("--limit", "1"), [self.mail])
        self.assertEqual(self.found("--limit", "2", "--offset", "1"), [self.www, self.old])
        note = self.ctl("csr", "list", "--limit", "1").stderr
        self.assertIn("1 of 4 are shown, the newest first: see --limit and --offset", note)
        self.assertEqual(self.ctl("csr", "list", "--limit", "2", "--offset", "2").stderr, "")

    def test_filters(self):
        for arguments, expected in (
            (("--since", "1d"), [self.mail, self.www]),
            (("--until", "1d"), [self.old, self.oldest]),
            (("--since", "41d", "--until", "39d"), [self.old]),
            (("--since", "1999-12-31"), self.found()),
            (("--name", "MAIL"), [self.mail, self.old]),
            (("--san", "root@"), [self.mail]),
            (("--san", "dns"), []),
            (("mail",), [self.mail, self.old]),
            (("www.",), [self.www]),
            ((self.old[:8],), [self.old]),
            (("--token", "second"), [self.old]),
            (("--by", "ops@example.com"), [self.mail]),
            (("--by", "ci"), [self.www, self.old, self.oldest]),
            (("--by", self.ci.upper(), "--since", "1d"), [self.www]),
            (("--key", "rsa2048"), [self.mail]),
            (("--key", "00" * 16), []),
            (("--key", "00" * 32), []),
            (("--account", "Payments"), [self.www, self.old]),
            (("--account", "acme", "--name", "old"), [self.old]),
            (("--zone", "example.com"), [self.mail]),
            (("--state", "active"), []),
        ):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.found(*arguments), expected)
        self.assertEqual(self.json("csr", "list", "--token", "second", "--limit", "1")["total_count"], 1)

    def test_what_cannot_be_asked(self):
        for arguments, status, words in (
            (("--since", "soon"), USAGE, "--since 'soon': 2h, 7d, 2027-01-31"),
            (("--key", "rsa"), USAGE, "--key 'rsa': a key type such as p256v1"),
            (("--offset", "-1"), USAGE, "--offset '-1'"),
            (("a", "b"), USAGE, "unexpected argument 'b'"),
            (("--by", "nobody"), FAILURE, "no API token, user or other principal is called 'nobody'"),
            (("--account", "Nobody"), FAILURE, "no such account 'Nobody'"),
        ):
            with self.subTest(arguments=arguments):
                self.assertIn(words, self.ctl("csr", "list", *arguments, status=status).stderr)
        self.json("token", "create", "--name", "ci", "--account", "acme")
        self.assertIn("2 principals are called 'ci': give the id",
                      self.ctl("csr", "list", "--by", "ci", status=FAILURE).stderr)

    def test_80_columns_on_a_terminal_and_all_of_it_in_a_pipe(self):
        self.ctl("token", "create", "--name", "n" * 50, "--account", "acme:write", "--zone", "z1")
        for command in (("csr", "list"), ("csr", "show", self.www), ("token", "list"), ("user", "list"),
                        ("account", "list"), ("zone", "list"), ("audit",), ("config", "show")):
            with self.subTest(command=command):
                for columns in (80, 100):
                    text = self.terminal(*command, columns=columns)
                    self.assertLessEqual(max(len(line) for line in text.splitlines()), columns, text)
                self.assertNotIn("…", self.ctl(*command).stdout)
        text = self.terminal("csr", "list")
        self.assertRegex(text, r"(?m)^%s +pending +[12]m ago +rsa2048 +default +zone \S*… +mail\.example\.net$" %
                         self.mail[:8])
        self.assertRegex(text, r"(?m)^%s +pending +3h ago +p256v1 +default +Payments +www\.example\.com$" % self.www[:8])
        whole = self.ctl("csr", "list").stdout
        self.assertRegex(whole, r"(?m)^%s +pending +\S+Z +p256v1 +default +Payments +www\.example\.com$" % self.www)
        self.assertIn("x" * 60 + ".org", whole)
        self.assertEqual(self.terminal("csr", "list", columns=300), whole)

    def test_the_start_of_an_id_is_enough_where_it_is_the_only_one(self):
        self.assertEqual(self.json("csr", "show", self.mail[:8])["id"], self.mail)
        self.assertIn("4 CSRs begin with 'abc0'", self.ctl("csr", "show", "abc0", status=FAILURE).stderr)
        self.assertIn("no CSR's id begins with 'abcd'", self.ctl("csr", "show", "abcd", status=FAILURE).stderr)
        self.assertIn("is not a CSR id", self.ctl("csr", "show", "abc", status=USAGE).stderr)
        self.assertEqual(self.json("token", "revoke", self.ci[:8])["id"], self.ci)

    def test_people_are_shown_by_name(self):
        shown = self.json("csr", "show", self.mail)
        self.assertEqual((shown["principal_name"], shown["scope_name"]), ("ops@example.com", "example.com"))
        text = self.ctl("csr", "show", self.www).stdout
        self.assertRegex(text, r"(?m)^made by +token 'ci' \(%s\)$" % self.ci)
        self.assertRegex(text, r"(?m)^account +Payments \(acme\)$")
        self.assertRegex(text, r"(?m)^created +\S+Z \(3h ago\)$")

    def test_F250_accounts_and_zones_are_meant_by_name(self):
        self.ctl("account", "add", "team", "--name", "Team: Ops")
        for grant, expected in (
            (("--account", "payments:write"), [("account", "acme", "Payments", "write")]),
            (("--account", "Team: Ops"), [("account", "team", "Team: Ops", "read")]),
            (("--account", "Team: Ops:write", "--zone", "example.com:read"),
             [("account", "team", "Team: Ops", "write"), ("zone", "z1", "example.com", "read")]),
            (("--account", "0123:read"), [("account", "0123456789abcdef0123456789abcdef", None, "read")]),
        ):
            with self.subTest(grant=grant):
                made = self.json("token", "create", "--name", "by name", *grant)
                self.assertEqual([(g["scope"], g["id"], g.get("name"), g["permission"]) for g in made["grants"]], expected)
        self.assertRegex(self.ctl("token", "list").stdout, r"(?m) Team: Ops:write, zone example\.com:read$")
        self.assertRegex(self.ctl("user", "list").stdout, r"(?m) zone example\.com:write$")
        self.assertIn("'acme' is given twice",
                      self.ctl("user", "create", "--email", "x@y", "--account", "acme", "--account", "Payments",
                               status=USAGE).stderr)
        self.assertEqual(self.json("zone", "add", "z2", "--account", "Team: Ops")["account"], "team")
        zones = {zone["id"]: zone for zone in self.json("zone", "list")["zones"]}
        self.assertEqual((zones["z2"]["account"], zones["z2"]["account_name"]), ("team", "Team: Ops"))
        self.assertRegex(self.ctl("zone", "list").stdout, r"(?m)^z1 +Payments ")

    def test_F250_lists_and_the_trail_are_searched_by_what_lists_show(self):
        self.assertEqual(self.found("--by", self.ops[:8]), [self.mail])
        self.assertEqual(self.found("--account", "0123"), [self.oldest])
        for what in ("ci", self.ci[:8], self.ci):
            self.assertEqual([r["action"] for r in self.json("audit", "--object", what)["records"]], ["token.create"])
        self.assertEqual([r["action"] for r in self.json("audit", "--object", "payments")["records"]], ["account.add"])
        self.assertEqual([r["action"] for r in self.json("audit", "--object", "example.com")["records"]], ["zone.add"])
        self.assertEqual(self.json("audit", "--object", self.www)["records"], [])
        self.assertEqual(self.json("audit", "--object", "store")["records"], [])
        self.assertIn("--object 'Paymens': no account, zone or principal is called so",
                      self.ctl("audit", "--object", "Paymens", status=FAILURE).stderr)
        text = self.terminal("account", "list", columns=50)
        self.assertRegex(text, r"(?m)^01234567 ")

    def test_what_expires_soon_is_said(self):
        self.assertEqual(self.ctl("token", "list").stderr, "")
        self.ctl("token", "create", "--name", "short", "--account", "acme", "--expires", "13d")
        self.ctl("token", "create", "--name", "long", "--account", "acme", "--expires", "15d")
        self.assertEqual(self.ctl("token", "list").stderr, "csrctl: 1 expires within 14 days\n")

    def test_a_token_is_revoked_by_name(self):
        self.assertEqual(self.json("token", "revoke", "CI")["id"], self.ci)
        self.assertIn("no such token 'ci'", self.ctl("token", "revoke", "ci", status=FAILURE).stderr)
        self.ctl("token", "create", "--name", "two", "--account", "acme")
        self.ctl("token", "create", "--name", "two", "--account", "acme")
        self.assertIn("2 tokens are called 'two'", self.ctl("token", "revoke", "two", status=FAILURE).stderr)


class Changing(ListCase):
    def test_accounts_and_zones_are_changed(self):
        self.ctl("account", "set", "Payments", "--quota", "7")
        self.ctl("account", "rename", "acme", "Payments & more")
        self.ctl("zone", "set", "z1", "--name", "example.net", "--quota", "unlimited")
        account = {a["id"]: a for a in self.json("account", "list")["accounts"]}["acme"]
        self.assertEqual((account["name"], account["quota"]), ("Payments & more", 7))
        self.assertEqual(self.json("zone", "rename", "example.net", "z")["name"], "z")
        records = self.json("audit", "--object", "acme")["records"]
        self.assertEqual([(r["action"], r.get("detail")) for r in records[:2]],
                         [("account.set", "name 'Payments & more'"), ("account.set", "quota 7")])
        for arguments, status, words in (
            (("account", "set", "acme"), USAGE, "--name or --quota is missing"),
            (("account", "set", "nobody", "--quota", "1"), FAILURE, "no such account 'nobody'"),
            (("account", "set", "acme", "--quota", "x"), USAGE, "--quota 'x'"),
            (("account", "rename", "acme", "x\ny"), USAGE, "none of them a control"),
            (("zone", "rename", "z1"), USAGE, "an argument is missing"),
        ):
            with self.subTest(arguments=arguments):
                self.assertIn(words, self.ctl(*arguments, status=status).stderr)
        self.ctl("account", "add", "second", "--name", "Payments & more")
        self.assertIn("2 accounts are called 'Payments & more': give the id",
                      self.ctl("account", "set", "Payments & more", "--quota", "1", status=FAILURE).stderr)

    def test_audit(self):
        records = self.json("audit")["records"]
        self.assertEqual([r["sequence"] for r in records], [5, 4, 3, 2, 1])
        self.assertEqual((records[-1]["action"], records[-1]["object"]), ("account.add", "acme"))
        self.assertRegex(records[0]["at"], r"^\d{4}-\d\d-\d\dT")
        me = records[0]["actor"]
        self.assertTrue(me.startswith("operator:"))
        for arguments, expected in (
            (("--limit", "2"), [5, 4]),
            (("--limit", "2", "--before", "4"), [3, 2]),
            (("--actor", me), [5, 4, 3, 2, 1]),
            (("--actor", "system"), []),
            (("--actor", "ci"), []),
            (("--action", "account"), [2, 1]),
            (("--action", "token.create"), [4]),
            (("--object", self.ci.upper()), [4]),
            (("--since", "1h"), [5, 4, 3, 2, 1]),
            (("--until", "1h"), []),
        ):
            with self.subTest(arguments=arguments):
                self.assertEqual([r["sequence"] for r in self.json("audit", *arguments)["records"]], expected)
        self.assertIn("there may be older ones: --before 4", self.ctl("audit", "--limit", "2").stderr)
        self.assertIn("no API token, user or other principal is called 'x'", self.ctl("audit", "--actor", "x", status=FAILURE).stderr)
        self.assertIn("--before '0'", self.ctl("audit", "--before", "0", status=USAGE).stderr)

    def make_active(self, csr, key_id, spki):
        database = sqlite3.connect(self.store)
        with database:
            database.execute("UPDATE csrs SET state = 2, pem = 'x', key_label = 'csrd:' || id, key_id = ?,"
                             " spki_sha256 = ?, protection = 0 WHERE id = ?", (key_id, spki, csr))
        database.close()

    def test_find_by_public_key(self):
        self.make_active(self.mail, b"k" * 16, b"\xab" * 32)
        self.make_active(self.www, b"l" * 16, b"\xcd" * 32)
        for spki in ("ab" * 32, "AB" * 32, ":".join(["Ab"] * 32)):
            with self.subTest(spki=spki):
                self.assertEqual(self.json("csr", "find", "--spki", spki), self.json("csr", "list", "--key", "ab" * 32))
                self.assertEqual(self.json("csr", "find", "--spki", spki)["csrs"][0]["id"], self.mail)
                self.assertIn("mail.example.net", self.ctl("csr", "find", "--spki", spki).stdout)
        for arguments, status, words in (
            (("--spki", "00" * 32), FAILURE, "no CSR has a key with the SPKI SHA-256 '%s'" % ("00" * 32)),
            (("--spki", "ab" * 16), USAGE, "64 hexadecimal digits"),
            (("--spki", "ab" * 31 + "ag"), USAGE, "64 hexadecimal digits"),
            (("--spki", ":".join(["ab"] * 31) + "ab:"), USAGE, "64 hexadecimal digits"),
            (("--spki", "abab:" * 15 + "ababab"), USAGE, "64 hexadecimal digits"),
            (("--spki", ":".join(["ab"] * 32) + ":"), USAGE, "64 hexadecimal digits"),
            (("--spki", ""), USAGE, "64 hexadecimal digits"),
            ((), USAGE, "csr find: --spki is missing"),
            (("ab" * 32,), USAGE, "unexpected argument"),
        ):
            with self.subTest(arguments=arguments):
                done = self.ctl("csr", "find", *arguments, status=status)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stdout, "")

    def test_delete_changes_nothing_without_a_signer(self):
        self.make_active(self.www, b"k" * 16, b"s" * 32)
        self.assertIn("give --yes", self.ctl("csr", "delete", self.www, status=USAGE).stderr)
        self.assertRegex(self.ctl("csr", "delete", self.www[:8], status=USAGE).stderr,  # all that a terminal's list has
                         "not a complete CSR id .*: 'csrctl csr show ID'")
        self.assertIn("nothing was changed: the signer of token 'default' does not answer",
                      self.ctl("csr", "delete", self.www, "--yes", status=69).stderr)
        self.assertIn("is pending: only an active one", self.ctl("csr", "delete", self.mail, "-y", status=FAILURE).stderr)
        self.assertIn("no such CSR", self.ctl("csr", "delete", self.ci, "-y", status=FAILURE).stderr)
        self.assertEqual(self.query("SELECT state FROM csrs WHERE id = ?", self.www), [(2,)])
        self.assertEqual(self.found("--key", (b"k" * 16).hex()), [self.www])
        self.assertEqual(self.found("--key", (b"s" * 32).hex()), [self.www])


class WhoAsked(harness.Case):
    def test_F261_the_log_names_callers_as_an_operator_knows_them(self):
        s = self.service().start()
        ids = {kind: s.csrctl(kind, "list")["%ss" % kind][0]["id"] for kind in ("token", "user")}
        path = "/client/v4/accounts/%s/custom_csrs" % s.account
        bearer = {"Authorization": "Bearer " + s.token}
        user = {"X-Auth-Email": s.email, "X-Auth-Key": s.key}
        for headers, who in ((bearer, "token 'test' (%s)" % ids["token"]),
                             (user, "user 'user@example.com' (%s)" % ids["user"])):
            self.assertEqual(harness.http_request(s.address, "GET", path, headers=headers).status, 200)
            s.csrd.wait_log(r"GET '%s' from '127\.0\.0\.1:\d+' by %s: 200 in \d+ ms" % (path, re.escape(who)))
        self.assertEqual(harness.http_request(s.address, "GET", path).status, 400)
        s.csrd.wait_log(r"GET '%s' from '127\.0\.0\.1:\d+' by nobody: 400 code \d+ in|by nobody: 400 in" % path)
        s.csrd.wait_log(r"credential refused from '127\.0\.0\.1:\d+': none \(\d+ lines held back\)")
        s.csrctl("token", "revoke", "test")

        def refused():
            """One line a second, at most."""
            self.assertEqual(harness.http_request(s.address, "GET", path, headers=bearer).status, 401)
            return re.search(r"credential refused from '127\.0\.0\.1:\d+': token 'test' \(%s\): revoked" % ids["token"],
                             s.csrd.log())
        harness.wait_for("the line", refused)
        s.stop()


    def test_F262_reads_do_not_fill_the_log(self):
        s = self.service(settings={"log": {"level": "info"}}).start()
        made = s.create().result["id"]
        self.assertEqual(s.get(made).status, 200)
        self.assertEqual(s.get("7b163417-1d2b-4c84-a38a-2fb7a0cd7752").status, 404)
        s.csrd.wait_log("GET .*: 404 ")
        self.assertRegex(s.csrd.log(), "POST .*: 201 ")
        self.assertNotRegex(s.csrd.log(), "GET .*: 200 ")
        s.settings["log"]["reads"] = "yes"
        s.write_config()
        s.csrd.signal(signal.SIGHUP)
        s.csrd.wait_log("reloaded")
        self.assertEqual(s.get(made).status, 200)
        s.csrd.wait_log("GET .*: 200 ")
        s.stop()


class Deleting(harness.Case):
    def test_delete(self):
        s = self.service().start()
        kept, gone = (s.create().result["id"] for _ in range(2))
        answer = s.csrctl("csr", "delete", gone, "--yes")
        self.assertEqual((answer["id"], answer["state"], answer["objects"]), (gone, "destroyed", 2))
        self.assertEqual(set(s.p11.labels()), {s.label(kept)})
        self.assertEqual(s.get(gone).status, 404)
        history = s.csrctl("csr", "show", gone)["history"]
        self.assertEqual([h["action"] for h in history[1:]], ["csr.deleting", "csr.destroyed"])
        self.assertTrue(all(h["actor"].startswith("operator:") for h in history[1:]), history)
        done = s.csrctl("csr", "delete", gone, "--yes", check=False)
        self.assertEqual(done.returncode, FAILURE)
        self.assertIn("is destroyed: only an active one can be deleted", done.stderr)
        s.stop()

    def test_a_key_that_the_token_lost_is_no_obstacle(self):
        s = self.service().start()
        gone = s.create().result["id"]
        for kind in ("privkey", "pubkey"):
            s.p11.tool("--delete-object", "--type", kind, "--label", s.label(gone))
        self.assertEqual(s.csrctl("csr", "delete", gone, "--yes")["objects"], 0)
        self.assertEqual(s.rows()[gone], "destroyed")
        s.stop()


if __name__ == "__main__":
    unittest.main()
