# run: waits seconds=32
"""csrctl doctor and csrctl status with the real programs: a healthy service, and each thing that can be wrong with it."""
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import unittest

import faults
import harness
import operator_test
import sdbox

OK, FAILURE, USAGE, UNAVAILABLE = 0, 1, 64, 69


class DoctorCase(faults.FaultCase):
    def setUp(self):
        super().setUp()
        self.port = harness.free_port()
        self.s = self.shim_service(settings={"http": {"listen": "127.0.0.1:%d" % self.port},
                                             "token default": {"timeout_other": "500ms"}})
        if harness.SANITIZE:
            # libp11 0.4.12 does not free its slots when one of them cannot be asked.
            suppressions = self.folder / "lsan"
            suppressions.write_text("leak:libp11.so\n")
            self.s.hsm_environment["LSAN_OPTIONS"] = ":".join((
                self.s.environment()["LSAN_OPTIONS"], "suppressions=%s" % suppressions, "print_suppressions=0"))

    def run_csrctl(self, *arguments):
        """The doctor's child loads the shim: it gets our environment."""
        return subprocess.run([harness.BIN / "csrctl", "-c", self.s.config_path, *arguments], capture_output=True,
                              text=True, timeout=harness.PATIENCE * 3, check=False,
                              env=self.s.environment("csrd-hsm"), cwd=self.s.folder)

    def doctor(self, *arguments, status=None):
        """name → list of checks; status: the exit code, which is compared with what was found in any case."""
        done = self.run_csrctl("--json", "doctor", *arguments)
        self.assertEqual(done.stderr, "")
        shown = json.loads(done.stdout)
        found = {}
        for check in shown["checks"]:
            self.assertIn(check["status"], ("ok", "warn", "fail", "skip"))
            self.assertTrue(check["found"])
            if check["status"] in ("warn", "fail"):
                self.assertTrue(check.get("remedy"), check)
            found.setdefault(check["name"], []).append(check)
        counts = {word: sum(check["status"] == word for check in shown["checks"]) for word in ("ok", "warn", "fail", "skip")}
        self.assertEqual(counts, {"ok": shown["ok"], "warn": shown["warnings"], "fail": shown["failed"],
                                  "skip": shown["skipped"]})
        self.assertEqual(done.returncode, FAILURE if shown["failed"] else OK)
        if status is not None:
            self.assertEqual(done.returncode, status, done.stdout)
        for secret in (harness.Token.PIN, self.s.token, self.s.key):
            self.assertNotIn(secret, done.stdout)
        return found

    def check(self, name, verdict, words="", remedy="", **kwargs):
        """One of the checks of that name has this verdict and these words in it."""
        checks = self.doctor(**kwargs)
        for check in checks.get(name, []):
            if check["status"] == verdict and words in check["found"] and remedy in check.get("remedy", ""):
                return check
        raise AssertionError("no check '%s' with '%s' and '%s': %s" % (name, verdict, words, checks.get(name)))

    def start(self):
        self.s.start_hsm()
        self.s.start_csrd()
        self.s.wait_ready()


