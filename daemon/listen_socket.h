/* SPDX-License-Identifier: Apache-2.0 */
/* Private to daemon/.  Sockets that listen, and what they are called. */
#ifndef CSRD_DAEMON_LISTEN_SOCKET_H
#define CSRD_DAEMON_LISTEN_SOCKET_H

#include "base/address.h"
#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/un.h>

#define LISTEN_ADDRESS_SIZE (sizeof("unix:") + sizeof(struct sockaddr_un) + ADDRESS_PORT_SIZE)

/*
 * Opens a socket as [http] listen has it.  For a path *ret_unix_path is a copy of it, which the caller
 * frees even after a failure, and *ret_lock_fd holds it; otherwise both are as they were.  E_CONFIG: no
 * address; E_EXISTS, E_DENIED, E_LIMIT (a path that is too long), E_IO (errno kept), E_NOMEM.
 */
MUST_USE enum err listen_socket_open(const char *address, int *ret_fd, char **ret_unix_path,
				     int *ret_lock_fd);

/* As [http] listen has it: "127.0.0.1:80", "[::1]:80", "unix:/PATH"; "unix:@NAME" (abstract). */
void listen_socket_format(int fd, char text[LISTEN_ADDRESS_SIZE]);

/* Whether a socket is where the configuration has one; port 0 there is any port. */
bool listen_socket_is_at(const char *real, const char *wanted);

/* No socket can be at an address of a family that this machine has not got. */
bool listen_socket_is_absent(const char *wanted);

#endif
