/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remembers the first and last rows of the pages that were read lately, so that the
 * next page, or the one before, is found from its neighbour's row, not by counting.
 * Rows that come or go while somebody walks through the pages, in either direction,
 * then cannot make another row appear twice or be missed.
 *
 * A walk is one reader's, through one list, in one order, by pages of one size.  It
 * starts again when its first page is read a second time, and is forgotten after
 * some minutes.
 */
#ifndef CSRD_STORE_WALK_H
#define CSRD_STORE_WALK_H

#include "base/attr.h"
#include "store/record.h"
#include "store/store.h"

struct walk; /* of all threads that read */

/* A row, as far as rows are ordered by it. */
struct walk_mark {
	int64_t created_us;
	char id[CSR_ID_SIZE];
	char *name; /* NULL: the row has none */
};
void walk_mark_release(struct walk_mark *mark);
MUST_USE bool walk_mark_copy(const struct walk_mark *from,
			     struct walk_mark *ret_to); /* false: out of memory */

/* As the database orders rows, ascending: below 0, 0, above. */
int walk_compare(enum store_order order, const struct walk_mark *a, const struct walk_mark *b);

struct walk *walk_new(void);       /* NULL: out of memory */
void walk_free(struct walk *walk); /* NULL is fine */

enum walk_way {
	WALK_JUMP = 1, /* nothing is known of its neighbours: the page is found by its number */
	WALK_BEHIND,   /* it begins after `before` */
	WALK_BEFORE,   /* it ends before `after` */
};
/* How a page is found, and between which rows it lies: other pages of the walk showed what is beyond. */
struct walk_page {
	enum walk_way way;
	bool has_before;
	bool has_after;
	struct walk_mark before; /* in the order of the list: the last row of a page before it */
	struct walk_mark after;  /* the first row of a page after it */
};
struct walk_page walk_find(struct walk *walk, const struct store_csr_query *query);
void walk_page_release(struct walk_page *page);

/* Whether a row may be on that page. */
bool walk_page_holds(const struct walk_page *page, const struct store_csr_query *query,
		     const struct csr_record *row);

/* Remembers the first and last row that the page got; without memory it does not. */
void walk_keep(struct walk *walk, const struct store_csr_query *query, enum walk_way way,
	       const struct csr_record *first, const struct csr_record *last);

#endif
