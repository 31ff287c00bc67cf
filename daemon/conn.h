/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client connection: bytes to requests, answers to bytes, and a time limit
 * in every state.
 *
 *   handshake a proxy tells whose connection it is
 *             (proxy.h), then the client begins to
 *             speak TLS                             10 s for both, or idle_timeout if that is shorter
 *   idle      waits for a request's first byte      idle_timeout
 *   head,     receives a request                    idle_timeout from its first byte, then 408
 *   body
 *   busy      the request is being answered         request_timeout and a margin
 *   sending   the answer goes out                   idle_timeout without progress, or a second for each
 *                                                   16 KiB of it on top of idle_timeout
 *   linger    closed by us; what still comes is
 *             dropped (RFC 9112 §9.6)               2 s or 1 MiB
 *
 * One request at a time: nothing more is read until its answer is sent.  While
 * draining the limits of idle, head and body are shorter.
 */
#ifndef CSRD_DAEMON_CONN_H
#define CSRD_DAEMON_CONN_H

#include "base/address.h"
#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct conn;
struct head;
struct peer;

/*
 * ---- for conn_set's on_request ----
 * The request is the caller's until conn_send or conn_abort: what follows stays
 * valid until then, even when the client leaves meanwhile.
 */

#define CONN_PEER_SIZE (2 * ADDRESS_PORT_SIZE + sizeof(" via "))
/* "127.0.0.1:41234", "[::1]:41234", "unix", "192.0.2.1:5 via 127.0.0.1:41234" */
const char *conn_peer(const struct conn *conn);
/* The peer's, or that of whom it speaks for by the PROXY protocol. */
const struct address *conn_address(const struct conn *conn);

/* Who it is, by a client certificate or as a user of this machine; NULL: not known. */
const struct peer *conn_known(const struct conn *conn);

bool conn_is_tls(const struct conn *conn);

/* True when the request was refused, with status and reason for the client; the answer must say "close". */
bool conn_is_refused(const struct conn *conn, int *ret_status, const char **ret_why);

/* As head.h says; of a refused request only the method is meaningful. */
const struct head *conn_head(const struct conn *conn);

/* The body in one piece; NULL and 0 for none.  E_NOMEM. */
MUST_USE enum err conn_body(struct conn *conn, const char **ret_body, size_t *ret_len);

/* The answer must end its connection: the client wants it, it was refused, we drain, or clients wait. */
bool conn_must_close(const struct conn *conn);

/* The client has left or was given up: nobody will read the answer. */
bool conn_is_gone(const struct conn *conn);

/*
 * Sends the answer, once: `head` is copied; `body` is malloc(3)ed and taken, or
 * NULL.  The connection goes on with the next request, or closes.
 */
void conn_send(struct conn *conn, const struct buf *head, char *body, size_t body_len, bool close);

/* In place of conn_send: gives the connection up without an answer. */
void conn_abort(struct conn *conn);

#endif
