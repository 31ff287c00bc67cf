/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What csrd reports to its service manager: ready, once the store is open, the
 * listeners are up and the first token's signer reports that its token is usable;
 * before that, what it waits for; afterwards, which tokens are up and whether the
 * store works.  The watchdog is fed by a timer of the loop, but only while the
 * threads of the store make progress.
 *
 * Without a manager no query is made and no timer runs.
 */
#ifndef CSRD_DAEMON_NOTIFY_H
#define CSRD_DAEMON_NOTIFY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct hsm;
struct notify;
struct store;

struct notify_options {
	struct event_base *base;
	struct store *store;
	struct hsm **hsms; /* borrowed; the first is the one that ready waits for */
	size_t hsms_len;
};

/* For a start that takes long: the store is checked, or migrated to a newer schema. */
void notify_opening_store(void);

MUST_USE enum err notify_new(const struct notify_options *options, struct notify **ret_notify);
/* After the signers' links and the store, whose callbacks come here.  NULL is fine. */
void notify_free(struct notify *n);

/* For these n may be NULL: a signal or a link may come before notify_new. */
void notify_link(struct notify *n, const struct hsm *hsm); /* came up or went down */
void notify_reloading(struct notify *n);
/* problems: NULL when the new file took effect; else its first line goes into the status. */
void notify_reloaded(struct notify *n, const struct buf *problems);
/* The process ends by itself within within_ms. */
void notify_stopping(struct notify *n, unsigned in_flight, uint64_t within_ms);

#endif
