/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What csrd-hsm reports to its service manager: that it makes progress while the
 * module's calls return, ready, the token's state, stopping, and why it
 * ended.  The watchdog is fed by the server's loop, and only while the
 * watchdog of the module's calls finds nothing overdue.
 *
 * Without a manager all of this does nothing.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_NOTIFY_H
#define CSRD_HSM_SIGNER_SERVE_NOTIFY_H

#include "base/exit_code.h"
#include "hsm/signer/serve/workers.h"
#include "hsm/signer/token/token.h"

#include <stdint.h>

/* Once the calls into the module are watched. */
void notify_starting(const char *token_name);

/* The threads work. */
void notify_ready(struct workers *workers, const struct token *token);

/* Called once per round of the server's loop; returns ms until it wants to be called again; -1: never. */
int notify_look(struct workers *workers, const struct token *token, uint64_t now_ms);

/* The process ends by itself within that time. */
void notify_stopping(const char *why, uint64_t within_ms);

/* The start has failed, and the process ends after that time. */
void notify_pausing(uint64_t ms);

/* The last message; waits until it is sent. */
void notify_ended(enum exit_code code);

#endif
