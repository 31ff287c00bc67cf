/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to reconcile: at start as soon as a token's link is up, after each
 * reconnect, when the api asks for it (each of these with a few more passes after it,
 * since a signer may be at work still), and on the [policy] reconcile_interval.
 * Each pass settles rows; the first one, and from then on one an hour, compares
 * all keys of the token with the store.  One pass at a time.
 */
#ifndef CSRD_DAEMON_RECONCILER_H
#define CSRD_DAEMON_RECONCILER_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>

struct api;
struct event_base;
struct hsm;
struct reconcile_report;
struct reconciler;
struct store;

struct reconciler_options {
	const struct config *config; /* all borrowed for the life */
	struct store *store;
	const struct api *api;
	struct hsm **hsms;
	size_t hsms_len;
	/* After each whole comparison of a token with the store.  NULL is fine. */
	void (*on_compared)(void *arg, const char *token_name, const struct reconcile_report *report);
	void *arg;
};
MUST_USE enum err reconciler_new(struct event_base *base, const struct reconciler_options *options,
				 struct reconciler **ret_reconciler);
void reconciler_free(struct reconciler *r); /* only when no pass runs; NULL is fine */

/* The link to this token came up. */
void reconciler_link_up(struct reconciler *r, const struct hsm *hsm);

/* Something is unsettled: run a pass soon. */
void reconciler_want(struct reconciler *r);

/* The interval may have changed. */
void reconciler_reload(struct reconciler *r);

/* Starts no further pass; the running one ends soon and, from now on, without touching its hsm. */
void reconciler_stop(struct reconciler *r);

bool reconciler_runs(const struct reconciler *r);

#endif
