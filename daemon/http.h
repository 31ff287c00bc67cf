/*
 * HTTP/1.1 in front of the api: evhttp behind a gate.
 *
 * evhttp parses leniently and limits idleness only, so each connection's bytes
 * are held back until the head of one request is whole and head.c has found
 * nothing wrong with it; then evhttp gets that request, and nothing behind it
 * before its answer is sent.  A request that is refused never reaches evhttp:
 * it is answered through api_refuse and the connection is closed.
 *
 * Times (struct config_http): a connection may be idle for idle_timeout_ms; a
 * whole request must come within idle_timeout_ms of its first byte and its
 * answer be taken within as much, both absolute; request_timeout_ms becomes
 * the deadline that the api keeps.
 *
 * Past the cap of connections the one that has been idle longest makes room,
 * or else the one that has been sending its request longest (each has a moment
 * of grace); when there is none, on_room(false) asks for no more to be accepted.
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
struct event_base;
struct evconnlistener;
struct http;

struct http_options {
	const struct config_http *config; /* borrowed for the life; read anew for each request */
	struct api *api;                  /* borrowed for the life */
	uint64_t connections_max;         /* beside config->max_connections: what the descriptors allow */
	void (*on_room)(void *arg, bool room); /* stop, or go on, accepting */
	void (*on_drained)(void *arg);    /* after http_drain: all is answered and the last connection gone */
	void *arg;
};
MUST_USE enum err http_new(struct event_base *base, const struct http_options *options,
                           struct http **ret_http);

/* Only when http_in_flight is 0.  Closes listeners and connections.  NULL is fine. */
void http_free(struct http *http);

/* Serves what the listener accepts; takes it until http_stop_listening or http_free. */
MUST_USE enum err http_serve(struct http *http, struct evconnlistener *listener);
void http_stop_listening(struct http *http);

/* Closes the connection that has done nothing for longest; false when none may be closed. */
bool http_make_room(struct http *http);

/*
 * Answers what is in flight with "Connection: close", closes idle connections
 * now, and soon those that are new or in the middle of a request.  on_drained
 * follows, later.
 */
void http_drain(struct http *http);

unsigned http_in_flight(const struct http *http);
unsigned http_connections(const struct http *http);

#endif
