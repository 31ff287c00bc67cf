/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine over an open SQLite database: statements, transactions, errors.
 *
 * A commit whose flush fails may come back after a power cut, and what the
 * kernel still has of the file is not known any more; so such a database is
 * not used again until the program is restarted.
 */
#include "store/sqlite/sqlite.h"

#include "base/fd.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_EVERY_MS 10000
#define PROBE_BYTES "65536" /* more than what one request writes */

enum own { BEGIN_READ, BEGIN_WRITE, COMMIT, ROLLBACK, GUARD_SET, GUARD_KEEP, GUARD_UNDO, OWN_LEN };
static const char *const own_sql[OWN_LEN] = {
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [GUARD_SET] = "SAVEPOINT guard",
    [GUARD_KEEP] = "RELEASE guard",
    [GUARD_UNDO] = "ROLLBACK TO guard",
};

static const struct sql_driver sqlite_driver;

/* ---- errors ---- */

static enum err sqlite_err_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return E_OK;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return E_BUSY;
	case SQLITE_NOMEM:
		return E_NOMEM;
	default:
		return E_STORE;
	}
}

/* What E_STORE stands for where the system is to blame and not the file's contents; else E_STORE itself. */
static enum err sqlite_reason_of(int rc, int os)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return E_LIMIT;
	case SQLITE_PERM:
	case SQLITE_READONLY:
		return E_DENIED;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (os == ENOSPC || os == EDQUOT)
			return E_LIMIT;
		return os == EACCES || os == EPERM || os == EROFS ? E_DENIED : E_IO;
	default:
		return E_STORE;
	}
}

enum err sqlite_report(struct sqlite *s, int rc, const char *what)
{
	bool known = s->db && sqlite3_extended_errcode(s->db) == rc;
	bool of_os = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;
	int os = known && of_os ? sqlite3_system_errno(s->db) : 0;
	unsigned suppressed = 0;

	s->reason = sqlite_reason_of(rc, os);
	if (log_gate_pass(&s->gate, LOG_EVERY_MS, &suppressed)) {
		log_error("store '%s': cannot %s: %s%s%s (sqlite error %d, %u more not logged)", s->path,
			  what, known ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc), os == 0 ? "" : ": ",
			  os == 0 ? "" : strerror(os), rc, suppressed);
	}
	return sqlite_err_of(rc);
}

int sqlite_unread_page(const char *answer)
{
	static const char words[] = "error code=";
	const char *code = strstr(answer, words);
	int rc = !code ? SQLITE_OK : (int)strtol(code + sizeof(words) - 1, NULL, 10);

	return (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_IOERR ? rc : SQLITE_OK;
}

enum err sqlite_read_int(struct sqlite *s, const char *sql, int64_t *ret_value)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret_value = sqlite3_column_int64(st, 0);
	enum err e = rc == SQLITE_ROW ? E_OK : sqlite_report(s, rc, "read its settings");
	sqlite3_finalize(st);
	return e;
}

enum err sqlite_execute(struct sqlite *s, const char *sql, const char *what)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? E_OK : sqlite_report(s, rc, what);
}

/* ---- statements ---- */

static enum err sqlite_prepare(struct sqlite *s, const char *sql, sqlite3_stmt **ret_st)
{
	int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_st, NULL);

	return rc == SQLITE_OK ? E_OK : sqlite_report(s, rc, "prepare a statement: its schema is damaged");
}

/* The names are copied: SQLite's own move when a statement is prepared again. */
static enum err sqlite_prepare_one(struct sqlite *s, const struct sql_text *text,
				   struct sqlite_statement *statement)
{
	enum err e = sqlite_prepare(s, text->sqlite ? text->sqlite : text->text, &statement->st);

