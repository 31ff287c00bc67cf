/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a CSR: added, moved, deleted, looked up; or recorded as one that came to nothing. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "store/audit.h"
#include "store/csr_row.h"
#include "store/directory.h"
#include "store/idempotency.h"
#include "store/call.h"
#include "store/policy.h"
#include "store/principal.h"
#include "store/sql.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- statements ---- */

enum {
	LEFTOVER_LAST,
	FAILED_FIND,
};
static const struct sql_text csr_texts[] = {
    [LEFTOVER_LAST] = {"SELECT action FROM audit WHERE object = $1 AND action IN"
		       " ('csr.leftover', 'csr.leftover-destroyed') ORDER BY sequence DESC LIMIT 1"},
    [FAILED_FIND] = {"SELECT sequence FROM audit WHERE object = $1 AND action = 'csr.failed' LIMIT 1"},
};
const struct sql_texts csr_sql = SQL_TEXTS(csr_texts);

/* ---- add ---- */

struct csr_add {
	struct call call; /* first */
	store_csr_add_fn done;
	struct store_csr_add in;
	enum store_begin outcome;
	struct csr_record *record; /* of `in`, taken */
	struct csr_record *replay;
	struct store_policies *policies; /* of POLICY */
};

/* Adds "account policy 3, zone policy 1" to what the record says anyway. */
static enum err csr_audit_add(struct sql *sql, const struct csr_record *r, struct audit_origin origin,
			      int64_t now_us)
{
	struct buf detail;

	buf_init(&detail, 4096);
	buf_put_str(&detail, origin.detail ? origin.detail : "");
	if (r->account_policy)
		buf_printf(&detail, "%saccount policy %" PRId64, detail.len > 0 ? ", " : "",
			   r->account_policy);
	if (r->zone_policy)
		buf_printf(&detail, "%szone policy %" PRId64, detail.len > 0 ? ", " : "", r->zone_policy);
	origin.detail = buf_text(&detail);
	enum err e = buf_status(&detail);
	if (e == E_OK)
		e = audit_add(sql, now_us, audit_action_of_state(CSR_ACTIVE), r->id, &origin);
	buf_release(&detail);
	return e;
}

/* The account's tag is set. */
static enum err csr_add_new(struct sql *sql, const struct store_csr_add *in, int64_t now_us)
{
	struct csr_record *r = in->record;

	r->state = CSR_ACTIVE;
	r->created_us = now_us;
	r->updated_us = now_us;
	enum err e = csr_row_add(sql, r);
	if (e == E_OK)
		e = idempotency_note(sql, in, now_us);
	return e == E_OK ? csr_audit_add(sql, r, in->origin, now_us) : e;
}

typedef enum err (*csr_key_fn)(struct sql *sql, const struct store_csr_add *in, int64_t now_us,
			       enum store_begin *ret_outcome, struct csr_record *ret_replay);

/*
 * What becomes of a create: the scope is looked at first, then, by `of_key`, the
 * idempotency key, then the quota.  Sets *ret_replay (owned) for REPLAY and IN_FLIGHT.
 */
static enum err csr_judge_add(struct sql *sql, const struct store_csr_add *in, int64_t now_us,
			      csr_key_fn of_key, struct directory_scope *ret_scope,
			      enum store_begin *ret_outcome, struct csr_record **ret_replay)
{
	struct csr_record *replay = NULL;
	enum store_begin outcome = STORE_BEGIN_NEW;

	enum err e = directory_find(sql, &in->record->scope, ret_scope);
	if (e == E_NOTFOUND) {
		*ret_outcome = STORE_BEGIN_NO_SCOPE;
		return E_OK;
	}
	if (e == E_OK && in->idempotency_key) {
		replay = calloc(1, sizeof(*replay));
		e = replay ? of_key(sql, in, now_us, &outcome, replay) : E_NOMEM;
	}
	if (e == E_OK && outcome == STORE_BEGIN_NEW && ret_scope->csr_quota != STORE_NO_LIMIT &&
	    ret_scope->csr_count >= ret_scope->csr_quota)
		outcome = STORE_BEGIN_QUOTA;
	if (e == E_OK && (outcome == STORE_BEGIN_REPLAY || outcome == STORE_BEGIN_IN_FLIGHT))
		*ret_replay = replay;
	else
		csr_record_free(replay);
	if (e == E_OK)
		*ret_outcome = outcome;
	return e;
}

