/* SPDX-License-Identifier: Apache-2.0 */
/* The tree is the C library's (tsearch), a red-black tree. */
#include "daemon/conn_host.h"

#include "daemon/conn_private.h"

#include <search.h>
#include <stdlib.h>

#define ADDRESS_BITS_OF_ONE_V6 64

static int conn_host_compare(const void *a, const void *b)
{
	return address_compare(&((const struct conn_host *)a)->address,
			       &((const struct conn_host *)b)->address);
}

static struct address conn_host_cut(const struct address *a)
{
	return a->family == ADDRESS_V6 ? address_cut(a, ADDRESS_BITS_OF_ONE_V6) : *a;
}

struct conn_host *conn_hosts_find(const struct conn_hosts *hosts, const struct address *a)
{
	struct conn_host wanted = {.address = conn_host_cut(a)};
	void *const *node = tfind(&wanted, &hosts->root, conn_host_compare);

	return node ? *node : NULL;
}

static struct conn_host *conn_hosts_add(struct conn_hosts *hosts, const struct address *a)
{
	struct conn_host *host = calloc(1, sizeof(*host));

	if (!host)
		return NULL;
	host->address = conn_host_cut(a);
	LIST_INIT(&host->conns);
	if (!tsearch(host, &hosts->root, conn_host_compare)) {
		free(host);
		return NULL;
	}
	return host;
}

enum err conn_hosts_enter(struct conn_hosts *hosts, struct conn *c)
{
	struct conn_host *host;

	if (c->address.family != ADDRESS_V4 && c->address.family != ADDRESS_V6)
		return E_OK;
	host = conn_hosts_find(hosts, &c->address);
	if (!host)
		host = conn_hosts_add(hosts, &c->address);
	if (!host)
		return E_NOMEM;
	host->len++;
	LIST_INSERT_HEAD(&host->conns, c, of_host);
	c->host = host;
	return E_OK;
}

void conn_hosts_leave(struct conn_hosts *hosts, struct conn *c)
{
	struct conn_host *host = c->host;

	if (!host)
		return;
	c->host = NULL;
	LIST_REMOVE(c, of_host);
	if (--host->len > 0)
		return;
	(void)tdelete(host, &hosts->root, conn_host_compare);
	free(host);
}
