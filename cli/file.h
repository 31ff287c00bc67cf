/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders that csrctl makes as root, and that others never find half made.  Paths are absolute. */
#ifndef CSRD_CLI_FILE_H
#define CSRD_CLI_FILE_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

bool file_exists(const char *path);

struct file_rights {
	mode_t mode;
	uid_t owner; /* 0: root */
	gid_t group;
};

/*
 * Writes a new file and puts it in the place of `path` once it is on the disk:
 * there is never half a file, nor one with another mode or owner.
 * E_DENIED, E_NOTFOUND, E_IO, E_LIMIT (path too long); errno is kept.
 */
MUST_USE enum err file_replace(const char *path, const void *data, size_t len,
			       const struct file_rights *rights);

/* Puts the file in the place of `to`, durably.  E_DENIED, E_NOTFOUND, E_IO (errno kept). */
MUST_USE enum err file_move(const char *from, const char *to);

/*
 * Makes the folder, with owner and mode, durably; one that exists stays as it
 * is.  E_DENIED, E_NOTFOUND, E_IO (errno kept).
 */
MUST_USE enum err file_make_folder(const char *path, mode_t mode, uid_t owner, gid_t group);

#endif
