"""The Debian package: built, looked at by lintian, and lived with on a machine of its own: installed, set up, used,
upgraded while it runs, removed, installed again, purged (F193)."""
# run: rare seconds=159 timeout=900 variants=release
import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import tempfile
import unittest

import harness
import sdbox

SHARE = "/run/host/share"  # the box's folder, as the box sees it
CONFFILE = "/etc/csrd/csrd.conf"  # no conffile since 0.2: setup makes it
PIN = "/etc/csrd/credentials/default.pin"
UNITS = ("csrd.service", "csrd.socket", "csrd-port.service", "csrd-hsm@.service", "csrd-hsm@.socket")


def build_packages(folder):
    """`make deb` in a copy of the tree; the .deb files."""
    tree = folder / "tree"
    ignore = shutil.ignore_patterns(".git", "build", "run", "node_modules", "__pycache__")
    shutil.copytree(harness.ROOT, tree, ignore=ignore)
    harness.run(["make", "deb"], cwd=tree, env=harness.clean_environment(), timeout=300)
    return sorted((tree / "build" / "deb").glob("*.deb"))


def with_version(deb, version, folder):
    """The same package under another version."""
    tree = folder / "reversioned"
    harness.run(["dpkg-deb", "-R", deb, tree])
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", "Version: " + version, control.read_text(), flags=re.M))
    fresh = folder / ("csrd_%s.deb" % version)
    harness.run(["dpkg-deb", "--root-owner-group", "-b", tree, fresh])
    shutil.rmtree(tree)
    return fresh


def with_conffile(deb, folder):
    """As 0.1 was: /etc/csrd/csrd.conf belongs to the package."""
    tree = folder / "conffile"
    harness.run(["dpkg-deb", "-R", deb, tree])
    (tree / "etc" / "csrd").mkdir(parents=True)
    shutil.copy(harness.ROOT / "config" / "csrd.conf", tree / "etc" / "csrd")
    (tree / "DEBIAN" / "conffiles").write_text(CONFFILE + "\n")
    fresh = folder / "csrd_conffile.deb"
    harness.run(["dpkg-deb", "--root-owner-group", "-b", tree, fresh])
    shutil.rmtree(tree)
    return fresh


