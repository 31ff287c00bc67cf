/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which token was served before, remembered in the state folder.  This
 * distinguishes an HSM that is away for now from one that was never there (start
 * again, or ask a person), and a start refuses a token put in the place of ours.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_SERVED_H
#define CSRD_HSM_SIGNER_TOKEN_SERVED_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/token/state_dir.h"
#include "hsm/signer/token/token.h"

#include <stdbool.h>

#define SERVED_NAME "token"

/* Serial number of the token found by this URI before.  E_NOTFOUND: none; E_DENIED, E_IO, E_NOMEM. */
MUST_USE enum err served_serial(const struct state_dir *dir, const char *uri, char serial[17]);

/* A token was found by this URI before. */
bool served_before(const struct state_dir *dir, const char *uri);

/*
 * The token found is the one found by this URI before, or it is the first; it
 * is remembered.  E_DENIED: it has another serial number.  E_IO, E_NOMEM.  Logs.
 */
MUST_USE enum err served_check(const struct state_dir *dir, const char *uri, const struct token *token);

#endif
