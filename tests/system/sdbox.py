"""A whole csrd under a real systemd, for the systemd_*_test.py: a box (tests/sdbox) with the built programs, the units,
users and folders where the package puts them, and a SoftHSM token behind tests/p11shim.

    class SomeTest(sdbox.Case):
        def test_it(self):
            box = self.box()                 # booted and configured, nothing started
            box.start("csrd")                # returns when systemd says so
            answer = box.create()

The box is a child of the test and dies with it, however that ends.  Its journal goes to $CSRD_TEST_LOGS/<test>/journal.
Host and box share user numbers and the file system: `box.root` is the box's root directory.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import faults
import harness

TOOL = harness.ROOT / "tests" / "sdbox"
UNITS = harness.ROOT / "systemd"
PORT = 8080
PIN = "3Nix-geheim-7"  # not a part of any other text
CLONE_NEWNET = 0x40000000

SIGNER = "csrd-hsm@default.service"
SIGNER_SOCKET = "csrd-hsm@default.socket"
SIGNER_FAILED = "csrd-hsm-failed@default.target"

CONFIG = {
    "log": {"level": "debug"},
    "policy": {"reconcile_interval": "1s"},
    "token default": {"module": "/usr/lib/libcsrd-p11shim.so", "uri": "pkcs11:token=csrd", "threads": 2},
}

libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """Why no box can be booted here; None when one can."""
    if os.geteuid() != 0:
        return "a box takes root"
    for path in ("/lib/systemd/systemd", "/usr/sbin/ip", "/usr/bin/nsenter"):
        if not os.path.exists(path):
            return "'%s' is missing" % path
    script = "mount -t tmpfs tmpfs /run && cd /run && mkdir u w m && " \
             "mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w m"
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--uts", "--ipc",
                           "--net", "--cgroup", "sh", "-c", script], capture_output=True, text=True, check=False)
    return "no namespaces or overlays: %s" % done.stderr.strip() if done.returncode else None


def systemd_version():
    """Of this machine and so of its boxes; 0: none."""
    if not os.path.exists("/lib/systemd/systemd"):
        return 0
    return int(re.match(r"systemd (\d+)", harness.run(["/lib/systemd/systemd", "--version"]).stdout)[1])


def set_namespace(fd):
    """The network namespace of this thread."""
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Box:
    """Booted by Case.box."""

    def __init__(self, folder, logs):
        self.folder = pathlib.Path(folder)
        self.logs = logs
        self.address = ("127.0.0.1", PORT)
        self.account = harness.ACCOUNT
        self.token = None
        self.shim = None
        self.log_file = open(logs / "box.log", "wb")
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", TOOL, "run", self.folder],
                                        stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=subprocess.STDOUT)
        harness.run([TOOL, "wait", self.folder])
        self.root = pathlib.Path("/proc/%s/root" % (self.folder / "init.pid").read_text().strip())

    def close(self):
        with contextlib.suppress(Exception):  # a box that is gone has no journal
            text = self.run("journalctl", "--no-pager", "-o", "short-precise", check=False).stdout
            (self.logs / "journal").write_text(text)
        harness.run([TOOL, "kill", self.folder])
        self.process.wait()
        self.log_file.close()

    # -- in the box

    def run(self, *command, check=True, timeout=harness.PATIENCE * 3, **kwargs):
        """A command in it, as root."""
        return harness.run([TOOL, "exec", self.folder, *command], check=check, timeout=timeout, **kwargs)

    def begin(self, *command):
        """A command that the test does not wait for."""
        return subprocess.Popen([TOOL, "exec", self.folder, *command], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def path(self, path):
        """A file of the box as the test sees it."""
        return self.root / str(path).lstrip("/")

    def write(self, path, text, mode=0o644, owner=None):
        there = self.path(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(mode)
        if owner:
            os.chown(there, *self.ids(owner))

    def ids(self, user):
        """uid, gid"""
        for line in self.path("/etc/passwd").read_text().splitlines():
            fields = line.split(":")
            if fields[0] == user:
                return int(fields[2]), int(fields[3])
        raise KeyError(user)

    @contextlib.contextmanager
    def network(self):
        """This thread speaks to the box's loopback."""
        with open("/proc/thread-self/ns/net", "rb") as ours, open(self.root.parent / "ns" / "net", "rb") as boxed:
            set_namespace(boxed.fileno())
            try:
                yield
            finally:
                set_namespace(ours.fileno())

    # -- units

    def systemctl(self, *arguments, check=True, timeout=harness.PATIENCE * 3):
        return self.run("systemctl", *arguments, check=check, timeout=timeout)

    def start(self, *units):
        self.systemctl("start", *units)

    def show(self, unit, name):
        return self.systemctl("show", "-P", name, unit).stdout.strip()

    def pid(self, unit):
        """The main process, as the box numbers it; 0: none."""
        return int(self.show(unit, "MainPID"))

    def host_pid(self, unit):
        """The same as the test numbers it."""
        wanted = str(self.pid(unit))
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                numbers = [line.split() for line in status.read_text().splitlines() if line.startswith("NSpid:")][0]
                if len(numbers) == 3 and numbers[2] == wanted and self.is_inside(status.parent):
                    return int(numbers[1])
        raise AssertionError("no process for '%s'" % unit)

    def is_inside(self, proc):
        return os.readlink(proc / "ns" / "pid") == os.readlink(self.root.parent / "ns" / "pid")

    def is_active(self, unit):
        return self.show(unit, "ActiveState") == "active"

    def wait_show(self, unit, name, value, seconds=harness.PATIENCE):
        """Until the property has that value."""
        try:
            harness.wait_for("%s=%s of %s" % (name, value, unit), lambda: self.show(unit, name) == value, seconds, 0.05)
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, self.status(unit))) from None

    def wait_status(self, unit, text, seconds=harness.PATIENCE):
        """Until its STATUS= has that in it; the whole."""
        def look():
            status = self.show(unit, "StatusText")
            return status if text in status else None
        try:
            return harness.wait_for("status '%s' of %s" % (text, unit), look, seconds, 0.05)
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, self.status(unit))) from None

    def status(self, *units):
        return self.systemctl("status", "--no-pager", "-n", "30", *units, check=False).stdout

    def drop_in(self, unit, text, name="test"):
        """unit: with its suffix; the text goes below [Service] unless it names a section."""
        if not text.startswith("["):
            text = "[Service]\n" + text
        self.write("/etc/systemd/system/%s.d/%s.conf" % (unit, name), text + "\n")
        self.systemctl("daemon-reload")

    def journal(self, *arguments):
        """Entries as dictionaries."""
        lines = self.run("journalctl", "--no-pager", "-o", "json", *arguments).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def messages(self, unit):
        """What a unit logged; what systemd logged of it, too."""
        return "\n".join(str(entry.get("MESSAGE", "")) for entry in self.journal("-u", unit))

    def wait_message(self, unit, text, seconds=harness.PATIENCE):
        try:
            harness.wait_for("'%s' in the journal of %s" % (text, unit), lambda: text in self.messages(unit), seconds, 0.1)
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, self.status(unit))) from None

    # -- csrd

    def install(self):
        """As the package does it: programs, units, users, folders."""
        self.forget_installed()
        for name, folder in (("csrd", "/usr/sbin"), ("csrd-hsm", "/usr/sbin"), ("csrctl", "/usr/bin")):
            shutil.copy(harness.BIN / name, self.path(folder) / name)
        shutil.copy(faults.SHIM, self.path("/usr/lib/libcsrd-p11shim.so"))
        harness.run(["make", "-s", "install-units", "DESTDIR=%s" % self.root, "PREFIX=/usr"], cwd=harness.ROOT,
                    env=harness.clean_environment())
        self.run("systemd-sysusers", "csrd.conf")
        self.run("systemd-tmpfiles", "--create", "csrd.conf")
        self.systemctl("daemon-reload")

    def forget_installed(self):
        """The machine under the box may have a csrd of its own."""
        for path in ("/etc/csrd", "/var/lib/csrd", "/var/lib/csrd-hsm"):
            shutil.rmtree(self.path(path), ignore_errors=True)
        for pattern in ("csrd*.d", "csrd*"):
            for path in self.path("/etc/systemd/system").glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def configure(self, token=True, settings=None):
        """Shim, token, PIN, configuration, account and API token; without `token` the HSM is empty."""
        uid, gid = self.ids("csrd-hsm")
        state = self.path("/var/lib/csrd-hsm")
        for name in ("softhsm", "shim-state"):
            (state / name).mkdir(mode=0o700)
            os.chown(state / name, uid, gid)
        self.write("/etc/csrd/softhsm2.conf", "directories.tokendir = /var/lib/csrd-hsm/softhsm\n"
                                              "objectstore.backend = file\nlog.level = ERROR\n")
        self.shim = faults.Shim(state, harness.softhsm_module())
        os.chown(self.shim.folder, uid, gid)
        environment = {**self.shim.environment, "SOFTHSM2_CONF": "/etc/csrd/softhsm2.conf"}
        lines = ["Environment=%s=%s" % (key, value.replace(str(self.root), "")) for key, value in environment.items()]
        self.drop_in(SIGNER, "\n".join([*lines, "ReadWritePaths=/var/lib/csrd-hsm"]), "softhsm")
        self.write("/etc/csrd/credentials/default.pin", PIN + "\n", 0o600)
        self.write_config(settings)
        if token:
            self.make_token()
        self.csrctl("account", "add", self.account, "--name", "test account")
        self.token = self.csrctl("token", "create", "--name", "test", "--account", self.account + ":write")["token"]

    def write_config(self, settings=None, extra=""):
        """settings: section → key → value, over CONFIG; a value of None leaves the key out."""
        sections = {name: dict(values) for name, values in CONFIG.items()}
        for name, values in (settings or {}).items():
            sections.setdefault(name, {}).update(values)
        lines = []
        for name, values in sections.items():
            lines.append("[%s]" % name)
            lines += ["%s = %s" % item for item in values.items() if item[1] is not None]
        self.write("/etc/csrd/csrd.conf", "\n".join(lines) + "\n" + extra)

    def make_token(self, label="csrd", pin=PIN):
        self.as_signer("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", pin)

    def as_signer(self, *command):
        return self.run("setpriv", "--reuid", "csrd-hsm", "--regid", "csrd-hsm", "--clear-groups", "env",
                        "SOFTHSM2_CONF=/etc/csrd/softhsm2.conf", *command)

    def csrctl(self, *arguments, check=True):
        done = self.run("csrctl", "-c", "/etc/csrd/csrd.conf", "--json", *map(str, arguments), check=check)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def rows(self, *states):
        """id → state"""
        listed = self.csrctl("csr", "list", "--limit", 100000)["csrs"]
        return {row["id"]: row["state"] for row in listed if not states or row["state"] in states}

    def request(self, method, path, body=None, headers=None, timeout=harness.PATIENCE):
        with self.network():
            return harness.http_request(self.address, method, path, body, headers, timeout)

    def api(self, method, path="", body=None, timeout=harness.PATIENCE * 2):
        return self.request(method, "/client/v4/accounts/%s/custom_csrs%s" % (self.account, path), body,
                            {"Authorization": "Bearer " + self.token}, timeout)

    def create(self, **fields):
        return self.api("POST", "", {**harness.SUBJECT, "key_type": "p256v1", **fields})

    def create_soon(self, seconds=harness.PATIENCE):
        """Tries until it works."""
        def look():
            with contextlib.suppress(OSError, harness.GoneAway):
                answer = self.create()
                return answer if answer.status == 201 else None
        return harness.wait_for("a create that works", look, seconds, 0.05)

    def readyz(self):
        """The status; 0: nobody there."""
        try:
            return self.request("GET", "/readyz", timeout=5).status
        except (OSError, harness.GoneAway):
            return 0


