/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SQLite database file, looked at as a whole: opened without the store
 * around it, recognised, checked, counted.  Private to store/sqlite/.
 */
#ifndef CSRD_STORE_SQLITE_FILE_H
#define CSRD_STORE_SQLITE_FILE_H

#include "base/attr.h"
#include "base/err.h"
#include "store/upkeep.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

struct sqlite_file {
	sqlite3 *db;
	const char *name;                 /* borrowed: for the log */
	const struct upkeep_watch *watch; /* borrowed; NULL: none */
};

/* flags are those of sqlite3_open_v2.  name is borrowed until sqlite_file_close. */
MUST_USE enum err sqlite_file_open(struct sqlite_file *f, const char *path, int flags, const char *name,
				   const struct upkeep_watch *watch);
void sqlite_file_close(struct sqlite_file *f); /* does nothing to a zeroed one */

/* A result code as ours, logged; E_TIMEOUT, not logged, for what the watch ended. */
enum err sqlite_file_report(const struct sqlite_file *f, int rc, const char *what);

MUST_USE enum err sqlite_file_run(const struct sqlite_file *f, const char *sql, const char *what);
/* The one column of the first row; E_STORE when there is none. */
MUST_USE enum err sqlite_file_int(const struct sqlite_file *f, const char *sql, int64_t *ret_value);

/* A column of the row at hand, by the name that the statement gives it; 0 and NULL where it has none. */
int64_t sqlite_file_number(sqlite3_stmt *row, const char *column);
const char *sqlite_file_text(sqlite3_stmt *row, const char *column); /* NULL: also out of memory */

/* Called for each row; an error ends the query. */
typedef enum err (*sqlite_file_row_fn)(void *arg, sqlite3_stmt *row);
MUST_USE enum err sqlite_file_each(const struct sqlite_file *f, const char *sql, sqlite_file_row_fn take,
				   void *arg);

/* Whether it is csrd's, and of a schema that this program knows (logged).  E_STORE; E_INVAL: no database. */
MUST_USE enum err sqlite_file_recognise(const struct sqlite_file *f, int *ret_version);

/* Pages and constraints, with `full` the indexes too, and references. */
MUST_USE enum err sqlite_file_integrity(const struct sqlite_file *f, bool full, upkeep_problem_fn on_problem,
					void *arg);

/* All but schema_version and bytes. */
MUST_USE enum err sqlite_file_count(const struct sqlite_file *f, struct upkeep_summary *ret_summary);

/*
 * recognise, full integrity, count, in one read transaction: for a copy that is
 * to be relied on.  The first problem is logged: E_STORE.
 */
MUST_USE enum err sqlite_file_prove(const struct sqlite_file *f, struct upkeep_summary *ret_summary);

/* Copies a whole file, from and to the start.  Logs with the two names. */
struct sqlite_file_copy {
	int from;
	int to;
	const char *from_name;
	const char *to_name;
	const struct upkeep_watch *watch;
};
MUST_USE enum err sqlite_file_copy(const struct sqlite_file_copy *copy, uint64_t *ret_bytes);

/* Removes a database and what SQLite may have left beside it; what is not there is fine. */
void sqlite_file_remove(const char *path);

#endif
