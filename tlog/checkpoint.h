/* SPDX-License-Identifier: Apache-2.0 */
/* The signed head of a log (C2SP tlog-checkpoint): a note of the log's name, its size and its root. */
#ifndef CSRD_TLOG_CHECKPOINT_H
#define CSRD_TLOG_CHECKPOINT_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "tlog/note_key.h"
#include "tlog/tree.h"

#include <stddef.h>

struct checkpoint {
	const char *origin; /* the log's name, origin_len bytes; borrowed from what was read */
	size_t origin_len;
	struct tree_head head;
	const char *extension; /* the lines behind these, each with its newline; borrowed too */
	size_t extension_len;  /* 0: there are none, as in all that csrd writes */
};

/*
 * Appends the text to be signed.  E_INVAL: the origin is no name of a key, or the size too large; E_LIMIT,
 * E_NOMEM.
 */
MUST_USE enum err checkpoint_put(const char *origin, const struct tree_head *head, struct buf *out);

/* The text of a note.  E_PROTO: it is none of a checkpoint. */
MUST_USE enum err checkpoint_parse(const char *text, size_t len, struct checkpoint *ret_checkpoint);

/*
 * A whole note, which the log whose name is that of the key must have signed with the key.
 * E_PROTO: it is no note of a checkpoint, or one of another log; E_NOTFOUND, E_DENIED: of note_verify;
 * E_NOMEM.
 */
MUST_USE enum err checkpoint_open(const void *note, size_t len, const struct note_key *key,
				  struct checkpoint *ret_checkpoint);

#endif
