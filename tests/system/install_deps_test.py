"""tools/install-deps.sh asks for what is missing, on a machine that has nothing and on one whose packages have other
names."""
# run: seconds=1
import re
import subprocess
import unittest

import harness

SCRIPT = harness.ROOT / "tools" / "install-deps.sh"
# What provides the names in debian/control that are no package's.
PROVIDERS = {"debhelper-compat": "debhelper", "dh-sequence-installsysusers": "debhelper"}


def build_depends():
    text = (harness.ROOT / "debian" / "control").read_text(encoding="utf-8")
    names = re.search(r"^Build-Depends:((?:\n .*)+)", text, re.M)[1]
    names = [re.match(r"[a-z0-9.+-]+", line.strip())[0] for line in names.splitlines() if line.strip()]
    return {PROVIDERS.get(name, name) for name in names}


class InstallDepsTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.asked = self.folder / "asked"
        self.command("id", "echo 0")
        self.command("systemctl", "exit 0")
        self.command("apt-get", "echo \"$@\" >>'%s'" % self.asked)

    def command(self, name, text):
        path = self.bin / name
        path.write_text("#!/bin/sh\n%s\n" % text)
        path.chmod(0o755)

    def install(self, what, installed):
        """The packages that apt-get is asked for; installed: a pattern of the names that dpkg knows."""
        self.command("dpkg-query", "case \"$4\" in %s) echo installed ;; *) exit 1 ;; esac" % installed)
        environment = harness.clean_environment(PATH="%s:/usr/sbin:/usr/bin:/sbin:/bin" % self.bin)
        self.asked.write_text("")
        done = subprocess.run(["sh", SCRIPT, what], env=environment, cwd=self.folder, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = [line.split() for line in self.asked.read_text().splitlines() if " install " in line]
        return {word for line in lines for word in line[line.index("install") + 1:] if not word.startswith("-")}

    def test_f192_make_deb_where_nothing_is_installed(self):
        """dpkg-buildpackage wants build-essential, too, whatever debian/control says."""
        wanted = build_depends() | {"build-essential", "dpkg-dev"}
        for what in ("deb", "test"):
            asked = self.install(what, "''")
            self.assertLessEqual(wanted, asked, what)
        self.assertIn("scdoc", wanted, "the list was read")

    def test_what_brings_the_sdk(self):
        """For its tests and for the walk of the bench, unless there is a Node.js that is new enough."""
        for what in ("test", "bench"):
            self.command("node", "echo v16.20.0")
            self.assertIn("nodejs", self.install(what, "''"), what)
            self.command("node", "echo v18.0.0")
            self.assertNotIn("nodejs", self.install(what, "''"), what)

    def test_f194_names_of_debian_13(self):
        self.assertEqual(self.install("deb", "*t64"), set(), "a name with t64 is the same package")
        self.assertNotEqual(self.install("deb", "*t65"), set())


if __name__ == "__main__":
    unittest.main()
