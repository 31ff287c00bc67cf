/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running csrd reports to csrctl about itself, in a file beside the store that
 * is locked while csrd lives: its version, the values that are in force (a
 * reload does not take all of them over), which key types each token makes, and
 * what its last comparison with the store found.  Only csrctl reads it; csrd does
 * not need it, so a failure to write it is just one line in the log.
 */
#ifndef CSRD_DAEMON_RUNNING_H
#define CSRD_DAEMON_RUNNING_H

#include "api/reconcile.h"
#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

struct running;

/* config: borrowed for the life.  Writes the file, as does each call below.  E_NOMEM. */
MUST_USE enum err running_new(const struct config *config, struct running **ret_running);
void running_free(struct running *running); /* removes the file; NULL is fine */

/* The configuration has changed. */
void running_reloaded(struct running *running);

/* A token's signer reported the key types that it makes. */
void running_makes(struct running *running, const char *token_name, key_type_set key_types);

/* What the last comparison of the token at that place of the configuration found, borrowed; NULL: there was
   none yet. */
const struct reconcile_report *running_comparison(const struct running *running, size_t index,
						  int64_t *ret_at_us);

/* A token was compared with the store. */
void running_compared(struct running *running, const char *token_name, const struct reconcile_report *report);

#endif
