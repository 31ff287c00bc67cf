/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client on the socket: bytes in, frames out of them, replies back, with
 * a bound on what waits to be sent.  It knows no messages except the parts of a
 * list, which it makes as the client takes them.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_CONNECTION_H
#define CSRD_HSM_SIGNER_SERVE_CONNECTION_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "hsm/frame.h"
#include "hsm/message.h"
#include "hsm/signer/serve/job.h"

#include <stdbool.h>
#include <stdint.h>

enum connection_phase { CONNECTION_HELLO, CONNECTION_READY };

struct connection {
	uint64_t id;
	int fd;
	struct fd_peer peer;
	enum connection_phase phase;
	uint64_t hello_until_ms;
	bool has_noted; /* a store: it is csrd, and works for that one */
	uint8_t lineage[MESSAGE_LINEAGE_BYTES];
	struct buf in;
	struct buf out;
	enum err broken;       /* an answer could not be put: the connection is to be dropped */
	struct job_list lists; /* finished LIST_KEYS jobs whose parts are still to be sent */
	bool listing;          /* a LIST_KEYS was begun, and not all of its answer is on its way */
};

/* Takes the descriptor, also on failure.  NULL: out of memory. */
struct connection *connection_new(uint64_t id, int fd, const struct fd_peer *peer, uint64_t hello_until_ms);
void connection_free(struct connection *c); /* NULL is fine */

/* Too much waits to be sent: nothing is read from it until that has been sent. */
bool connection_is_choked(const struct connection *c);
bool connection_wants_write(const struct connection *c);

/* Reads what is there.  E_UNAVAIL: the client left; E_IO; E_NOMEM. */
MUST_USE enum err connection_read(struct connection *c);

/*
 * The next whole frame at *at, which it moves; E_BUSY: no more; E_PROTO.
 * Borrowed until connection_consume.
 */
MUST_USE enum err connection_next(const struct connection *c, size_t *at, struct frame *ret_frame);
void connection_consume(struct connection *c, size_t len);

/* E_LIMIT: the client sends requests and reads no replies; E_NOMEM.  Both end the connection. */
MUST_USE enum err connection_reply(struct connection *c, uint32_t request_id, uint16_t type,
				   const struct buf *payload);

/* Takes a finished list: its parts are made by connection_flush as there is room for them. */
void connection_reply_list(struct connection *c, struct job *job);

/* Writes what the socket accepts.  E_UNAVAIL: the client left; E_IO, E_LIMIT, E_NOMEM. */
MUST_USE enum err connection_flush(struct connection *c);

#endif
