/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets that the service manager holds for csrd, by FileDescriptorName=:
 * "http" and "https" in place of [http] listen and listen_tls, "metrics" in place of
 * [metrics] listen.  What the file would not allow is refused here, too.
 */
#ifndef CSRD_DAEMON_INHERITED_H
#define CSRD_DAEMON_INHERITED_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"
#include "daemon/listen_socket.h"
#include "systemd/service.h"

#include <stdbool.h>
#include <stddef.h>

enum inherited_kind { INHERITED_HTTP, INHERITED_HTTPS, INHERITED_METRICS };
#define INHERITED_KINDS 3

struct inherited {
	int fd;
	char address[LISTEN_ADDRESS_SIZE];
};

struct inherited_set {
	struct inherited of[INHERITED_KINDS][SERVICE_SOCKETS_MAX];
	size_t len[INHERITED_KINDS];
};

bool inherited_has(enum inherited_kind kind);

/* Checks all of them and makes them non-blocking.  E_CONFIG, E_IO; logs the cause. */
MUST_USE enum err inherited_take(const struct config *config, struct inherited_set *ret_set);

/* Whoever changed the addresses of the configuration thinks that they are in force. */
void inherited_warn_of_others(const struct config *config, const struct inherited_set *set,
			      enum inherited_kind kind);

#endif
