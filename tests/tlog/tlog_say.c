/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says what tlog/ computes, for tests/tlog/tlog_check.go and other verifiers.
 *
 *   tlog_say proofs UNTIL LAST COUNT   roots and proofs of every size up to UNTIL, and COUNT of random
 *                                      sizes up to LAST
 *   tlog_say log DIR SIZE ORIGIN       a log of SIZE entries in a folder: tiles, bundles, checkpoint, proofs,
 *                                      with a fresh key, whose vkey is in DIR/vkey
 *   tlog_say verify VKEY               exit status 0: standard input is a note that this key signed
 */
#include "base/buf.h"
#include "base/str.h"
#include "tests/unit/tlog_fixture.h"
#include "tlog/checkpoint.h"
#include "tlog/log_entry.h"
#include "tlog/note.h"
#include "tlog/proof_make.h"
#include "tlog/tile.h"
#include "tlog/tlog_proof.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BYTES_MAX (64 << 20)

static void must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "tlog_say: %s failed\n", what);
	exit(1);
}

static uint64_t number_of(const char *text)
{
	uint64_t number;

	must(str_parse_u64(text, TREE_SIZE_MAX, &number) == E_OK, text);
	return number;
}

static void say_hash(const struct tree_hash *hash)
{
	char text[2 * TREE_HASH_BYTES + 1];

	str_hex(text, hash->bytes, sizeof(hash->bytes));
	printf(" %s", text);
}

static void say_proof(const char *kind, uint64_t a, uint64_t size, const struct proof *proof)
{
	printf("%s %" PRIu64 " %" PRIu64, kind, a, size);
	for (size_t i = 0; i < proof->len; i++)
		say_hash(&proof->hashes[i]);
	putchar('\n');
}

/* Both kinds, checked here before they are said. */
static void say_proofs(struct grown *g, uint64_t index, uint64_t size)
{
	struct proof_source source = grown_source(g);
	struct tree_head old, head = grown_head(g, size);
	struct proof proof;

	must(proof_make_inclusion(&source, index, size, &proof) == E_OK, "proof_make_inclusion");
	must(proof_check_inclusion(&proof, index, &g->levels[0].hashes[index], &head) == E_OK,
	     "proof_check_inclusion");
	say_proof("inclusion", index, size, &proof);
	old = grown_head(g, index + 1);
	must(proof_make_consistency(&source, index + 1, size, &proof) == E_OK, "proof_make_consistency");
	must(proof_check_consistency(&proof, &old, &head) == E_OK, "proof_check_consistency");
	say_proof("consistency", index + 1, size, &proof);
}

static void say_root(struct grown *g, uint64_t size)
{
	struct tree_head head = grown_head(g, size);

	printf("root 0 %" PRIu64, size);
	say_hash(&head.root);
	putchar('\n');
}

static void say_all(uint64_t until, uint64_t last, uint64_t count)
{
	struct grown g = {0};
	uint64_t random = 1;

	grown_append_until(&g, until);
	for (uint64_t size = 1; size <= until; size++) {
		say_root(&g, size);
		for (uint64_t index = 0; index < size; index += 1 + size / 64 * 7)
			say_proofs(&g, index, size);
	}
	grown_append_until(&g, last);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t size, index;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		size = (random >> 33) % last + 1;
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		index = (random >> 33) % size;
		say_root(&g, size);
		say_proofs(&g, index, size);
	}
	grown_release(&g);
}

static void write_file(const char *dir, const char *name, const void *bytes, size_t len)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		must(mkdir(path, 0777) == 0 || errno == EEXIST, path);
		*slash = '/';
	}
	file = fopen(path, "wb");
	must(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0, path);
}

static void write_text(const char *dir, const char *name, const struct buf *b)
{
	must(buf_status(b) == E_OK, name);
	write_file(dir, name, b->data, b->len);
}

/* As csrd's entries are. */
static void put_entry(uint64_t index, struct buf *b)
{
	struct tree_hash hash;
	struct log_entry entry = {.action = "csr.created",
				  .outcome = "ok",
				  .object = "0b2f6c1e-0000-4000-8000-000000000000",
				  .node = "a",
				  .node_sequence = index,
				  .index = index,
				  .at_us = 1795773600000000 + (int64_t)index,
				  .spki = &hash,
				  .statement = &hash};

	must(tree_hash_leaf(&index, sizeof(index), &hash) == E_OK, "tree_hash_leaf");
	entry.private_hash = hash;
	must(log_entry_put(&entry, b) == E_OK, "log_entry_put");
}

static void write_tiles(const char *dir, const struct grown *g)
{
	char path[TILE_PATH_SIZE];

	for (int level = 0; level < TREE_TILE_LEVELS; level++) {
		struct tile tile = {.level = level};

		for (; (tile.width = tile_width(g->tree.size, level, tile.number)) > 0; tile.number++) {
			tile_path(&tile, path);
			write_file(dir, path, g->levels[level].hashes + tile.number * TILE_WIDTH,
				   tile.width * sizeof(struct tree_hash));
		}
	}
}

static void write_bundles(const char *dir, struct grown *g, uint64_t size)
{
	struct tile tile = {.level = TILE_ENTRIES};
	char path[TILE_PATH_SIZE];

	for (; (tile.width = tile_width(size, TILE_ENTRIES, tile.number)) > 0; tile.number++) {
		struct buf bundle;

		buf_init(&bundle, BYTES_MAX);
		for (unsigned i = 0; i < tile.width; i++) {
			struct buf entry;

			buf_init(&entry, LOG_ENTRY_BYTES_MAX);
			put_entry(tile.number * TILE_WIDTH + i, &entry);
			grown_append(g, entry.data, entry.len);
			must(tile_entry_put(&bundle, entry.data, entry.len) == E_OK, "tile_entry_put");
			buf_release(&entry);
		}
		tile_path(&tile, path);
		write_text(dir, path, &bundle);
		buf_release(&bundle);
	}
}

