/* SPDX-License-Identifier: Apache-2.0 */
/* The growing edge of a Merkle tree. */
#include "tlog/tree.h"

#include "tlog/tile.h"

#include <assert.h>
#include <string.h>

size_t tree_edge_len(uint64_t size)
{
	return (size_t)__builtin_popcountll(size);
}

enum err tree_load(uint64_t size, const struct tree_hash *edge, size_t edge_len, struct tree *ret_tree)
{
	if (size > TREE_SIZE_MAX || edge_len != tree_edge_len(size))
		return E_INVAL;
	*ret_tree = (struct tree){.size = size};
	if (edge_len > 0)
		memcpy(ret_tree->edge, edge, edge_len * sizeof(*edge));
	return E_OK;
}

enum err tree_append(struct tree *t, const struct tree_hash *leaf, struct tree_added *ret_added)
{
	struct tree_added added = {.levels = 1, .hashes = {*leaf}};
	struct tree_hash node = *leaf;
	size_t len = tree_edge_len(t->size);
	enum err e;

	if (t->size >= TREE_SIZE_MAX)
		return E_LIMIT;
	/* A binary counter: what stands on the edge with the height of `node` is its left half. */
	for (unsigned height = 0; t->size >> height & 1;) {
		if ((e = tree_hash_node(&t->edge[--len], &node, &node)) != E_OK)
			return e;
		if (++height % TILE_HEIGHT == 0)
			added.hashes[added.levels++] = node;
	}
	t->edge[len] = node;
	t->size++;
	if (ret_added)
		*ret_added = added;
	return E_OK;
}

enum err tree_join(const struct tree_hash *hashes, size_t len, struct tree_hash *ret_root)
{
	struct tree_hash root;
	enum err e;

	assert(len > 0);
	root = hashes[--len];
	while (len > 0)
		if ((e = tree_hash_node(&hashes[--len], &root, &root)) != E_OK)
			return e;
	*ret_root = root;
	return E_OK;
}

enum err tree_root(const struct tree *t, struct tree_hash *ret_root)
{
	if (t->size == 0)
		return tree_hash_empty(ret_root);
	return tree_join(t->edge, tree_edge_len(t->size), ret_root);
}
