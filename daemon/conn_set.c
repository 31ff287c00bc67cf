/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections there are, and who goes when there are too many. */
#include "daemon/conn_set.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/conn_private.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a connection may have been as it is before it can be spared. */
#define GRACE_NEW_MS 20      /* nothing was sent yet */
#define GRACE_LINGER_MS 20   /* the client may still be reading its last answer */
#define GRACE_REQUEST_MS 150 /* from the request's first byte */
#define GRACE_ANSWER_MS 150  /* without progress, the socket's buffer being full */
/* How many that look idle are asked whether they are, before whoever comes is made to wait. */
#define SPARE_TRIES 16
#define STUCK_MS 1000 /* in a request or an answer: an idle connection is worth more */
#define RETRY_MS 20
/* How long after the last one who found no room answers end their connections. */
#define PRESSED_MS 1000
#define LOG_MS 5000

/* Who can be spared, best first. */
enum spare { SPARE_LINGER = 1, SPARE_STUCK, SPARE_NEW, SPARE_IDLE, SPARE_SLOW, SPARE_NOBODY };

static void on_retry(void *arg);

enum err conn_set_new(struct event_base *base, const struct conn_set_options *options,
		      struct conn_set **ret_set)
{
	struct conn_set *set = calloc(1, sizeof(*set));

	if (!set)
		return E_NOMEM;
	set->base = base;
	set->options = *options;
	set->waiting_fd = -1;
	TAILQ_INIT(&set->conns);
	timer_init(&set->retry, base, on_retry, set);
	*ret_set = set;
	return E_OK;
}

void conn_set_free(struct conn_set *set)
{
	if (!set)
		return;
	set->draining = set->full = false; /* nobody is to be told any more */
	while (!TAILQ_EMPTY(&set->conns))
		conn_free(TAILQ_FIRST(&set->conns));
	fd_close(&set->waiting_fd);
	timer_stop(&set->retry);
	free(set);
}

unsigned conn_set_len(const struct conn_set *set)
{
	return set->len;
}

static uint64_t connections_max(const struct conn_set *set)
{
	uint64_t max = set->options.config->max_connections;

	return max < set->options.connections_max ? max : set->options.connections_max;
}

void conn_set_figures(const struct conn_set *set, struct conn_set_figures *ret_figures)
{
	*ret_figures = (struct conn_set_figures){
	    .open = set->len,
	    .max = connections_max(set),
	    .accepted = set->accepted,
	    .evicted = set->evicted,
	    .refused = set->refused,
	    .unsent_bytes = set->unsent_bytes,
	};
}

/* ---- who can be spared ---- */

static enum spare spare_of_slow(uint64_t age_ms, uint64_t grace_ms)
{
	return age_ms >= STUCK_MS ? SPARE_STUCK : age_ms >= grace_ms ? SPARE_SLOW : SPARE_NOBODY;
}

static enum spare spare_of(const struct conn *c, uint64_t age_ms)
{
	switch (c->state) {
	case CONN_LINGER:
		return age_ms >= GRACE_LINGER_MS ? SPARE_LINGER : SPARE_NOBODY;
	case CONN_IDLE:
		if (c->served)
			return SPARE_IDLE;
		return age_ms >= GRACE_NEW_MS ? SPARE_NEW : SPARE_NOBODY;
	case CONN_HANDSHAKE:
		if (c->first)
			return age_ms >= GRACE_NEW_MS ? SPARE_NEW : SPARE_NOBODY;
		return spare_of_slow(age_ms, GRACE_REQUEST_MS);
	case CONN_HEAD:
	case CONN_BODY:
		return spare_of_slow(age_ms, GRACE_REQUEST_MS);
	case CONN_SENDING:
		return spare_of_slow(age_ms, GRACE_ANSWER_MS);
	case CONN_BUSY:
	case CONN_DEAD:
	case CONN_GONE:
		break;
	}
	return SPARE_NOBODY;
}

