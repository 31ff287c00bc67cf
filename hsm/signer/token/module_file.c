/* SPDX-License-Identifier: Apache-2.0 */
/* Walks to the module's file and looks at owner and mode of all that is on the way. */
#include "hsm/signer/token/module_file.h"

#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel's */

struct walk {
	const char *path;    /* as configured, for the log */
	char done[PATH_MAX]; /* looked at, without links; "" is the root */
	char rest[PATH_MAX]; /* what is left of the way, relative to it */
	unsigned links;
	bool is_quiet;
	bool is_refused; /* `done` is what others could change */
};

static enum err walk_fail(const struct walk *w)
{
	if (!w->is_quiet)
		log_error("pkcs#11 module '%s': '%s': %s", w->path, w->done[0] ? w->done : "/",
			  strerror(errno));
	return errno == ENOENT || errno == ENOTDIR ? E_NOTFOUND : E_DENIED;
}

static enum err walk_refuse(struct walk *w, const struct stat *st, const char *what)
{
	w->is_refused = true;
	if (!w->is_quiet)
		log_error("pkcs#11 module '%s': %s '%s' may be changed by others (owner %lu, group %lu, mode "
			  "%04o), refused: it must belong to root and be writable by its owner alone",
			  w->path, what, w->done[0] ? w->done : "/", (unsigned long)st->st_uid,
			  (unsigned long)st->st_gid, (unsigned)(st->st_mode & 07777));
	return E_CONFIG;
}

static bool is_ours(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/* Whoever can write a folder can put something else under each name in it. */
static enum err walk_check_folder(struct walk *w, const struct stat *st)
{
	mode_t others = S_IWOTH | (st->st_gid ? S_IWGRP : 0);

	if (is_ours(st) && (!(st->st_mode & others) || (st->st_mode & S_ISVTX)))
		return E_OK;
	return walk_refuse(w, st, "folder");
}

/* Its target stands before what is left of the way. */
static enum err walk_follow(struct walk *w, const struct stat *st)
{
	char target[PATH_MAX], rest[PATH_MAX];
	ssize_t len;

	if (!is_ours(st)) /* in a sticky folder its owner can replace it; a link has no mode */
		return walk_refuse(w, st, "symbolic link");
	len = readlink(w->done, target, sizeof(target) - 1);
	if (len < 0)
		return walk_fail(w);
	target[len] = '\0';
	if (++w->links > LINKS_MAX || (size_t)len + 1 + strlen(w->rest) >= sizeof(rest)) {
		errno = w->links > LINKS_MAX ? ELOOP : ENAMETOOLONG;
		return walk_fail(w);
	}
	memcpy(rest, w->rest, strlen(w->rest) + 1);
	memcpy(w->rest, target, (size_t)len);
	w->rest[len] = '/';
	memcpy(w->rest + len + 1, rest, strlen(rest) + 1);
	if (target[0] == '/')
		w->done[0] = '\0';
	else
		*strrchr(w->done, '/') = '\0';
	return E_OK;
}

static enum err walk_check_file(struct walk *w, const struct stat *st)
{
	if (!S_ISREG(st->st_mode)) {
		if (!w->is_quiet)
			log_error("pkcs#11 module '%s': not a regular file", w->path);
		return E_CONFIG;
	}
	if (is_ours(st) && !(st->st_mode & (S_IWGRP | S_IWOTH)))
		return E_OK;
	return walk_refuse(w, st, "file");
}

static bool walk_is_over(const struct walk *w)
{
	return !w->rest[strspn(w->rest, "/")];
}

/* Moves the next name from `rest` to the end of `done`; false: there is none. */
static bool walk_take_name(struct walk *w)
{
	char *at = w->rest + strspn(w->rest, "/");
	size_t len = strcspn(at, "/"), done_len = strlen(w->done);

	if (!len)
		return false;
	w->done[done_len] = '/';
	memcpy(w->done + done_len + 1, at, len);
	w->done[done_len + 1 + len] = '\0';
	memmove(w->rest, at + len, strlen(at + len) + 1);
	return true;
}

/* "." and ".." lead to folders that were looked at, since `done` is without links. */
static bool walk_take_dots(struct walk *w)
{
	char *name = strrchr(w->done, '/');

	if (strcmp(name, "/.") != 0 && strcmp(name, "/..") != 0)
		return false;
	*name = '\0';
	if (name[1] == '.' && name[2] == '.' && strchr(w->done, '/'))
		*strrchr(w->done, '/') = '\0';
	return true;
}

/* One name further. */
static enum err walk_step(struct walk *w)
{
	struct stat st;

	if (walk_take_dots(w))
		return E_OK;
	if (lstat(w->done, &st))
		return walk_fail(w);
	if (S_ISLNK(st.st_mode))
		return walk_follow(w, &st);
	if (S_ISDIR(st.st_mode))
		return walk_check_folder(w, &st);
	if (!walk_is_over(w)) {
		errno = ENOTDIR;
		return walk_fail(w);
	}
	return E_OK;
}

/* All the way from the root to the file, which is `done` then. */
static enum err walk_to_file(struct walk *w)
{
	struct stat st;
	enum err e;

	if (w->path[0] != '/' || strlen(w->path) >= sizeof(w->rest)) {
		if (!w->is_quiet)
			log_error("pkcs#11 module '%s': not an absolute path", w->path);
		return E_CONFIG;
	}
	memcpy(w->rest, w->path, strlen(w->path) + 1);
	if (stat("/", &st))
		return walk_fail(w);
	if ((e = walk_check_folder(w, &st)) != E_OK)
		return e;
	while (strlen(w->done) + strlen(w->rest) + 2 < sizeof(w->done) && walk_take_name(w))
		if ((e = walk_step(w)) != E_OK)
			return e;
	if (!walk_is_over(w)) {
		errno = ENAMETOOLONG;
		return walk_fail(w);
	}
	if (stat(w->done[0] ? w->done : "/", &st))
		return walk_fail(w);
	return walk_check_file(w, &st);
}

enum err module_file_find(const char *path, char **ret_path)
{
	struct walk w = {.path = path};
	enum err e = walk_to_file(&w);

	if (e != E_OK)
		return e;
	*ret_path = strdup(w.done);
	return *ret_path ? E_OK : E_NOMEM;
}

enum err module_file_find_refused(const char *path, char **ret_path)
{
	struct walk w = {.path = path, .is_quiet = true};

	if (walk_to_file(&w) == E_OK || !w.is_refused)
		return E_NOTFOUND;
	*ret_path = strdup(w.done[0] ? w.done : "/");
	return *ret_path ? E_OK : E_NOMEM;
}