class Doctor(DoctorCase):
    def test_healthy(self):
        self.start()
        self.assertEqual(self.s.create().status, 201)
        logins = self.s.shim.count("C_Login")
        checks = self.doctor(status=OK)
        for name in ("config", "config-file", "store-folder", "store-file", "csrd", "module-file", "pin-file",
                     "state-folder", "signer", "pin", "module", "token", "token-flags", "mechanisms", "probe",
                     "store-disk", "store"):
            self.assertEqual([check["status"] for check in checks[name]], ["ok"], checks[name])
        self.assertIn(checks["clock"][0]["status"], ("ok", "warn"))
        self.assertNotIn("fail", {check["status"] for named in checks.values() for check in named})
        self.assertIn("1 CSRs, 1 of them active", checks["store"][0]["found"])
        self.assertIn("data objects: yes", checks["probe"][0]["found"])
        self.assertIn("csrd test", checks["token"][0]["found"])
        self.assertEqual(self.s.shim.count("C_Login"), logins)
        self.assertEqual(self.s.create().status, 201)
        # what only the doctor's child does not see is no failure of a service that works
        os.rename(self.s.p11.conf, self.s.p11.conf.with_suffix(".away"))
        self.check("module", "warn", remedy="its signer works", status=OK)
        os.rename(self.s.p11.conf.with_suffix(".away"), self.s.p11.conf)
        # people see the same
        done = self.run_csrctl("doctor")
        self.assertEqual(done.returncode, OK)
        self.assertRegex(done.stdout, r"(?m)^ok    token default +'csrd test', serial '[0-9a-f]{16}'")
        self.assertRegex(done.stdout, r"(?m)^\d+ ok, \d+ to look into, 0 failed, \d+ skipped$")
        self.s.stop()

    def test_nothing_runs(self):
        self.check("signer", "fail", "does not answer at '%s'" % self.s.socket_path, "start csrd-hsm -c '%s' -n default" % self.s.config_path, status=FAILURE)
        self.check("csrd", "warn", "Connection refused")
        self.check("probe", "skip")
        done = self.run_csrctl("doctor")
        self.assertEqual(done.returncode, FAILURE)
        self.assertRegex(done.stdout, r"(?m)^FAIL  signer default +the signer .*\n +-> start csrd-hsm -c '.*' -n default")

    def test_nothing_is_set_up(self):
        self.s.store_path.unlink()
        self.s.pin_path.unlink()
        checks = self.doctor(status=FAILURE)
        self.assertEqual(list(checks), ["config", "setup"])
        self.assertIn("csrctl setup", checks["setup"][0]["remedy"])

    def test_csrd_without_its_signer(self):
        self.start()
        self.s.hsm.terminate()
        harness.wait_for("not ready", lambda: harness.http_request(self.s.address, "GET", "/readyz").status == 503)
        self.check("csrd", "fail", "signer 'default'")
        self.s.csrd.terminate()

    def test_configuration(self):
        with open(self.s.config_path, "a", encoding="utf-8") as file:
            file.write("\n[http]\nlisten = nowhere\nlisten = x\n")
        checks = self.doctor(status=FAILURE)
        self.assertRegex(checks["config"][0]["found"],
                         r"^\d problems?: .*csrd\.conf:\d+: .*; what follows is by what is left of the file$")
        for name in ("config-file", "store-folder", "store", "pin-file", "signer", "clock"):
            self.assertIn(name, checks)
        self.assertEqual(checks["module"][0]["status"], "skip")
        self.s.write_config()
        done = self.run_csrctl("--json", "doctor", "--token", "other")
        self.assertEqual(done.returncode, FAILURE)
        self.assertIn("no [token other]", done.stdout)
        self.assertEqual(self.run_csrctl("doctor", "extra").returncode, USAGE)

    def test_F257_a_mistake_in_the_file_hides_nothing_of_what_runs(self):
        self.start()
        self.assertEqual(self.s.create().status, 201)
        text = self.s.config_path.read_text()
        self.s.config_path.write_text(text.replace("[http]\nlisten = ", "[http]\nlisten = nowhere\n# listen = "))
        checks = self.doctor(status=FAILURE)
        self.assertRegex(checks["config"][0]["found"], "; what follows is by the values that csrd works with$")
        for name in ("csrd", "signer", "store", "config-file", "pin-file", "state-folder", "module-file"):
            self.assertEqual([check["status"] for check in checks[name]], ["ok"], checks[name])
        self.assertEqual(checks["csrd"][0]["found"].split("'")[1], "127.0.0.1:%d" % self.port)
        self.assertIn("1 CSRs, 1 of them active", checks["store"][0]["found"])
        # nothing but a token's name is left
        self.s.config_path.write_text("[token default]\nmodul = /x\n")
        self.s.csrd.terminate()
        checks = self.doctor(status=FAILURE)
        self.assertIn("left of the file", checks["config"][0]["found"])
        self.assertEqual(checks["module-file"][0]["status"], "skip")
        self.s.config_path.write_text("nothing\n")
        self.assertIn("clock", self.doctor(status=FAILURE))
        self.s.hsm.terminate()

    def test_F257_the_cause_goes_before_what_follows_from_it(self):
        s = self.s
        s.pin_path.write_text("00000000\n")
        self.assertEqual(s.start_hsm(wait=False).wait(), 77)
        s.start_csrd()
        s.wait_ready(503)
        done = self.run_csrctl("--json", "doctor")
        checks = json.loads(done.stdout)["checks"]
        failed = [(check["name"], check.get("follows_from")) for check in checks if check["status"] == "fail"]
        self.assertEqual(failed, [("pin", None), ("signer", "pin"), ("csrd", "pin")])
        for check in checks:
            if check.get("follows_from"):
                self.assertIn("follows from 'pin default' above; when that is mended: ", check["remedy"])
        self.assertIn(str(s.pin_path), next(c for c in checks if c["name"] == "pin")["remedy"])
        # the log says so in the operator's words, too
        self.assertRegex(s.hsm.log(), r"token 'csrd test' refused the pin of '%s': CKR_PIN_INCORRECT" % s.pin_path)
        s.csrd.terminate()

    def test_F253_a_pool_that_the_token_cannot_fill(self):
        s = self.s
        s.settings["token default"].update({"pool_p256v1": 2, "pool_rsa2048": 1, "client_users": "root"})
        s.write_config()
        s.shim.set("C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_EC_KEY_PAIR_GEN")
        self.start()
        s.hsm.wait_log(r"warning: \[token default\] pool_p256v1: the token makes no such keys, so none are kept ready")
        self.check("pool", "warn", "pool_p256v1: the token makes no such keys", "pool_ keys of [token default]", status=OK)
        self.assertEqual(s.csrctl("status")["tokens"][0]["pool_detail"], "pool_p256v1: the token makes no such keys")
        told = s.csrctl("config", "check")
        self.assertEqual((told["ok"], told["problems"]), (True, []))
        self.assertEqual([(w["section"], w.get("token"), w["key"]) for w in told["warnings"]],
                         [("token", "default", "pool_p256v1")])
        self.assertIn("warning: token 'default' does not support p256v1, it makes rsa2048", told["warnings"][0]["text"])
        harness.wait_for("the other pool", lambda: s.csrctl("status")["tokens"][0]["pool"][0]["ready"] == 1)
        self.assertNotIn("pool: cannot", s.hsm.log())
        s.stop()

    def test_F258_a_terminal_of_80_columns(self):
        self.s.pin_path.chmod(0o644)
        command = [harness.BIN / "csrctl", "-c", self.s.config_path, "doctor"]
        text, code = operator_test.on_terminal(command, 80, self.s.environment("csrd-hsm"))
        self.assertEqual(code, FAILURE)
        wide = [line for line in text.splitlines() if len(line) > 80 and " " in line[30:]]  # not a long path by itself
        self.assertEqual(wide, [], text)
        self.assertRegex(text, r"(?m)^FAIL  pin-file default {6}  '")

    def test_modes_and_owners(self):
        s = self.s
        (s.folder / "state").mkdir(mode=0o700)
        (s.folder / "lib").mkdir(mode=0o755)
        module = s.folder / "lib" / "module.so"
        shutil.copy(faults.SHIM, module)
        module.chmod(0o755)
        s.settings["token default"]["module"] = module
        s.write_config()
        for path, mode, name, words in (
                (s.pin_path, 0o644, "pin-file", "open to others"),
                (s.pin_path, 0o620, "pin-file", "open to others"),
                (s.store_path, 0o644, "store-file", "open to others"),
                (s.folder, 0o777, "store-folder", "written by others"),
                (s.folder / "state", 0o770, "state-folder", "written by others"),
                (module, 0o757, "module-file", "written by others"),
                (s.folder / "lib", 0o777, "module", "may be changed by others"),
        ):
            with self.subTest(path=path.name, mode=oct(mode)):
                before = path.stat().st_mode & 0o7777
                path.chmod(mode)
                remedy = self.check(name, "fail", words, "chmod", status=FAILURE)["remedy"]
                harness.run(["sh", "-c", re.match(r"chmod \S+ '[^']+'", remedy)[0]])  # F260: as it can be pasted
                self.assertEqual(self.doctor()[name][0]["status"], "ok")
                path.chmod(before)
        s.config_path.chmod(0o666)
        self.check("config", "fail", "others may write it")
        s.config_path.chmod(0o644)
        s.pin_path.write_text("")
        self.check("pin-file", "fail", "empty")
        s.pin_path.unlink()
        self.check("pin-file", "fail", "does not exist")
        s.pin_path.with_name("pin.cred").write_text("sealed")
        self.check("pin-file", "ok", "sealed")

    @unittest.skipUnless(os.geteuid() == 0, "takes root")
    def test_what_a_user_may_not_see_is_no_failure(self):
        self.folder.chmod(0o755)
        self.s.folder.chmod(0o755)
        self.s.config_path.chmod(0o644)
        (self.s.folder / "state").mkdir(mode=0o700, exist_ok=True)
        self.s.store_path.chmod(0o600)
        self.start()
        self.s.socket_path.chmod(0o600)
        shut = self.s.folder / "shut"
        shut.mkdir(mode=0o700)
        def as_nobody(config):
            return subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                                   harness.BIN / "csrctl", "-c", config, "--json", "doctor"], capture_output=True,
                                  text=True, timeout=harness.PATIENCE * 3, check=False, cwd="/")
        done = as_nobody(self.s.config_path)
        checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        for name in ("signer", "store"):
            self.assertEqual(checks[name]["status"], "skip", checks[name])
            self.assertIn("as root", checks[name]["remedy"])
        self.assertNotIn("fail", {check["status"] for check in checks.values()})
        # nor is a configuration that cannot be read one that is missing
        shutil.copy(self.s.config_path, shut / "csrd.conf")
        done = as_nobody(shut / "csrd.conf")
        self.assertEqual(json.loads(done.stdout)["checks"][0]["remedy"], "run csrctl doctor as root")
        self.s.stop()

    @unittest.skipUnless(os.geteuid() == 0, "takes root")
    def test_a_file_of_root_in_the_stores_folder(self):
        """What a careless tool leaves there: csrd could not write it."""
        folder = self.s.folder / "store"
        folder.mkdir(mode=0o700)
        self.folder.chmod(0o755)
        self.s.folder.chmod(0o755)
        shutil.copy(self.s.store_path, folder / "csrd.db")
        for path in (folder, folder / "csrd.db"):
            os.chown(path, 65534, 65534)
        (folder / "csrd.db").chmod(0o600)
        self.s.settings["store"]["url"] = "sqlite:%s" % (folder / "csrd.db")
        self.s.write_config()
        self.assertEqual(self.doctor()["store"][0]["status"], "ok")
        # reading it as root would have left files of root's there
        self.assertEqual({path.stat().st_uid for path in folder.iterdir()}, {65534})
        (folder / "csrd.db-wal").touch(mode=0o600)
        os.chown(folder / "csrd.db-wal", 0, 0)
        self.check("store-file", "fail", "belongs to root", "chown")

    def test_pin_marker(self):
        s = self.s
        s.pin_path.write_text("00000000\n")
        self.assertEqual(s.start_hsm(wait=False).wait(), 77)
        self.check("pin", "fail", "the token refused it", "pin-refused", status=FAILURE)
        s.pin_path.write_text(harness.Token.PIN + "\n")
        self.check("pin", "warn", "another is in the file now")
        self.assertEqual(s.shim.count("C_Login"), 1)
        (s.folder / "state" / "pin-refused").unlink()
        self.check("pin", "ok")

    def test_modules(self):
        s = self.s
        s.settings["token default"]["module"] = "/nonexistent/module.so"
        s.write_config()
        self.check("module-file", "fail", "No such file", "vendor")
        self.check("module", "fail", "/nonexistent/module.so")
        self.assertNotIn("token", self.doctor())
        s.settings["token default"]["module"] = faults.SHIM
        s.write_config()
        s.shim.set("C_Initialize hang")
        self.check("module", "fail", "the token hangs: C_Initialize")
        s.shim.set("C_Initialize kill")
        self.check("module", "fail", "died of signal 9")
        s.shim.set("C_Initialize return CKR_DEVICE_ERROR")
        self.check("module", "fail", "does not initialise")

    def test_a_program_that_is_not_ours(self):
        """What stands in csrd-hsm's place may say anything, or nothing, and is not waited for."""
        self.s.settings["token default"]["timeout_other"] = "100ms"
        self.s.write_config()
        folder = self.folder / "bin"
        folder.mkdir()
        shutil.copy(harness.BIN / "csrctl", folder)

        def say(script):
            (folder / "csrd-hsm").write_text("#!/bin/sh\n" + script)
            (folder / "csrd-hsm").chmod(0o755)
            done = subprocess.run([folder / "csrctl", "--json", "-c", self.s.config_path, "doctor"], capture_output=True,
                                  text=True, timeout=harness.PATIENCE, check=False, env=self.s.environment("csrctl"))
            self.assertEqual(done.returncode, FAILURE)
            return [check["found"] for check in json.loads(done.stdout)["checks"] if check["name"] == "module"]

        self.assertEqual(say("echo no document"), ["csrd-hsm -i ended with 0: it gives no reason"])
        self.assertEqual(say("echo '{}'"), ["it gives no reason"])
        self.assertEqual(say("echo '{\"module\": [1], \"token\": {\"found\": 1}, \"pin\": 7}'"), ["it gives no reason"])
        self.assertEqual(say("echo '2026 x error: so it is' >&2; exit 66"), ["csrd-hsm -i ended with 66: so it is"])
        self.assertEqual(say("head -c 3000000 /dev/zero | tr '\\0' 'x'"), ["csrd-hsm -i ended with 0: it gives no reason"])
        self.assertEqual(say("sleep 60 & sleep 60"), ["csrd-hsm -i does not finish"])
        (folder / "csrd-hsm").unlink()
        done = subprocess.run([folder / "csrctl", "-c", self.s.config_path, "doctor"], capture_output=True, text=True,
                              check=False, env=self.s.environment("csrctl"))
        self.assertRegex(done.stdout, r"(?m)^skip  module default +csrd-hsm cannot be run: not found")

    def test_tokens(self):
        s = self.s
        for rule, name, verdict, words in (
                ("C_GetTokenInfo flags +CKF_USER_PIN_LOCKED", "token-flags", "fail", "is locked"),
                ("C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY", "token-flags", "fail", "next wrong PIN locks"),
                ("C_GetTokenInfo flags -CKF_USER_PIN_INITIALIZED", "token-flags", "fail", "no user PIN"),
                ("C_GetTokenInfo flags +CKF_WRITE_PROTECTED", "token-flags", "fail", "write-protected"),
                ("C_GetTokenInfo flags +CKF_USER_PIN_COUNT_LOW", "token-flags", "warn", "wrong PIN"),
                ("sessions-max 3", "token-sessions", "fail", "allows 3 sessions"),
                ("C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_EC_KEY_PAIR_GEN", "mechanisms", "warn",
                 "also allows p256v1"),
                ("C_GetMechanismInfo return CKR_MECHANISM_INVALID", "mechanisms", "fail", "makes none"),
        ):
            with self.subTest(rule=rule):
                if name == "token-sessions":
                    s.settings["token default"]["threads"] = 4
                    s.write_config()
                s.shim.set(rule)
                self.check(name, verdict, words)
        s.shim.clear()
        s.settings["token default"]["uri"] = "pkcs11:token=other"
        s.write_config()
        self.check("token", "fail", "no token fits", "uri")

    def test_an_unusable_token_of_a_running_signer(self):
        self.s.start_hsm()
        os.rename(self.s.p11.folder / "tokens", self.s.p11.folder / "away")
        (self.s.p11.folder / "tokens").mkdir()
        self.s.shim.set("C_GetSessionInfo return CKR_DEVICE_REMOVED", "C_GetTokenInfo return CKR_DEVICE_REMOVED")
        harness.wait_for("down", lambda: not self.s.csrctl("status", check=False).returncode == 0)
        self.check("signer", "fail", status=FAILURE)
        self.check("token", "fail")

    def test_store(self):
        s = self.s
        shutil.copy(s.store_path, s.folder / "kept.db")

        def with_store(change, verdict, words, name="store"):
            for ending in ("-wal", "-shm"):
                (s.folder / ("csrd.db" + ending)).unlink(missing_ok=True)
            shutil.copy(s.folder / "kept.db", s.store_path)
            s.store_path.chmod(0o600)
            change()
            return self.check(name, verdict, words, status=FAILURE)

        def scribble():
            with open(s.store_path, "r+b") as file:
                file.seek(4096)
                file.write(os.urandom(8 * 4096))

        def sql(text):
            def change():
                with sqlite3.connect(s.store_path) as database:
                    database.executescript(text)
                database.close()
            return change

        with_store(lambda: None, "ok", "schema version")
        with_store(scribble, "fail", "")
        with_store(lambda: s.store_path.write_bytes(b"no database at all" * 400), "fail", "not a database")
        with_store(sql("PRAGMA user_version = 99"), "fail", "schema version 99")
        with_store(sql("INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail) VALUES "
                       "(%d, 'account.add', 'x', 'test', '', '', '')" %
                       ((time.time() + 86400) * 1000000)), "fail", "still to come", "store-times")
        s.store_path.unlink()
        self.check("store", "warn", "No such file")
        log = s.folder / "csrd.db-wal" # F113: csrd would not make one
        log.write_bytes(b"")
        self.check("store", "fail", "its log is there", status=FAILURE)
        log.unlink()

    def test_two_tokens(self):
        s = self.s
        s.p11.add("second")
        s.settings["token old"] = {**s.settings["token default"], "uri": "pkcs11:token=second",
                                   "socket": s.folder / "old.sock", "state_dir": s.folder / "old"}
        s.write_config()
        checks = self.doctor()
        self.assertEqual([check["token"] for check in checks["token"]], ["default", "old"])
        self.assertIn("'second'", checks["token"][1]["found"])
        self.assertEqual([check["token"] for check in self.doctor("--token", "old")["token"]], ["old"])