static void put_checkpoint(struct grown *g, uint64_t size, const struct note_pair *pair, struct buf *note)
{
	struct tree_head head = grown_head(g, size);
	struct buf text;

	buf_init(&text, 4096);
	must(checkpoint_put(pair->key.name, &head, &text) == E_OK, "checkpoint_put");
	must(note_sign(buf_text(&text), &pair->signer, 1, note) == E_OK, "note_sign");
	buf_release(&text);
}

/* The proofs of the first, the last and the middle entry. */
static void write_proofs(const char *dir, struct grown *g, const struct note_pair *pair)
{
	uint64_t size = g->tree.size, indexes[] = {0, size / 2, size - 1};
	struct proof_source source = grown_source(g);

	for (size_t i = 0; i < 3; i++) {
		struct tlog_proof proof = {.index = indexes[i]};
		struct buf entry, note, text;
		char name[64];

		buf_init(&entry, LOG_ENTRY_BYTES_MAX);
		buf_init(&note, NOTE_BYTES_MAX);
		buf_init(&text, NOTE_BYTES_MAX);
		put_entry(indexes[i], &entry);
		put_checkpoint(g, size, pair, &note);
		proof.extra = entry.data;
		proof.extra_len = entry.len;
		proof.checkpoint = note.data;
		proof.checkpoint_len = note.len;
		must(proof_make_inclusion(&source, indexes[i], size, &proof.inclusion) == E_OK,
		     "proof_make_inclusion");
		must(tlog_proof_put(&proof, &text) == E_OK, "tlog_proof_put");
		snprintf(name, sizeof(name), "proofs/%" PRIu64 ".tlog-proof", indexes[i]);
		write_text(dir, name, &text);
		buf_release(&entry);
		buf_release(&note);
		buf_release(&text);
	}
}

/* For a witness that has seen half of it (C2SP tlog-witness): old size, proof and checkpoint. */
static void write_witness_requests(const char *dir, struct grown *g, const struct note_pair *pair)
{
	uint64_t sizes[] = {0, g->tree.size / 2, g->tree.size};
	struct proof_source source = grown_source(g);

	for (size_t i = 1; i < 3; i++) {
		struct proof proof;
		struct buf request;
		char name[64];

		buf_init(&request, NOTE_BYTES_MAX);
		must(proof_make_consistency(&source, sizes[i - 1], sizes[i], &proof) == E_OK,
		     "proof_make_consistency");
		buf_printf(&request, "old %" PRIu64 "\n", sizes[i - 1]);
		for (size_t j = 0; j < proof.len; j++) {
			char base64[64];

			EVP_EncodeBlock((unsigned char *)base64, proof.hashes[j].bytes, TREE_HASH_BYTES);
			buf_printf(&request, "%s\n", base64);
		}
		buf_put_str(&request, "\n");
		put_checkpoint(g, sizes[i], pair, &request);
		snprintf(name, sizeof(name), "witness/%zu", i);
		write_text(dir, name, &request);
		buf_release(&request);
	}
}

static void write_key(const char *dir, const struct note_pair *pair)
{
	char *pem;
	struct buf vkey;
	BIO *bio = BIO_new(BIO_s_mem());
	long len;

	buf_init(&vkey, 4096);
	note_key_put(&pair->key, &vkey);
	write_text(dir, "vkey", &vkey);
	buf_release(&vkey);
	must(bio && PEM_write_bio_PUBKEY(bio, pair->private_key) == 1, "PEM_write_bio_PUBKEY");
	len = BIO_get_mem_data(bio, &pem);
	write_file(dir, "public.pem", pem, (size_t)len);
	BIO_free(bio);
}

static void make_log(const char *dir, uint64_t size, const char *origin)
{
	struct grown g = {0};
	struct note_pair pair;
	struct buf note;

	must(size > 0, "a log with entries");
	note_pair_make(&pair, origin, NOTE_ECDSA, NULL);
	write_bundles(dir, &g, size);
	write_tiles(dir, &g);
	buf_init(&note, NOTE_BYTES_MAX);
	put_checkpoint(&g, size, &pair, &note);
	write_text(dir, "checkpoint", &note);
	buf_release(&note);
	write_proofs(dir, &g, &pair);
	write_witness_requests(dir, &g, &pair);
	write_key(dir, &pair);
	note_pair_release(&pair);
	grown_release(&g);
}

static int verify_note(const char *vkey)
{
	static char bytes[NOTE_BYTES_MAX + 1];
	size_t len = fread(bytes, 1, sizeof(bytes), stdin);
	struct note_key key;
	struct note note;
	enum err e;

	if ((e = note_key_parse(vkey, &key)) != E_OK || (e = note_parse(bytes, len, &note)) != E_OK ||
	    (e = note_verify(&note, &key)) != E_OK) {
		fprintf(stderr, "tlog_say: %s\n", err_str(e));
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "proofs") == 0)
		say_all(number_of(argv[2]), number_of(argv[3]), number_of(argv[4]));
	else if (argc == 5 && strcmp(argv[1], "log") == 0)
		make_log(argv[2], number_of(argv[3]), argv[4]);
	else if (argc == 3 && strcmp(argv[1], "verify") == 0)
		return verify_note(argv[2]);
	else
		return 2;
	return fflush(stdout) == 0 ? 0 : 1;
}