/* The better one to spare, of two: c, or the one that was found before. */
static void weigh_spare(struct conn *c, uint64_t now, enum spare *best, struct conn **found)
{
	enum spare spare = spare_of(c, now - c->since_ms);

	if (spare > *best || spare == SPARE_NOBODY)
		return;
	if (spare < *best || c->since_ms < (*found)->since_ms) {
		*best = spare;
		*found = c;
	}
}

/* host: among those of one address; NULL: among all. */
static struct conn *find_spare(const struct conn_set *set, const struct conn_host *host)
{
	uint64_t now = clock_ms();
	enum spare best = SPARE_NOBODY;
	struct conn *c, *found = NULL;

	if (host)
		LIST_FOREACH (c, &host->conns, of_host)
			weigh_spare(c, now, &best, &found);
	else
		TAILQ_FOREACH (c, &set->conns, next)
			weigh_spare(c, now, &best, &found);
	return found;
}

/* The host may be gone with its last connection. */
static bool close_spare(struct conn_set *set, const struct conn_host *host)
{
	struct conn *c = find_spare(set, host);

	for (int i = 0; c && conn_begin_if_asked(c); i++)
		c = i < SPARE_TRIES ? find_spare(set, host) : NULL;
	if (!c)
		return false;
	log_debug("connection of '%s' closed to make room", c->peer);
	set->evicted++;
	conn_free(c);
	return true;
}

bool conn_set_make_room(struct conn_set *set)
{
	return close_spare(set, NULL);
}

/* ---- room ---- */

static bool has_room(const struct conn_set *set)
{
	return set->len < connections_max(set) || find_spare(set, NULL);
}

static void stop_accepting(struct conn_set *set)
{
	timer_start(&set->retry, RETRY_MS);
	if (set->full)
		return;
	set->full = true;
	set->options.on_room(set->options.arg, false);
}

/* Who waits is let in from a turn of its own: the caller may be amid a connection that would go for it. */
void conn_set_room_changed(struct conn_set *set)
{
	if (!set->full || !has_room(set))
		return;
	if (set->waiting_fd >= 0) {
		timer_start(&set->retry, 0);
		return;
	}
	set->full = false;
	timer_stop(&set->retry);
	set->options.on_room(set->options.arg, true);
}

static void add_conn(struct conn_set *set, int fd, const struct sockaddr *peer, struct conn_door door)
{
	static struct log_gate gate;
	unsigned held_back;

	if (conn_new(set, fd, peer, door) != E_OK && log_gate_pass(&gate, LOG_MS, &held_back))
		log_error("cannot take a connection: out of memory (%u lines held back)", held_back);
}

static bool make_room_if_full(struct conn_set *set)
{
	if (set->len < connections_max(set))
		return true;
	set->pressed_until_ms = clock_ms() + PRESSED_MS;
	return conn_set_make_room(set);
}

bool conn_set_is_pressed(const struct conn_set *set)
{
	return clock_ms() < set->pressed_until_ms;
}

/* The connections of a proxy are those of many callers. */
static bool is_limited(const struct conn_set *set, const struct address *a)
{
	const struct config_networks *of[] = {set->options.exempt, &set->options.config->trusted_proxies,
					      &set->options.config->proxy_protocol_from};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		if (address_is_in_any(a, of[i]->nets, of[i]->len))
			return false;
	return true;
}

/* False: the address has as many connections as it may, and none of them can be spared. */
static bool make_room_of_address(struct conn_set *set, const struct address *a)
{
	static struct log_gate gate;
	uint64_t max = set->options.config->max_connections_per_address;
	const struct conn_host *host;
	char text[ADDRESS_SIZE];
	unsigned held_back;

	if (max == 0 || !set->options.exempt)
		return true;
	host = conn_hosts_find(&set->hosts, a);
	if (!host || host->len < max || !is_limited(set, a) || close_spare(set, host))
		return true;
	set->refused++;
	address_format(a, text);
	if (log_gate_pass(&gate, LOG_MS, &held_back))
		log_notice("connection of '%s' refused: it has %llu, and none can be spared ([http] "
			   "max_connections_per_address) (%u lines held back)",
			   text, (unsigned long long)max, held_back);
	return false;
}

