/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to daemon/.  Connections by the address that they come from, an IPv4 address or a /64 of IPv6.
 * Those of unix sockets have none and are not counted.
 */
#ifndef CSRD_DAEMON_CONN_HOST_H
#define CSRD_DAEMON_CONN_HOST_H

#include "base/address.h"
#include "base/attr.h"
#include "base/err.h"

#include <sys/queue.h>

struct conn;

/* One address with connections. */
struct conn_host {
	struct address address;
	unsigned len;
	LIST_HEAD(, conn) conns;
};

/* All of them: a balanced tree, so no choice of addresses makes looking them up slow.  Zero-initialise. */
struct conn_hosts {
	void *root;
};

/* NULL: it has no connection. */
struct conn_host *conn_hosts_find(const struct conn_hosts *hosts, const struct address *a);

/* c->address is set.  E_NOMEM: c is not counted. */
MUST_USE enum err conn_hosts_enter(struct conn_hosts *hosts, struct conn *c);
void conn_hosts_leave(struct conn_hosts *hosts, struct conn *c); /* also when it has not entered */

#endif
