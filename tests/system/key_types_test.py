"""The key types beyond the reference's two, from the HTTP call to the token: the CSR read by three parsers, the key
as I4 has it, [policy] key_types, what a weak key does to a request (F49, F51)."""
# run: seconds=9
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import faults
import harness

# key type → openssl's signature algorithm, its words for the key, the hash, the token's key type
TYPES = {
    "rsa2048": ("sha256WithRSAEncryption", "(2048 bit)", hashes.SHA256, "rsa"),
    "rsa3072": ("sha256WithRSAEncryption", "(3072 bit)", hashes.SHA256, "rsa"),
    "rsa4096": ("sha256WithRSAEncryption", "(4096 bit)", hashes.SHA256, "rsa"),
    "p256v1": ("ecdsa-with-SHA256", "ASN1 OID: prime256v1", hashes.SHA256, "ec"),
    "p384v1": ("ecdsa-with-SHA384", "ASN1 OID: secp384r1", hashes.SHA384, "ec"),
    "ed25519": ("ED25519", "ED25519 Public-Key:", type(None), "edwards"),
}
ALL = {"policy": {"key_types": ", ".join(TYPES)}}
DEFAULT = "rsa2048, p256v1"
PRIVATE = {"token": True, "private": True, "sensitive": True, "always_sensitive": True, "never_extractable": True,
           "local": True, "sign": True, "extractable": False, "decrypt": False, "unwrap": False, "derive": False,
           "sign_recover": False}