	if (e != E_OK)
		return e;
	for (int i = 1; i <= SQLITE_PARAMS_MAX; i++) {
		char name[8];

		snprintf(name, sizeof(name), "$%d", i);
		statement->params[i] = sqlite3_bind_parameter_index(statement->st, name);
	}
	unsigned len = (unsigned)sqlite3_column_count(statement->st);
	if (len == 0)
		return E_OK;
	statement->columns = calloc(len, sizeof(*statement->columns));
	if (!statement->columns)
		return E_NOMEM;
	statement->columns_len = len;
	for (unsigned i = 0; i < len; i++) {
		const char *name = sqlite3_column_name(statement->st, (int)i);

		statement->columns[i] = name ? strdup(name) : NULL;
		if (!statement->columns[i])
			return E_NOMEM;
	}
	return E_OK;
}

enum err sqlite_prepare_all(struct sqlite *s)
{
	size_t len = sql_text_count();
	enum err e = E_OK;

	for (int i = 0; e == E_OK && i < OWN_LEN; i++)
		e = sqlite_prepare(s, own_sql[i], &s->own[i]);
	if (e == E_OK) {
		s->statements = calloc(len, sizeof(*s->statements));
		e = !s->statements ? E_NOMEM : E_OK;
	}
	for (size_t i = 0; e == E_OK && i < len; i++)
		e = sqlite_prepare_one(s, sql_text_at(i), &s->statements[i]);
	return e;
}

static void sqlite_statement_release(struct sqlite_statement *statement)
{
	sqlite3_finalize(statement->st);
	for (unsigned i = 0; i < statement->columns_len; i++)
		free(statement->columns[i]);
	free(statement->columns);
	memset(statement, 0, sizeof(*statement));
}

void sqlite_disconnect(struct sqlite *s)
{
	for (int i = 0; i < OWN_LEN; i++) {
		sqlite3_finalize(s->own[i]);
		s->own[i] = NULL;
	}
	for (size_t i = 0; s->statements && i < sql_text_count(); i++)
		sqlite_statement_release(&s->statements[i]);
	free(s->statements);
	s->statements = NULL;
	sqlite3_close_v2(s->db);
	s->db = NULL;
}

struct sqlite *sqlite_new(void)
{
	struct sqlite *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->sql.driver = &sqlite_driver;
	s->lock_fd = -1;
	s->file_fd = -1;
	return s;
}

void sqlite_free(struct sqlite *s)
{
	if (!s)
		return;
	sqlite_disconnect(s);
	fd_close(&s->file_fd); /* not before SQLite has closed it */
	fd_close(&s->lock_fd);
	for (int i = 0; i < SQLITE_BESIDE_LEN; i++)
		free(s->beside[i].path);
	free(s->path);
	free(s);
}

/* ---- running one statement ---- */

static struct sqlite *sqlite_of(struct sql *sql)
{
	return (struct sqlite *)sql;
}

static void *sqlite_statement(struct sql *sql, const struct sql_text *text)
{
	return &sqlite_of(sql)->statements[sql_text_number(text)];
}

static bool sqlite_bind(struct sql *sql, void *statement, unsigned at, const struct sql_value *value)
{
	const struct sqlite_statement *statement_of = statement;
	sqlite3_stmt *st = statement_of->st;
	int rc = SQLITE_MISUSE;

	(void)sql;
	assert(at >= 1 && at <= SQLITE_PARAMS_MAX);
	int param = statement_of->params[at];
	if (param == 0)
		return true; /* the text has no use for it */
	switch (value->type) {
	case SQL_IS_NULL:
		rc = sqlite3_bind_null(st, param);
		break;
	case SQL_IS_INT:
		rc = sqlite3_bind_int64(st, param, value->number);
		break;
	case SQL_IS_TEXT:
		rc = sqlite3_bind_text(st, param, value->data, (int)value->len, SQLITE_STATIC);
		break;
	case SQL_IS_BYTES:
		rc = sqlite3_bind_blob(st, param, value->data, (int)value->len, SQLITE_STATIC);
		break;
	}
	return rc == SQLITE_OK;
}

/*
 * Whether a row is in the way: by a constraint, or by a trigger of the schema
 * that guards the same keys and comes first.
 */
static bool sqlite_is_taken(const struct sqlite *s, int rc)
{
	return rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE ||
	       (rc == SQLITE_CONSTRAINT_TRIGGER && strstr(sqlite3_errmsg(s->db), "exists already"));
}

