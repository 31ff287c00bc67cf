/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ops that wait for others: a repeated create (Idempotency-Key) and a repeated
 * delete are answered with the outcome of the first one, not with "busy".
 *
 * An op waits for one CSR.  It reads the row again when the op of this process
 * that works on it ends; if there is none, at intervals, since reconciliation or
 * another process will settle the row.  No op waits past its own deadline, and
 * at most api_options.waiting_max wait at a time.
 *
 * The api owns no timer: it asks the daemon for one turn at a time
 * (api_options.want_tick), and api_tick is that turn.
 */
#ifndef CSRD_API_WAIT_H
#define CSRD_API_WAIT_H

#include "api/op.h"

/*
 * Lets the op wait; it must not work on that CSR itself.  look is called once,
 * from a later turn, and answers the op or lets it wait again.  refusal
 * (static text) is the message of the 503 when its time is up.  Refuses the op
 * at once when its time is already up, when too many wait, and, while draining,
 * when no op works on the CSR.
 */
void wait_start(struct op *op, const char *csr_id, const char *refusal, void (*look)(struct op *op));

/* No op works on that CSR any longer: those that wait for it look in the next turn. */
void wait_wake(struct api *api, const char *csr_id);
/* All look in the next turn. */
void wait_wake_all(struct api *api);

/* The turn that was requested. */
void wait_tick(struct api *api);

#endif
