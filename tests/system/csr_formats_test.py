"""The PEM that comes back, read by three parsers that are not csrd's: OpenSSL's command, GnuTLS certtool and
python3-cryptography (F40, F43, F47, F49)."""
# run: seconds=3
import re
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

import harness

ORDER = [NameOID.COUNTRY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.LOCALITY_NAME, NameOID.ORGANIZATION_NAME,
         NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME]
FIELDS = ["country", "state", "locality", "organization", "organizational_unit", "common_name"]
UTF8_NAME = "žluťoučký kůň úpěl ďábelské ódy – 漢字 " + "é" * 27

CASES = {
    "required_only": {"key_type": None},
    "p256": {"key_type": "p256v1", "organizational_unit": "Platform"},
    "rsa_all": {"key_type": "rsa2048", "organizational_unit": "A+B=C, \"D\"; #E\\<F>"},
    "wildcard": {"common_name": "*.example.com", "sans": ["*.example.com", "example.com"]},
    "utf8_64": {"common_name": UTF8_NAME, "organization": "株式会社 example", "locality": "Ķekava", "state": "Ω"},
    "sans_as_sent": {
        "sans": ["zz.Example.COM", "a.example.com", "M.example.com", "xn--bcher-kva.example", "b", "*.b.c"]},
    "sans_150": {"sans": ["host-%03d.example.com" % i for i in range(150)]},
    "sans_150_of_253": {"key_type": "rsa2048",
                        "sans": ["%03d.%s" % (i, ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 57])) for i in range(150)]},
    "labels_11": {"sans": ["a.b.c.d.e.f.g.h.i.j.k"]},
    "longest": {"state": "s" * 128, "locality": "l" * 128, "organization": "o" * 64, "organizational_unit": "u" * 64,
                "common_name": "c" * 64, "sans": [".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])]},
}


class CsrFormatsTest(harness.Case):
    def test_formats(self):
        self.assertEqual(len(UTF8_NAME), 64)
        service = self.service().start()
        for zone in (False, True):
            for name, fields in CASES.items():
                with self.subTest(name, zone=zone):
                    sent = {**harness.SUBJECT, "key_type": "p256v1", **fields}
                    answer = service.create(zone=zone, **fields)
                    self.assertEqual(answer.status, 201, answer)
                    self.check_echo(sent, answer.result)
                    self.check_pem(sent, answer.result["csr"])
        service.stop()

    def check_echo(self, sent, result):
        for field, value in sent.items():
            self.assertEqual(result[field], value or "rsa2048", field)
        self.assertEqual("organizational_unit" in result, "organizational_unit" in sent)

    def check_pem(self, sent, pem):
        self.check_armour(pem)
        path = self.folder / "request.pem"
        path.write_text(pem, encoding="ascii")
        self.check_cryptography(sent, pem)
        self.check_openssl(sent, path)
        self.check_certtool(sent, path)

    def check_armour(self, pem):
        lines = pem.split("\n")
        self.assertEqual(lines[0], "-----BEGIN CERTIFICATE REQUEST-----")
        self.assertEqual(lines[-2:], ["-----END CERTIFICATE REQUEST-----", ""])
        body = lines[1:-2]
        self.assertEqual({len(line) for line in body[:-1]}, {64})
        self.assertTrue(0 < len(body[-1]) <= 64)

    def check_cryptography(self, sent, pem):
        csr = x509.load_pem_x509_csr(pem.encode())
        self.assertTrue(csr.is_signature_valid)
        self.assertIsInstance(csr.signature_hash_algorithm, hashes.SHA256)
        expected = [(oid, sent[field]) for oid, field in zip(ORDER, FIELDS) if sent.get(field)]
        self.assertEqual([len(rdn) for rdn in csr.subject.rdns], [1] * len(expected))
        self.assertEqual([(a.oid, a.value) for rdn in csr.subject.rdns for a in rdn], expected)
        self.assertEqual([e.oid for e in csr.extensions], [ExtensionOID.SUBJECT_ALTERNATIVE_NAME])
        self.assertFalse(csr.extensions[0].critical)
        names = list(csr.extensions[0].value)
        self.assertEqual({type(name) for name in names}, {x509.DNSName})
        self.assertEqual([name.value for name in names], sent["sans"])
        key = csr.public_key()
        if sent["key_type"] == "p256v1":
            self.assertIsInstance(key, ec.EllipticCurvePublicKey)
            self.assertIsInstance(key.curve, ec.SECP256R1)
        else:
            self.assertIsInstance(key, rsa.RSAPublicKey)
            self.assertEqual((key.key_size, key.public_numbers().e), (2048, 65537))
        # What was parsed is all there is: DER again gives the same bytes.
        again = csr.public_bytes(serialization.Encoding.PEM).decode()
        self.assertEqual(again, pem)

    def check_openssl(self, sent, path):
        done = harness.run(["openssl", "req", "-in", path, "-verify", "-noout", "-text"])
        self.assertIn("verify OK", done.stdout + done.stderr)
        self.assertIn("Version: 1 (0x0)", done.stdout)
        self.assertIn("ecdsa-with-SHA256" if sent["key_type"] == "p256v1" else "sha256WithRSAEncryption", done.stdout)
        if sent["key_type"] == "p256v1":
            self.assertIn("ASN1 OID: prime256v1", done.stdout)
        asn1 = harness.run(["openssl", "asn1parse", "-in", path]).stdout
        self.assertEqual(len(re.findall(r"OBJECT +:Extension Request", asn1)), 1)
        self.assertEqual(len(re.findall(r"OBJECT +:X509v3 ", asn1)), 1)
        self.assertRegex(asn1.splitlines()[2], r"INTEGER +:00$")
        country = asn1[asn1.index(":countryName"):].splitlines()[1]
        self.assertRegex(country, r"PRINTABLESTRING +:US$")

    def check_certtool(self, sent, path):
        done = harness.run(["certtool", "--crq-info", "--infile", path],
                           env=harness.clean_environment(LC_ALL="C.UTF-8"))
        self.assertIn("Self signature: verified", done.stdout)
        names = re.findall(r"DNSname: (\S+)", done.stdout)
        self.assertEqual(names, sent["sans"])
        self.assertRegex(done.stdout, r"Version: 1\b")


if __name__ == "__main__":
    unittest.main()
