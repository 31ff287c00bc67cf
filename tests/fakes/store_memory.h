/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in memory for tests: the url "memory:NAME".  It is SQLite's engine over
 * ":memory:", which fails and pauses on order, without readers: so what a test
 * orders is met in the order of its calls.
 *
 * Databases are named and outlive the stores opened on them, until
 * store_memory_forget: closing and opening again is a restart.  Faults and
 * pauses are for all of them.  Every function here may be called on any thread.
 */
#ifndef CSRD_TESTS_FAKES_STORE_MEMORY_H
#define CSRD_TESTS_FAKES_STORE_MEMORY_H

#include "base/err.h"
#include "store/store.h"

#include <stdbool.h>

extern const struct sql_engine store_memory_engine;

/* store_open_engine with this engine, database `name` and a queue of 1024. */
MUST_USE enum err store_memory_open(const char *name, struct store **ret_store);

enum store_memory_point {
	STORE_MEMORY_OPEN = 1,
	STORE_MEMORY_BEGIN,  /* of a transaction that writes */
	STORE_MEMORY_READ,   /* a statement of an operation that only reads: find, get, list */
	STORE_MEMORY_WRITE,  /* an operation that writes, after it has written all, its audit record too */
	STORE_MEMORY_COMMIT, /* of a transaction that writes: nothing is done, but with E_UNCERTAIN all of it
				is */
};
/* The next `times` arrivals at the point fail with e; replaces what was ordered for that point. */
void store_memory_fail(enum store_memory_point at, enum err e, unsigned times);

/* Lets the store thread stop before its next transaction, and go on.  Going on is ordered by the test too. */
void store_memory_pause(void);
void store_memory_resume(void);
/* Waits until the store thread stands at a pause. */
void store_memory_wait_paused(void);

/* Transactions committed since the last store_memory_forget, those that wrote and the others. */
unsigned store_memory_write_commits(void);
unsigned store_memory_read_commits(void);

/* SQLite's own handle of a database, for what no call of a store does; the store must be idle. */
struct sqlite3 *store_memory_handle(const char *name);

/* Drops all databases, orders and counts.  No store may be open. */
void store_memory_forget(void);

#endif
