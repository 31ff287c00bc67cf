/* SPDX-License-Identifier: Apache-2.0 */
/* The states of one connection, over a bufferevent. */
#include "daemon/conn.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/identity.h"
#include "base/log.h"
#include "daemon/conn_private.h"
#include "daemon/proxy.h"
#include "daemon/tls.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
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
#define HANDSHAKE_MS 10000
#define LOG_MS 5000
/* What a small answer is put into one TLS record with, head and body. */
#define TLS_RECORD_BYTES 16384
/* Past request_timeout, which the api keeps: it was lost. */
#define BUSY_MARGIN_MS 10000
/* The slowest reader that is waited for to the end. */
#define SEND_BYTES_PER_MS 16

static enum err conn_speak_plainly(struct conn *c);

static const char continue_answer[] = "HTTP/1.1 100 Continue\r\n\r\n";

/* ---- time ---- */

/* How long it may be in a state that it enters now. */
static uint64_t patience_ms(const struct conn *c, enum conn_state state)
{
	const struct config_http *config = c->set->options.config;
	uint64_t ms = config->idle_timeout_ms;

	if (c->at_end && (state == CONN_IDLE || state == CONN_HEAD))
		return 0; /* what is not here by now does not come */
	switch (state) {
	case CONN_HANDSHAKE:
		if (c->set->draining)
			return c->first ? DRAIN_NEW_MS : DRAIN_RECEIVE_MS;
		return ms < HANDSHAKE_MS ? ms : HANDSHAKE_MS;
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
	if (c->is_tls && !tls_peer_is_good(c->tls, c->bev, c->peer)) {
		conn_enter_state(c, CONN_DEAD);
		return;
	}
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
	const char *bytes, *unasked;
	enum head_state s;

	if (len > c->head.max_bytes)
		len = c->head.max_bytes;
	bytes = (const char *)evbuffer_pullup(input, (ev_ssize_t)len);
	s = !bytes ? HEAD_REFUSED : head_scan(&c->head, bytes, len);
	if (s == HEAD_MORE)
		return;
	unasked = bytes ? proxy_unasked(bytes, len) : NULL;
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
		conn_refuse(c, unasked ? 400 : c->head.status, unasked ? unasked : c->head.why);
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
	c->head.over_tls = c->is_tls;
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
	if (c->is_tls)
		tls_say_end(c->bev);
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

	/* bufferevent_openssl calls later, when there may be an answer to send again */
	if (c->state != CONN_SENDING || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
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
	peer_free(c->known);
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
	if (c->is_tls && body_len <= TLS_RECORD_BYTES)
		(void)evbuffer_expand(output, head->len + body_len); /* one piece is one record, not two */
	if (evbuffer_add(output, head->data, head->len) != 0) {
		free(body);
		conn_abort(c);
		return;
	}
	if (body_len == 0) {
		free(body);
	} else if (c->is_tls && body_len <= TLS_RECORD_BYTES) {
		bool added = evbuffer_add(output, body, body_len) == 0;

		free(body);
		if (!added) {
			conn_abort(c);
			return;
		}
	} else if (evbuffer_add_reference(output, body, body_len, free_body, body) != 0) {
		free(body);
		conn_abort(c);
		return;
	}
	/* Nothing would be sent where bufferevent_socket_new had no memory to be told of output, which it
	 * does not say. */
	if (!c->is_tls)
		(void)bufferevent_enable(c->bev, EV_WRITE);
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

/* Peers that the configuration names can cause this fast. */
static void conn_fail_proxy(const struct conn *c, const char *why)
{
	static struct log_gate gate;
	unsigned held_back;

	if (!c->set->draining && log_gate_pass(&gate, LOG_MS, &held_back))
		log_warn("no PROXY protocol header from '%s': %s (%u lines held back)", c->peer, why,
			 held_back);
}

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
	case CONN_HANDSHAKE:
		if (c->proxy)
			conn_fail_proxy(c, "it took too long");
		else
			tls_log_timeout(c->tls, c->peer);
		break;
	case CONN_HEAD:
	case CONN_BODY:
		if (c->at_end)
			break;
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

/*
 * In TLS 1.3 a client sends its first request behind its certificate.  With that
 * unread a close would be a reset, which may overtake the alert that tells it why.
 */
static void conn_linger_refused(struct conn *c)
{
	int fd = fcntl(bufferevent_getfd(c->bev), F_DUPFD_CLOEXEC, 0);

	evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
	bufferevent_free(c->bev);
	c->bev = NULL;
	c->fd = fd;
	c->is_tls = false;
	if (fd < 0 || conn_speak_plainly(c) != E_OK)
		conn_free(c);
	else
		conn_linger(c);
}

/* The client closed its side, or the connection broke. */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	if (what & BEV_EVENT_CONNECTED) {
		tls_succeeded(c->tls, bev);
		conn_enter_state(c, tls_peer(c->tls, bev, &c->known) == E_OK ? CONN_IDLE : CONN_DEAD);
		return;
	}
	if (c->state == CONN_HANDSHAKE && tls_log_failure(c->tls, bev, c->peer)) {
		conn_linger_refused(c);
		return;
	}
	/* bufferevent_openssl tells of the end before it hands over what came before that, in this same call.
	 */
	if (c->is_tls && (what & BEV_EVENT_EOF) && !c->at_end &&
	    (c->state == CONN_IDLE || c->state == CONN_HEAD || c->state == CONN_BODY)) {
		c->at_end = true;
		timer_start(&c->timer, 0);
		return;
	}
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
		if (c->is_tls && c->state != CONN_LINGER &&
		    evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
			tls_say_end(c->bev);
		c->set->unsent_bytes -= evbuffer_get_length(bufferevent_get_output(c->bev));
		evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
		bufferevent_free(c->bev);
	}
	if (c->first)
		event_free(c->first);
	c->first = NULL;
	free(c->proxy);
	c->proxy = NULL;
	fd_close(&c->fd);
	timer_stop(&c->timer);
	c->bev = NULL;
	c->state = CONN_GONE;
	conn_set_leave(c->set, c);
	if (!is_held)
		conn_release(c);
}

void conn_drain(struct conn *c)
{
	if (c->state == CONN_IDLE || c->state == CONN_HANDSHAKE)
		timer_start(&c->timer, patience_ms(c, c->state));
	else if (c->state == CONN_HEAD || c->state == CONN_BODY)
		timer_start(&c->timer, patience_ms(c, CONN_HEAD));
}

/* ---- the beginning ---- */

static void conn_name_peer(struct conn *c, const struct sockaddr *sa)
{
	uint16_t port;

	c->address = address_of_socket(sa, &port);
	address_format_port(&c->address, port, c->peer);
}

/* The user that connected, as the kernel noted it then. */
static enum err conn_know_user(struct conn *c)
{
	struct ucred user;
	socklen_t len = sizeof(user);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &user, &len) != 0)
		return E_OK;
	return peer_new_unix((uint32_t)user.uid, &c->known);
}

