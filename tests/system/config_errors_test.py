"""Start-up that cannot work: one clear line that names file, line or object, and an exit code of its own
(base/exit_code.h), for each cause (F82)."""
# run: seconds=4
import contextlib
import sqlite3
import unittest

import harness

USAGE, STORE, NO_MODULE, NO_TOKEN, IN_USE, PIN, CONFIG = 64, 65, 66, 67, 73, 77, 78


class ConfigErrorsTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.s = self.service()

    def fails(self, program, code, *texts, arguments=()):
        """Starts it, and it must end with that code after saying all the texts in one line."""
        process = self.s.spawn(program, "-c", self.s.config_path, *arguments)
        status = process.wait()
        log = process.log()
        self.assertEqual(status, code, log)
        self.assertTrue(any(all(text in line for text in texts) for line in log.splitlines()),
                        "no line holds %s:\n%s" % (texts, log))
        return log

    def line_of(self, text):
        lines = self.s.config_path.read_text().splitlines()
        return str([number for number, line in enumerate(lines, 1) if text in line][0])

    def test_good_config(self):
        for program in ("csrd", "csrd-hsm"):
            process = self.s.spawn(program, "-c", self.s.config_path, "-t")
            self.assertEqual(process.wait(), 0, process.log())

    def test_unknown_key(self):
        self.s.settings["http"]["lissten"] = "127.0.0.1:1"
        self.s.write_config()
        where = "%s:%s" % (self.s.config_path, self.line_of("lissten"))
        for program in ("csrd", "csrd-hsm"):
            for arguments in ((), ("-t",)):
                self.fails(program, CONFIG, where, "lissten", arguments=arguments)
        done = self.s.csrctl("account", "list", check=False)
        self.assertEqual(done.returncode, CONFIG)
        self.assertIn(where, done.stderr)

    def test_unknown_section_and_bad_values(self):
        for section, key, value in (("htttp", "listen", "127.0.0.1:0"), ("store", "queue_max", "many"),
                                    ("token default", "threads", "0"), ("policy", "key_types", "rsa1024")):
            with self.subTest(section=section, key=key):
                saved = {name: dict(values) for name, values in self.s.settings.items()}
                self.s.settings.setdefault(section, {})[key] = value
                self.s.write_config()
                lines = self.s.config_path.read_text().splitlines()
                start = lines.index("[%s]" % section)
                number = next(n for n in range(start, len(lines)) if lines[n].startswith(key)) + 1
                self.fails("csrd", CONFIG, str(self.s.config_path), arguments=("-t",))
                log = self.fails("csrd", CONFIG, str(self.s.config_path))
                # An unknown section is named at its own line or at its first key's.
                numbers = {number, start + 1} if section == "htttp" else {number}
                wheres = ["%s:%d" % (self.s.config_path, n) for n in numbers]
                self.assertTrue(any(where in log for where in wheres), (wheres, log))
                self.s.settings = saved

    def test_all_problems_at_once(self):
        self.s.settings["http"]["bogus"] = "1"
        self.s.settings["store"]["queue_max"] = "-5"
        self.s.write_config()
        log = self.fails("csrd", CONFIG, "bogus")
        self.assertIn("queue_max", log)

    def test_no_config(self):
        self.s.config_path = self.s.folder / "nowhere.conf"
        for program in ("csrd", "csrd-hsm"):
            self.fails(program, CONFIG, str(self.s.config_path))

    def test_bad_command_line(self):
        for program in ("csrd", "csrd-hsm"):
            process = self.s.spawn(program, "--no-such-option")
            self.assertEqual(process.wait(), USAGE, process.log())

    def test_store_of_a_newer_program(self):
        with contextlib.closing(sqlite3.connect(self.s.store_path)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            self.assertGreater(version, 0)
            database.execute("PRAGMA user_version = %d" % (version + 7))
        before = self.s.store_path.read_bytes()
        self.fails("csrd", STORE, self.s.store_path.name, str(version + 7), str(version))
        self.assertEqual(self.s.csrctl("account", "list", check=False).returncode, STORE)
        self.assertEqual(self.s.store_path.read_bytes(), before, "it is left alone")

    def test_damaged_store(self):
        self.s.store_path.write_bytes(b"this is not a database, and long enough to tell. " * 100)
        for suffix in ("-wal", "-shm"):
            self.s.store_path.with_name(self.s.store_path.name + suffix).unlink(missing_ok=True)
        self.fails("csrd", STORE, self.s.store_path.name)

    def test_missing_module(self):
        for path in ("/nonexistent/p11.so", str(self.s.pin_path)):
            self.s.settings["token default"]["module"] = path
            self.s.write_config()
            self.fails("csrd-hsm", NO_MODULE, path)

    def test_absent_token(self):
        self.s.settings["token default"]["uri"] = "pkcs11:token=elsewhere"
        self.s.write_config()
        self.fails("csrd-hsm", NO_TOKEN, "elsewhere")

    def test_two_tokens_fit(self):
        self.s.p11.add("second")
        self.s.settings["token default"]["uri"] = "pkcs11:manufacturer=SoftHSM%20project"
        self.s.write_config()
        self.fails("csrd-hsm", NO_TOKEN, "SoftHSM%20project")

    def test_wrong_pin(self):
        self.s.pin_path.write_text("not the pin\n")
        for _ in range(2):
            log = self.fails("csrd-hsm", PIN, str(self.s.pin_path))
            self.assertNotIn("not the pin", log)

    def test_pin_file_that_others_can_read(self):
        self.s.pin_path.chmod(0o644)
        process = self.s.spawn("csrd-hsm", "-c", self.s.config_path)
        self.assertNotIn(process.wait(), (0, None))
        self.assertIn(str(self.s.pin_path), process.log())

    def test_second_signer_on_the_same_socket(self):
        self.s.start()
        self.fails("csrd-hsm", IN_USE, str(self.s.socket_path))
        self.assertEqual(self.s.create().status, 201, "the first goes on")
        self.s.hsm.kill()
        self.s.start_hsm()  # a stale socket is no obstacle
        self.s.wait_ready()
        self.assertEqual(self.s.create().status, 201)

    def test_second_csrd_on_the_same_store(self):
        self.s.start()
        self.fails("csrd", IN_USE, self.s.store_path.name)
        self.assertEqual(self.s.create().status, 201, "the first goes on")

    def test_listen_address_in_use(self):
        self.s.start()
        other = self.service("other")
        other.settings["http"]["listen"] = "%s:%d" % self.s.address
        other.write_config()
        self.s = other
        self.fails("csrd", IN_USE, other.settings["http"]["listen"])

    def test_plain_http_off_loopback(self):
        self.s.settings["http"]["listen"] = "0.0.0.0:0"
        self.s.write_config()
        self.fails("csrd", CONFIG, "%s:%s" % (self.s.config_path, self.line_of("listen")), "0.0.0.0")

    def test_store_folder_is_missing(self):
        self.s.settings["store"]["url"] = "sqlite:%s/gone/csrd.db" % self.s.folder
        self.s.write_config()
        process = self.s.spawn("csrd", "-c", self.s.config_path)
        self.assertNotEqual(process.wait(), 0)
        self.assertIn("%s/gone" % self.s.folder, process.log())


if __name__ == "__main__":
    unittest.main()