static bool make_room_of_peer(struct conn_set *set, const struct sockaddr *peer)
{
	uint16_t port;
	struct address a = address_of_socket(peer, &port);

	return make_room_of_address(set, &a);
}

static void on_retry(void *arg)
{
	struct conn_set *set = arg;
	int waiting_fd = set->waiting_fd;

	if (waiting_fd >= 0 && !make_room_of_peer(set, (const struct sockaddr *)&set->waiting_peer)) {
		fd_close(&set->waiting_fd);
		waiting_fd = -1;
	}
	if (waiting_fd >= 0 && make_room_if_full(set)) {
		set->waiting_fd = -1;
		add_conn(set, waiting_fd, (const struct sockaddr *)&set->waiting_peer, set->waiting_door);
	}
	if (set->waiting_fd < 0)
		conn_set_room_changed(set);
	if (set->full)
		stop_accepting(set);
}

/*
 * Accepting goes on while somebody can be spared, who may have become busy when
 * the next one comes: that one is accepted already, so it waits here.
 */
static void keep_waiting(struct conn_set *set, int fd, const struct sockaddr *peer, struct conn_door door)
{
	size_t len = peer->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
		     : peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						   : sizeof(peer->sa_family);

	fd_close(&set->waiting_fd); /* there is none: nothing is accepted while full */
	set->waiting_fd = fd;
	set->waiting_door = door;
	memcpy(&set->waiting_peer, peer, len);
	stop_accepting(set);
}

void conn_set_accept(struct conn_set *set, int fd, const struct sockaddr *peer, struct conn_door door)
{
	set->accepted++;
	if (set->draining || !make_room_of_peer(set, peer)) {
		(void)close(fd);
	} else if (!make_room_if_full(set)) {
		keep_waiting(set, fd, peer, door);
	} else {
		add_conn(set, fd, peer, door);
		if (!has_room(set))
			stop_accepting(set);
	}
}

/* ---- members ---- */

enum err conn_set_enter(struct conn_set *set, struct conn *c)
{
	TAILQ_INSERT_TAIL(&set->conns, c, next);
	set->len++;
	return conn_hosts_enter(&set->hosts, c);
}

bool conn_set_give(struct conn_set *set, struct conn *c, const struct address *source)
{
	conn_hosts_leave(&set->hosts, c);
	c->address = *source;
	return make_room_of_address(set, source) && conn_hosts_enter(&set->hosts, c) == E_OK;
}

void conn_set_leave(struct conn_set *set, struct conn *c)
{
	TAILQ_REMOVE(&set->conns, c, next);
	set->len--;
	conn_hosts_leave(&set->hosts, c);
	conn_set_room_changed(set);
	if (set->draining && set->len == 0)
		set->options.on_empty(set->options.arg);
}

void conn_set_drain(struct conn_set *set)
{
	struct conn *c;

	set->draining = true;
	fd_close(&set->waiting_fd); /* as the kernel does with those that wait there */
	TAILQ_FOREACH (c, &set->conns, next)
		conn_drain(c);
	if (set->len == 0)
		set->options.on_empty(set->options.arg);
}

/* ---- unsent answers ---- */

void conn_set_limit_unsent(struct conn_set *set, const struct conn *newest)
{
	static struct log_gate gate;
	struct conn *c, *slowest;
	unsigned held_back;

	while (set->unsent_bytes > CONN_UNSENT_MAX) {
		slowest = NULL;
		TAILQ_FOREACH (c, &set->conns, next)
			if (c->state == CONN_SENDING && c != newest &&
			    (!slowest || c->since_ms < slowest->since_ms))
				slowest = c;
		if (!slowest)
			return;
		if (log_gate_pass(&gate, LOG_MS, &held_back))
			log_warn("%llu bytes of answers wait to be read: the connection of '%s', the slowest "
				 "reader, is closed (%u lines held back)",
				 (unsigned long long)set->unsent_bytes, slowest->peer, held_back);
		conn_free(slowest);
	}
}
