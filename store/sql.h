/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a database: blocking, used by one thread at a time.  The
 * decisions of store/ are written once, on top of this; an engine (store/sqlite/)
 * lies below.
 *
 * A thread of the queue runs
 *
 *	begin(writes)  { guard(SET)  one operation  guard(KEEP | UNDO) } …  end(commit)
 *
 * with a guard round each operation that writes, so that one that fails leaves
 * the others of its transaction alone.
 *
 * Errors: E_STORE, E_UNAVAIL, E_BUSY, E_NOMEM and those named here.  Any error
 * that is not an answer to the query is logged once, by the engine, where it occurs.
 */
#ifndef CSRD_STORE_SQL_H
#define CSRD_STORE_SQL_H

#include "base/attr.h"
#include "base/err.h"
#include "store/sql_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;
struct store_options;

/* ---- transactions ---- */

enum sql_guard {
	SQL_GUARD_SET = 1,
	SQL_GUARD_KEEP, /* what was done since SET is part of the transaction */
	SQL_GUARD_UNDO, /* nothing of it is */
};

/*
 * Starts a transaction in which all operations see one state of the database;
 * with `writes`, no other writer's change can affect them any more.  After an error
 * there is no transaction.
 */
MUST_USE enum err sql_begin(struct sql *sql, bool writes);

/*
 * Ends the transaction, whatever it returns.  With commit: E_OK means durable,
 * E_UNCERTAIN that it may or may not be, any other error that nothing was done.
 * Without: nothing was done.
 */
MUST_USE enum err sql_end(struct sql *sql, bool commit);

/* An error means that the whole transaction is lost: sql_end(false) follows. */
MUST_USE enum err sql_guard(struct sql *sql, enum sql_guard step);

/*
 * One durable write, outside a transaction, that changes nothing and waits for no
 * lock: E_OK when writes succeed again.  It writes as much as an operation does, so
 * that a disk with less room than that does not seem usable.  Errors as store_ping
 * says.
 */
MUST_USE enum err sql_try_write(struct sql *sql);

/* Undoes a transaction that is open, and frees everything.  NULL is fine. */
void sql_close(struct sql *sql);

/* ---- one statement ---- */

enum sql_step {
	SQL_ROW = 1,
	SQL_DONE,
	SQL_TAKEN,   /* refused: a row with that key is there already */
	SQL_MISSING, /* refused: what it refers to is not there */
	SQL_FAILED,
};

/*
 * Parameters are put in their order and borrowed until the query is ended; columns
 * are read by name, best in the order of the text.  The first error sticks: what
 * comes after it does nothing, and sql_done returns it.
 *
 *	struct sql_query q = sql_ask(sql, &thing_texts[THING_FIND], "find a thing");
 *
 *	sql_put_text(&q, id);
 *	while (sql_next(&q))
 *		… sql_int(&q, "size") …
 *	return sql_done(&q);
 */
struct sql_query {
	struct sql *sql;
	void *statement;
	const char *what; /* "find a thing": what the log says could not be done */
	unsigned put;
	unsigned column; /* where the next one is looked for first */
	enum sql_step at;
	enum err e;
};
/* text: of a table that sql_text.c lists. */
struct sql_query sql_ask(struct sql *sql, const struct sql_text *text, const char *what);

void sql_put_int(struct sql_query *q, int64_t value);
void sql_put_null(struct sql_query *q);
void sql_put_text(struct sql_query *q, const char *text);                 /* NULL for NULL */
void sql_put_bytes(struct sql_query *q, const uint8_t *data, size_t len); /* NULL for NULL */

bool sql_next(struct sql_query *q); /* whether there is another row */

bool sql_is_null(struct sql_query *q, const char *column);
int64_t sql_int(struct sql_query *q, const char *column);
void sql_text(struct sql_query *q, const char *column, char **ret_text); /* owned; NULL for NULL */
/* A text that fits, bytes of that length, and never NULL: anything else is a damaged row. */
void sql_fixed(struct sql_query *q, const char *column, char *dst, size_t dst_size);
void sql_bytes(struct sql_query *q, const char *column, uint8_t *dst, size_t len);

/* Sets an error of the caller's own; sets, and logs, that the contents of the row make no sense. */
void sql_fail(struct sql_query *q, enum err e);
void sql_damaged(struct sql_query *q);

/* Every query is ended once, by one of these.  E_OK or the first error. */
MUST_USE enum err sql_done(struct sql_query *q);
/* Ends it as well: E_NOTFOUND when there was no row. */
MUST_USE enum err sql_found(struct sql_query *q, bool found);
/* Runs a statement that returns no rows, and ends it; it must not be refused. */
MUST_USE enum err sql_run(struct sql_query *q);
/* The same for one whose refusal is an answer: E_EXISTS, E_NOTFOUND. */
MUST_USE enum err sql_try(struct sql_query *q);
/* Rows that the last sql_run or sql_try changed. */
uint64_t sql_changed(struct sql *sql);

/* ---- for engines ---- */

enum sql_type { SQL_IS_NULL = 1, SQL_IS_INT, SQL_IS_TEXT, SQL_IS_BYTES };
struct sql_value {
	enum sql_type type;
	int64_t number;
	const void *data; /* text: with a NUL behind its len bytes */
	size_t len;
};

struct sql_driver {
	enum err (*begin)(struct sql *sql, bool writes);
	enum err (*end)(struct sql *sql, bool commit);
	enum err (*guard)(struct sql *sql, enum sql_guard step);
	enum err (*try_write)(struct sql *sql);
	void (*close)(struct sql *sql);

	/* A statement, ready for its parameters; returned by `reset`. */
	void *(*statement)(struct sql *sql, const struct sql_text *text);
	/* The parameter number `at`, from 1; text and bytes stay where they are until `reset`.  False:
	 * E_NOMEM. */
	bool (*bind)(struct sql *sql, void *statement, unsigned at, const struct sql_value *value);
	enum sql_step (*step)(struct sql *sql, void *statement);
	/* *at: the column to look at first; set to the one after.  Borrowed until the next step.  E_NOMEM. */
	enum err (*column)(struct sql *sql, void *statement, const char *name, unsigned *at,
			   struct sql_value *ret_value);
	void (*reset)(struct sql *sql, void *statement);
	uint64_t (*changed)(struct sql *sql);
	/* Logs the last failure, or that a row is damaged, and returns the error that callers get. */
	enum err (*failed)(struct sql *sql, const char *what);
	enum err (*damaged)(struct sql *sql, const char *what);
};

/* The first member of an engine's connection. */
struct sql {
	const struct sql_driver *driver;
};

/* A kind of database. */
struct sql_engine {
	const char *scheme; /* "sqlite": of the url, before the colon */
	/*
	 * Opens the database, brings its schema up to date and checks it as far as can
	 * be afforded at each start.  location is the url after the colon.  Errors as
	 * store_open says.
	 */
	enum err (*open)(const struct store_options *options, const char *location, struct sql **ret_sql);
	/*
	 * One more connection, which only reads, of the same database.  It is closed
	 * before the other one.  NULL: there are none.
	 */
	enum err (*open_reader)(struct sql *writer, struct sql **ret_reader);
};

#endif
