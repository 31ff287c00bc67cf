/*
 * The connections under evhttp: the gate that holds bytes back until one whole
 * request may pass, the times of a connection, and their number.  See http.h
 * for the rules.
 *
 * A connection is made by conn_set_bufferevent, which evhttp calls for each
 * accepted socket, and goes with the evhttp_connection above it.
 */
#ifndef CSRD_DAEMON_CONN_H
#define CSRD_DAEMON_CONN_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>
#include <stdint.h>

struct bufferevent;
struct event_base;
struct evhttp_connection;
struct evhttp_request;
struct conn;
struct conn_set;

struct conn_set_options {
	const struct config_http *config; /* borrowed for the life */
	uint64_t connections_max;
	void (*on_room)(void *arg, bool room);
	void (*on_empty)(void *arg); /* after conn_set_drain, when the last one is gone */
	void *arg;
};
MUST_USE enum err conn_set_new(struct event_base *base, const struct conn_set_options *options,
                               struct conn_set **ret_set);
void conn_set_free(struct conn_set *set); /* after evhttp_free; NULL is fine */

/* For evhttp_set_bevcb; arg is the set.  NULL when memory is out. */
struct bufferevent *conn_set_bufferevent(struct event_base *base, void *arg);

struct conn *conn_find(const struct conn_set *set, struct evhttp_connection *evcon); /* NULL: none */
unsigned conn_set_len(const struct conn_set *set);
bool conn_set_make_room(struct conn_set *set);
void conn_set_drain(struct conn_set *set);

const char *conn_peer(const struct conn *conn);

/* True when the request that evhttp just handed over stands in for one that was refused. */
bool conn_is_refused(const struct conn *conn, int *ret_status, const char **ret_why);

/* The answer's connection must be closed: the client asked for it, it was refused, or we are draining. */
bool conn_must_close(const struct conn *conn);

/* The request's holder; on_gone is called when the connection goes before conn_sends. */
void conn_hold(struct conn *conn, void (*on_gone)(void *arg), void *arg);

/* The answer was handed to evhttp: the connection goes on, or closes, once it is sent. */
void conn_sends(struct conn *conn, struct evhttp_request *evreq, bool close);

#endif
