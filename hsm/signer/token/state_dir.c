/* SPDX-License-Identifier: Apache-2.0 */
/* Small durable files in a folder of our own. */
#include "hsm/signer/token/state_dir.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEST_NAME ".write-test"

struct state_dir {
	char *path;
	int fd;
};

/* What passes: nothing is wrong with the folder. */
static bool is_disk_error(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EROFS || error == EIO;
}

/* mkdir, and once more with the parent when that is missing. */
static int make_folder(const char *path)
{
	char parent[PATH_MAX];

	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT || strlen(path) >= sizeof(parent))
		return -1;
	memcpy(parent, path, strlen(path) + 1);
	if (mkdir(dirname(parent), 0755) && errno != EEXIST)
		return -1;
	return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

static enum err state_dir_check(const struct state_dir *dir)
{
	struct buf empty;
	struct stat st;
	enum err e;

	if (fstat(dir->fd, &st)) {
		log_error("state_dir '%s': %s", dir->path, strerror(errno));
		return E_CONFIG;
	}
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		log_error("state_dir '%s': writable by others (owner %lu, mode %04o), refused", dir->path,
			  (unsigned long)st.st_uid, (unsigned)(st.st_mode & 07777));
		return E_CONFIG;
	}
	buf_init(&empty, 1);
	e = state_dir_write(dir, TEST_NAME, &empty);
	if (e == E_OK)
		e = state_dir_remove(dir, TEST_NAME);
	if (e == E_OK || is_disk_error(errno))
		return E_OK;
	log_error("state_dir '%s': cannot write there: %s", dir->path, strerror(errno));
	return E_CONFIG;
}

enum err state_dir_open(const char *path, struct state_dir **ret_dir)
{
	struct state_dir *dir = calloc(1, sizeof(*dir));
	enum err e = E_NOMEM;

	if (!dir)
		return E_NOMEM;
	dir->fd = -1;
	dir->path = strdup(path);
	if (!dir->path)
		goto out;
	if (make_folder(path) || (dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		e = is_disk_error(errno) && errno != EROFS ? E_IO : E_CONFIG;
		log_error("state_dir '%s': %s", path, strerror(errno));
		goto out;
	}
	if ((e = state_dir_check(dir)) != E_OK)
		goto out;
	*ret_dir = dir;
	dir = NULL;
out:
	state_dir_close(dir);
	return e;
}

enum err state_dir_look(const char *path, struct state_dir **ret_dir)
{
	struct state_dir *dir = calloc(1, sizeof(*dir));
	enum err e = E_OK;

	if (!dir)
		return E_NOMEM;
	dir->path = strdup(path);
	dir->fd = dir->path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (!dir->path)
		e = E_NOMEM;
	else if (dir->fd < 0)
		e = errno == ENOENT || errno == ENOTDIR ? E_NOTFOUND : errno == EACCES ? E_DENIED : E_IO;
	if (e != E_OK) {
		state_dir_close(dir);
		return e;
	}
	*ret_dir = dir;
	return E_OK;
}

void state_dir_close(struct state_dir *dir)
{
	if (!dir)
		return;
	fd_close(&dir->fd);
	free(dir->path);
	free(dir);
}

const char *state_dir_path(const struct state_dir *dir)
{
	return dir->path;
}

enum err state_dir_read(const struct state_dir *dir, const char *name, struct buf *text)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir->path, name) >= sizeof(path))
		return E_IO;
	return fd_read_file(path, text);
}

/*
 * A file that is there is not emptied first: its room is used again, which a full disk may not give twice.
 * The errno of the first failure is kept.
 */
static int state_dir_write_file(const struct state_dir *dir, const char *name, const struct buf *text)
{
	int fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int failed = 0;

	if (fd < 0)
		return -1;
	if (fd_write_all(fd, buf_text(text), text->len) != E_OK || ftruncate(fd, (off_t)text->len) ||
	    fsync(fd))
		failed = errno;
	if (close(fd) && !failed)
		failed = errno;
	errno = failed;
	return failed ? -1 : 0;
}

static void state_dir_fresh_name(const char *name, char fresh[NAME_MAX])
{
	snprintf(fresh, NAME_MAX, "%s.new", name);
}

enum err state_dir_write(const struct state_dir *dir, const char *name, const struct buf *text)
{
	char fresh[NAME_MAX];

	state_dir_fresh_name(name, fresh);
	if (state_dir_write_file(dir, fresh, text) || renameat(dir->fd, fresh, dir->fd, name) ||
	    fsync(dir->fd))
		return E_IO;
	return E_OK;
}

enum err state_dir_remove(const struct state_dir *dir, const char *name)
{
	if (unlinkat(dir->fd, name, 0))
		return errno == ENOENT ? E_OK : E_IO;
	return fsync(dir->fd) ? E_IO : E_OK;
}

enum err state_dir_put_away(const struct state_dir *dir, const char *name)
{
	static const char empty[] = "The room that is kept for a file of this name without '.new'.\n";
	char fresh[NAME_MAX];
	struct buf text;
	int failed;

	state_dir_fresh_name(name, fresh);
	if (renameat(dir->fd, name, dir->fd, fresh))
		return errno == ENOENT ? E_OK : E_IO;
	if (fsync(dir->fd))
		return E_IO;
	buf_init(&text, sizeof(empty));
	buf_put_str(&text, empty);
	failed = buf_status(&text) != E_OK || state_dir_write_file(dir, fresh, &text);
	buf_release(&text);
	if (failed) /* what stood there is not to stay */
		(void)unlinkat(dir->fd, fresh, 0);
	return E_OK;
}
