#!/usr/bin/python3
"""A small PKCS#11 client over ctypes, to look at a token past csrd.

It runs as a program of its own (one per question), because a module reads
SOFTHSM2_CONF once a process:

    p11.py MODULE LABEL PIN list            every private and public key, as JSON
    p11.py MODULE LABEL PIN steal KEYLABEL  tries each way to get that private key out, as JSON
    p11.py MODULE LABEL PIN make-half KEYLABEL    leaves a lone public P-256 key
    p11.py MODULE LABEL PIN make-pair KEYLABEL    leaves a P-256 pair
    p11.py MODULE LABEL PIN churn KEYLABEL    makes and destroys pairs until its input ends; how many
"""
import ctypes
import json
import os
import select
import sys
import time

ULONG = ctypes.c_ulong

CKU_USER = 1
CKF_RW_SESSION = 2
CKF_SERIAL_SESSION = 4
CKO_PUBLIC_KEY = 2
CKO_PRIVATE_KEY = 3
CKO_SECRET_KEY = 4
CKK = {0: "rsa", 3: "ec", 0x40: "edwards"}
CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_VALUE = 0x0, 0x1, 0x2, 0x3, 0x11
CKA_KEY_TYPE, CKA_ID, CKA_SENSITIVE, CKA_WRAP, CKA_SIGN = 0x100, 0x102, 0x103, 0x106, 0x108
CKA_MODULUS, CKA_MODULUS_BITS, CKA_VALUE_LEN = 0x120, 0x121, 0x161
CKA_EXTRACTABLE, CKA_EC_PARAMS, CKA_EC_POINT = 0x162, 0x180, 0x181
CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_EC_KEY_PAIR_GEN, CKM_AES_KEY_GEN = 0x0, 0x1040, 0x1080
CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD = 0x2109, 0x210A
UNAVAILABLE = ctypes.c_ulong(-1).value

FLAGS = {
    "token": 0x1, "private": 0x2, "sensitive": 0x103, "encrypt": 0x104, "decrypt": 0x105, "wrap": 0x106,
    "unwrap": 0x107, "sign": 0x108, "sign_recover": 0x109, "verify": 0x10A, "derive": 0x10C,
    "extractable": 0x162, "local": 0x163, "never_extractable": 0x164, "always_sensitive": 0x165,
}
# PKCS#11 v2.40 §2.1.2 and §2.3.3: what an RSA or EC private key holds that must not leave.
SECRETS = {
    "CKA_VALUE": 0x11, "CKA_PRIVATE_EXPONENT": 0x123, "CKA_PRIME_1": 0x124, "CKA_PRIME_2": 0x125,
    "CKA_EXPONENT_1": 0x126, "CKA_EXPONENT_2": 0x127, "CKA_COEFFICIENT": 0x128,
}
P256_PARAMS = bytes.fromhex("06082a8648ce3d030107")


class Attribute(ctypes.Structure):
    _fields_ = [("type", ULONG), ("value", ctypes.c_void_p), ("len", ULONG)]


class Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", ULONG), ("parameter", ctypes.c_void_p), ("len", ULONG)]


class Failure(Exception):
    def __init__(self, function, rv):
        super().__init__("%s: rv 0x%x" % (function, rv))
        self.rv = rv


class NoToken(Exception):
    pass


def template(**values):
    """Attributes by hexadecimal name: template(_102=b"id", _1=True)."""
    items = (Attribute * len(values))()
    keep = []
    for item, (name, value) in zip(items, values.items()):
        if isinstance(value, bool):
            data = ctypes.create_string_buffer(bytes([value]), 1)
        elif isinstance(value, int):
            data = ctypes.create_string_buffer(value.to_bytes(8, sys.byteorder), 8)
        else:
            data = ctypes.create_string_buffer(value, len(value))
        keep.append(data)
        item.type = int(name.lstrip("_"), 16)
        item.value = ctypes.cast(data, ctypes.c_void_p)
        item.len = len(data)
    items.keep = keep
    return items


