"""A token that lies or cannot keep a promise, seen by the caller: a wrong signature (F50), a key that is weak or not
the one asked for (F51), attributes that are not as they must be (F52).  The request fails with 500, no CSR is
released, the key is destroyed, the audit trail and the log say so, and the next request works."""
# run: seconds=25 timeout=300
import random
import unittest

import faults
import harness

P256 = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


def read_back(attribute):
    return "C_GetAttributeValue attr " + attribute


def small_primes(count):
    primes, number = [], 2
    while len(primes) < count:
        if all(number % p for p in primes):
            primes.append(number)
        number += 1
    return primes


def roca_modulus():
    """Has the mark of CVE-2017-15361: modulo each small prime it is a power of 65537.  Nobody knows its factors."""
    product = 1
    for prime in small_primes(126):
        product *= prime
    residue = pow(65537, 0xC0FFEE, product)
    return residue + product * ((2 ** 2048 - 1 - residue) // product)


def close_primes_modulus():
    """p and the prime after it: Fermat's method takes one round."""
    rng = random.Random(51)
    primes = small_primes(200)

    def next_prime(number):
        number |= 1
        while any(number % p == 0 for p in primes) or pow(2, number - 1, number) != 1:
            number += 2
        return number
    p = next_prime(rng.getrandbits(1024) | 3 << 1022)
    return p * next_prime(p + 2)


def hexadecimal(number, size):
    return "hex " + number.to_bytes(size, "big").hex()


# what is told → (key type, rules, what the log names)
F50 = {
    "p256v1": ("p256v1", "C_Sign corrupt", r"signature"),
    "rsa2048": ("rsa2048", "C_Sign corrupt", r"signature"),
}
F51 = {
    "rsa for ec": ("p256v1", read_back("CKA_KEY_TYPE number 0"), r"key type"),
    "ec for rsa": ("rsa2048", read_back("CKA_KEY_TYPE number 3"), r"key type"),
    "1024 bits": ("rsa2048", read_back("CKA_MODULUS " + hexadecimal(2 ** 1023 + 1155, 128)), r"modulus|bits"),
    "exponent 3": ("rsa2048", read_back("CKA_PUBLIC_EXPONENT hex 03"), r"exponent"),
    "exponent 1": ("rsa2048", read_back("CKA_PUBLIC_EXPONENT hex 01"), r"exponent"),
    "even modulus": ("rsa2048", read_back("CKA_MODULUS " + hexadecimal(2 ** 2047 + 2, 256)), r"modulus|even|weak"),
    "roca": ("rsa2048", read_back("CKA_MODULUS " + hexadecimal(roca_modulus(), 256)), r"(?i)roca|CVE-2017-15361"),
    "close primes": ("rsa2048", read_back("CKA_MODULUS " + hexadecimal(close_primes_modulus(), 256)),
                     r"(?i)fermat|close"),
    "another curve": ("p256v1", read_back("CKA_EC_PARAMS hex 06052b81040022"), r"curve|parameters"),
    "explicit curve": ("p256v1", read_back("CKA_EC_PARAMS hex 3003020101"), r"curve|parameters"),
    "off the curve": ("p256v1", read_back("CKA_EC_POINT hex 044104" + "11" * 64), r"(?i)point|curve"),
    "infinity": ("p256v1", read_back("CKA_EC_POINT hex 040100"), r"(?i)point|curve"),
    "coordinate too large": (
        "p256v1", read_back("CKA_EC_POINT hex 044104%064x%064x" % (P256 + 5, 1)), r"(?i)point|curve"),
    "no point": ("p256v1", read_back("CKA_EC_POINT missing"), r"(?i)point|attribute"),
}
F52 = {
    "extractable": ("p256v1", read_back("CKA_EXTRACTABLE true"), r"wrongly set \[.*extractable"),
    "rsa extractable": ("rsa2048", read_back("CKA_EXTRACTABLE true"), r"wrongly set \[.*extractable"),
    "not sensitive": ("p256v1", read_back("CKA_SENSITIVE false"), r"not set \[.*sensitive"),
    "not always sensitive": ("p256v1", read_back("CKA_ALWAYS_SENSITIVE false"), r"not set \[.*sensitive"),
    "once extractable": ("p256v1", read_back("CKA_NEVER_EXTRACTABLE false"), r"not set \[.*extractable"),
    "not local": ("rsa2048", read_back("CKA_LOCAL false"), r"not set \[.*local"),
    "decrypts": ("rsa2048", read_back("CKA_DECRYPT true"), r"wrongly set \[.*decrypt"),
    "unwraps": ("rsa2048", read_back("CKA_UNWRAP true"), r"wrongly set \[.*unwrap"),
    "derives": ("p256v1", read_back("CKA_DERIVE true"), r"wrongly set \[.*derive"),
    "silent about local": ("p256v1", read_back("CKA_LOCAL missing"), r"not answered \[.*local"),
    "silent about sensitive": ("p256v1", read_back("CKA_SENSITIVE missing"), r"not answered \[.*sensitive"),
    "attribute error": ("p256v1", read_back("CKA_SENSITIVE error CKR_FUNCTION_FAILED"), r"CKR_FUNCTION_FAILED"),
    "general error": ("p256v1", read_back("CKA_EXTRACTABLE error"), r"CKR_GENERAL_ERROR"),
    "another label": ("p256v1", read_back("CKA_LABEL hex 6f74686572"), r"label"),
    "another id": ("p256v1", read_back("CKA_ID hex 0102"), r"\bid\b"),
}


class FaultLiesTest(faults.FaultCase):
    def lies(self, table):
        s = self.start_supervised({"log": {"level": "info"}})
        for what, (key_type, rule, words) in table.items():
            with self.subTest(lie=what):
                self.one_lie(key_type, rule, words)
        self.over()
        self.assertEqual(self.supervisor.ends, [], "a lie ends no process")
        self.assertTrue(s.hsm.is_running())
        self.finish()

    def one_lie(self, key_type, rule, words):
        s = self.s
        rows, keys = s.rows(), s.p11.labels()
        failed = faults.audit_objects(s.store_path, "csr.failed")
        already = len(s.hsm.log())
        s.shim.set(rule)
        # Whoever is lied to about ids cannot prove that nothing is left.
        answer = self.create_any((503,) if "CKA_ID" in rule else (500,), key_type=key_type)
        self.assertNotIn("CKR_", answer.body.decode(), "detail is for the log")
        s.shim.clear()
        s.wait_settled()
        self.assertEqual(s.rows(), rows, "no row")
        harness.wait_for("the end of the key", lambda: s.p11.labels() == keys, every=0.05)
        (csr_id,) = faults.audit_objects(s.store_path, "csr.failed") - failed
        said = harness.wait_for("an alarm in the log", lambda: [
            line for line in s.hsm.log()[already:].splitlines() if csr_id in line and " error: " in line])
        self.assertRegex("\n".join(said), words)
        self.assertEqual(s.get(csr_id).status, 404)
        self.ordinary_create(key_type=key_type)

    def test_F50_wrong_signature(self):
        self.lies(F50)

    def test_F51_weak_or_other_key(self):
        self.lies(F51)

    def test_F52_broken_promises(self):
        self.lies(F52)


if __name__ == "__main__":
    unittest.main()