/* Takes the bufferevent, which owns the descriptor. */
static enum err conn_take_bev(struct conn *c, struct bufferevent *bev)
{
	if (!bev)
		return E_NOMEM;
	c->bev = bev;
	c->fd = -1;
	if (!evbuffer_add_cb(bufferevent_get_output(bev), on_output, c))
		return E_NOMEM;
	bufferevent_setcb(bev, conn_on_readable, on_written, on_event, c);
	return bufferevent_enable(bev, EV_READ | EV_WRITE) == 0 ? E_OK : E_NOMEM;
}

static enum err conn_speak_plainly(struct conn *c)
{
	return conn_take_bev(c, bufferevent_socket_new(c->set->base, c->fd, BEV_OPT_CLOSE_ON_FREE));
}

/* How HTTP begins; no record of TLS does. */
static bool is_text(unsigned char byte)
{
	return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || byte == '\r';
}

/* Waits for bytes that do not go through a bufferevent; `on_bytes` ends that. */
static enum err conn_await(struct conn *c, event_callback_fn on_bytes)
{
	c->first = event_new(c->set->base, c->fd, EV_READ | EV_PERSIST, on_bytes, c);
	return c->first && event_add(c->first, NULL) == 0 ? E_OK : E_NOMEM;
}

static void conn_end_wait(struct conn *c)
{
	event_free(c->first);
	c->first = NULL;
}

/* Instead of TLS, or of a PROXY protocol header: the answer is plain HTTP. */
static void conn_refuse_beginning(struct conn *c, const char *why)
{
	conn_begin_head(c);
	if (conn_speak_plainly(c) == E_OK)
		conn_refuse(c, 400, why);
	else
		conn_free(c);
}

/*
 * At a door with TLS: whoever sends a letter speaks HTTP, and is told in HTTP
 * what is wrong, as any other request that is refused.
 */