class PackageTest(sdbox.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="csrd-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.packages = build_packages(cls.folder)
        cls.deb = next(path for path in cls.packages if path.name.startswith("csrd_"))

    # ---- what is in it ----------------------------------------------------------

    def test_lintian(self):
        self.assertEqual([re.sub("_.*", "", path.name) for path in self.packages], ["csrd-dbgsym", "csrd"])
        done = harness.run(["lintian", "--allow-root", "--profile", "debian", "--fail-on", "error,warning", self.deb],
                           check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_dependencies(self):
        depends = harness.run(["dpkg-deb", "-f", self.deb, "Depends"]).stdout
        for library in ("libp11-kit0", "libp11-3", "libevent-core-2.1-7", "libevent-openssl-2.1-7", "libssl3", "libsqlite3-0", "libsystemd0"):
            self.assertIn(library, depends)
        self.assertNotIn("softhsm", depends)
        self.assertNotEqual(harness.run(["dpkg-deb", "--info", self.deb, "conffiles"], check=False).returncode, 0,
                            "a conffile that setup edits stops unattended upgrades")

    # ---- its life -----------------------------------------------------------------

    def machine(self):
        box = self.box(install=False)
        # Container images have one that forbids packages to restart services.
        box.path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
        return box

    def install(self, box, deb):
        shutil.copy(deb, box.folder / "csrd.deb")
        # Without an answer to give: a question about a configuration file would fail.
        return box.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "-i", SHARE + "/csrd.deb")

    def setup_csrd(self, box, *arguments, text=None, check=True):
        done = box.run("csrctl", "--json", "setup", *arguments, input=text, check=False)
        if not check:
            return done
        self.assertEqual(done.returncode, 0, done.stderr + box.status("csrd", sdbox.SIGNER))
        document = json.loads(done.stdout)
        box.account = document["account"]
        box.token = document.get("api_token", box.token)
        return document

    def assert_serves(self, box, had):
        """A new CSR can be made, and those made before are there."""
        answer = box.create()
        self.assertEqual(answer.status, 201, answer)
        self.assertIn("BEGIN CERTIFICATE REQUEST", answer.result["csr"])
        had.append(answer.result["id"])
        for csr_id in had:
            self.assertEqual(box.api("GET", "/" + csr_id).status, 200)

    def test_life(self):
        box = self.machine()
        had = []
        self.check_installation(box)
        self.check_setup(box)
        self.assert_serves(box, had)
        self.check_second_setup(box)
        self.check_upgrade(box, had)
        self.check_removal(box)
        self.check_installation_again(box, had)
        self.check_purge(box)

    def check_installation(self, box):
        said = self.install(box, self.deb).stdout
        self.assertIn("csrctl setup", said)
        listed = box.systemctl("list-unit-files", "--no-legend", "csrd*").stdout
        for unit in UNITS:
            self.assertRegex(listed, r"%s +disabled|%s +static|%s +indirect" % ((re.escape(unit),) * 3))
        self.assertNotRegex(listed, r"\benabled +\w+ *$(?<!enabled)")
        for unit in ("csrd.service", "csrd.socket", sdbox.SIGNER, sdbox.SIGNER_SOCKET):
            self.assertEqual(box.show(unit, "ActiveState"), "inactive", unit)
        for user in ("csrd", "csrd-hsm"):
            self.assertEqual(box.run("id", "-nG", user).stdout.split(), [user])
        self.assertEqual(box.path("/etc/csrd/credentials").stat().st_mode & 0o777, 0o700)
        self.assertFalse(box.path(CONFFILE).exists())
        for page in ("csrd.8", "csrd-hsm.8", "csrctl.1", "csrd.conf.5"):
            self.assertTrue(box.run("man", "-w", page).stdout.strip(), page)
        for path in ("/usr/share/bash-completion/completions/csrctl", "/usr/share/zsh/vendor-completions/_csrctl"):
            self.assertIn("csrctl", box.path(path).read_text())

    def check_setup(self, box):
        document = self.setup_csrd(box, "--softhsm", "--yes", "--no-start")
        self.assertEqual(box.path(CONFFILE).stat().st_mode & 0o777, 0o644)
        before = box.path("/usr/share/csrd/csrd.conf").read_text()
        self.assertFalse(document["started"])
        self.assertEqual(document["url"], "http://127.0.0.1:8080/client/v4")
        self.assertRegex(document["api_token"], r"^csrd_[0-9A-Za-z_-]{49}$")
        self.assertFalse(box.is_active("csrd.service"))
        document = self.setup_csrd(box, "--softhsm", "--yes")
        self.assertTrue(document["started"], "it did what was left to do")
        self.assertNotIn("api_token", document)
        self.assertEqual(box.path(CONFFILE).read_text(), before, "the sample names SoftHSM's module and this token")
        for path, mode, owner in ((PIN, 0o600, "root"), ("/var/lib/csrd-hsm/softhsm", 0o700, "csrd-hsm"),
                                  ("/var/lib/csrd/csrd.db", 0o600, "csrd")):
            status = box.path(path).stat()
            self.assertEqual((oct(status.st_mode & 0o777), status.st_uid), (oct(mode), box.ids(owner)[0]), path)
        for unit in ("csrd.service", "csrd.socket", sdbox.SIGNER_SOCKET):
            self.assertEqual(box.systemctl("is-enabled", unit).stdout.strip(), "enabled")
            self.assertTrue(box.is_active(unit), unit)

    def check_second_setup(self, box):
        """Nothing is left to do, and nothing is changed; what contradicts is refused."""
        files = (CONFFILE, PIN, "/var/lib/csrd-hsm/softhsm",
                 "/etc/systemd/system/%s.d/csrctl-setup.conf" % sdbox.SIGNER)
        before = [(box.path(path).stat().st_ino, box.path(path).stat().st_mtime_ns) for path in files]
        running = box.pid("csrd.service"), box.pid(sdbox.SIGNER)
        again = self.setup_csrd(box, "--softhsm", "--yes")
        self.assertNotIn("api_token", again)
        refused = self.setup_csrd(box, "--module", "/usr/lib/other.so", "--yes", check=False)
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("module = ", refused.stderr)
        refused = self.setup_csrd(box, "--pin-file", "-", "--yes", text="another\n", check=False)
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("holds a PIN already", refused.stderr)
        self.assertNotIn("another\n", refused.stdout + refused.stderr)
        self.assertEqual([(box.path(path).stat().st_ino, box.path(path).stat().st_mtime_ns) for path in files], before)
        self.assertEqual((box.pid("csrd.service"), box.pid(sdbox.SIGNER)), running)

    def check_upgrade(self, box, had):
        before = box.pid("csrd.service"), box.pid(sdbox.SIGNER)
        version = harness.run(["dpkg-deb", "-f", self.deb, "Version"]).stdout.strip() + "+next"
        self.install(box, with_version(self.deb, version, self.folder))
        self.assertEqual(box.run("dpkg-query", "-W", "-f", "${Version}", "csrd").stdout, version)
        self.assertTrue(box.is_active("csrd.service"))
        self.assert_serves(box, had)
        after = box.pid("csrd.service"), box.pid(sdbox.SIGNER)
        self.assertFalse(set(before) & set(after), "both run the new programs")

    def check_removal(self, box):
        box.run("dpkg", "-r", "csrd")
        self.assertEqual(box.run("sh", "-c", "pidof csrd csrd-hsm || true").stdout.strip(), "")
        self.assertFalse(box.path("/run/csrd-hsm/default.sock").exists())
        for path in (CONFFILE, PIN, "/var/lib/csrd/csrd.db", "/var/lib/csrd-hsm/softhsm"):
            self.assertTrue(box.path(path).exists(), path)
        self.assertEqual(box.systemctl("--failed", "--no-legend").stdout.strip(), "")

    def check_installation_again(self, box, had):
        self.install(box, self.deb)
        self.assertFalse(box.is_active("csrd.service"), "nobody asked for it")
        box.start("csrd.service")
        self.assert_serves(box, had)

    def check_purge(self, box):
        done = box.run("dpkg", "-P", "csrd")
        self.assertIn("kept /var/lib/csrd", done.stderr)
        self.assertFalse(box.path("/etc/csrd").exists(), box.run("ls", "-lR", "/etc/csrd", check=False).stdout)
        left = [str(path) for path in box.path("/etc/systemd/system").rglob("*csrd*")]
        self.assertEqual(left, [])
        for path in ("/var/lib/csrd/csrd.db", "/var/lib/csrd-hsm/softhsm"):
            self.assertTrue(box.path(path).exists(), path)
        self.assertEqual(box.systemctl("--failed", "--no-legend").stdout.strip(), "")

    # ---- a token that is not made by setup --------------------------------------------

    VENDOR = "/opt/vendor/lib/libvendor.so"

    def make_vendor_hsm(self, box):
        """SoftHSM in the place of a vendor's module: outside /usr/lib, with a variable of its own."""
        box.path(self.VENDOR).parent.mkdir(parents=True)
        shutil.copy(os.path.realpath(harness.softhsm_module()), box.path(self.VENDOR))
        tokens = box.path("/var/lib/csrd-hsm/vendor")
        tokens.mkdir()
        os.chown(tokens, *box.ids("csrd-hsm"))
        box.write("/etc/csrd/softhsm2.conf.vendor", "directories.tokendir = /var/lib/csrd-hsm/vendor\n"
                                                    "objectstore.backend = file\nlog.level = ERROR\n")
        box.run("setpriv", "--reuid", "csrd-hsm", "--regid", "csrd-hsm", "--clear-groups", "env",
                "SOFTHSM2_CONF=/etc/csrd/softhsm2.conf.vendor", "softhsm2-util", "--init-token", "--free", "--label",
                "vendor", "--so-pin", "87654321", "--pin", sdbox.PIN)
        box.drop_in("csrd-hsm@hsm1.service", "Environment=SOFTHSM2_CONF=/etc/csrd/softhsm2.conf.vendor\n"
                                             "ReadWritePaths=/var/lib/csrd-hsm/vendor", "vendor")

    def test_setup_of_an_hsm(self):
        box = self.machine()
        self.install(box, self.deb)
        self.make_vendor_hsm(box)
        token = ("--token", "hsm1", "--module", self.VENDOR, "--pin-file", "-", "--yes")

        done = box.run("setpriv", "--reuid", "nobody", "--clear-groups", "csrctl", "setup", "--yes", check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "csrctl: setup must be run as root\n"))
        done = self.setup_csrd(box, "--yes", check=False)
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertIn("--module is missing", done.stderr)
        # The look has what the unit has: without its drop-in the module does not find its settings.
        drop_in = box.path("/etc/systemd/system/csrd-hsm@hsm1.service.d/vendor.conf")
        kept = drop_in.read_text()
        drop_in.unlink()
        box.systemctl("daemon-reload")
        done = self.setup_csrd(box, *token, "--uri", "pkcs11:token=vendor", text=sdbox.PIN, check=False)
        self.assertIn(done.returncode, (66, 67), done.stderr)
        self.assertIn("csrd-hsm@hsm1 cannot use the token", done.stderr)
        self.assertIn("--no-inspect", done.stderr)
        drop_in.write_text(kept)
        box.systemctl("daemon-reload")
        done = self.setup_csrd(box, *token, "--uri", "pkcs11:token=vendor", "--listen", "nonsense",
                               "--no-inspect", text=sdbox.PIN, check=False)
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn("nonsense", done.stderr)
        self.assertFalse(box.path(CONFFILE).exists(), "nothing was changed")
        self.assertEqual(list(box.path("/etc/csrd/credentials").iterdir()), [])

        self.check_wrong_pin(box, token)
        box.address = ("127.0.0.1", 8081)
        self.check_questions(box)
        self.assertIn("[token hsm1]", box.path(CONFFILE).read_text())
        self.check_port(box)
        self.assertEqual([path.name for path in box.path("/etc/csrd/credentials").iterdir()], ["hsm1.pin.cred"])
        sealed = box.path("/etc/csrd/credentials/hsm1.pin.cred")
        self.assertEqual(sealed.stat().st_mode & 0o777, 0o600)
        decrypt = ("systemd-creds", "decrypt", "--name=pin", "/etc/csrd/credentials/hsm1.pin.cred", "-")
        self.assertEqual(box.run(*decrypt).stdout, sdbox.PIN)
        box.path("/var/lib/systemd/credential.secret").rename(box.path("/root/secret"))
        self.assertNotEqual(box.run(*decrypt, check=False).returncode, 0, "it opens on this machine alone")
        box.path("/root/secret").rename(box.path("/var/lib/systemd/credential.secret"))
        self.assert_serves(box, [])

    def check_port(self, box):
        """F132: systemd holds the address of [http] listen, and follows it."""
        self.assertEqual(box.show("csrd.socket", "Listen"), "127.0.0.1:8081 (Stream)")
        self.assertEqual(box.systemctl("is-enabled", "csrd.socket").stdout.strip(), "enabled")
        conf = box.path(CONFFILE)
        conf.write_text(re.sub(r"(?m)^listen = .*$", "listen = 127.0.0.1:8082, unix:/run/csrd/http.sock",
                               conf.read_text()))
        self.setup_csrd(box, "--token", "hsm1", "--account", "payments", "--no-inspect", "--yes")
        self.assertEqual(box.show("csrd.socket", "Listen").splitlines(),
                         ["127.0.0.1:8082 (Stream)", "/run/csrd/http.sock (Stream)"])
        status = box.path("/run/csrd/http.sock").stat()
        self.assertEqual((status.st_mode & 0o777, status.st_uid), (0o660, box.ids("csrd")[0]))
        box.address = ("127.0.0.1", 8082)

    def test_F199_a_second_token(self):
        """Setup waits for that token's signer, says where new keys are made, and looks from inside the unit; what it
        enabled comes with csrd; a purge does not end in a circle of wrong PINs."""
        box = self.machine()
        self.install(box, self.deb)
        self.setup_csrd(box, "--softhsm", "--yes")
        self.make_vendor_hsm(box)
        token = ("--token", "hsm1", "--uri", "pkcs11:token=vendor", "--pin-file", "-", "--yes")

        home = box.path("/home/vendor/libvendor.so")
        home.parent.mkdir(parents=True)
        shutil.copy(box.path(self.VENDOR), home)
        done = self.setup_csrd(box, *token, "--module", "/home/vendor/libvendor.so", text=sdbox.PIN, check=False)
        self.assertEqual(done.returncode, 66, done.stderr)
        self.assertIn("sees no /home", done.stderr)
        self.assertNotIn("hsm1", box.path(CONFFILE).read_text())
        self.assertEqual([path.name for path in box.path("/run/systemd/system").glob("csrd*")], [])

        done = self.setup_csrd(box, *token, "--module", self.VENDOR, text="wrong-pin\n", check=False)
        self.assertEqual(done.returncode, 77, done.stderr + box.status("csrd", "csrd-hsm@hsm1"))
        self.assertIn("(the PIN was refused)", done.stderr)
        self.assertEqual(box.readyz(), 200, "the first token serves")
        box.path("/etc/csrd/credentials/hsm1.pin").unlink()
        document = self.setup_csrd(box, *token, "--module", self.VENDOR, text=sdbox.PIN)
        self.assertEqual(document["new_keys_on"], "default")
        self.assertTrue(box.is_active("csrd-hsm@hsm1.service"))
        said = box.run("csrctl", "setup", *token, input=sdbox.PIN).stdout
        self.assertIn("New keys are still made on token 'default'", said)

        box.run("dpkg", "-r", "csrd")
        self.install(box, self.deb)
        box.start("csrd.service")
        self.assertTrue(box.is_active("csrd-hsm@hsm1.socket"), "it comes with csrd")

        pin = box.path(PIN).read_text()
        box.run("dpkg", "-P", "csrd")
        self.install(box, self.deb)
        for _ in range(2):
            done = self.setup_csrd(box, "--softhsm", "--yes", check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("its PIN is gone", done.stderr)
            self.assertFalse(box.path(PIN).exists())
        self.setup_csrd(box, "--softhsm", "--yes", "--pin-file", "-", text=pin)
        self.assert_serves(box, [])

    def test_F243_a_trial_begun_anew(self):
        """After a purge, or with another token under the old name: what setup says is to be pasted, and goes on."""
        box = self.machine()
        self.install(box, self.deb)
        self.setup_csrd(box, "--softhsm", "--yes")
        self.assert_serves(box, [])
        box.run("dpkg", "-P", "csrd")
        self.assertIn("csrctl setup", self.install(box, self.deb).stdout)
        self.follow(box, self.setup_csrd(box, "--softhsm", "--yes", check=False))
        self.setup_csrd(box, "--softhsm", "--yes")
        self.assert_serves(box, [])

        box.run("dpkg", "-P", "csrd")
        self.install(box, self.deb)
        box.run("rm", "-r", "/var/lib/csrd-hsm/softhsm")
        done = self.setup_csrd(box, "--softhsm", "--yes", check=False)
        self.assertEqual(done.returncode, 67, done.stderr)
        self.assertNotIn("drop-ins", done.stderr)
        self.follow(box, done)
        self.setup_csrd(box, "--softhsm", "--yes")
        self.assert_serves(box, [])

    @staticmethod
    def follow(box, done):
        """The command that it ends with."""
        box.run("sh", "-c", re.search(r"(env SOFTHSM2_CONF=|rm -).*$", done.stderr)[0])

    def test_F300_a_second_trial_token(self):
        """It is not taken for the first one, and what setup says about one without a PIN leaves the others alone."""
        box = self.machine()
        self.install(box, self.deb)
        self.setup_csrd(box, "--softhsm", "--yes")
        had = []
        self.assert_serves(box, had)
        document = self.setup_csrd(box, "--softhsm", "--token", "second", "--yes")
        self.assertEqual((document["uri"], document["new_keys_on"]), ("pkcs11:token=second", "default"))
        self.assertNotEqual(box.path(PIN).read_text(), box.path("/etc/csrd/credentials/second.pin").read_text())
        self.setup_csrd(box, "--softhsm", "--token", "second", "--yes")

        box.path("/etc/csrd/credentials/second.pin").unlink()
        done = self.setup_csrd(box, "--softhsm", "--token", "second", "--yes", check=False)
        self.assertIn("a trial token 'second'", done.stderr)
        self.follow(box, done)
        box.run("systemctl", "restart", "csrd", sdbox.SIGNER)
        self.assert_serves(box, had)
        self.setup_csrd(box, "--softhsm", "--token", "second", "--yes")
        self.assertEqual(box.run("csrctl", "doctor", check=False).returncode, 0)

    def test_F199_an_upgrade_from_a_conffile(self):
        """0.1 shipped the configuration as a conffile that setup edited: it stays as it is, and nobody is asked."""
        box = self.machine()
        old = with_conffile(self.deb, self.folder)
        self.install(box, old)
        edited = box.path(CONFFILE).read_text() + "# mine\n"
        box.path(CONFFILE).write_text(edited)
        version = harness.run(["dpkg-deb", "-f", self.deb, "Version"]).stdout.strip()
        for number in range(2):
            self.install(box, with_version(self.deb, "%s+%d" % (version, number), self.folder))
            self.assertEqual(box.path(CONFFILE).read_text(), edited)
        box.run("dpkg", "-P", "csrd")
        self.assertFalse(box.path("/etc/csrd").exists())

    def check_questions(self, box):
        """On a terminal it asks for what is missing, and what it prints works as it is."""
        command = ("csrctl", "setup", "--token", "hsm1", "--account", "payments", "--no-inspect")
        said, shown = self.converse(box, command, [("User PIN", sdbox.PIN), ("again", sdbox.PIN), ("Encrypt", "y"),
                                                   ("Go on", "y")])
        self.assertNotIn(sdbox.PIN, said + shown)
        line = said[said.index("  CSRD_TOKEN="):]
        self.assertIn("BEGIN CERTIFICATE REQUEST", box.run("sh", "-c", line).stdout)
        box.account = "payments"
        box.token = re.search(r"CSRD_TOKEN=(\S+)", line).group(1)

    def converse(self, box, command, dialogue):
        """Runs it on a terminal and gives each answer when its question has come.  Standard output; the terminal."""
        master, slave = pty.openpty()
        process = subprocess.Popen([sdbox.TOOL, "exec", box.folder, *command], stdin=slave, stderr=slave,
                                   stdout=subprocess.PIPE, text=True)
        os.close(slave)
        shown = ""
        with process, os.fdopen(master, "r+b", buffering=0) as terminal:
            for question, answer in dialogue:
                begin = len(shown)
                while question not in shown[begin:]:
                    self.assertTrue(select.select([terminal], [], [], harness.PATIENCE)[0], shown)
                    shown += terminal.read(4096).decode()
                terminal.write(answer.encode() + b"\n")
            said = process.communicate(timeout=harness.PATIENCE * 3)[0]
            with contextlib.suppress(OSError):  # EIO: its end
                shown += terminal.read(65536).decode()
        self.assertEqual(process.returncode, 0, shown + said)
        return said, shown

    def check_wrong_pin(self, box, token):
        """Tried once; setup says how to go on, and goes on."""
        done = self.setup_csrd(box, *token, "--uri", "pkcs11:token=vendor", "--listen", "127.0.0.1:8081",
                               text="wrong-pin\n", check=False)
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("refused the PIN", done.stderr)
        self.assertNotIn("wrong-pin", done.stdout + done.stderr)
        box.path("/etc/csrd/credentials/hsm1.pin").unlink()


if __name__ == "__main__":
    unittest.main()
