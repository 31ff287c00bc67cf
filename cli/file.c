/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders that csrctl makes. */
#include "cli/file.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES_MAX 4096

bool file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static enum err error_of_errno(void)
{
	return errno == EACCES || errno == EPERM || errno == EROFS ? E_DENIED
	       : errno == ENOENT                                   ? E_NOTFOUND
								   : E_IO;
}

static enum err write_new(int fd, const void *data, size_t len, const struct file_rights *rights)
{
	if (fchown(fd, rights->owner, rights->group) || fchmod(fd, rights->mode))
		return error_of_errno();
	if (fd_write_all(fd, data, len) != E_OK || fsync(fd))
		return E_IO;
	return E_OK;
}

/* The name in the folder is on the disk too. */
static enum err sync_folder_of(const char *path)
{
	char folder[PATH_BYTES_MAX];
	int fd;
	enum err e;

	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	e = fd < 0 || fsync(fd) ? E_IO : E_OK;
	fd_close(&fd);
	return e;
}

enum err file_move(const char *from, const char *to)
{
	return rename(from, to) ? error_of_errno() : sync_folder_of(to);
}

enum err file_replace(const char *path, const void *data, size_t len, const struct file_rights *rights)
{
	char fresh[PATH_BYTES_MAX];
	int fd, n = snprintf(fresh, sizeof(fresh), "%s.XXXXXX", path);
	enum err e;

	if (n < 0 || (size_t)n >= sizeof(fresh)) {
		errno = ENAMETOOLONG;
		return E_LIMIT;
	}
	fd = mkostemp(fresh, O_CLOEXEC);
	if (fd < 0)
		return error_of_errno();
	e = write_new(fd, data, len, rights);
	fd_close(&fd);
	if (e == E_OK)
		e = file_move(fresh, path);
	if (e == E_OK)
		return E_OK;
	n = errno;
	unlink(fresh);
	errno = n;
	return e;
}

/* By descriptor: between two calls with the path another user might have put a link in its place. */
static enum err settle_folder(const char *path, mode_t mode, uid_t owner, gid_t group)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	enum err e = E_OK;

	if (fd < 0 || fchown(fd, owner, group) || fchmod(fd, mode) || fsync(fd))
		e = error_of_errno();
	fd_close(&fd);
	return e == E_OK ? sync_folder_of(path) : e;
}

enum err file_make_folder(const char *path, mode_t mode, uid_t owner, gid_t group)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return settle_folder(path, mode, owner, group);
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return E_OK;
	return error_of_errno();
}
