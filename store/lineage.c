/* How far a store has come, and what becomes of its open rows when it went back. */
#include "store/lineage.h"

#include "base/clock.h"
#include "store/audit.h"
#include "store/call.h"
#include "store/sql.h"

#include <string.h>

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
	struct sql_query q = sql_ask(sql, SQL_LINEAGE_FIND, "find the lineage of a token");

	sql_put_text(&q, get->token_name);
	if (sql_next(&q)) {
		get->mark.has_lineage = true;
		sql_bytes(&q, "lineage", get->mark.lineage, sizeof(get->mark.lineage));
	}
	enum err e = sql_done(&q);
	if (e != E_OK)
		return e;
	q = sql_ask(sql, SQL_AUDIT_LAST, "read the end of the audit trail");
	if (sql_next(&q))
		get->mark.sequence = sql_int(&q, "sequence");
	return sql_done(&q);
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

static enum err lineage_tell_aside(struct sql *sql, enum sql_text which, const char *token_name,
				   int64_t now_us, const char *actor)
{
	bool pending = which == SQL_ASIDE_TELL_PENDING;
	struct sql_query q = sql_ask(sql, which, "write the audit trail");

	sql_put_text(&q, token_name);
	sql_put_int(&q, now_us);
	sql_put_text(&q, pending ? audit_action_of_state(CSR_FAILED) : AUDIT_SET_ASIDE);
	sql_put_text(&q, actor == NULL ? "" : actor);
	sql_put_text(&q, pending ? AUDIT_KEPT_PENDING : AUDIT_KEPT_DELETING);
	return sql_run(&q);
}

static enum err lineage_move_aside(struct sql *sql, enum sql_text which, const char *token_name,
				   int64_t now_us, uint64_t *rows)
{
	struct sql_query q = sql_ask(sql, which, "set open rows aside");

	sql_put_text(&q, token_name);
	if (which != SQL_ASIDE_FORGET)
		sql_put_int(&q, now_us);
	enum err e = sql_run(&q);
	if (e == E_OK && which != SQL_ASIDE_FORGET)
		*rows += sql_changed(sql);
	return e;
}

/* The open rows of a token, NULL for all.  What is told and forgotten comes first: it goes by the state. */
static enum err lineage_set_rows_aside(struct sql *sql, const char *token_name, int64_t now_us,
				       const char *actor, uint64_t *ret_rows)
{
	uint64_t rows = 0;
	enum err e = lineage_tell_aside(sql, SQL_ASIDE_TELL_PENDING, token_name, now_us, actor);

	if (e == E_OK)
		e = lineage_tell_aside(sql, SQL_ASIDE_TELL_DELETING, token_name, now_us, actor);
	if (e == E_OK)
		e = lineage_move_aside(sql, SQL_ASIDE_FORGET, token_name, now_us, &rows);
	if (e == E_OK)
		e = lineage_move_aside(sql, SQL_ASIDE_PENDING, token_name, now_us, &rows);
	if (e == E_OK)
		e = lineage_move_aside(sql, SQL_ASIDE_DELETING, token_name, now_us, &rows);
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
	struct sql_query q = sql_ask(sql, SQL_LINEAGE_SET, "set the lineage of a token");
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
		struct sql_query q = sql_ask(sql, SQL_LINEAGE_FORGET_ALL, "forget the lineages");

		e = sql_run(&q);
	}
	return e == E_OK ? audit_add(sql, now_us, "store.restore", AUDIT_OF_STORE, origin) : e;
}
