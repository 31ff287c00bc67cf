# run: seconds=1
"""F260: what the programs tell people to run is there: each "csrctl …" in a message is a command with options that it has,
each one in quotes is whole and runs as it stands, and each unit of a "systemctl …" is one of csrd's."""
import re
import unittest

import harness
from csrctl_test import USAGE
from log_doc_test import FORMAT, SIGNER

FOLDERS = ("api", "base", "cli", "config", "daemon", "hsm", *SIGNER, "store", "store/sqlite", "systemd")
NOT_MESSAGES = {"cli/help.c", "cli/cmd_completion.c"}  # man_test and completion_test look at them
UNITS = {"csrd", "csrd.service", "csrd.socket", "csrd-port.service"}
# Words in a sentence behind the name of a program, where that is not a command.
PROSE = {"of", "commands", "as", "is", "cannot", "and", "that"}


def messages():
    """(where, text) of each string of the sources, with neighbours joined as the compiler does."""
    for folder in FOLDERS:
        for path in sorted((harness.ROOT / folder).glob("*.c")):
            name = str(path.relative_to(harness.ROOT))
            if name in NOT_MESSAGES:
                continue
            source = re.sub(r"(?m)^[ \t]*#[^\n]*$|/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), path.read_text(), flags=re.S)
            at = 0
            while match := FORMAT.search(source, at):
                text, start = "", match.start()
                while match:
                    text += match[1] if match[1] is not None else "u"
                    at = re.compile(r"\s*").match(source, match.end()).end()
                    match = FORMAT.match(source, at)
                yield "%s:%d" % (name, source.count("\n", 0, start) + 1), text.replace('\\"', '"')


class RemediesTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.s = self.service()
        self.help = {}

    def plain(self, *arguments):
        return harness.run([harness.BIN / "csrctl", "-c", self.s.config_path, *arguments], check=False,
                           env=self.s.environment("csrctl"))

    def group_help(self, group):
        if group not in self.help:
            done = self.plain(group, "--help")
            self.help[group] = done.stdout if done.returncode == 0 else None
        return self.help[group]

    def verbs(self, group):
        """Of a group that has some."""
        return set(re.findall(r"(?m)^(?:Usage:| {6}) csrctl %s ([a-z]+)" % group, self.group_help(group)))

    def test_every_command_is_there(self):
        found = 0
        for where, text in messages():
            for command in re.finditer(r"(?<![\w/])csrctl ([a-z%][^';:.\n]*)", text):
                words = [word.rstrip(",)") for word in command[1].split()]
                group, verb = words[0], words[1] if len(words) > 1 else ""
                if group in PROSE or group.startswith("%"):
                    continue
                found += 1
                with self.subTest(where=where, command=command[0]):
                    self.assertIsNotNone(self.group_help(group), "no such command")
                    if self.verbs(group):
                        self.assertIn(verb, self.verbs(group) | {"%s"})
                    for option in re.findall(r"--[a-z-]+", command[1]):
                        self.assertIn(option, self.group_help(group))
        self.assertGreater(found, 40)

    def test_every_command_in_quotes_runs_as_it_stands(self):
        values = {"ID": "7b163417-1d2b-4c84-a38a-2fb7a0cd7752", "NAME": "default", "%d": "1"}
        found = 0
        for where, text in messages():
            for command in re.findall(r"'csrctl ([^']*)'", text):
                words = [values.get(word, word) for word in command.split()]
                # a value: of a token, or the id or name of whatever the group is about
                for i, word in enumerate(words):
                    if word == "%s" and i == 0:
                        words[i] = "account"
                    elif word == "%s":
                        words[i] = "default" if words[i - 1] == "--token" else values["ID"]
                if "--help" in words or words == ["restore"] or words[:1] == ["setup"]:
                    continue
                if words[:2] == ["csr", "delete"]:
                    words.append("--yes")
                if words == ["backup"]:
                    words.append(self.folder / ("backup-%d.db" % found))
                found += 1
                with self.subTest(where=where, command=command):
                    done = harness.run([harness.BIN / "csrctl", "-c", self.s.config_path, *words], check=False,
                                       env=self.s.environment("csrctl"))
                    self.assertNotEqual(done.returncode, USAGE, done.stderr)
        self.assertGreater(found, 10)

    def test_every_unit_is_there(self):
        found = 0
        for where, text in messages():
            for verbs in re.findall(r"systemctl (?:--\S+ )?((?:enable --now|start|stop|restart|reload|cat|edit) [^';:,)\n]*)", text):
                for unit in re.findall(r"csrd[\w@%.-]*", verbs):
                    found += 1
                    with self.subTest(where=where, command=verbs):
                        unit = unit.rstrip(".")
                        self.assertTrue(unit in UNITS or re.fullmatch(r"csrd-hsm@%s(\.service|\.socket)?", unit), unit)
        self.assertGreater(found, 10)


if __name__ == "__main__":
    unittest.main()
