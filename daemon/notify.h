/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What csrd reports to its service manager: ready, once the store is open, the
 * listeners are up and the first token's signer reports that its token is usable;
 * before that, what it waits for; afterwards, which tokens are up and whether the
 * store works.  The watchdog is fed by a timer of the loop, but only while the
 * threads of the store make progress.
 *
 * Without a manager no query is made and no timer runs, unless `always` is set.
 */
#ifndef CSRD_DAEMON_NOTIFY_H
#define CSRD_DAEMON_NOTIFY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "hsm/message.h"

#include <stdbool.h>
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
	bool always; /* look at signers and store without a service manager, too: somebody asks for
			notify_view */
};

/* One signer, as last heard of. */
struct notify_view {
	bool usable;                        /* it can be reached, and says that its token is usable */
	int64_t heard_us;                   /* when it last answered STATUS; 0: never */
	struct message_status_reply status; /* that answer; without texts: these are NULL */
};
/* By the place of its hsm; borrowed until the loop runs. */
const struct notify_view *notify_view(const struct notify *n, size_t index);
/* Whether the store answered the last time that it was asked. */
bool notify_store_is_usable(const struct notify *n);

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