WHY_NOT = why_not()


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Case(unittest.TestCase):
    """A sanitizer and a unit's sandbox end each other, so of a sanitized variant there are no such tests.  A file that
    has no others says so itself: "# run: variants=release" (tests/run.py)."""

    maxDiff = 4000

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if harness.SANITIZE:
            for name in [name for name in vars(cls) if name.startswith("test")]:
                delattr(cls, name)

    def box(self, install=True, configure=True, **options):
        """options: as Box.configure.  install=False: just the machine, without any csrd."""
        logs = pathlib.Path(os.environ.get("CSRD_TEST_LOGS", harness.ROOT / "build" / "test-logs"))
        logs = logs / self.id().split(".", 1)[-1]
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        folder = tempfile.mkdtemp(prefix="csrd-box-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        box = Box(folder, logs)
        self.addCleanup(box.close)
        if not install:
            box.forget_installed()
            return box
        box.install()
        if configure:
            box.configure(**options)
        return box

    def begin(self, box, *command):
        process = box.begin(*command)

        def end():
            process.kill()
            process.wait()
            process.stdout.close()  # what it started in the box may still hold the other end
        self.addCleanup(end)
        return process


def holds_for(seconds, condition):
    """Whether it stays true for that long: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            return False
        time.sleep(0.05)
    return True
