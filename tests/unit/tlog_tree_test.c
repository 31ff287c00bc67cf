/* SPDX-License-Identifier: Apache-2.0 */
/* Trees, tiles and proofs. */
#include "base/str.h"
#include "tests/unit/cmocka_all.h"
#include "tests/unit/tlog_fixture.h"
#include "tlog/proof.h"
#include "tlog/proof_make.h"
#include "tlog/tile.h"
#include "tlog/tree.h"

#include <openssl/evp.h>
#include <string.h>

static void assert_hash(const struct tree_hash *hash, const char *hex)
{
	char text[2 * TREE_HASH_BYTES + 1];

	str_hex(text, hash->bytes, sizeof(hash->bytes));
	assert_string_equal(text, hex);
}

static void assert_proof(const struct proof *proof, const char *const *hashes, size_t len)
{
	assert_int_equal(proof->len, len);
	for (size_t i = 0; i < len; i++)
		assert_hash(&proof->hashes[i], hashes[i]);
}

/* The entries with which implementations of RFC 6962 are tested, and the roots of 1, 2, … of them. */
static const struct known {
	const char *entry;
	size_t len;
	const char *root;
} known[] = {
    {"", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {"\0", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
    {"\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
    {"\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
    {"\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
    {"\x40\x41\x42\x43", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
    {"\x50\x51\x52\x53\x54\x55\x56\x57", 8,
     "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
    {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16,
     "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

static void the_known_trees_and_proofs(void **state)
{
	static const char *const path[] = {
	    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
	    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
	    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"};
	static const char *const from_6[] = {
	    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
	    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
	    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"};
	struct grown g = {0};
	struct tree_hash root;
	struct proof_source source;
	struct proof proof;

	(void)state;
	assert_int_equal(tree_root(&g.tree, &root), E_OK);
	assert_hash(&root, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	for (size_t i = 0; i < KNOWN; i++) {
		grown_append(&g, known[i].entry, known[i].len);
		assert_int_equal(tree_root(&g.tree, &root), E_OK);
		assert_hash(&root, known[i].root);
	}
	source = grown_source(&g);
	assert_int_equal(proof_make_inclusion(&source, 0, 8, &proof), E_OK);
	assert_proof(&proof, path, 3);
	assert_int_equal(proof_make_consistency(&source, 1, 8, &proof), E_OK);
	assert_proof(&proof, path, 3);
	assert_int_equal(proof_make_consistency(&source, 6, 8, &proof), E_OK);
	assert_proof(&proof, from_6, 3);
	grown_release(&g);
}

static void digest_proof(EVP_MD_CTX *md, const struct proof *proof)
{
	uint8_t len = (uint8_t)proof->len;

	assert_int_equal(EVP_DigestUpdate(md, &len, 1), 1);
	assert_int_equal(EVP_DigestUpdate(md, proof->hashes, proof->len * sizeof(proof->hashes[0])), 1);
}

static uint32_t first_four(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* As tests/tlog/tlog_check.go computes it. */
static uint32_t digest_of_proofs(struct grown *g, uint64_t size)
{
	struct proof_source source = grown_source(g);
	struct tree_head old, head = grown_head(g, size);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct proof proof;
	uint8_t digest[32];

	assert_int_equal(EVP_DigestInit_ex(md, EVP_sha256(), NULL), 1);
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t index = (size * 7919 * (2 * i + 1) + 31 * i) % size;

		assert_int_equal(proof_make_inclusion(&source, index, size, &proof), E_OK);
		assert_int_equal(proof_check_inclusion(&proof, index, &g->levels[0].hashes[index], &head),
				 E_OK);
		digest_proof(md, &proof);
		assert_int_equal(proof_make_consistency(&source, index + 1, size, &proof), E_OK);
		old = grown_head(g, index + 1);
		assert_int_equal(proof_check_consistency(&proof, &old, &head), E_OK);
		digest_proof(md, &proof);
	}
	assert_int_equal(EVP_DigestFinal_ex(md, digest, NULL), 1);
	EVP_MD_CTX_free(md);
	return first_four(digest);
}

static void the_trees_are_those_of_go(void **state)
{
	static const uint32_t vectors[][2] = {
#include "tests/unit/tlog_vectors.inc"
	};
	const uint64_t sizes = sizeof(vectors) / sizeof(vectors[0]);
	struct grown g = {0};

	(void)state;
	grown_append_until(&g, sizes);
	for (uint64_t size = 1; size <= sizes; size++) {
		struct tree_head head = grown_head(&g, size);

		assert_int_equal(first_four(head.root.bytes), vectors[size - 1][0]);
		assert_int_equal(digest_of_proofs(&g, size), vectors[size - 1][1]);
	}
	assert_true(sizes == 600);
	grown_release(&g);
}

/* ---- F430, F431: proofs that are wrong ---- */

static void turn_bit(struct proof *proof, size_t bit)
{
	proof->hashes[bit / 256].bytes[bit % 256 / 8] ^= (uint8_t)(1 << bit % 8);
}

static void wrong_inclusion_is_refused(void **state)
{
	struct grown g = {0};
	struct proof_source source;
	struct tree_head head, other;
	struct proof proof, changed;
	const struct tree_hash *leaf;

	(void)state;
	grown_append_until(&g, 300);
	source = grown_source(&g);
	for (uint64_t size = 1; size <= 300; size += 23) {
		for (uint64_t index = 0; index < size; index += 1 + size / 8) {
			leaf = &g.levels[0].hashes[index];
			head = grown_head(&g, size);
			assert_int_equal(proof_make_inclusion(&source, index, size, &proof), E_OK);
			assert_int_equal(proof_check_inclusion(&proof, index, leaf, &head), E_OK);
			/* Elsewhere, and of trees of other sizes. */
			for (uint64_t at = 0; at <= size; at++)
				if (at != index)
					assert_int_equal(proof_check_inclusion(&proof, at, leaf, &head),
							 E_PROTO);
			other = head;
			for (other.size = 0; other.size < 2 * size; other.size++)
				if (other.size != size && proof.len > 0 && other.size <= index)
					assert_int_equal(proof_check_inclusion(&proof, index, leaf, &other),
							 E_PROTO);
			/* Longer, shorter, too long for any tree. */
			changed = proof;
			changed.hashes[changed.len++] = *leaf;
			assert_int_equal(proof_check_inclusion(&changed, index, leaf, &head), E_PROTO);
			changed.len = PROOF_HASHES_MAX + 1;
			assert_int_equal(proof_check_inclusion(&changed, index, leaf, &head), E_PROTO);
			for (changed.len = 0; changed.len < proof.len; changed.len++)
				assert_int_equal(proof_check_inclusion(&changed, index, leaf, &head),
						 E_PROTO);
			for (size_t bit = 0; bit < 256 * proof.len; bit += 11) {
				changed = proof;
				turn_bit(&changed, bit);
				assert_int_equal(proof_check_inclusion(&changed, index, leaf, &head),
						 E_PROTO);
			}
		}
	}
	head = grown_head(&g, 300);
	head.size = TREE_SIZE_MAX + 1;
	assert_int_equal(proof_check_inclusion(&proof, 5, leaf, &head), E_PROTO);
	head.size = 0;
	assert_int_equal(proof_check_inclusion(&proof, 0, leaf, &head), E_PROTO);
	assert_int_equal(proof_check_inclusion(&proof, UINT64_MAX, leaf, &head), E_PROTO);
	grown_release(&g);
}

static void refuse_changed_consistency(const struct proof *proof, const struct tree_head *old,
				       const struct tree_head *head)
{
	struct proof changed = *proof;
	struct tree_head other = *old;

	changed.hashes[changed.len++] = old->root;
	assert_int_equal(proof_check_consistency(&changed, old, head), E_PROTO);
	changed.len = PROOF_HASHES_MAX + 1;
	assert_int_equal(proof_check_consistency(&changed, old, head), E_PROTO);
	for (changed.len = 0; changed.len < proof->len; changed.len++)
		assert_int_equal(proof_check_consistency(&changed, old, head), E_PROTO);
	for (size_t bit = 0; bit < 256 * proof->len; bit += 11) {
		changed = *proof;
		turn_bit(&changed, bit);
		assert_int_equal(proof_check_consistency(&changed, old, head), E_PROTO);
	}
	other.root.bytes[31] ^= 1;
	assert_int_equal(proof_check_consistency(proof, &other, head), E_PROTO);
	other = *head;
	other.root.bytes[0] ^= 1;
	assert_int_equal(proof_check_consistency(proof, old, &other), E_PROTO);
}

static void wrong_consistency_is_refused(void **state)
{
	struct grown g = {0};
	struct proof_source source;
	struct tree_head old, head;
	struct proof proof;

	(void)state;
	grown_append_until(&g, 300);
	source = grown_source(&g);
	for (uint64_t size = 0; size <= 300; size += 20) {
		for (uint64_t old_size = 0; old_size <= size; old_size += 1 + size / 9) {
			old = grown_head(&g, old_size);
			head = grown_head(&g, size);
			assert_int_equal(proof_make_consistency(&source, old_size, size, &proof), E_OK);
			assert_int_equal(proof_check_consistency(&proof, &old, &head), E_OK);
			if (old_size > 0)
				refuse_changed_consistency(&proof, &old, &head);
			if (old_size < size)
				assert_int_equal(proof_check_consistency(&proof, &head, &old), E_PROTO);
		}
	}
	/* Of nothing there is one root, and no proof. */
	old = grown_head(&g, 0);
	proof = (struct proof){0};
	assert_int_equal(proof_check_consistency(&proof, &old, &head), E_OK);
	old.root.bytes[0] ^= 1;
	assert_int_equal(proof_check_consistency(&proof, &old, &head), E_PROTO);
	old = grown_head(&g, 0);
	proof.len = 1;
	assert_int_equal(proof_check_consistency(&proof, &old, &head), E_PROTO);
	head.size = TREE_SIZE_MAX + 1;
	assert_int_equal(proof_check_consistency(&proof, &old, &head), E_PROTO);
	grown_release(&g);
}

/* Heads that no log has, made so that all but the length of the path fits. */
static void a_path_has_the_length_of_its_tree(void **state)
{
	struct tree_hash leaf, other, above;
	struct tree_head old, head = {.size = 1};
	struct proof proof = {.len = 1};

	(void)state;
	assert_int_equal(tree_hash_leaf("a", 1, &leaf), E_OK);
	assert_int_equal(tree_hash_leaf("b", 1, &other), E_OK);
	assert_int_equal(tree_hash_node(&other, &leaf, &above), E_OK);
	proof.hashes[0] = other;
	head.root = above;
	assert_int_equal(proof_check_inclusion(&proof, 0, &leaf, &head), E_PROTO);
	head.size = 4;
	assert_int_equal(tree_hash_node(&leaf, &other, &head.root), E_OK);
	assert_int_equal(proof_check_inclusion(&proof, 0, &leaf, &head), E_PROTO);
	old = (struct tree_head){.size = 1, .root = leaf};
	assert_int_equal(proof_check_consistency(&proof, &old, &head), E_PROTO);
	/* from three to two */
	proof.len = 2;
	proof.hashes[1] = leaf;
	old = (struct tree_head){.size = 3, .root = other};
	head = (struct tree_head){.size = 2, .root = above};
	assert_int_equal(proof_check_consistency(&proof, &old, &head), E_PROTO);
	/* one hash more than from 1 to 2 */
	old.size = 1;
	proof.len = 2;
	proof.hashes[1] = other;
	head.size = 2;
	assert_int_equal(tree_hash_node(&other, &head.root, &head.root), E_OK);
	assert_int_equal(tree_hash_node(&other, &leaf, &old.root), E_OK);
	assert_int_equal(proof_check_consistency(&proof, &old, &head), E_PROTO);
}

static void what_has_no_proof_gets_none(void **state)
{
	struct grown g = {0};
	struct proof_source source;
	struct proof proof;
	struct tree tree;

	(void)state;
	source = grown_source(&g);
	assert_int_equal(proof_make_inclusion(&source, 0, 0, &proof), E_INVAL);
	assert_int_equal(proof_make_consistency(&source, 0, 0, &proof), E_OK);
	assert_int_equal(proof.len, 0);
	grown_append_until(&g, 10);
	source = grown_source(&g);
	assert_int_equal(proof_make_inclusion(&source, 10, 10, &proof), E_INVAL);
	assert_int_equal(proof_make_inclusion(&source, 3, 11, &proof), E_INVAL);
	assert_int_equal(proof_make_consistency(&source, 7, 6, &proof), E_INVAL);
	assert_int_equal(proof_make_consistency(&source, 7, 11, &proof), E_INVAL);
	assert_int_equal(proof_make_tree(&source, 11, &tree), E_INVAL);
	source.size = TREE_SIZE_MAX + 1;
	assert_int_equal(proof_make_tree(&source, TREE_SIZE_MAX + 1, &tree), E_INVAL);
	grown_release(&g);
}

/* ---- F432: the largest trees ---- */

/* A log in which all entries are the same, so that each level has one hash. */
static enum err read_uniform(void *arg, const struct tile *tile, struct tree_hash *ret_hashes)
{
	const struct tree_hash *by_height = arg;

	for (unsigned i = 0; i < tile->width; i++)
		ret_hashes[i] = by_height[tile->level * TILE_HEIGHT];
	return E_OK;
}

static void check_uniform(const struct proof_source *source, uint64_t old_size, uint64_t size)
{
	const struct tree_hash *by_height = source->arg;
	uint64_t indexes[] = {0, old_size - 1, size / 2, size - 1};
	struct tree_head old = {.size = old_size}, head = {.size = size};
	struct proof proof;
	struct tree tree;

	assert_int_equal(proof_make_tree(source, old_size, &tree), E_OK);
	assert_int_equal(tree_root(&tree, &old.root), E_OK);
	assert_int_equal(proof_make_tree(source, size, &tree), E_OK);
	assert_int_equal(tree_root(&tree, &head.root), E_OK);
	assert_int_equal(proof_make_consistency(source, old_size, size, &proof), E_OK);
	assert_int_equal(proof_check_consistency(&proof, &old, &head), E_OK);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(proof_make_inclusion(source, indexes[i], size, &proof), E_OK);
		assert_int_equal(proof_check_inclusion(&proof, indexes[i], &by_height[0], &head), E_OK);
		proof.hashes[proof.len / 2].bytes[0] ^= 1;
		assert_int_equal(proof_check_inclusion(&proof, indexes[i], &by_height[0], &head), E_PROTO);
	}
}

static void the_largest_trees(void **state)
{
	struct tree_hash by_height[TREE_HEIGHT_MAX + 1], edge[TREE_EDGE_MAX];
	struct proof_source source = {.size = TREE_SIZE_MAX, .read = read_uniform, .arg = by_height};
	struct tree_added added;
	struct tree tree, before;
	struct tree_hash root;

	(void)state;
	assert_int_equal(tree_hash_leaf("", 0, &by_height[0]), E_OK);
	for (size_t i = 0; i < TREE_HEIGHT_MAX; i++)
		assert_int_equal(tree_hash_node(&by_height[i], &by_height[i], &by_height[i + 1]), E_OK);
	check_uniform(&source, 1, TREE_SIZE_MAX);
	check_uniform(&source, TREE_SIZE_MAX - 1, TREE_SIZE_MAX);
	check_uniform(&source, TREE_SIZE_MAX / 2, TREE_SIZE_MAX - 1);
	check_uniform(&source, TREE_SIZE_MAX / 2 + 1, TREE_SIZE_MAX - 1);
	check_uniform(&source, UINT64_C(0x15555555555555), UINT64_C(0x1aaaaaaaaaaaab));

	for (size_t i = 0; i < TREE_EDGE_MAX; i++)
		edge[i] = by_height[TREE_HEIGHT_MAX - 1 - i];
	assert_int_equal(tree_load(TREE_SIZE_MAX - 1, edge, TREE_EDGE_MAX, &tree), E_OK);
	assert_int_equal(tree_append(&tree, &by_height[0], &added), E_OK);
	assert_true(tree.size == TREE_SIZE_MAX);
	assert_int_equal(added.levels, TREE_TILE_LEVELS);
	for (unsigned i = 0; i < added.levels; i++)
		assert_true(tree_hash_equal(&added.hashes[i], &by_height[i * TILE_HEIGHT]));
	assert_int_equal(tree_root(&tree, &root), E_OK);
	assert_true(tree_hash_equal(&root, &by_height[TREE_HEIGHT_MAX]));
	before = tree;
	assert_int_equal(tree_append(&tree, &by_height[0], NULL), E_LIMIT);
	assert_memory_equal(&tree, &before, sizeof(tree));
	assert_int_equal(tree_load(TREE_SIZE_MAX + 1, edge, 2, &tree), E_INVAL);
	assert_int_equal(tree_load(7, edge, 2, &tree), E_INVAL);
	assert_int_equal(tree_load(7, edge, 4, &tree), E_INVAL);
	assert_int_equal(tree_load(0, NULL, 0, &tree), E_OK);
}

/* ---- reading tiles ---- */

static void a_tree_goes_on_from_its_tiles(void **state)
{
	struct grown g = {0}, half = {0};

	(void)state;
	grown_append_until(&g, 700);
	grown_append_until(&half, 300);
	for (uint64_t size = 0; size <= 300; size += 50) {
		struct proof_source source = grown_source(&half);
		struct tree_head head = grown_head(&g, 700);
		struct tree_hash root;
		struct tree tree;

		assert_int_equal(proof_make_tree(&source, size, &tree), E_OK);
		for (uint64_t i = size; i < 700; i++)
			assert_int_equal(tree_append(&tree, &g.levels[0].hashes[i], NULL), E_OK);
		assert_int_equal(tree_root(&tree, &root), E_OK);
		assert_true(tree_hash_equal(&root, &head.root));
	}
	grown_release(&g);
	grown_release(&half);
}

static enum err read_nothing(void *arg, const struct tile *tile, struct tree_hash *ret_hashes)
{
	(void)arg;
	(void)tile;
	(void)ret_hashes;
	return E_STORE;
}

static void tiles_are_read_seldom_and_their_errors_passed_on(void **state)
{
	struct grown g = {0};
	struct proof_source source;
	struct proof proof = {.len = 7};
	struct tree tree = {.size = 7};

	(void)state;
	grown_append_until(&g, 66000);
	source = grown_source(&g);
	assert_int_equal(proof_make_inclusion(&source, 12345, 65999, &proof), E_OK);
	assert_in_range(g.reads, 3, 6);
	source.read = read_nothing;
	proof.len = 7;
	assert_int_equal(proof_make_inclusion(&source, 5, 10, &proof), E_STORE);
	assert_int_equal(proof_make_consistency(&source, 5, 10, &proof), E_STORE);
	assert_int_equal(proof_make_tree(&source, 10, &tree), E_STORE);
	assert_int_equal(proof.len, 7);
	assert_true(tree.size == 7);
	grown_release(&g);
}

static void tiles_have_the_widths_of_the_specification(void **state)
{
	(void)state;
	assert_int_equal(tile_width(70000, 0, 272), 256);
	assert_int_equal(tile_width(70000, 0, 273), 112);
	assert_int_equal(tile_width(70000, 0, 274), 0);
	assert_int_equal(tile_width(70000, TILE_ENTRIES, 273), 112);
	assert_int_equal(tile_width(70000, 1, 0), 256);
	assert_int_equal(tile_width(70000, 1, 1), 17);
	assert_int_equal(tile_width(70000, 2, 0), 1);
	assert_int_equal(tile_width(70000, 3, 0), 0);
	assert_int_equal(tile_width(256, 0, 0), 256);
	assert_int_equal(tile_width(256, 0, 1), 0);
	assert_int_equal(tile_width(256, 1, 0), 1);
	assert_int_equal(tile_width(0, 0, 0), 0);
	assert_int_equal(tile_width(TREE_SIZE_MAX, 6, 0), 32);
	assert_int_equal(tile_width(TREE_SIZE_MAX, 0, UINT64_MAX), 0);
}

static void paths_of_tiles(void **state)
{
	static const struct {
		const char *path;
		struct tile tile;
	} paths[] = {
	    {"tile/0/000", {0, 0, 256}},
	    {"tile/0/x001/x234/067", {0, 1234067, 256}},
	    {"tile/entries/x001/x234/067.p/8", {TILE_ENTRIES, 1234067, 8}},
	    {"tile/1/999.p/255", {1, 999, 255}},
	    {"tile/6/000.p/32", {6, 0, 32}},
	    {"tile/2/x001/000.p/1", {2, 1000, 1}},
	    {"tile/0/x035/x184/x372/x088/831", {0, TREE_SIZE_MAX / 256 - 1, 256}},
	};
	/* F433 */
	static const char *const bad[] = {
	    "",
	    "tile",
	    "tile/",
	    "tile/0",
	    "tile/0/",
	    "tile/0/0",
	    "tile/0/00",
	    "tile/0/0000",
	    "tile/0/1234",
	    "tile/00/000",
	    "tile/7/000",
	    "tile/-1/000",
	    "tile/64/000",
	    "tile/x/000",
	    "tile/data/000",
	    "tile/0/x000/001",
	    "tile/0/001/002",
	    "tile/0/x001",
	    "tile/0/x001/",
	    "tile/0/x1/001",
	    "tile/0/x001/x002",
	    "tile/0/000.p/0",
	    "tile/0/000.p/256",
	    "tile/0/000.p/01",
	    "tile/0/000.p/",
	    "tile/0/000.p/1x",
	    "tile/0/000.p",
	    "tile/0/000/",
	    "tile/0/000.p/+1",
	    "tile/0/000.p/ 1",
	    "/tile/0/000",
	    "tile/0/000 ",
	    "tile/0/x035/x184/x372/x088/832",
	    "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
	    "tile/6/000",
	    "tile/6/000.p/33",
	    "tile/entries",
	    "tile/entries/",
	    "tile/entriesx/000",
	    "tile/0/x001/../000",
	};
	struct tile tile = {.number = 42};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		char path[TILE_PATH_SIZE];

		tile_path(&paths[i].tile, path);
		assert_string_equal(path, paths[i].path);
		assert_int_equal(tile_parse(path, &tile), E_OK);
		assert_int_equal(tile.level, paths[i].tile.level);
		assert_true(tile.number == paths[i].tile.number);
		assert_int_equal(tile.width, paths[i].tile.width);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (tile_parse(bad[i], &tile) != E_INVAL)
			fail_msg("'%s' is a path", bad[i]);
}

static void bundles_are_read_as_they_were_written(void **state)
{
	static uint8_t entry[TILE_ENTRY_MAX + 1];
	const size_t lengths[] = {0, 1, 255, 256, TILE_ENTRY_MAX};
	const uint8_t *found;
	size_t offset = 0, len;
	struct buf bundle;

	(void)state;
	memset(entry, 'e', sizeof(entry));
	buf_init(&bundle, 1 << 20);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(tile_entry_put(&bundle, entry, lengths[i]), E_OK);
	assert_int_equal(tile_entry_put(&bundle, entry, TILE_ENTRY_MAX + 1), E_LIMIT);
	for (size_t i = 0; i < 5; i++) {
		assert_true(tile_entry_next(bundle.data, bundle.len, &offset, &found, &len));
		assert_int_equal(len, lengths[i]);
		assert_memory_equal(found, entry, len);
	}
	assert_int_equal(offset, bundle.len);
	assert_false(tile_entry_next(bundle.data, bundle.len, &offset, &found, &len));
	/* F433: one whose end is missing */
	offset -= 2 + TILE_ENTRY_MAX;
	for (size_t end = offset; end < bundle.len; end += 4095)
		assert_false(tile_entry_next(bundle.data, end, &offset, &found, &len));
	buf_release(&bundle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_known_trees_and_proofs),
	    cmocka_unit_test(the_trees_are_those_of_go),
	    cmocka_unit_test(wrong_inclusion_is_refused),
	    cmocka_unit_test(wrong_consistency_is_refused),
	    cmocka_unit_test(a_path_has_the_length_of_its_tree),
	    cmocka_unit_test(what_has_no_proof_gets_none),
	    cmocka_unit_test(the_largest_trees),
	    cmocka_unit_test(a_tree_goes_on_from_its_tiles),
	    cmocka_unit_test(tiles_are_read_seldom_and_their_errors_passed_on),
	    cmocka_unit_test(tiles_have_the_widths_of_the_specification),
	    cmocka_unit_test(paths_of_tiles),
	    cmocka_unit_test(bundles_are_read_as_they_were_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
