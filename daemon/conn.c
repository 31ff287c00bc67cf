/* SPDX-License-Identifier: Apache-2.0 */
/* The states of one connection, over a bufferevent. */
#include "daemon/conn.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/conn_private.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long a half-sent request may go on once we are draining. */
#define DRAIN_RECEIVE_MS 2000
/* While draining: a new connection may already have sent its request. */
#define DRAIN_NEW_MS 200
#define LINGER_MS 2000
#define LINGER_BYTES_MAX ((size_t)1024 * 1024)
/* Past request_timeout, which the api keeps: it was lost. */
#define BUSY_MARGIN_MS 10000
/* The slowest reader that is waited for to the end. */
#define SEND_BYTES_PER_MS 16

static const char continue_answer[] = "HTTP/1.1 100 Continue\r\n\r\n";

/* ---- time ---- */

/* How long it may be in a state that it enters now. */
static uint64_t patience_ms(const struct conn *c, enum conn_state state)
{
	const struct config_http *config = c->set->options.config;
	uint64_t ms = config->idle_timeout_ms;

	switch (state) {
	case CONN_IDLE:
		return !c->set->draining ? ms : c->served ? 0 : DRAIN_NEW_MS;
	case CONN_HEAD:
		return c->set->draining && ms > DRAIN_RECEIVE_MS ? DRAIN_RECEIVE_MS : ms;
	case CONN_BUSY:
		return config->request_timeout_ms + BUSY_MARGIN_MS;
	case CONN_LINGER:
		return LINGER_MS;
	case CONN_BODY:
	case CONN_SENDING:
		return ms;
	case CONN_DEAD:
	case CONN_GONE:
		break;
	}
	return 0;
}

static void conn_enter_state(struct conn *c, enum conn_state state)
{
	c->state = state;
	if (state == CONN_BODY)
		return; /* the time of CONN_HEAD runs on */
	c->since_ms = clock_ms();
	timer_start(&c->timer, patience_ms(c, state));
}

/* ---- in: requests ---- */

static void conn_forget_request(struct conn *c)
{
	free(c->head_text);
	c->head_text = NULL;
	evbuffer_drain(c->body, evbuffer_get_length(c->body));
}

/* Hands the request, whole or refused, to the owner, who answers it now or later. */
static void conn_hand_over(struct conn *c)
{
	bufferevent_disable(c->bev, EV_READ);
	conn_enter_state(c, CONN_BUSY);
	c->set->options.on_request(c->set->options.arg, c);
}

static void conn_refuse(struct conn *c, int status, const char *why)
{
	c->refused = true;
	c->refused_status = status;
	c->refused_why = why;
	conn_hand_over(c);
}

/* RFC 9110 §10.1.1; not when some of the body is here already. */
static void conn_say_continue(struct conn *c)
{
	if (c->head.expects_continue && evbuffer_get_length(bufferevent_get_input(c->bev)) == 0 &&
	    bufferevent_write(c->bev, continue_answer, sizeof(continue_answer) - 1) != 0)
		conn_enter_state(c, CONN_DEAD);
}

static void conn_begin_body(struct conn *c)
{
	const struct config_http *config = c->set->options.config;

	if (c->head.framing == HEAD_NO_BODY) {
		conn_hand_over(c);
		return;
	}
	chunk_init(&c->chunk, config->max_body_bytes, config->max_header_bytes);
	conn_enter_state(c, CONN_BODY);
	conn_say_continue(c);
}

/* Takes the head off the input once it is whole; what stands behind it stays. */
static void conn_read_head(struct conn *c, struct evbuffer *input)
{
	size_t len = evbuffer_get_length(input);
	const char *bytes;
	enum head_state s;

	if (len > c->head.max_bytes)
		len = c->head.max_bytes;
	bytes = (const char *)evbuffer_pullup(input, (ev_ssize_t)len);
	s = !bytes ? HEAD_REFUSED : head_scan(&c->head, bytes, len);
	if (s == HEAD_MORE)
		return;
	if (s == HEAD_WHOLE) {
		c->head_text = malloc(c->head.len);
		if (c->head_text && evbuffer_remove(input, c->head_text, c->head.len) >= 0) {
			s = head_parse(&c->head, c->head_text);
		} else {
			bytes = NULL;
			s = HEAD_REFUSED;
		}
	}
	if (!bytes)
		conn_enter_state(c, CONN_DEAD); /* out of memory */
	else if (s == HEAD_REFUSED)
		conn_refuse(c, c->head.status, c->head.why);
	else
		conn_begin_body(c);
}

static void conn_read_length(struct conn *c, struct evbuffer *input)
{
	size_t missing = (size_t)c->head.body_len - evbuffer_get_length(c->body);

	if (evbuffer_remove_buffer(input, c->body, missing) < 0)
		conn_enter_state(c, CONN_DEAD);
	else if (evbuffer_get_length(c->body) == c->head.body_len)
		conn_hand_over(c);
}

