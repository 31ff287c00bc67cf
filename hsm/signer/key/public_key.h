/* SPDX-License-Identifier: Apache-2.0 */
/* The public half of a new pair, from the token into OpenSSL, and checked there. */
#ifndef CSRD_HSM_SIGNER_KEY_PUBLIC_KEY_H
#define CSRD_HSM_SIGNER_KEY_PUBLIC_KEY_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/spki.h"
#include "hsm/signer/token/session.h"

/*
 * Of the type of `key`: an RSA modulus or a point of the named curve in which
 * weak_key.h and OpenSSL's own check find nothing.  E_HSM for anything else;
 * else as session_fail.  *ret_key is owned (spki_free).
 */
MUST_USE enum err public_key_read(struct session *s, const struct key *key, struct spki **ret_key);

#endif
