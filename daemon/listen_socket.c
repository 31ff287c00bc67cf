/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, naming and comparing sockets that listen. */
#include "daemon/listen_socket.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define LISTEN_BACKLOG 4096 /* or what net.core.somaxconn allows */
#define LISTEN_UNIX_MODE 0660

static enum err listen_socket_open_tcp(const struct sockaddr_storage *sa, socklen_t sa_len, int *ret_fd)
{
	int one = 1;
	int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return E_IO;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    (sa->ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0) ||
	    bind(fd, (const struct sockaddr *)sa, sa_len) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
		int error = errno;

		fd_close(&fd);
		errno = error;
		return error == EADDRINUSE ? E_EXISTS : error == EACCES ? E_DENIED : E_IO;
	}
	*ret_fd = fd;
	return E_OK;
}

enum err listen_socket_open(const char *address, int *ret_fd, char **ret_unix_path, int *ret_lock_fd)
{
	struct sockaddr_storage sa;
	struct address parsed;
	socklen_t sa_len;
	uint16_t port;

	if (str_starts_with(address, "unix:")) {
		*ret_unix_path = strdup(address + strlen("unix:"));
		if (!*ret_unix_path)
			return E_NOMEM;
		return fd_unix_listen(*ret_unix_path, LISTEN_UNIX_MODE, ret_fd, ret_lock_fd);
	}
	if (!address_parse_port(address, &parsed, &port))
		return E_CONFIG;
	address_to_socket(&parsed, port, &sa, &sa_len);
	return listen_socket_open_tcp(&sa, sa_len, ret_fd);
}

void listen_socket_format(int fd, char text[LISTEN_ADDRESS_SIZE])
{
	struct sockaddr_un local = {.sun_family = AF_UNSPEC};
	union {
		struct sockaddr any;
		struct sockaddr_storage storage;
	} sa = {.any = {.sa_family = AF_UNSPEC}};
	socklen_t len = sizeof(sa);
	struct address a;
	uint16_t port;
	int path_len;

	if (getsockname(fd, &sa.any, &len) != 0)
		sa.any.sa_family = AF_UNSPEC;
	a = address_of_socket(&sa.any, &port);
	if (a.family != ADDRESS_UNIX) {
		address_format_port(&a, port, text);
		return;
	}
	memcpy(&local, &sa, sizeof(local));
	path_len = (int)len - (int)offsetof(struct sockaddr_un, sun_path);
	if (path_len > 1 && local.sun_path[0] == '\0')
		snprintf(text, LISTEN_ADDRESS_SIZE, "unix:@%.*s", path_len - 1, local.sun_path + 1);
	else
		snprintf(text, LISTEN_ADDRESS_SIZE, "unix:%.*s", path_len, local.sun_path);
}

bool listen_socket_is_at(const char *real, const char *wanted)
{
	struct address real_address, wanted_address;
	uint16_t real_port, wanted_port;

	if (!address_parse_port(real, &real_address, &real_port) ||
	    !address_parse_port(wanted, &wanted_address, &wanted_port))
		return strcmp(real, wanted) == 0;
	return address_compare(&real_address, &wanted_address) == 0 &&
	       (wanted_port == 0 || real_port == wanted_port);
}

bool listen_socket_is_absent(const char *wanted)
{
	struct sockaddr_storage sa;
	struct address parsed;
	socklen_t len;
	uint16_t port;
	bool absent;
	int fd;

	if (!address_parse_port(wanted, &parsed, &port))
		return false;
	address_to_socket(&parsed, 0, &sa, &len);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	absent = (fd < 0 && errno == EAFNOSUPPORT) ||
		 (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, len) != 0 && errno == EADDRNOTAVAIL);
	fd_close(&fd);
	return absent;
}
