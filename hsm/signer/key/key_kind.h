/* SPDX-License-Identifier: Apache-2.0 */
/* What each key type is made of, in terms of OpenSSL and DER: only a table. */
#ifndef CSRD_HSM_SIGNER_KEY_KEY_KIND_H
#define CSRD_HSM_SIGNER_KEY_KEY_KIND_H

#include "base/key.h"

#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_family {
	KEY_FAMILY_RSA,     /* PKCS #1 v1.5 signatures, e = 65537 */
	KEY_FAMILY_EC,      /* ECDSA on a prime curve of NIST */
	KEY_FAMILY_EDWARDS, /* pure EdDSA (RFC 8032) */
};

struct key_kind {
	enum key_family family;
	int bits;                      /* of the modulus, or of the curve's field */
	int signature_nid;             /* of a CSR signed with it */
	const EVP_MD *(*digest)(void); /* what is signed is this digest; NULL: the message itself */

	/* curves only */
	int curve_nid;
	const char *group;  /* OpenSSL's name */
	const uint8_t *oid; /* DER object identifier: a named curve, never explicit parameters */
	size_t oid_len;
	const uint8_t *curve_name; /* what PKCS#11 from v3.0 on also allows in its place; NULL: nothing */
	size_t curve_name_len;
	size_t point_bytes; /* EC: uncompressed (SEC 1 §2.3.3); Edwards: RFC 8032 §5.1.2 */
};

/* How a key of a family may be requested; those of a family are tried in this order. */
struct key_way {
	const char *name;
	CK_MECHANISM_TYPE mechanism;
	bool by_name; /* the curve by curve_name, not by oid */
};

/* NULL: there is no such way. */
const struct key_way *key_way(enum key_family family, unsigned way);

/* NULL for a value that is no key type. */
const struct key_kind *key_kind(enum key_type type);

#endif
