/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signer's folder for what must outlive a restart ([token] state_dir).
 * Small texts, each a file, written so that after a power cut the old or the
 * new one is there, whole.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_STATE_DIR_H
#define CSRD_HSM_SIGNER_TOKEN_STATE_DIR_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

struct state_dir;

/*
 * Opens the folder, which is made (mode 0700) when it is missing, with its
 * parent if need be.  It must belong to our user or root, must not be writable
 * by others, and must take a file, unless the disk is full, read-only or fails
 * just now: what must be written then fails when it is its turn.  Logs what
 * fails.  E_CONFIG; E_IO: the disk has no room for the folder, or fails; E_NOMEM.
 */
MUST_USE enum err state_dir_open(const char *path, struct state_dir **ret_dir);
/* As it is, for reading: makes, checks and logs nothing.  E_NOTFOUND, E_DENIED, E_IO, E_NOMEM. */
MUST_USE enum err state_dir_look(const char *path, struct state_dir **ret_dir);
void state_dir_close(struct state_dir *dir); /* NULL is fine */

const char *state_dir_path(const struct state_dir *dir);

/* Appends the file's text.  E_NOTFOUND, E_DENIED, E_LIMIT, E_IO, E_NOMEM. */
MUST_USE enum err state_dir_read(const struct state_dir *dir, const char *name, struct buf *text);

/* Durable when it returns E_OK.  E_IO: errno says why, and the old text stands. */
MUST_USE enum err state_dir_write(const struct state_dir *dir, const char *name, const struct buf *text);

/* Durable likewise; E_OK also when there is none. */
MUST_USE enum err state_dir_remove(const struct state_dir *dir, const char *name);
/*
 * The same, but its room stays: a text that is no longer can be written again on a full disk (though not on
 * every file system).
 */
MUST_USE enum err state_dir_put_away(const struct state_dir *dir, const char *name);

#endif
