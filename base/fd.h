/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, files and unix sockets. */
#ifndef CSRD_BASE_FD_H
#define CSRD_BASE_FD_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * Once, before anything else: opens /dev/null in the place of each of descriptors
 * 0, 1 and 2 that is closed, since the next file would get its number (a database
 * as standard output).  It is opened for the wrong direction, so that using it
 * fails as before.  E_IO, errno kept.
 */
MUST_USE enum err fd_fill_standard(void);

/* Closes it and sets it to -1; does nothing for -1. */
void fd_close(int *fd);

MUST_USE enum err fd_set_nonblocking(int fd);

/* Writes all of it, however long that takes, even to a non-blocking descriptor.  E_IO, errno kept. */
MUST_USE enum err fd_write_all(int fd, const void *data, size_t len);

/* fsync(2), resumed after EINTR.  E_IO, errno kept. */
MUST_USE enum err fd_sync(int fd);

/* Appends a whole file to `b`.  E_NOTFOUND, E_DENIED, E_LIMIT (past b's ceiling), E_IO, E_NOMEM. */
MUST_USE enum err fd_read_file(const char *path, struct buf *b);

/*
 * Publishes facts about this process to others: the file at `path`, replacing
 * an existing one, is locked as long as *ret_fd is open, so a file that is not
 * locked belongs to a process that is gone.  Written as `path`-new first;
 * mode 0640 and the umask.  E_IO, errno kept; E_NOMEM.
 */
MUST_USE enum err fd_publish(const char *path, const struct buf *text, int *ret_fd);
/*
 * Appends such a file of a live process to `b`.  The folder may be another
 * user's: no link is followed, and the call never waits.  E_NOTFOUND: there is
 * none, or its process is gone; E_DENIED, E_LIMIT, E_IO, E_NOMEM.
 */
MUST_USE enum err fd_read_published(const char *path, struct buf *b);

/*
 * Takes an exclusive lock on `path` (made with mode 0600 when missing), for
 * the life of the process.  E_EXISTS when another process holds it; E_IO.
 * *ret_fd is owned by the caller; closing it releases the lock.
 */
MUST_USE enum err fd_lock_file(const char *path, int *ret_fd);

/*
 * Listens on a unix socket, with `<path>.lock` held for the life of the
 * process, so a stale socket file is replaced and a live one is not.
 * mode is the socket's file mode.  E_EXISTS when another process serves it,
 * E_LIMIT when the path is too long for sun_path, E_DENIED, E_IO (errno kept).
 * Both descriptors are close-on-exec, the listener non-blocking.
 */
MUST_USE enum err fd_unix_listen(const char *path, mode_t mode, int *ret_fd, int *ret_lock_fd);

/*
 * Non-blocking connect.  E_NOTFOUND, E_UNAVAIL (nobody listens), E_BUSY
 * (backlog full), E_DENIED, E_LIMIT (path too long), E_IO.
 */
MUST_USE enum err fd_unix_connect(const char *path, int *ret_fd);

/* The peer's user and group (SO_PEERCRED) and process id. */
struct fd_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};
MUST_USE enum err fd_unix_peer(int fd, struct fd_peer *ret_peer);

#endif
