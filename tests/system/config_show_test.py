"""csrctl config: what is in force and where it is from, and what this machine lacks for it."""
# run: seconds=4
import json
import os
import unittest

import harness

EXIT_CONFIG = 78
EXIT_UNAVAILABLE = 69


class Config(harness.Case):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "csrd.conf"
        self.module = self.folder / "module.so"
        self.module.write_text("")
        self.lines = [
            "# a comment",
            "[http]",
            "listen = 127.0.0.1:8080, unix:%s/csrd.sock" % self.folder,
            "",
            "[store]",
            "url = sqlite:%s/csrd.db" % self.folder,
            "[log]",
            "level = debug # for now",
            "[token default]",
            "module = %s" % self.module,
            "uri = pkcs11:token=csrd;serial=0123",
            "socket = %s/a.sock" % self.folder,
            "state_dir = %s/state" % self.folder,
            "client_users = root, 1234",
            "pin_file = /secret/pin",
            "[token other]",
            "module = %s" % self.module,
            "uri = pkcs11:token=my%20token",
            "threads = 7",
            "socket = %s/b.sock" % self.folder,
            "state_dir = %s/state2" % self.folder,
            "client_users = root",
        ]

    def ctl(self, *arguments, status=0, as_json=True):
        self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        done = harness.run([harness.BIN / "csrctl", "-c", self.path, *(["--json"] if as_json else []), *arguments],
                           check=False, env=harness.clean_environment())
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def values(self, *arguments):
        return {value["name"]: value for value in json.loads(self.ctl("config", "show", *arguments).stdout)["values"]}

    def line_of(self, text):
        return next(i + 1 for i, line in enumerate(self.lines) if line.startswith(text))

    def test_every_value_and_where_it_is_from(self):
        values = self.values()
        for name, value in values.items():
            self.assertEqual("line" in value, value["source"] == "file", name)
        expected = {
            "http.listen": ("127.0.0.1:8080, unix:%s/csrd.sock" % self.folder, self.line_of("listen"), False),
            "http.idle_timeout": ("30s", None, True),
            "log.level": ("debug", self.line_of("level"), True),
            "token.default.uri": ("pkcs11:token=csrd;serial=0123", self.line_of("uri"), False),
            "token.default.threads": ("4", None, False),
            "token.default.pin_file": ("/secret/pin", self.line_of("pin_file"), False),
            "token.other.threads": ("7", self.line_of("threads"), False),
            "token.other.pin_file": ("/etc/csrd/credentials/other.pin", None, False),
            "token.default.node": (None, None, False),
        }
        for name, (text, line, reloadable) in expected.items():
            value = values[name]
            self.assertEqual((value["value"], value.get("line"), value["reloadable"]), (text, line, reloadable), name)
        # Each key that the sample of the package tells of is there.
        sample = (harness.ROOT / "config" / "csrd.conf").read_text(encoding="utf-8")
        keys = {line.lstrip("#").split(" = ")[0] for line in sample.splitlines() if " = " in line
                and line.lstrip("#")[:1].isalpha() and line.split(" = ")[0].lstrip("#").isidentifier()}
        self.assertGreater(len(keys), 30)
        self.assertLessEqual(keys, {value["key"] for value in values.values()})

    def test_some_values(self):
        self.assertEqual(set(self.values("http.listen")), {"http.listen"})
        self.assertEqual(set(self.values("uri", "log")), {"token.default.uri", "token.other.uri", "log.level", "log.reads"})
        self.assertEqual({name.rsplit(".", 1)[0] for name in self.values("token.other")}, {"token.other"})
        self.assertEqual({name.split(".")[0] for name in self.values("token")}, {"token"})
        done = self.ctl("config", "show", "http.listen", "lisden", status=1)
        self.assertIn("no key 'lisden'", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_for_people(self):
        text = self.ctl("config", "show", as_json=False).stdout
        self.assertIn(str(self.path), text)
        self.assertRegex(text, r"(?m)^token\.other\.threads +7 +line %d +restart$" % self.line_of("threads"))
        self.assertRegex(text, r"(?m)^http\.idle_timeout +30s +default +reload$")
        self.assertRegex(text, r"(?m)^token\.other\.pin_file .*CREDENTIALS_DIRECTORY")
        self.assertNotRegex(text, r"(?m)^token\.default\.pin_file .*CREDENTIALS_DIRECTORY")

    def test_a_file_that_is_wrong(self):
        self.lines[self.line_of("threads") - 1] = "threads = none"
        for command in ("check", "show"):
            done = self.ctl("config", command, status=EXIT_CONFIG)
            self.assertIn("%s:%d: [token other] threads: " % (self.path, self.line_of("threads")), done.stderr)
            self.assertEqual(done.stdout, "")

    def check(self):
        done = self.ctl("config", "check", status=EXIT_CONFIG)
        told = json.loads(done.stdout)
        self.assertFalse(told["ok"])
        for problem in told["problems"]:
            self.assertTrue(problem["remedy"])
        return [(problem.get("token"), problem["key"], problem["text"]) for problem in told["problems"]]

    def test_check(self):
        self.assertTrue(json.loads(self.ctl("config", "check").stdout)["ok"])
        self.assertEqual(self.ctl("config", "check", as_json=False).stdout, "%s: fine\n" % self.path)
        good = list(self.lines)

        def replaced(start, line):
            self.lines = list(good)
            self.lines[self.line_of(start) - 1] = line
            return self.check()

        nowhere = str(self.folder / "nowhere")
        for start, line, key, words in (
            ("module", "module = %s/m.so" % nowhere, "module", "No such file"),
            ("module", "module = %s" % self.folder, "module", "not a regular file"),
            ("client_users", "client_users = root, csrd-nobody-at-all", "client_users", "no user 'csrd-nobody-at-all'"),
            ("socket", "socket = %s/a.sock" % nowhere, "socket", "no folder '%s'" % nowhere),
            ("state_dir", "state_dir = %s/deep/state" % nowhere, "state_dir", "no folder '%s/deep'" % nowhere),
        ):
            found = replaced(start, line)
            self.assertEqual([problem[:2] for problem in found], [("default", key)], found)
            self.assertIn(words, found[0][2])
        for start, line in (("url", "url = sqlite:%s/csrd.db" % nowhere),
                            ("listen", "listen = [::1]:0, unix:%s/csrd.sock" % nowhere)):
            found = replaced(start, line)
            self.assertEqual([problem[:2] for problem in found], [(None, start)], found)
            self.assertIn("no folder '%s'" % nowhere, found[0][2])
        # The line is told, and the same is told to people.
        self.lines = list(good)
        self.lines[self.line_of("module") - 1] = "module = /no/module.so"
        done = self.ctl("config", "check", as_json=False, status=EXIT_CONFIG)
        self.assertRegex(done.stdout, r"csrd\.conf:%d: \[token default\] module: '/no/module\.so' cannot be used: .*; "
                         % self.line_of("module"))

    def test_token_uris(self):
        line = self.line_of("uri") - 1
        for uri, words in (
            ("pkcs11:token=csrd", None),
            ("pkcs11:token=a%20b%C3%BC;slot-id=3;model=x;manufacturer=m", None),
            ("pkcs11:token=" + "x" * 32, None),
            ("pkcs11:token=" + "x" * 33, "longer than"),
            ("pkcs11:token=%20" + "x" * 32, "longer than"),
            ("pkcs11:serial=" + "1" * 17, "longer than"),
            ("pkcs11:token=a%2", "percent-encoded"),
            ("pkcs11:token=a%zz", "percent-encoded"),
            ("pkcs11:token=a b", "percent-encoded"),
            ("pkcs11:token=a\"b", "percent-encoded"),
            ("pkcs11:token=%FF", "UTF-8"),
            ("pkcs11:token=a;token=b", "twice"),
            ("pkcs11:slot-id=x", "not a number"),
        ):
            with self.subTest(uri):
                self.lines[line] = "uri = " + uri
                if words is None:
                    self.ctl("config", "check")
                else:
                    found = self.check()
                    self.assertEqual([problem[:2] for problem in found], [("default", "uri")], found)
                    self.assertIn(words, found[0][2])

    def test_password_of_the_store_is_not_shown(self):
        """F306"""
        self.lines[self.line_of("url") - 1] = "url = sqlite://%s/user:secret@csrd.db" % self.folder
        shown = "sqlite://%s/user:***@csrd.db" % self.folder
        self.assertEqual(self.values("url")["store.url"]["value"], shown)
        for done in (self.ctl("config", "show", as_json=False),
                     self.ctl("account", "list", as_json=False, status=EXIT_UNAVAILABLE)):
            self.assertIn(shown, done.stdout + done.stderr)
            self.assertNotIn("secret", (done.stdout + done.stderr).replace("/secret/pin", ""))

    def test_nothing_is_opened(self):
        """Neither the store nor a PIN: it says what is in the file, whoever asks."""
        self.ctl("config", "check")
        self.assertEqual(sorted(os.listdir(self.folder)), ["csrd.conf", "module.so"])


if __name__ == "__main__":
    unittest.main()
