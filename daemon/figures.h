/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that csrd shows to a monitoring system, as one page in the text
 * format of Prometheus.  Nothing is asked for a page: it is made of what csrd
 * has counted, and of what its signers and its store said last (notify_view), so
 * it blocks on nobody.  doc/monitoring/README.md explains each figure.
 */
#ifndef CSRD_DAEMON_FIGURES_H
#define CSRD_DAEMON_FIGURES_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct api;
struct buf;
struct figures;
struct hsm;
struct http;
struct notify;
struct running;
struct store;
struct tls;

struct figures_options { /* all borrowed for the life */
	const struct api *api;
	const struct http *http;
	const struct notify *notify; /* with `always` */
	const struct running *running;
	const struct store *store;
	const struct tls *tls; /* NULL: none is spoken, and there are no figures of it */
	struct hsm **hsms;     /* in the order of the configuration */
	size_t hsms_len;
};
MUST_USE enum err figures_new(const struct figures_options *options, struct figures **ret_figures);
void figures_free(struct figures *figures); /* NULL is fine */

/* A reload ended: e says how. */
void figures_reloaded(struct figures *figures, enum err e);

void figures_put(const struct figures *figures, struct buf *b);

#endif
