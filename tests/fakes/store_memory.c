/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of the tests: SQLite's answers, from a database in memory, and between
 * them and the store whatever a test has ordered.
 */
#include "tests/fakes/store_memory.h"

#include "base/str.h"
#include "store/sql.h"
#include "store/sqlite/sqlite.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct database {
	struct sql sql; /* first */
	struct database *next;
	char *name;
	struct sql *inner;
	bool writes;       /* the transaction may */
	const void *audit; /* the statement with which every operation that writes ends */
	enum err ordered;  /* what the statement at hand fails with */
};

static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t control_changed = PTHREAD_COND_INITIALIZER;
static struct {
	enum err e;
	unsigned times;
} faults[STORE_MEMORY_COMMIT + 1];
static bool pause_ordered, paused;
static unsigned write_commits, read_commits;
static struct database *databases;

/* ---- orders of the test ---- */

void store_memory_fail(enum store_memory_point at, enum err e, unsigned times)
{
	pthread_mutex_lock(&control_lock);
	faults[at].e = e;
	faults[at].times = times;
	pthread_mutex_unlock(&control_lock);
}

static enum err fault_at(enum store_memory_point at)
{
	enum err e = E_OK;

	pthread_mutex_lock(&control_lock);
	if (faults[at].times > 0) {
		faults[at].times--;
		e = faults[at].e;
	}
	pthread_mutex_unlock(&control_lock);
	return e;
}

static void set_pause(bool on)
{
	pthread_mutex_lock(&control_lock);
	pause_ordered = on;
	pthread_cond_broadcast(&control_changed);
	pthread_mutex_unlock(&control_lock);
}

void store_memory_pause(void)
{
	set_pause(true);
}

void store_memory_resume(void)
{
	set_pause(false);
}

void store_memory_wait_paused(void)
{
	pthread_mutex_lock(&control_lock);
	while (!paused)
		pthread_cond_wait(&control_changed, &control_lock);
	pthread_mutex_unlock(&control_lock);
}

static void stand_at_pause(void)
{
	pthread_mutex_lock(&control_lock);
	while (pause_ordered) {
		paused = true;
		pthread_cond_broadcast(&control_changed);
		pthread_cond_wait(&control_changed, &control_lock);
	}
	paused = false;
	pthread_mutex_unlock(&control_lock);
}

static unsigned read_count(const unsigned *count)
{
	pthread_mutex_lock(&control_lock);
	unsigned value = *count;
	pthread_mutex_unlock(&control_lock);
	return value;
}

unsigned store_memory_write_commits(void)
{
	return read_count(&write_commits);
}

unsigned store_memory_read_commits(void)
{
	return read_count(&read_commits);
}

/* ---- transactions ---- */

static struct database *database_of(struct sql *sql)
{
	return (struct database *)sql;
}

static enum err memory_begin(struct sql *sql, bool writes)
{
	struct database *d = database_of(sql);

	stand_at_pause();
	d->writes = writes;
	enum err e = writes ? fault_at(STORE_MEMORY_BEGIN) : E_OK;
	return e == E_OK ? sql_begin(d->inner, writes) : e;
}

static enum err memory_end(struct sql *sql, bool commit)
{
	struct database *d = database_of(sql);
	enum err ordered = commit && d->writes ? fault_at(STORE_MEMORY_COMMIT) : E_OK;
	enum err e = sql_end(d->inner, commit && (ordered == E_OK || ordered == E_UNCERTAIN));

	if (ordered != E_OK)
		return ordered;
	if (e == E_OK && commit) {
		pthread_mutex_lock(&control_lock);
		if (d->writes)
			write_commits++;
		else
			read_commits++;
		pthread_mutex_unlock(&control_lock);
	}
	return e;
}

static enum err memory_guard(struct sql *sql, enum sql_guard step)
{
	return sql_guard(database_of(sql)->inner, step);
}

static enum err memory_try_write(struct sql *sql)
{
	enum err e = fault_at(STORE_MEMORY_BEGIN);

	if (e == E_OK)
		e = fault_at(STORE_MEMORY_COMMIT);
	return e == E_OK ? sql_try_write(database_of(sql)->inner) : e;
}

/* A restart: what was committed stays. */
static void memory_close(struct sql *sql)
{
	(void)sql;
}

/* ---- statements ---- */

