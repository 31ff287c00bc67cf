/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel that refuses some calls, as a sandbox or a limit does.  Preloaded
 * (LD_PRELOAD); the file that CSRD_REFUSE_FILE names says which: one
 * "NAME ERRNO" a line, read anew at each call.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No stdio: it may be what calls us. */
static int is_refused(const char *name)
{
	const char *path = getenv("CSRD_REFUSE_FILE");
	char text[512], *line, *rest = text;
	int fd = !path ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	size_t len = strlen(name);

	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		if (strncmp(line, name, len) == 0 && line[len] == ' ') {
			errno = (int)strtol(line + len, NULL, 10);
			return 1;
		}
	}
	return 0;
}

ssize_t getrandom(void *data, size_t len, unsigned flags)
{
	return is_refused("getrandom") ? -1 : syscall(SYS_getrandom, data, len, flags);
}

int eventfd(unsigned count, int flags)
{
	return is_refused("eventfd") ? -1 : (int)syscall(SYS_eventfd2, count, flags);
}

int mlock(const void *address, size_t len)
{
	return is_refused("mlock") ? -1 : (int)syscall(SYS_mlock, address, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	return is_refused("pwrite") ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
	return pwrite(fd, data, len, at);
}

/* As the kernel does: an error that is about one client takes that client off the queue. */
int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	static _Thread_local int is_interrupted;
	int error, client;

	if (!is_refused("accept4") || (errno == EINTR && (is_interrupted = !is_interrupted) == 0))
		return (int)syscall(SYS_accept4, fd, address, len, flags);
	error = errno;
	if (error == ECONNABORTED || error == EPROTO || error == EPERM) {
		client = (int)syscall(SYS_accept4, fd, address, len, flags);
		if (client < 0)
			return -1;
		close(client);
	}
	errno = error;
	return -1;
}

int fdatasync(int fd)
{
	return is_refused("fdatasync") ? -1 : (int)syscall(SYS_fdatasync, fd);
}
