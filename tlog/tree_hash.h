/* SPDX-License-Identifier: Apache-2.0 */
/* The hashes of a Merkle tree: SHA-256, with leaves and nodes kept apart (RFC 6962 §2.1, RFC 9162 §2.1.1). */
#ifndef CSRD_TLOG_TREE_HASH_H
#define CSRD_TLOG_TREE_HASH_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_HASH_BYTES 32

struct tree_hash {
	uint8_t bytes[TREE_HASH_BYTES];
};

/* All of them may be called from any thread.  E_NOMEM is what is left of libcrypto's reasons to fail. */

/* Of an entry: SHA-256(0x00 ‖ entry). */
MUST_USE enum err tree_hash_leaf(const void *entry, size_t len, struct tree_hash *ret_hash);

/* Of an inner node: SHA-256(0x01 ‖ left ‖ right).  *ret_hash may be either of them. */
MUST_USE enum err tree_hash_node(const struct tree_hash *left, const struct tree_hash *right,
				 struct tree_hash *ret_hash);

/* The root of the tree without entries: SHA-256 of nothing. */
MUST_USE enum err tree_hash_empty(struct tree_hash *ret_hash);

bool tree_hash_equal(const struct tree_hash *a, const struct tree_hash *b);

#endif
