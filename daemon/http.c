/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and answers: between the connections and the api, neither of which knows about the other. */
#include "daemon/http.h"

#include "api/api.h"
#include "api/request.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/str.h"
#include "base/uuid.h"
#include "daemon/answer.h"
#include "daemon/conn.h"
#include "daemon/conn_set.h"
#include "daemon/forwarded.h"
#include "daemon/head.h"
#include "daemon/traffic.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_BYTES 16
#define IDS_MAX 256 /* read ahead */

struct http {
	struct http_options options;
	struct conn_set *conns;
	unsigned in_flight;
	bool draining;
	struct traffic *traffic;
	uint8_t ids[IDS_MAX][ID_BYTES];
	unsigned ids_used;
};

/* "192.0.2.7 via " and what the connection has. */
#define HTTP_PEER_SIZE (ADDRESS_SIZE + sizeof(" via ") + CONN_PEER_SIZE)

/* One request from the connection to the api's reply. */
struct exchange {
	struct request request;
	char peer[HTTP_PEER_SIZE]; /* when the connection is a proxy's */
	struct http *http;
	struct conn *conn;
	uint64_t began_ns;
};

/* ---- request ids ---- */

static enum err read_ids(struct http *http)
{
	enum err e = random_fill(http->ids, sizeof(http->ids));

	if (e == E_OK)
		http->ids_used = 0;
	return e;
}

/*
 * A random UUID (RFC 9562 §5.4), read ahead, so that most requests cost no
 * system call and none shows how many there were.  It names a request in logs
 * and answers and guards nothing: should randomness fail, the bytes at hand are
 * counted on.
 */
static void make_request_id(struct http *http, char ret_id[REQUEST_ID_SIZE])
{
	uint8_t *id;

	if (http->ids_used == IDS_MAX && read_ids(http) != E_OK)
		http->ids_used = 0;
	id = http->ids[http->ids_used++];
	uuid_mark_random(id);
	uuid_format(ret_id, id);
	for (int i = ID_BYTES - 1; i > 8 && ++id[i] == 0; i--)
		;
}

/* ---- exchanges ---- */

static void say_if_drained(struct http *http)
{
	if (http->draining && http->in_flight == 0 && conn_set_len(http->conns) == 0)
		http->options.on_drained(http->options.arg);
}

static void exchange_free(struct exchange *ex)
{
	struct http *http = ex->http;

	http->in_flight--;
	free(ex);
	say_if_drained(http);
}

static const char *exchange_header(const struct request *r, const char *name)
{
	const struct exchange *ex = r->transport;

	return head_field(conn_head(ex->conn), name);
}

/* The reply's body as memory of our own; NULL when there is none to send. */
static enum err take_body(const struct request *r, const struct reply *reply, char **ret_body)
{
	char *body = reply->body_is_given ? reply->body : NULL;

	if (r->method == HTTP_HEAD || reply->body_len == 0) {
		free(body);
		body = NULL;
	} else if (!body) {
		body = malloc(reply->body_len);
		if (!body)
			return E_NOMEM;
		memcpy(body, reply->body, reply->body_len);
	}
	*ret_body = body;
	return E_OK;
}

static void exchange_reply(struct request *r, const struct reply *reply)
{
	const struct log_context context = {.request_id = r->id};
	struct exchange *ex = r->transport;
	char *body = NULL;
	struct buf head;
	bool close = conn_must_close(ex->conn);

	traffic_count(ex->http->traffic, r, reply->status, clock_ns() - ex->began_ns);
	if (conn_is_gone(ex->conn))
		log_write(LOG_LEVEL_INFO, &context, "the client left before its answer, a %d", reply->status);
	buf_init(&head, ANSWER_HEAD_MAX);
	if (take_body(r, reply, &body) != E_OK)
		head.status = E_NOMEM;
	answer_put_head(&head, reply, r->id, close);
	if (buf_status(&head) == E_OK) {
		conn_send(ex->conn, &head, body, body ? reply->body_len : 0, close);
	} else {
		log_write(LOG_LEVEL_ERROR, &context, "an answer could not be built: %s",
			  err_str(buf_status(&head)));
		free(body);
		conn_abort(ex->conn);
	}
	buf_release(&head);
	exchange_free(ex);
}