static enum err csr_run_add(struct store_op *op, struct sql *sql)
{
	struct csr_add *add = (struct csr_add *)op;
	const struct store_csr_add *in = &add->in;
	struct csr_record *r = in->record;
	struct directory_scope scope;
	int64_t now_us = clock_wall_us();
	bool is_in_force = false;

	enum err e = csr_judge_add(sql, in, now_us, idempotency_judge, &scope, &add->outcome, &add->replay);
	if (e != E_OK || add->outcome != STORE_BEGIN_NEW)
		return e;
	e = str_copy(r->account_tag, sizeof(r->account_tag), scope.account_id);
	if (e == E_OK)
		e = policy_is_in_force(sql, r, &is_in_force);
	if (e == E_OK && is_in_force)
		return csr_add_new(sql, in, now_us);
	add->outcome = STORE_BEGIN_POLICY;
	return e == E_OK ? policy_in_force(sql, &r->scope, scope.account_id, &add->policies) : e;
}

static void csr_finish_add(struct store_op *op)
{
	struct csr_add *add = (struct csr_add *)op;
	struct csr_record *record = NULL;
	struct store_policies *policies = NULL;

	if (op->e == E_OK && (add->outcome == STORE_BEGIN_NEW || add->outcome == STORE_BEGIN_POLICY)) {
		record = add->record;
		add->record = NULL;
	} else if (op->e == E_OK) {
		record = add->replay;
		add->replay = NULL;
	}
	if (op->e == E_OK) {
		policies = add->policies;
		add->policies = NULL;
	}
	add->done(add->call.arg, op->e, add->outcome, record, policies);
	store_policies_free(add->policies);
	csr_record_free(add->record);
	csr_record_free(add->replay);
	call_free(&add->call);
}

void store_csr_add(struct store *store, const struct store_csr_add *in, store_csr_add_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct csr_add), STORE_OP_WRITES, csr_run_add,
					      csr_finish_add};
	struct csr_add *add = call_new(store, &type, arg);

	add->done = done;
	add->record = in->record;
	add->in = *in;
	add->in.idempotency_key = call_keep(&add->call, in->idempotency_key);
	add->in.origin = call_keep_origin(&add->call, &in->origin);
	call_submit(&add->call);
}

/* ---- what a create will meet ---- */

struct csr_look {
	struct call call; /* first */
	store_csr_look_fn done;
	struct store_csr_look in;
	struct principal *caller;
	enum store_begin outcome;
	struct csr_record *replay;
	struct store_policies *policies;
};

static enum err csr_run_look(struct store_op *op, struct sql *sql)
{
	struct csr_look *look = (struct csr_look *)op;
	struct csr_record asked = {.scope = look->in.scope};
	struct store_csr_add in = {.record = &asked,
				   .idempotency_key = look->in.idempotency_key,
				   .idempotency_ttl_us = look->in.idempotency_ttl_us};
	struct directory_scope scope;

	enum err e = principal_find(sql, &look->in.claim, &look->caller);
	if (e != E_OK)
		return e;
	memcpy(asked.principal_id, look->caller->id, sizeof(asked.principal_id));
	memcpy(in.request_hash, look->in.request_hash, sizeof(in.request_hash));
	e = csr_judge_add(sql, &in, clock_wall_us(), idempotency_look, &scope, &look->outcome, &look->replay);
	if (e == E_OK && look->outcome != STORE_BEGIN_NO_SCOPE)
		e = policy_in_force(sql, &asked.scope, scope.account_id, &look->policies);
	return e;
}

static void csr_finish_look(struct store_op *op)
{
	struct csr_look *look = (struct csr_look *)op;

	if (op->e != E_OK) {
		principal_free(look->caller);
		csr_record_free(look->replay);
		store_policies_free(look->policies);
		look->caller = NULL;
		look->replay = NULL;
		look->policies = NULL;
	}
	look->done(look->call.arg, op->e, look->caller, look->outcome, look->replay, look->policies);
	call_free(&look->call);
}

void store_csr_look(struct store *store, const struct store_csr_look *in, store_csr_look_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct csr_look), STORE_OP_READS, csr_run_look,
					      csr_finish_look};
	struct csr_look *look = call_new(store, &type, arg);

	look->done = done;
	look->in = *in;
	look->in.claim.peer = call_keep_peer(&look->call, in->claim.peer);
	look->in.idempotency_key = call_keep(&look->call, in->idempotency_key);
	call_submit(&look->call);
}

/* ---- move ---- */

struct csr_move {
	struct call_done done; /* first */
	struct store_csr_move in;
};

