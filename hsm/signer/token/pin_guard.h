/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes sure that a PIN which the token refused is not tried again, by any
 * thread or any later start (invariant I6): wrong tries lock a token.
 *
 * A marker in the state folder is durable before the attempt and is removed
 * after an answer that is not a refusal.  So an attempt that was cut off (a crash
 * or a hang in C_Login, a power cut) counts as refused too: nobody knows
 * whether the token has counted it.
 *
 * Not every module reports a wrong PIN as such.  So a failure that does not
 * mean that the token was not reached is counted in the marker too: after two
 * the PIN is not tried again, and the second try comes a minute after the
 * first, so that an HSM which is starting has time to finish.
 *
 * The marker knows the PIN by its content, not by its file's inode or times: a
 * service manager hands out a fresh copy of a credential at each start.  It
 * must not reveal the PIN to somebody who can read a backup of the folder, and the
 * PIN of a cut-off attempt may be the right one.  So it holds 16 bits of
 * scrypt(PIN, 16 random bytes and the token's serial number): slow to guess
 * against, and too few to tell which of many guesses was right, while a PIN
 * that was changed is taken for the old one in one case of 65,536.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_PIN_GUARD_H
#define CSRD_HSM_SIGNER_TOKEN_PIN_GUARD_H

#include "base/attr.h"
#include "base/err.h"
#include "base/secret.h"
#include "hsm/signer/token/state_dir.h"

#define PIN_GUARD_MARKER "pin-refused"

#define PIN_GUARD_TRIES 2
#define PIN_GUARD_PAUSE_MS 60000

/*
 * May this PIN be tried?  E_OK: there is no marker, it is of another PIN or
 * token, or it records *ret_failures unexplained failures, the last of them at
 * least a minute ago.  E_BUSY: that minute is not over.  E_PIN: it was refused
 * before, that attempt was cut off, or it failed too often.  Logs.
 * E_IO (a marker that cannot be read), E_NOMEM: it must not be tried.
 * pin_name: where the PIN was read from, for the log.
 */
MUST_USE enum err pin_guard_check(const struct state_dir *dir, const char *serial, const char *pin_name,
				  const struct secret *pin, unsigned *ret_failures);

/* Before the attempt.  E_IO, E_NOMEM: it must not be made.  Logs. */
MUST_USE enum err pin_guard_arm(const struct state_dir *dir, const char *serial, const struct secret *pin);

/* After an unexplained failure, the `failures`th so far.  As pin_guard_arm. */
MUST_USE enum err pin_guard_count(const struct state_dir *dir, const char *serial, const struct secret *pin,
				  unsigned failures);

/* After an answer that is not a refusal.  Logs. */
void pin_guard_disarm(const struct state_dir *dir);

#endif
