/*
 * One gate before each evhttp connection.
 *
 * The gate sits in a callback of the bufferevent's input buffer, which runs
 * after each read and before evhttp looks at it: it takes the bytes away and
 * puts back what may pass.  So evhttp sees one sound request at a time, its
 * own error paths are never used, and its timeouts are not needed.
 */
#include "daemon/conn.h"

#include "api/request.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/head.h"
#include "daemon/closer.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

/* How long a half-sent request may go on once we are draining. */
#define DRAIN_RECEIVE_MS 2000
/* A new connection gets this long to bring a request before it may be closed to make room, or to drain. */
#define GRACE_MS 200

enum state {
	CONN_NEW = 1, /* evhttp has not finished making it */
	CONN_IDLE,    /* waits for a request's first byte */
	CONN_HEAD,    /* its head comes */
	CONN_BODY,    /* its body comes and goes straight to evhttp */
	CONN_BUSY,    /* evhttp has all of it; it is being answered */
	CONN_SENDING, /* its answer is being sent */
	CONN_DEAD,    /* to be closed at the next turn of the loop */
};

struct conn {
	struct conn_set *set;
	enum state state;
	struct bufferevent *bev;          /* evhttp's */
	struct evhttp_connection *evcon;  /* NULL while CONN_NEW */
	struct evbuffer_cb_entry *gate;
	struct evbuffer *pending;         /* came, and must wait */
	struct evbuffer *passing;         /* empty between calls */
	struct event *timer;
	struct head head;
	uint64_t body_left;
	uint64_t since_ms;                /* clock_ms of entering this state; of CONN_HEAD for CONN_BODY */
	bool served;                      /* it had an answer */
	bool moving;                      /* the gate itself changes the input buffer */
	bool refused;
	bool closing;                     /* the answer says "Connection: close" */
	bool sent;                        /* and is sent */
	int refused_status;
	const char *refused_why;
	void (*on_gone)(void *arg);
	void *gone_arg;
	int fd;
	char peer[64];
	TAILQ_ENTRY(conn) next;
};

struct conn_set {
	struct event_base *base;
	struct conn_set_options options;
	struct closer *closer;
	struct event *retry; /* while full: somebody's grace may be over */
	TAILQ_HEAD(conn_list, conn) conns; /* by last change of state, oldest first */
	struct conn **by_fd;
	int by_fd_len;
	unsigned len;
	bool full;
	bool draining;
};

/* What evhttp gets instead of a refused request. */
static const char stand_in[] = "GET /refused HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

static void set_timer(struct conn *c, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	event_add(c->timer, &tv);
}

static void say_room(struct conn_set *set)
{
	if (!set->full)
		return;
	set->full = false;
	event_del(set->retry);
	set->options.on_room(set->options.arg, true);
}

/* Who waits for a request's first byte while we are draining: who just came may have sent it. */
static uint64_t drain_idle_ms(const struct conn *c)
{
	return c->served ? 0 : GRACE_MS;
}

static void enter(struct conn *c, enum state state)
{
	struct conn_set *set = c->set;
	uint64_t patience_ms = set->options.config->idle_timeout_ms;

	c->state = state;
	if (state != CONN_BODY) {
		c->since_ms = clock_ms();
		TAILQ_REMOVE(&set->conns, c, next);
		TAILQ_INSERT_TAIL(&set->conns, c, next);
	}
	switch (state) {
	case CONN_IDLE:
		set_timer(c, set->draining ? drain_idle_ms(c) : patience_ms);
		if (c->served)
			say_room(set);
		break;
	case CONN_HEAD:
		if (set->draining && patience_ms > DRAIN_RECEIVE_MS)
			patience_ms = DRAIN_RECEIVE_MS;
		set_timer(c, patience_ms);
		break;
	case CONN_SENDING:
		set_timer(c, patience_ms);
		break;
	case CONN_BUSY:
		event_del(c->timer);
		break;
	case CONN_DEAD:
		set_timer(c, 0);
		break;
	case CONN_BODY: /* the time runs from the first byte of the head */
	case CONN_NEW:
		break;
	}
}

/* ---- the gate ---- */

/* Hands `passing` to evhttp, in front of nothing: it has read all that it got before. */
static void pass(struct conn *c)
{
	if (evbuffer_prepend_buffer(bufferevent_get_input(c->bev), c->passing) != 0)
		enter(c, CONN_DEAD);
}

