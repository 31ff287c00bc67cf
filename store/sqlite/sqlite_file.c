/* SPDX-License-Identifier: Apache-2.0 */
/* One SQLite database file, looked at as a whole. */
#include "store/sqlite/sqlite_file.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "store/migrate.h"
#include "store/sqlite/sqlite.h"
#include "store/sqlite/sqlite_place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 5000
#define STEPS_BETWEEN_LOOKS 100000 /* of SQLite's machine: some milliseconds */
#define COPY_BYTES (1024 * 1024)
#define CLOCK_SLACK_US INT64_C(2000000)

/* ---- connection ---- */

static int on_progress(void *arg)
{
	const struct upkeep_watch *watch = arg;

	return !watch->go_on(watch->arg, UPKEEP_CHECK, 0, 0);
}

enum err sqlite_file_report(const struct sqlite_file *f, int rc, const char *what)
{
	switch (rc & 0xff) {
	case SQLITE_INTERRUPT:
		return E_TIMEOUT;
	case SQLITE_NOTADB:
		log_error("'%s' is not a database", f->name);
		return E_INVAL;
	default:
		break;
	}
	log_error("'%s': cannot %s: %s (sqlite error %d)", f->name, what,
		  f->db && sqlite3_extended_errcode(f->db) == rc ? sqlite3_errmsg(f->db) : sqlite3_errstr(rc),
		  rc);
	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return E_BUSY;
	case SQLITE_NOMEM:
		return E_NOMEM;
	case SQLITE_CANTOPEN:
		return !f->db ? E_IO : sqlite_place_error(sqlite3_system_errno(f->db));
	case SQLITE_PERM:
	case SQLITE_READONLY:
		return E_DENIED;
	case SQLITE_FULL:
	case SQLITE_IOERR:
		return E_IO;
	default:
		return E_STORE;
	}
}

