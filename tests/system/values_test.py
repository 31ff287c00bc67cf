"""What may stand in a subject and in names, as a caller meets it (F120 to F126): nothing is made of what is refused, and
each message says what to do.  Also what doc/guide.md says of CAs."""
# run: seconds=4
import re
import sys
import unicodedata
import unittest

from cryptography import x509

import harness

TEXTS = ("state", "locality", "organization", "organizational_unit", "common_name", "name", "description")
CODES = {"state": 1406, "locality": 1407, "organization": 1408, "common_name": 1409}
# One of each kind: control, format, ignorable, filler, separator, tag, private, unassigned, noncharacter.
UNSAFE = [0x01, 0x09, 0x0A, 0x1B, 0x7F, 0x85, 0xAD, 0x34F, 0x378, 0x600, 0x61C, 0x115F, 0x1160, 0x17B4, 0x180B, 0x180E, 0x200B,
          0x200D, 0x2028, 0x202E, 0x2060, 0x2061, 0x2065, 0x206A, 0x3164, 0xE000, 0xFDD0, 0xFE00, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9,
          0x1BCA0, 0x1D173, 0xE0001, 0xE0020, 0xE007F, 0xE0100, 0xF0000, 0x10FFFF]
UNSEEN = ["\u2800", "\u3164", "\uffa0", "\u00a0", "\u3000", "\u0301", "\u0301\u0302", "\ufffc"]
# Behind "xn--" (finding of a review): ignorable, full stops, slashes, upper case, full width, emoji, private, unassigned.
NO_LABELS = ["goo%sgle" % chr(c) for c in (0xAD, 0x34F, 0x180E, 0x2062, 0x3164, 0xFE0F, 0xE0041, 0xE000, 0xFF0E, 0x3002, 0x2024,
                                           0x2044, 0x2215, 0x130, 0xFF41, 0x378, 0x1F4A9)]


