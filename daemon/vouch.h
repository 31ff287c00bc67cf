/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the signer of a token vouch for this store?  It remembers, across restarts,
 * how far the store had come (hsm.h, note-store).  A store that is behind that, or
 * that the signer does not know, may have gone back in time: a copy, a snapshot,
 * a restore.  A CSR that is open in it may have been answered since, so its row is
 * set aside (store_set_aside) before any request is sent to that signer, and
 * reconciliation does not destroy its key.
 *
 * Such a store does not know of CSRs that were made since, either.  So the keys of
 * which the signer does not know whether their CSRs stand (hsm.h, unsettled) are
 * confirmed as kept: nobody but a person destroys them.
 *
 * A link is accepted only after that, and after the signer was notified where the
 * store stands; then it is notified again a second after something was committed.
 */
#ifndef CSRD_DAEMON_VOUCH_H
#define CSRD_DAEMON_VOUCH_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

struct event_base;
struct hsm;
struct store;
struct vouch;

struct vouch_options {
	struct event_base *base; /* all borrowed for the life */
	struct store *store;
	struct hsm **hsms;
	size_t hsms_len;
};
/* Also takes store_on_commit.  E_NOMEM. */
MUST_USE enum err vouch_new(const struct vouch_options *options, struct vouch **ret_vouch);
/* After hsm_free of all and store_close.  NULL is fine. */
void vouch_free(struct vouch *v);

/* For hsm_options.on_hello. */
void vouch_hello(struct vouch *v, struct hsm *hsm);

/* Notifies the signers that are up how far the store has come; done is called within a second, or at once. */
void vouch_flush(struct vouch *v, void (*done)(void *arg), void *arg);

/* From now on neither hsm nor store is touched. */
void vouch_stop(struct vouch *v);

#endif
