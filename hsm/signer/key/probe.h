/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this token can do, found out at start, and whether it still can, asked
 * when something failed: with throw-away key pairs labelled
 * "csrd-probe:<hash of node and state_dir>", which are destroyed at once.  Those
 * that a crash left are destroyed at the next start.
 */
#ifndef CSRD_HSM_SIGNER_KEY_PROBE_H
#define CSRD_HSM_SIGNER_KEY_PROBE_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/token/session.h"
#include "hsm/signer/token/token.h"

#include <stdbool.h>

#define PROBE_LABEL_PREFIX "csrd-probe:"

/* The label of its keys; node: the host name for NULL. */
void probe_set_label(struct token *token, const char *node, const char *state_dir);

/*
 * Takes over what an earlier process found out about this very token, as if
 * probe_run had found it.  False: there is nothing that still holds
 * (probe_memory.h).  Makes no key.
 */
bool probe_recall(struct token *token);

/*
 * Destroys what an earlier probe left, and finds for each family of key types
 * the strictest template that the token takes, and whether it keeps data
 * objects.  Fills in the token what token.h says, logs one line each, and keeps
 * it for the next start, unless it rests on an answer that may have had other
 * reasons.
 * After an error what was known before is still known.
 * As session_fail, E_HSM: the token makes no key with any template.
 */
MUST_USE enum err probe_run(struct session *s, struct token *token);

/*
 * Destroys what an earlier probe had to leave, then makes, uses and destroys one
 * key of the cheapest type.  The session says what failed.  E_HSM, as session_fail.
 */
MUST_USE enum err probe_self_test(struct session *s, struct token *token);

#endif
