/* SPDX-License-Identifier: Apache-2.0 */
/* Key types and what a token reports about a private key.  Shared vocabulary of api, store and hsm. */
#ifndef CSRD_BASE_KEY_H
#define CSRD_BASE_KEY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Values are stored and sent over the wire: never renumber. */
enum key_type {
	KEY_RSA2048 = 1, /* RSA, 2048 bits, e = 65537; CSR signed with SHA-256 */
	KEY_P256V1 = 2,  /* ECDSA on NIST P-256 (prime256v1); SHA-256 */
	KEY_RSA3072 = 3, /* as KEY_RSA2048, of 3072 bits */
	KEY_RSA4096 = 4, /* as KEY_RSA2048, of 4096 bits */
	KEY_P384V1 = 5,  /* ECDSA on NIST P-384 (secp384r1); SHA-384 */
	KEY_ED25519 = 6, /* EdDSA on edwards25519 (RFC 8032); signs the message itself */
};
#define KEY_TYPE_MAX 6                                  /* the highest value above */
#define KEY_TYPES_ALL (((1u << KEY_TYPE_MAX) - 1) << 1) /* the set of them all */

/* "rsa2048", "p256v1", "rsa3072", "rsa4096", "p384v1", "ed25519"; "?" for an unknown value. */
const char *key_type_name(enum key_type type);
MUST_USE enum err key_type_parse(const char *name, enum key_type *ret_type); /* E_INVAL */
bool key_type_is_valid(uint64_t value);

/* A set of key types: bit (1u << type). */
typedef uint32_t key_type_set;
#define KEY_TYPE_BIT(type) ((key_type_set)1u << (unsigned)(type))
/* "rsa2048, p256v1" in the order of the enum; "none" for the empty set. */
void key_type_set_format(key_type_set set, struct buf *b);

#define KEY_ID_BYTES 16        /* CKA_ID: random */
#define KEY_SPKI_HASH_BYTES 32 /* SHA-256 of the DER SubjectPublicKeyInfo */

/*
 * Attributes of a private key as read back from the token (PKCS#11 v2.40
 * §4.9 Table 29): a set bit is an attribute that was CK_TRUE.
 */
enum key_protection {
	KEY_PROT_TOKEN = 1 << 0,
	KEY_PROT_PRIVATE = 1 << 1,
	KEY_PROT_SENSITIVE = 1 << 2,
	KEY_PROT_ALWAYS_SENSITIVE = 1 << 3,
	KEY_PROT_EXTRACTABLE = 1 << 4,
	KEY_PROT_NEVER_EXTRACTABLE = 1 << 5,
	KEY_PROT_LOCAL = 1 << 6,
	KEY_PROT_SIGN = 1 << 7,
	KEY_PROT_SIGN_RECOVER = 1 << 8,
	KEY_PROT_DECRYPT = 1 << 9,
	KEY_PROT_UNWRAP = 1 << 10,
	KEY_PROT_DERIVE = 1 << 11,
};
#define KEY_PROT_REQUIRED                                                                                    \
	(KEY_PROT_TOKEN | KEY_PROT_PRIVATE | KEY_PROT_SENSITIVE | KEY_PROT_ALWAYS_SENSITIVE |                \
	 KEY_PROT_NEVER_EXTRACTABLE | KEY_PROT_LOCAL | KEY_PROT_SIGN)
#define KEY_PROT_FORBIDDEN                                                                                   \
	(KEY_PROT_EXTRACTABLE | KEY_PROT_SIGN_RECOVER | KEY_PROT_DECRYPT | KEY_PROT_UNWRAP | KEY_PROT_DERIVE)
#define KEY_PROT_MAX ((1u << 12) - 1)

/* "token,private,sensitive,…": the names of the set bits in the order above. */
void key_protection_format(uint32_t protection, struct buf *b);
/* The bit of one name ("decrypt"); E_INVAL. */
MUST_USE enum err key_protection_parse(const char *name, uint32_t *ret_bit);

#endif
