"""The manual pages: they render without a warning, and what they say of options, keys and exit codes is what the
programs say of themselves."""
# run: seconds=5
import json
import pathlib
import re
import subprocess
import unittest

import harness

ROOT = harness.ROOT
PAGES = harness.BIN.parent / "man"
NAMES = ("csrctl.1", "csrd.conf.5", "csrd.8", "csrd-hsm.8")
PROGRAM_PAGES = ("csrctl.1", "csrd.8", "csrd-hsm.8")

# What groff makes of dashes and quotes in a UTF-8 locale, and what we look for.
ASCII = str.maketrans({"‐": "-", "−": "-", "‘": "'", "’": "'"})


def render(name, width=80):
    """The page as a reader sees it, and what man complained about."""
    environment = harness.clean_environment(LC_ALL="C.UTF-8", MANWIDTH=str(width), MANPAGER="cat")
    done = harness.run(["man", "-l", "--warnings=w", PAGES / name], env=environment)
    return done.stdout.translate(ASCII), done.stderr


def one_line(text):
    """Without line breaks: in the width that nothing is broken at."""
    return re.sub(r"\s+", " ", text)


def say(*command):
    return subprocess.run([harness.BIN / command[0], *command[1:]], capture_output=True, text=True,
                          timeout=harness.PATIENCE, check=False, env=harness.clean_environment())


def exit_codes():
    text = (ROOT / "base" / "exit_code.h").read_text(encoding="utf-8")
    return {int(number) for number in re.findall(r"EXIT_CODE_\w+ = (\d+),", text)}


class PagesTest(unittest.TestCase):
    maxDiff = None

    def test_they_render_without_a_warning(self):
        for name in NAMES:
            for width in (80, 132):
                with self.subTest(page=name, width=width):
                    text, complaints = render(name, width)
                    self.assertEqual(complaints, "")
                    self.assertIn("NAME", text)
                    self.assertIsNone(re.search(r"@[A-Z_]+@", text), "something was not filled in")
                    self.assertFalse(re.search(r"\\\w", text), "markup is left in the text")

    def test_every_option_of_the_programs(self):
        for program in ("csrd", "csrd-hsm"):
            usage = say(program, "-h").stdout
            page, _ = render(program + ".8")
            options = set(re.findall(r"(?<![\w-])-\w\b", usage))
            self.assertGreaterEqual(options, {"-c", "-t", "-V", "-h"})
            for option in options:
                self.assertRegex(page, r"(?m)^ +%s\b" % option, "%s %s" % (program, option))

    def test_every_command_and_option_of_csrctl(self):
        page = one_line(render("csrctl.1", 1000)[0])
        groups = re.findall(r"(?m)^  ([a-z]+(?:, [a-z]+)*)(?: |$)", say("csrctl", "--help").stdout)
        groups = {group for names in groups for group in names.split(", ")}
        self.assertGreaterEqual(groups, {"account", "csr", "reconcile", "status"})
        for group in sorted(groups):
            text = say("csrctl", group, "--help").stdout
            commands = re.findall(r"csrctl ((?:[a-z]+)(?: [a-z|]+\b(?!\|?[A-Z]))?)", text.split("\n\n")[0])
            self.assertTrue(commands, text)
            for command in commands:
                self.assertIn("csrctl " + command, page)
            for option in sorted(set(re.findall(r"--[a-z][a-z-]*", text))):
                with self.subTest(command=group, option=option):
                    self.assertRegex(page, re.escape(option) + r"(?![a-z-])")

    def test_exit_codes(self):
        codes = exit_codes()
        self.assertGreater(len(codes), 10)
        for name in PROGRAM_PAGES:
            section = re.split(r"(?m)^[A-Z]", re.split(r"(?m)^EXIT STATUS$", render(name)[0])[1])[0]
            self.assertEqual({int(number) for number in re.findall(r"(?m)^ +(\d+)$", section)}, codes, name)
        operations = (ROOT / "doc" / "operations.md").read_text(encoding="utf-8")
        self.assertEqual({int(number) for number in re.findall(r"(?m)^\| (\d+) \|", operations)}, codes)


class ConfigPageTest(harness.Case):
    """csrd.conf(5) has the comments of config/csrd.conf; both are held against what the programs do."""
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.config = pathlib.Path(self.folder) / "csrd.conf"
        self.sample = (ROOT / "config" / "csrd.conf").read_text(encoding="utf-8")

    def in_force(self, values=()):
        """{(section, key): value} of a file that sets those, and what must be set."""
        lines, section = [], None
        for at, key, value in sorted((*values, ("token", "module", "/m.so"), ("token", "uri", "pkcs11:token=t"))):
            if at != section:
                lines.append("[token default]" if at == "token" else "[%s]" % at)
                section = at
            lines.append("%s = %s" % (key, value))
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = say("csrctl", "-c", str(self.config), "--json", "config", "show")
        self.assertEqual(done.returncode, 0, done.stderr)
        return {(item["section"], item["key"]): item["value"] for item in json.loads(done.stdout)["values"]}

    def documented(self):
        """{(section, key): (value, is it an example, comment)} of config/csrd.conf."""
        section, comment, keys, found = None, "", [], {}
        for line in self.sample.splitlines() + [""]:
            key = re.match(r"#?([a-z0-9_]+) = (.*)", line)
            if key:
                keys.append((section, key.group(1), key.group(2), not line.startswith("#")))
                continue
            for at, name, value, required in keys:
                found[at, name] = (value, required or "Default:" in comment, comment)
            if keys or not line:
                keys, comment = [], ""
            if line.startswith("["):
                section = line.strip("[]").split()[0]
            elif line.startswith("# "):
                comment += line[2:] + " "
        return found

    def test_every_key_and_its_default(self):
        in_force, documented = self.in_force(), self.documented()
        self.assertGreater(len(in_force), 30)
        self.assertEqual(set(documented), set(in_force))
        page = one_line(render("csrd.conf.5", 1000)[0])
        for (_, key), (value, _, _) in documented.items():
            self.assertIn("%s = %s (" % (key, value), page)
        # What is said to be a default changes nothing when it is given.
        defaults = [(*key, value) for key, (value, is_example, _) in documented.items() if not is_example]
        self.assertGreater(len(defaults), 30)
        self.assertEqual(self.in_force(defaults), in_force)

    def test_every_range(self):
        """Each key is given a value that none takes; the error names the range."""
        lines, section = [], None
        for (at, key), _ in self.documented().items():
            if at != section:
                lines.append("[token default]" if at == "token" else "[%s]" % at)
                section = at
            lines.append("%s = !" % key)
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        errors = say("csrd", "-c", str(self.config), "-t").stderr
        self.assertNotIn("unknown", errors)
        ranges = re.findall(r"\[(\w+)[^]]*\] ([a-z0-9_]+): .*(?:number|time) from (\w+) to (\w+)", errors)
        self.assertGreater(len(ranges), 20, errors)
        for section, key, low, high in ranges:
            with self.subTest(section=section, key=key):
                self.assertRegex(self.documented()[section, key][2], r"\b%s to %s\b" % (low, high))


if __name__ == "__main__":
    unittest.main()