class Status(DoctorCase):
    def status(self, *arguments, status=OK):
        done = self.run_csrctl("--json", "status", *arguments)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_all(self):
        s = self.s
        s.settings["token old"] = {**s.settings["token default"], "uri": "pkcs11:token=second",
                                   "socket": s.folder / "old.sock", "state_dir": s.folder / "old"}
        s.write_config()
        shown = self.status(status=UNAVAILABLE)
        self.assertEqual(shown["csrd"]["state"], "unreachable")
        self.assertEqual([token["answers"] for token in shown["tokens"]], [False, False])
        self.assertIn("does not answer", shown["tokens"][1]["detail"])
        s.start_hsm()
        s.start_csrd()
        harness.wait_for("a signer that csrd knows",
                         lambda: self.status(status=UNAVAILABLE)["csrd"]["state"] == "ready")
        shown = self.status(status=UNAVAILABLE)  # of the old one, which makes no new keys
        self.assertEqual((shown["csrd"]["state"], shown["csrd"]["address"]), ("ready", "127.0.0.1:%d" % self.port))
        self.assertEqual([token["usable"] for token in shown["tokens"]], [True, False])
        shown = self.status("--token", "default", status=OK)
        self.assertEqual([token["token"] for token in shown["tokens"]], ["default"])
        self.assertIn("data objects", shown["tokens"][0]["capabilities"])
        s.hsm.terminate()
        s.csrd.terminate()

    def test_f131_localhost(self):
        """Doctor tells whether a client that says localhost finds csrd."""
        s = self.s
        self.start()
        self.check("csrd", "ok", "ready at '127.0.0.1:%d'; the other address of localhost is not in" % self.port)
        s.csrd.terminate()
        s.settings["http"]["listen"] = "[::1]:%d, 127.0.0.1:%d" % (self.port, self.port)
        s.write_config()
        s.start_csrd()
        s.wait_ready()
        self.assertEqual([(check["status"], check["found"]) for check in self.doctor()["csrd"]],
                         [("ok", "ready at '%s:%d', which clients may get for localhost" % (address, self.port))
                          for address in ("[::1]", "127.0.0.1")])
        self.assertEqual(self.status()["csrd"]["address"], "[::1]:%d" % self.port)
        s.stop()

    def test_ready(self):
        self.start()
        self.assertEqual(self.status()["csrd"], {"state": "ready", "address": "127.0.0.1:%d" % self.port,
                                                 "version": self.run_csrctl("--version").stdout.split()[1]})
        done = self.run_csrctl("status")
        self.assertRegex(done.stdout, r"(?m)^csrd +ready$")
        self.assertRegex(done.stdout, r"(?m)^usable +yes$")
        self.assertRegex(done.stdout, r"(?m)^capabilities .*\bec: \d+-\d+ bits;")
        self.assertNotRegex(done.stdout, r"(?m)^capabilities .*:(;|$)")  # of a family there may be nothing to say
        self.s.stop()

    def test_what_is_not_csrd(self):
        """Something else on its port is told apart, and cannot hold csrctl up."""
        for answer, state in ((b"SSH-2.0-x\r\n\r\n", "unreachable"), (b"HTTP/1.1 500 x\r\n\r\n{", "not-ready"),
                              (b"x" * 100000, "unreachable"), (None, "unreachable")):
            with socket.create_server(("127.0.0.1", self.port)) as listener:
                listener.settimeout(harness.PATIENCE)
                def serve():
                    connection, _ = listener.accept()
                    connection.settimeout(harness.PATIENCE)
                    with connection:
                        if answer is None:  # accepted, and never answered
                            connection.recv(4096)
                            connection.recv(4096)
                            return
                        connection.recv(4096)
                        try:
                            connection.sendall(answer)
                        except OSError:
                            pass
                thread = threading.Thread(target=serve)
                thread.start()
                done = self.run_csrctl("--json", "status")
                self.assertEqual(json.loads(done.stdout)["csrd"]["state"], state)
                thread.join()  # its accept ends, one way or another

    def test_watch(self):
        for arguments in (("--watch",), ("--watch=1", "--json"), ("--watch=0",), ("--watch=x",)):
            self.assertEqual(self.run_csrctl("status", *arguments).returncode, USAGE)
        self.start()
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(harness.BIN / "csrctl", ["csrctl", "-c", str(self.s.config_path), "status", "--watch=1"],
                      self.s.environment("csrctl"))
        seen = ""
        end = time.monotonic() + harness.PATIENCE
        try:
            while len(re.findall(r"usable +yes", seen)) < 2:
                self.assertLess(time.monotonic(), end, seen)
                if select.select([terminal], [], [], 0.1)[0]:
                    seen += os.read(terminal, 65536).decode()
            os.kill(pid, signal.SIGINT)
            self.assertTrue(os.WIFSIGNALED(os.waitpid(pid, 0)[1]))
        finally:
            os.close(terminal)
        self.assertEqual(seen.count("\033[2J"), 2)
        self.s.stop()


