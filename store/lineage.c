/* SPDX-License-Identifier: Apache-2.0 */
/* How far a store has come, and what becomes of its open rows when it went back. */
#include "store/lineage.h"

#include "base/clock.h"
#include "store/audit.h"
#include "store/call.h"
#include "store/sql.h"

#include <string.h>

/* ---- statements ---- */

/* Open rows of the token $1, NULL for all, that are not set aside yet. */
#define ASIDE_WHERE(state)                                                                                   \
	" WHERE state = " #state " AND set_aside_us = 0 AND (token_name = $1 OR $1 IS NULL)"
/* $2 the time, $3 action, $4 actor, $5 detail. */
#define ASIDE_TELL(state)                                                                                    \
	"INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"                         \
	" SELECT CAST($2 AS bigint), CAST($3 AS text), id, CAST($4 AS text), '', '', CAST($5 AS text)"       \
	" FROM csrs" ASIDE_WHERE(state) " ORDER BY id"

enum lineage_text {
	LINEAGE_FIND,
	LINEAGE_SET,
	LINEAGE_FORGET_ALL,
	ASIDE_TELL_PENDING,
	ASIDE_TELL_DELETING,
	ASIDE_FORGET,
	ASIDE_PENDING,
	ASIDE_DELETING,
};
static const struct sql_text lineage_texts[] = {
    [LINEAGE_FIND] = {"SELECT lineage FROM lineages WHERE token_name = $1"},
    [LINEAGE_SET] = {"INSERT INTO lineages (token_name, lineage) VALUES ($1, $2)"
		     " ON CONFLICT (token_name) DO UPDATE SET lineage = excluded.lineage"},
    [LINEAGE_FORGET_ALL] = {"DELETE FROM lineages"},
    [ASIDE_TELL_PENDING] = {ASIDE_TELL(1)},
    [ASIDE_TELL_DELETING] = {ASIDE_TELL(3)},
    [ASIDE_FORGET] = {"DELETE FROM idempotency WHERE csr_id IN (SELECT id FROM csrs" ASIDE_WHERE(1) ")"},
    [ASIDE_PENDING] = {"UPDATE csrs SET state = 5, updated_us = $2, set_aside_us = $2" ASIDE_WHERE(1)},
    [ASIDE_DELETING] = {"UPDATE csrs SET set_aside_us = $2" ASIDE_WHERE(3)},
};
const struct sql_texts lineage_sql = SQL_TEXTS(lineage_texts);

/* ---- how far ---- */

struct lineage_mark {
	struct call call; /* first */
	store_mark_fn done;
	const char *token_name;
	struct store_mark mark;
};

static enum err lineage_run_mark(struct store_op *op, struct sql *sql)
{
	struct lineage_mark *get = (struct lineage_mark *)op;
	struct sql_query q = sql_ask(sql, &lineage_texts[LINEAGE_FIND], "find the lineage of a token");

	sql_put_text(&q, get->token_name);
	if (sql_next(&q)) {
		get->mark.has_lineage = true;
		sql_bytes(&q, "lineage", get->mark.lineage, sizeof(get->mark.lineage));
	}
	enum err e = sql_done(&q);
	if (e != E_OK)
		return e;
	return audit_last_sequence(sql, &get->mark.sequence);
}

static void lineage_finish_mark(struct store_op *op)
{
	struct lineage_mark *get = (struct lineage_mark *)op;

	if (op->e != E_OK)
		memset(&get->mark, 0, sizeof(get->mark));
	get->done(get->call.arg, op->e, &get->mark);
	call_free(&get->call);
}

void store_mark_get(struct store *store, const char *token_name, store_mark_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct lineage_mark), STORE_OP_READS, lineage_run_mark,
					      lineage_finish_mark};
	struct lineage_mark *get = call_new(store, &type, arg);

	get->done = done;
	get->token_name = call_keep(&get->call, token_name);
	call_submit(&get->call);
}

/* ---- setting aside ---- */

static enum err lineage_tell_aside(struct sql *sql, enum lineage_text which, const char *token_name,
				   int64_t now_us, const char *actor)
{
	bool pending = which == ASIDE_TELL_PENDING;
	struct sql_query q = sql_ask(sql, &lineage_texts[which], "write the audit trail");

	sql_put_text(&q, token_name);
	sql_put_int(&q, now_us);
	sql_put_text(&q, pending ? audit_action_of_state(CSR_FAILED) : AUDIT_SET_ASIDE);
	sql_put_text(&q, actor ? actor : "");
	sql_put_text(&q, pending ? AUDIT_KEPT_PENDING : AUDIT_KEPT_DELETING);
	return sql_run(&q);
}

