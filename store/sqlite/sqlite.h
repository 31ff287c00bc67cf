/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store: SQLite in WAL mode, every commit flushed.  The engine of
 * store/sql.h, and what the files of it share.
 */
#ifndef CSRD_STORE_SQLITE_SQLITE_H
#define CSRD_STORE_SQLITE_SQLITE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "store/sql.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

extern const struct sql_engine sqlite_engine;

/*
 * An empty database in memory, its schema brought up to date: for tests, which
 * need the engine's answers and no file.
 */
MUST_USE enum err sqlite_open_memory(struct sql **ret_sql);

/* ---- private to store/sqlite/ ---- */

/* What SQLite keeps beside the database, and open for as long. */
enum sqlite_beside { SQLITE_BESIDE_LOG, SQLITE_BESIDE_INDEX, SQLITE_BESIDE_LEN };

#define SQLITE_PARAMS_MAX 32
#define SQLITE_BUSY_TIMEOUT_MS 5000

struct sqlite_statement {
	sqlite3_stmt *st;
	int params[SQLITE_PARAMS_MAX + 1]; /* SQLite's number of $1, … */
	char **columns;
	unsigned columns_len;
};

struct sqlite {
	struct sql sql;              /* first */
	const struct sqlite *writer; /* whose this reader is; NULL: it writes itself */
	sqlite3 *db;
	char *path;  /* resolved */
	int lock_fd; /* sqlite_place_lock or sqlite_place_share; -1: none */
	int file_fd; /* sqlite_place_lock_file; -1: none */
	struct {
		char *path; /* NULL: in memory */
		ino_t inode;
	} beside[SQLITE_BESIDE_LEN];
	bool writes;         /* the transaction may */
	atomic_bool stopped; /* a flush failed: see sqlite.c.  The writer's is also its readers' */
	int restart_at;      /* pages of the log at which it starts over, if readers let it */
	int rc;              /* of the last step */
	enum err reason;     /* what E_STORE stands for, of the last error: E_LIMIT, E_DENIED, E_IO or E_STORE
				itself */
	struct log_gate gate;
	sqlite3_stmt *own[7];                /* of transactions */
	struct sqlite_statement *statements; /* by the numbers of store/sql_text.h; NULL: none yet */
};

/* A connection that is not open yet. */
struct sqlite *sqlite_new(void); /* NULL: out of memory */
void sqlite_free(struct sqlite *s);

MUST_USE enum err sqlite_prepare_all(struct sqlite *s);
/* Closes what is open of SQLite; `s` may be connected again. */
void sqlite_disconnect(struct sqlite *s);

/* Turns a result code into ours, and logs it, at most one line in ten seconds. */
enum err sqlite_report(struct sqlite *s, int rc, const char *what);
/*
 * Of an answer of quick_check or integrity_check: the result code for which a page could not be read, which
 * tells nothing of what is in it; SQLITE_OK: it is about something else.
 */
int sqlite_unread_page(const char *answer);
MUST_USE enum err sqlite_execute(struct sqlite *s, const char *sql, const char *what);
/* The first column of the first row of a statement without parameters. */
MUST_USE enum err sqlite_read_int(struct sqlite *s, const char *sql, int64_t *ret_value);

#endif
