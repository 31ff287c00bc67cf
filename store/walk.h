/*
 * Where pages ended that were read lately, so that the next one is found by its
 * first row and not by counting to it.  A walk page by page then costs each page
 * and not what lies before it, and rows that come or go meanwhile neither show
 * another twice nor hide one.
 */
#ifndef CSRD_STORE_WALK_H
#define CSRD_STORE_WALK_H

#include "store/record.h"
#include "store/store.h"

struct walk;

/* The last row of a page, by what rows are ordered by. */
struct walk_mark {
	int64_t created_us;
	char id[CSR_ID_SIZE];
	char *name; /* NULL: the row has none.  Owned by the walk in what walk_find returns. */
};

struct walk *walk_new(void); /* NULL: out of memory */
void walk_free(struct walk *walk); /* NULL is fine */

/*
 * The row before the one at query->offset, as the same reader saw it a page ago:
 * of the same list, the same order, and pages of the same size.  NULL when that
 * is not known, or too long ago.  Borrowed until walk_keep.
 */
const struct walk_mark *walk_find(struct walk *walk, const struct store_csr_query *query);

/* `last` ended the page that query asked for.  What cannot be kept is not. */
void walk_keep(struct walk *walk, const struct store_csr_query *query, const struct csr_record *last);

#endif
