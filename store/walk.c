/* Where pages ended that were read lately. */
#include "store/walk.h"

#include "base/clock.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

#define MARKS_MAX 256          /* the one that was not used for the longest time makes room */
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
	struct entry entries[MARKS_MAX];
};

struct walk *walk_new(void)
{
	return calloc(1, sizeof(struct walk));
}

void walk_free(struct walk *walk)
{
	if (walk == NULL)
		return;
	for (size_t i = 0; i < MARKS_MAX; i++)
		free(walk->entries[i].mark.name);
	free(walk);
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

const struct walk_mark *walk_find(struct walk *walk, const struct store_csr_query *query)
{
	uint64_t now_ms = clock_ms();
	struct entry *e = query->offset == 0 ? NULL : walk_entry(walk, query, query->offset);

	if (e == NULL || now_ms - e->used_ms > MARK_MS)
		return NULL;
	e->used_ms = now_ms;
	return &e->mark;
}

void walk_keep(struct walk *walk, const struct store_csr_query *query, const struct csr_record *last)
{
	struct entry *e = walk_entry(walk, query, query->offset + query->limit);
	char *name;

	if (strlen(query->reader) >= sizeof(e->reader) || !str_dup_opt(last->name, &name))
		return;
	if (e == NULL)
		e = walk_oldest(walk);
	free(e->mark.name);
	memset(e, 0, sizeof(*e));
	memcpy(e->reader, query->reader, strlen(query->reader));
	e->scope = *query->scope;
	e->order = query->order;
	e->descending = query->descending;
	e->limit = query->limit;
	e->offset = query->offset + query->limit;
	e->used_ms = clock_ms();
	e->mark.created_us = last->created_us;
	e->mark.name = name;
	memcpy(e->mark.id, last->id, sizeof(e->mark.id));
}
