/* Requests and answers: between evhttp and the api, each of which knows nothing of the other. */
#include "daemon/http.h"

#include "api/api.h"
#include "api/request.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/conn.h"
#include "daemon/head.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* evhttp's own limits stand far behind those of the gate. */
#define EVHTTP_HEADERS_BYTES (1024 * 1024)
#define EVHTTP_BODY_BYTES (1024 * 1024 * 1024)
#define EVHTTP_TIMEOUT_SECONDS (24 * 60 * 60)
#define EVHTTP_METHODS                                                                          \
	(EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | \
	 EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH)
#define LISTENERS_MAX CONFIG_LISTEN_MAX

struct http {
	struct http_options options;
	struct evhttp *evhttp;
	struct conn_set *conns;
	struct evhttp_bound_socket *bound[LISTENERS_MAX];
	unsigned bound_len;
	unsigned in_flight;
	bool draining;
	uint8_t process_id[8];  /* random: the first half of every request id */
	uint64_t requests;
};

/* One request from evhttp's callback to the api's reply. */
struct exchange {
	struct request request;
	struct http *http;
	struct conn *conn; /* NULL once the client's connection is gone */
	struct evhttp_request *evreq;
	char *target;      /* path, NUL, query */
	char peer[64];
	uint64_t started_ms;
};

static const char *reason(int status)
{
	switch (status) {
	case 409:
		return "Conflict";
	case 413:
		return "Content Too Large";
	case 415:
		return "Unsupported Media Type";
	case 417:
		return "Expectation Failed";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return NULL; /* evhttp knows it */
	}
}

static void say_if_drained(struct http *http)
{
	if (http->draining && http->in_flight == 0 && conn_set_len(http->conns) == 0)
		http->options.on_drained(http->options.arg);
}

static void on_no_connections(void *arg)
{
	say_if_drained(arg);
}

static void on_room(void *arg, bool room)
{
	struct http *http = arg;

	http->options.on_room(http->options.arg, room);
}

static void exchange_free(struct exchange *ex)
{
	struct http *http = ex->http;

	http->in_flight--;
	free(ex->target);
	free(ex);
	say_if_drained(http);
}

static void on_conn_gone(void *arg)
{
	struct exchange *ex = arg;

	ex->conn = NULL;
}

static const char *exchange_header(const struct request *r, const char *name)
{
	const struct exchange *ex = r->transport;

	return evhttp_find_header(evhttp_request_get_input_headers(ex->evreq), name);
}

/* False when a header cannot be said (evhttp refuses CR and LF) or memory is out. */
static bool add_headers(struct exchange *ex, const struct reply *reply, bool close)
{
	struct evkeyvalq *out = evhttp_request_get_output_headers(ex->evreq);
	char length[24];
	bool has_id = false;
	bool ok = true;

	for (size_t i = 0; i < reply->headers_len; i++) {
		has_id = has_id || str_equal_ignoring_case(reply->headers[i].name, "X-Request-Id");
		ok = ok && evhttp_add_header(out, reply->headers[i].name, reply->headers[i].value) == 0;
	}
	if (!has_id)
		ok = ok && evhttp_add_header(out, "X-Request-Id", ex->request.id) == 0;
	snprintf(length, sizeof(length), "%zu", reply->body_len);
	ok = ok && evhttp_add_header(out, "Content-Length", length) == 0;
	if (close)
		ok = ok && evhttp_add_header(out, "Connection", "close") == 0;
	return ok;
}

/* What stands for an answer that could not be built: no body, and the connection ends. */
static void send_bare_error(struct exchange *ex)
{
	struct evkeyvalq *out = evhttp_request_get_output_headers(ex->evreq);

	log_write(LOG_LEVEL_ERROR, &(struct log_context){.request_id = ex->request.id},
	          "an answer could not be built");
	evhttp_clear_headers(out);
	(void)evhttp_add_header(out, "Connection", "close");
	evhttp_send_reply(ex->evreq, 500, NULL, NULL);
}

