/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that this process serves: its own, or one inherited from the service manager. */
#ifndef CSRD_HSM_SIGNER_SERVE_LISTENER_H
#define CSRD_HSM_SIGNER_SERVE_LISTENER_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

#define LISTENER_USERS_MAX 16

struct listener {
	int fd;
	int lock_fd; /* -1 when inherited */
	/* Who may connect besides root and our own user. */
	uid_t users[LISTENER_USERS_MAX];
	size_t users_len;
};

/*
 * The one socket that the service manager gave, whatever its name; without one, listens on `path`.  Users are
 * names or numbers; a name that nobody has is left out.  Logs what fails.  E_EXISTS (another process serves
 * it), E_CONFIG (too many users, path too long, more than one socket given, or not a listening unix stream
 * socket), E_DENIED, E_IO.
 */
MUST_USE enum err listener_open(const char *path, char *const *users, size_t users_len,
				struct listener *ret_listener);
void listener_close(struct listener *listener);

bool listener_permits(const struct listener *listener, uid_t uid);

#endif
