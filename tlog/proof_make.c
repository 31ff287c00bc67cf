/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs made from tiles.
 *
 * A node is named by its height and its index among those of that height: it is the
 * root of the 2^height entries from index × 2^height on.  The nodes of a proof are of this kind, but for
 * the one that holds the right end of the tree: that is joined from several.
 */
#include "tlog/proof_make.h"

#include <stdbool.h>
#include <string.h>

struct proof_walk {
	const struct proof_source *source;
	struct tile tile; /* of `hashes`; width 0 before the first */
	struct tree_hash hashes[TILE_WIDTH];
};

static enum err proof_walk_read(struct proof_walk *walk, int level, uint64_t number)
{
	struct tile tile = {.level = level, .number = number};
	enum err e;

	if (walk->tile.width > 0 && walk->tile.level == level && walk->tile.number == number)
		return E_OK;
	walk->tile.width = 0;
	tile.width = tile_width(walk->source->size, level, number);
	if ((e = walk->source->read(walk->source->arg, &tile, walk->hashes)) == E_OK)
		walk->tile = tile;
	return e;
}

/* A node that is complete in the source. */
static enum err proof_walk_node(struct proof_walk *walk, unsigned height, uint64_t index,
				struct tree_hash *ret_hash)
{
	struct tree_hash hashes[TILE_WIDTH / 2];
	unsigned inner = height % TILE_HEIGHT; /* levels of the tree between it and the hashes of its tile */
	uint64_t first = index << inner;
	enum err e;

	if ((e = proof_walk_read(walk, (int)(height / TILE_HEIGHT), first / TILE_WIDTH)) != E_OK)
		return e;
	memcpy(hashes, walk->hashes + first % TILE_WIDTH, sizeof(hashes[0]) << inner);
	for (size_t len = (size_t)1 << inner; len > 1; len /= 2)
		for (size_t i = 0; i < len / 2; i++)
			if ((e = tree_hash_node(&hashes[2 * i], &hashes[2 * i + 1], &hashes[i])) != E_OK)
				return e;
	*ret_hash = hashes[0];
	return E_OK;
}

/* Complete nodes, the largest first, that cover start … end - 1.  The size of the first divides `start`. */
static enum err proof_walk_cover(struct proof_walk *walk, uint64_t start, uint64_t end,
				 struct tree_hash hashes[TREE_EDGE_MAX], size_t *ret_len)
{
	size_t len = 0;
	enum err e;

	while (start < end) {
		unsigned height = 63 - (unsigned)__builtin_clzll(end - start);

		if ((e = proof_walk_node(walk, height, start >> height, &hashes[len++])) != E_OK)
			return e;
		start += UINT64_C(1) << height;
	}
	*ret_len = len;
	return E_OK;
}

/* A node of a tree of `size` entries, of which it may lack the right part. */
static enum err proof_walk_part(struct proof_walk *walk, unsigned height, uint64_t index, uint64_t size,
				struct tree_hash *ret_hash)
{
	struct tree_hash hashes[TREE_EDGE_MAX];
	uint64_t start = index << height, end = start + (UINT64_C(1) << height);
	size_t len;
	enum err e = proof_walk_cover(walk, start, end < size ? end : size, hashes, &len);

	return e == E_OK ? tree_join(hashes, len, ret_hash) : e;
}

/* The siblings on the way from a node, which is complete, to the root of a tree of `size` entries. */
static enum err proof_walk_path(struct proof_walk *walk, unsigned height, uint64_t index, uint64_t size,
				struct proof *proof)
{
	uint64_t last = (size - 1) >> height; /* the index of the rightmost node */
	enum err e;

	/* A rightmost node without a sibling is its own parent. */
	for (; last > 0; height++, index >>= 1, last >>= 1) {
		if (!(index & 1) && index == last)
			continue;
		if ((e = proof_walk_part(walk, height, index ^ 1, size, &proof->hashes[proof->len])) != E_OK)
			return e;
		proof->len++;
	}
	return E_OK;
}

static bool proof_source_has(const struct proof_source *source, uint64_t size)
{
	return size <= source->size && source->size <= TREE_SIZE_MAX;
}

enum err proof_make_inclusion(const struct proof_source *source, uint64_t index, uint64_t size,
			      struct proof *ret_proof)
{
	struct proof_walk walk = {.source = source};
	struct proof proof = {0};
	enum err e;

	if (!proof_source_has(source, size) || index >= size)
		return E_INVAL;
	if ((e = proof_walk_path(&walk, 0, index, size, &proof)) == E_OK)
		*ret_proof = proof;
	return e;
}

enum err proof_make_consistency(const struct proof_source *source, uint64_t old_size, uint64_t size,
				struct proof *ret_proof)
{
	struct proof_walk walk = {.source = source};
	struct proof proof = {0};
	unsigned height;
	uint64_t index;
	enum err e;

	if (!proof_source_has(source, size) || old_size > size)
		return E_INVAL;
	if (old_size > 0 && old_size < size) {
		/* The last complete subtree of the old tree.  Alone it is the old root, which the verifier
		 * has. */
		height = (unsigned)__builtin_ctzll(old_size);
		index = (old_size >> height) - 1;
		if (index > 0) {
			if ((e = proof_walk_node(&walk, height, index, &proof.hashes[0])) != E_OK)
				return e;
			proof.len = 1;
		}
		if ((e = proof_walk_path(&walk, height, index, size, &proof)) != E_OK)
			return e;
	}
	*ret_proof = proof;
	return E_OK;
}

enum err proof_make_tree(const struct proof_source *source, uint64_t size, struct tree *ret_tree)
{
	struct proof_walk walk = {.source = source};
	struct tree tree = {.size = size};
	size_t len;
	enum err e;

	if (!proof_source_has(source, size))
		return E_INVAL;
	if ((e = proof_walk_cover(&walk, 0, size, tree.edge, &len)) == E_OK)
		*ret_tree = tree;
	return e;
}
