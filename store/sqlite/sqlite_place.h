/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The place of an SQLite database: what its folder must be, its service's
 * lock, its owner.  Private to store/sqlite/ and upkeep.c.
 */
#ifndef CSRD_STORE_SQLITE_PLACE_H
#define CSRD_STORE_SQLITE_PLACE_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>

#define SQLITE_PLACE_APPLICATION_ID 0x63737264 /* "csrd" in the file's header, for file(1) and for us */
#define SQLITE_PLACE_PATH_MAX 4000
#define SQLITE_PLACE_KEPT ".before-restore-" /* beside a database: what a restore kept of the one before */

/* E_NOTFOUND, E_DENIED, E_NOMEM, or E_IO for all else. */
enum err sqlite_place_error(int error);

/* Logs the cause.  E_CONFIG: on a network or shared file system; else as sqlite_place_error. */
MUST_USE enum err sqlite_place_check(const char *folder);

/*
 * Where the database is, or will be, as a path without symbolic links.  What is
 * beside the database (its log, its locks) is beside that path, whichever name it
 * was found by.  Logs the cause.  E_NOTFOUND, E_DENIED, E_IO, E_NOMEM.
 */
MUST_USE enum err sqlite_place_resolve(const char *path, char **ret_path);

/*
 * Two locks in a file beside the database.  Closing *ret_fd releases them.
 * All three log the cause and take a path that is resolved.
 *
 * lock: the service's, for csrd and for whoever may not work beside one.
 * E_EXISTS: a csrd holds it.
 * share: for csrctl while it has the database open, beside a csrd or not.
 * seize: with a descriptor of sqlite_place_lock: waits until nobody shares, and
 * nobody can until it is closed.  Both wait for some seconds.  E_BUSY.
 */
MUST_USE enum err sqlite_place_lock(const char *path, const char *folder, int *ret_fd);
MUST_USE enum err sqlite_place_share(const char *path, const char *folder, int *ret_fd);
MUST_USE enum err sqlite_place_seize(const char *path, int fd);

/*
 * Whether a database may be made at `path`, where there is none: E_STORE,
 * logged, if a log that belonged to one is still there.
 */
MUST_USE enum err sqlite_place_is_free(const char *path);

/*
 * Locks the database file itself, which no second name of it gets around: a
 * hard link, a bind mount.  E_EXISTS, logged: a csrd serves it.  While SQLite
 * has the file open in this process *ret_fd must not be closed: POSIX would give
 * back the locks of SQLite as well.
 */
MUST_USE enum err sqlite_place_lock_file(const char *path, int *ret_fd);

/*
 * Whether the file has one name: each name would have a log of its own, and lose
 * what is in the other.  E_CONFIG, logged.  Names that a restore which was cut
 * off left beside it do not count: nobody opens those.
 */
struct stat;
MUST_USE enum err sqlite_place_check_names(const char *path, const struct stat *st);

/* Whether a csrd holds it now.  Takes no lock that a starting csrd would wait for.  E_DENIED, E_IO. */
MUST_USE enum err sqlite_place_is_locked(const char *path, bool *ret_locked);

/* A root that makes a file for a service makes it the service's, like the folder.  E_IO, errno kept. */
MUST_USE enum err sqlite_place_give(const char *folder, int fd);

/* Flushes the folder's entries; a failure is logged. */
void sqlite_place_sync(const char *folder);

#endif
