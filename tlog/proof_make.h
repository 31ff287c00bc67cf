/* SPDX-License-Identifier: Apache-2.0 */
/* Proofs made from tiles. */
#ifndef CSRD_TLOG_PROOF_MAKE_H
#define CSRD_TLOG_PROOF_MAKE_H

#include "base/attr.h"
#include "base/err.h"
#include "tlog/proof.h"
#include "tlog/tile.h"
#include "tlog/tree.h"

#include <stdint.h>

/*
 * Where tiles come from.  `read` writes the tile->width hashes of the tile, which is never one of entries;
 * its width is what a tree of `size` entries has.  Its errors are passed on.
 */
struct proof_source {
	uint64_t size; /* ≤ TREE_SIZE_MAX */
	enum err (*read)(void *arg, const struct tile *tile, struct tree_hash *ret_hashes);
	void *arg;
};

/*
 * All of them are about the tree of the first `size` entries, which the source may have outgrown.
 * Each reads a tile a few times at most, and no more than about twenty tiles.  E_INVAL: the source has no
 * such tree, or the tree no such part; E_NOMEM; what `read` returned.
 */

/* That the entry `index` is in the tree. */
MUST_USE enum err proof_make_inclusion(const struct proof_source *source, uint64_t index, uint64_t size,
				       struct proof *ret_proof);

/* That the tree begins with that of old_size entries. */
MUST_USE enum err proof_make_consistency(const struct proof_source *source, uint64_t old_size, uint64_t size,
					 struct proof *ret_proof);

/* The tree itself, for its root or to go on from there. */
MUST_USE enum err proof_make_tree(const struct proof_source *source, uint64_t size, struct tree *ret_tree);

#endif
