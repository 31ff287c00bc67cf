# run: seconds=1
"""csrctl completion: the scripts, sourced by the shells themselves, propose every command and option that there is."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import unittest

import harness

CSRCTL = harness.BIN / "csrctl"
COMMON = {"--config", "--json", "--help", "--version"}

BASH = r"""
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_csrctl
printf '%s\n' "${COMPREPLY[@]}"
"""

# What zsh's completion system offers to such a function, in its place.
ZSH = r"""
compdef() { registered=$1:$2 }
compset() { : }
_files() { print -l -- *(N) }
compadd() { [[ $1 == -- ]] && shift; print -l -- "$@" }
source "$1"
[[ $registered == _csrctl:csrctl ]] || print -l "not registered"
shift
words=("$@")
CURRENT=$#
_csrctl
"""


def script(shell):
    return harness.run([CSRCTL, "completion", shell], env=harness.clean_environment()).stdout


class Shells(harness.Case):
    def setUp(self):
        super().setUp()
        (self.folder / "place").mkdir()
        (self.folder / "place" / "csrd.conf").write_text("")

    def ask(self, shell, *words):
        """What is proposed for the last of the words."""
        path = self.folder / ("completion." + shell)
        if not path.exists():
            path.write_text(script(shell))
        command = {"bash": ["bash", "--norc", "--noprofile", "-c", BASH, "bash"], "zsh": ["zsh", "-f", "-c", ZSH, "zsh"]}
        done = harness.run([*command[shell], path, "csrctl", *words], env=harness.clean_environment(),
                           cwd=self.folder / "place")
        self.assertEqual(done.stderr, "")
        proposed = {word for word in done.stdout.split("\n") if word}
        if shell == "zsh":  # where the shell itself looks at what was typed
            typed = words[-1].split("=")[-1] if words[-1].startswith("--") and "=" in words[-1] else words[-1]
            proposed = {word for word in proposed if word.startswith(typed)}
        return proposed

    def commands(self):
        """group → verbs, as csrctl's own complaints name them."""
        def words(*arguments):
            done = subprocess.run([CSRCTL, *arguments], capture_output=True, text=True, check=False,
                                  env=harness.clean_environment())
            self.assertEqual(done.returncode, 64)
            match = re.search(r"a command is missing: it is one of (.*)$", done.stderr, re.MULTILINE)
            return match.group(1).split(", ") if match else []
        # a group without verbs would run: it is known by its usage line
        groups = words()
        found = {}
        for group in groups:
            usage = harness.run([CSRCTL, group, "--help"], env=harness.clean_environment()).stdout
            has_verbs = re.search(r"(?m)^ +csrctl %s [a-z]+" % group, usage)
            found[group] = words(group) if has_verbs else []
        return found

    def options_in_help(self, group):
        """(those that have a place of their own, all that are mentioned)"""
        text = harness.run([CSRCTL, group, "--help"], env=harness.clean_environment()).stdout
        usage, _, rest = text.partition("\n\n")
        own = re.findall(r"--[a-z][a-z-]+", usage) + re.findall(r"(?m)^ +(?:-\w, )?(--[a-z][a-z-]+)", rest)
        return set(own), set(re.findall(r"--[a-z][a-z-]+", text))

    def check_all(self, shell):
        commands = self.commands()
        self.assertIn("doctor", commands)
        self.assertEqual(commands["account"], ["add", "list", "set", "rename"])
        self.assertEqual(self.ask(shell, ""), set(commands))
        self.assertEqual(self.ask(shell, "acc"), {"account"})
        self.assertEqual(self.ask(shell, "--"), COMMON)
        for group, verbs in commands.items():
            with self.subTest(shell=shell, group=group):
                options = set()
                if verbs:
                    self.assertEqual(self.ask(shell, group, ""), set(verbs))
                for words in [[group, verb] for verb in verbs] or [[group]]:
                    proposed = self.ask(shell, *words, "--")
                    self.assertLessEqual(COMMON, proposed)
                    options |= proposed
                own, mentioned = self.options_in_help(group)
                self.assertLessEqual(own, options)
                self.assertLessEqual(options - COMMON, mentioned)

    def check_values(self, shell):
        states = {"pending", "active", "deleting", "destroyed", "failed"}
        self.assertEqual(self.ask(shell, "csr", "list", "--state", ""), states)
        self.assertEqual(self.ask(shell, "csr", "list", "--state", "de"), {"deleting", "destroyed"})
        self.assertEqual(self.ask(shell, "account", "add", "--name", ""), set())
        self.assertEqual(self.ask(shell, "-c", "/x", "account", "--json", ""), {"add", "list", "set", "rename"})
        self.assertEqual(self.ask(shell, "--config", ""), {"csrd.conf"})
        self.assertEqual(self.ask(shell, "--config", "csrd.conf", "completion", ""), {"bash", "zsh"})
        self.assertEqual(self.ask(shell, "account", "add", "--name", "token", "--q"), {"--quota"})
        self.assertEqual(self.ask(shell, "nonsense", ""), set())

    def test_bash(self):
        self.check_all("bash")
        self.check_values("bash")
        # bash makes three words of it
        self.assertEqual(self.ask("bash", "csr", "list", "--state", "=", "de"), {"deleting", "destroyed"})
        self.assertEqual(self.ask("bash", "csr", "list", "--state", "="),
                         {"pending", "active", "deleting", "destroyed", "failed"})
        self.assertEqual(self.ask("bash", "csr", "list", "--state", "=", "active", "--l"), {"--limit"})

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh(self):
        self.check_all("zsh")
        self.check_values("zsh")
        self.assertEqual(self.ask("zsh", "csr", "list", "--state=de"), {"deleting", "destroyed"})

    def test_values_are_true(self):
        """What is proposed for --state is what the command takes."""
        for state in self.ask("bash", "csr", "list", "--state", ""):
            done = subprocess.run([CSRCTL, "-c", "/nonexistent", "csr", "list", "--state", state], capture_output=True,
                                  text=True, check=False, env=harness.clean_environment())
            self.assertEqual(done.returncode, 78, done.stderr)

    # -- a person at a terminal

    def press(self, shell, typed, expected):
        """Types it and a tab in the shell; what is on the line then must match."""
        start = {
            "bash": ["bash", "--norc", "--noprofile", "-i"],
            "zsh": ["zsh", "-f", "-i"],
        }[shell]
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe(start[0], start, harness.clean_environment(TERM="dumb", PS1="ready> ", HISTFILE="/dev/null",
                                                                  HOME=str(self.folder)))
        seen = ""
        try:
            def read_until(pattern):
                nonlocal seen
                end = time.monotonic() + harness.PATIENCE
                while not re.search(pattern, seen):
                    self.assertLess(time.monotonic(), end, (pattern, seen))
                    if select.select([terminal], [], [], 0.1)[0]:
                        seen += os.read(terminal, 65536).decode("utf-8", "replace")
            if shell == "zsh":
                os.write(terminal, b"autoload -Uz compinit && compinit -u -D\n")
            os.write(terminal, b'eval "$(%s completion %s)"; echo LOA""DED\n' % (str(CSRCTL).encode(), shell.encode()))
            read_until(r"(?m)^LOADED")
            seen = ""
            os.write(terminal, typed.encode() + b"\t")
            read_until(expected)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)

    def test_bash_at_a_terminal(self):
        self.press("bash", "csrctl recon", r"csrctl reconcile ")

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh_at_a_terminal(self):
        self.press("zsh", "csrctl recon", r"c?srctl reconcile|cile ")

    def test_wrong_shells(self):
        for arguments in ((), ("fish",), ("bash", "zsh")):
            done = subprocess.run([CSRCTL, "completion", *arguments], capture_output=True, text=True, check=False,
                                  env=harness.clean_environment())
            self.assertEqual(done.returncode, 64)
            self.assertIn("--help", done.stderr)
            self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main()
