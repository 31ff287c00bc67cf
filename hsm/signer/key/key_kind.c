/* SPDX-License-Identifier: Apache-2.0 */
/* The table of key types. */
#include "hsm/signer/key/key_kind.h"

#include <openssl/objects.h>

/* Object identifiers: RFC 5480 §2.1.1.1, RFC 8410 §3. */
static const uint8_t p256_oid[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t p384_oid[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t ed25519_oid[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
/* PrintableString "edwards25519" */
static const uint8_t ed25519_name[] = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r',
				       'd',  's',  '2', '5', '5', '1', '9'};

#define RSA(size)                                                                                            \
	{                                                                                                    \
		.family = KEY_FAMILY_RSA, .bits = size, .signature_nid = NID_sha256WithRSAEncryption,        \
		.digest = EVP_sha256                                                                         \
	}

static const struct key_kind kinds[KEY_TYPE_MAX + 1] = {
    [KEY_RSA2048] = RSA(2048),
    [KEY_RSA3072] = RSA(3072),
    [KEY_RSA4096] = RSA(4096),
    [KEY_P256V1] =
	{
	    .family = KEY_FAMILY_EC,
	    .bits = 256,
	    .signature_nid = NID_ecdsa_with_SHA256,
	    .digest = EVP_sha256,
	    .curve_nid = NID_X9_62_prime256v1,
	    .group = "prime256v1",
	    .oid = p256_oid,
	    .oid_len = sizeof(p256_oid),
	    .point_bytes = 65,
	},
    [KEY_P384V1] =
	{
	    .family = KEY_FAMILY_EC,
	    .bits = 384,
	    .signature_nid = NID_ecdsa_with_SHA384,
	    .digest = EVP_sha384,
	    .curve_nid = NID_secp384r1,
	    .group = "secp384r1",
	    .oid = p384_oid,
	    .oid_len = sizeof(p384_oid),
	    .point_bytes = 97,
	},
    [KEY_ED25519] =
	{
	    .family = KEY_FAMILY_EDWARDS,
	    .bits = 255,
	    .signature_nid = NID_ED25519,
	    .curve_nid = NID_ED25519,
	    .group = "ED25519",
	    .oid = ed25519_oid,
	    .oid_len = sizeof(ed25519_oid),
	    .curve_name = ed25519_name,
	    .curve_name_len = sizeof(ed25519_name),
	    .point_bytes = 32,
	},
};

const struct key_kind *key_kind(enum key_type type)
{
	return key_type_is_valid(type) ? &kinds[type] : NULL;
}

#define WAYS_MAX 3
#define CKM_LUNA_RSA_186_3_PRIMES (CKM_VENDOR_DEFINED + 0x143) /* in FIPS mode Luna has no other */

/* Some modules in FIPS mode refuse PKCS#1 generation; some know Edwards curves by their names alone. */
static const struct key_way ways[][WAYS_MAX] = {
    [KEY_FAMILY_RSA] = {{"pkcs", CKM_RSA_PKCS_KEY_PAIR_GEN, false},
			{"x9.31", CKM_RSA_X9_31_KEY_PAIR_GEN, false},
			{"186-3", CKM_LUNA_RSA_186_3_PRIMES, false}},
    [KEY_FAMILY_EC] = {{"named curve", CKM_EC_KEY_PAIR_GEN, false}},
    [KEY_FAMILY_EDWARDS] = {{"oid", CKM_EC_EDWARDS_KEY_PAIR_GEN, false},
			    {"curve name", CKM_EC_EDWARDS_KEY_PAIR_GEN, true}},
};

const struct key_way *key_way(enum key_family family, unsigned way)
{
	return way < WAYS_MAX && ways[family][way].name ? &ways[family][way] : NULL;
}
