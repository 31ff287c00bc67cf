/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the configuration file again without touching the loop: a thread that
 * lives for one reading, and a callback on the loop's thread.
 */
#ifndef CSRD_DAEMON_RELOAD_H
#define CSRD_DAEMON_RELOAD_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"

struct event_base;
struct reload;

/* fresh: owned by the callee; NULL when the file is bad, and problems then says why (borrowed). */
typedef void (*reload_done_fn)(void *arg, struct config *fresh, const struct buf *problems);

MUST_USE enum err reload_new(struct event_base *base, const char *path, reload_done_fn done, void *arg,
			     struct reload **ret_reload);
void reload_free(struct reload *reload); /* waits for a reading that runs; NULL is fine */

/*
 * If called while a reading runs, one more follows it, and only the last one is reported.
 * If the thread cannot be started, `done` reports it from inside the call.
 */
void reload_start(struct reload *reload);

#endif