static enum sql_step sqlite_step(struct sql *sql, void *statement)
{
	struct sqlite *s = sqlite_of(sql);

	s->rc = sqlite3_step(((struct sqlite_statement *)statement)->st);
	if (s->rc == SQLITE_ROW)
		return SQL_ROW;
	if (s->rc == SQLITE_DONE)
		return SQL_DONE;
	if (sqlite_is_taken(s, s->rc))
		return SQL_TAKEN;
	return s->rc == SQLITE_CONSTRAINT_FOREIGNKEY ? SQL_MISSING : SQL_FAILED;
}

static int sqlite_column_at(const struct sqlite_statement *statement, const char *name, unsigned *at)
{
	for (unsigned i = 0; i < statement->columns_len; i++) {
		unsigned column = (*at + i) % statement->columns_len;

		if (strcmp(statement->columns[column], name) == 0) {
			*at = column + 1;
			return (int)column;
		}
	}
	assert(!"a column that the statement does not name");
	return 0;
}

static enum err sqlite_column(struct sql *sql, void *statement, const char *name, unsigned *at,
			      struct sql_value *ret_value)
{
	const struct sqlite_statement *statement_of = statement;
	sqlite3_stmt *st = statement_of->st;
	int column = sqlite_column_at(statement_of, name, at);
	struct sql_value value = {.type = SQL_IS_NULL};

	(void)sql;
	switch (sqlite3_column_type(st, column)) {
	case SQLITE_INTEGER:
		value.type = SQL_IS_INT;
		value.number = sqlite3_column_int64(st, column);
		break;
	case SQLITE_TEXT:
		value.type = SQL_IS_TEXT;
		value.data = sqlite3_column_text(st, column);
		if (!value.data)
			return E_NOMEM;
		break;
	case SQLITE_BLOB:
		value.type = SQL_IS_BYTES;
		value.data = sqlite3_column_blob(st, column);
		break;
	default:
		break;
	}
	if (value.data)
		value.len = (size_t)sqlite3_column_bytes(st, column);
	*ret_value = value;
	return E_OK;
}

