/* SPDX-License-Identifier: Apache-2.0 */
/* The place of an SQLite database: what its folder must be, its service's lock, its owner. */
#include "store/sqlite/sqlite_place.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SHARE_WAIT_MS 5000
#define SHARE_PAUSE_MS 20
#define LOOK_MS 50 /* longer than a look at the lock takes */

/* WAL needs shared memory and locks that all users of the file see: one machine, one kernel. */
static const char *remote_file_system(long type)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} remote[] = {
	    {NFS_SUPER_MAGIC, "NFS"},   {SMB_SUPER_MAGIC, "SMB"}, {CIFS_SUPER_MAGIC, "CIFS"},
	    {SMB2_SUPER_MAGIC, "SMB2"}, {V9FS_MAGIC, "9p"},       {FUSE_SUPER_MAGIC, "FUSE"},
	    {CEPH_SUPER_MAGIC, "Ceph"}, {AFS_SUPER_MAGIC, "AFS"}, {AFS_FS_MAGIC, "AFS"},
	    {CODA_SUPER_MAGIC, "Coda"}, {NCP_SUPER_MAGIC, "NCP"}, {OCFS2_SUPER_MAGIC, "OCFS2"},
	    {0x01161970, "GFS2"},       {0x0bd00bd0, "Lustre"},   {0x47504653, "GPFS"},
	    {0x786f4256, "VirtualBox"}, {0x19830326, "BeeGFS"},   {0x20030528, "OrangeFS"},
	};

	for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++) {
		if (((unsigned long)type & 0xffffffffUL) == remote[i].magic)
			return remote[i].name;
	}
	return NULL;
}

enum err sqlite_place_error(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return E_NOTFOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return E_DENIED;
	case ENOMEM:
		return E_NOMEM;
	default:
		return E_IO;
	}
}

enum err sqlite_place_check(const char *folder)
{
	struct statfs fs;

	if (statfs(folder, &fs) != 0) {
		int error = errno;

		log_error("store folder '%s' cannot be used: %s", folder, strerror(error));
		return sqlite_place_error(error);
	}
	const char *remote = remote_file_system((long)fs.f_type);
	if (remote) {
		log_error("store folder '%s' is on a network or shared file system (%s): "
			  "SQLite cannot keep its promises there, use a local disk",
			  folder, remote);
		return E_CONFIG;
	}
	return E_OK;
}

enum err sqlite_place_give(const char *folder, int fd)
{
	struct stat st;

	if (geteuid() != 0)
		return E_OK;
	if (stat(folder, &st) != 0 || fchown(fd, st.st_uid, st.st_gid) != 0)
		return E_IO;
	return E_OK;
}

void sqlite_place_sync(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fd_sync(fd) != E_OK)
		log_warn("cannot flush store folder '%s': %s", folder, strerror(errno));
	fd_close(&fd);
}

/* ---- names ---- */

/* The folder's own path, and the file's name as it is: for a file that is still to be made. */
static enum err resolve_new(const char *path, char **ret_path)
{
	const char *name = strrchr(path, '/') + 1;
	char *folder = str_dup_len(path, (size_t)(name - path));
	char *real = folder ? realpath(folder, NULL) : NULL;
	struct stat st;
	struct buf b;
	enum err e;

	if (folder && !real) {
		e = sqlite_place_error(errno);
		log_error("store folder '%s' cannot be used: %s", folder, strerror(errno));
		free(folder);
		return e;
	}
	free(folder);
	if (!real)
		return E_NOMEM;
	buf_init(&b, SQLITE_PLACE_PATH_MAX);
	buf_printf(&b, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
	free(real);
	e = buf_status(&b);
	if (e == E_OK && lstat(buf_text(&b), &st) == 0 && S_ISLNK(st.st_mode)) {
		log_error("store '%s' is a symbolic link that leads nowhere", path);
		e = E_NOTFOUND;
	}
	if (e == E_OK && !str_dup_opt(buf_text(&b), ret_path))
		e = E_NOMEM;
	buf_release(&b);
	return e;
}

enum err sqlite_place_resolve(const char *path, char **ret_path)
{
	char *real = realpath(path, NULL);

	if (!real && errno == ENOENT)
		return resolve_new(path, ret_path);
	if (!real) {
		enum err e = sqlite_place_error(errno);

		log_error("store '%s' cannot be used: %s", path, strerror(errno));
		return e;
	}
	*ret_path = real;
	return E_OK;
}

/* How many names beside `path` a restore gave the same file. */
static nlink_t count_kept_names(const char *path, const struct stat *st)
{
	const char *name = strrchr(path, '/') + 1;
	char *folder = str_dup_len(path, (size_t)(name - path));
	DIR *dir = folder ? opendir(folder) : NULL;
	size_t len = strlen(name);
	struct dirent *entry;
	nlink_t count = 0;

	while (dir && (entry = readdir(dir))) {
		struct stat other;

		if (strncmp(entry->d_name, name, len) == 0 &&
		    str_starts_with(entry->d_name + len, SQLITE_PLACE_KEPT) &&
		    fstatat(dirfd(dir), entry->d_name, &other, AT_SYMLINK_NOFOLLOW) == 0 &&
		    other.st_dev == st->st_dev && other.st_ino == st->st_ino)
			count++;
	}
	if (dir)
		closedir(dir);
	free(folder);
	return count;
}

enum err sqlite_place_check_names(const char *path, const struct stat *st)
{
	if (st->st_nlink <= 1 || st->st_nlink <= 1 + count_kept_names(path, st))
		return E_OK;
	log_error("store '%s' has %lu names (hard links), and under each it would have a log of its own: "
		  "remove the others (find -samefile)",
		  path, (unsigned long)st->st_nlink);
	return E_CONFIG;
}

enum err sqlite_place_is_free(const char *path)
{
	static const char *const endings[] = {"-wal", "-journal"};

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		struct buf name;
		bool there;

