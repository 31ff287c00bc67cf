/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of leaves and nodes. */
#include "tlog/tree_hash.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#define LEAF_PREFIX 0
#define NODE_PREFIX 1

/* Looking SHA-256 up by EVP_sha256() at each call takes longer than hashing a node. */
static pthread_once_t tree_hash_once = PTHREAD_ONCE_INIT;
static const EVP_MD *tree_hash_sha256;

static void tree_hash_look_up(void)
{
	const EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);

	tree_hash_sha256 = md ? md : EVP_sha256();
}

static const EVP_MD *tree_hash_kind(void)
{
	pthread_once(&tree_hash_once, tree_hash_look_up);
	return tree_hash_sha256;
}

enum err tree_hash_leaf(const void *entry, size_t len, struct tree_hash *ret_hash)
{
	static const uint8_t prefix = LEAF_PREFIX;
	struct tree_hash hash;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool done = md && EVP_DigestInit_ex(md, tree_hash_kind(), NULL) == 1 &&
		    EVP_DigestUpdate(md, &prefix, 1) == 1 && EVP_DigestUpdate(md, entry, len) == 1 &&
		    EVP_DigestFinal_ex(md, hash.bytes, NULL) == 1;

	EVP_MD_CTX_free(md);
	if (!done)
		return E_NOMEM;
	*ret_hash = hash;
	return E_OK;
}

enum err tree_hash_node(const struct tree_hash *left, const struct tree_hash *right,
			struct tree_hash *ret_hash)
{
	uint8_t node[1 + 2 * TREE_HASH_BYTES] = {NODE_PREFIX};
	struct tree_hash hash;

	memcpy(node + 1, left->bytes, TREE_HASH_BYTES);
	memcpy(node + 1 + TREE_HASH_BYTES, right->bytes, TREE_HASH_BYTES);
	if (EVP_Digest(node, sizeof(node), hash.bytes, NULL, tree_hash_kind(), NULL) != 1)
		return E_NOMEM;
	*ret_hash = hash;
	return E_OK;
}

enum err tree_hash_empty(struct tree_hash *ret_hash)
{
	struct tree_hash hash;

	if (EVP_Digest("", 0, hash.bytes, NULL, tree_hash_kind(), NULL) != 1)
		return E_NOMEM;
	*ret_hash = hash;
	return E_OK;
}

bool tree_hash_equal(const struct tree_hash *a, const struct tree_hash *b)
{
	return memcmp(a->bytes, b->bytes, TREE_HASH_BYTES) == 0;
}
