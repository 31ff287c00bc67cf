/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs about a Merkle tree, and their check.  Checking needs nothing but what is given, and
 * takes proofs from anybody.
 */
#ifndef CSRD_TLOG_PROOF_H
#define CSRD_TLOG_PROOF_H

#include "base/attr.h"
#include "base/err.h"
#include "tlog/tree.h"
#include "tlog/tree_hash.h"

#include <stddef.h>
#include <stdint.h>

#define PROOF_HASHES_MAX (TREE_HEIGHT_MAX + 1)

struct proof {
	size_t len;
	struct tree_hash hashes[PROOF_HASHES_MAX]; /* in the order of RFC 6962: from the leaves to the root */
};

/*
 * Is the entry with this leaf hash at this index of the tree (RFC 9162 §2.1.3.2)?
 * E_PROTO: that is not proven; E_NOMEM: not known.
 */
MUST_USE enum err proof_check_inclusion(const struct proof *proof, uint64_t index,
					const struct tree_hash *leaf, const struct tree_head *head);

/*
 * Are the entries of `old` the first ones of `head` (RFC 9162 §2.1.4.2)?  Of two trees of one size, and of an
 * old one without entries, the proof is empty.  E_PROTO: that is not proven; E_NOMEM: not known.
 */
MUST_USE enum err proof_check_consistency(const struct proof *proof, const struct tree_head *old,
					  const struct tree_head *head);

#endif
