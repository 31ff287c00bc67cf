/*
 * Closing a connection whose client may still be sending: our side is shut,
 * what still comes is read and thrown away for a short while, so that the
 * answer is not lost to a reset (RFC 9112 §9.6).
 */
#ifndef CSRD_DAEMON_CLOSER_H
#define CSRD_DAEMON_CLOSER_H

#include "base/attr.h"
#include "base/err.h"

struct event_base;
struct closer;

MUST_USE enum err closer_new(struct event_base *base, struct closer **ret_closer);
void closer_free(struct closer *closer); /* closes all of them; NULL is fine */

/*
 * Shuts the sending side of a connected socket and takes care of the rest.
 * Works on a duplicate of fd: the caller closes its own.  When too many wait
 * already, or no descriptor is left, it does nothing.
 */
void closer_add(struct closer *closer, int fd);

#endif