class ValuesTest(harness.Case):
    def refused(self, service, expected, **fields):
        """expected: [(code, pointer)], or the same with a part of the message."""
        answer = service.create(**fields)
        self.assertEqual(answer.status, 400, (fields, answer))
        errors = answer.json["errors"]
        self.assertEqual([(e["code"], e["source"]["pointer"]) for e in errors], [row[:2] for row in expected], fields)
        for error, row in zip(errors, expected):
            if len(row) > 2:
                self.assertIn(row[2], error["message"])

    def nothing_was_made(self, service):
        self.assertEqual(service.rows(), {})
        self.assertEqual(service.p11.objects(), [])

    def test_F120_F121_characters(self):
        service = self.service().start()
        for c in UNSAFE:
            fields = {name: "Goo%sgle" % chr(c) for name in TEXTS}
            self.refused(service, [(CODES.get(name, 1400), "/" + name, "U+%04X" % c) for name in TEXTS], **fields)
        for text in UNSEEN:
            self.refused(service, [(1408, "/organization")], organization=text)
            self.refused(service, [(1400, "/organizational_unit")], organizational_unit=text)
        self.nothing_was_made(service)
        kept = {"organization": "e\u0301 and \u00e9", "organizational_unit": "\u0928\u092e\u0938\u094d\u0924\u0947 \U0001f44d\U0001f3fd",
                "name": "x\u2800y", "description": " \u2764 "}
        answer = service.create(**kept)
        self.assertEqual(answer.status, 201, answer)
        for field, text in kept.items():
            self.assertEqual(answer.result[field], text, "kept as sent, not normalised")
        service.stop()

    def test_F120_the_table_is_that_of_unicode(self):
        """Python has a Unicode database of its own.  What both know as assigned is the same in both; what only one knows
        is what that one is younger by."""
        table = (harness.BIN.parent / "gen" / "utf8_class.inc").read_text(encoding="ascii")
        rows = [(int(first, 16), name) for first, name in re.findall(r"\{ 0x([0-9a-f]+), UTF8_(\w+) \}", table)]
        self.assertEqual(rows[0][0], 0)
        expected = {"Cc": {"CONTROL"}, "Cf": {"INVISIBLE"}, "Zl": {"INVISIBLE"}, "Zp": {"INVISIBLE"}, "Co": {"PRIVATE"},
                    "Cn": {"UNASSIGNED", "INVISIBLE"}, "Cs": {"UNASSIGNED"}, "Zs": {"BLANK"},
                    "Mn": {"MARK", "INVISIBLE"}, "Mc": {"MARK"}, "Me": {"MARK"}}
        others = {"VISIBLE"}
        exceptions = {0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800, 0xFFFC, 0x1D159}
        younger, older = set(), set()  # only the table, only Python knows it
        at = 0
        for c in range(sys.maxunicode + 1):
            if at + 1 < len(rows) and rows[at + 1][0] == c:
                at += 1
            category = unicodedata.category(chr(c))
            if c in exceptions:
                self.assertIn(rows[at][1], ("INVISIBLE", "BLANK"), hex(c))
            elif category == "Cn" and rows[at][1] in ("VISIBLE", "MARK"):
                younger.add(c)
            elif category not in ("Cn", "Cs") and rows[at][1] == "UNASSIGNED":
                older.add(c)
            elif rows[at][1] not in expected.get(category, others):
                self.fail("U+%04X is %s and has the class %s" % (c, category, rows[at][1]))
        self.assertTrue(not younger or not older, "one of the two is the younger")
        self.assertLess(len(younger | older), 15000, "what three versions of Unicode bring")
        self.assertFalse([c for c in younger if c & 0xFFFE == 0xFFFE], "noncharacters are never assigned")

    def test_F122_F126_names(self):
        service = self.service().start()
        for label in NO_LABELS:
            name = "xn--%s.example.com" % label.encode("punycode").decode()
            self.refused(service, [(1412, "/sans/1", "IDNA2008")], sans=["a.example.com", name])
        self.refused(service, [(1413, "/sans/0", 'send "xn--bcher-kva.example.com"'),
                               (1413, "/sans/1", 'send "*.xn--c5w032d4vi.example.com"')],
                     sans=["bücher.example.com", "*.清靈語.example.com", "xn--bcher-kva.example.com"])
        self.refused(service, [(1412, "/sans/0", "underscore"), (1412, "/sans/1", "ends with a dot; send it without"),
                               (1412, "/sans/2", "port"), (1412, "/sans/3", "send the host name alone")],
                     sans=["db_1.stack.internal", "db1.corp.internal.", "www.debian.org:8443", "https://www.debian.org/",
                           "ok.debian.org"])
        self.refused(service, [(1410, "/common_name", "only in sans")], common_name="a" * 61 + ".com")
        for country, meant in (("UK", "GB"), ("gb", "GB"), ("uk", "GB"), ("EL", "GR"), ("EU", "US"), ("XX", "US"), ("", "US")):
            self.refused(service, [(1405, "/country", '"%s"' % meant)], country=country)
        self.nothing_was_made(service)
        names = ["xn--bcher-kva.example.com", "XN--BCHER-KVA.example.org", "WWW.Example.COM"]
        answer = service.create(common_name="bücher.example.com", sans=names, country="XK")
        self.assertEqual(answer.status, 201, answer)
        self.assertEqual(answer.result["sans"], names)
        csr = x509.load_pem_x509_csr(answer.result["csr"].encode())
        self.assertEqual([name.value for name in csr.extensions[0].value], names)
        service.stop()

    def test_F124_F125_public_names_only(self):
        service = self.service(settings={"policy": {"public_names_only": "yes",
                                                   "san_types": "dns, ip, email, uri"}}).start()
        base = {"common_name": "www.debian.org"}
        rows = [("http:foo://localhost/", 1412), ("a:b://", 1412), ("https://a.debian.org:99999/", 1412),
                ("https://user@a.debian.org/", 1412), ("https://a.debian.org/#a#b", 1412), ("http://10.0.0.1/", 1414),
                ("http://[::1]/", 1414), ("http://localhost/", 1414), ("10.0.0.1", 1414), ("127.0.0.1", 1414),
                ("::1", 1414), ("0.0.0.0", 1414), ("user@a.local", 1414), ("user@co.uk", 1415), ("https://example.org", 1416)]
        for value, code in rows:
            self.refused(service, [(code, "/sans/0")], sans=[value], **base)
        for name in ("localhost", "db1.corp.internal", "10.0.0.1", "https://[::1]:1/", "www.example.com", "bücher.local"):
            self.refused(service, [(1409, "/common_name")], common_name=name, sans=["www.debian.org"])
        self.nothing_was_made(service)
        good = ["www.debian.org", "9.9.9.9", "2620:fe::fe", "user@debian.org", "https://www.debian.org:8443/x?y#z",
                "urn:uuid:7b163417-1d2b-4c84-a38a-2fb7a0cd7752"]
        answer = service.create(common_name="Payments API", sans=good)
        self.assertEqual(answer.status, 201, answer)
        self.assertEqual(answer.result["sans"], good)
        service.stop()

    def test_punctuation_is_text(self):
        """What tools split at is kept as sent, one attribute each."""
        sent = {"organization": 'Müller & Söhne / Nord, GmbH + Co. "KG" #1; <x>=\\y', "organizational_unit": "system:masters",
                "common_name": "CN=foo,ou=bar, dc=com", "locality": "\uff2c\uff4f\uff4e\uff44\uff4f\uff4e"}
        service = self.service().start()
        answer = service.create(**sent)
        self.assertEqual(answer.status, 201, answer)
        csr = x509.load_pem_x509_csr(answer.result["csr"].encode())
        values = [attribute.value for rdn in csr.subject.rdns for attribute in rdn]
        self.assertEqual([len(rdn) for rdn in csr.subject.rdns], [1] * 6)
        for field, text in sent.items():
            self.assertIn(text, values)
            self.assertEqual(answer.result[field], text)
        service.stop()

    def test_guide_openssl_ca(self):
        """A CA with PrintableString in its own name: policy "match" refuses equal text, "supplied" takes it."""
        service = self.service().start()
        answer = service.create()
        self.assertEqual(answer.status, 201, answer)
        service.stop()
        (self.folder / "request.pem").write_text(answer.result["csr"], encoding="ascii")
        asn1 = harness.run(["openssl", "asn1parse", "-in", self.folder / "request.pem"]).stdout
        self.assertEqual(re.findall(r":(countryName|\w+)\n.*?prim: +(PRINTABLESTRING|UTF8STRING)", asn1),
                         [("countryName", "PRINTABLESTRING"), ("stateOrProvinceName", "UTF8STRING"),
                          ("localityName", "UTF8STRING"), ("organizationName", "UTF8STRING"), ("commonName", "UTF8STRING")])
        self.make_ca()
        refused = self.sign("match")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("stateOrProvinceName field is different", refused.stdout + refused.stderr)
        taken = self.sign("supplied")
        self.assertEqual(taken.returncode, 0, taken.stderr)

    def make_ca(self):
        lines = ["[req]", "prompt = no", "string_mask = pkix", "distinguished_name = dn", "[dn]", "C = US", "ST = California",
                 "O = Example\\, Inc.", "CN = a CA"]
        for policy in ("match", "supplied"):
            lines += ["[ca_%s]" % policy, "database = index.txt", "new_certs_dir = .", "rand_serial = yes", "default_md = sha256",
                      "default_days = 1", "certificate = ca.pem", "private_key = ca.key", "policy = p_%s" % policy,
                      "[p_%s]" % policy, "countryName = %s" % policy, "stateOrProvinceName = %s" % policy,
                      "organizationName = %s" % policy, "localityName = optional", "commonName = supplied"]
        (self.folder / "ca.cnf").write_text("\n".join(lines) + "\n", encoding="ascii")
        (self.folder / "index.txt").write_text("")
        harness.run(["openssl", "req", "-x509", "-config", "ca.cnf", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key",
                     "-out", "ca.pem"], cwd=self.folder)
        asn1 = harness.run(["openssl", "asn1parse", "-in", "ca.pem"], cwd=self.folder).stdout
        self.assertRegex(asn1, r":organizationName\n.*PRINTABLESTRING")

    def sign(self, policy):
        return harness.run(["openssl", "ca", "-config", "ca.cnf", "-name", "ca_" + policy, "-in", "request.pem", "-batch",
                            "-notext", "-out", "out.pem"], cwd=self.folder, check=False)


if __name__ == "__main__":
    unittest.main()
