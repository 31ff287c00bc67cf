"""What the release programs are linked with and how they are hardened (the wall between csrd and csrd-hsm)."""
# run: seconds=1
import re
import subprocess
import unittest

import harness

RELEASE = harness.ROOT / "build" / "release" / "bin"
PROGRAMS = ("csrd", "csrd-hsm", "csrctl")
# Nobody but libc and what these bring along.  Both services speak to systemd through libsystemd, whose journal part is
# linked with compression and libgcrypt in Debian 12; neither program calls into them.  Worth it: the words of
# sd_notify(3) and journald's protocol are systemd's to change.
NEEDED = {
    "csrd": {"libcrypto", "libssl", "libevent_core", "libevent_openssl", "libidn2", "libinih", "libjson-c", "libpsl", "libsqlite3",
             "libsystemd", "libuuid"},
    "csrctl": {"libcrypto", "libevent_core", "libidn2", "libinih", "libjson-c", "libpsl", "libsqlite3", "libuuid"},
    "csrd-hsm": {"libcrypto", "libinih", "libp11", "libp11-kit", "libsystemd"},
}
FORBIDDEN = {
    "csrd": ("p11", "softhsm"),
    "csrctl": ("p11", "softhsm", "systemd"),
    "csrd-hsm": ("event", "idn2", "json-c", "sqlite", "psl", "pq", "unistring"),
}


def readelf(option, program):
    return harness.run(["readelf", "-W", option, RELEASE / program]).stdout


class LinkageTest(harness.Case):
    @classmethod
    def setUpClass(cls):
        # `make test` has built it; this is for a run of this file alone.
        subprocess.run(["make", "-s", "all"], cwd=harness.ROOT, env=harness.clean_environment(), check=True,
                       stdin=subprocess.DEVNULL)

    def test_libraries(self):
        for program in PROGRAMS:
            with self.subTest(program):
                needed = set(re.findall(r"\(NEEDED\).*\[(.+?)(?:-[\d.]+)?\.so", readelf("-d", program)))
                self.assertLessEqual(needed - {"libc", "ld-linux-x86", "ld-linux-x86-64"}, NEEDED[program])
                listed = harness.run(["ldd", RELEASE / program]).stdout
                self.assertIn("libcrypto", listed)
                self.assertNotIn("not found", listed)
                for word in FORBIDDEN[program]:
                    self.assertNotRegex(listed, r"lib%s[-.\d_]" % word if word != "event" else r"libevent")

    def test_hardening(self):
        for program in PROGRAMS:
            with self.subTest(program):
                self.assertRegex(readelf("-h", program), r"Type: +DYN")
                dynamic = readelf("-d", program)
                self.assertRegex(dynamic, r"FLAGS_1\).*\bNOW\b.*\bPIE\b")
                self.assertRegex(dynamic, r"\(FLAGS\).*BIND_NOW")
                self.assertNotRegex(dynamic, r"TEXTREL|RPATH|RUNPATH")
                segments = readelf("-l", program)
                self.assertIn("GNU_RELRO", segments)
                self.assertRegex(segments, r"GNU_STACK.*RW  ")
                self.assertNotRegex(segments, r"LOAD.* RWE ")
                symbols = readelf("--dyn-syms", program)
                self.assertIn("__stack_chk_fail", symbols)
                self.assertRegex(symbols, r"__\w+_chk@", "FORTIFY_SOURCE")

    def failpoint_names(self):
        names = set()
        for path in harness.ROOT.glob("*/**/*.c"):
            if path.parts[len(harness.ROOT.parts)] not in ("build", "tests"):
                names |= set(re.findall(r'FAILPOINT\("([^"]+)"\)', path.read_text(encoding="utf-8")))
        return names

    def test_no_failpoints_in_a_release(self):
        names = self.failpoint_names()
        self.assertGreater(len(names), 10)
        seen = set()
        for program in PROGRAMS:
            symbols = harness.run(["nm", RELEASE / program]).stdout
            self.assertNotIn("failpoint_hit", symbols)
            data = (RELEASE / program).read_bytes()
            self.assertFalse(b"CSRD_FAILPOINT_FILE" in data, program)
            test_data = (harness.BIN / program).read_bytes()
            self.assertTrue(b"CSRD_FAILPOINT_FILE" in test_data, "the control: the test build has them")
            for name in names:
                self.assertFalse(name.encode() in data, (program, name))
                if name.encode() in test_data:
                    seen.add(name)
        self.assertEqual(seen, names)


if __name__ == "__main__":
    unittest.main()
