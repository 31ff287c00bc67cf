/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 in front of the api: connections (conn_set.h, conn.h) on one side,
 * requests and replies (api/request.h) on the other.
 *
 * A request that is refused by the HTTP layer is answered through api_refuse,
 * in the same envelope, and its connection is closed.
 *
 * Everything runs on the loop's thread.
 */
#ifndef CSRD_DAEMON_HTTP_H
#define CSRD_DAEMON_HTTP_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>
#include <stdint.h>

struct api;
struct buf;
struct conn_set;
struct conn_set_figures;
struct event_base;
struct http;

struct http_options {
	const struct config_http *config;     /* borrowed for the life; read again for each request */
	const struct config_networks *exempt; /* from max_connections_per_address; likewise */
	struct api *api;                      /* borrowed for the life */
	uint64_t connections_max;             /* beside config->max_connections: what the descriptors allow */
	void (*on_room)(void *arg, bool room); /* go on, or stop, accepting */
	void (*on_drained)(void *arg); /* after http_drain: all is answered and the last connection gone */
	void *arg;
};
/* E_NOMEM; E_IO: no randomness. */
MUST_USE enum err http_new(struct event_base *base, const struct http_options *options,
			   struct http **ret_http);

/* Only when http_in_flight is 0.  Closes the connections.  NULL is fine. */
void http_free(struct http *http);

/* Its connections: whoever listens gives it accepted sockets there. */
struct conn_set *http_conns(struct http *http);

/*
 * Answers what is in flight with "Connection: close", closes idle connections
 * now, and soon those that are new or in the middle of a request.  on_drained
 * follows, later.
 */
void http_drain(struct http *http);

/* What was answered so far: by route, method and status, and how long it took from the last byte of the
   request until the answer began to be sent. */
void http_put_requests(const struct http *http, struct buf *b);
void http_conn_figures(const struct http *http, struct conn_set_figures *ret_figures);

unsigned http_in_flight(const struct http *http);
unsigned http_connections(const struct http *http);

#endif
