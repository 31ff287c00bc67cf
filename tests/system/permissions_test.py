"""A user without the rights: neither program starts, and the last lines of its log say what it may not do (F91)."""
# run: seconds=2
import os
import shutil
import unittest

import harness

NOBODY = 65534
CONFIG, SYSTEM, STORE = 78, 71, 65


class OwnUserService(harness.Service):
    """Both programs run as nobody, to whom all files belong."""

    def command(self, program, *arguments):
        return ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "--",
                *super().command(program, *arguments)]


@unittest.skipUnless(os.geteuid() == 0, "takes root, to be somebody else")
class PermissionsTest(harness.Case):
    def setUp(self):
        super().setUp()
        folder = self.folder / "s"
        folder.mkdir()
        self.s = OwnUserService(self, folder, self.logs())
        self.folder.chmod(0o755)
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, NOBODY, NOBODY)

    def spoil(self, path, mode, owner=0):
        if owner is not None:
            shutil.chown(path, owner, owner)
        path.chmod(mode)

    def refused(self, program, codes, *reasons):
        process = self.s.spawn(program, "-c", self.s.config_path)
        self.assertIn(process.wait(), codes, process.tail())
        for reason in reasons:
            self.assertRegex(process.log(), reason)
        self.assertNotIn("serving token ", process.log())
        self.assertNotIn("is ready to serve", process.log())

    def test_with_all_rights(self):
        """The control: what is refused below works as it stands here."""
        self.s.start()
        self.assertEqual(self.s.create().status, 201)
        self.s.stop()

    def test_configuration(self):
        self.spoil(self.s.config_path, 0o600)
        for program in ("csrd", "csrd-hsm"):
            self.refused(program, [CONFIG], r"csrd\.conf: cannot open: Permission denied")
        self.spoil(self.s.config_path, 0o666, None)
        for program in ("csrd", "csrd-hsm"):
            self.refused(program, [CONFIG], r"csrd\.conf: .*others")

    def test_pin_file(self):
        for mode, owner in ((0o600, 0), (0o644, NOBODY), (0o660, NOBODY)):
            with self.subTest(mode=oct(mode)):
                self.spoil(self.s.pin_path, mode, owner)
                self.refused("csrd-hsm", [CONFIG], "pin file '.*/pin' is not readable, or is open to others")
        # As systemd gives a credential: root's, to be read by one group (an ACL's mask looks like that).
        os.chown(self.s.pin_path, 0, NOBODY)
        self.s.pin_path.chmod(0o440)
        self.s.start_hsm()
        self.s.hsm.terminate()
        shutil.chown(self.s.pin_path, NOBODY, NOBODY)
        self.s.pin_path.chmod(0o400)
        self.s.start_hsm()
        self.s.hsm.terminate()

    def test_socket_folder(self):
        folder = self.s.folder / "sockets"
        folder.mkdir()
        self.s.settings["token default"]["socket"] = folder / "hsm.sock"
        self.s.write_config()
        self.refused("csrd-hsm", [SYSTEM], "cannot listen on '.*/sockets/hsm.sock': Permission denied")

    def test_state_folder(self):
        folder = self.s.folder / "elsewhere"
        folder.mkdir()
        self.spoil(folder, 0o755)
        self.s.settings["token default"]["state_dir"] = folder / "state"
        self.s.write_config()
        self.refused("csrd-hsm", [CONFIG], "elsewhere/state")
        self.s.settings["token default"]["state_dir"] = folder
        self.s.write_config()
        self.refused("csrd-hsm", [CONFIG], "elsewhere")

    def test_store(self):
        self.spoil(self.s.store_path, 0o600)
        self.refused("csrd", [SYSTEM, STORE], r"csrd\.db", "cannot start: permission denied")
        self.spoil(self.s.store_path, 0o444)
        self.refused("csrd", [SYSTEM, STORE], r"csrd\.db")

    def test_store_folder(self):
        folder = self.s.folder / "data"
        folder.mkdir()
        self.spoil(folder, 0o755)
        self.s.settings["store"]["url"] = "sqlite:%s/csrd.db" % folder
        self.s.write_config()
        self.refused("csrd", [SYSTEM, STORE], "data/csrd.db")

    def test_port(self):
        self.s.settings["http"]["listen"] = "unix:/run/nobody-may-write-here.sock"
        self.s.write_config()
        self.refused("csrd", [SYSTEM], "cannot listen on 'unix:/run/nobody-may-write-here.sock': Permission denied")


if __name__ == "__main__":
    unittest.main()