static enum err lineage_move_aside(struct sql *sql, enum lineage_text which, const char *token_name,
				   int64_t now_us, uint64_t *rows)
{
	struct sql_query q = sql_ask(sql, &lineage_texts[which], "set open rows aside");

	sql_put_text(&q, token_name);
	if (which != ASIDE_FORGET)
		sql_put_int(&q, now_us);
	enum err e = sql_run(&q);
	if (e == E_OK && which != ASIDE_FORGET)
		*rows += sql_changed(sql);
	return e;
}

/* The open rows of a token, NULL for all.  What is told and forgotten comes first: it goes by the state. */
static enum err lineage_set_rows_aside(struct sql *sql, const char *token_name, int64_t now_us,
				       const char *actor, uint64_t *ret_rows)
{
	uint64_t rows = 0;
	enum err e = lineage_tell_aside(sql, ASIDE_TELL_PENDING, token_name, now_us, actor);

	if (e == E_OK)
		e = lineage_tell_aside(sql, ASIDE_TELL_DELETING, token_name, now_us, actor);
	if (e == E_OK)
		e = lineage_move_aside(sql, ASIDE_FORGET, token_name, now_us, &rows);
	if (e == E_OK)
		e = lineage_move_aside(sql, ASIDE_PENDING, token_name, now_us, &rows);
	if (e == E_OK)
		e = lineage_move_aside(sql, ASIDE_DELETING, token_name, now_us, &rows);
	if (e == E_OK)
		*ret_rows = rows;
	return e;
}

struct lineage_set_aside {
	struct call call; /* first */
	store_set_aside_fn done;
	struct store_set_aside in;
	uint64_t rows;
};

static enum err lineage_run_set_aside(struct store_op *op, struct sql *sql)
{
	struct lineage_set_aside *aside = (struct lineage_set_aside *)op;
	const struct store_set_aside *in = &aside->in;
	struct sql_query q = sql_ask(sql, &lineage_texts[LINEAGE_SET], "set the lineage of a token");
	int64_t now_us = clock_wall_us();

	sql_put_text(&q, in->token_name);
	sql_put_bytes(&q, in->lineage, sizeof(in->lineage));
	enum err e = sql_run(&q);
	if (e == E_OK)
		e = lineage_set_rows_aside(sql, in->token_name, now_us, in->origin.actor, &aside->rows);
	if (e == E_OK && (aside->rows > 0 || in->went_back))
		e = audit_add(sql, now_us, AUDIT_ROLLED_BACK, AUDIT_OF_STORE, &in->origin);
	return e;
}

static void lineage_finish_set_aside(struct store_op *op)
{
	struct lineage_set_aside *aside = (struct lineage_set_aside *)op;

	aside->done(aside->call.arg, op->e, op->e == E_OK ? aside->rows : 0);
	call_free(&aside->call);
}

void store_set_aside(struct store *store, const struct store_set_aside *in, store_set_aside_fn done,
		     void *arg)
{
	static const struct call_type type = {sizeof(struct lineage_set_aside), STORE_OP_WRITES,
					      lineage_run_set_aside, lineage_finish_set_aside};
	struct lineage_set_aside *aside = call_new(store, &type, arg);

	aside->done = done;
	aside->in = *in;
	aside->in.token_name = call_keep(&aside->call, in->token_name);
	aside->in.origin = call_keep_origin(&aside->call, &in->origin);
	call_submit(&aside->call);
}

enum err lineage_restore(struct sql *sql, const struct audit_origin *origin)
{
	int64_t now_us = clock_wall_us();
	uint64_t rows;

	enum err e = lineage_set_rows_aside(sql, NULL, now_us, origin->actor, &rows);
	if (e == E_OK) {
		struct sql_query q = sql_ask(sql, &lineage_texts[LINEAGE_FORGET_ALL], "forget the lineages");

		e = sql_run(&q);
	}
	return e == E_OK ? audit_add(sql, now_us, "store.restore", AUDIT_OF_STORE, origin) : e;
}
