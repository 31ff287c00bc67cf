/* SPDX-License-Identifier: Apache-2.0 */
/* What is the same for every engine: errors that stick, values by type. */
#include "store/sql.h"

#include "base/str.h"

#include <string.h>

enum err sql_begin(struct sql *sql, bool writes)
{
	return sql->driver->begin(sql, writes);
}

enum err sql_end(struct sql *sql, bool commit)
{
	return sql->driver->end(sql, commit);
}

enum err sql_guard(struct sql *sql, enum sql_guard step)
{
	return sql->driver->guard(sql, step);
}

enum err sql_try_write(struct sql *sql)
{
	return sql->driver->try_write(sql);
}

void sql_close(struct sql *sql)
{
	if (sql)
		sql->driver->close(sql);
}

uint64_t sql_changed(struct sql *sql)
{
	return sql->driver->changed(sql);
}

/* ---- asking ---- */

struct sql_query sql_ask(struct sql *sql, const struct sql_text *text, const char *what)
{
	struct sql_query q = {.sql = sql, .what = what, .e = E_OK};

	q.statement = sql->driver->statement(sql, text);
	return q;
}

static void sql_put(struct sql_query *q, const struct sql_value *value)
{
	q->put++;
	if (q->e == E_OK && !q->sql->driver->bind(q->sql, q->statement, q->put, value))
		q->e = E_NOMEM;
}

void sql_put_int(struct sql_query *q, int64_t value)
{
	sql_put(q, &(struct sql_value){.type = SQL_IS_INT, .number = value});
}

void sql_put_null(struct sql_query *q)
{
	sql_put(q, &(struct sql_value){.type = SQL_IS_NULL});
}

void sql_put_text(struct sql_query *q, const char *text)
{
	if (!text)
		sql_put_null(q);
	else
		sql_put(q, &(struct sql_value){.type = SQL_IS_TEXT, .data = text, .len = strlen(text)});
}

void sql_put_bytes(struct sql_query *q, const uint8_t *data, size_t len)
{
	if (!data)
		sql_put_null(q);
	else
		sql_put(q, &(struct sql_value){.type = SQL_IS_BYTES, .data = data, .len = len});
}

bool sql_next(struct sql_query *q)
{
	if (q->e != E_OK)
		return false;
	q->column = 0;
	q->at = q->sql->driver->step(q->sql, q->statement);
	if (q->at != SQL_ROW && q->at != SQL_DONE)
		q->e = q->sql->driver->failed(q->sql, q->what);
	return q->at == SQL_ROW && q->e == E_OK;
}

/* ---- the row at hand ---- */

static bool sql_get(struct sql_query *q, const char *column, struct sql_value *ret_value)
{
	if (q->e != E_OK)
		return false;
	q->e = q->sql->driver->column(q->sql, q->statement, column, &q->column, ret_value);
	return q->e == E_OK;
}

void sql_fail(struct sql_query *q, enum err e)
{
	if (q->e == E_OK)
		q->e = e;
}

void sql_damaged(struct sql_query *q)
{
	if (q->e == E_OK)
		q->e = q->sql->driver->damaged(q->sql, q->what);
}

bool sql_is_null(struct sql_query *q, const char *column)
{
	struct sql_value value;

	return !sql_get(q, column, &value) || value.type == SQL_IS_NULL;
}

int64_t sql_int(struct sql_query *q, const char *column)
{
	struct sql_value value;

	return sql_get(q, column, &value) && value.type == SQL_IS_INT ? value.number : 0;
}

void sql_text(struct sql_query *q, const char *column, char **ret_text)
{
	struct sql_value value;

	if (!sql_get(q, column, &value))
		return;
	if (value.type != SQL_IS_NULL && value.type != SQL_IS_TEXT)
		sql_damaged(q);
	else if (!str_dup_opt(value.type == SQL_IS_NULL ? NULL : value.data, ret_text))
		q->e = E_NOMEM;
}

void sql_fixed(struct sql_query *q, const char *column, char *dst, size_t dst_size)
{
	struct sql_value value;

	if (sql_get(q, column, &value) &&
	    (value.type != SQL_IS_TEXT || str_copy(dst, dst_size, value.data) != E_OK))
		sql_damaged(q);
}

void sql_bytes(struct sql_query *q, const char *column, uint8_t *dst, size_t len)
{
	struct sql_value value;

	if (!sql_get(q, column, &value))
		return;
	if (value.type == SQL_IS_BYTES && value.len == len)
		memcpy(dst, value.data, len);
	else
		sql_damaged(q);
}

/* ---- the end of it ---- */

enum err sql_done(struct sql_query *q)
{
	q->sql->driver->reset(q->sql, q->statement);
	return q->e;
}

enum err sql_found(struct sql_query *q, bool found)
{
	enum err e = sql_done(q);

	return e == E_OK && !found ? E_NOTFOUND : e;
}

enum err sql_run(struct sql_query *q)
{
	while (sql_next(q))
		;
	return sql_done(q);
}

enum err sql_try(struct sql_query *q)
{
	if (q->e == E_OK) {
		q->at = q->sql->driver->step(q->sql, q->statement);
		if (q->at == SQL_TAKEN)
			q->e = E_EXISTS;
		else if (q->at == SQL_MISSING)
			q->e = E_NOTFOUND;
		else if (q->at == SQL_FAILED)
			q->e = q->sql->driver->failed(q->sql, q->what);
	}
	return sql_done(q);
}
