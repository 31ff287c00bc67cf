"""The full circle: two CAs (openssl ca, cfssl) sign the CSR, openssl s_server serves TLS with the key that stays in
the token (libp11's engine), s_client verifies the chain and the name.  RSA, P-256 and P-384; the engine knows no
Ed25519."""
# run: seconds=3
import json
import subprocess
import threading
import unittest

from cryptography import x509

import harness

CA_CONFIG = """
[ca]
default_ca = test
[test]
dir = .
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
policy = anything
copy_extensions = copy
unique_subject = no
email_in_dn = no
preserve = yes
x509_extensions = leaf
[anything]
countryName = supplied
stateOrProvinceName = supplied
localityName = supplied
organizationName = supplied
organizationalUnitName = optional
commonName = supplied
[leaf]
basicConstraints = critical, CA:false
extendedKeyUsage = serverAuth
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = csrd test CA
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
CFSSL_CONFIG = {"signing": {"default": {"expiry": "720h", "usages": ["digital signature", "server auth"]}}}
ENGINE_CONFIG = """
openssl_conf = start
[start]
engines = engines
[engines]
pkcs11 = token
[token]
engine_id = pkcs11
MODULE_PATH = {module}
PIN = {pin}
init = 0
"""
TYPES = ("rsa2048", "p256v1", "rsa3072", "p384v1")


class FullCircleTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.ca = self.folder / "ca"
        self.ca.mkdir()
        (self.ca / "ca.cnf").write_text(CA_CONFIG)
        (self.ca / "index.txt").write_text("")
        (self.ca / "serial").write_text("01\n")
        (self.ca / "cfssl.json").write_text(json.dumps(CFSSL_CONFIG))
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                     "-days", "30", "-config", "ca.cnf")

    def openssl(self, *arguments):
        return harness.run(["openssl", *arguments], cwd=self.ca)

    def sign_openssl(self, name):
        certificate = name + ".openssl.pem"
        self.openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-in", name + ".csr", "-out", certificate)
        return certificate

    def sign_cfssl(self, name):
        done = harness.run(["cfssl", "sign", "-ca", "ca.pem", "-ca-key", "ca.key", "-config", "cfssl.json",
                            name + ".csr"], cwd=self.ca)
        (self.ca / (name + ".cfssl.pem")).write_text(json.loads(done.stdout)["cert"])
        return name + ".cfssl.pem"

    def serve(self, service, csr_id, certificate):
        """openssl s_server with the key in the token; its address."""
        config = self.ca / "engine.cnf"
        config.write_text(ENGINE_CONFIG.format(module=service.p11.module, pin=service.p11.PIN))
        environment = harness.clean_environment(OPENSSL_CONF=str(config), **service.p11.environment)
        command = ["setpriv", "--pdeathsig", "KILL", "--", "openssl", "s_server", "-engine", "pkcs11",
                   "-keyform", "engine", "-key", "%s;object=%s;type=private" % (service.p11.uri, service.label(csr_id)),
                   "-cert", certificate, "-accept", "127.0.0.1:0", "-www"]
        server = subprocess.Popen(command, cwd=self.ca, env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        output = []
        for line in server.stdout:
            output.append(line)
            if line.startswith("ACCEPT "):
                threading.Thread(target=server.stdout.read, daemon=True).start()  # the pipe must not fill
                return server, line.split()[1]
        raise AssertionError("s_server did not start:\n" + "".join(output))

    def check_client(self, address, version):
        done = subprocess.run(["openssl", "s_client", "-connect", address, "-CAfile", "ca.pem",
                               "-servername", "www.example.com", "-verify_hostname", "www.example.com",
                               "-verify_return_error", version],
                              cwd=self.ca, input="", capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Verification: OK", done.stdout)
        self.assertIn("Verified peername: www.example.com", done.stdout)

    def test_full_circle(self):
        service = self.service(settings={"policy": {"key_types": ", ".join(TYPES)}}).start()
        for key_type in TYPES:
            answer = service.create(key_type=key_type, sans=["example.com", "www.example.com", "*.apps.example.com"])
            self.assertEqual(answer.status, 201, answer)
            (self.ca / (key_type + ".csr")).write_text(answer.result["csr"])
            for sign in (self.sign_openssl, self.sign_cfssl):
                with self.subTest(key_type, ca=sign.__name__):
                    certificate = sign(key_type)
                    self.check_certificate(answer.result, certificate)
                    server, address = self.serve(service, answer.result["id"], certificate)
                    self.check_client(address, "-tls1_3")
                    self.check_client(address, "-tls1_2")
                    server.kill()
        service.stop()

    def check_certificate(self, result, certificate):
        issued = x509.load_pem_x509_certificate((self.ca / certificate).read_bytes())
        request = x509.load_pem_x509_csr(result["csr"].encode())
        self.assertEqual(issued.public_key().public_numbers(), request.public_key().public_numbers())
        self.assertEqual({a.rfc4514_string() for a in issued.subject}, {a.rfc4514_string() for a in request.subject})
        names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), result["sans"])


if __name__ == "__main__":
    unittest.main()
