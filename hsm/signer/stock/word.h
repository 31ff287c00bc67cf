/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's word on the token about its ready keys: a data object labelled
 * "csrd-stock:<node>".  It says how often blocks were opened, how far the
 * journal had got, and which keys were closed then.  What is closed by the word
 * that stands on the token has been used for nothing, whatever happened to the
 * host since: a restored folder or machine cannot change that.
 */
#ifndef CSRD_HSM_SIGNER_STOCK_WORD_H
#define CSRD_HSM_SIGNER_STOCK_WORD_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/key_name.h"
#include "base/node.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORD_RUN_BYTES 16
#define WORD_LEAF_BYTES 32
#define WORD_NAMES_MAX 4096 /* more closed keys than that are not listed */
#define WORD_LABEL_PREFIX "csrd-stock:"
#define WORD_LABEL_SIZE (sizeof(WORD_LABEL_PREFIX) + NODE_NAME_MAX)

struct word {
	char node[NODE_NAME_MAX + 1];
	uint8_t run[WORD_RUN_BYTES]; /* random: of the process that wrote it */
	uint64_t serial;             /* of what that process wrote */
	uint64_t opens;
	uint64_t entries;                 /* of the journal */
	uint8_t leaf[WORD_LEAF_BYTES];    /* hash of the last of them; zeros for none */
	uint8_t (*names)[KEY_NAME_BYTES]; /* closed keys, sorted; owned */
	size_t names_len;
};
void word_release(struct word *word); /* leaves it zeroed */

/* Whether both are the same writing. */
bool word_is_same(const struct word *a, const struct word *b);
/* Whether the key of that name was closed. */
bool word_has(const struct word *word, const char *name);
/* Sorts the names. */
void word_sort(struct word *word);

void word_encode(struct buf *b, const struct word *word);
/* E_PROTO: it is none, or of another version; E_NOMEM. */
MUST_USE enum err word_decode(const uint8_t *data, size_t len, struct word *ret_word);

/* ---- on the token ---- */

/* A word, and the object that it is in. */
struct word_object {
	struct word word;
	CK_OBJECT_HANDLE object;
};

struct word_list {
	struct word_object *at;
	size_t len;
	size_t unread; /* objects of ours that would not say what is in them: perhaps words */
};
/* All words on the token, of all nodes.  As object_search. */
MUST_USE enum err word_read_all(struct session *s, struct word_list *ret_words);
void word_list_release(struct word_list *words); /* leaves it zeroed */

/* One; E_NOTFOUND: there is no word in that object, or no such object.  As session_fail, E_NOMEM. */
MUST_USE enum err word_read(struct session *s, CK_OBJECT_HANDLE object, struct word *ret_word);

/*
 * Makes a new object; one of fewer names, or none, where the token keeps no larger one.  As
 * data_object_make.
 */
MUST_USE enum err word_make(struct session *s, struct word *word, CK_OBJECT_HANDLE *ret_object);

#endif