class KeyTypesTest(harness.Case):
    def test_every_type(self):
        service = self.service(settings=ALL).start()
        made = {}
        for key_type in TYPES:
            for zone in (False, True) if key_type != "rsa4096" else (False,):
                with self.subTest(key_type, zone=zone):
                    answer = service.create(zone=zone, key_type=key_type)
                    self.assertEqual(answer.status, 201, answer)
                    self.assertEqual(answer.result["key_type"], key_type)
                    self.check_pem(key_type, answer.result["csr"])
                    made[answer.result["id"]] = key_type, zone
                    self.assertEqual(service.get(answer.result["id"], zone).result, answer.result)
        self.check_token(service, made)
        shown = service.csrctl("csr", "show", next(iter(made)))
        self.assertIn("rsa2048", str(shown))
        for csr_id, (_, zone) in made.items():
            self.assertEqual(service.delete(csr_id, zone).status, 200)
        self.assertEqual(service.p11.objects(), [])
        service.stop()

    def check_pem(self, key_type, pem):
        algorithm, words, digest, _ = TYPES[key_type]
        csr = x509.load_pem_x509_csr(pem.encode())
        self.assertTrue(csr.is_signature_valid)
        self.assertIsInstance(csr.signature_hash_algorithm, digest)
        self.check_key(key_type, csr.public_key())
        self.assertEqual(csr.public_bytes(serialization.Encoding.PEM).decode(), pem)
        path = self.folder / "request.pem"
        path.write_text(pem, encoding="ascii")
        done = harness.run(["openssl", "req", "-in", path, "-verify", "-noout", "-text"])
        self.assertIn("verify OK", done.stdout + done.stderr)
        self.assertIn("Version: 1 (0x0)", done.stdout)
        self.assertRegex(done.stdout, r"Signature Algorithm: %s\n" % algorithm)
        self.assertIn(words, done.stdout)
        done = harness.run(["certtool", "--crq-info", "--infile", path],
                           env=harness.clean_environment(LC_ALL="C.UTF-8"))
        self.assertIn("Self signature: verified", done.stdout)

    def check_key(self, key_type, key):
        if key_type.startswith("rsa"):
            self.assertIsInstance(key, rsa.RSAPublicKey)
            self.assertEqual((key.key_size, key.public_numbers().e), (int(key_type[3:]), 65537))
        elif key_type == "ed25519":
            self.assertIsInstance(key, ed25519.Ed25519PublicKey)
        else:
            self.assertIsInstance(key.curve, {"p256v1": ec.SECP256R1, "p384v1": ec.SECP384R1}[key_type])

    def check_token(self, service, made):
        objects = {(o["label"], o["class"]): o for o in service.p11.objects()}
        self.assertEqual(len(objects), 2 * len(made))
        labels = service.key_labels()
        for csr_id, (key_type, _) in made.items():
            private = objects[labels[csr_id], "private"]
            self.assertEqual(private["type"], TYPES[key_type][3], key_type)
            self.assertEqual({name: private["flags"].get(name) for name in PRIVATE}, PRIVATE, key_type)
            self.assertEqual(objects[labels[csr_id], "public"]["id"], private["id"])

    def test_policy(self):
        """Off until the operator lists them; 1417 says which are on; the list is taken over without a restart."""
        service = self.service().start()
        for key_type in ("rsa3072", "rsa4096", "p384v1", "ed25519", "p521v1", "Ed25519"):
            answer = service.create(key_type=key_type)
            self.assertEqual((answer.status, answer.codes), (400, [1417]), key_type)
            self.assertRegex(answer.json["errors"][0]["message"], ": %s$" % DEFAULT)
            self.assertEqual(answer.json["errors"][0]["source"], {"pointer": "/key_type"})
        self.assertEqual(service.p11.objects(), [])
        service.settings["policy"] = {"key_types": "ed25519, p384v1"}
        service.write_config()
        service.csrd.signal(harness.signal.SIGHUP)
        harness.wait_for("the new policy", lambda: service.create(key_type="ed25519").status == 201)
        self.assertEqual(service.create(key_type="p384v1").status, 201)
        answer = service.create(key_type=None)  # not given: rsa2048
        self.assertEqual((answer.status, answer.codes), (400, [1417]))
        self.assertRegex(answer.json["errors"][0]["message"], ": p384v1, ed25519$")
        service.stop()

    def test_token_without_a_type(self):
        """Permitted, but the token has no such mechanism: refused like any other, and csrd's log says why."""
        folder = self.folder / "lacking"
        folder.mkdir()
        service = faults.ShimService(self, folder, self.logs(".lacking"), ALL)
        service.shim.set("C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_EDDSA")
        service.start()
        answer = service.create(key_type="ed25519")
        self.assertEqual((answer.status, answer.codes), (400, [1417]))
        self.assertRegex(answer.json["errors"][0]["message"], ": rsa2048, p256v1, rsa3072, rsa4096, p384v1$")
        service.csrd.wait_log(r"warning: .*key_types: token 'default' does not support ed25519")
        self.assertEqual(service.create(key_type="p384v1").status, 201)
        service.stop()

    def test_ca_takes_ed25519(self):
        """A CA signs the CSR and the certificate has the key of the token."""
        service = self.service(settings=ALL).start()
        answer = service.create(key_type="ed25519")
        self.assertEqual(answer.status, 201, answer)
        path = self.folder / "request.pem"
        path.write_text(answer.result["csr"], encoding="ascii")
        harness.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                     "-subj", "/CN=csrd test CA"], cwd=self.folder)
        harness.run(["openssl", "x509", "-req", "-in", path, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-copy_extensions", "copy", "-out", "leaf.pem"], cwd=self.folder)
        harness.run(["openssl", "verify", "-CAfile", "ca.pem", "leaf.pem"], cwd=self.folder)
        issued = x509.load_pem_x509_certificate((self.folder / "leaf.pem").read_bytes())
        raw = issued.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        public = next(o["public"] for o in service.p11.objects() if o["class"] == "public")
        self.assertEqual(public, "0420" + raw.hex())
        service.stop()

    def test_weak_key(self):
        """F51: the token hands back a modulus of half the size: 500 without a word of it, a loud log, nothing left."""
        folder = self.folder / "weak"
        folder.mkdir()
        service = faults.ShimService(self, folder, self.logs(".weak"), None).start()
        service.shim.set("C_GetAttributeValue attr CKA_MODULUS hex %s" % ("c3" * 128))
        answer = service.create(key_type="rsa2048")
        self.assertEqual((answer.status, answer.codes), (500, [1500]), answer)
        self.assertNotRegex(answer.body.decode(), "weak|modulus|HSM")
        self.assertEqual(answer.headers["x-should-retry"], "false")
        service.hsm.wait_log(r"error: .*the token made a weak or wrong key: rsa modulus: not of the size asked for")
        self.assertEqual(service.p11.labels(), {})
        self.assertEqual(service.create(key_type="p256v1").status, 201)
        service.stop()


if __name__ == "__main__":
    unittest.main()