		buf_init(&name, SQLITE_PLACE_PATH_MAX);
		buf_printf(&name, "%s%s", path, endings[i]);
		there = buf_status(&name) == E_OK && access(buf_text(&name), F_OK) == 0;
		if (there)
			log_error("store '%s' is gone, and its log '%s' is still there: put the file back or "
				  "restore a backup; to start with nothing, move the log away",
				  path, buf_text(&name));
		buf_release(&name);
		if (there)
			return E_STORE;
	}
	return E_OK;
}

/* ---- locks ---- */

static enum err lock_failed(enum err e, const char *name)
{
	log_err(e, "cannot lock '%s' (%s)", name, strerror(errno));
	return e;
}

/* A shared lock for an instant; sqlite_place_lock outlasts it. */
enum err sqlite_place_is_locked(const char *path, bool *ret_locked)
{
	struct buf name;
	int fd = -1;

	buf_init(&name, SQLITE_PLACE_PATH_MAX);
	buf_printf(&name, "%s.lock", path);
	enum err e = buf_status(&name);
	if (e == E_OK) {
		fd = open(buf_text(&name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno != ENOENT)
			e = sqlite_place_error(errno);
	}
	if (e == E_OK)
		*ret_locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
	fd_close(&fd);
	buf_release(&name);
	return e;
}

/* Once more after a moment: csrctl may just be looking whether it is held. */
static enum err take_lock(const char *name, int *ret_fd)
{
	enum err e = fd_lock_file(name, ret_fd);

	if (e != E_EXISTS)
		return e;
	(void)poll(NULL, 0, LOOK_MS);
	return fd_lock_file(name, ret_fd);
}

enum err sqlite_place_lock(const char *path, const char *folder, int *ret_fd)
{
	struct buf name;
	int fd = -1;

	buf_init(&name, SQLITE_PLACE_PATH_MAX);
	buf_printf(&name, "%s.lock", path);
	enum err e = buf_status(&name);
	if (e == E_OK) {
		e = take_lock(buf_text(&name), &fd);
		if (e == E_EXISTS)
			log_error("store '%s' is served by another csrd already", path);
		else if (e != E_OK)
			e = lock_failed(e, buf_text(&name));
		else
			e = sqlite_place_give(folder, fd);
	}
	if (e == E_OK)
		*ret_fd = fd;
	else
		fd_close(&fd);
	buf_release(&name);
	return e;
}

/*
 * The second lock of that file.  It is of another kind than flock(2), so the
 * two know nothing of each other, and it goes with the descriptor, not with the
 * process.  E_BUSY, not logged.
 */
static enum err lock_range(int fd, short type)
{
	struct flock range = {.l_type = type, .l_whence = SEEK_SET};
	uint64_t end_ms = clock_ms() + SHARE_WAIT_MS;

	while (fcntl(fd, F_OFD_SETLK, &range) != 0) {
		if (errno != EAGAIN && errno != EACCES)
			return E_IO;
		if (clock_ms() >= end_ms)
			return E_BUSY;
		(void)poll(NULL, 0, SHARE_PAUSE_MS);
	}
	return E_OK;
}

enum err sqlite_place_share(const char *path, const char *folder, int *ret_fd)
{
	struct buf name;
	int fd = -1;

	buf_init(&name, SQLITE_PLACE_PATH_MAX);
	buf_printf(&name, "%s.lock", path);
	enum err e = buf_status(&name);
	if (e != E_OK)
		goto out;
	fd = open(buf_text(&name), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		e = lock_failed(sqlite_place_error(errno), buf_text(&name));
		goto out;
	}
	e = sqlite_place_give(folder, fd);
	if (e == E_OK)
		e = lock_range(fd, F_RDLCK);
	if (e == E_BUSY)
		log_error("store '%s' is being replaced by a restore", path);
	else if (e != E_OK)
		e = lock_failed(e, buf_text(&name));
out:
	if (e == E_OK)
		*ret_fd = fd;
	else
		fd_close(&fd);
	buf_release(&name);
	return e;
}

enum err sqlite_place_seize(const char *path, int fd)
{
	enum err e = lock_range(fd, F_WRLCK);

	if (e == E_BUSY)
		log_error("store '%s' is in use by another csrctl", path);
	else if (e != E_OK)
		e = lock_failed(e, path);
	return e;
}

enum err sqlite_place_lock_file(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	enum err e = E_OK;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int error = errno;

		e = error == EWOULDBLOCK ? E_EXISTS : sqlite_place_error(error);
		if (e == E_EXISTS)
			log_error("store '%s' is served by another csrd already, under another name", path);
		else
			log_error("store '%s' cannot be used: %s", path, strerror(error));
		fd_close(&fd);
		return e;
	}
	*ret_fd = fd;
	return E_OK;
}
