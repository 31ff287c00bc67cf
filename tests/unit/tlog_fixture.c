/* SPDX-License-Identifier: Apache-2.0 */
/* Logs and keys for tests. */
#include "tests/unit/tlog_fixture.h"

#include <openssl/ec.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "tlog_fixture: %s failed\n", what);
	abort();
}

static void grown_level_put(struct grown_level *level, const struct tree_hash *hash)
{
	if (level->len == level->capacity) {
		level->capacity = level->capacity ? 2 * level->capacity : 256;
		level->hashes = realloc(level->hashes, level->capacity * sizeof(*level->hashes));
		must(level->hashes != NULL, "realloc");
	}
	level->hashes[level->len++] = *hash;
}

void grown_append(struct grown *g, const void *entry, size_t len)
{
	struct tree_hash leaf;
	struct tree_added added;

	must(tree_hash_leaf(entry, len, &leaf) == E_OK, "tree_hash_leaf");
	must(tree_append(&g->tree, &leaf, &added) == E_OK, "tree_append");
	for (unsigned i = 0; i < added.levels; i++)
		grown_level_put(&g->levels[i], &added.hashes[i]);
}

void grown_append_until(struct grown *g, uint64_t size)
{
	char entry[32];

	while (g->tree.size < size) {
		int len = snprintf(entry, sizeof(entry), "entry %llu", (unsigned long long)g->tree.size);

		grown_append(g, entry, (size_t)len);
	}
}

void grown_release(struct grown *g)
{
	for (size_t i = 0; i < TREE_TILE_LEVELS; i++)
		free(g->levels[i].hashes);
	*g = (struct grown){0};
}

static enum err grown_read(void *arg, const struct tile *tile, struct tree_hash *ret_hashes)
{
	struct grown *g = arg;
	const struct grown_level *level = &g->levels[tile->level];
	uint64_t first = tile->number * TILE_WIDTH;

	must(tile->width >= 1 && first + tile->width <= level->len, "reading a tile that there is");
	memcpy(ret_hashes, level->hashes + first, tile->width * sizeof(*ret_hashes));
	g->reads++;
	return E_OK;
}

struct proof_source grown_source(struct grown *g)
{
	return (struct proof_source){.size = g->tree.size, .read = grown_read, .arg = g};
}

struct tree_head grown_head(struct grown *g, uint64_t size)
{
	struct proof_source source = grown_source(g);
	struct tree_head head = {.size = size};
	struct tree tree;

	must(proof_make_tree(&source, size, &tree) == E_OK, "proof_make_tree");
	must(tree_root(&tree, &head.root) == E_OK, "tree_root");
	return head;
}

static enum err note_pair_sign(void *arg, const void *text, size_t len, struct note_signature *ret_signature)
{
	struct note_pair *p = arg;
	const EVP_MD *md = p->key.algorithm == NOTE_ECDSA ? EVP_sha256() : NULL;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	ret_signature->len = sizeof(ret_signature->bytes);
	must(EVP_DigestSignInit(context, NULL, md, NULL, p->private_key) == 1, "EVP_DigestSignInit");
	must(EVP_DigestSign(context, ret_signature->bytes, &ret_signature->len, text, len) == 1,
	     "EVP_DigestSign");
	EVP_MD_CTX_free(context);
	return E_OK;
}

void note_pair_make(struct note_pair *p, const char *name, enum note_algorithm algorithm,
		    const uint8_t seed[32])
{
	uint8_t public_key[NOTE_ECDSA_BYTES], *at = public_key;
	size_t len = sizeof(public_key);

	if (algorithm == NOTE_ED25519) {
		p->private_key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
		must(p->private_key && EVP_PKEY_get_raw_public_key(p->private_key, public_key, &len) == 1,
		     "an Ed25519 key");
	} else {
		p->private_key = EVP_EC_gen("P-256");
		must(p->private_key && i2d_PUBKEY(p->private_key, NULL) == NOTE_ECDSA_BYTES &&
			 i2d_PUBKEY(p->private_key, &at) == NOTE_ECDSA_BYTES,
		     "a P-256 key");
	}
	must(note_key_make(name, algorithm, public_key, len, &p->key) == E_OK, "note_key_make");
	p->signer = (struct note_signer){.key = &p->key, .sign = note_pair_sign, .arg = p};
}

void note_pair_release(struct note_pair *p)
{
	EVP_PKEY_free(p->private_key);
	p->private_key = NULL;
}
