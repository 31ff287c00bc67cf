/* SPDX-License-Identifier: Apache-2.0 */
/* The check of proofs, by the algorithms of RFC 9162; names of variables are theirs. */
#include "tlog/proof.h"

#include <stdbool.h>

static enum err proof_compare(const struct tree_hash *computed, const struct tree_hash *expected)
{
	return tree_hash_equal(computed, expected) ? E_OK : E_PROTO;
}

/* Up to where the path turns: the next level on which the node has a sibling to the left. */
static void proof_climb(uint64_t *fn, uint64_t *sn)
{
	while (!(*fn & 1) && *fn > 0) {
		*fn >>= 1;
		*sn >>= 1;
	}
}

enum err proof_check_inclusion(const struct proof *proof, uint64_t index, const struct tree_hash *leaf,
			       const struct tree_head *head)
{
	uint64_t fn = index, sn = head->size - 1;
	struct tree_hash r = *leaf;
	enum err e;

	if (head->size > TREE_SIZE_MAX || index >= head->size || proof->len > PROOF_HASHES_MAX)
		return E_PROTO;
	for (size_t i = 0; i < proof->len; i++) {
		const struct tree_hash *p = &proof->hashes[i];

		if (sn == 0)
			return E_PROTO;
		if (fn & 1 || fn == sn) {
			e = tree_hash_node(p, &r, &r);
			proof_climb(&fn, &sn);
		} else {
			e = tree_hash_node(&r, p, &r);
		}
		if (e != E_OK)
			return e;
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 ? proof_compare(&r, &head->root) : E_PROTO;
}

static enum err proof_check_trivial(const struct proof *proof, const struct tree_head *old,
				    const struct tree_head *head)
{
	struct tree_hash empty;
	enum err e;

	if (proof->len > 0)
		return E_PROTO;
	if (old->size == head->size && !tree_hash_equal(&old->root, &head->root))
		return E_PROTO;
	if (old->size > 0)
		return E_OK;
	return (e = tree_hash_empty(&empty)) == E_OK ? proof_compare(&old->root, &empty) : e;
}

/* From two nodes of one place, one in each tree, to the two roots. */
static enum err proof_check_path(const struct tree_hash *path, size_t path_len, const struct tree_head *old,
				 const struct tree_head *head)
{
	uint64_t fn = old->size - 1, sn = head->size - 1;
	struct tree_hash fr = path[0], sr = path[0];
	enum err e = E_OK;

	while (fn & 1) {
		fn >>= 1;
		sn >>= 1;
	}
	for (size_t i = 1; i < path_len; i++) {
		if (sn == 0)
			return E_PROTO;
		if (fn & 1 || fn == sn) {
			if ((e = tree_hash_node(&path[i], &fr, &fr)) == E_OK)
				e = tree_hash_node(&path[i], &sr, &sr);
			proof_climb(&fn, &sn);
		} else {
			e = tree_hash_node(&sr, &path[i], &sr);
		}
		if (e != E_OK)
			return e;
		fn >>= 1;
		sn >>= 1;
	}
	if (sn != 0)
		return E_PROTO;
	e = proof_compare(&fr, &old->root);
	return e == E_OK ? proof_compare(&sr, &head->root) : e;
}

enum err proof_check_consistency(const struct proof *proof, const struct tree_head *old,
				 const struct tree_head *head)
{
	struct tree_hash path[PROOF_HASHES_MAX + 1];
	size_t len = 0;

	if (head->size > TREE_SIZE_MAX || old->size > head->size || proof->len > PROOF_HASHES_MAX)
		return E_PROTO;
	if (old->size == 0 || old->size == head->size)
		return proof_check_trivial(proof, old, head);
	if (proof->len == 0)
		return E_PROTO;
	/* A complete old tree is itself the node to begin at, and is left out of the proof. */
	if ((old->size & (old->size - 1)) == 0)
		path[len++] = old->root;
	for (size_t i = 0; i < proof->len; i++)
		path[len++] = proof->hashes[i];
	return proof_check_path(path, len, old, head);
}
