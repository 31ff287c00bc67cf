/*
 * What this token can do, found out at start, and whether it still can, asked
 * when something failed: with throw-away key pairs labelled
 * "csrd-probe:<node>", which are destroyed at once.  Those that a crash left
 * are destroyed at the next start.
 */
#ifndef CSRD_HSM_SIGNER_PROBE_H
#define CSRD_HSM_SIGNER_PROBE_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/session.h"
#include "hsm/signer/token.h"

#define PROBE_LABEL_PREFIX "csrd-probe:"

/* "csrd-probe:<node>"; the host name for NULL. */
void probe_set_label(struct token *token, const char *node);

/*
 * Destroys what an earlier probe left, and finds for each family of key types
 * the strictest template that the token takes, and whether it relabels.  Fills
 * profiles, relabels and capabilities of the token; logs one line each.
 * As session_fail, E_HSM: the token makes no key with any template.
 */
MUST_USE enum err probe_run(struct session *s, struct token *token);

/*
 * Makes, uses and destroys one key of the cheapest type, after what an earlier
 * probe had to leave.  The session tells
 * what failed.  E_HSM, as session_fail.
 */
MUST_USE enum err probe_self_test(struct session *s, struct token *token);

#endif
