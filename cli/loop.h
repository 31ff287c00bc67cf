/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop of commands that talk to the signer: the store is dispatched on it too. */
#ifndef CSRD_CLI_LOOP_H
#define CSRD_CLI_LOOP_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"
#include "hsm/hsm.h"
#include "store/store.h"

#include <stdbool.h>

struct loop;

/* store is borrowed until loop_free; NULL: none.  E_NOMEM. */
MUST_USE enum err loop_new(struct store *store, struct loop **ret_loop);
void loop_free(struct loop *loop); /* NULL is fine */

struct loop_link {
	const struct config_token *token; /* whose signer; borrowed for the call */
	unsigned seconds;
	hsm_link_fn on_link;
	void *arg;
};

/*
 * Connects to the token's signer, as csrctl; loop_run ends with E_TIMEOUT when that takes longer than
 * `seconds`, until loop_clear_timeout.  *ret_hsm: hsm_free it before the loop.
 */
MUST_USE enum err loop_connect(struct loop *loop, const struct loop_link *link, struct hsm **ret_hsm);
void loop_clear_timeout(struct loop *loop);

/*
 * Whether the signer of a link that is up vouches for the store (daemon/vouch.h).  Changes nothing.  done is
 * called once (from inside when out of memory).
 */
typedef void (*loop_vouched_fn)(void *arg, enum err e, bool vouched);
void loop_ask_vouched(struct store *store, struct hsm *hsm, loop_vouched_fn done, void *arg);

/* Asked again and again while loop_run runs; true ends it with E_TIMEOUT. */
typedef bool (*loop_when_fn)(void);
void loop_stop_when(struct loop *loop, loop_when_fn when);

/* Runs until loop_stop and returns what that was given; E_TIMEOUT; E_IO. */
MUST_USE enum err loop_run(struct loop *loop);
void loop_stop(struct loop *loop, enum err e);

#endif