class Session:
    def __init__(self, module, label, pin):
        self.lib = ctypes.CDLL(module)
        self.handle = ULONG()
        self.call("C_Initialize", None)
        try:
            self.open(label, pin)
        except Exception:
            self.try_call("C_Finalize", None)
            raise

    def open(self, label, pin):
        slot = self.find_slot(label)
        self.call("C_OpenSession", ULONG(slot), ULONG(CKF_SERIAL_SESSION | CKF_RW_SESSION), None, None,
                  ctypes.byref(self.handle))
        secret = pin.encode()
        self.call("C_Login", self.handle, ULONG(CKU_USER), secret, ULONG(len(secret)))

    def call(self, function, *arguments):
        rv = self.try_call(function, *arguments)
        if rv:
            raise Failure(function, rv)

    def try_call(self, function, *arguments):
        entry = getattr(self.lib, function)
        entry.restype = ULONG
        return entry(*arguments)

    def find_slot(self, label):
        count = ULONG()
        self.call("C_GetSlotList", 1, None, ctypes.byref(count))
        slots = (ULONG * count.value)()
        self.call("C_GetSlotList", 1, slots, ctypes.byref(count))
        for slot in slots[:count.value]:
            info = ctypes.create_string_buffer(512)
            self.call("C_GetTokenInfo", ULONG(slot), info)
            if info.raw[:32].decode().rstrip(" ") == label:
                return slot
        raise NoToken("no token labelled '%s'" % label)

    def find(self, **values):
        items = template(**values)
        self.call("C_FindObjectsInit", self.handle, items, ULONG(len(items)))
        found, batch, count = [], (ULONG * 256)(), ULONG()
        while True:
            self.call("C_FindObjects", self.handle, batch, ULONG(256), ctypes.byref(count))
            if not count.value:
                break
            found += batch[:count.value]
        self.call("C_FindObjectsFinal", self.handle)
        return found

    def get(self, handle, attribute):
        """(rv, bytes or None)"""
        item = Attribute(attribute, None, 0)
        rv = self.try_call("C_GetAttributeValue", self.handle, ULONG(handle), ctypes.byref(item), ULONG(1))
        if rv or item.len == UNAVAILABLE:
            # Some modules refuse only when a buffer is given: ask again with one.
            size = 4096
        else:
            size = item.len
        data = ctypes.create_string_buffer(max(size, 1))
        item = Attribute(attribute, ctypes.cast(data, ctypes.c_void_p), size)
        rv = self.try_call("C_GetAttributeValue", self.handle, ULONG(handle), ctypes.byref(item), ULONG(1))
        if rv or item.len == UNAVAILABLE:
            return rv, None
        return 0, data.raw[:item.len]

    def number(self, handle, attribute):
        rv, data = self.get(handle, attribute)
        return None if rv else int.from_bytes(data, sys.byteorder)


# ---- commands ------------------------------------------------------------------


def describe(session, handle, kind):
    _, label = session.get(handle, CKA_LABEL)
    _, key_id = session.get(handle, CKA_ID)
    key_type = session.number(handle, CKA_KEY_TYPE)
    flags = {}
    for name, attribute in FLAGS.items():
        rv, data = session.get(handle, attribute)
        if not rv and data:
            flags[name] = bool(data[0])
    public = None
    if CKK.get(key_type) == "rsa":
        _, public = session.get(handle, CKA_MODULUS)
    elif kind == "public":
        _, public = session.get(handle, CKA_EC_POINT)
    return {
        "class": kind, "label": (label or b"").decode("utf-8", "replace"), "id": (key_id or b"").hex(),
        "type": CKK.get(key_type, str(key_type)), "flags": flags, "public": public.hex() if public else None,
    }


def command_list(session):
    keys = []
    for kind, number in (("private", CKO_PRIVATE_KEY), ("public", CKO_PUBLIC_KEY)):
        for handle in session.find(_0=number):
            try:
                keys.append(describe(session, handle, kind))
            except Failure:
                continue  # destroyed while we looked
    return keys


