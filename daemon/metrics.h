/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door for monitoring ([metrics] listen): GET /metrics there, and nothing
 * else.  It asks for no credential, and has connections of its own, so that a
 * full front door does not hide why it is full.
 */
#ifndef CSRD_DAEMON_METRICS_H
#define CSRD_DAEMON_METRICS_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

struct event_base;
struct figures;
struct metrics;

/* All borrowed for the life.  Logs the cause of a failure to listen; errors as of listen_new. */
MUST_USE enum err metrics_new(struct event_base *base, const struct config *config,
			      const struct figures *figures, struct metrics **ret_metrics);
void metrics_free(struct metrics *metrics); /* closes its connections; NULL is fine */

#endif
