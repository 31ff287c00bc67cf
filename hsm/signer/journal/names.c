/* SPDX-License-Identifier: Apache-2.0 */
/* Unsettled names in two of the C library's search trees: all by name, the used ones by CSR too. */
#include "hsm/signer/journal/names.h"

#include "base/str.h"

#include <assert.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct record {
	TAILQ_ENTRY(record) next; /* of the used ones */
	struct journal_key key;   /* state 0: it is about to be reserved */
	char csr[UUID_SIZE];      /* also of a key that is about to be used; "": in one tree only */
	bool claimed;
};

TAILQ_HEAD(record_list, record);

struct names {
	void *by_name;
	void *by_csr;
	struct record_list used; /* in the order in which they were used */
	size_t used_len;
	uint64_t opens;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct record *)a)->key.name, ((const struct record *)b)->key.name);
}

static int compare_csrs(const void *a, const void *b)
{
	return strcmp(((const struct record *)a)->csr, ((const struct record *)b)->csr);
}

enum err names_new(struct names **ret_names)
{
	struct names *names = calloc(1, sizeof(*names));

	if (!names)
		return E_NOMEM;
	TAILQ_INIT(&names->used);
	*ret_names = names;
	return E_OK;
}

static void record_keep(void *record)
{
	(void)record; /* the other tree frees it */
}

void names_free(struct names *names)
{
	if (!names)
		return;
	tdestroy(names->by_csr, record_keep);
	tdestroy(names->by_name, free);
	free(names);
}

/* ---- records ---- */

/* NULL: there is none; a text of any length. */
static struct record *record_find(const struct names *names, const char *name)
{
	struct record wanted;
	void *node;

	if (str_copy(wanted.key.name, sizeof(wanted.key.name), name) != E_OK)
		return NULL;
	node = tfind(&wanted, &names->by_name, compare_names);
	return node ? *(struct record **)node : NULL;
}

/* Of a name that names_claim has found: a step that was claimed is taken or released. */
static struct record *record_claimed(const struct names *names, const char *name)
{
	struct record *record = record_find(names, name);

	assert(record && record->claimed);
	return record;
}

static struct record *record_find_csr(const struct names *names, const char *csr)
{
	struct record wanted;
	void *node;

	if (str_copy(wanted.csr, sizeof(wanted.csr), csr) != E_OK)
		return NULL;
	node = tfind(&wanted, &names->by_csr, compare_csrs);
	return node ? *(struct record **)node : NULL;
}

/* E_EXISTS, E_NOMEM. */
static enum err record_add(struct names *names, const struct journal_key *key, struct record **ret_record)
{
	struct record *record = calloc(1, sizeof(*record));
	void *node;

	if (!record)
		return E_NOMEM;
	record->key = *key;
	node = tsearch(record, &names->by_name, compare_names);
	if (!node || *(struct record **)node != record) {
		free(record);
		return node ? E_EXISTS : E_NOMEM;
	}
	*ret_record = record;
	return E_OK;
}

static void record_forget(struct names *names, struct record *record)
{
	if (record->key.state == JOURNAL_USED) {
		TAILQ_REMOVE(&names->used, record, next);
		names->used_len--;
	}
	if (record->csr[0])
		tdelete(record, &names->by_csr, compare_csrs);
	tdelete(record, &names->by_name, compare_names);
	free(record);
}

static void record_put_used(struct names *names, struct record *record)
{
	TAILQ_INSERT_TAIL(&names->used, record, next);
	names->used_len++;
}

/* E_EXISTS, E_NOMEM. */
static enum err record_set_csr(struct names *names, struct record *record, const char *csr)
{
	void *node;

	if (str_copy(record->csr, sizeof(record->csr), csr) != E_OK)
		return E_INVAL;
	node = tsearch(record, &names->by_csr, compare_csrs);
	if (node && *(struct record **)node == record)
		return E_OK;
	record->csr[0] = '\0';
	return node ? E_EXISTS : E_NOMEM;
}

static void record_clear_csr(struct names *names, struct record *record)
{
	tdelete(record, &names->by_csr, compare_csrs);
	record->csr[0] = '\0';
}

/* ---- steps ---- */

/* The name, which is in one of these states and not claimed. */
static enum err names_judge(const struct names *names, const char *name, unsigned states,
			    struct record **ret_record)
{
	struct record *record = record_find(names, name);

	if (!record)
		return E_NOTFOUND;
	if (record->claimed)
		return E_BUSY;
	if (!(record->key.state & states))
		return E_BUG;
	*ret_record = record;
	return E_OK;
}

