/* SPDX-License-Identifier: Apache-2.0 */
/* Where pages began and ended that were read lately. */
#include "store/walk.h"

#include "base/clock.h"
#include "base/str.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 512           /* the one that was read the longest time ago makes room */
#define ENTRY_MS (10 * 60 * 1000) /* a reader who comes later begins a walk of its own */

/* One page. */
struct entry {
	/* of which walk; limit 0: of none */
	char reader[CSR_ID_SIZE];
	struct store_scope scope;
	enum store_order order;
	bool descending;
	unsigned limit;

	uint64_t offset;
	uint64_t read_ms;
	uint64_t turn; /* which of all pages it was, by the order in which they were read */
	enum walk_way way;
	struct walk_mark first;
	struct walk_mark last;
};

struct walk {
	pthread_mutex_t lock; /* held while entries are looked at, and no longer */
	uint64_t turn;
	struct entry entries[ENTRIES_MAX];
};

/* ---- marks ---- */

void walk_mark_release(struct walk_mark *mark)
{
	free(mark->name);
	mark->name = NULL;
}

bool walk_mark_copy(const struct walk_mark *from, struct walk_mark *ret_to)
{
	struct walk_mark copy = *from;

	if (!str_dup_opt(from->name, &copy.name))
		return false;
	*ret_to = copy;
	return true;
}

/* Borrowed of the row. */
static struct walk_mark walk_mark_of(const struct csr_record *row)
{
	struct walk_mark mark = {.created_us = row->created_us, .name = row->name};

	memcpy(mark.id, row->id, sizeof(mark.id));
	return mark;
}

int walk_compare(enum store_order order, const struct walk_mark *a, const struct walk_mark *b)
{
	int by_name = 0;

	switch (order) {
	case STORE_ORDER_CREATED_AT:
		if (a->created_us != b->created_us)
			return a->created_us < b->created_us ? -1 : 1;
		break;
	case STORE_ORDER_NAME:
		if (!a->name || !b->name)
			by_name = (a->name != NULL) - (b->name != NULL);
		else
			by_name = strcmp(a->name, b->name);
		break;
	case STORE_ORDER_ACCOUNT_TAG:
		break;
	}
	return by_name != 0 ? by_name : strcmp(a->id, b->id);
}

/* ---- pages ---- */

struct walk *walk_new(void)
{
	struct walk *walk = calloc(1, sizeof(*walk));

	if (walk)
		pthread_mutex_init(&walk->lock, NULL);
	return walk;
}

static void entry_release(struct entry *e)
{
	walk_mark_release(&e->first);
	walk_mark_release(&e->last);
	memset(e, 0, sizeof(*e));
}

void walk_free(struct walk *walk)
{
	if (!walk)
		return;
	for (size_t i = 0; i < ENTRIES_MAX; i++)
		entry_release(&walk->entries[i]);
	pthread_mutex_destroy(&walk->lock);
	free(walk);
}

static bool entry_is_of(const struct entry *e, const struct store_csr_query *query)
{
	return e->limit == query->limit && e->order == query->order && e->descending == query->descending &&
	       strcmp(e->reader, query->reader) == 0 && store_scope_equal(&e->scope, query->scope);
}

/* The page itself, and the nearest ones on either side. */
struct neighbours {
	struct entry *same;
	struct entry *before;
	struct entry *after;
};

static struct neighbours walk_look(struct walk *walk, const struct store_csr_query *query)
{
	struct neighbours n = {NULL, NULL, NULL};
	uint64_t now_ms = clock_ms();

	for (size_t i = 0; i < ENTRIES_MAX; i++) {
		struct entry *e = &walk->entries[i];

		if (!entry_is_of(e, query))
			continue;
		if (now_ms - e->read_ms > ENTRY_MS)
			entry_release(e);
		else if (e->offset == query->offset)
			n.same = e;
		else if (e->offset < query->offset && (!n.before || e->offset > n.before->offset))
			n.before = e;
		else if (e->offset > query->offset && (!n.after || e->offset < n.after->offset))
			n.after = e;
	}
	return n;
}

static void walk_forget(struct walk *walk, const struct store_csr_query *query)
{
	for (size_t i = 0; i < ENTRIES_MAX; i++) {
		if (entry_is_of(&walk->entries[i], query))
			entry_release(&walk->entries[i]);
	}
}

/*
 * By the neighbour that was read last.  The first page is one that a walk backwards
 * ends with, or else where a new look begins: then it shows what is first now.
 */
static enum walk_way walk_choose(const struct neighbours *n, const struct store_csr_query *query)
{
	bool behind = n->before && n->before->offset + query->limit == query->offset;
	bool before = n->after && query->offset + query->limit == n->after->offset;

	if (query->offset == 0 && before && n->after->way != WALK_BEFORE)
		return WALK_JUMP;
	if (behind && (!before || n->before->turn > n->after->turn))
		return WALK_BEHIND;
	return before ? WALK_BEFORE : WALK_JUMP;
}

struct walk_page walk_find(struct walk *walk, const struct store_csr_query *query)
{
	struct walk_page page = {.way = WALK_JUMP};

	pthread_mutex_lock(&walk->lock);
	struct neighbours n = walk_look(walk, query);
	if (query->offset == 0 && n.same) {
		walk_forget(walk, query);
	} else {
		page.way = walk_choose(&n, query);
		page.has_before = n.before && walk_mark_copy(&n.before->last, &page.before);
		page.has_after = n.after && walk_mark_copy(&n.after->first, &page.after);
		if ((page.way == WALK_BEHIND && !page.has_before) ||
		    (page.way == WALK_BEFORE && !page.has_after))
			page.way = WALK_JUMP;
	}
	pthread_mutex_unlock(&walk->lock);
	return page;
}

void walk_page_release(struct walk_page *page)
{
	walk_mark_release(&page->before);
	walk_mark_release(&page->after);
}

bool walk_page_holds(const struct walk_page *page, const struct store_csr_query *query,
		     const struct csr_record *row)
{
	struct walk_mark mark = walk_mark_of(row);
	int direction = query->descending ? -1 : 1;

	return (!page->has_before || walk_compare(query->order, &mark, &page->before) * direction > 0) &&
	       (!page->has_after || walk_compare(query->order, &mark, &page->after) * direction < 0);
}

static struct entry *walk_room(struct walk *walk)
{
	struct entry *oldest = &walk->entries[0];

	for (size_t i = 1; i < ENTRIES_MAX; i++) {
		if (walk->entries[i].turn < oldest->turn)
			oldest = &walk->entries[i];
	}
	return oldest;
}

void walk_keep(struct walk *walk, const struct store_csr_query *query, enum walk_way way,
	       const struct csr_record *first, const struct csr_record *last)
{
	const struct walk_mark first_mark = walk_mark_of(first), last_mark = walk_mark_of(last);
	struct entry new = {.scope = *query->scope,
			    .order = query->order,
			    .descending = query->descending,
			    .limit = query->limit,
			    .offset = query->offset,
			    .read_ms = clock_ms(),
			    .way = way};

	if (str_copy(new.reader, sizeof(new.reader), query->reader) != E_OK ||
	    !walk_mark_copy(&first_mark, &new.first))
		return;
	if (!walk_mark_copy(&last_mark, &new.last)) {
		entry_release(&new);
		return;
	}
	pthread_mutex_lock(&walk->lock);
	struct entry *e = walk_look(walk, query).same;
	if (!e)
		e = walk_room(walk);
	entry_release(e);
	new.turn = ++walk->turn;
	*e = new;
	pthread_mutex_unlock(&walk->lock);
}
