/* SPDX-License-Identifier: Apache-2.0 */
/* What callers append, each as an entry; and what they ask about names. */
#include "hsm/signer/journal/journal.h"

#include "base/clock.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "hsm/signer/journal/journal_private.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_WAIT_MS 1000 /* for another thread that tries whether the disk takes anything again */

_Static_assert(JOURNAL_END_MAX <= APPEND_MAX * JOURNAL_NAMES_MAX, "as many entries as are appended together");

/* What others say, a module too, as an entry takes it: UTF-8, and not too long. */
#define SAID_MAX 512
static const char *journal_said(const char *text, char memory[SAID_MAX])
{
	size_t len = strlen(text), from = 0, at = 0, used = 0;
	uint32_t code_point;

	while (at < len) {
		bool good = utf8_next(text, len, &at, &code_point);

		if (!good)
			at++;
		if (used + (at - from) >= SAID_MAX)
			break;
		if (good)
			memcpy(memory + used, text + from, at - from);
		else
			memory[used] = '?';
		used += good ? at - from : 1;
		from = at;
	}
	memory[used] = '\0';
	return memory;
}

/* ---- the life of a name ---- */

enum err journal_reserve(struct journal *j, enum key_type type, size_t count,
			 char (*ret_names)[KEY_NAME_SIZE], uint64_t *ret_index)
{
	struct journal_entry entry = {.action = ENTRY_RESERVE, .type = type, .names_len = count};
	enum err e = count >= 1 && count <= JOURNAL_NAMES_MAX ? E_OK : E_LIMIT;

	for (size_t i = 0; i < count && e == E_OK; i++)
		e = key_name_new(j->node, entry.names[i]);
	if (e == E_OK)
		e = journal_append(j, &entry, ret_index);
	if (e == E_OK)
		memcpy(ret_names, entry.names, count * sizeof(entry.names[0]));
	return e;
}

static enum err journal_fill_made(const struct journal_made *made, struct journal_entry *entry)
{
	*entry = (struct journal_entry){
	    .action = ENTRY_MADE, .name = made->name, .type = made->type, .attributes = made->attributes};
	if (made->id_len > sizeof(entry->id))
		return E_LIMIT;
	memcpy(entry->id, made->id, made->id_len);
	entry->id_len = made->id_len;
	memcpy(entry->spki, made->spki, sizeof(entry->spki));
	return E_OK;
}

static void journal_fill_used(const struct journal_used *used, struct journal_entry *entry)
{
	*entry = (struct journal_entry){.action = ENTRY_USED, .name = used->name, .csr = used->csr};
	memcpy(entry->digest, used->digest, sizeof(entry->digest));
	memcpy(entry->tbs, used->tbs, sizeof(entry->tbs));
}

enum err journal_made(struct journal *j, const struct journal_made *made, uint64_t *ret_index)
{
	struct journal_entry entry;
	enum err e = journal_fill_made(made, &entry);

	return e == E_OK ? journal_append(j, &entry, ret_index) : e;
}

enum err journal_used(struct journal *j, const struct journal_used *used, uint64_t *ret_index)
{
	struct journal_entry entry;

	journal_fill_used(used, &entry);
	return journal_append(j, &entry, ret_index);
}

enum err journal_made_and_used(struct journal *j, const struct journal_made *made,
			       const struct journal_used *used, uint64_t *ret_index)
{
	struct journal_entry first, second;
	enum err e = journal_fill_made(made, &first);

	if (e != E_OK)
		return e;
	journal_fill_used(used, &second);
	return journal_append_both(j, &first, &second, ret_index);
}

