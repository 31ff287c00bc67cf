/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets of any number of callers, in memory of a fixed size.
 *
 * A bucket of the rate COUNT/WINDOW holds COUNT and gains COUNT in each WINDOW, evenly.  All that is kept of
 * one is when it will be full again, so a full bucket is the same as one that was never used, and its place
 * is free.  When a place is needed and none is free, the bucket that is full soonest is dropped, of the eight
 * that share the place; its caller starts with a full one.  So callers in any number, who each do little,
 * neither free whoever did much nor cost anybody a request.  Which eight share a place follows from a hash
 * with a secret key (SipHash), so nobody can choose whose bucket theirs push out.
 *
 * Integers and the monotonic clock; pure but for the key.
 */
#ifndef CSRD_API_BUCKET_H
#define CSRD_API_BUCKET_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUCKET_KEY_BYTES 16
#define BUCKET_KINDS 3 /* buckets of one caller */
#define BUCKET_WAYS 8  /* callers that share a place */

struct bucket_table;
struct bucket; /* those of one caller, until the next call for another one */

/* For at most `callers` at a time, rounded up to a power of two.  E_NOMEM; E_IO: no randomness. */
MUST_USE enum err bucket_table_new(size_t callers, struct bucket_table **ret_table);
void bucket_table_free(struct bucket_table *table); /* NULL is fine */

/* Never NULL; a caller not seen before has full buckets.  When the hash fails, all share one place. */
struct bucket *bucket_find(struct bucket_table *table, const uint8_t key[BUCKET_KEY_BYTES], uint64_t now_ns);

struct bucket_state {
	bool passed;      /* one was taken */
	uint64_t left;    /* how many may follow at once */
	uint64_t full_ns; /* from now until it is full again */
	uint64_t next_ns; /* from now until one more may be taken; 0: at once */
};
/* Takes one if there is one.  kind < BUCKET_KINDS; the rate may change between calls, its count is not 0. */
struct bucket_state bucket_take(struct bucket *bucket, unsigned kind, const struct config_rate *rate,
				uint64_t now_ns);
/* What is there, without taking any. */
struct bucket_state bucket_look(const struct bucket *bucket, unsigned kind, const struct config_rate *rate,
				uint64_t now_ns);

/* Buckets dropped before they were full again. */
uint64_t bucket_table_dropped(const struct bucket_table *table);

#endif