static void sqlite_reset(struct sql *sql, void *statement)
{
	sqlite3_stmt *st = ((struct sqlite_statement *)statement)->st;

	(void)sql;
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

static uint64_t sqlite_changed(struct sql *sql)
{
	return (uint64_t)sqlite3_changes64(sqlite_of(sql)->db);
}

static enum err sqlite_failed(struct sql *sql, const char *what)
{
	return sqlite_report(sqlite_of(sql), sqlite_of(sql)->rc, what);
}

static enum err sqlite_damaged(struct sql *sql, const char *what)
{
	return sqlite_report(sqlite_of(sql), SQLITE_CORRUPT, what);
}

static enum err sqlite_run_own(struct sqlite *s, enum own which, const char *what)
{
	sqlite3_stmt *st = s->own[which];
	int rc = sqlite3_step(st);
	enum err e = rc == SQLITE_DONE ? E_OK : sqlite_report(s, rc, what);

	sqlite3_reset(st);
	return e;
}

/* ---- transactions ---- */

static bool sqlite_is_beside(const struct sqlite *s)
{
	for (int i = 0; i < SQLITE_BESIDE_LEN; i++) {
		struct stat st;

		if (stat(s->beside[i].path, &st) != 0 || st.st_ino != s->beside[i].inode)
			return false;
	}
	return true;
}

/* Whether the names still lead to what is open. */
static bool sqlite_is_in_place(const struct sqlite *s)
{
	int moved = 0;

	if (!s->beside[0].path) /* in memory */
		return true;
	return sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && !moved &&
	       sqlite_is_beside(s);
}

/*
 * Whether what is open is what the next start will find: a file that was
 * removed or replaced takes what is written to it with it.
 */
static enum err sqlite_check_in_place(struct sqlite *s)
{
	unsigned suppressed = 0;

	if (sqlite_is_in_place(s))
		return E_OK;
	if (log_gate_pass(&s->gate, LOG_EVERY_MS, &suppressed))
		log_error("store '%s': its file, or the log beside it, was removed or replaced while it was "
			  "open: it is no longer read or written; put it back, or stop, restore a "
			  "backup, start (%u more not logged)",
			  s->path, suppressed);
	return E_UNAVAIL;
}

static enum err sqlite_begin(struct sql *sql, bool writes)
{
	struct sqlite *s = sqlite_of(sql);

	if (atomic_load(&(s->writer ? s->writer : s)->stopped))
		return E_STORE;
	enum err e = sqlite_check_in_place(s);
	if (e != E_OK)
		return e;
	s->writes = writes;
	return sqlite_run_own(s, writes ? BEGIN_WRITE : BEGIN_READ, "begin a transaction");
}

static void sqlite_roll_back(struct sqlite *s)
{
	/* SQLite has ended it already after some errors. */
	if (sqlite3_get_autocommit(s->db) == 0) {
		enum err e = sqlite_run_own(s, ROLLBACK, "roll back");
		(void)e;
	}
}

static enum err sqlite_end(struct sql *sql, bool commit)
{
	struct sqlite *s = sqlite_of(sql);

	if (!commit) {
		sqlite_roll_back(s);
		return E_OK;
	}
	int rc = sqlite3_step(s->own[COMMIT]);
	sqlite3_reset(s->own[COMMIT]);
	if (rc == SQLITE_DONE)
		return s->writes && sqlite_check_in_place(s) != E_OK ? E_UNCERTAIN : E_OK;
	enum err e = sqlite_report(s, rc, "commit");
	sqlite_roll_back(s);
	if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC) {
		atomic_store(&s->stopped, true);
		log_error("store '%s' is no longer used: the disk refused a flush; check the disk, then "
			  "restart",
			  s->path);
		return E_UNCERTAIN;
	}
	return e;
}

static enum err sqlite_guard(struct sql *sql, enum sql_guard step)
{
	struct sqlite *s = sqlite_of(sql);

	if (sqlite3_get_autocommit(s->db) != 0)
		return E_STORE; /* lost in the operation, which has logged why */
	if (step == SQL_GUARD_SET)
		return sqlite_run_own(s, GUARD_SET, "set a savepoint");
	if (step == SQL_GUARD_UNDO) {
		enum err e = sqlite_run_own(s, GUARD_UNDO, "roll back to a savepoint");
		if (e != E_OK)
			return e;
	}
	return sqlite_run_own(s, GUARD_KEEP, "release a savepoint");
}

static enum err sqlite_write_probe(struct sqlite *s)
{
	enum err e = sqlite_begin(&s->sql, true);

	if (e != E_OK)
		return e;
	e = sqlite_execute(s, "UPDATE write_probe SET filling = randomblob(" PROBE_BYTES ")",
			   "write to it once more");
	if (e == E_OK)
		return sqlite_end(&s->sql, true);
	sqlite_roll_back(s);
	return e;
}

static enum err sqlite_try_write(struct sql *sql)
{
	struct sqlite *s = sqlite_of(sql);

	s->reason = E_OK;
	sqlite3_busy_timeout(s->db, 0);
	enum err e = sqlite_write_probe(s);
	sqlite3_busy_timeout(s->db, SQLITE_BUSY_TIMEOUT_MS);
	return e == E_STORE && s->reason != E_OK ? s->reason : e;
}

static void sqlite_close(struct sql *sql)
{
	sqlite_free(sqlite_of(sql));
}

static const struct sql_driver sqlite_driver = {
    .begin = sqlite_begin,
    .end = sqlite_end,
    .guard = sqlite_guard,
    .try_write = sqlite_try_write,
    .close = sqlite_close,
    .statement = sqlite_statement,
    .bind = sqlite_bind,
    .step = sqlite_step,
    .column = sqlite_column,
    .reset = sqlite_reset,
    .changed = sqlite_changed,
    .failed = sqlite_failed,
    .damaged = sqlite_damaged,
};