static void refuse(struct conn *c, int status, const char *why)
{
	c->refused = true;
	c->refused_status = status;
	c->refused_why = why;
	evbuffer_drain(c->pending, evbuffer_get_length(c->pending));
	enter(c, CONN_BUSY);
	if (evbuffer_add(c->passing, stand_in, sizeof(stand_in) - 1) != 0)
		enter(c, CONN_DEAD);
	else
		pass(c);
}

static size_t at_most(struct evbuffer *b, uint64_t limit)
{
	size_t len = evbuffer_get_length(b);

	return len < limit ? len : (size_t)limit;
}

/* The head is whole: it passes with what is there of its body. */
static void pass_request(struct conn *c)
{
	size_t now;

	c->body_left = c->head.body_len;
	if (evbuffer_remove_buffer(c->pending, c->passing, c->head.len) != (int)c->head.len) {
		enter(c, CONN_DEAD);
		return;
	}
	now = at_most(c->pending, c->body_left);
	c->body_left -= now;
	if (evbuffer_remove_buffer(c->pending, c->passing, now) != (int)now) {
		enter(c, CONN_DEAD);
		return;
	}
	enter(c, c->body_left > 0 ? CONN_BODY : CONN_BUSY);
	pass(c);
}

static void check_pending(struct conn *c)
{
	const struct config_http *config = c->set->options.config;
	const char *bytes;
	size_t len;

	if (c->state == CONN_IDLE && evbuffer_get_length(c->pending) > 0) {
		head_init(&c->head, config->max_header_bytes, config->max_body_bytes);
		enter(c, CONN_HEAD);
	}
	if (c->state != CONN_HEAD)
		return;
	len = at_most(c->pending, c->head.max_bytes);
	bytes = (const char *)evbuffer_pullup(c->pending, (ev_ssize_t)len);
	if (bytes == NULL) {
		enter(c, CONN_DEAD);
		return;
	}
	switch (head_check(&c->head, bytes, len)) {
	case HEAD_MORE:
		break;
	case HEAD_WHOLE:
		pass_request(c);
		break;
	case HEAD_REFUSED:
		refuse(c, c->head.status, c->head.why);
		break;
	}
}

/* `added` new bytes stand at the end of the input, behind body bytes that evhttp left there. */
static void take_body(struct conn *c, struct evbuffer *input, size_t added)
{
	size_t surplus;

	if (added > c->body_left) {
		surplus = added - (size_t)c->body_left;
		if (evbuffer_remove_buffer(input, c->passing, evbuffer_get_length(input) - surplus) < 0 ||
		    evbuffer_add_buffer(c->pending, input) != 0) {
			enter(c, CONN_DEAD);
			return;
		}
		pass(c);
		added -= surplus;
	}
	c->body_left -= added;
	if (c->body_left == 0 && c->state == CONN_BODY)
		enter(c, CONN_BUSY);
}

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;

	if (c->moving || info->n_added == 0)
		return;
	c->moving = true;
	if (c->refused || c->state == CONN_DEAD) {
		evbuffer_drain(input, evbuffer_get_length(input));
	} else if (c->state == CONN_BODY) {
		take_body(c, input, info->n_added);
	} else if (evbuffer_add_buffer(c->pending, input) != 0) {
		enter(c, CONN_DEAD);
	} else {
		check_pending(c);
	}
	c->moving = false;
}

/* ---- life ---- */

static bool is_over(const struct conn_set *set)
{
	return set->len > set->options.config->max_connections || set->len > set->options.connections_max;
}

static void conn_release(struct conn *c)
{
	struct conn_set *set = c->set;

	if (c->gate != NULL)
		evbuffer_remove_cb_entry(bufferevent_get_input(c->bev), c->gate);
	if (c->fd >= 0 && c->fd < set->by_fd_len && set->by_fd[c->fd] == c)
		set->by_fd[c->fd] = NULL;
	TAILQ_REMOVE(&set->conns, c, next);
	set->len--;
	if (c->timer != NULL)
		event_free(c->timer);
	if (c->pending != NULL)
		evbuffer_free(c->pending);
	if (c->passing != NULL)
		evbuffer_free(c->passing);
	free(c);
	if (!is_over(set))
		say_room(set);
	if (set->draining && set->len == 0)
		set->options.on_empty(set->options.arg);
}

