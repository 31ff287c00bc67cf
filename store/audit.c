/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail: what is written to it, and what is read of it. */
#include "store/audit.h"

#include "base/clock.h"
#include "store/call.h"
#include "store/sql.h"

#include <stdlib.h>
#include <string.h>

/* ---- statements ---- */

#define AUDIT_COLUMNS "sequence, at_us, action, object, actor, request_id, peer, detail"

enum {
	AUDIT_ADD,
	AUDIT_LIST,
	AUDIT_SEARCH,
	AUDIT_LAST,
};
static const struct sql_text audit_texts[] = {
    [AUDIT_ADD] = {"INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
		   " VALUES ($1, $2, $3, $4, $5, $6, $7)"},
    [AUDIT_LIST] = {"SELECT " AUDIT_COLUMNS " FROM audit"
		    " WHERE object = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"},
    [AUDIT_SEARCH] = {"SELECT " AUDIT_COLUMNS " FROM audit"
		      " WHERE (at_us >= $1 OR $1 = 0) AND (at_us < $2 OR $2 = 0)"
		      " AND (actor = $3 OR $3 IS NULL) AND (object = $4 OR $4 IS NULL)"
		      " AND (action = $5 OR $5 IS NULL OR substr(action, 1, length($5) + 1) = $5 || '.')"
		      " AND sequence < $6 ORDER BY sequence DESC LIMIT $7"},
    [AUDIT_LAST] = {"SELECT coalesce(max(sequence), 0) AS sequence FROM audit"},
};
const struct sql_texts audit_sql = SQL_TEXTS(audit_texts);

const char *audit_action_of_state(enum csr_state state)
{
	switch (state) {
	case CSR_PENDING:
		return "csr.pending";
	case CSR_ACTIVE:
		return "csr.active";
	case CSR_DELETING:
		return "csr.deleting";
	case CSR_DESTROYED:
		return "csr.destroyed";
	case CSR_FAILED:
		return "csr.failed";
	}
	return "csr.?";
}

static const char *audit_text(const char *text)
{
	return text ? text : "";
}

enum err audit_add(struct sql *sql, int64_t now_us, const char *action, const char *object,
		   const struct audit_origin *origin)
{
	struct sql_query q = sql_ask(sql, &audit_texts[AUDIT_ADD], "write the audit trail");

	sql_put_int(&q, now_us);
	sql_put_text(&q, action);
	sql_put_text(&q, object);
	sql_put_text(&q, audit_text(origin->actor));
	sql_put_text(&q, audit_text(origin->request_id));
	sql_put_text(&q, audit_text(origin->peer));
	sql_put_text(&q, audit_text(origin->detail));
	return sql_run(&q);
}

enum err audit_last_sequence(struct sql *sql, int64_t *ret_sequence)
{
	struct sql_query q = sql_ask(sql, &audit_texts[AUDIT_LAST], "read the end of the audit trail");
	int64_t sequence = 0;

	if (sql_next(&q))
		sequence = sql_int(&q, "sequence");
	enum err e = sql_done(&q);
	if (e == E_OK)
		*ret_sequence = sequence;
	return e;
}

/* ---- a note that something was done to the store ---- */

struct audit_note {
	struct call_done done; /* first */
	struct audit_origin origin;
};

static enum err audit_run_note(struct store_op *op, struct sql *sql)
{
	const struct audit_note *note = (const struct audit_note *)op;

	return audit_add(sql, clock_wall_us(), "store.backup", AUDIT_OF_STORE, &note->origin);
}

void store_note_backup(struct store *store, const struct audit_origin *origin, store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct audit_note), STORE_OP_WRITES, audit_run_note,
					      call_done_finish};
	struct audit_note *note = call_new(store, &type, arg);

	note->done.done = done;
	note->origin = call_keep_origin(&note->done.call, origin);
	call_submit(&note->done.call);
}

/* ---- reading ---- */

struct audit_read {
	struct call call; /* first */
	store_audit_fn done;
	bool of_one; /* what `trail` asks for; else `search` */
	struct store_trail_query trail;
	struct store_audit_query search;
	struct call_rows rows;
};

static void audit_read_row(struct sql_query *q, void *row)
{
	struct audit_record *a = row;

	a->sequence = sql_int(q, "sequence");
	a->at_us = sql_int(q, "at_us");
	sql_text(q, "action", &a->action);
	sql_text(q, "object", &a->object);
	sql_text(q, "actor", &a->actor);
	sql_text(q, "request_id", &a->request_id);
	sql_text(q, "peer", &a->peer);
	sql_text(q, "detail", &a->detail);
}

static void audit_release_row(void *row)
{
	audit_record_release(row);
}

static enum err audit_run_read(struct store_op *op, struct sql *sql)
{
	struct audit_read *read = (struct audit_read *)op;
	struct sql_query q =
	    sql_ask(sql, &audit_texts[read->of_one ? AUDIT_LIST : AUDIT_SEARCH], "read the audit trail");

	if (read->of_one) {
		sql_put_text(&q, read->trail.object);
		sql_put_int(&q, read->trail.after_sequence);
		sql_put_int(&q, read->trail.limit);
	} else {
		sql_put_int(&q, read->search.since_us);
		sql_put_int(&q, read->search.until_us);
		sql_put_text(&q, read->search.actor);
		sql_put_text(&q, read->search.object);
		sql_put_text(&q, read->search.action);
		sql_put_int(&q, read->search.below_sequence ? read->search.below_sequence : INT64_MAX);
		sql_put_int(&q, read->search.limit);
	}
	return call_rows_read(&read->rows, &q);
}

static void audit_finish_read(struct store_op *op)
{
	struct audit_read *read = (struct audit_read *)op;

	if (op->e != E_OK)
		call_rows_release(&read->rows);
	read->done(read->call.arg, op->e, read->rows.first, read->rows.len);
	call_rows_release(&read->rows);
	call_free(&read->call);
}

static struct audit_read *audit_read_new(struct store *store, store_audit_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct audit_read), STORE_OP_READS, audit_run_read,
					      audit_finish_read};
	struct audit_read *read = call_new(store, &type, arg);

	read->done = done;
	read->rows = (struct call_rows){
	    .size = sizeof(struct audit_record), .read = audit_read_row, .release = audit_release_row};
	return read;
}

void store_audit_list(struct store *store, const struct store_trail_query *query, store_audit_fn done,
		      void *arg)
{
	struct audit_read *read = audit_read_new(store, done, arg);

	read->of_one = true;
	read->trail = *query;
	read->trail.object = call_keep(&read->call, query->object);
	call_check_limit(&read->call, query->limit);
	call_submit(&read->call);
}

void store_audit_search(struct store *store, const struct store_audit_query *query, store_audit_fn done,
			void *arg)
{
	struct audit_read *read = audit_read_new(store, done, arg);

	read->search = *query;
	read->search.actor = call_keep(&read->call, query->actor);
	read->search.object = call_keep(&read->call, query->object);
	read->search.action = call_keep(&read->call, query->action);
	call_check_limit(&read->call, query->limit);
	call_submit(&read->call);
}
