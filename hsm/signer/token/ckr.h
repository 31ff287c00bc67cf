/* SPDX-License-Identifier: Apache-2.0 */
/* Cryptoki return values (PKCS#11 v2.40 §5.1) in csrd's words: the one place where CK_RV becomes enum err. */
#ifndef CSRD_HSM_SIGNER_TOKEN_CKR_H
#define CSRD_HSM_SIGNER_TOKEN_CKR_H

#include "base/attr.h"
#include "base/err.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/*
 * E_OK         CKR_OK
 * E_NOMEM      this host is out of memory
 * E_UNAVAIL    the device, the token, the session or the login is gone, or the token is full
 * E_BUSY       the token grants no more sessions
 * E_UNSUPPORTED  curve or key size that this token does not do
 * E_PIN, E_PIN_LOCKED
 * E_BUG        a call that is wrong whatever the token does
 * E_HSM        everything else
 */
MUST_USE enum err ckr_err(CK_RV rv);

/* "CKR_DEVICE_ERROR"; "CKR_VENDOR_DEFINED" from 0x80000000 up; "unknown CK_RV".  Never NULL. */
const char *ckr_name(CK_RV rv);

/*
 * The call was turned away because the session or its login is gone: it did
 * nothing, a new session may help.
 */
bool ckr_is_session_lost(CK_RV rv);

/* The device or the token itself is gone or failing: the session can no longer be trusted. */
bool ckr_is_device_lost(CK_RV rv);

/*
 * A healthy token would not have returned this, whatever the request: more
 * than one request may be affected.
 */
bool ckr_is_trouble(CK_RV rv);

/* Of C_Login: the token was not reached, so it has not looked at the PIN. */
bool ckr_is_unreached(CK_RV rv);

/* A template, an attribute or a mechanism is refused: the probe's findings no longer hold. */
bool ckr_is_refusal(CK_RV rv);

/* The token reports that an object is not there; it may only mean that it was there and has gone. */
bool ckr_is_object_gone(CK_RV rv);

/* May be caused by what other threads do to the token meanwhile, and not occur the next time. */
bool ckr_may_pass(CK_RV rv);

/* A message argument pair for "%s (0x%lx)". */
#define CKR_ARGS(rv) ckr_name(rv), (rv)

#endif
