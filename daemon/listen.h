/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets that csrd listens on, and what happens when no more connections
 * can be taken: listening pauses and resumes by itself, with a line in the log now
 * and then, and the process never spins on accept(2).
 */
#ifndef CSRD_DAEMON_LISTEN_H
#define CSRD_DAEMON_LISTEN_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>

struct conn_set;
struct event_base;
struct listen;
struct tls;

/*
 * Opens every address of [http] listen, and of listen_tls with `tls` (NULL: there are none); `conns` gets
 * what is accepted there. A loopback address of a family that this machine does not have is skipped, as long
 * as another address is left. Sockets named "http" from the service manager replace those of listen, and
 * "https" those of listen_tls; with a warning if they have other addresses; plain HTTP off loopback must be
 * permitted for them as it must for addresses. Each real address is logged: "listening on '127.0.0.1:43211'".
 * Logs the cause of a failure.  E_EXISTS when another process has an address, E_CONFIG when one cannot be
 * understood or a socket is of another kind, E_DENIED, E_IO, E_NOMEM.
 */
MUST_USE enum err listen_new(struct event_base *base, const struct config *config, struct conn_set *conns,
			     struct tls *tls, struct listen **ret_listen);

/* There is a door for the figures: [metrics] listen, or sockets named "metrics" from the service manager. */
bool listen_has_metrics(const struct config *config);

/* The same for these doors alone, which are logged as where the figures are.  After listen_new. */
MUST_USE enum err listen_new_metrics(struct event_base *base, const struct config *config,
				     struct conn_set *conns, struct listen **ret_listen);

/* Accepts, or pauses accepting. */
void listen_set_room(struct listen *listen, bool room);

/* Closes the sockets; unix sockets are unlinked. */
void listen_stop(struct listen *listen);
void listen_free(struct listen *listen); /* after listen_stop; NULL is fine */

#endif
