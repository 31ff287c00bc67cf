"""What tlog/ writes, read by other programs: Python with python3-cryptography here, openssl, and in tlog_go_test.py Go."""
# run: seconds=3
import base64
import hashlib
import json
import pathlib
import tempfile
import unittest

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import harness

SAY = harness.BIN.parent / "tests" / "tlog" / "tlog_say"
ORIGIN = "csr.example.org/log/1"
SIZE = 66000  # tiles on three levels


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(leaves):
    """RFC 6962 §2.1, level by level: a last one without a sibling is its own parent."""
    while len(leaves) > 1:
        pairs = [node(*leaves[i:i + 2]) for i in range(0, len(leaves) - 1, 2)]
        leaves = pairs + leaves[len(leaves) - len(leaves) % 2:]
    return leaves[0]


def path_of(number):
    text = "%03d" % (number % 1000)
    while number >= 1000:
        number //= 1000
        text = "x%03d/%s" % (number % 1000, text)
    return text


def tile_of(folder, level, number, width):
    name = "%s/tile/%s/%s" % (folder, level, path_of(number))
    return pathlib.Path(name if width == 256 else "%s.p/%d" % (name, width)).read_bytes()


def open_note(note, vkey):
    """The text of a note that is signed with this key of type 0x02."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    assert key[0] == 2 and hashlib.sha256(key[1:]).hexdigest()[:8] == key_id
    public = serialization.load_der_public_key(key[1:])
    text, lines = note.rsplit("\n\n", 1)
    for line in lines.splitlines():
        dash, signer, signature = line.split(" ")
        signature = base64.b64decode(signature, validate=True)
        if dash == "—" and signer == name and signature[:4].hex() == key_id:
            public.verify(signature[4:], (text + "\n").encode(), ec.ECDSA(hashes.SHA256()))
            return text + "\n"
    raise AssertionError("not signed with this key")


def root_of_proof(index, size, leaf, proof):
    """RFC 9162 §2.1.3.2."""
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        assert sn > 0
        if fn & 1 or fn == sn:
            r = node(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return r


class TlogTest(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="csrd-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.log = pathlib.Path(folder.name)
        harness.run([SAY, "log", cls.log, str(SIZE), ORIGIN])
        cls.vkey = (cls.log / "vkey").read_text(encoding="utf-8")

    def head(self, note):
        origin, size, root, end = open_note(note, self.vkey).split("\n")
        self.assertEqual((origin, end), (ORIGIN, ""))
        return int(size), base64.b64decode(root)

    def test_whole_log(self):
        size, root = self.head((self.log / "checkpoint").read_text(encoding="utf-8"))
        self.assertEqual(size, SIZE)
        leaves = []
        while len(leaves) < size:
            bundle = tile_of(self.log, "entries", len(leaves) // 256, min(256, size - len(leaves)))
            while bundle:
                length = int.from_bytes(bundle[:2], "big")
                entry, bundle = bundle[2:2 + length], bundle[2 + length:]
                fields = json.loads(entry)
                self.assertEqual(fields["index"], len(leaves))
                self.assertEqual(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode(), entry)
                leaves.append(hashlib.sha256(b"\0" + entry).digest())
        self.assertEqual(root_of(leaves), root)
        level, files = 0, 0
        while leaves:
            for first in range(0, len(leaves), 256):
                part = leaves[first:first + 256]
                self.assertEqual(tile_of(self.log, level, first // 256, len(part)), b"".join(part))
            files += (len(leaves) + 255) // 256
            leaves = [root_of(leaves[i:i + 256]) for i in range(0, len(leaves) - 255, 256)]
            level += 1
        self.assertEqual(level, 3)
        hashes_found = [path for path in (self.log / "tile").rglob("*") if path.is_file() and "entries" not in path.parts]
        self.assertEqual(len(hashes_found), files)

    def test_proofs(self):
        for index in (0, SIZE // 2, SIZE - 1):
            text = (self.log / "proofs" / ("%d.tlog-proof" % index)).read_text(encoding="utf-8")
            head, note = text.split("\n\n", 1)
            first, extra, number, *proof = head.split("\n")
            self.assertEqual((first, number), ("c2sp.org/tlog-proof@v1", "index %d" % index))
            entry = base64.b64decode(extra.removeprefix("extra "), validate=True)
            self.assertEqual(json.loads(entry)["index"], index)
            size, root = self.head(note)
            leaf = hashlib.sha256(b"\0" + entry).digest()
            self.assertEqual(root_of_proof(index, size, leaf, [base64.b64decode(line) for line in proof]), root)

    def test_openssl(self):
        note = (self.log / "checkpoint").read_text(encoding="utf-8")
        text, line = note.rsplit("\n\n", 1)
        text_path, signature_path = self.folder / "text", self.folder / "signature"
        text_path.write_text(text + "\n", encoding="utf-8")
        signature_path.write_bytes(base64.b64decode(line.split(" ")[2])[4:])
        command = ["openssl", "dgst", "-sha256", "-verify", self.log / "public.pem", "-signature", signature_path, text_path]
        self.assertEqual(harness.run(command).stdout, "Verified OK\n")

    def test_what_these_verifiers_refuse(self):
        note = (self.log / "checkpoint").read_text(encoding="utf-8")
        with self.assertRaises(InvalidSignature):
            open_note(note.replace("\n%d\n" % SIZE, "\n%d\n" % (SIZE + 1)), self.vkey)


if __name__ == "__main__":
    unittest.main()
