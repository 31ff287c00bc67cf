/* SPDX-License-Identifier: Apache-2.0 */
/* Invariant I5: a request is parsed again from its bytes, and is what was asked for and nothing else. */
#ifndef CSRD_HSM_SIGNER_CSR_CSR_VERIFY_H
#define CSRD_HSM_SIGNER_CSR_CSR_VERIFY_H

#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"
#include "hsm/signer/key/spki.h"

#include <stddef.h>
#include <stdint.h>

/*
 * E_OK: the bytes are one DER request of version 0 whose subject is that of
 * `spec` entry by entry, with one extensionRequest that holds one
 * subjectAltName, not critical, equal to the SANs in value and order; whose
 * SubjectPublicKeyInfo is that of `public_key` and of the type asked for, with a
 * named curve if EC; and whose signature, by the one algorithm of that type
 * (key_kind.h), verifies with it over the bytes as they stand there.
 * E_HSM: it is not; *ret_reason is static text.  E_NOMEM.
 */
MUST_USE enum err csr_verify_der(const uint8_t *der, size_t len, const struct csr_spec *spec,
				 const struct spki *public_key, const char **ret_reason);

#endif
