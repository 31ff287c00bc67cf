# run: seconds=10
"""csrd-hsm -i: what it shows of module, token, PIN file and state folder, without a login and beside a signer at work."""
import json
import os
import pathlib
import shutil
import subprocess
import unittest

import faults
import harness

NO_MODULE, NO_TOKEN, TOKEN_FAILED, CONFIG = 66, 67, 75, 78


class Inspect(faults.FaultCase):
    def setUp(self):
        super().setUp()
        self.s = self.shim_service(settings={"token default": {"timeout_other": "300ms"}})

    def inspect(self, *rules, status=0, document=True):
        """(document, standard error); status: the exit code."""
        self.s.shim.set(*rules)
        done = subprocess.run([harness.BIN / "csrd-hsm", "-c", self.s.config_path, "-i"], capture_output=True, text=True,
                              timeout=harness.PATIENCE, check=False, env=self.s.environment("csrd-hsm"),
                              cwd=self.s.folder)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertNotIn(harness.Token.PIN, done.stdout + done.stderr)
        if not document:
            self.assertEqual(done.stdout, "")
            return None, done.stderr
        shown = json.loads(done.stdout)
        self.assertEqual(shown["exit_code"], status)
        return shown, done.stderr

    def settle(self, **values):
        self.s.settings["token default"].update(values)
        self.s.write_config()

    def test_what_it_shows(self):
        shown, said = self.inspect()
        self.assertEqual(said, "")
        self.assertEqual(shown["name"], "default")
        self.assertEqual((shown["pin"]["state"], shown["pin"]["mode"], shown["pin"]["refused"]), ("ok", "0600", "no"))
        self.assertEqual(shown["state_dir"], {"path": str(self.s.folder / "state"), "state": "missing"})
        module, token = shown["module"], shown["token"]
        self.assertTrue(module["loaded"])
        self.assertEqual((module["manufacturer"], module["version"], module["cryptoki"]), ("SoftHSM", "2.6", "2.40"))
        self.assertEqual((token["found"], token["label"], len(token["serial"])), (True, "csrd test", 16))
        self.assertEqual({flag for flag, on in token["flags"].items() if on},
                         {"initialized", "user_pin_initialized", "login_required"})
        types = {item["key_type"]: item for item in shown["key_types"]}
        self.assertEqual(set(types), {"rsa2048", "rsa3072", "rsa4096", "p256v1", "p384v1", "ed25519"})
        self.assertTrue(all(item["offered"] for item in types.values()))
        generate = types["rsa2048"]["mechanisms"][0]
        self.assertEqual(generate["name"], "CKM_RSA_PKCS_KEY_PAIR_GEN")
        self.assertLessEqual(generate["size_min"], 2048)
        self.assertGreaterEqual(generate["size_max"], 4096)
        # it looks, and leaves nothing behind
        self.assertFalse((self.s.folder / "state").exists())
        self.assertEqual(self.s.shim.count("C_Login") + self.s.shim.count("C_OpenSession"), 0)

    def test_F231_a_label_that_holds_anything(self):
        """Quotes, control characters and bytes that are no UTF-8, as tokens may have them: it stays one JSON document."""
        token = harness.Token(self.folder / "odd", label=b'a"b\\c\x01\x1b[2J\n\xff\xc3\xa9\xed\xa0\x80z')
        self.settle(uri="pkcs11:model=SoftHSM%20v2")
        self.s.hsm_environment = token.environment
        shown, said = self.inspect()
        self.assertEqual(shown["token"]["label"], 'a"b\\c\x01\x1b[2J\n\ufffd\u00e9\ufffd\ufffd\ufffdz')
        # nor does it make lines or escape sequences of its own in the log
        self.settle(uri="pkcs11:token=none")
        _, said = self.inspect(status=NO_TOKEN)
        self.assertIn("no token fits", said)
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertNotIn("\x1b", said)

    def test_F226_no_core_file_and_no_debugger(self):
        """What it reads is the PIN: neither is possible while it runs."""
        self.s.shim.set("C_Initialize hang")
        process = subprocess.Popen([harness.BIN / "csrd-hsm", "-c", self.s.config_path, "-i"], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.s.folder,
                                   env=self.s.environment("csrd-hsm"))
        self.addCleanup(process.communicate)
        harness.wait_for("C_Initialize", lambda: self.s.shim.count("C_Initialize"))
        limits = pathlib.Path("/proc/%d/limits" % process.pid).read_text(encoding="utf-8")
        self.assertRegex(limits, r"Max core file size +0 +0 ")
        # not dumpable: its files in /proc are root's, whoever runs it
        if os.geteuid() != 0:
            self.assertEqual(os.stat("/proc/%d/environ" % process.pid).st_uid, 0)
        process.wait()

    def test_beside_a_signer_at_work(self):
        self.s.start_hsm()
        self.s.start_csrd()
        self.s.wait_ready()
        logins = self.s.shim.count("C_Login")
        before = {path: path.stat().st_mtime_ns for path in (self.s.folder / "state").iterdir()}
        for _ in range(3):
            shown, _ = self.inspect()
            self.assertTrue(shown["token"]["found"])
            self.assertEqual(self.s.create().status, 201)
        self.assertEqual(shown["state_dir"]["served_serial"], shown["token"]["serial"])
        self.assertEqual(shown["pin"]["refused"], "no")
        self.assertIn("data objects: yes", shown["token"]["probe"])
        self.assertEqual(self.s.shim.count("C_Login"), logins)
        self.assertEqual(before, {path: path.stat().st_mtime_ns for path in (self.s.folder / "state").iterdir()})
        self.s.stop()

    def test_flags_and_limits(self):
        shown, _ = self.inspect("C_GetTokenInfo flags +CKF_USER_PIN_FINAL_TRY +CKF_USER_PIN_COUNT_LOW "
                                "+CKF_USER_PIN_LOCKED +CKF_WRITE_PROTECTED -CKF_USER_PIN_INITIALIZED", "sessions-max 3")
        flags = shown["token"]["flags"]
        for name in ("user_pin_final_try", "user_pin_count_low", "user_pin_locked", "write_protected"):
            self.assertTrue(flags[name], name)
        self.assertFalse(flags["user_pin_initialized"])
        self.assertEqual(shown["token"]["sessions_max"], 3)

    def test_mechanisms_that_are_missing(self):
        shown, _ = self.inspect("C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_EC_EDWARDS_KEY_PAIR_GEN")
        types = {item["key_type"]: item for item in shown["key_types"]}
        self.assertFalse(types["ed25519"]["offered"])
        self.assertEqual([item["offered"] for item in types["ed25519"]["mechanisms"]], [False, True])
        self.assertTrue(types["p256v1"]["offered"])
        # a token that makes nothing at all is shown too
        shown, said = self.inspect("C_GetMechanismInfo return CKR_MECHANISM_INVALID", status=NO_TOKEN)
        self.assertTrue(shown["token"]["found"])
        self.assertEqual([item["offered"] for item in shown["key_types"]], [False] * 6)
        self.assertIn("makes no keys", said)

    def test_pin_file(self):
        pin = self.s.pin_path
        for prepare, state in ((lambda: pin.chmod(0o644), "open-to-others"),
                               (lambda: (pin.chmod(0o600), pin.write_text("")), "empty"),
                               (lambda: pin.write_text("7" * 300), "too-long"),
                               (pin.unlink, "missing")):
            prepare()
            self.assertEqual(self.inspect()[0]["pin"]["state"], state)

    def test_marker_of_a_refused_pin(self):
        self.s.start_hsm()
        self.s.hsm.terminate()
        self.s.pin_path.write_text("00000000\n")
        self.assertEqual(self.inspect()[0]["pin"]["refused"], "no")
        process = self.s.start_hsm(wait=False)
        self.assertEqual(process.wait(), 77)
        self.assertEqual(self.s.shim.count("C_Login.bad"), 1)
        for text, word in (("00000000\n", "yes"), (harness.Token.PIN + "\n", "changed"), ("00000000\n", "yes")):
            self.s.pin_path.write_text(text)
            shown, said = self.inspect()
            self.assertEqual(shown["pin"]["refused"], word)
            self.assertNotIn("00000000", json.dumps(shown) + said)
        self.assertEqual(self.s.shim.count("C_Login.bad"), 1)

    def test_modules_that_do_not_load(self):
        text = self.folder / "text.so"
        text.write_text("no module\n")
        for path in (self.folder / "missing.so", text, pathlib.Path("/lib/x86_64-linux-gnu/libc.so.6").resolve()):
            self.settle(module=path)
            shown, said = self.inspect(status=NO_MODULE)
            self.assertFalse(shown["module"]["loaded"])
            self.assertNotIn("token", shown)
            self.assertIn(str(path), said)
        writable = self.folder / "writable.so"
        shutil.copy(faults.SHIM, writable)
        writable.chmod(0o666)
        self.settle(module=writable)
        shown, said = self.inspect(status=NO_MODULE)
        self.assertIn("may be changed by others", said)
        self.assertEqual(shown["module"]["open_to_others"], str(writable))  # F294: nobody has to read it out of the log

    def test_tokens_that_are_missing(self):
        self.settle(uri="pkcs11:token=other")
        shown, said = self.inspect(status=NO_TOKEN)
        self.assertFalse(shown["token"]["found"])
        self.assertNotIn("key_types", shown)
        self.assertIn("'csrd test'", said)
        # one that was served is taken to be away
        self.settle(uri=self.s.p11.uri)
        self.s.start_hsm()
        self.s.hsm.terminate()
        os.rename(self.s.p11.folder / "tokens", self.s.p11.folder / "away")
        (self.s.p11.folder / "tokens").mkdir()
        self.inspect(status=TOKEN_FAILED)

    def test_another_token_in_its_place(self):
        self.s.start_hsm()
        self.s.hsm.terminate()
        shown, said = self.inspect("C_GetTokenInfo serial 0000000000000000", status=NO_TOKEN)
        self.assertTrue(shown["token"]["found"])
        self.assertTrue(shown["token"]["exchanged"])
        self.assertIn("was exchanged", said)

    def test_a_module_that_hangs_or_crashes(self):
        for function in ("C_Initialize", "C_GetTokenInfo", "C_GetMechanismInfo"):
            with self.subTest(function=function):
                _, said = self.inspect(function + " hang", status=TOKEN_FAILED, document=False)
                self.assertIn("the token hangs", said)
        self.inspect("C_GetTokenInfo kill", status=-9, document=False)
        # what it does while it is closed changes nothing
        shown, _ = self.inspect("C_Finalize hang")
        self.assertTrue(shown["token"]["found"])

    def test_configuration(self):
        self.s.config_path.write_text("[token default]\nmodule = relative.so\n")
        self.inspect(status=CONFIG, document=False)
        done = subprocess.run([harness.BIN / "csrd-hsm", "-i"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn("-i ", done.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "takes root")
    def test_root_becomes_the_owner_of_the_state_folder(self):
        self.settle(module=shutil.copy(faults.SHIM, self.s.folder / "shim.so"))  # the owner may not reach ours
        state = self.s.folder / "state"
        state.mkdir(mode=0o700)
        self.folder.chmod(0o755)
        for path in (self.s.folder, *self.s.folder.rglob("*")):
            os.chown(path, 65534, 65534)
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.s.pin_path.chmod(0o600)
        self.inspect("C_GetTokenInfo sleep 1ms")
        made = [path for path in self.s.folder.rglob("*") if path.stat().st_uid == 0 and "shim/rules" not in str(path)]
        self.assertEqual(made, [])
        self.assertEqual(self.s.shim.trace.stat().st_uid, 65534, "the module ran as the owner")


if __name__ == "__main__":
    unittest.main()
