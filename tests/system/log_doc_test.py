"""doc/operations.md explains every line that the programs log as an error, a warning or a notice, and no line that
they do not log.  A value in a line is written as an ellipsis."""
# run: seconds=2
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SIGNER = ("hsm/signer", *("hsm/signer/" + name for name in ("token", "key", "csr", "journal", "stock", "serve")))
FOLDERS = ("base", "config", "store", "store/sqlite", "hsm", *SIGNER, "api", "daemon", "systemd")
DOC = ROOT / "doc" / "operations.md"
HEADING = "## What the log says"
# What runs in csrctl and in "csrd-hsm -i" alone speaks to the person who gave the command.
AT_THE_TERMINAL = {"hsm/signer/serve/inspect.c", "store/sqlite/sqlite_backup.c", "store/sqlite/sqlite_check.c",
                   "store/sqlite/sqlite_file.c", "store/sqlite/sqlite_restore.c", "store/upkeep.c"}

CALL = re.compile(r"\b(?:log_(error|warn|notice|info|err|write)|op_log)\s*\(")
QUIET = re.compile(r"(?:op, )?(?:LOG_LEVEL_INFO|LOG_LEVEL_DEBUG|level),")  # `level`: of the line for each request
FORMAT = re.compile(r'"((?:[^"\\]|\\.)*)"|PRI[a-z]\w*')
CONVERSION = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?(?:hh|h|ll|l|z|j|t)?[a-zA-Z]")


def plain(text):
    """What is left of a format when its values are an ellipsis each."""
    text = CONVERSION.sub("…", text.replace("%%", "\0")).replace("\0", "%")
    return re.sub(r"…(?:\.?…)+", "…", text)


def format_of(source, at):
    """The first string argument of a call whose arguments begin there; "" when it has none."""
    depth = 1
    while depth:
        character = source[at]
        if character == '"':
            break
        depth += {"(": 1, ")": -1}.get(character, 0)
        at += 1
    else:
        return ""
    text = ""
    while True:
        piece = FORMAT.match(source, at)
        if not piece:
            break
        text += piece.group(1) if piece.group(1) is not None else "u"
        at = re.compile(r"\s*").match(source, piece.end()).end()
    return text.replace('\\"', '"')


def logged():
    """{line: (where, must be explained)}"""
    lines = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.c")):
            if str(path.relative_to(ROOT)) in AT_THE_TERMINAL:
                continue
            source = path.read_text(encoding="utf-8")
            for call in CALL.finditer(source):
                line = plain(format_of(source, call.end()))
                if call.group(1) == "err":
                    line += ": …"
                where = "%s:%d" % (path.relative_to(ROOT), source.count("\n", 0, call.start()) + 1)
                if re.search(r"[a-z]", line):  # not those that only pass a text on
                    lines[line] = (where, call.group(1) != "info" and not QUIET.match(source, call.end()))
    return lines


def explained():
    text = DOC.read_text(encoding="utf-8")
    section = re.split(r"^## ", text.split("\n" + HEADING + "\n", 1)[1], maxsplit=1, flags=re.M)[0]
    lines = set()
    for row in section.splitlines():
        if row.startswith("| `"):
            lines.update(re.findall(r"`([^`]*)`", row.split(" | ")[0]))
    return lines


class LogDocTest(unittest.TestCase):
    maxDiff = None

    def test_formats_are_read(self):
        self.assertEqual(plain("took %llu.%03llu s, %.*s%% of '%s'"), "took … s, …% of '…'")
        source = 'log_write(f(1), &(struct c){.a = b(x)}, "a %" PRIu64\n\t" b", g("no"));'
        self.assertEqual(plain(format_of(source, len("log_write("))), "a … b")

    def test_every_line_is_explained(self):
        lines = logged()
        self.assertGreater(len(lines), 100)
        missing = sorted("%s: %s" % (where, line) for line, (where, must) in lines.items()
                         if must and line not in explained())
        self.assertEqual(missing, [], "not in %s, '%s'" % (DOC.name, HEADING))

    def test_no_line_is_explained_that_is_not_logged(self):
        self.assertEqual(sorted(explained() - set(logged())), [])


if __name__ == "__main__":
    unittest.main()
