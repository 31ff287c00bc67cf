/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fences along the long lists: every thousandth row of a list is remembered, and
 * how many rows lie between two of them, so that a row is found by its number from
 * the fence before it, not from the end of the list.
 *
 * Which rows came and went since is read from the audit trail, in the same
 * transaction: each row that joins a list of active CSRs, or leaves it, has a record
 * there, whichever process caused it.
 */
#ifndef CSRD_STORE_FENCE_H
#define CSRD_STORE_FENCE_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"
#include "store/walk.h"

#include <stdint.h>

#define FENCE_STEP 1000             /* rows from one fence to the next */
#define FENCE_NEAR (2 * FENCE_STEP) /* rows nearer to an end of the list are counted from that end */

struct fences; /* of all threads that read */
struct sql;

struct fences *fences_new(void);         /* NULL: out of memory */
void fences_free(struct fences *fences); /* NULL is fine */

/* The active CSRs of a scope, ascending. */
struct fence_list {
	const struct store_scope *scope;
	const char *account_id;
	enum store_order order;
	uint64_t total; /* as the scope counts it */
};
/*
 * Behind the row `mark` by `skip` others.  Those are rows that have a name, or
 * rows that have none, all of them.
 */
struct fence_place {
	struct walk_mark mark;
	uint64_t skip;
};
/* Where the row number `rank` is, from 0.  E_NOTFOUND: there is none. */
MUST_USE enum err fences_find(struct fences *fences, struct sql *sql, const struct fence_list *list,
			      uint64_t rank, struct fence_place *ret_place);

#endif
