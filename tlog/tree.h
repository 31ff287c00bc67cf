/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Merkle tree (RFC 6962 §2.1) that is only appended to, as what is needed
 * to go on: the roots of its complete subtrees, at most one of each height.  No
 * entry and no older hash is kept; those are in tiles (tile.h).
 */
#ifndef CSRD_TLOG_TREE_H
#define CSRD_TLOG_TREE_H

#include "base/attr.h"
#include "base/err.h"
#include "tlog/tree_hash.h"

#include <stddef.h>
#include <stdint.h>

/* The largest number of entries.  A size is a number in JSON too, so it fits a double. */
#define TREE_SIZE_MAX (UINT64_C(1) << 53)
#define TREE_HEIGHT_MAX 53 /* of a tree of TREE_SIZE_MAX entries; a leaf's is 0 */

/* What a tree is to others: two trees of one size and one root have the same entries. */
struct tree_head {
	uint64_t size;
	struct tree_hash root;
};

#define TREE_EDGE_MAX 53 /* no size has more bits set */

struct tree {
	uint64_t size; /* entries */
	/* One for each bit set in `size`, the largest subtree, which is leftmost, first. */
	struct tree_hash edge[TREE_EDGE_MAX];
};

/* What one append adds to the tiles: one hash on each level below `levels`. */
#define TREE_TILE_LEVELS 7 /* 256^6 < TREE_SIZE_MAX < 256^7 */
struct tree_added {
	unsigned levels;
	struct tree_hash hashes[TREE_TILE_LEVELS];
};

/* The tree without entries is all zeros. */

/* A tree as it was kept.  E_INVAL: the size is too large, or has another number of edges. */
MUST_USE enum err tree_load(uint64_t size, const struct tree_hash *edge, size_t edge_len,
			    struct tree *ret_tree);

/* How many hashes of `edge` count. */
size_t tree_edge_len(uint64_t size);

/* ret_added may be NULL.  E_LIMIT: it has TREE_SIZE_MAX entries; E_NOMEM.  A tree that fails is as it was. */
MUST_USE enum err tree_append(struct tree *t, const struct tree_hash *leaf, struct tree_added *ret_added);

/* E_NOMEM. */
MUST_USE enum err tree_root(const struct tree *t, struct tree_hash *ret_root);

/*
 * The root of subtrees side by side, each smaller than the one before:
 * hashes[0] is the leftmost.  len > 0.  E_NOMEM.
 */
MUST_USE enum err tree_join(const struct tree_hash *hashes, size_t len, struct tree_hash *ret_root);

#endif
