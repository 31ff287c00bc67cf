/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All client connections together: how many there may be, which of them is
 * closed when one more comes, and how much of their answers may wait unsent.
 *
 * At the cap the connection that can best be spared is closed at once: one that
 * only lingers, then one that has made no progress for a second in the middle of
 * a request or an answer, then one that never sent anything, then the one idle
 * for longest, then one that has made no progress for a shorter time.  Each kind
 * has a moment of grace.  When none can be spared, on_room(false) asks for no more
 * to be accepted, and on_room(true) follows by itself.  Meanwhile, and for a second
 * after the last client that found the cap reached, each answer ends its
 * connection: a client that sends one request after the other always makes
 * progress, and could never be spared.
 *
 * With max_connections_per_address the same holds for each address, except that the new one is closed when
 * none of its own can be spared: it must not wait in the way of others.
 *
 * Past CONN_UNSENT_MAX bytes of answers the slowest reader is cut off first.
 */
#ifndef CSRD_DAEMON_CONN_SET_H
#define CSRD_DAEMON_CONN_SET_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct conn_set;
struct event_base;
struct sockaddr;
struct tls;

#define CONN_UNSENT_MAX ((uint64_t)64 * 1024 * 1024)

struct conn_set_options {
	const struct config_http *config;     /* borrowed for the life; read again for each request */
	const struct config_networks *exempt; /* from max_connections_per_address, likewise; NULL: all are */
	uint64_t connections_max;             /* beside config->max_connections: what the descriptors allow */
	void (*on_request)(void *arg, struct conn *conn); /* a request is complete, or refused: see conn.h */
	void (*on_room)(void *arg, bool room);            /* accept, or stop accepting */
	void (*on_empty)(void *arg); /* after conn_set_drain, when the last one is gone */
	void *arg;
};
MUST_USE enum err conn_set_new(struct event_base *base, const struct conn_set_options *options,
			       struct conn_set **ret_set);
void conn_set_free(struct conn_set *set); /* closes all of them; NULL is fine */

/* What is spoken where a connection came in. */
struct conn_door {
	struct tls *tls;  /* NULL: plain HTTP */
	bool takes_proxy; /* first, proxies that [http] proxy_protocol_from names tell who connects */
};

/*
 * Takes an accepted socket; closes it when out of memory, or while draining.  One that comes when there is no
 * room waits for it: so there may be one more descriptor than connections.
 */
void conn_set_accept(struct conn_set *set, int fd, const struct sockaddr *peer, struct conn_door door);

/* Closes the connection that can best be spared; false when none can. */
bool conn_set_make_room(struct conn_set *set);

/* Closes idle connections now and those in the middle of a request soon; answers say "close". */
void conn_set_drain(struct conn_set *set);

struct conn_set_figures {
	unsigned open;
	uint64_t max;
	uint64_t accepted;
	uint64_t evicted; /* closed to make room */
	uint64_t refused; /* closed at once, since their address had as many as it may */
	uint64_t unsent_bytes;
};
void conn_set_figures(const struct conn_set *set, struct conn_set_figures *ret_figures);

unsigned conn_set_len(const struct conn_set *set);

#endif
