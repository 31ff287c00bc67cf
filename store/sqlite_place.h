/*
 * The place of an SQLite database: what its folder must be, its service's
 * lock, its owner.  Shared by the files store/sqlite*.c.
 */
#ifndef CSRD_STORE_SQLITE_PLACE_H
#define CSRD_STORE_SQLITE_PLACE_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>

#define SQLITE_PLACE_APPLICATION_ID 0x63737264 /* "csrd" in the file's header, for file(1) and for us */
#define SQLITE_PLACE_PATH_MAX 4000

/* E_NOTFOUND, E_DENIED, E_NOMEM, or E_IO for all else. */
enum err sqlite_place_error(int error);

/* Logs the cause.  E_CONFIG: on a network or shared file system; else as sqlite_place_error. */
MUST_USE enum err sqlite_place_check(const char *folder);

/*
 * The lock that only one csrd may hold, in a file beside the database.  Logs
 * the cause.  E_EXISTS: a csrd holds it.  Closing *ret_fd gives it back.
 */
MUST_USE enum err sqlite_place_lock(const char *path, const char *folder, int *ret_fd);

/* Whether a csrd holds it now.  Takes nothing that a csrd which starts would wait for.  E_DENIED, E_IO. */
MUST_USE enum err sqlite_place_is_locked(const char *path, bool *ret_locked);

/* A root that makes a file for a service makes it the service's, like the folder.  E_IO, errno kept. */
MUST_USE enum err sqlite_place_give(const char *folder, int fd);

/* Flushes the folder's entries; a failure is logged. */
void sqlite_place_sync(const char *folder);

#endif
