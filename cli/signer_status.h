/* SPDX-License-Identifier: Apache-2.0 */
/* One query to a signer: its status. */
#ifndef CSRD_CLI_SIGNER_STATUS_H
#define CSRD_CLI_SIGNER_STATUS_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"
#include "hsm/message.h"

/* Called at most once; status is borrowed until it returns. */
typedef void (*signer_status_fn)(void *arg, const struct message_status_reply *status);

/*
 * Connects to the token's signer, as csrctl, and asks.  E_OK: `told` was called.
 * Otherwise `why` gets one sentence: E_UNAVAIL (no answer within `seconds`, or it
 * does not serve us), or what the signer or the system reported.
 */
MUST_USE enum err signer_status_ask(const struct config_token *token, unsigned seconds, signer_status_fn told,
				    void *arg, struct buf *why);

struct hsm;
/* Why a signer could not be reached, after loop_run ended with e; hsm may be NULL. */
const char *signer_status_silence(const struct hsm *hsm, enum err e);

#endif
