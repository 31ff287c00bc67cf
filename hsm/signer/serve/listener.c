/* SPDX-License-Identifier: Apache-2.0 */
/* Gets the listening socket, and knows who may connect to it. */
#include "hsm/signer/serve/listener.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "systemd/service.h"

#include <errno.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum err add_user(struct listener *l, const char *user)
{
	const struct passwd *entry;
	uint64_t number;

	if (l->users_len == LISTENER_USERS_MAX)
		return E_CONFIG;
	if (str_parse_u64(user, UINT32_MAX - 1, &number) == E_OK) {
		l->users[l->users_len++] = (uid_t)number;
		return E_OK;
	}
	entry = getpwnam(user);
	if (!entry) {
		/* Nobody can come as a user that does not exist; the default names one that packages make. */
		log_notice("client_users: there is no user '%s' on this machine", user);
		return E_OK;
	}
	l->users[l->users_len++] = entry->pw_uid;
	return E_OK;
}

static enum err inherit(struct listener *l, const struct service_socket *sockets, size_t len)
{
	int domain;
	enum err e;

	if (len != 1) {
		log_error("the service manager gave %zu sockets, expected 1", len);
		return E_CONFIG;
	}
	e = service_socket_prepare(sockets, &domain);
	if (e == E_INVAL || (e == E_OK && domain != AF_UNIX)) {
		log_error("descriptor %d ('%s') of the service manager is not a listening unix stream socket",
			  sockets->fd, sockets->name);
		return E_CONFIG;
	}
	if (e != E_OK) {
		log_error("descriptor %d ('%s') of the service manager: %s", sockets->fd, sockets->name,
			  strerror(errno));
		return e;
	}
	l->fd = sockets->fd;
	return E_OK;
}

static enum err listen_on(struct listener *l, const char *path)
{
	/* Other users have to reach it to be asked who they are. */
	enum err e = fd_unix_listen(path, l->users_len ? 0666 : 0600, &l->fd, &l->lock_fd);

	switch (e) {
	case E_OK:
		return E_OK;
	case E_EXISTS:
		log_error("socket '%s' is served by another process", path);
		return e;
	case E_LIMIT:
		log_error("socket '%s': the path is too long", path);
		return E_CONFIG;
	default:
		log_error("cannot listen on '%s': %s", path, errno ? strerror(errno) : err_str(e));
		return e;
	}
}

enum err listener_open(const char *path, char *const *users, size_t users_len, struct listener *ret_listener)
{
	struct listener l = {.fd = -1, .lock_fd = -1};
	const struct service_socket *inherited;
	size_t inherited_len = service_sockets(&inherited);
	enum err e;

	for (size_t i = 0; i < users_len; i++)
		if ((e = add_user(&l, users[i])) != E_OK)
			return e;
	if ((e = inherited_len ? inherit(&l, inherited, inherited_len) : listen_on(&l, path)) != E_OK)
		return e;
	*ret_listener = l;
	return E_OK;
}

void listener_close(struct listener *l)
{
	fd_close(&l->fd);
	fd_close(&l->lock_fd);
}

bool listener_permits(const struct listener *l, uid_t uid)
{
	if (uid == 0 || uid == geteuid())
		return true;
	for (size_t i = 0; i < l->users_len; i++)
		if (l->users[i] == uid)
			return true;
	return false;
}