static void conn_on_first_byte(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	char bytes[PROXY_HEAD_BYTES];
	ssize_t got = recv((int)fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	const char *why;

	(void)what;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	conn_end_wait(c);
	if (got <= 0) {
		conn_free(c);
	} else if (is_text((unsigned char)bytes[0])) {
		why = proxy_unasked(bytes, (size_t)got);
		conn_refuse_beginning(
		    c, why ? why : "plain HTTP was sent to a port that speaks TLS: say https:// in the URL");
	} else {
		c->is_tls = true;
		if (conn_take_bev(c, tls_accept(c->tls, (int)fd)) != E_OK)
			conn_free(c);
	}
}

/* What the client sends comes next. */
static enum err conn_begin(struct conn *c)
{
	if (c->tls) {
		if (c->state != CONN_HANDSHAKE) /* the time of a PROXY protocol header runs on */
			conn_enter_state(c, CONN_HANDSHAKE);
		return conn_await(c, conn_on_first_byte);
	}
	conn_enter_state(c, CONN_IDLE);
	return conn_speak_plainly(c);
}

/* ---- PROXY protocol ---- */

static bool conn_is_of_proxy(const struct conn *c, const struct conn_door *door)
{
	const struct config_networks *from = &c->set->options.config->proxy_protocol_from;

	return door->takes_proxy && address_is_in_any(&c->address, from->nets, from->len);
}

/* From here on the peer is whom the proxy speaks for.  False: that one has too many connections. */
static bool conn_take_source(struct conn *c)
{
	char proxy[ADDRESS_PORT_SIZE], source[ADDRESS_PORT_SIZE];

	if (c->proxy->source.family == ADDRESS_NONE)
		return true;
	memcpy(proxy, c->peer, sizeof(proxy));
	address_format_port(&c->proxy->source, c->proxy->port, source);
	snprintf(c->peer, sizeof(c->peer), "%s via %s", source, proxy);
	return conn_set_give(c->set, c, &c->proxy->source);
}

/* The proxy may have sent a request, a TLS record, or nothing of use. */
static void conn_refuse_proxy(struct conn *c)
{
	conn_fail_proxy(c, c->proxy->why);
	if (!c->tls || is_text(c->proxy->bytes[0]))
		conn_refuse_beginning(c, c->proxy->why);
	else
		conn_free(c);
}

static void conn_on_proxy_bytes(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	enum proxy_state s = proxy_read(c->proxy, (int)fd);

	(void)what;
	if (s == PROXY_MORE)
		return;
	conn_end_wait(c);
	if (s == PROXY_ENDED) {
		if (c->proxy->len > 0) /* else it only looked whether somebody listens */
			conn_fail_proxy(c, "the connection ended within it");
		conn_free(c);
	} else if (s == PROXY_REFUSED) {
		conn_refuse_proxy(c);
	} else if (!conn_take_source(c)) {
		conn_free(c);
	} else {
		free(c->proxy);
		c->proxy = NULL;
		if (conn_begin(c) != E_OK)
			conn_free(c);
	}
}

static enum err conn_begin_proxy(struct conn *c)
{
	c->proxy = malloc(sizeof(*c->proxy));
	if (!c->proxy)
		return E_NOMEM;
	proxy_init(c->proxy);
	conn_enter_state(c, CONN_HANDSHAKE);
	return conn_await(c, conn_on_proxy_bytes);
}

enum err conn_new(struct conn_set *set, int fd, const struct sockaddr *peer, struct conn_door door)
{
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1;
	enum err e = E_NOMEM;

	if (!c) {
		(void)close(fd);
		return E_NOMEM;
	}
	c->set = set;
	c->fd = fd;
	c->tls = door.tls;
	conn_name_peer(c, peer);
	timer_init(&c->timer, set->base, conn_on_timer, c);
	if (conn_set_enter(set, c) == E_OK &&
	    (peer->sa_family != AF_UNIX || conn_is_of_proxy(c, &door) || conn_know_user(c) == E_OK))
		c->body = evbuffer_new();
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on unix sockets */
	if (c->body)
		e = conn_is_of_proxy(c, &door) ? conn_begin_proxy(c) : conn_begin(c);
	if (e != E_OK)
		conn_free(c);
	return e;
}

/* ---- seen from the request above it ---- */

const char *conn_peer(const struct conn *c)
{
	return c->peer;
}

const struct peer *conn_known(const struct conn *c)
{
	return c->known;
}

const struct address *conn_address(const struct conn *c)
{
	return &c->address;
}

bool conn_is_tls(const struct conn *c)
{
	return c->is_tls;
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
	bool is_last = c->at_end && (!c->bev || evbuffer_get_length(bufferevent_get_input(c->bev)) == 0);

	return c->refused || is_last || c->head.close || c->set->draining || conn_set_is_pressed(c->set);
}
