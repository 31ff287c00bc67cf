/* SPDX-License-Identifier: Apache-2.0 */
/* A signature made in the token, in the form that a CSR carries (RFC 5280 §4.1.1.3). */
#ifndef CSRD_HSM_SIGNER_KEY_SIGN_H
#define CSRD_HSM_SIGNER_KEY_SIGN_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/token/session.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Signs as the key's type has it (key_kind.h): PKCS #1 v1.5 over SHA-256 with RSA;
 * ECDSA over the digest, as a DER ECDSA-Sig-Value (RFC 3279 §2.2.3); the bytes
 * themselves with Ed25519, 64 octets (RFC 8410 §6).  Appends to `signature`.
 * E_HSM, E_NOMEM, as session_fail.
 */
MUST_USE enum err sign_bytes(struct session *s, const struct key *key, const uint8_t *data, size_t len,
			     struct buf *signature);

#endif