def new_wrapping_key(session):
    handle = ULONG()
    items = template(_1=False, _103=True, _106=True, _161=32)
    session.call("C_GenerateKey", session.handle, ctypes.byref(Mechanism(CKM_AES_KEY_GEN, None, 0)), items,
                 ULONG(len(items)), ctypes.byref(handle))
    return handle


def new_pair(session, public, private):
    handles = ULONG(), ULONG()
    session.call("C_GenerateKeyPair", session.handle, ctypes.byref(Mechanism(CKM_EC_KEY_PAIR_GEN, None, 0)), public,
                 ULONG(len(public)), private, ULONG(len(private)), ctypes.byref(handles[0]), ctypes.byref(handles[1]))
    return handles


def wrap(session, wrapping, key):
    out, size = ctypes.create_string_buffer(8192), ULONG(8192)
    return session.try_call("C_WrapKey", session.handle, ctypes.byref(Mechanism(CKM_AES_KEY_WRAP_PAD, None, 0)),
                            wrapping, ULONG(key), out, ctypes.byref(size))


def command_steal(session, label):
    handles = session.find(_0=CKO_PRIVATE_KEY, _3=label.encode())
    if len(handles) != 1:
        raise SystemExit("%d private keys labelled '%s'" % (len(handles), label))
    key = handles[0]
    wrapping = new_wrapping_key(session)
    # The control: the same wrap of a key that may leave succeeds, so a refusal below means something.
    _, open_key = new_pair(session, template(_1=False, _180=P256_PARAMS),
                           template(_1=False, _2=True, _103=False, _162=True, _108=True))
    answer = {"wrap_control": wrap(session, wrapping, open_key.value), "wrap": wrap(session, wrapping, key)}
    answer["read_control"] = session.get(open_key.value, CKA_VALUE)[0]
    answer["read"] = {}
    for name, attribute in SECRETS.items():
        rv, data = session.get(key, attribute)
        answer["read"][name] = {"rv": rv, "bytes": len(data or b"")}
    answer["set"] = {}
    for name, items in (("sensitive=false", template(_103=False)), ("extractable=true", template(_162=True))):
        answer["set"][name] = session.try_call("C_SetAttributeValue", session.handle, ULONG(key), items, ULONG(1))
    copy, items = ULONG(), template(_162=True)
    answer["copy"] = session.try_call("C_CopyObject", session.handle, ULONG(key), items, ULONG(1), ctypes.byref(copy))
    return answer


def command_make(session, label, half):
    name, key_id = label.encode(), os.urandom(16)
    _, private = new_pair(session, template(_1=True, _3=name, _102=key_id, _180=P256_PARAMS),
                          template(_1=True, _2=True, _3=name, _102=key_id, _103=True, _162=False, _108=True))
    if half:
        session.call("C_DestroyObject", session.handle, private)
    return {"id": key_id.hex()}


def open_session(module, token, pin):
    """SoftHSM may miss a token at start whose files others write just then."""
    for _ in range(20):
        try:
            return Session(module, token, pin)
        except (NoToken, Failure) as error:
            reason = str(error)
            time.sleep(0.05)
    raise SystemExit(reason)


def command_churn(session, label):
    made = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        name = label.encode()
        public, private = new_pair(session, template(_1=True, _3=name, _180=P256_PARAMS),
                                   template(_1=True, _2=True, _3=name, _103=True, _162=False, _108=True))
        made += 1
        for key in (private, public):
            session.call("C_DestroyObject", session.handle, key)
    return made


def main():
    module, token, pin, command = sys.argv[1:5]
    session = open_session(module, token, pin)
    if command == "list":
        answer = command_list(session)
    elif command == "steal":
        answer = command_steal(session, sys.argv[5])
    elif command == "churn":
        answer = command_churn(session, sys.argv[5])
    elif command in ("make-half", "make-pair"):
        answer = command_make(session, sys.argv[5], command == "make-half")
    else:
        raise SystemExit("unknown command '%s'" % command)
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    session.try_call("C_Finalize", None)


if __name__ == "__main__":
    main()