static void conn_read_chunks(struct conn *c, struct evbuffer *input)
{
	enum chunk_state s = CHUNK_MORE;
	size_t len, used, data_len;

	while ((s == CHUNK_MORE || s == CHUNK_DATA) && (len = evbuffer_get_contiguous_space(input)) > 0) {
		const char *bytes = (const char *)evbuffer_pullup(input, (ev_ssize_t)len);

		s = chunk_decode(&c->chunk, bytes, len, &used, &data_len);
		if (data_len > 0 && evbuffer_add(c->body, bytes + used - data_len, data_len) != 0) {
			conn_enter_state(c, CONN_DEAD);
			return;
		}
		evbuffer_drain(input, used);
	}
	if (s == CHUNK_END)
		conn_hand_over(c);
	else if (s == CHUNK_REFUSED)
		conn_refuse(c, c->chunk.status, c->chunk.why);
}

static void conn_drop_input(struct conn *c, struct evbuffer *input)
{
	size_t len = evbuffer_get_length(input);

	evbuffer_drain(input, len);
	c->lingered += len;
	if (c->lingered > LINGER_BYTES_MAX)
		conn_enter_state(c, CONN_DEAD);
}

static void conn_begin_head(struct conn *c)
{
	const struct config_http *config = c->set->options.config;

	head_init(&c->head, config->max_header_bytes, config->max_body_bytes);
	conn_enter_state(c, CONN_HEAD);
}

static void conn_read(struct conn *c)
{
	struct evbuffer *input = bufferevent_get_input(c->bev);

	if (c->state == CONN_LINGER) {
		conn_drop_input(c, input);
		return;
	}
	if (c->state == CONN_IDLE && evbuffer_get_length(input) > 0)
		conn_begin_head(c);
	if (c->state == CONN_HEAD)
		conn_read_head(c, input);
	if (c->state != CONN_BODY)
		return;
	if (c->head.framing == HEAD_CHUNKED)
		conn_read_chunks(c, input);
	else
		conn_read_length(c, input);
}

bool conn_begin_if_asked(struct conn *c)
{
	char byte;

	if (c->state != CONN_IDLE ||
	    recv(bufferevent_getfd(c->bev), &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) <= 0)
		return false;
	conn_begin_head(c);
	return true;
}

static void conn_on_readable(struct bufferevent *bev, void *arg)
{
	(void)bev;
	conn_read(arg);
}

/* ---- out: answers ---- */

/* RFC 9112 §9.6: a client that still sends must not lose the answer to a reset. */
static void conn_linger(struct conn *c)
{
	if (shutdown(bufferevent_getfd(c->bev), SHUT_WR) != 0) {
		conn_enter_state(c, CONN_DEAD);
		return;
	}
	conn_forget_request(c);
	conn_enter_state(c, CONN_LINGER);
	bufferevent_enable(c->bev, EV_READ);
	conn_read(c);
	conn_set_room_changed(c->set);
}

/* The output is empty. */
static void on_written(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (c->state != CONN_SENDING)
		return;
	if (c->closing) {
		conn_linger(c);
		return;
	}
	conn_forget_request(c);
	c->served = true;
	conn_enter_state(c, CONN_IDLE);
	bufferevent_enable(c->bev, EV_READ);
	conn_read(c); /* what came behind the request */
	if (c->state == CONN_IDLE)
		conn_set_room_changed(c->set);
}

static void on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;

	(void)output;
	c->set->unsent_bytes += info->n_added;
	c->set->unsent_bytes -= info->n_deleted;
	if (info->n_deleted > 0 && c->state == CONN_SENDING)
		c->since_ms = clock_ms();
}

/* The last of a connection that has left its set. */
static void conn_release(struct conn *c)
{
	if (c->body)
		evbuffer_free(c->body);
	free(c->head_text);
	free(c);
}

static void free_body(const void *data, size_t len, void *body)
{
	(void)data;
	(void)len;
	free(body);
}

void conn_send(struct conn *c, const struct buf *head, char *body, size_t body_len, bool close)
{
	struct evbuffer *output;

	if (c->state == CONN_GONE) {
		free(body);
		conn_release(c);
		return;
	}
	output = bufferevent_get_output(c->bev);
	c->closing = close;
	conn_enter_state(c, CONN_SENDING);
	c->give_up_ms = c->since_ms + patience_ms(c, CONN_SENDING) + body_len / SEND_BYTES_PER_MS;
	if (evbuffer_add(output, head->data, head->len) != 0) {
		free(body);
		conn_abort(c);
		return;
	}
	if (body_len == 0) {
		free(body);
	} else if (evbuffer_add_reference(output, body, body_len, free_body, body) != 0) {
		free(body);
		conn_abort(c);
		return;
	}
	conn_set_limit_unsent(c->set, c);
}

void conn_abort(struct conn *c)
{
	if (c->state == CONN_GONE)
		conn_release(c);
	else
		conn_enter_state(c, CONN_DEAD);
}

/* ---- the end ---- */

