/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the calls of store.h are made of: each is a struct that begins with a
 * struct call, holds copies of its arguments and, once it has run, its results.
 * Private to store/.
 */
#ifndef CSRD_STORE_CALL_H
#define CSRD_STORE_CALL_H

#include "store/queue.h"
#include "store/record.h"
#include "store/store.h"

#include <sys/queue.h>

#define CALL_BYTES_MAX 1024
#define CALL_SPARE_MAX 64

struct call_text;
struct fences;
struct sql;
struct sql_query;
struct walk;

struct store {
	struct queue *queue;
	struct sql *writer;
	struct sql *readers[QUEUE_READERS_MAX];
	unsigned readers_len;
	struct walk *walk;
	struct fences *fences;

	/* To report "out of memory" when out of memory; owner's thread only. */
	struct call_spare {
		_Alignas(max_align_t) unsigned char bytes[CALL_BYTES_MAX];
	} spare[CALL_SPARE_MAX];
	unsigned spare_free[CALL_SPARE_MAX];
	unsigned spare_free_len;
};

struct call {
	struct store_op queued; /* first */
	struct store *store;
	SLIST_HEAD(, call_text) texts;
	bool spare; /* of store->spare: not from the heap */
	void *arg;
};

/* A type of call: one const struct for each. */
struct call_type {
	size_t size; /* of the whole struct, ≤ CALL_BYTES_MAX */
	enum store_op_kind kind;
	enum err (*run)(struct store_op *op, struct sql *sql);
	void (*finish)(struct store_op *op); /* calls back, releases what it owns, calls call_free */
};

/* Zeroed; never NULL.  When out of memory its error is set, and call_submit finishes it with that. */
void *call_new(struct store *store, const struct call_type *type, void *arg);
void call_submit(struct call *call);
void call_free(struct call *call);

/* Copies that live as long as the call; NULL for NULL.  E_NOMEM becomes the call's error. */
const char *call_keep(struct call *call, const char *text);
const struct peer *call_keep_peer(struct call *call, const struct peer *peer);
struct audit_origin call_keep_origin(struct call *call, const struct audit_origin *origin);

/* For a call that ends before it is queued; the first error stays. */
void call_refuse(struct call *call, enum err e);

/* E_INVAL: a page of a list has 1 … STORE_LIST_MAX rows. */
void call_check_limit(struct call *call, unsigned limit);

/* A call that reports only how it ended. */
struct call_done {
	struct call call;
	store_done_fn done;
};
void call_done_finish(struct store_op *op);

/* What a list has read, row by row. */
struct call_rows {
	void *first;
	size_t len;
	size_t size;                                  /* of one */
	void (*read)(struct sql_query *q, void *row); /* the current row, into a zeroed one */
	void (*release)(void *row);
};
/* Reads all rows of the query, and ends it. */
MUST_USE enum err call_rows_read(struct call_rows *rows, struct sql_query *q);
void call_rows_release(struct call_rows *rows); /* leaves it empty */

/* Appends a zeroed element of `size` bytes to an array and returns it; NULL when out of memory. */
void *call_append(void **array, size_t *len, size_t size);

#endif