static void names_release_reserved(struct names *names, const struct journal_entry *entry, size_t len)
{
	while (len > 0)
		record_forget(names, record_claimed(names, entry->names[--len]));
}

static enum err names_claim_reserve(struct names *names, const struct journal_entry *entry)
{
	struct journal_key key = {.type = entry->type};
	struct record *record;
	enum err e;

	for (size_t i = 0; i < entry->names_len; i++) {
		memcpy(key.name, entry->names[i], sizeof(key.name));
		if ((e = record_add(names, &key, &record)) != E_OK) {
			names_release_reserved(names, entry, i);
			return e;
		}
		record->claimed = true;
	}
	return E_OK;
}

/* All of them, or none; no name twice. */
static enum err names_claim_all(struct names *names, const struct journal_entry *entry,
				enum journal_state state)
{
	struct record *records[JOURNAL_NAMES_MAX];
	enum err e;

	for (size_t i = 0; i < entry->names_len; i++) {
		if ((e = names_judge(names, entry->names[i], state, &records[i])) != E_OK)
			return e;
		for (size_t earlier = 0; earlier < i; earlier++)
			if (records[earlier] == records[i])
				return E_INVAL;
	}
	for (size_t i = 0; i < entry->names_len; i++)
		records[i]->claimed = true;
	return E_OK;
}

enum err names_claim_used_too(struct names *names, const struct journal_entry *used)
{
	return record_set_csr(names, record_claimed(names, used->name), used->csr);
}

static enum err names_claim_one(struct names *names, const struct journal_entry *entry, unsigned states)
{
	struct record *record;
	enum err e = names_judge(names, entry->name, states, &record);

	if (e == E_OK && entry->action == ENTRY_MADE && record->key.type != entry->type)
		e = E_BUG;
	if (e == E_OK && entry->action == ENTRY_USED)
		e = record_set_csr(names, record, entry->csr);
	if (e == E_OK)
		record->claimed = true;
	return e;
}

enum err names_claim(struct names *names, const struct journal_entry *entry)
{
	switch (entry->action) {
	case ENTRY_RESERVE:
		return names_claim_reserve(names, entry);
	case ENTRY_MADE:
		return names_claim_one(names, entry, JOURNAL_RESERVED);
	case ENTRY_USED:
		return names_claim_one(names, entry, JOURNAL_MADE);
	case ENTRY_BOUND:
	case ENTRY_KEPT:
		return names_claim_all(names, entry, JOURNAL_USED);
	case ENTRY_OPEN:
		return entry->opens > names->opens ? names_claim_all(names, entry, JOURNAL_MADE) : E_BUG;
	case ENTRY_DESTROYED:
		return names_claim_one(names, entry, JOURNAL_RESERVED | JOURNAL_MADE | JOURNAL_USED);
	case ENTRY_LOGIN:
	case ENTRY_PROBE:
	case ENTRY_REFUSE:
	case ENTRY_START:
	case ENTRY_STOP:
		break;
	}
	return E_OK;
}

static void record_move(struct record *record, enum journal_state state, uint64_t index)
{
	record->claimed = false;
	record->key.state = state;
	record->key.index = index;
}

static void names_take_made(struct record *record, const struct journal_entry *entry, uint64_t index)
{
	memcpy(record->key.id, entry->id, entry->id_len);
	record->key.id_len = entry->id_len;
	memcpy(record->key.spki, entry->spki, sizeof(record->key.spki));
	record_move(record, JOURNAL_MADE, index);
	record->claimed = entry->leads;
}

/* Entries are taken in their order. */
static void names_take_used(struct names *names, struct record *record, uint64_t index)
{
	memcpy(record->key.csr, record->csr, sizeof(record->key.csr));
	record_move(record, JOURNAL_USED, index);
	record_put_used(names, record);
}

static void names_take_open(struct names *names, const struct journal_entry *entry)
{
	names->opens = entry->opens;
	for (size_t i = 0; i < entry->names_len; i++) {
		struct record *record = record_claimed(names, entry->names[i]);

		record->key.opened = true;
		record->claimed = false;
	}
}

static void record_close(const void *node, VISIT which, void *arg)
{
	struct record *record = *(struct record *const *)node;

	(void)arg;
	if (which == postorder || which == leaf)
		record->key.opened = false;
}

/* Nobody uses keys any more: none of them was used without an entry. */
static void names_close_all(struct names *names)
{
	twalk_r(names->by_name, record_close, NULL);
}

