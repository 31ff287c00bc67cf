# run: seconds=3
"""F199: what csrctl says of the csrd that runs is so: the values that are in force, its version, what its last
comparison of keys and store found."""
import json
import re
import signal
import unittest

import harness

FAILURE = 1


class RunningTest(harness.Case):
    def set(self, service, key, value):
        """In the file; csrd is not told."""
        text = service.config_path.read_text()
        changed = re.sub(r"(?m)^%s = .*$" % key, "%s = %s" % (key, value), text)
        if changed == text:
            section = "[policy]" if key == "reconcile_interval" else "[http]"
            if section not in text:
                text += "%s\n" % section
            changed = text.replace(section + "\n", "%s\n%s = %s\n" % (section, key, value), 1)
        self.assertNotEqual(changed, text)
        service.config_path.write_text(changed)

    def shown(self, service, key):
        done = service.csrctl("config", "show", key, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        (value,) = json.loads(done.stdout)["values"]
        return value["value"], value.get("in_force")

    def checks(self, service):
        done = service.csrctl("doctor", check=False)
        return {check["name"]: check for check in json.loads(done.stdout)["checks"]}

    def reload(self, service):
        service.csrd.signal(signal.SIGHUP)
        service.csrd.wait_log("reloaded")

    def test_values_in_force(self):
        s = self.service().start()
        before, in_force = self.shown(s, "max_connections")
        self.assertIsNone(in_force)
        self.assertNotIn("in-force", self.checks(s))
        self.set(s, "max_connections", 77)
        self.assertEqual(self.shown(s, "max_connections"), ("77", before))
        self.set(s, "reconcile_interval", "31m")
        self.assertEqual(self.shown(s, "reconcile_interval")[0], "31m")
        self.assertIsNotNone(self.shown(s, "reconcile_interval")[1])
        text = self.shown_as_text(s)
        self.assertRegex(text, r"(?m)^http\.max_connections +77 \(in force: %s\) +line \d+ +restart$" % before)
        self.assertIn("1 value is in force after systemctl reload csrd", self.notes_as_text(s))
        self.assertIn("1 value is in force after systemctl restart csrd", self.notes_as_text(s))
        self.reload(s)
        harness.wait_for("31m in force", lambda: self.shown(s, "reconcile_interval") == ("31m", None))
        self.assertEqual(self.shown(s, "max_connections"), ("77", before), "a reload does not change it")
        check = self.checks(s)["in-force"]
        self.assertEqual((check["status"], "max_connections" in check["found"]), ("warn", True))
        # One that was killed leaves its file; nobody takes it for living.
        s.csrd.kill()
        self.assertEqual(self.shown(s, "max_connections"), ("77", None))
        s.start_csrd()
        s.wait_ready()
        self.assertEqual(self.shown(s, "max_connections"), ("77", None))
        s.stop()
        self.assertFalse(s.store_path.with_name(s.store_path.name + ".running").exists())

    def test_F259_values_of_a_signer_in_force(self):
        s = self.service().start()
        self.assertNotIn("in-force", self.checks(s))
        text = s.config_path.read_text()
        s.config_path.write_text(text.replace("threads = 4", "threads = 3\nkeep_alive = 7s"))
        def value(key):
            done = s.csrctl("config", "show", key, check=False)
            (value,) = json.loads(done.stdout)["values"]
            return value["value"], value.get("in_force"), value.get("waits_for")
        self.assertEqual(value("keep_alive"), ("7s", "10s", "systemctl restart csrd-hsm@default"))
        self.assertEqual(value("threads"), ("3", "4", "systemctl restart csrd-hsm@default"))
        self.assertEqual(value("pin_file")[1:], (None, None))
        self.assertIn("2 values are in force after systemctl restart csrd-hsm@default\n", self.notes_as_text(s))
        self.assertEqual(self.checks(s)["in-force"]["status"], "warn")
        s.hsm.terminate()
        self.assertFalse((s.folder / "state" / "running").exists())
        s.start_hsm()
        self.assertEqual(value("keep_alive"), ("7s", None, None))
        self.assertEqual(value("threads"), ("3", "4", "systemctl restart csrd"), "csrd counts on as many")
        # the level of the log is each program's
        s.config_path.write_text(s.config_path.read_text().replace("level = debug", "level = info"))
        self.assertEqual(value("log.level"), ("info", "debug", "systemctl reload csrd"))
        self.reload(s)
        harness.wait_for("the signer's", lambda: value("log.level") == (
            "info", "debug", "systemctl restart csrd-hsm@default"))
        # one that was killed leaves its file, and nobody takes it for living
        s.hsm.kill()
        self.assertEqual(value("log.level"), ("info", None, None))
        s.start_hsm()
        s.stop()

    def shown_as_text(self, service):
        return self.plain(service, "config", "show").stdout

    def notes_as_text(self, service):
        return self.plain(service, "config", "show").stderr

    def plain(self, service, *arguments):
        return harness.run([harness.BIN / "csrctl", "-c", service.config_path, *arguments], check=False,
                           env=service.environment("csrctl"))

    def compared(self, service):
        return service.csrctl("status")["tokens"][0].get("last_comparison")

    def test_the_last_comparison(self):
        s = self.service().start()
        gone = s.create().result["id"]
        found = harness.wait_for("a comparison", lambda: self.compared(s))
        self.assertEqual((found["missing"], found["unknown"]), (0, 0))
        self.assertEqual(self.checks(s)["comparison"]["status"], "ok")
        self.assertEqual(s.csrctl("status")["csrd"]["version"],
                         harness.run([harness.BIN / "csrctl", "--version"]).stdout.split()[1])
        s.stop()
        for kind in ("privkey", "pubkey"):
            s.p11.tool("--delete-object", "--type", kind, "--label", s.label(gone))
        s.p11.ask("make-pair", "csrd:7b163417-1d2b-4c84-a38a-2fb7a0cd7752")
        s.start()
        found = harness.wait_for("a comparison", lambda: self.compared(s))
        self.assertEqual((found["missing"], found["unknown"]), (1, 1))
        check = self.checks(s)["comparison"]
        self.assertEqual(check["status"], "warn")
        self.assertIn("1 missing, 1 unknown", check["found"])
        self.assertIn("csrctl verify --token default", check["remedy"])
        self.assertRegex(self.plain(s, "status").stdout,
                         r"(?m)^keys and store +1 missing, 1 unknown, \d+s ago: 'csrctl verify --token default' shows which$")
        s.stop()


if __name__ == "__main__":
    unittest.main()