/* evhttp frees the connection: the last moment to look at it. */
static void on_closed(struct evhttp_connection *evcon, void *arg)
{
	struct conn *c = arg;

	(void)evcon;
	if (c->on_gone != NULL)
		c->on_gone(c->gone_arg);
	if (c->sent)
		closer_add(c->set->closer, c->fd);
	conn_release(c);
}

static enum err index_by_fd(struct conn *c)
{
	struct conn_set *set = c->set;

	if (c->fd >= set->by_fd_len) {
		int len = (c->fd + 64) & ~63;
		struct conn **by_fd = realloc(set->by_fd, (size_t)len * sizeof(struct conn *));

		if (by_fd == NULL)
			return E_NOMEM;
		memset(by_fd + set->by_fd_len, 0, (size_t)(len - set->by_fd_len) * sizeof(struct conn *));
		set->by_fd = by_fd;
		set->by_fd_len = len;
	}
	set->by_fd[c->fd] = c;
	return E_OK;
}

static void name_peer(struct conn *c)
{
	const struct sockaddr *sa = evhttp_connection_get_addr(c->evcon);
	char *address = NULL;
	ev_uint16_t port = 0;

	evhttp_connection_get_peer(c->evcon, &address, &port);
	if (sa == NULL || sa->sa_family == AF_UNIX || address == NULL)
		snprintf(c->peer, sizeof(c->peer), "unix");
	else
		snprintf(c->peer, sizeof(c->peer), sa->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", address,
		         (unsigned)port);
}

/*
 * evhttp makes its connection after it asked for the bufferevent, and says
 * neither when that is done nor when it failed; the bufferevent's callback
 * argument tells.  When it failed evhttp has closed the descriptor as well as
 * freed the bufferevent, which would close it a second time.
 */
static void attach(struct conn *c)
{
	struct bufferevent *bev = c->bev;
	void *evcon = NULL;
	int one = 1;

	bufferevent_getcb(bev, NULL, NULL, NULL, &evcon);
	if (evcon == NULL) {
		bufferevent_setfd(bev, -1);
		conn_release(c);
		bufferevent_decref(bev);
		return;
	}
	c->evcon = evcon;
	c->fd = bufferevent_getfd(bev);
	evhttp_connection_set_closecb(c->evcon, on_closed, c);
	bufferevent_decref(bev);
	name_peer(c);
	enter(c, CONN_IDLE);
	if (index_by_fd(c) != E_OK)
		enter(c, CONN_DEAD);
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on unix sockets */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state == CONN_NEW) {
		attach(c);
		return;
	}
	if (c->state == CONN_HEAD || c->state == CONN_BODY)
		log_debug("connection of '%s' closed: its request did not come in time", c->peer);
	else if (c->state == CONN_SENDING)
		log_debug("connection of '%s' closed: it did not take its answer in time", c->peer);
	evhttp_connection_free(c->evcon);
}

bool conn_set_make_room(struct conn_set *set)
{
	struct conn *c, *receiving = NULL;
	uint64_t now = clock_ms();

	TAILQ_FOREACH (c, &set->conns, next) {
		bool had_time = now - c->since_ms >= GRACE_MS;

		if (c->state == CONN_IDLE && (c->served || had_time))
			break;
		if (receiving == NULL && had_time && (c->state == CONN_HEAD || c->state == CONN_BODY))
			receiving = c;
	}
	if (c == NULL)
		c = receiving;
	if (c == NULL)
		return false;
	log_debug("connection of '%s' closed to make room", c->peer);
	evhttp_connection_free(c->evcon);
	return true;
}

static void stop_accepting(struct conn_set *set)
{
	struct timeval tv = {0, GRACE_MS * 1000};

	event_add(set->retry, &tv);
	if (!set->full) {
		set->full = true;
		set->options.on_room(set->options.arg, false);
	}
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct conn_set *set = arg;

	(void)fd;
	(void)what;
	if (set->full && !conn_set_make_room(set))
		stop_accepting(set);
}

struct bufferevent *conn_set_bufferevent(struct event_base *base, void *arg)
{
	struct conn_set *set = arg;
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	struct conn *c = calloc(1, sizeof(*c));

