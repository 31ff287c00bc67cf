/* SPDX-License-Identifier: Apache-2.0 */
/* Words in bytes, and on the token. */
#include "hsm/signer/stock/word.h"

#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/data_object.h"
#include "hsm/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_VERSION 1
#define FEW_NAMES 64 /* that fit the data objects of small devices */

static const char magic[] = "csrd-stock";

void word_release(struct word *word)
{
	free(word->names);
	memset(word, 0, sizeof(*word));
}

bool word_is_same(const struct word *a, const struct word *b)
{
	return a->serial == b->serial && memcmp(a->run, b->run, sizeof(a->run)) == 0;
}

static int word_compare(const void *a, const void *b)
{
	return memcmp(a, b, KEY_NAME_BYTES);
}

void word_sort(struct word *word)
{
	if (word->names_len)
		qsort(word->names, word->names_len, sizeof(word->names[0]), word_compare);
}

bool word_has(const struct word *word, const char *name)
{
	uint8_t bytes[KEY_NAME_BYTES];

	return word->names_len && key_name_parse(name, bytes) &&
	       bsearch(bytes, word->names, word->names_len, sizeof(word->names[0]), word_compare);
}

void word_encode(struct buf *b, const struct word *word)
{
	buf_put(b, magic, sizeof(magic) - 1);
	wire_put_u8(b, WORD_VERSION);
	wire_put_text(b, word->node);
	buf_put(b, word->run, sizeof(word->run));
	wire_put_u64(b, word->serial);
	wire_put_u64(b, word->opens);
	wire_put_u64(b, word->entries);
	buf_put(b, word->leaf, sizeof(word->leaf));
	wire_put_u32(b, (uint32_t)word->names_len);
	for (size_t i = 0; i < word->names_len; i++)
		buf_put(b, word->names[i], sizeof(word->names[i]));
}

static enum err decode_names(struct wire_reader *r, struct word *word)
{
	word->names_len = wire_get_u32(r);
	if (word->names_len > WORD_NAMES_MAX || word->names_len * KEY_NAME_BYTES > r->left)
		return E_PROTO;
	word->names = calloc(word->names_len + 1, sizeof(word->names[0]));
	if (!word->names)
		return E_NOMEM;
	for (size_t i = 0; i < word->names_len; i++)
		wire_get_raw(r, word->names[i], sizeof(word->names[i]));
	return E_OK;
}

enum err word_decode(const uint8_t *data, size_t len, struct word *ret_word)
{
	struct word word = {0};
	uint8_t start[sizeof(magic) - 1] = {0};
	struct wire_reader r;
	char *node;
	enum err e = E_PROTO;

	wire_reader_init(&r, data, len);
	wire_get_raw(&r, start, sizeof(start));
	if (memcmp(start, magic, sizeof(start)) != 0 || wire_get_u8(&r) != WORD_VERSION)
		return E_PROTO;
	node = wire_get_text(&r, NODE_NAME_MAX);
	if (node)
		snprintf(word.node, sizeof(word.node), "%s", node);
	free(node);
	wire_get_raw(&r, word.run, sizeof(word.run));
	word.serial = wire_get_u64(&r);
	word.opens = wire_get_u64(&r);
	word.entries = wire_get_u64(&r);
	wire_get_raw(&r, word.leaf, sizeof(word.leaf));
	e = decode_names(&r, &word);
	if (e == E_OK)
		e = wire_reader_finish(&r);
	if (e != E_OK) {
		word_release(&word);
		return e;
	}
	word_sort(&word);
	*ret_word = word;
	return E_OK;
}

/* ---- on the token ---- */

enum err word_read(struct session *s, CK_OBJECT_HANDLE object, struct word *ret_word)
{
	struct buf value;
	enum err e;

	buf_init(&value, DATA_OBJECT_BYTES_MAX);
	e = data_object_read(s, object, &value);
	if (e == E_OK) {
		e = word_decode(value.data, value.len, ret_word);
		e = e == E_PROTO ? E_NOTFOUND : e;
	} else if (e != E_NOMEM && ckr_is_object_gone(s->last)) {
		e = E_NOTFOUND;
	}
	buf_release(&value);
	return e;
}

void word_list_release(struct word_list *words)
{
	for (size_t i = 0; i < words->len; i++)
		word_release(&words->at[i].word);
	free(words->at);
	memset(words, 0, sizeof(*words));
}

/* What is about this object alone is no reason to do without the others. */
static enum err word_read_into(struct session *s, CK_OBJECT_HANDLE object, struct word_list *words)
{
	const bool trouble = s->trouble;
	enum err e =
	    session_must_stop(s) ? session_break_off(s) : word_read(s, object, &words->at[words->len].word);

	if (e == E_OK) {
		words->at[words->len++].object = object;
		return E_OK;
	}
	if (e == E_NOMEM || session_must_stop(s) || ckr_is_session_lost(s->last) ||
	    ckr_is_device_lost(s->last))
		return e;
	s->trouble = trouble;
	words->unread += e != E_NOTFOUND; /* else it is something else of ours, or has just gone */
	return E_OK;
}

enum err word_read_all(struct session *s, struct word_list *ret_words)
{
	struct object_handles objects = {0};
	struct word_list words = {0};
	enum err e = data_object_search(s, &objects);

	if (e != E_OK)
		return e;
	words.at = calloc(objects.len + 1, sizeof(*words.at));
	if (!words.at)
		e = E_NOMEM;
	for (size_t i = 0; i < objects.len && e == E_OK; i++)
		e = word_read_into(s, objects.at[i], &words);
	free(objects.at);
	if (e == E_OK)
		*ret_words = words;
	else
		word_list_release(&words);
	return e;
}

static enum err word_make_once(struct session *s, const struct word *word, CK_OBJECT_HANDLE *ret_object)
{
	char label[WORD_LABEL_SIZE];
	struct buf value;
	enum err e;

	snprintf(label, sizeof(label), "%s%s", WORD_LABEL_PREFIX, word->node);
	buf_init(&value, DATA_OBJECT_BYTES_MAX);
	word_encode(&value, word);
	e = buf_status(&value);
	if (e == E_OK)
		e = data_object_make(s, label, &value, s->token->data == TOKEN_DATA_FIXED, ret_object);
	buf_release(&value);
	return e;
}

enum err word_make(struct session *s, struct word *word, CK_OBJECT_HANDLE *ret_object)
{
	enum err e = word_make_once(s, word, ret_object);

	while (e != E_OK && word->names_len && (ckr_is_refusal(s->last) || s->last == CKR_DEVICE_MEMORY)) {
		word->names_len = word->names_len > FEW_NAMES ? FEW_NAMES : 0;
		e = word_make_once(s, word, ret_object);
	}
	return e;
}
