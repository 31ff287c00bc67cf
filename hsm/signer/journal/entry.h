/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of the journal: a flat JSON object in the form of RFC 8785 (keys
 * sorted, no blanks), at most ENTRY_BYTES_MAX long.  doc/journal.md lists the
 * actions and their fields.  There is exactly one text for an entry, and the
 * reader takes no other.
 *
 * Pure: knows no file.  Private to hsm/signer/journal/.
 */
#ifndef CSRD_HSM_SIGNER_JOURNAL_ENTRY_H
#define CSRD_HSM_SIGNER_JOURNAL_ENTRY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/key.h"
#include "base/key_name.h"
#include "base/uuid.h"
#include "hsm/signer/journal/journal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRY_BYTES_MAX 4096

enum entry_action {
	ENTRY_BOUND,
	ENTRY_DESTROYED,
	ENTRY_KEPT,
	ENTRY_LOGIN,
	ENTRY_MADE,
	ENTRY_OPEN,
	ENTRY_PROBE,
	ENTRY_REFUSE,
	ENTRY_RESERVE,
	ENTRY_START,
	ENTRY_STOP,
	ENTRY_USED,
};

/* Which of the members count is up to the action.  Texts are borrowed; of a read entry they point into
 * `memory`. */
struct journal_entry { /* <search.h> has a struct entry */
	enum entry_action action;
	int64_t at_us; /* the wall clock */
	const char *node;
	uint64_t index;
	uint8_t prev[JOURNAL_HASH_BYTES]; /* the leaf hash of the entry before; zeros for the first */

	const char *name; /* of a key; of a refusal whatever was named */
	char names[JOURNAL_NAMES_MAX][KEY_NAME_SIZE];
	size_t names_len;
	enum key_type type;
	uint8_t id[JOURNAL_ID_MAX];
	size_t id_len;
	uint8_t spki[JOURNAL_HASH_BYTES];
	uint8_t digest[JOURNAL_HASH_BYTES];
	uint8_t tbs[JOURNAL_HASH_BYTES];
	const char *csr;
	const char *attributes;
	const char *module;
	const char *outcome;
	const char *serial;
	const char *text;
	const char *version;
	const char *why;
	uint64_t objects;
	uint64_t opens;
	bool clean;
	bool leads; /* made: the entry behind it, of the same name, is used; it is not written */

	char memory[ENTRY_BYTES_MAX];
};

/*
 * The text of an entry but for its place: index and prev, which are known only
 * when it is its turn to be written.
 */
struct entry_draft {
	struct buf text; /* release it */
	size_t index_at; /* where the index belongs */
	size_t prev_at;  /* and, behind it, prev */
};
void entry_draft_init(struct entry_draft *d);
void entry_draft_release(struct entry_draft *d);

/* index and prev do not count.  E_INVAL: a text is not UTF-8, or a value is none; E_LIMIT: too long; E_NOMEM.
 */
MUST_USE enum err entry_draft_write(const struct journal_entry *entry, struct entry_draft *d);

/* Appends the whole text.  E_LIMIT, E_NOMEM. */
MUST_USE enum err entry_complete(const struct entry_draft *d, uint64_t index,
				 const uint8_t prev[JOURNAL_HASH_BYTES], struct buf *out);

/* E_PROTO: it is none of this version, or not the one text of it; E_NOMEM. */
MUST_USE enum err entry_read(const uint8_t *text, size_t len, struct journal_entry *ret_entry);

/* Is this the beginning of an entry that ends too soon, or nothing at all? */
bool entry_is_cut_short(const uint8_t *text, size_t len);

/* SHA-256 of a zero byte and the text: a leaf of RFC 9162 §2.1.1.  len ≤ ENTRY_BYTES_MAX.  E_NOMEM. */
MUST_USE enum err entry_leaf_hash(const uint8_t *text, size_t len, uint8_t ret_hash[JOURNAL_HASH_BYTES]);

#endif
