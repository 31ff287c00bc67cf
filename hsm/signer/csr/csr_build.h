/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PKCS #10 request (RFC 2986) from a subject, its names and a public key.
 * It knows no token: the signature comes from a callback.
 */
#ifndef CSRD_HSM_SIGNER_CSR_CSR_BUILD_H
#define CSRD_HSM_SIGNER_CSR_CSR_BUILD_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/csr.h"
#include "base/err.h"
#include "hsm/signer/key/spki.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Signs the bytes with the private half of the public key, over the digest that the
 * key's type has (key_kind.h): appends a PKCS #1 v1.5 block for RSA, a DER
 * ECDSA-Sig-Value for EC, the 64 octets of RFC 8032 §5.1.6 for Ed25519.
 */
typedef enum err (*csr_build_sign_fn)(void *arg, const uint8_t *data, size_t len, struct buf *signature);
struct csr_build_signer {
	csr_build_sign_fn sign;
	void *arg;
};

/*
 * Appends the DER of a request that was parsed again and verified
 * (csr_verify_der, invariant I5): nothing is appended otherwise.  `spec` has
 * passed csr_check.  E_HSM (what came back is not that request; *ret_reason is
 * static text), E_NOMEM, E_LIMIT (der's ceiling), or what the callback returned
 * (*ret_reason is then NULL).
 */
MUST_USE enum err csr_build(const struct csr_spec *spec, const struct spki *public_key,
			    const struct csr_build_signer *signer, struct buf *der, const char **ret_reason);

#endif