class Units(sdbox.Case):
    """Where systemd runs: the state of the units, and the token as the signer's unit sees it."""

    def doctor(self, box):
        done = box.run("csrctl", "--json", "doctor", check=False)
        found = {}
        for check in json.loads(done.stdout)["checks"]:
            found.setdefault(check["name"], []).append(check)
        return done.returncode, found

    def test_units(self):
        box = self.box()
        code, checks = self.doctor(box)
        self.assertIn("does not run", checks["unit"][0]["found"])
        # the variable by which the module finds its token is the unit's
        self.assertEqual(checks["token"][0]["status"], "ok", checks["token"])
        self.assertEqual(checks["signer"][0]["status"], "skip")
        self.assertFalse(box.is_active(sdbox.SIGNER), "a question did not start it")
        box.start("csrd")
        code, checks = self.doctor(box)
        self.assertEqual(code, OK, [check for named in checks.values() for check in named if check["status"] == "fail"])
        self.assertEqual([check["status"] for check in checks["unit"]], ["ok", "ok", "ok", "warn"], checks["unit"])
        # F131, F132: which addresses are served, and whether somebody else could take the port
        self.assertIn("csrd.socket is not in use", checks["unit"][3]["found"])
        self.assertEqual([check["found"] for check in checks["csrd"]],
                         ["ready at '%s:8080', which clients may get for localhost" % address
                          for address in ("127.0.0.1", "[::1]")])
        box.systemctl("stop", "csrd")
        box.start("csrd.socket", "csrd")
        code, checks = self.doctor(box)
        self.assertEqual([check["status"] for check in checks["unit"]], ["ok"] * 4, checks["unit"])
        for name in ("csrd", "signer", "token", "pin", "pin-file", "state-folder", "socket-file", "store", "store-folder"):
            self.assertEqual(checks[name][0]["status"], "ok", checks[name])
        # a refused PIN
        box.write("/etc/csrd/credentials/default.pin", "00000000\n", 0o600)
        box.systemctl("restart", sdbox.SIGNER, check=False)
        box.wait_show(sdbox.SIGNER, "ActiveState", "failed")
        code, checks = self.doctor(box)
        self.assertEqual(code, FAILURE)
        said = [check for check in checks["unit"] if check["status"] == "fail"]
        self.assertIn("%s failed: exit code 77, the PIN was refused" % sdbox.SIGNER, said[0]["found"])
        self.assertEqual(said[0]["remedy"],
                         "follows from 'pin default' above; when that is mended: systemctl start %s" % sdbox.SIGNER)
        self.assertEqual((checks["pin"][0]["status"], checks["signer"][0]["status"]), ("fail", "skip"))


if __name__ == "__main__":
    unittest.main()