void names_take(struct names *names, const struct journal_entry *entry, uint64_t index)
{
	switch (entry->action) {
	case ENTRY_RESERVE:
		for (size_t i = 0; i < entry->names_len; i++)
			record_move(record_claimed(names, entry->names[i]), JOURNAL_RESERVED, index);
		break;
	case ENTRY_MADE:
		names_take_made(record_claimed(names, entry->name), entry, index);
		break;
	case ENTRY_USED:
		names_take_used(names, record_claimed(names, entry->name), index);
		break;
	case ENTRY_BOUND:
	case ENTRY_KEPT:
		for (size_t i = 0; i < entry->names_len; i++)
			record_forget(names, record_claimed(names, entry->names[i]));
		break;
	case ENTRY_OPEN:
		names_take_open(names, entry);
		break;
	case ENTRY_DESTROYED:
		record_forget(names, record_claimed(names, entry->name));
		break;
	case ENTRY_STOP:
		names_close_all(names);
		break;
	case ENTRY_LOGIN:
	case ENTRY_PROBE:
	case ENTRY_REFUSE:
	case ENTRY_START:
		break;
	}
}

void names_release(struct names *names, const struct journal_entry *entry)
{
	switch (entry->action) {
	case ENTRY_RESERVE:
		names_release_reserved(names, entry, entry->names_len);
		break;
	case ENTRY_USED:
		record_clear_csr(names, record_claimed(names, entry->name));
		record_claimed(names, entry->name)->claimed = false;
		break;
	case ENTRY_MADE:
	case ENTRY_DESTROYED:
		if (!entry->leads)
			record_claimed(names, entry->name)->claimed = false;
		break;
	case ENTRY_BOUND:
	case ENTRY_KEPT:
	case ENTRY_OPEN:
		for (size_t i = 0; i < entry->names_len; i++)
			record_claimed(names, entry->names[i])->claimed = false;
		break;
	case ENTRY_LOGIN:
	case ENTRY_PROBE:
	case ENTRY_REFUSE:
	case ENTRY_START:
	case ENTRY_STOP:
		break;
	}
}

enum err names_restore(struct names *names, const struct journal_key *key)
{
	struct record *record;
	enum err e = record_add(names, key, &record);

	if (e == E_OK && key->csr[0])
		e = record_set_csr(names, record, key->csr);
	if (e == E_OK && key->state == JOURNAL_USED)
		record_put_used(names, record);
	return e;
}

static int record_compare_index(const void *a, const void *b)
{
	const struct record *left = *(struct record *const *)a, *right = *(struct record *const *)b;

	return left->key.index < right->key.index ? -1 : left->key.index > right->key.index;
}

enum err names_end_restore(struct names *names)
{
	struct record **records = calloc(names->used_len + 1, sizeof(struct record *));
	struct record *record;
	size_t len = 0;

	if (!records)
		return E_NOMEM;
	TAILQ_FOREACH (record, &names->used, next)
		records[len++] = record;
	qsort(records, len, sizeof(struct record *), record_compare_index);
	TAILQ_INIT(&names->used);
	for (size_t i = 0; i < len; i++)
		TAILQ_INSERT_TAIL(&names->used, records[i], next);
	free(records);
	return E_OK;
}

uint64_t names_opens(const struct names *names)
{
	return names->opens;
}

void names_set_opens(struct names *names, uint64_t opens)
{
	names->opens = opens;
}

/* ---- searching ---- */

const struct journal_key *names_find(const struct names *names, const char *name)
{
	const struct record *record = record_find(names, name);

	return record && record->key.state ? &record->key : NULL;
}

const struct journal_key *names_find_csr(const struct names *names, const char *csr)
{
	const struct record *record = record_find_csr(names, csr);

	return record && record->key.state == JOURNAL_USED ? &record->key : NULL;
}

struct names_visit {
	names_each_fn each;
	void *arg;
};

static void names_visit(const void *node, VISIT which, void *arg)
{
	const struct record *record = *(const struct record *const *)node;
	const struct names_visit *visit = arg;

	if ((which == postorder || which == leaf) && record->key.state)
		visit->each(&record->key, visit->arg);
}

void names_each(const struct names *names, names_each_fn each, void *arg)
{
	struct names_visit visit = {each, arg};

	twalk_r(names->by_name, names_visit, &visit);
}

size_t names_list_used(const struct names *names, uint64_t from, struct journal_key *keys, size_t max,
		       bool *ret_more)
{
	const struct record *record;
	size_t len = 0;

	TAILQ_FOREACH (record, &names->used, next) {
		if (record->key.index < from)
			continue;
		if (len == max)
			break;
		keys[len++] = record->key;
	}
	*ret_more = record != NULL;
	return len;
}