/* The caller is the connection's peer, or whoever a proxy that is trusted says. */
static void exchange_take_caller(struct exchange *ex)
{
	struct request *r = &ex->request;
	char caller[ADDRESS_SIZE];
	const char *why;
	int status;

	r->caller = *conn_address(ex->conn);
	r->peer = conn_peer(ex->conn);
	/* What the connection of a proxy is known by is the proxy's, whatever it says of the caller. */
	if (!forwarded_is_trusted(ex->http->options.config, conn_address(ex->conn))) {
		r->known = conn_known(ex->conn);
		return;
	}
	/* of a head that was refused only some fields may be known, and not the last, which count most */
	if (conn_is_refused(ex->conn, &status, &why) ||
	    !forwarded_find(ex->http->options.config, conn_head(ex->conn), conn_address(ex->conn),
			    &r->caller))
		return;
	address_format(&r->caller, caller);
	snprintf(ex->peer, sizeof(ex->peer), "%s via %s", caller, conn_peer(ex->conn));
	r->peer = ex->peer;
}

static enum err exchange_fill(struct exchange *ex)
{
	struct request *r = &ex->request;
	const struct head *head = conn_head(ex->conn);

	r->method = head->method;
	r->path = head->path ? head->path : ""; /* refused */
	r->query = head->query;
	r->header = exchange_header;
	exchange_take_caller(ex);
	r->over_tls = conn_is_tls(ex->conn);
	ex->began_ns = clock_ns();
	r->deadline_ms = ex->began_ns / 1000000 + ex->http->options.config->request_timeout_ms;
	make_request_id(ex->http, r->id);
	r->reply = exchange_reply;
	r->transport = ex;
	return conn_body(ex->conn, &r->body, &r->body_len);
}

static void on_request(void *arg, struct conn *conn)
{
	struct http *http = arg;
	struct exchange *ex = calloc(1, sizeof(*ex));
	const char *why;
	int status;

	if (!ex) {
		conn_abort(conn);
		return;
	}
	ex->http = http;
	ex->conn = conn;
	http->in_flight++;
	if (exchange_fill(ex) != E_OK) {
		exchange_free(ex);
		conn_abort(conn);
		return;
	}
	if (conn_is_refused(conn, &status, &why))
		api_refuse(http->options.api, &ex->request, status, why);
	else
		api_handle(http->options.api, &ex->request);
}

/* ---- the server ---- */

static void on_no_connections(void *arg)
{
	say_if_drained(arg);
}

static void http_on_room(void *arg, bool room)
{
	struct http *http = arg;

	http->options.on_room(http->options.arg, room);
}

enum err http_new(struct event_base *base, const struct http_options *options, struct http **ret_http)
{
	struct http *http = calloc(1, sizeof(*http));
	struct conn_set_options conns = {
	    .config = options->config,
	    .exempt = options->exempt,
	    .connections_max = options->connections_max,
	    .on_request = on_request,
	    .on_room = http_on_room,
	    .on_empty = on_no_connections,
	    .arg = http,
	};
	enum err e;

	if (!http)
		return E_NOMEM;
	http->options = *options;
	e = read_ids(http);
	if (e == E_OK)
		e = traffic_new(&http->traffic);
	if (e == E_OK)
		e = conn_set_new(base, &conns, &http->conns);
	if (e != E_OK) {
		http_free(http);
		return e;
	}
	*ret_http = http;
	return E_OK;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	assert(http->in_flight == 0);
	conn_set_free(http->conns);
	traffic_free(http->traffic);
	free(http);
}

struct conn_set *http_conns(struct http *http)
{
	return http->conns;
}

void http_drain(struct http *http)
{
	http->draining = true;
	conn_set_drain(http->conns);
}

void http_put_requests(const struct http *http, struct buf *b)
{
	traffic_put(http->traffic, b);
}

void http_conn_figures(const struct http *http, struct conn_set_figures *ret_figures)
{
	conn_set_figures(http->conns, ret_figures);
}

unsigned http_in_flight(const struct http *http)
{
	return http->in_flight;
}

unsigned http_connections(const struct http *http)
{
	return conn_set_len(http->conns);
}
