/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table that never grows its index, over pages that never move. */
#include "api/key_list.h"

#include "base/str.h"
#include "base/uuid.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_KEYS 512
#define HEADS 65536 /* chains of 16 when it is full */
#define NONE UINT32_MAX

_Static_assert(UUID_BYTES == KEY_NAME_BYTES, "one form for both kinds of labels");

struct key_list_page {
	struct key_list_key keys[PAGE_KEYS];
};

void key_list_release(struct key_list *l)
{
	for (size_t i = 0; i * PAGE_KEYS < l->keys_len; i++)
		free(l->pages[i]);
	free(l->pages);
	free(l->heads);
	memset(l, 0, sizeof(*l));
}

/* Of either kind, in its exact form. */
static bool key_list_parse(const char *label, struct key_list_key *ret_key)
{
	memset(ret_key, 0, sizeof(*ret_key));
	ret_key->is_named = key_name_parse(label, ret_key->bytes);
	return ret_key->is_named || (str_starts_with(label, KEY_LABEL_PREFIX_0_1) &&
				     uuid_to_bytes(label + sizeof(KEY_LABEL_PREFIX_0_1) - 1, ret_key->bytes));
}

/* FNV-1a; who can put keys on the token has better ways to be in the way than long chains. */
static size_t key_list_hash(const struct key_list_key *key)
{
	uint32_t hash = UINT32_C(0x811c9dc5);

	for (size_t i = 0; i < sizeof(key->bytes); i++)
		hash = (hash ^ key->bytes[i]) * UINT32_C(0x01000193);
	return (hash ^ hash >> 16) % HEADS;
}

static struct key_list_key *key_list_look(const struct key_list *l, const struct key_list_key *like)
{
	if (!l->heads)
		return NULL;
	for (uint32_t i = l->heads[key_list_hash(like)]; i != NONE;) {
		struct key_list_key *key = key_list_at(l, i);

		if (key->is_named == like->is_named && !memcmp(key->bytes, like->bytes, sizeof(key->bytes)))
			return key;
		i = key->next;
	}
	return NULL;
}

/* Room for one more. */
static enum err key_list_grow(struct key_list *l)
{
	size_t pages_len = l->keys_len / PAGE_KEYS;

	if (!l->heads) {
		l->heads = malloc(HEADS * sizeof(*l->heads));
		if (!l->heads)
			return E_NOMEM;
		memset(l->heads, 0xff, HEADS * sizeof(*l->heads));
	}
	if (l->keys_len % PAGE_KEYS != 0)
		return E_OK;
	if (pages_len == l->pages_capacity) {
		size_t capacity = l->pages_capacity ? 2 * l->pages_capacity : 16;
		struct key_list_page **pages =
		    reallocarray(l->pages, capacity, sizeof(struct key_list_page *));

		if (!pages)
			return E_NOMEM;
		l->pages = pages;
		l->pages_capacity = capacity;
	}
	l->pages[pages_len] = malloc(sizeof(struct key_list_page));
	return l->pages[pages_len] ? E_OK : E_NOMEM;
}

enum err key_list_add(struct key_list *l, const char *label, const struct key_list_key *like)
{
	struct key_list_key new, *there;
	enum err e;
	size_t hash;

	if (!key_list_parse(label, &new))
		return E_INVAL;
	there = key_list_look(l, &new);
	if (there) {
		there->presence = MESSAGE_KEY_AMBIGUOUS;
		return E_OK;
	}
	if (l->keys_len == KEY_LIST_MAX)
		return E_LIMIT;
	e = key_list_grow(l);
	if (e != E_OK)
		return e;
	memcpy(new.key_id, like->key_id, sizeof(new.key_id));
	new.presence = like->presence;
	new.life = like->life;
	hash = key_list_hash(&new);
	new.next = l->heads[hash];
	l->heads[hash] = (uint32_t)l->keys_len;
	*key_list_at(l, l->keys_len++) = new;
	return E_OK;
}

struct key_list_key *key_list_find(const struct key_list *l, const char *label)
{
	struct key_list_key like;

	return key_list_parse(label, &like) ? key_list_look(l, &like) : NULL;
}

struct key_list_key *key_list_at(const struct key_list *l, size_t i)
{
	return &l->pages[i / PAGE_KEYS]->keys[i % PAGE_KEYS];
}

void key_list_format_label(const struct key_list_key *key, char label[KEY_LABEL_SIZE])
{
	char id[UUID_SIZE];

	if (key->is_named) {
		key_name_format(label, key->bytes);
		return;
	}
	uuid_format(id, key->bytes);
	key_label_of_csr(label, id);
}
