/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public keys that no proper generator makes, or that are known to be broken:
 * what the CA/Browser Forum's Baseline Requirements (§6.1.1.3, §6.1.6) have a CA
 * refuse, found before there is a CSR.  Numbers in, verdict out: no token here.
 *
 * E_OK: nothing is wrong with it.  E_HSM: it is weak or no key of that kind;
 * *ret_reason is static text.  E_NOMEM.
 */
#ifndef CSRD_HSM_SIGNER_KEY_WEAK_KEY_H
#define CSRD_HSM_SIGNER_KEY_WEAK_KEY_H

#include "base/attr.h"
#include "base/err.h"

#include <openssl/bn.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The modulus has exactly `bits` bits, is odd and has no factor below 752; the
 * exponent is 65537; it has no ROCA fingerprint (CVE-2017-15361), and 100 rounds of
 * Fermat's factorisation do not find two primes close to each other (CVE-2022-26320).
 */
MUST_USE enum err weak_key_check_rsa(const BIGNUM *modulus, const BIGNUM *exponent, int bits,
				     const char **ret_reason);

/* An uncompressed point (SEC 1 §2.3.3) on the named curve, with coordinates below its prime. */
MUST_USE enum err weak_key_check_ec(int curve_nid, const uint8_t *point, size_t len, const char **ret_reason);

/*
 * The encoding of a point on edwards25519 (RFC 8032 §5.1.3) in its one canonical
 * form, and not one of the eight points of small order.
 */
#define WEAK_KEY_ED25519_BYTES 32
MUST_USE enum err weak_key_check_ed25519(const uint8_t point[WEAK_KEY_ED25519_BYTES],
					 const char **ret_reason);

#endif
