/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last, incomplete bundle: the file `tail`, and the same in memory.  What is
 * in memory is durable.  After any failure the file is not trusted any more, but
 * written anew from memory before anything is added: a failed fdatasync(2) tells
 * nothing about what is on the disk, and calling it again would tell less.
 *
 * Every E_IO keeps errno.  Logs nothing.  Private to hsm/signer/journal/.
 */
#ifndef CSRD_HSM_SIGNER_JOURNAL_TAIL_H
#define CSRD_HSM_SIGNER_JOURNAL_TAIL_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "hsm/signer/journal/bundle.h"
#include "hsm/signer/token/state_dir.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAIL_NAME "tail"

struct tail {
	const struct state_dir *dir; /* borrowed */
	int dir_fd;
	int fd;
	uint64_t first; /* index of its first entry */
	size_t len;     /* entries */
	struct buf bytes;
	bool begun;  /* tail_start's work is done */
	bool broken; /* the file may hold something else */
	bool moved;  /* it has its name among the bundles, and another tail is to begin */
};

/* E_IO, E_NOMEM.  tail_release is safe after tail_init alone. */
void tail_init(struct tail *t);
MUST_USE enum err tail_open(struct tail *t, const struct state_dir *dir);
void tail_release(struct tail *t);

/* The bytes of the file, before tail_start; empty when there is none.  E_NOTFOUND: there is none; E_IO,
 * E_NOMEM. */
MUST_USE enum err tail_load(struct tail *t);
/*
 * `first`, `len` and what is in memory are right: the file becomes so, and is open for more.  E_IO, E_NOMEM:
 * tail_repair comes first, and does it.
 */
MUST_USE enum err tail_start(struct tail *t, bool was_clean);

/* Writes these bytes behind the others and waits for the disk; then tail_add may follow.  E_IO: tail_repair
 * comes first. */
MUST_USE enum err tail_write(struct tail *t, const struct buf *bytes);
/* The same into memory, which never fails. */
void tail_add(struct tail *t, const struct buf *bytes, size_t len);

/* Writes the file anew.  E_IO, E_NOMEM. */
MUST_USE enum err tail_repair(struct tail *t);

/* A complete tail gets its place among the bundles, and a new file begins; then tail_restart may follow.
 * E_IO: again. */
MUST_USE enum err tail_seal(struct tail *t);
/* The same in memory, which never fails. */
void tail_restart(struct tail *t);

static inline bool tail_is_complete(const struct tail *t)
{
	return t->len == JOURNAL_BUNDLE_LEN;
}

#endif
