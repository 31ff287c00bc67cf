/* SPDX-License-Identifier: Apache-2.0 */
/* The proof that an entry is in a log, as one text that needs no other (C2SP tlog-proof). */
#ifndef CSRD_TLOG_TLOG_PROOF_H
#define CSRD_TLOG_TLOG_PROOF_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "tlog/note_key.h"
#include "tlog/proof.h"
#include "tlog/tree_hash.h"

#include <stddef.h>
#include <stdint.h>

#define TLOG_PROOF_EXTRA_MAX 65535 /* bytes: an entry fits */

/* Borrowed: of one that was read, `extra` from the buffer given for it and `checkpoint` from the text. */
struct tlog_proof {
	const void *extra; /* anything; csrd's proofs have the entry here.  NULL: none */
	size_t extra_len;
	uint64_t index; /* of the entry */
	struct proof inclusion;
	const void *checkpoint; /* the note */
	size_t checkpoint_len;
};

/* Appends the text.  E_LIMIT, E_NOMEM. */
MUST_USE enum err tlog_proof_put(const struct tlog_proof *proof, struct buf *out);

/*
 * `extra` takes up to its ceiling, or TLOG_PROOF_EXTRA_MAX.  E_PROTO: the text is no proof, or too long;
 * E_NOMEM.
 */
MUST_USE enum err tlog_proof_parse(const void *text, size_t len, struct buf *extra,
				   struct tlog_proof *ret_proof);

/*
 * Is the entry with this leaf hash in the log of that key?  E_PROTO: that is not proven; E_NOTFOUND,
 * E_DENIED: the checkpoint is not signed with the key; E_NOMEM.
 */
MUST_USE enum err tlog_proof_check(const struct tlog_proof *proof, const struct tree_hash *leaf,
				   const struct note_key *key);

#endif