/* A reader that makes progress is given more time, up to a point. */
static bool conn_may_send_on(struct conn *c, uint64_t now)
{
	uint64_t stalled_at = c->since_ms + patience_ms(c, CONN_SENDING);
	uint64_t end = stalled_at < c->give_up_ms ? stalled_at : c->give_up_ms;

	if (now >= end)
		return false;
	timer_start(&c->timer, end - now);
	return true;
}

static void conn_on_timer(void *arg)
{
	struct conn *c = arg;

	switch (c->state) {
	case CONN_HEAD:
	case CONN_BODY:
		/* An empty line is no request: some clients send one behind a body. */
		if (!c->set->draining && c->head.scanned > c->head.skipped) {
			conn_refuse(c, 408, "the request did not arrive in time ([http] idle_timeout)");
			return;
		}
		break;
	case CONN_SENDING:
		if (conn_may_send_on(c, clock_ms()))
			return;
		log_debug("connection of '%s' closed: it did not read its answer in time", c->peer);
		break;
	case CONN_BUSY:
		log_error("connection of '%s' closed: its request was never answered", c->peer);
		break;
	case CONN_IDLE:
	case CONN_LINGER:
	case CONN_DEAD:
	case CONN_GONE:
		break;
	}
	conn_free(c);
}

/* The client closed its side, or the connection broke. */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	/* A client may shut its side and wait for the answer; reading is off then until it is sent. */
	if ((what & BEV_EVENT_EOF) && (c->state == CONN_BUSY || c->state == CONN_SENDING))
		return;
	if (c->state == CONN_BUSY)
		log_debug("connection of '%s' broke while its request was in progress", c->peer);
	conn_free(c);
}

void conn_free(struct conn *c)
{
	bool is_held = c->state == CONN_BUSY;

	if (c->bev) {
		c->set->unsent_bytes -= evbuffer_get_length(bufferevent_get_output(c->bev));
		evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
		bufferevent_free(c->bev);
	}
	timer_stop(&c->timer);
	c->bev = NULL;
	c->state = CONN_GONE;
	conn_set_leave(c->set, c);
	if (!is_held)
		conn_release(c);
}

void conn_drain(struct conn *c)
{
	if (c->state == CONN_IDLE)
		timer_start(&c->timer, patience_ms(c, CONN_IDLE));
	else if (c->state == CONN_HEAD || c->state == CONN_BODY)
		timer_start(&c->timer, patience_ms(c, CONN_HEAD));
}

/* ---- the beginning ---- */

static void conn_name_peer(struct conn *c, const struct sockaddr *sa)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)sa;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)sa;
	char host[INET6_ADDRSTRLEN] = "?";

	if (sa->sa_family == AF_INET) {
		(void)inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
		snprintf(c->peer, sizeof(c->peer), "%s:%u", host, (unsigned)ntohs(four->sin_port));
	} else if (sa->sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host));
		snprintf(c->peer, sizeof(c->peer), "[%s]:%u", host, (unsigned)ntohs(six->sin6_port));
	} else {
		snprintf(c->peer, sizeof(c->peer), "unix");
	}
}

enum err conn_new(struct conn_set *set, int fd, const struct sockaddr *peer)
{
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1;

	if (!c) {
		(void)close(fd);
		return E_NOMEM;
	}
	c->set = set;
	conn_set_enter(set, c);
	conn_name_peer(c, peer);
	c->bev = bufferevent_socket_new(set->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		(void)close(fd);
		conn_free(c);
		return E_NOMEM;
	}
	c->body = evbuffer_new();
	timer_init(&c->timer, set->base, conn_on_timer, c);
	if (!c->body || !evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c)) {
		conn_free(c);
		return E_NOMEM;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on unix sockets */
	bufferevent_setcb(c->bev, conn_on_readable, on_written, on_event, c);
	conn_enter_state(c, CONN_IDLE);
	if (bufferevent_enable(c->bev, EV_READ | EV_WRITE) != 0)
		conn_enter_state(c, CONN_DEAD);
	return E_OK;
}

/* ---- seen from the request above it ---- */

const char *conn_peer(const struct conn *c)
{
	return c->peer;
}

bool conn_is_refused(const struct conn *c, int *ret_status, const char **ret_why)
{
	if (!c->refused)
		return false;
	*ret_status = c->refused_status;
	*ret_why = c->refused_why;
	return true;
}

const struct head *conn_head(const struct conn *c)
{
	return &c->head;
}

enum err conn_body(struct conn *c, const char **ret_body, size_t *ret_len)
{
	size_t len = evbuffer_get_length(c->body);
	const char *body = NULL;

	if (len > 0) {
		body = (const char *)evbuffer_pullup(c->body, -1);
		if (!body)
			return E_NOMEM;
	}
	*ret_body = body;
	*ret_len = len;
	return E_OK;
}

bool conn_is_gone(const struct conn *c)
{
	return c->state == CONN_GONE;
}

bool conn_must_close(const struct conn *c)
{
	return c->refused || c->head.close || c->set->draining || conn_set_is_pressed(c->set);
}
