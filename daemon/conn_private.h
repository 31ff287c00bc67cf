/* SPDX-License-Identifier: Apache-2.0 */
/* Private to conn.c, conn_host.c and conn_set.c: what they know of each other. */
#ifndef CSRD_DAEMON_CONN_PRIVATE_H
#define CSRD_DAEMON_CONN_PRIVATE_H

#include "base/address.h"
#include "daemon/chunk.h"
#include "daemon/conn.h"
#include "daemon/conn_host.h"
#include "daemon/conn_set.h"
#include "daemon/head.h"
#include "loop/timer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct bufferevent;
struct event;
struct evbuffer;
struct event_base;
struct peer;
struct proxy;
struct tls;

enum conn_state {
	CONN_HANDSHAKE =
	    1,        /* of TLS, whose first byte tells whether it is one; before it, the proxy's header */
	CONN_IDLE,    /* waits for a request's first byte */
	CONN_HEAD,    /* its head is arriving */
	CONN_BODY,    /* its body is arriving */
	CONN_BUSY,    /* it is being answered */
	CONN_SENDING, /* its answer is being sent */
	CONN_LINGER,  /* our side is shut; what still comes is dropped */
	CONN_DEAD,    /* to be closed at the next turn of the loop */
	CONN_GONE,    /* closed while busy: kept for whoever answers its request */
};

struct conn {
	struct conn_set *set;
	enum conn_state state;
	struct bufferevent *bev; /* NULL for CONN_GONE, and in CONN_HANDSHAKE before the first byte */
	struct tls *tls;         /* of its door; NULL: plain HTTP */
	struct event *first;     /* waits for the first byte, or the proxy's header; NULL otherwise */
	struct proxy *proxy;     /* that header, while it arrives; else NULL */
	int fd;                  /* while there is no bev to own it; else -1 */
	bool is_tls;             /* TLS is spoken: a handshake has begun */
	bool at_end;             /* a TLS client has said that it sends no more */
	struct timer timer;
	uint64_t since_ms;   /* clock_ms of: entering the state; CONN_HEAD for CONN_BODY; last progress of
				CONN_SENDING */
	uint64_t give_up_ms; /* end of CONN_SENDING, whatever the progress */
	bool served;         /* it had an answer */
	bool refused;
	bool closing; /* the answer says "Connection: close" */
	struct head head;
	char *head_text; /* what head points into; NULL before it is whole */
	struct chunk chunk;
	struct evbuffer *body;
	size_t lingered; /* bytes dropped */
	int refused_status;
	const char *refused_why;
	struct address address; /* of the peer, or of whom its proxy speaks for */
	char peer[CONN_PEER_SIZE];
	struct peer *known; /* who it is, without a secret; NULL: not known */
	TAILQ_ENTRY(conn) next;
	struct conn_host *host; /* NULL: it has no address */
	LIST_ENTRY(conn) of_host;
};

struct conn_set {
	struct event_base *base;
	struct conn_set_options options;
	TAILQ_HEAD(conn_list, conn) conns;
	struct conn_hosts hosts;
	unsigned len;
	uint64_t unsent_bytes; /* in the output buffers of all of them */
	struct timer retry;    /* while full: a grace may be over */
	int waiting_fd;        /* while full: accepted, and waits for room like those in the kernel; or -1 */
	struct sockaddr_storage waiting_peer;
	struct conn_door waiting_door;
	uint64_t pressed_until_ms;
	uint64_t accepted;
	uint64_t evicted;
	uint64_t refused;
	bool full;
	bool draining;
};

/* ---- conn.c ---- */

/* Takes fd; on failure it is closed.  The conn enters itself into the set. */
MUST_USE enum err conn_new(struct conn_set *set, int fd, const struct sockaddr *peer, struct conn_door door);
void conn_free(struct conn *c);
void conn_drain(struct conn *c);
/* True when c looks idle, but its next request has arrived unread; c is then no longer idle. */
bool conn_begin_if_asked(struct conn *c);

/* ---- conn_set.c ---- */

/* c->address is set.  E_NOMEM: it has entered all the same, but its address does not count it. */
MUST_USE enum err conn_set_enter(struct conn_set *set, struct conn *c);
void conn_set_leave(struct conn_set *set, struct conn *c);
/* c counts for that address from now on.  False: it has as many as it may, and c is to be closed. */
MUST_USE bool conn_set_give(struct conn_set *set, struct conn *c, const struct address *source);
/* A connection left or can be spared now: one that waits may come in. */
void conn_set_room_changed(struct conn_set *set);
/* There are more clients than room: each answer ends its connection, so that the next in line gets a turn. */
bool conn_set_is_pressed(const struct conn_set *set);
/* c has an answer to send: cuts off slow readers other than c while too much is unsent. */
void conn_set_limit_unsent(struct conn_set *set, const struct conn *c);

#endif