	if (bev == NULL || c == NULL) {
		if (bev != NULL)
			bufferevent_free(bev);
		free(c);
		return NULL;
	}
	c->set = set;
	c->state = CONN_NEW;
	c->bev = bev;
	c->fd = -1;
	TAILQ_INSERT_TAIL(&set->conns, c, next);
	set->len++;
	c->pending = evbuffer_new();
	c->passing = evbuffer_new();
	c->timer = evtimer_new(base, on_timer, c);
	c->gate = evbuffer_add_cb(bufferevent_get_input(bev), on_input, c);
	if (c->pending == NULL || c->passing == NULL || c->timer == NULL || c->gate == NULL) {
		conn_release(c);
		bufferevent_free(bev);
		return NULL;
	}
	bufferevent_incref(bev); /* until attach */
	event_active(c->timer, EV_TIMEOUT, 0);
	if (is_over(set) && !conn_set_make_room(set))
		stop_accepting(set);
	return bev;
}

/* ---- the set ---- */

enum err conn_set_new(struct event_base *base, const struct conn_set_options *options,
                      struct conn_set **ret_set)
{
	struct conn_set *set = calloc(1, sizeof(*set));

	if (set == NULL || closer_new(base, &set->closer) != E_OK) {
		free(set);
		return E_NOMEM;
	}
	set->base = base;
	set->options = *options;
	TAILQ_INIT(&set->conns);
	set->retry = evtimer_new(base, on_retry, set);
	if (set->retry == NULL) {
		conn_set_free(set);
		return E_NOMEM;
	}
	*ret_set = set;
	return E_OK;
}

void conn_set_free(struct conn_set *set)
{
	if (set == NULL)
		return;
	while (!TAILQ_EMPTY(&set->conns)) { /* only such as were never attached */
		struct bufferevent *bev = TAILQ_FIRST(&set->conns)->bev;

		conn_release(TAILQ_FIRST(&set->conns));
		bufferevent_decref(bev);
	}
	closer_free(set->closer);
	if (set->retry != NULL)
		event_free(set->retry);
	free(set->by_fd);
	free(set);
}

unsigned conn_set_len(const struct conn_set *set)
{
	return set->len;
}

void conn_set_drain(struct conn_set *set)
{
	struct conn *c;

	set->draining = true;
	TAILQ_FOREACH (c, &set->conns, next) {
		if (c->state == CONN_IDLE)
			set_timer(c, drain_idle_ms(c));
		else if (c->state == CONN_HEAD || c->state == CONN_BODY)
			set_timer(c, DRAIN_RECEIVE_MS);
	}
	if (set->len == 0)
		set->options.on_empty(set->options.arg);
}

/* ---- one connection, seen from the request above it ---- */

struct conn *conn_find(const struct conn_set *set, struct evhttp_connection *evcon)
{
	int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(evcon));

	return fd >= 0 && fd < set->by_fd_len ? set->by_fd[fd] : NULL;
}

const char *conn_peer(const struct conn *conn)
{
	return conn->peer;
}

bool conn_is_refused(const struct conn *conn, int *ret_status, const char **ret_why)
{
	if (!conn->refused)
		return false;
	*ret_status = conn->refused_status;
	*ret_why = conn->refused_why;
	return true;
}

bool conn_must_close(const struct conn *conn)
{
	return conn->refused || conn->head.close || conn->set->draining;
}

void conn_hold(struct conn *conn, void (*on_gone)(void *arg), void *arg)
{
	conn->on_gone = on_gone;
	conn->gone_arg = arg;
}

static void on_sent(struct evhttp_request *evreq, void *arg)
{
	struct conn *c = arg;

	(void)evreq;
	if (c->closing) {
		c->sent = true; /* evhttp closes it now */
		return;
	}
	c->served = true;
	enter(c, CONN_IDLE);
	c->moving = true;
	check_pending(c);
	c->moving = false;
}

void conn_sends(struct conn *conn, struct evhttp_request *evreq, bool close)
{
	conn->on_gone = NULL;
	conn->closing = close;
	evhttp_request_set_on_complete_cb(evreq, on_sent, conn);
	/* Nothing more is read before the answer is sent; evhttp enables reading again itself. */
	bufferevent_disable(conn->bev, EV_READ);
	enter(conn, CONN_SENDING);
}