/* One record, not those of many rows at a time. */
static bool adds_audit_record(const struct sql_text *text)
{
	return text->text && str_starts_with(text->text, "INSERT INTO audit ") &&
	       strstr(text->text, " VALUES ");
}

static void *memory_statement(struct sql *sql, const struct sql_text *text)
{
	struct database *d = database_of(sql);
	void *statement = d->inner->driver->statement(d->inner, text);

	if (adds_audit_record(text))
		d->audit = statement;
	if (!d->writes)
		d->ordered = fault_at(STORE_MEMORY_READ);
	return statement;
}

static bool memory_bind(struct sql *sql, void *statement, unsigned at, const struct sql_value *value)
{
	struct database *d = database_of(sql);

	return d->inner->driver->bind(d->inner, statement, at, value);
}

static enum sql_step memory_step(struct sql *sql, void *statement)
{
	struct database *d = database_of(sql);

	if (d->ordered != E_OK)
		return SQL_FAILED;
	enum sql_step at = d->inner->driver->step(d->inner, statement);
	if (at == SQL_DONE && statement == d->audit)
		d->ordered = fault_at(STORE_MEMORY_WRITE);
	return d->ordered == E_OK ? at : SQL_FAILED;
}

static enum err memory_column(struct sql *sql, void *statement, const char *name, unsigned *at,
			      struct sql_value *ret_value)
{
	struct database *d = database_of(sql);

	return d->inner->driver->column(d->inner, statement, name, at, ret_value);
}

static void memory_reset(struct sql *sql, void *statement)
{
	struct database *d = database_of(sql);

	d->inner->driver->reset(d->inner, statement);
}

static uint64_t memory_changed(struct sql *sql)
{
	return sql_changed(database_of(sql)->inner);
}

static enum err memory_failed(struct sql *sql, const char *what)
{
	struct database *d = database_of(sql);
	enum err e = d->ordered;

	d->ordered = E_OK;
	return e != E_OK ? e : d->inner->driver->failed(d->inner, what);
}

static enum err memory_damaged(struct sql *sql, const char *what)
{
	struct database *d = database_of(sql);

	return d->inner->driver->damaged(d->inner, what);
}

static const struct sql_driver memory_driver = {
    .begin = memory_begin,
    .end = memory_end,
    .guard = memory_guard,
    .try_write = memory_try_write,
    .close = memory_close,
    .statement = memory_statement,
    .bind = memory_bind,
    .step = memory_step,
    .column = memory_column,
    .reset = memory_reset,
    .changed = memory_changed,
    .failed = memory_failed,
    .damaged = memory_damaged,
};

/* ---- databases ---- */

static enum err memory_open(const struct store_options *options, const char *location, struct sql **ret_sql)
{
	struct database *d;

	(void)options;
	enum err e = fault_at(STORE_MEMORY_OPEN);
	if (e != E_OK)
		return e;
	for (d = databases; d; d = d->next) {
		if (strcmp(d->name, location) == 0)
			break;
	}
	if (!d) {
		d = calloc(1, sizeof(*d));
		if (!d || !(d->name = strdup(location)) || sqlite_open_memory(&d->inner) != E_OK)
			abort(); /* test programs have memory */
		d->sql.driver = &memory_driver;
		d->next = databases;
		databases = d;
	}
	*ret_sql = &d->sql;
	return E_OK;
}

const struct sql_engine store_memory_engine = {.scheme = "memory", .open = memory_open};

enum err store_memory_open(const char *name, struct store **ret_store)
{
	char url[128] = "memory:";
	struct store_options options = {.url = url, .queue_max = 1024, .create = true};

	strncat(url, name, sizeof(url) - strlen(url) - 1);
	return store_open_engine(&store_memory_engine, &options, ret_store);
}

struct sqlite3 *store_memory_handle(const char *name)
{
	for (const struct database *d = databases; d; d = d->next)
		if (strcmp(d->name, name) == 0)
			return ((const struct sqlite *)d->inner)->db;
	return NULL;
}

void store_memory_forget(void)
{
	while (databases) {
		struct database *d = databases;

		databases = d->next;
		sql_close(d->inner);
		free(d->name);
		free(d);
	}
	memset(faults, 0, sizeof(faults));
	pause_ordered = false;
	write_commits = read_commits = 0;
}