enum err journal_opened(struct journal *j, uint64_t opens, const char *const *names, size_t count,
			uint64_t *ret_index)
{
	struct journal_entry entry = {.action = ENTRY_OPEN, .opens = opens, .names_len = count};

	if (count > JOURNAL_NAMES_MAX)
		return E_LIMIT;
	for (size_t i = 0; i < count; i++)
		if (str_copy(entry.names[i], sizeof(entry.names[i]), names[i]) != E_OK)
			return E_NOTFOUND;
	return journal_append(j, &entry, ret_index);
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* E_INVAL: it stands there twice.  Their order is lost. */
static enum err journal_check_double(const char **names, size_t count)
{
	qsort(names, count, sizeof(*names), name_compare);
	for (size_t i = 1; i < count; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			return E_INVAL;
	return E_OK;
}

static enum err journal_end_names(struct journal *j, enum entry_action action, const char *const *names,
				  size_t count, uint64_t *ret_index)
{
	const char *sorted[JOURNAL_END_MAX];
	struct journal_entry *entries;
	size_t len = 0;
	enum err e;

	if (count < 1 || count > JOURNAL_END_MAX)
		return E_LIMIT;
	memcpy(sorted, names, count * sizeof(*names));
	if ((e = journal_check_double(sorted, count)) != E_OK)
		return e;
	entries = calloc(APPEND_MAX, sizeof(*entries));
	if (!entries)
		return E_NOMEM;
	for (size_t i = 0; i < count && e == E_OK; i++) {
		struct journal_entry *entry = &entries[i / JOURNAL_NAMES_MAX];

		entry->action = action;
		len = i / JOURNAL_NAMES_MAX + 1;
		if (str_copy(entry->names[entry->names_len++], KEY_NAME_SIZE, names[i]) != E_OK)
			e = E_NOTFOUND;
	}
	if (e == E_OK)
		e = journal_append_all(j, entries, len, ret_index);
	free(entries);
	return e;
}

enum err journal_bound(struct journal *j, const char *const *names, size_t count, uint64_t *ret_index)
{
	return journal_end_names(j, ENTRY_BOUND, names, count, ret_index);
}

enum err journal_kept(struct journal *j, const char *const *names, size_t count, uint64_t *ret_index)
{
	return journal_end_names(j, ENTRY_KEPT, names, count, ret_index);
}

enum err journal_destroyed(struct journal *j, const char *name, uint64_t objects, const char *why,
			   uint64_t *ret_index)
{
	char said[SAID_MAX];
	struct journal_entry entry = {
	    .action = ENTRY_DESTROYED, .name = name, .objects = objects, .why = journal_said(why, said)};

	return journal_append(j, &entry, ret_index);
}

/* ---- what is only told ---- */

enum err journal_refuse(struct journal *j, const char *name, const char *why, uint64_t *ret_index)
{
	char said[SAID_MAX];
	struct journal_entry entry = {.action = ENTRY_REFUSE, .name = name, .why = journal_said(why, said)};

	return journal_append(j, &entry, ret_index);
}

enum err journal_probe(struct journal *j, const char *text, uint64_t *ret_index)
{
	struct journal_entry entry = {.action = ENTRY_PROBE, .text = text};

	return journal_append(j, &entry, ret_index);
}

enum err journal_login(struct journal *j, const char *outcome, uint64_t *ret_index)
{
	struct journal_entry entry = {.action = ENTRY_LOGIN, .outcome = outcome};

	return journal_append(j, &entry, ret_index);
}

enum err journal_start(struct journal *j, const struct journal_start *start, uint64_t *ret_index)
{
	struct journal_entry entry = {.action = ENTRY_START,
				      .version = start->version,
				      .module = start->module,
				      .serial = start->serial,
				      .clean = start->clean};

	return journal_append(j, &entry, ret_index);
}

enum err journal_check(struct journal *j)
{
	uint64_t until_ms = clock_ms() + CHECK_WAIT_MS;
	bool is_down, is_tried;

	pthread_mutex_lock(&j->lock);
	/* Another thread tries, and mostly knows in no time; but a disk that hangs may keep it for long. */
	while (j->is_down && j->writing && thread_cond_wait_until(&j->moved, &j->lock, until_ms))
		;
	is_down = j->is_down;
	is_tried = j->is_down && j->writing;
	pthread_mutex_unlock(&j->lock);
	if (is_tried)
		return E_UNAVAIL;
	return is_down ? journal_probe(j, "whether the journal can be written again", NULL) : E_OK;
}

/* ---- names that are not settled ---- */

uint64_t journal_opens(struct journal *j)
{
	uint64_t opens;

	pthread_mutex_lock(&j->lock);
	opens = names_opens(j->names);
	pthread_mutex_unlock(&j->lock);
	return opens;
}

const char *journal_state_name(enum journal_state state)
{
	switch (state) {
	case JOURNAL_RESERVED:
		return "reserved";
	case JOURNAL_MADE:
		return "made";
	case JOURNAL_USED:
		return "used";
	}
	return "?";
}

static enum err journal_find_by(struct journal *j, const char *text,
				const struct journal_key *(*find)(const struct names *, const char *),
				struct journal_key *ret_key)
{
	const struct journal_key *key;
	bool is_known;

	pthread_mutex_lock(&j->lock);
	key = find(j->names, text);
	is_known = key != NULL;
	if (is_known)
		*ret_key = *key;
	pthread_mutex_unlock(&j->lock);
	return is_known ? E_OK : E_NOTFOUND;
}

enum err journal_find(struct journal *j, const char *name, struct journal_key *ret_key)
{
	return journal_find_by(j, name, names_find, ret_key);
}

enum err journal_find_csr(struct journal *j, const char *csr, struct journal_key *ret_key)
{
	return journal_find_by(j, csr, names_find_csr, ret_key);
}

struct key_list {
	unsigned states;
	struct journal_key *keys;
	size_t len;
};

static void key_list_count(const struct journal_key *key, void *arg)
{
	struct key_list *list = arg;

	list->len += (key->state & list->states) != 0;
}

static void key_list_add(const struct journal_key *key, void *arg)
{
	struct key_list *list = arg;

	if (key->state & list->states)
		list->keys[list->len++] = *key;
}

enum err journal_list(struct journal *j, unsigned states, struct journal_key **ret_keys, size_t *ret_len)
{
	struct key_list list = {.states = states};
	enum err e = E_OK;

	pthread_mutex_lock(&j->lock);
	names_each(j->names, key_list_count, &list);
	if (list.len > 0) {
		list.keys = calloc(list.len, sizeof(*list.keys));
		e = list.keys ? E_OK : E_NOMEM;
		list.len = 0;
	}
	if (list.keys)
		names_each(j->names, key_list_add, &list);
	pthread_mutex_unlock(&j->lock);
	if (e == E_OK) {
		*ret_keys = list.keys;
		*ret_len = list.len;
	}
	return e;
}

size_t journal_list_used(struct journal *j, uint64_t from, struct journal_key *keys, size_t max,
			 bool *ret_more)
{
	size_t len;

	pthread_mutex_lock(&j->lock);
	len = names_list_used(j->names, from, keys, max, ret_more);
	pthread_mutex_unlock(&j->lock);
	return len;
}

enum err journal_digest(const uint8_t *data, size_t len, uint8_t ret_hash[JOURNAL_HASH_BYTES])
{
	return EVP_Digest(data, len, ret_hash, NULL, EVP_sha256(), NULL) == 1 ? E_OK : E_NOMEM;
}
