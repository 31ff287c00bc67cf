/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the probe (probe.h) found out about the token, kept over restarts in the
 * signer's state folder: throw-away keys, an RSA key among them, are not made
 * at each start, but only when there is reason to.
 *
 * A finding holds only for what it was made with: this release of csrd, the
 * module's file (path, size, modification time) and the version that it reports,
 * the token with its versions of hardware and firmware, and the mechanisms that it
 * offers.  One made with anything else, or a file that was cut or changed or cannot
 * be read, counts as none.  It is neither secret nor a safeguard: each key is read
 * back from the token all the same.
 */
#ifndef CSRD_HSM_SIGNER_KEY_PROBE_MEMORY_H
#define CSRD_HSM_SIGNER_KEY_PROBE_MEMORY_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/token/token.h"

#define PROBE_MEMORY_NAME "probe"

/*
 * Fills in the token's profiles' options, data and probed_us; the lists of
 * mechanisms are there already.  E_NOTFOUND: there is no finding that holds,
 * and the token is as it was.
 */
MUST_USE enum err probe_memory_recall(struct token *token);

/* Keeps them.  A failure is logged, and costs a probe at the next start. */
void probe_memory_keep(const struct token *token);

/* Forgets what was kept.  Logs likewise. */
void probe_memory_drop(const struct token *token);

#endif