static void exchange_reply(struct request *r, const struct reply *reply)
{
	struct exchange *ex = r->transport;
	struct evbuffer *body;
	bool close;

	if (ex->conn == NULL) {
		log_write(LOG_LEVEL_INFO, &(struct log_context){.request_id = r->id},
		          "the client left before its answer, a %d", reply->status);
		evhttp_send_reply(ex->evreq, reply->status, NULL, NULL); /* only frees it */
		exchange_free(ex);
		return;
	}
	close = conn_must_close(ex->conn);
	body = evbuffer_new();
	if (body == NULL || !add_headers(ex, reply, close) ||
	    (r->method != HTTP_HEAD && evbuffer_add(body, reply->body, reply->body_len) != 0)) {
		close = true;
		send_bare_error(ex);
	} else {
		evhttp_send_reply(ex->evreq, reply->status, reason(reply->status), body);
	}
	conn_sends(ex->conn, ex->evreq, close);
	if (body != NULL)
		evbuffer_free(body);
	exchange_free(ex);
}

static enum http_method method_of(struct evhttp_request *evreq)
{
	switch (evhttp_request_get_command(evreq)) {
	case EVHTTP_REQ_GET:
		return HTTP_GET;
	case EVHTTP_REQ_HEAD:
		return HTTP_HEAD;
	case EVHTTP_REQ_POST:
		return HTTP_POST;
	case EVHTTP_REQ_PUT:
		return HTTP_PUT;
	case EVHTTP_REQ_DELETE:
		return HTTP_DELETE;
	case EVHTTP_REQ_OPTIONS:
		return HTTP_OPTIONS;
	case EVHTTP_REQ_PATCH:
		return HTTP_PATCH;
	default:
		return HTTP_OTHER;
	}
}

/*
 * A UUID of version 8 (RFC 9562 §5.8): random for the process, then a count.
 * It names a request in logs and answers and need not be guess-proof, so it
 * costs no system call.
 */
static void make_request_id(struct http *http, char ret_id[REQUEST_ID_SIZE])
{
	uint64_t count = ++http->requests;
	uint8_t id[16];

	memcpy(id, http->process_id, sizeof(http->process_id));
	for (int i = 15; i >= 8; i--, count >>= 8)
		id[i] = (uint8_t)count;
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x80);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	str_hex(ret_id, id, 4);
	ret_id[8] = '-';
	str_hex(ret_id + 9, id + 4, 2);
	ret_id[13] = '-';
	str_hex(ret_id + 14, id + 6, 2);
	ret_id[18] = '-';
	str_hex(ret_id + 19, id + 8, 2);
	ret_id[23] = '-';
	str_hex(ret_id + 24, id + 10, 6);
}

static enum err exchange_fill(struct exchange *ex)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(ex->evreq);
	struct request *r = &ex->request;
	char *mark;

	ex->target = strdup(evhttp_request_get_uri(ex->evreq));
	if (ex->target == NULL)
		return E_NOMEM;
	mark = strchr(ex->target, '?');
	if (mark != NULL)
		*mark = '\0';
	r->method = method_of(ex->evreq);
	r->path = ex->target;
	r->query = mark == NULL ? NULL : mark + 1;
	r->header = exchange_header;
	r->body_len = evbuffer_get_length(in);
	if (r->body_len > 0) {
		r->body = (const char *)evbuffer_pullup(in, -1);
		if (r->body == NULL)
			return E_NOMEM;
	}
	r->peer = ex->peer;
	r->deadline_ms = ex->started_ms + ex->http->options.config->request_timeout_ms;
	make_request_id(ex->http, r->id);
	r->reply = exchange_reply;
	r->transport = ex;
	return str_copy(ex->peer, sizeof(ex->peer), conn_peer(ex->conn));
}