enum err sqlite_file_open(struct sqlite_file *f, const char *path, int flags, const char *name,
			  const struct upkeep_watch *watch)
{
	memset(f, 0, sizeof(*f));
	f->name = name;
	f->watch = watch;

	int rc = sqlite3_open_v2(path, &f->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (rc != SQLITE_OK)
		return sqlite_file_report(f, rc, "open it");
	sqlite3_busy_timeout(f->db, BUSY_TIMEOUT_MS);
	sqlite3_db_config(f->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(f->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(f->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	if (watch)
		sqlite3_progress_handler(f->db, STEPS_BETWEEN_LOOKS, on_progress, (void *)(uintptr_t)watch);
	return sqlite_file_run(f,
			       "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
			       "PRAGMA temp_store = MEMORY",
			       "set it up");
}

void sqlite_file_close(struct sqlite_file *f)
{
	sqlite3_close_v2(f->db);
	f->db = NULL;
}

/* ---- statements ---- */

enum err sqlite_file_run(const struct sqlite_file *f, const char *sql, const char *what)
{
	int rc = sqlite3_exec(f->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? E_OK : sqlite_file_report(f, rc, what);
}

enum err sqlite_file_each(const struct sqlite_file *f, const char *sql, sqlite_file_row_fn take, void *arg)
{
	sqlite3_stmt *st = NULL;
	enum err e = E_OK;
	int rc = sqlite3_prepare_v2(f->db, sql, -1, &st, NULL);

	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW)
			e = take(arg, st);
		if (e != E_OK)
			break;
	}
	if (e == E_OK && rc != SQLITE_DONE)
		e = sqlite_file_report(f, rc, "read it");
	sqlite3_finalize(st);
	return e;
}

/* -1: none, which SQLite reads as NULL. */
static int sqlite_file_column(sqlite3_stmt *row, const char *column)
{
	for (int i = 0; i < sqlite3_column_count(row); i++) {
		const char *name = sqlite3_column_name(row, i);

		if (name && strcmp(name, column) == 0)
			return i;
	}
	return -1;
}

int64_t sqlite_file_number(sqlite3_stmt *row, const char *column)
{
	return sqlite3_column_int64(row, sqlite_file_column(row, column));
}

const char *sqlite_file_text(sqlite3_stmt *row, const char *column)
{
	return (const char *)sqlite3_column_text(row, sqlite_file_column(row, column));
}

struct number {
	bool found;
	int64_t value;
};

static enum err sqlite_file_take_number(void *arg, sqlite3_stmt *row)
{
	struct number *n = arg;

	if (!n->found)
		n->value = sqlite3_column_int64(row, 0);
	n->found = true;
	return E_OK;
}

enum err sqlite_file_int(const struct sqlite_file *f, const char *sql, int64_t *ret_value)
{
	struct number n = {0};
	enum err e = sqlite_file_each(f, sql, sqlite_file_take_number, &n);

	if (e == E_OK && !n.found)
		e = E_STORE;
	if (e == E_OK)
		*ret_value = n.value;
	return e;
}

/* ---- what it is ---- */

enum err sqlite_file_recognise(const struct sqlite_file *f, int *ret_version)
{
	int64_t id = 0, version = 0;
	size_t newest;
	enum err e = sqlite_file_int(f, "PRAGMA application_id", &id);

	(void)migrate_steps(&newest);
	if (e == E_OK)
		e = sqlite_file_int(f, "PRAGMA user_version", &version);
	if (e != E_OK)
		return e;
	if (id != SQLITE_PLACE_APPLICATION_ID) {
		log_error("'%s' is a database, but not one of csrd", f->name);
		return E_STORE;
	}
	if (version < 1 || version > (int64_t)newest) {
		log_error("'%s' has schema version %lld, this program knows up to %zu: use the csrctl of the "
			  "csrd that made it",
			  f->name, (long long)version, newest);
		return E_STORE;
	}
	*ret_version = (int)version;
	return E_OK;
}

/* ---- integrity ---- */

struct problems {
	upkeep_problem_fn tell;
	void *arg;
	const char *column; /* of the messages */
};

/* One message may have several lines; the first names the database that it is about. */
static enum err take_integrity(void *arg, sqlite3_stmt *row)
{
	const struct problems *p = arg;
	const char *text = sqlite_file_text(row, p->column);
	const char *last;

	if (!text)
		return E_NOMEM;
	if ((sqlite_unread_page(text) & 0xff) == SQLITE_NOMEM)
		return E_NOMEM;
	last = strrchr(text, '\n');
	if (strcmp(text, "ok") != 0)
		p->tell(p->arg, "pages", last ? last + 1 : text);
	return E_OK;
}

static enum err take_reference(void *arg, sqlite3_stmt *row)
{
	const struct problems *p = arg;
	const char *table = sqlite_file_text(row, "table");
	const char *parent = sqlite_file_text(row, "parent");
	char text[160];

	if (!table || !parent)
		return E_NOMEM;
	snprintf(text, sizeof(text), "row %lld names a row of table %s that does not exist",
		 (long long)sqlite_file_number(row, "rowid"), parent);
	p->tell(p->arg, table, text);
	return E_OK;
}

enum err sqlite_file_integrity(const struct sqlite_file *f, bool full,
			       upkeep_problem_fn sqlite_file_on_problem, void *arg)
{
	struct problems p = {
	    .tell = sqlite_file_on_problem, .arg = arg, .column = full ? "integrity_check" : "quick_check"};
	enum err e =
	    sqlite_file_each(f, full ? "PRAGMA integrity_check" : "PRAGMA quick_check", take_integrity, &p);

	return e == E_OK ? sqlite_file_each(f, "PRAGMA foreign_key_check", take_reference, &p) : e;
}

/* ---- counting ---- */

#define NEWEST "SELECT coalesce((SELECT at_us FROM audit ORDER BY sequence DESC LIMIT 1), 0)"

static enum err take_state(void *arg, sqlite3_stmt *row)
{
	struct upkeep_summary *s = arg;
	int64_t state = sqlite_file_number(row, "state");

	if (state < CSR_PENDING || state > CSR_FAILED)
		return E_STORE;
	s->csrs[state] = (uint64_t)sqlite_file_number(row, "csrs");
	return E_OK;
}

static enum err take_future(void *arg, sqlite3_stmt *row)
{
	struct upkeep_summary *s = arg;
	const char *id = sqlite_file_text(row, "first_id");

	s->future = (uint64_t)sqlite_file_number(row, "csrs");
	return id && str_copy(s->future_id, sizeof(s->future_id), id) == E_OK ? E_OK : E_STORE;
}

static enum err count_future(const struct sqlite_file *f, struct upkeep_summary *s)
{
	char sql[160];

	snprintf(sql, sizeof(sql),
		 "SELECT coalesce(min(id), '') AS first_id, count(*) AS csrs FROM csrs"
		 " WHERE state IN (1, 3) AND updated_us > %" PRId64,
		 clock_wall_us() + CLOCK_SLACK_US);
	return sqlite_file_each(f, sql, take_future, s);
}

#define ENDING_US (INT64_C(14) * 24 * 3600 * 1000000)

static enum err count_ending(const struct sqlite_file *f, struct upkeep_summary *s)
{
	int64_t now_us = clock_wall_us(), count = 0;
	char sql[160];
	enum err e;

	snprintf(sql, sizeof(sql),
		 "SELECT count(*) FROM principals WHERE revoked_us = 0 AND expires_us > %" PRId64
		 " AND expires_us <= %" PRId64,
		 now_us, now_us + ENDING_US);
	e = sqlite_file_int(f, sql, &count);
	s->ending = (uint64_t)count;
	return e;
}

enum err sqlite_file_count(const struct sqlite_file *f, struct upkeep_summary *ret_summary)
{
	struct upkeep_summary s = *ret_summary;
	const struct {
		const char *sql;
		uint64_t *count;
	} tables[] = {
	    {"SELECT count(*) FROM accounts", &s.accounts},     {"SELECT count(*) FROM zones", &s.zones},
	    {"SELECT count(*) FROM principals", &s.principals}, {"SELECT count(*) FROM grants", &s.grants},
	    {"SELECT count(*) FROM audit", &s.audit_records},
	};
	enum err e = E_OK;

	for (size_t i = 0; e == E_OK && i < sizeof(tables) / sizeof(tables[0]); i++) {
		int64_t count = 0;

		e = sqlite_file_int(f, tables[i].sql, &count);
		*tables[i].count = (uint64_t)count;
	}
	if (e == E_OK)
		e = sqlite_file_int(f, NEWEST, &s.newest_us);
	memset(s.csrs, 0, sizeof(s.csrs));
	if (e == E_OK)
		e = sqlite_file_each(f, "SELECT state, count(*) AS csrs FROM csrs GROUP BY state", take_state,
				     &s);
	if (e == E_OK)
		e = count_future(f, &s);
	if (e == E_OK)
		e = count_ending(f, &s);
	if (e == E_OK)
		*ret_summary = s;
	return e;
}

/* ---- all of it ---- */

struct proof {
	const struct sqlite_file *f;
	bool failed;
};

static void sqlite_file_on_problem(void *arg, const char *object, const char *text)
{
	struct proof *proof = arg;

	if (!proof->failed)
		log_error("'%s' is damaged: %s: %s", proof->f->name, object, text);
	proof->failed = true;
}

enum err sqlite_file_prove(const struct sqlite_file *f, struct upkeep_summary *ret_summary)
{
	struct proof proof = {.f = f};
	struct upkeep_summary s = {0};
	int64_t pages = 0, page_bytes = 0;
	enum err e = sqlite_file_recognise(f, &s.schema_version);

	if (e == E_OK)
		e = sqlite_file_run(f, "BEGIN", "read it");
	if (e == E_OK)
		e = sqlite_file_integrity(f, true, sqlite_file_on_problem, &proof);
	if (e == E_OK && proof.failed)
		e = E_STORE;
	if (e == E_OK)
		e = sqlite_file_count(f, &s);
	if (e == E_OK)
		e = sqlite_file_int(f, "PRAGMA page_count", &pages);
	if (e == E_OK)
		e = sqlite_file_int(f, "PRAGMA page_size", &page_bytes);
	if (e == E_OK)
		e = sqlite_file_run(f, "COMMIT", "read it");
	s.bytes = (uint64_t)pages * (uint64_t)page_bytes;
	if (e == E_OK)
		*ret_summary = s;
	return e;
}

/* ---- files ---- */

static enum err copy_failed(const char *what, const char *name)
{
	int error = errno;

	log_error("cannot %s '%s': %s", what, name, strerror(error));
	return sqlite_place_error(error);
}

static enum err copy_bytes(const struct sqlite_file_copy *c, uint64_t total, uint8_t *block,
			   uint64_t *ret_bytes)
{
	uint64_t at = 0;

	for (;;) {
		ssize_t n = pread(c->from, block, COPY_BYTES, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return copy_failed("read", c->from_name);
		if (n == 0)
			break;
		if (fd_write_all(c->to, block, (size_t)n) != E_OK)
			return copy_failed("write", c->to_name);
		at += (uint64_t)n;
		if (!c->watch->go_on(c->watch->arg, UPKEEP_WRITE, at, total))
			return E_TIMEOUT;
	}
	if (fd_sync(c->to) != E_OK)
		return copy_failed("flush", c->to_name);
	*ret_bytes = at;
	return E_OK;
}

enum err sqlite_file_copy(const struct sqlite_file_copy *copy, uint64_t *ret_bytes)
{
	struct stat st;
	uint8_t *block;
	enum err e;

	if (fstat(copy->from, &st) != 0)
		return copy_failed("read", copy->from_name);
	if (ftruncate(copy->to, 0) != 0 || lseek(copy->to, 0, SEEK_SET) != 0)
		return copy_failed("write", copy->to_name);
	block = malloc(COPY_BYTES);
	if (!block)
		return E_NOMEM;
	e = copy_bytes(copy, (uint64_t)st.st_size, block, ret_bytes);
	free(block);
	return e;
}

void sqlite_file_remove(const char *path)
{
	static const char *const endings[] = {"", "-wal", "-shm", "-journal"};

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		struct buf name;

		buf_init(&name, SQLITE_PLACE_PATH_MAX);
		buf_printf(&name, "%s%s", path, endings[i]);
		if (buf_status(&name) == E_OK && unlink(buf_text(&name)) != 0 && errno != ENOENT)
			log_warn("cannot remove '%s': %s", buf_text(&name), strerror(errno));
		buf_release(&name);
	}
}