static enum err csr_run_move(struct store_op *op, struct sql *sql)
{
	return csr_row_move(sql, &((struct csr_move *)op)->in, clock_wall_us());
}

void store_csr_move(struct store *store, const struct store_csr_move *in, store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct csr_move), STORE_OP_WRITES, csr_run_move,
					      call_done_finish};
	struct csr_move *move = call_new(store, &type, arg);

	move->done.done = done;
	move->in = *in;
	move->in.id = call_keep(&move->done.call, in->id);
	move->in.origin = call_keep_origin(&move->done.call, &in->origin);
	if (!csr_state_may_move(in->from, in->to))
		call_refuse(&move->done.call, E_INVAL);
	call_submit(&move->done.call);
}

/* ---- one CSR, by scope and id ---- */

struct csr_one {
	struct call call; /* first */
	store_csr_fn done;
	bool has_scope;
	struct store_scope scope;
	const char *id;
	struct audit_origin origin; /* of a delete */
	struct csr_record *found;
};

/* scope NULL: wherever it is. */
static enum err csr_find(struct sql *sql, const struct store_scope *scope, const char *id,
			 struct csr_record **ret_found)
{
	struct csr_record *found = calloc(1, sizeof(*found));

	enum err e = found ? csr_row_get(sql, id, found) : E_NOMEM;
	if (e == E_OK && scope && !store_scope_equal(scope, &found->scope))
		e = E_NOTFOUND;
	if (e == E_OK)
		*ret_found = found;
	else
		csr_record_free(found);
	return e;
}

static enum err csr_run_get(struct store_op *op, struct sql *sql)
{
	struct csr_one *one = (struct csr_one *)op;

	return csr_find(sql, one->has_scope ? &one->scope : NULL, one->id, &one->found);
}

static enum err csr_run_delete_begin(struct store_op *op, struct sql *sql)
{
	struct csr_one *one = (struct csr_one *)op;
	const struct store_csr_move move = {
	    .id = one->id, .from = CSR_ACTIVE, .to = CSR_DELETING, .origin = one->origin};
	int64_t now_us = clock_wall_us();

	enum err e = csr_find(sql, one->has_scope ? &one->scope : NULL, one->id, &one->found);
	if (e != E_OK || one->found->state == CSR_DELETING)
		return e;
	if (one->found->state != CSR_ACTIVE)
		return E_NOTFOUND;
	one->found->state = CSR_DELETING;
	one->found->updated_us = now_us;
	return csr_row_move(sql, &move, now_us);
}

static void csr_finish_one(struct store_op *op)
{
	struct csr_one *one = (struct csr_one *)op;

	if (op->e != E_OK) {
		csr_record_free(one->found);
		one->found = NULL;
	}
	one->done(one->call.arg, op->e, one->found);
	call_free(&one->call);
}

static struct csr_one *csr_one_new(struct store *store, const struct call_type *type,
				   const struct store_scope *scope, const char *id, store_csr_fn done,
				   void *arg)
{
	struct csr_one *one = call_new(store, type, arg);

	one->done = done;
	one->has_scope = scope != NULL;
	if (scope)
		one->scope = *scope;
	one->id = call_keep(&one->call, id);
	return one;
}

void store_csr_get(struct store *store, const struct store_scope *scope, const char *id, store_csr_fn done,
		   void *arg)
{
	static const struct call_type type = {sizeof(struct csr_one), STORE_OP_READS, csr_run_get,
					      csr_finish_one};

	call_submit(&csr_one_new(store, &type, scope, id, done, arg)->call);
}

void store_csr_delete_begin(struct store *store, const struct store_scope *scope, const char *id,
			    const struct audit_origin *origin, store_csr_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct csr_one), STORE_OP_WRITES, csr_run_delete_begin,
					      csr_finish_one};
	struct csr_one *one = csr_one_new(store, &type, scope, id, done, arg);

	one->origin = call_keep_origin(&one->call, origin);
	call_submit(&one->call);
}

/* ---- a create that came to nothing ---- */

struct csr_failed {
	struct call_done done; /* first */
	const char *id;
	struct audit_origin origin;
};

static enum err csr_has_failed(struct sql *sql, const char *id, bool *ret_failed)
{
	struct sql_query q = sql_ask(sql, &csr_texts[FAILED_FIND], "read the audit trail");

	sql_put_text(&q, id);
	bool failed = sql_next(&q);
	enum err e = sql_done(&q);
	if (e == E_OK)
		*ret_failed = failed;
	return e;
}