static void handle(struct exchange *ex)
{
	struct request *r = &ex->request;
	const char *why;
	int status;

	if (conn_is_refused(ex->conn, &status, &why)) {
		r->path = "";
		r->method = HTTP_OTHER;
		api_refuse(r, status, why);
	} else if (r->body_len > 0 && r->method != HTTP_GET && r->method != HTTP_DELETE &&
		   !head_is_json(exchange_header(r, "Content-Type"))) {
		api_refuse(r, 415, "the Content-Type must be application/json");
	} else {
		api_handle(ex->http->options.api, r);
	}
}

static void on_request(struct evhttp_request *evreq, void *arg)
{
	struct http *http = arg;
	struct evhttp_connection *evcon = evhttp_request_get_connection(evreq);
	struct conn *conn = conn_find(http->conns, evcon);
	struct exchange *ex = NULL;

	if (conn != NULL)
		ex = calloc(1, sizeof(*ex));
	if (ex == NULL) {
		/* No memory, or a connection that evhttp made without a gate because there was none. */
		evhttp_connection_free(evcon);
		return;
	}
	ex->http = http;
	ex->conn = conn;
	ex->evreq = evreq;
	ex->started_ms = clock_ms();
	http->in_flight++;
	if (exchange_fill(ex) != E_OK) {
		exchange_free(ex);
		evhttp_connection_free(evcon);
		return;
	}
	conn_hold(conn, on_conn_gone, ex);
	handle(ex);
}

/* ---- the server ---- */

enum err http_new(struct event_base *base, const struct http_options *options, struct http **ret_http)
{
	struct http *http = calloc(1, sizeof(*http));
	struct conn_set_options conns = {
	    .config = options->config,
	    .connections_max = options->connections_max,
	    .on_room = on_room,
	    .on_empty = on_no_connections,
	    .arg = http,
	};

	if (http == NULL)
		return E_NOMEM;
	http->options = *options;
	http->evhttp = evhttp_new(base);
	if (http->evhttp == NULL || conn_set_new(base, &conns, &http->conns) != E_OK ||
	    getrandom(http->process_id, sizeof(http->process_id), 0) != sizeof(http->process_id)) {
		http_free(http);
		return E_NOMEM;
	}
	evhttp_set_max_headers_size(http->evhttp, EVHTTP_HEADERS_BYTES);
	evhttp_set_max_body_size(http->evhttp, EVHTTP_BODY_BYTES);
	evhttp_set_timeout(http->evhttp, EVHTTP_TIMEOUT_SECONDS);
	evhttp_set_default_content_type(http->evhttp, NULL);
	evhttp_set_allowed_methods(http->evhttp, EVHTTP_METHODS);
	evhttp_set_bevcb(http->evhttp, conn_set_bufferevent, http->conns);
	evhttp_set_gencb(http->evhttp, on_request, http);
	*ret_http = http;
	return E_OK;
}

void http_free(struct http *http)
{
	if (http == NULL)
		return;
	assert(http->in_flight == 0);
	if (http->evhttp != NULL)
		evhttp_free(http->evhttp);
	conn_set_free(http->conns);
	free(http);
}

enum err http_serve(struct http *http, struct evconnlistener *listener)
{
	struct evhttp_bound_socket *bound;

	if (http->bound_len == LISTENERS_MAX)
		return E_LIMIT;
	bound = evhttp_bind_listener(http->evhttp, listener);
	if (bound == NULL)
		return E_NOMEM;
	http->bound[http->bound_len++] = bound;
	return E_OK;
}

void http_stop_listening(struct http *http)
{
	while (http->bound_len > 0)
		evhttp_del_accept_socket(http->evhttp, http->bound[--http->bound_len]);
}

bool http_make_room(struct http *http)
{
	return conn_set_make_room(http->conns);
}

void http_drain(struct http *http)
{
	http->draining = true;
	conn_set_drain(http->conns);
}

unsigned http_in_flight(const struct http *http)
{
	return http->in_flight;
}

unsigned http_connections(const struct http *http)
{
	return conn_set_len(http->conns);
}
