/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A public key that was read from the token and checked: as OpenSSL has it, and
 * as the SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) that goes into a CSR.  Made
 * once for each key, since OpenSSL 3.0 takes longer to encode or decode one
 * than a token to sign with it.  Not changed afterwards.
 */
#ifndef CSRD_HSM_SIGNER_KEY_SPKI_H
#define CSRD_HSM_SIGNER_KEY_SPKI_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

struct spki {
	EVP_PKEY *key;
	uint8_t sha256[KEY_SPKI_HASH_BYTES]; /* of the DER */
	int algorithm_nid;
	int parameters_type; /* V_ASN1_… of the algorithm's parameters */
	int curve_nid;       /* with V_ASN1_OBJECT: the named curve; else NID_undef */
	size_t bits_at;      /* where in the DER the octets of subjectPublicKey begin; they are its last */
	size_t len;
	uint8_t der[];
};

/*
 * Takes the key on success.  E_HSM: its encoding is not one that a CSR may have
 * (a curve that is not named, …); E_NOMEM.
 */
MUST_USE enum err spki_new(EVP_PKEY *key, struct spki **ret_spki);
void spki_free(struct spki *spki); /* NULL is fine */

/* Writes it into that of a request; neither encodes nor decodes the key.  E_NOMEM. */
MUST_USE enum err spki_put(const struct spki *spki, X509_PUBKEY *target);

#endif
