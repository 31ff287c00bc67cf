"""The units as files: they load without a word (F193), their sandboxes are as tight as they say, and the examples
fit."""
# run: waits seconds=16 variants=release
import os
import re
import unittest

import harness
import sdbox

EXAMPLES = sdbox.UNITS / "examples"
UNITS = ("csrd.service", "csrd.socket", "csrd-port.service", sdbox.SIGNER, sdbox.SIGNER_SOCKET, sdbox.SIGNER_FAILED)

# Overall exposure of "systemd-analyze security", 0 to 10, at most.
EXPOSURE = {"csrd.service": 1.1, sdbox.SIGNER: 0.5}


def exposure(box, unit, *arguments):
    text = box.run("systemd-analyze", "security", "--no-pager", *arguments, unit).stdout
    return float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)[1])


def verify(box, *units):
    """What there is to say against them."""
    done = box.run("systemd-analyze", "verify", "--man=no", *units, check=False)
    return done.stdout + done.stderr + ("exit status %d" % done.returncode if done.returncode else "")


class FilesTest(sdbox.Case):
    def test_units_load_without_a_word(self):
        box = self.box(configure=False)
        self.assertEqual(verify(box, *UNITS), "")
        box.drop_in("csrd.service", "NoSuchSetting=1")
        self.assertIn("NoSuchSetting", verify(box, "csrd.service"), "verify finds mistakes")

    def test_examples_load_without_a_word(self):
        box = self.box(configure=False)
        examples = sorted(EXAMPLES.glob("*.conf"))
        self.assertTrue(examples)
        for example in examples:
            with self.subTest(example.name):
                text = example.read_text()
                unit = re.search(r"^# /etc/systemd/system/(\S+)\.d/", text, re.M)[1].replace("@NAME.", "@default.")
                self.assertIn(unit, UNITS)
                box.drop_in(unit, text, "example")
                self.assertEqual(verify(box, unit), "")
                self.assertIn("example.conf", box.show(unit, "DropInPaths"))
                box.path("/etc/systemd/system/%s.d/example.conf" % unit).unlink()

    def test_exposure_of_the_files(self):
        box = self.box(configure=False)
        for unit, most in EXPOSURE.items():
            path = "/usr/lib/systemd/system/" + unit.replace("@default", "@")
            self.assertLessEqual(exposure(box, path, "--offline=true"), most, unit)
        # and the number moves when a wall is taken down
        box.drop_in("csrd.service", "NoNewPrivileges=no\nProtectSystem=no\nSystemCallFilter=")
        self.assertGreater(exposure(box, "csrd.service"), EXPOSURE["csrd.service"])

    def test_f131_csrd_socket_has_the_default_addresses(self):
        default = re.search(r"^#listen = (.*)$", (harness.ROOT / "config" / "csrd.conf").read_text(), re.M)[1]
        unit = (sdbox.UNITS / "csrd.socket").read_text()
        self.assertEqual(re.findall(r"^ListenStream=(.*)$", unit, re.M), default.split(", "))

    def test_users_and_folders(self):
        box = self.box(configure=False)
        csrd, signer = box.ids("csrd"), box.ids("csrd-hsm")
        self.assertEqual(len({0, csrd[0], signer[0]}), 3)
        for user in ("csrd", "csrd-hsm"):
            self.assertEqual(box.run("id", "-Gn", user).stdout.strip(), user, "no other group")
            self.assertIn("/usr/sbin/nologin", box.run("getent", "passwd", user).stdout)
        for path, owner, mode in (("/etc/csrd", (0, 0), 0o755), ("/etc/csrd/credentials", (0, 0), 0o700),
                                  ("/var/lib/csrd", csrd, 0o700), ("/var/lib/csrd-hsm", (0, 0), 0o755),
                                  ("/run/csrd-hsm", (0, 0), 0o755)):
            found = box.path(path).stat()
            self.assertEqual(((found.st_uid, found.st_gid), found.st_mode & 0o7777), (owner, mode), path)


