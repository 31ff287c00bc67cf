/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one login of this process (PKCS#11 v2.40 §5.6: a login counts for all
 * sessions of an application).  The PIN is in memory only during C_Login.  A PIN
 * that the token refused is not tried again by any thread, nor by a later start;
 * one that failed for unknown reasons is tried twice in all, a minute apart
 * (pin_guard.h).
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_LOGIN_H
#define CSRD_HSM_SIGNER_TOKEN_LOGIN_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/token/state_dir.h"
#include "hsm/signer/token/token.h"

#include <stdbool.h>
#include <stdint.h>

struct login;

/* All borrowed.  pin_name: what the operator calls pin_file, for the log.  E_NOMEM. */
MUST_USE enum err login_new(const struct token *token, const char *pin_file, const char *pin_name,
			    const struct state_dir *state, struct login **ret_login);
void login_free(struct login *login); /* NULL is fine */

/*
 * E_OK when the user is logged in, which may mean one C_Login now, or when the
 * token has no login.
 * Thread-safe.  Logs what fails, but not E_UNAVAIL and its like:
 *   E_PIN         refused now or before, or failed twice without a reason: this process does not try it again
 *   E_PIN_LOCKED  locked, or one try from it: no attempt is made
 *   E_CONFIG      the PIN file is missing, not a file, too long, or open to others; or a marker in the state
 *                 folder cannot be read
 *   E_IO          no marker can be written there, so the PIN is not tried
 *   E_UNAVAIL     with CKR_OK: another token is in the place of ours and gets no request; or it is too soon
 *   else          *ret_rv is what the token returned, now or less than a minute ago without a reason (CKR_OK
 *                 if it got no request)
 */
MUST_USE enum err login_ensure(struct login *login, CK_SESSION_HANDLE session, CK_RV *ret_rv);

/*
 * How often C_Login was called, counted before the call.  If two readings differ,
 * there was a time without a login between them.  Never waits.
 */
uint64_t login_attempts(const struct login *login);

/* The token refused the PIN, or would lock it: the process is to end with EXIT_CODE_PIN.  Never waits. */
bool login_is_refused(const struct login *login);

#endif
