"""What stands on the token: each private key sensitive, always sensitive, never extractable, made there, for
signing only, and no way to get it out (I4)."""
# run: seconds=4
import re
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import harness

CKR_OK = 0x00
CKR_ACTION_PROHIBITED = 0x1B
CKR_ATTRIBUTE_READ_ONLY = 0x10
CKR_ATTRIBUTE_SENSITIVE = 0x11
CKR_ATTRIBUTE_TYPE_INVALID = 0x12
CKR_TEMPLATE_INCONSISTENT = 0xD1
CKR_KEY_NOT_WRAPPABLE = 0x69
CKR_KEY_UNEXTRACTABLE = 0x6A

PRIVATE_TRUE = {"token", "private", "sensitive", "always_sensitive", "never_extractable", "local", "sign"}
PRIVATE_FALSE = {"extractable", "decrypt", "unwrap", "derive", "sign_recover"}
PUBLIC_TRUE = {"token", "local", "verify"}
PUBLIC_FALSE = {"private", "encrypt", "wrap", "derive"}


class TokenObjectsTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.s = self.service().start()
        self.made = {}
        for key_type in ("rsa2048", "p256v1"):
            answer = self.s.create(key_type=key_type)
            self.assertEqual(answer.status, 201, answer)
            self.made[key_type] = answer.result

    def test_attributes(self):
        objects = self.s.p11.objects()
        self.assertEqual(len(objects), 4)
        for key_type, result in self.made.items():
            mine = {o["class"]: o for o in objects if o["label"] == self.s.label(result["id"])}
            self.assertEqual(set(mine), {"private", "public"})
            private, public = mine["private"], mine["public"]
            self.assertEqual({k: v for k, v in private["flags"].items() if k in PRIVATE_TRUE | PRIVATE_FALSE},
                             {**dict.fromkeys(PRIVATE_TRUE, True), **dict.fromkeys(PRIVATE_FALSE, False)}, key_type)
            self.assertEqual({k: v for k, v in public["flags"].items() if k in PUBLIC_TRUE | PUBLIC_FALSE},
                             {**dict.fromkeys(PUBLIC_TRUE, True), **dict.fromkeys(PUBLIC_FALSE, False)}, key_type)
            self.assertEqual(private["id"], public["id"])
            self.assertRegex(private["id"], r"^[0-9a-f]{32}$")
            self.check_same_key(result["csr"], public)
        self.assertEqual(len({o["id"] for o in objects}), 2)
        self.s.stop()

    def check_same_key(self, pem, public):
        key = x509.load_pem_x509_csr(pem.encode()).public_key()
        if public["type"] == "rsa":
            self.assertEqual(int(public["public"], 16), key.public_numbers().n)
        else:
            point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
            self.assertEqual(public["public"], "0441" + point.hex())

    def test_pkcs11_tool(self):
        listed = self.s.p11.tool("--list-objects", "--type", "privkey").stdout
        self.assertEqual(set(re.findall(r"label: +(\S+)", listed)), set(self.s.key_labels().values()))
        access = re.findall(r"Access: +(.*?) *$", listed, re.M)
        usage = re.findall(r"Usage: +(.*?) *$", listed, re.M)
        self.assertEqual(access, ["sensitive, always sensitive, never extractable, local"] * 2)
        self.assertEqual(usage, ["sign"] * 2)
        self.check_use()
        self.s.stop()

    def check_use(self):
        """The RSA key signs and does nothing else."""
        label = self.s.label(self.made["rsa2048"]["id"])
        key_id = next(o["id"] for o in self.s.p11.objects() if o["label"] == label)
        data, out = self.folder / "data", self.folder / "out"
        data.write_bytes(b"\x01" * 256)
        use = ("--id", key_id, "--input-file", data, "--output-file", out)
        self.s.p11.tool("--sign", "--mechanism", "SHA256-RSA-PKCS", *use)
        self.assertEqual(out.stat().st_size, 256)
        out.unlink()
        refused = self.s.p11.tool("--decrypt", "--mechanism", "RSA-X-509", *use, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("CKR_KEY_FUNCTION_NOT_PERMITTED", refused.stdout + refused.stderr)
        self.assertFalse(out.exists() and out.stat().st_size)

    def test_no_way_out(self):
        for key_type, result in self.made.items():
            answer = self.s.p11.ask("steal", self.s.label(result["id"]))
            controls = answer["wrap_control"], answer["read_control"]
            self.assertEqual(controls, (CKR_OK, CKR_OK), "the attempt itself works")
            self.assertIn(answer["wrap"], (CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE))
            secret = "CKA_VALUE" if key_type == "p256v1" else "CKA_PRIVATE_EXPONENT"
            self.assertEqual(answer["read"][secret], {"rv": CKR_ATTRIBUTE_SENSITIVE, "bytes": 0})
            for name, read in answer["read"].items():
                self.assertIn(read["rv"], (CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID), name)
                self.assertEqual(read["bytes"], 0, name)
            for name, rv in answer["set"].items():
                self.assertIn(rv, (CKR_ATTRIBUTE_READ_ONLY, CKR_ACTION_PROHIBITED), name)
            self.assertIn(answer["copy"], (CKR_ATTRIBUTE_READ_ONLY, CKR_ACTION_PROHIBITED, CKR_TEMPLATE_INCONSISTENT))
        self.s.stop()

    def test_delete_leaves_nothing(self):
        for result in self.made.values():
            self.assertEqual(self.s.delete(result["id"]).status, 200)
        self.assertEqual(self.s.p11.objects(), [])
        self.s.stop()


if __name__ == "__main__":
    unittest.main()
