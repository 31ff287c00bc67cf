"""doc/http.md names tests that exist, and all tests of the RFCs; and each section whose MUSTs bind an origin server."""
# run: seconds=2
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOC = ROOT / "doc" / "http.md"
SYSTEM = ROOT / "tests" / "system"
# Sections with a MUST that binds a server, or a sender or recipient of whatever role.
BINDING = {
    "## RFC 9110": """2.2 2.3 2.4 3.3 4.2.1 4.2.2 4.2.4 5.3 5.4 5.5 5.6.1.1 5.6.1.2 5.6.3 5.6.4 5.6.7 6.2 6.5.1 6.6.1 7.1 7.4
        7.6.1 7.8 8.3.3 8.4 8.6 8.7 8.8.2 8.8.3 9.1 9.2.1 9.3.2 9.3.4 9.3.6 10.1.1 10.2.1 11.2 11.5 11.6.1 12.4.2 12.5.3
        13.1.1 13.1.2 13.1.3 13.1.4 13.1.5 13.2.1 13.2.2 14.1.2 14.2 14.4 15.2 15.2.2 15.3.6 15.3.7 15.4.5 15.5.2 15.5.6
        15.5.22 16.4.2""",
    "## RFC 9112": "2.2 3 3.2 3.2.2 4 5.1 5.2 6.1 6.2 6.3 7.1 7.1.1 7.1.2 9.3 9.3.2 9.6 9.8 10.1",
}


def tests_of(path):
    return set(re.findall(r"^    def (test_\w+)\(", path.read_text(encoding="utf-8"), re.M))


def part(heading):
    return re.split(r"^## ", DOC.read_text(encoding="utf-8").split("\n" + heading, 1)[1], maxsplit=1, flags=re.M)[0]


class HttpDocTest(unittest.TestCase):
    maxDiff = None

    def test_every_test_that_it_names_exists(self):
        named = set(re.findall(r"`(test_\w+)`", DOC.read_text(encoding="utf-8")))
        self.assertGreater(len(named), 80)
        self.assertEqual(sorted(named - set().union(*map(tests_of, SYSTEM.glob("*_test.py")))), [])

    def test_every_test_of_the_rfcs_is_named(self):
        text = DOC.read_text(encoding="utf-8")
        self.assertEqual([name for name in sorted(tests_of(SYSTEM / "http_rfc_test.py")) if "`%s`" % name not in text], [])

    def test_every_section_has_a_row(self):
        for heading, sections in BINDING.items():
            cells = [row.split("|")[1] for row in part(heading).splitlines() if row.startswith("| ")]
            rows = {section.strip() for cell in cells for section in cell.split(",")}
            self.assertEqual([section for section in sections.split() if section not in rows], [], heading)

    def test_every_row_has_a_test_or_a_reason(self):
        for heading in BINDING:
            for row in part(heading).splitlines()[3:]:
                if row.startswith("| "):
                    cells = [cell.strip() for cell in row.strip("| ").split(" | ")]
                    self.assertTrue("`test_" in row or len(cells) > 2 and cells[2], row)


if __name__ == "__main__":
    unittest.main()
