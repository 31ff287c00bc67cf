/* SPDX-License-Identifier: Apache-2.0 */
/* A log in memory, with its tiles, and keys that sign notes.  Whatever fails ends the program. */
#ifndef CSRD_TESTS_UNIT_TLOG_FIXTURE_H
#define CSRD_TESTS_UNIT_TLOG_FIXTURE_H

#include "tlog/note.h"
#include "tlog/proof_make.h"
#include "tlog/tree.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

struct grown_level {
	struct tree_hash *hashes;
	size_t len;
	size_t capacity;
};

/* All zeros: a log without entries. */
struct grown {
	struct tree tree;
	struct grown_level levels[TREE_TILE_LEVELS];
	size_t reads; /* of tiles */
};

void grown_append(struct grown *g, const void *entry, size_t len);
/* Entries "entry 0", "entry 1", … until there are `size`. */
void grown_append_until(struct grown *g, uint64_t size);
void grown_release(struct grown *g);

/* What it has in its tiles, for proof_make.h. */
struct proof_source grown_source(struct grown *g);

/* Of the first `size` entries. */
struct tree_head grown_head(struct grown *g, uint64_t size);

struct note_pair {
	EVP_PKEY *private_key;
	struct note_key key;
	struct note_signer signer; /* points into this struct */
};

/* Ed25519: of the seed; ECDSA: a fresh one. */
void note_pair_make(struct note_pair *p, const char *name, enum note_algorithm algorithm,
		    const uint8_t seed[32]);
void note_pair_release(struct note_pair *p);

#endif
