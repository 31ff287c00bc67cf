/* Where pages ended that were read lately. */
#include "store/walk.h"

#include "base/clock.h"
#include "base/str.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MARKS_MAX 256            /* the one that was not used for the longest time makes room */
#define MARK_MS (10 * 60 * 1000) /* a reader who comes later begins a walk of its own */

struct entry {
	/* which page begins there; limit 0: none */
	char reader[CSR_ID_SIZE];
	struct store_scope scope;
	enum store_order order;
	bool descending;
	unsigned limit;
	uint64_t offset;

	uint64_t used_ms;
	struct walk_mark mark;
};

struct walk {
	pthread_mutex_t lock; /* of the entries; held while one is copied, and no longer */
	struct entry entries[MARKS_MAX];
};

struct walk *walk_new(void)
{
	struct walk *walk = calloc(1, sizeof(*walk));

	if (walk != NULL)
		pthread_mutex_init(&walk->lock, NULL);
	return walk;
}

void walk_free(struct walk *walk)
{
	if (walk == NULL)
		return;
	for (size_t i = 0; i < MARKS_MAX; i++)
		free(walk->entries[i].mark.name);
	pthread_mutex_destroy(&walk->lock);
	free(walk);
}

void walk_mark_release(struct walk_mark *mark)
{
	free(mark->name);
	mark->name = NULL;
}

static struct entry *walk_entry(struct walk *walk, const struct store_csr_query *query, uint64_t offset)
{
	for (size_t i = 0; i < MARKS_MAX; i++) {
		struct entry *e = &walk->entries[i];

		if (e->offset == offset && e->limit == query->limit && e->order == query->order &&
		    e->descending == query->descending && strcmp(e->reader, query->reader) == 0 &&
		    store_scope_equal(&e->scope, query->scope))
			return e;
	}
	return NULL;
}

static struct entry *walk_oldest(struct walk *walk)
{
	struct entry *oldest = &walk->entries[0];

	for (size_t i = 1; i < MARKS_MAX; i++) {
		if (walk->entries[i].used_ms < oldest->used_ms)
			oldest = &walk->entries[i];
	}
	return oldest;
}

bool walk_find(struct walk *walk, const struct store_csr_query *query, struct walk_mark *ret_mark)
{
	uint64_t now_ms = clock_ms();
	bool found = false;

	if (query->offset == 0)
		return false;
	pthread_mutex_lock(&walk->lock);
	struct entry *e = walk_entry(walk, query, query->offset);
	if (e != NULL && now_ms - e->used_ms <= MARK_MS) {
		struct walk_mark mark = e->mark;

		found = str_dup_opt(e->mark.name, &mark.name);
		if (found)
			*ret_mark = mark;
		e->used_ms = now_ms;
	}
	pthread_mutex_unlock(&walk->lock);
	return found;
}

void walk_keep(struct walk *walk, const struct store_csr_query *query, const struct csr_record *last)
{
	struct entry new = {
	    .scope = *query->scope,
	    .order = query->order,
	    .descending = query->descending,
	    .limit = query->limit,
	    .offset = query->offset + query->limit,
	    .used_ms = clock_ms(),
	    .mark = {.created_us = last->created_us},
	};

	memcpy(new.mark.id, last->id, sizeof(new.mark.id));
	if (str_copy(new.reader, sizeof(new.reader), query->reader) != E_OK ||
	    !str_dup_opt(last->name, &new.mark.name))
		return;
	pthread_mutex_lock(&walk->lock);
	struct entry *e = walk_entry(walk, query, new.offset);
	if (e == NULL)
		e = walk_oldest(walk);
	free(e->mark.name);
	*e = new;
	pthread_mutex_unlock(&walk->lock);
}
