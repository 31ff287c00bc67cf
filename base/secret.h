/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secret bytes in pages that are locked in memory, left out of core files,
 * surrounded by nothing else, and scrubbed when freed.
 */
#ifndef CSRD_BASE_SECRET_H
#define CSRD_BASE_SECRET_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

struct secret;

/*
 * Reads at most max_bytes from a regular file, and drops one trailing newline.
 * E_NOTFOUND; E_DENIED (no permission, or the file can be read or written by
 * others than its owner and group); E_LIMIT (longer than max_bytes); E_INVAL
 * (empty, or not a regular file); E_UNAVAIL (its pages cannot be locked in memory:
 * errno kept); E_IO; E_NOMEM.  The caller logs.
 */
MUST_USE enum err secret_read_file(const char *path, size_t max_bytes, struct secret **ret_secret);

const unsigned char *secret_bytes(const struct secret *s); /* borrowed until secret_free */
size_t secret_len(const struct secret *s);
void secret_free(struct secret *s); /* NULL is fine */

/* Overwrites memory in a way that the compiler cannot optimise away. */
void secret_scrub(void *memory, size_t len);

/* From now on the process leaves no core file and cannot be traced by its own user. */
MUST_USE enum err secret_forbid_dumps(void);

#endif