class SandboxTest(sdbox.Case):
    """The walls as the running processes have them."""

    def test_sandboxes(self):
        box = self.box()
        box.start("csrd")
        self.assertEqual(box.create(key_type="rsa2048").status, 201, "it works inside of them")
        for unit, most in EXPOSURE.items():
            self.assertLessEqual(exposure(box, unit), most, unit)
            with self.subTest(unit):
                self.check_process(box, unit)
        signer = "/proc/%d" % box.host_pid(sdbox.SIGNER)
        self.assertNotEqual(os.readlink(signer + "/ns/net"), os.readlink(str(box.root.parent) + "/ns/net"))
        socket = box.path("/run/csrd-hsm/default.sock").stat()
        self.assertEqual((socket.st_uid, socket.st_gid, socket.st_mode & 0o7777),
                         (box.ids("csrd-hsm")[0], box.ids("csrd")[1], 0o660))
        state = box.path("/var/lib/csrd-hsm/default").stat()
        self.assertEqual((state.st_uid, state.st_mode & 0o7777), (box.ids("csrd-hsm")[0], 0o700))

    def check_process(self, box, unit):
        pid = box.host_pid(unit)
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            status = dict(line.strip().split(":", 1) for line in file)
        status = {name: value.strip() for name, value in status.items()}
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual({int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}, {0})
        self.assertNotIn("0", status["Uid"].split())
        self.assertEqual((box.show(unit, "LimitCORE"), box.show(unit, "WatchdogUSec")), ("0", "30s"))

    def test_neither_starts_another_program(self):
        box = self.box()
        for unit in ("csrd.service", sdbox.SIGNER):
            box.drop_in(unit, "Type=exec\nExecStartPre=\nRestart=no\nExecStart=\nExecStart=/bin/true\nOnFailure=")
            self.assertNotEqual(box.systemctl("start", unit, check=False).returncode, 0)
            self.assertEqual(box.show(unit, "ExecMainStatus"), "203", "EXEC: permission denied")
            box.drop_in(unit, "NoExecPaths=", "zz-test")
            box.systemctl("reset-failed", unit)
            self.assertEqual(box.systemctl("start", unit, check=False).returncode, 0, "it was that wall")

    def test_signers_work_with_the_examples(self):
        """As far as they need no device or group that is not here."""
        box = self.box()
        box.start("csrd")
        for name in ("hsm-network", "hsm-pcie", "hsm-usb", "hsm-softhsm"):
            with self.subTest(name):
                box.drop_in(sdbox.SIGNER, (EXAMPLES / (name + ".conf")).read_text(), "example")
                box.systemctl("restart", sdbox.SIGNER)
                self.assertEqual(box.create_soon().status, 201)
                signer = "/proc/%d/ns/net" % box.host_pid(sdbox.SIGNER)
                networked = os.readlink(signer) == os.readlink(str(box.root.parent) + "/ns/net")
                self.assertEqual(networked, name == "hsm-network", "a network for those that ask for one")

    def test_csrd_is_for_this_machine_alone(self):
        """IPAddressDeny=, and the example that lifts it."""
        box = self.box(settings={"http": {"listen": "0.0.0.0:8080", "allow_plain_http": "yes"}})
        box.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
        box.start("csrd")
        self.assertEqual(box.readyz(), 200)

        def from_outside():
            done = box.run("curl", "-s", "-m", "1", "-o", "/dev/null", "-w", "%{http_code}", "--interface", "192.0.2.1",
                           "http://192.0.2.1:8080/readyz", check=False)
            return done.stdout
        self.assertEqual(from_outside(), "000")
        text = (EXAMPLES / "csrd-public-address.conf").read_text()
        self.assertIn("IPAddressAllow=192.0.2.0/24", text)
        box.drop_in("csrd.service", text)
        box.systemctl("restart", "csrd")
        self.assertEqual(from_outside(), "200")


if __name__ == "__main__":
    unittest.main()
