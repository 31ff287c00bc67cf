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

struct walk; /* of all threads that read */

/* The last row of a page, by what rows are ordered by. */
struct walk_mark {
	int64_t created_us;
	char id[CSR_ID_SIZE];
	char *name; /* NULL: the row has none */
};
void walk_mark_release(struct walk_mark *mark);

struct walk *walk_new(void);       /* NULL: out of memory */
void walk_free(struct walk *walk); /* NULL is fine */

/*
 * Whether it is known which row comes before the one at query->offset: the last of
 * the page before, as the same reader saw it some minutes ago, of the same list, in
 * the same order, and pages of the same size.  The mark is the caller's.
 */
bool walk_find(struct walk *walk, const struct store_csr_query *query, struct walk_mark *ret_mark);

/* `last` ended the page that query asked for.  What cannot be kept is not. */
void walk_keep(struct walk *walk, const struct store_csr_query *query, const struct csr_record *last);

#endif
