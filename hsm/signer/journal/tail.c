/* SPDX-License-Identifier: Apache-2.0 */
/* The file that is appended to, and what becomes of it when it is complete or cannot be written. */
#include "hsm/signer/journal/tail.h"

#include "base/failpoint.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the folders ---- */

static enum err tail_sync_folder(const struct tail *t, const char *path)
{
	int fd = openat(t->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum err e = fd < 0 ? E_IO : fd_sync(fd);

	fd_close(&fd);
	return e;
}

/* Of the folder in which the file is, and of those above it up to the journal's: each may be new. */
static enum err tail_sync_folders(const struct tail *t, const char *path)
{
	char folder[BUNDLE_PATH_SIZE];
	enum err e = E_OK;
	char *slash;

	memcpy(folder, path, strlen(path) + 1);
	while (e == E_OK && (slash = strrchr(folder, '/'))) {
		*slash = '\0';
		e = tail_sync_folder(t, folder);
	}
	return e == E_OK ? fd_sync(t->dir_fd) : e;
}

static enum err tail_make_folders(const struct tail *t, const char *path)
{
	char folder[BUNDLE_PATH_SIZE];

	memcpy(folder, path, strlen(path) + 1);
	for (char *slash = strchr(folder, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(t->dir_fd, folder, 0700) != 0 && errno != EEXIST)
			return E_IO;
		*slash = '/';
	}
	return E_OK;
}

/* ---- life ---- */

void tail_init(struct tail *t)
{
	*t = (struct tail){.dir_fd = -1, .fd = -1};
	buf_init(&t->bytes, BUNDLE_BYTES_MAX);
}

void tail_release(struct tail *t)
{
	fd_close(&t->fd);
	fd_close(&t->dir_fd);
	buf_release(&t->bytes);
}

enum err tail_open(struct tail *t, const struct state_dir *dir)
{
	t->dir = dir;
	t->dir_fd = open(state_dir_path(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir_fd < 0)
		return E_IO;
	buf_reserve(&t->bytes, BUNDLE_BYTES_MAX); /* tail_add needs no memory */
	return buf_status(&t->bytes);
}

enum err tail_load(struct tail *t)
{
	return state_dir_read(t->dir, TAIL_NAME, &t->bytes);
}

/* An existing bundle is never replaced. */
static enum err tail_move(struct tail *t, const char *path)
{
	struct stat st;

	if (FAILPOINT_ARMED("journal.rename")) {
		errno = EROFS;
		return E_IO;
	}
	if (fstatat(t->dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
	} else if (errno == ENOENT && renameat(t->dir_fd, TAIL_NAME, t->dir_fd, path) == 0) {
		t->moved = true;
		return E_OK;
	}
	return E_IO;
}

/* ---- the file ---- */

/* A complete one may have the mode of a bundle already, and is not written any more. */
static enum err tail_reopen(struct tail *t, int flags)
{
	int access = tail_is_complete(t) && !t->moved ? O_RDONLY : O_WRONLY;
	int fd = openat(t->dir_fd, TAIL_NAME, access | O_CLOEXEC | O_NOFOLLOW | flags, 0600);

	if (fd < 0)
		return E_IO;
	fd_close(&t->fd);
	t->fd = fd;
	return E_OK;
}

/* A test may fill the disk. */
static enum err tail_put(int fd, const struct buf *bytes, off_t offset)
{
	size_t len = bytes->len, done = 0;

	if (FAILPOINT_ARMED("journal.write"))
		len /= 2;
	while (done < len) {
		ssize_t put = pwrite(fd, bytes->data + done, len - done, offset + (off_t)done);

		if (put < 0 && errno != EINTR)
			return E_IO;
		done += put < 0 ? 0 : (size_t)put;
	}
	if (len == bytes->len)
		return E_OK;
	errno = ENOSPC;
	return E_IO;
}

static enum err tail_sync(int fd)
{
	if (FAILPOINT_ARMED("journal.sync")) {
		errno = EIO;
		return E_IO;
	}
	while (fdatasync(fd) != 0)
		if (errno != EINTR)
			return E_IO;
	return E_OK;
}

enum err tail_write(struct tail *t, const struct buf *bytes)
{
	int error, truncated;
	enum err e;

	FAILPOINT("journal.before-write");
	e = tail_put(t->fd, bytes, (off_t)t->bytes.len);
	error = errno;
	FAILPOINT("journal.before-sync");
	if (e == E_OK) {
		e = tail_sync(t->fd);
		error = errno;
	}
	FAILPOINT("journal.after-sync");
	if (e == E_OK)
		return E_OK;
	t->broken = true;
	truncated = ftruncate(t->fd, (off_t)t->bytes.len); /* for whoever reads the file meanwhile */
	(void)truncated;
	errno = error;
	return E_IO;
}

void tail_add(struct tail *t, const struct buf *bytes, size_t len)
{
	buf_put(&t->bytes, bytes->data, bytes->len);
	t->len += len;
}

/*
 * Of what is found at a start nobody knows whether its folders are durable: the journal's own may be new, and
 * a bundle may have been moved a moment before.
 */
static enum err tail_begin(struct tail *t)
{
	enum err e = tail_sync_folder(t, ".."); /* which has the name of the journal's */
	char path[BUNDLE_PATH_SIZE];

	if (e == E_OK && t->first > 0 && t->len == 0) {
		bundle_path(t->first / JOURNAL_BUNDLE_LEN - 1, path);
		e = tail_sync_folders(t, path);
	}
	t->begun = e == E_OK;
	return e;
}

enum err tail_repair(struct tail *t)
{
	enum err e;

	if (FAILPOINT_ARMED("journal.write") || FAILPOINT_ARMED("journal.sync")) {
		errno = EIO;
		return E_IO;
	}
	e = state_dir_write(t->dir, TAIL_NAME, &t->bytes);
	if (e == E_OK)
		e = tail_reopen(t, 0);
	if (e == E_OK && !t->begun)
		e = tail_begin(t);
	if (e == E_OK)
		t->broken = false;
	return e;
}

/*
 * After a crash the kernel may show what it could not write and will not write
 * any more, so the file is trusted only after an orderly stop.
 */
enum err tail_start(struct tail *t, bool was_clean)
{
	enum err e;

	t->broken = true;
	if (!was_clean)
		return tail_repair(t);
	e = tail_reopen(t, O_CREAT);
	if (e == E_OK)
		e = tail_begin(t);
	t->broken = e != E_OK;
	return e;
}

enum err tail_seal(struct tail *t)
{
	char path[BUNDLE_PATH_SIZE];
	enum err e = E_OK;

	bundle_path(t->first / JOURNAL_BUNDLE_LEN, path);
	if (!t->moved) {
		if (fchmod(t->fd, 0400) != 0 || fd_sync(t->fd) != E_OK) {
			t->broken = true;
			return E_IO;
		}
		if ((e = tail_make_folders(t, path)) != E_OK)
			return e;
		FAILPOINT("journal.before-rename");
		if ((e = tail_move(t, path)) != E_OK)
			return e;
		FAILPOINT("journal.after-rename");
	}
	if ((e = tail_reopen(t, O_CREAT | O_TRUNC)) != E_OK)
		return e;
	return tail_sync_folders(t, path);
}

void tail_restart(struct tail *t)
{
	t->first += JOURNAL_BUNDLE_LEN;
	t->len = 0;
	t->moved = false;
	buf_reset(&t->bytes);
}
