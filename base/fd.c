/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, files and unix sockets. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum err fd_fill_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return E_IO;
	return E_OK;
}

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

enum err fd_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return E_IO;
	return E_OK;
}

static bool wait_writable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

enum err fd_write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t put = write(fd, at, len);

		if (put < 0 && (errno == EINTR || (errno == EAGAIN && wait_writable(fd))))
			continue;
		if (put < 0)
			return E_IO;
		at += put;
		len -= (size_t)put;
	}
	return E_OK;
}

enum err fd_sync(int fd)
{
	while (fsync(fd)) {
		if (errno != EINTR)
			return E_IO;
	}
	return E_OK;
}

static enum err from_errno(void)
{
	switch (errno) {
	case ENOENT:
	case ENOTDIR:
		return E_NOTFOUND;
	case EACCES:
	case EPERM:
		return E_DENIED;
	case ECONNREFUSED:
		return E_UNAVAIL;
	case EAGAIN:
		return E_BUSY;
	case ENOMEM:
		return E_NOMEM;
	default:
		return E_IO;
	}
}

enum err fd_read_file(const char *path, struct buf *b)
{
	char block[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	enum err e = E_OK;

	if (fd < 0)
		return from_errno();
	while ((e = buf_status(b)) == E_OK) {
		ssize_t got = read(fd, block, sizeof(block));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			e = E_IO;
		if (got <= 0)
			break;
		buf_put(b, block, (size_t)got);
	}
	explicit_bzero(block, sizeof(block));
	fd_close(&fd);
	return e;
}

static enum err append_all(int fd, struct buf *b)
{
	char block[4096];
	ssize_t got;

	while ((got = read(fd, block, sizeof(block))) != 0) {
		if (got < 0 && errno != EINTR)
			return E_IO;
		if (got > 0)
			buf_put(b, block, (size_t)got);
	}
	return buf_status(b);
}

/* Locked before it has its name. */
enum err fd_publish(const char *path, const struct buf *text, int *ret_fd)
{
	char fresh[PATH_MAX];
	int fd;

	if ((size_t)snprintf(fresh, sizeof(fresh), "%s-new", path) >= sizeof(fresh)) {
		errno = ENAMETOOLONG;
		return E_IO;
	}
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return E_IO;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fd_write_all(fd, text->data, text->len) != E_OK ||
	    rename(fresh, path) != 0) {
		int error = errno;

		unlink(fresh);
		fd_close(&fd);
		errno = error;
		return E_IO;
	}
	*ret_fd = fd;
	return E_OK;
}

enum err fd_read_published(const char *path, struct buf *b)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	enum err e;

	if (fd < 0)
		return errno == EACCES ? E_DENIED : E_NOTFOUND;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || flock(fd, LOCK_SH | LOCK_NB) == 0 ||
	    errno != EWOULDBLOCK)
		e = E_NOTFOUND;
	else
		e = append_all(fd, b);
	fd_close(&fd);
	return e;
}

enum err fd_lock_file(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	enum err e;

	if (fd < 0 && errno == EROFS) /* one that is there can be locked all the same */
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return from_errno();
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		e = errno == EWOULDBLOCK ? E_EXISTS : E_IO;
		fd_close(&fd);
		return e;
	}
	*ret_fd = fd;
	return E_OK;
}

static enum err set_address(struct sockaddr_un *address, const char *path)
{
	size_t len = strlen(path);

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (len >= sizeof(address->sun_path))
		return E_LIMIT;
	memcpy(address->sun_path, path, len + 1);
	return E_OK;
}

/* Binds with the wanted mode from the first instant on. */
static int bind_with_mode(int fd, const struct sockaddr_un *address, mode_t mode)
{
	mode_t before = umask(~mode & 0777);
	int rc = bind(fd, (const struct sockaddr *)address, sizeof(*address));

	umask(before);
	return rc;
}

/* Takes away the socket file of a process that is gone; anything else stays. */
static enum err remove_stale_socket(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? E_OK : from_errno();
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return E_IO;
	}
	return unlink(path) ? from_errno() : E_OK;
}

enum err fd_unix_listen(const char *path, mode_t mode, int *ret_fd, int *ret_lock_fd)
{
	char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof(".lock")];
	struct sockaddr_un address;
	int fd = -1, lock_fd = -1;
	enum err e = set_address(&address, path);

	if (e != E_OK)
		return e;
	snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
	if ((e = fd_lock_file(lock_path, &lock_fd)) != E_OK || (e = remove_stale_socket(path)) != E_OK)
		goto out;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind_with_mode(fd, &address, mode) || listen(fd, SOMAXCONN)) {
		e = from_errno();
		goto out;
	}
	*ret_fd = fd;
	*ret_lock_fd = lock_fd;
	return E_OK;
out:
	fd_close(&fd);
	fd_close(&lock_fd);
	return e;
}

enum err fd_unix_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un address;
	enum err e = set_address(&address, path);
	int fd;

	if (e != E_OK)
		return e;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return from_errno();
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		e = from_errno();
		fd_close(&fd);
		return e;
	}
	*ret_fd = fd;
	return E_OK;
}

enum err fd_unix_peer(int fd, struct fd_peer *ret_peer)
{
	struct ucred credentials;
	socklen_t len = sizeof(credentials);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) || len != sizeof(credentials))
		return E_IO;
	ret_peer->uid = credentials.uid;
	ret_peer->gid = credentials.gid;
	ret_peer->pid = credentials.pid;
	return E_OK;
}