static enum err csr_run_failed(struct store_op *op, struct sql *sql)
{
	const struct csr_failed *failed = (const struct csr_failed *)op;
	struct csr_record row = {.name = NULL};
	bool told = false;

	enum err e = csr_row_get(sql, failed->id, &row);
	csr_record_release(&row);
	if (e != E_NOTFOUND)
		return e == E_OK ? E_EXISTS : e;
	e = csr_has_failed(sql, failed->id, &told);
	if (e != E_OK || told)
		return e;
	return audit_add(sql, clock_wall_us(), audit_action_of_state(CSR_FAILED), failed->id,
			 &failed->origin);
}

void store_csr_failed(struct store *store, const char *id, const struct audit_origin *origin,
		      store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct csr_failed), STORE_OP_WRITES, csr_run_failed,
					      call_done_finish};
	struct csr_failed *failed = call_new(store, &type, arg);

	failed->done.done = done;
	failed->id = call_keep(&failed->done.call, id);
	failed->origin = call_keep_origin(&failed->done.call, origin);
	call_submit(&failed->done.call);
}

/* ---- one CSR, and who asks for it ---- */

struct csr_ask {
	struct call call; /* first */
	store_csr_ask_fn done;
	struct store_csr_ask in;
	struct principal *caller;
	enum err found_e;
	struct csr_record *found;
};

/* A row that cannot be read does not hide who asked for it. */
static enum err csr_run_ask(struct store_op *op, struct sql *sql)
{
	struct csr_ask *ask = (struct csr_ask *)op;

	enum err e = principal_find(sql, &ask->in.claim, &ask->caller);
	if (e == E_OK)
		ask->found_e = csr_find(sql, &ask->in.scope, ask->in.id, &ask->found);
	return e;
}

static void csr_finish_ask(struct store_op *op)
{
	struct csr_ask *ask = (struct csr_ask *)op;

	if (op->e != E_OK) {
		principal_free(ask->caller);
		csr_record_free(ask->found);
		ask->caller = NULL;
		ask->found = NULL;
		ask->found_e = op->e;
	}
	ask->done(ask->call.arg, op->e, ask->caller, ask->found_e, ask->found);
	call_free(&ask->call);
}

void store_csr_ask(struct store *store, const struct store_csr_ask *in, store_csr_ask_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct csr_ask), STORE_OP_READS, csr_run_ask,
					      csr_finish_ask};
	struct csr_ask *ask = call_new(store, &type, arg);

	ask->done = done;
	ask->in = *in;
	ask->in.claim.peer = call_keep_peer(&ask->call, in->claim.peer);
	ask->in.id = call_keep(&ask->call, in->id);
	call_submit(&ask->call);
}

/* ---- a key that ought to be gone ---- */

#define LEFTOVER "csr.leftover"
#define LEFTOVER_GONE "csr.leftover-destroyed"

struct csr_leftover {
	struct call_done done; /* first */
	const char *id;
	bool gone;
	struct audit_origin origin;
};

/* Whether the trail tells already of a leftover key that has not gone since. */
static enum err csr_leftover_is_told(struct sql *sql, const char *id, bool *ret_told)
{
	struct sql_query q = sql_ask(sql, &csr_texts[LEFTOVER_LAST], "read the audit trail");
	char *action = NULL;

	sql_put_text(&q, id);
	if (sql_next(&q))
		sql_text(&q, "action", &action);
	enum err e = sql_done(&q);
	if (e == E_OK)
		*ret_told = action && strcmp(action, LEFTOVER) == 0;
	free(action);
	return e;
}

static enum err csr_run_leftover(struct store_op *op, struct sql *sql)
{
	const struct csr_leftover *leftover = (const struct csr_leftover *)op;
	bool told = false;

	enum err e = leftover->gone ? E_OK : csr_leftover_is_told(sql, leftover->id, &told);
	if (e != E_OK || told)
		return e;
	return audit_add(sql, clock_wall_us(), leftover->gone ? LEFTOVER_GONE : LEFTOVER, leftover->id,
			 &leftover->origin);
}

void store_csr_leftover(struct store *store, const char *id, bool gone, const struct audit_origin *origin,
			store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct csr_leftover), STORE_OP_WRITES, csr_run_leftover,
					      call_done_finish};
	struct csr_leftover *leftover = call_new(store, &type, arg);

	leftover->done.done = done;
	leftover->id = call_keep(&leftover->done.call, id);
	leftover->gone = gone;
	leftover->origin = call_keep_origin(&leftover->done.call, origin);
	call_submit(&leftover->done.call);
}
