/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of keys, each sorted when it is full, and a heap of them. */
#include "api/key_list.h"

#include "base/str.h"
#include "base/uuid.h"

#include <stdlib.h>
#include <string.h>

#define RUN_KEYS 512

struct key_list_run {
	size_t len;
	size_t at;
	struct key_list_key keys[RUN_KEYS];
};

void key_list_release(struct key_list *l)
{
	for (size_t i = 0; i < l->runs_len; i++)
		free(l->runs[i]);
	free(l->runs);
	memset(l, 0, sizeof(*l));
}

static int key_compare(const void *a, const void *b)
{
	const struct key_list_key *x = a, *y = b;

	return memcmp(x->uuid, y->uuid, UUID_BYTES);
}

static void seal_run(struct key_list *l)
{
	if (l->runs_len > 0)
		qsort(l->runs[l->runs_len - 1]->keys, l->runs[l->runs_len - 1]->len,
		      sizeof(struct key_list_key), key_compare);
}

static enum err add_run(struct key_list *l)
{
	seal_run(l);
	if (l->runs_len == l->runs_capacity) {
		size_t capacity = l->runs_capacity ? 2 * l->runs_capacity : 16;
		struct key_list_run **runs = reallocarray(l->runs, capacity, sizeof(struct key_list_run *));

		if (!runs)
			return E_NOMEM;
		l->runs = runs;
		l->runs_capacity = capacity;
	}
	l->runs[l->runs_len] = malloc(sizeof(struct key_list_run));
	if (!l->runs[l->runs_len])
		return E_NOMEM;
	l->runs[l->runs_len]->len = l->runs[l->runs_len]->at = 0;
	l->runs_len++;
	return E_OK;
}

enum err key_list_add(struct key_list *l, const struct key_list_key *key)
{
	struct key_list_run *run;
	enum err e;

	if (l->keys_len == KEY_LIST_MAX)
		return E_LIMIT;
	if (l->runs_len == 0 || l->runs[l->runs_len - 1]->len == RUN_KEYS) {
		e = add_run(l);
		if (e != E_OK)
			return e;
	}
	run = l->runs[l->runs_len - 1];
	run->keys[run->len++] = *key;
	l->keys_len++;
	return E_OK;
}

static const struct key_list_key *run_front(const struct key_list_run *run)
{
	return &run->keys[run->at];
}

static void heap_sift_down(struct key_list *l, size_t i)
{
	for (;;) {
		struct key_list_run *run = l->runs[i];
		size_t least = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < l->runs_len; child++)
			if (key_compare(run_front(l->runs[child]), run_front(l->runs[least])) < 0)
				least = child;
		if (least == i)
			return;
		l->runs[i] = l->runs[least];
		l->runs[least] = run;
		i = least;
	}
}

void key_list_seal(struct key_list *l)
{
	seal_run(l);
	for (size_t i = l->runs_len / 2; i-- > 0;)
		heap_sift_down(l, i);
}

const struct key_list_key *key_list_front(const struct key_list *l)
{
	return l->runs_len > 0 ? run_front(l->runs[0]) : NULL;
}

static void pop(struct key_list *l)
{
	struct key_list_run *run = l->runs[0];

	if (++run->at == run->len) {
		l->runs[0] = l->runs[--l->runs_len];
		free(run);
	}
	if (l->runs_len > 0)
		heap_sift_down(l, 0);
}

struct key_list_key key_list_take(struct key_list *l)
{
	struct key_list_key key = *key_list_front(l);

	for (pop(l); key_list_front(l) && !key_compare(key_list_front(l), &key); pop(l))
		key.presence = MESSAGE_KEY_AMBIGUOUS;
	return key;
}
