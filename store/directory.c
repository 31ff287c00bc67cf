/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts and zones: what operators make, change and list. */
#include "store/directory.h"

#include "base/clock.h"
#include "store/audit.h"
#include "store/call.h"
#include "store/sql.h"

#include <string.h>

/* ---- statements ---- */

enum {
	ACCOUNT_FIND,
	ZONE_FIND,
	ACCOUNT_ADD,
	ZONE_ADD,
	ACCOUNT_LIST,
	ZONE_LIST,
	ACCOUNT_SET,
	ZONE_SET,
};
static const struct sql_text directory_texts[] = {
    [ACCOUNT_FIND] = {"SELECT id AS account_id, csr_quota, csr_count, csr_active FROM accounts"
		      " WHERE id = $1"},
    [ZONE_FIND] = {"SELECT account_id, csr_quota, csr_count, csr_active FROM zones WHERE id = $1"},
    [ACCOUNT_ADD] = {"INSERT INTO accounts (id, name, csr_quota, created_us) VALUES ($1, $2, $3, $4)"},
    [ZONE_ADD] = {"INSERT INTO zones (id, account_id, name, csr_quota, created_us)"
		  " VALUES ($1, $2, $3, $4, $5)"},
    [ACCOUNT_LIST] = {"SELECT id, name, csr_quota, csr_count, created_us FROM accounts"
		      " WHERE id > $1 ORDER BY id LIMIT $2"},
    [ZONE_LIST] = {"SELECT id, account_id, name, csr_quota, csr_count, created_us FROM zones"
		   " WHERE id > $1 ORDER BY id LIMIT $2"},
    [ACCOUNT_SET] = {"UPDATE accounts SET name = coalesce($2, name), csr_quota = coalesce($3, csr_quota)"
		     " WHERE id = $1"},
    [ZONE_SET] = {"UPDATE zones SET name = coalesce($2, name), csr_quota = coalesce($3, csr_quota)"
		  " WHERE id = $1"},
};
const struct sql_texts directory_sql = SQL_TEXTS(directory_texts);

enum err directory_find(struct sql *sql, const struct store_scope *scope, struct directory_scope *ret_found)
{
	bool zone = scope->kind == STORE_ZONE;
	struct sql_query q =
	    sql_ask(sql, &directory_texts[zone ? ZONE_FIND : ACCOUNT_FIND], "find an account or zone");
	struct directory_scope found = {.csr_quota = 0};

	sql_put_text(&q, scope->id);
	bool is_there = sql_next(&q);
	if (is_there) {
		sql_fixed(&q, "account_id", found.account_id, sizeof(found.account_id));
		found.csr_quota = sql_int(&q, "csr_quota");
		found.csr_count = sql_int(&q, "csr_count");
		found.csr_active = sql_int(&q, "csr_active");
	}
	enum err e = sql_found(&q, is_there);
	if (e == E_OK)
		*ret_found = found;
	return e;
}

/* ---- making ---- */

struct directory_add {
	struct call_done done; /* first */
	struct audit_origin origin;
	struct store_scope scope;
	char account_id[STORE_TAG_SIZE]; /* of a zone */
	const char *name;
	int64_t csr_quota;
};

static enum err directory_run_add(struct store_op *op, struct sql *sql)
{
	const struct directory_add *add = (const struct directory_add *)op;
	bool zone = add->scope.kind == STORE_ZONE;
	struct sql_query q = sql_ask(sql, &directory_texts[zone ? ZONE_ADD : ACCOUNT_ADD],
				     zone ? "add a zone" : "add an account");
	int64_t now_us = clock_wall_us();

	sql_put_text(&q, add->scope.id);
	if (zone)
		sql_put_text(&q, add->account_id);
	sql_put_text(&q, add->name ? add->name : "");
	sql_put_int(&q, add->csr_quota);
	sql_put_int(&q, now_us);
	enum err e = sql_try(&q);
	return e == E_OK
		   ? audit_add(sql, now_us, zone ? "zone.add" : "account.add", add->scope.id, &add->origin)
		   : e;
}

static struct directory_add *directory_add_new(struct store *store, enum store_scope_kind kind,
					       const struct audit_origin *origin, store_done_fn done,
					       void *arg)
{
	static const struct call_type type = {sizeof(struct directory_add), STORE_OP_WRITES,
					      directory_run_add, call_done_finish};
	struct directory_add *add = call_new(store, &type, arg);

	add->done.done = done;
	add->scope.kind = kind;
	add->origin = call_keep_origin(&add->done.call, origin);
	return add;
}

void store_account_add(struct store *store, const struct account_record *account,
		       const struct audit_origin *origin, store_done_fn done, void *arg)
{
	struct directory_add *add = directory_add_new(store, STORE_ACCOUNT, origin, done, arg);

	memcpy(add->scope.id, account->id, sizeof(add->scope.id));
	add->name = call_keep(&add->done.call, account->name);
	add->csr_quota = account->csr_quota;
	call_submit(&add->done.call);
}

void store_zone_add(struct store *store, const struct zone_record *zone, const struct audit_origin *origin,
		    store_done_fn done, void *arg)
{
	struct directory_add *add = directory_add_new(store, STORE_ZONE, origin, done, arg);

	memcpy(add->scope.id, zone->id, sizeof(add->scope.id));
	memcpy(add->account_id, zone->account_id, sizeof(add->account_id));
	add->name = call_keep(&add->done.call, zone->name);
	add->csr_quota = zone->csr_quota;
	call_submit(&add->done.call);
}

/* ---- changing ---- */

struct directory_set {
	struct call_done done; /* first */
	struct audit_origin origin;
	struct store_scope_change change;
};

static enum err directory_run_set(struct store_op *op, struct sql *sql)
{
	const struct directory_set *set = (const struct directory_set *)op;
	bool zone = set->change.scope.kind == STORE_ZONE;
	struct sql_query q =
	    sql_ask(sql, &directory_texts[zone ? ZONE_SET : ACCOUNT_SET], "change an account or zone");

	sql_put_text(&q, set->change.scope.id);
	sql_put_text(&q, set->change.name);
	if (set->change.sets_quota)
		sql_put_int(&q, set->change.csr_quota);
	else
		sql_put_null(&q);
	enum err e = sql_run(&q);
	if (e == E_OK && sql_changed(sql) == 0)
		e = E_NOTFOUND;
	if (e == E_OK)
		e = audit_add(sql, clock_wall_us(), zone ? "zone.set" : "account.set", set->change.scope.id,
			      &set->origin);
	return e;
}

void store_scope_set(struct store *store, const struct store_scope_change *in,
		     const struct audit_origin *origin, store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct directory_set), STORE_OP_WRITES,
					      directory_run_set, call_done_finish};
	struct directory_set *set = call_new(store, &type, arg);

	set->done.done = done;
	set->origin = call_keep_origin(&set->done.call, origin);
	set->change = *in;
	set->change.name = call_keep(&set->done.call, in->name);
	call_submit(&set->done.call);
}

/* ---- listing ---- */

struct directory_list {
	struct call call; /* first */
	store_accounts_fn accounts_done;
	store_zones_fn zones_done; /* one of the two */
	const char *after_id;
	unsigned limit;
	struct call_rows rows;
};

static void directory_read_account(struct sql_query *q, void *row)
{
	struct account_record *a = row;

	sql_fixed(q, "id", a->id, sizeof(a->id));
	sql_text(q, "name", &a->name);
	a->csr_quota = sql_int(q, "csr_quota");
	a->csr_count = sql_int(q, "csr_count");
	a->created_us = sql_int(q, "created_us");
}

static void directory_read_zone(struct sql_query *q, void *row)
{
	struct zone_record *z = row;

	sql_fixed(q, "id", z->id, sizeof(z->id));
	sql_fixed(q, "account_id", z->account_id, sizeof(z->account_id));
	sql_text(q, "name", &z->name);
	z->csr_quota = sql_int(q, "csr_quota");
	z->csr_count = sql_int(q, "csr_count");
	z->created_us = sql_int(q, "created_us");
}

static void directory_release_account(void *row)
{
	account_record_release(row);
}

static void directory_release_zone(void *row)
{
	zone_record_release(row);
}

static enum err directory_run_list(struct store_op *op, struct sql *sql)
{
	struct directory_list *list = (struct directory_list *)op;
	bool zones = list->zones_done != NULL;
	struct sql_query q = sql_ask(sql, &directory_texts[zones ? ZONE_LIST : ACCOUNT_LIST],
				     zones ? "list the zones" : "list the accounts");

	sql_put_text(&q, list->after_id);
	sql_put_int(&q, list->limit);
	return call_rows_read(&list->rows, &q);
}

static void directory_finish_list(struct store_op *op)
{
	struct directory_list *list = (struct directory_list *)op;

	if (op->e != E_OK)
		call_rows_release(&list->rows);
	if (list->zones_done)
		list->zones_done(list->call.arg, op->e, list->rows.first, list->rows.len);
	else
		list->accounts_done(list->call.arg, op->e, list->rows.first, list->rows.len);
	call_rows_release(&list->rows);
	call_free(&list->call);
}

static struct directory_list *directory_list_new(struct store *store, const char *after_id, unsigned limit,
						 void *arg)
{
	static const struct call_type type = {sizeof(struct directory_list), STORE_OP_READS,
					      directory_run_list, directory_finish_list};
	struct directory_list *list = call_new(store, &type, arg);

	list->after_id = call_keep(&list->call, after_id ? after_id : "");
	list->limit = limit;
	call_check_limit(&list->call, limit);
	return list;
}

void store_account_list(struct store *store, const char *after_id, unsigned limit, store_accounts_fn done,
			void *arg)
{
	struct directory_list *list = directory_list_new(store, after_id, limit, arg);

	list->accounts_done = done;
	list->rows = (struct call_rows){.size = sizeof(struct account_record),
					.read = directory_read_account,
					.release = directory_release_account};
	call_submit(&list->call);
}

void store_zone_list(struct store *store, const char *after_id, unsigned limit, store_zones_fn done,
		     void *arg)
{
	struct directory_list *list = directory_list_new(store, after_id, limit, arg);

	list->zones_done = done;
	list->rows = (struct call_rows){.size = sizeof(struct zone_record),
					.read = directory_read_zone,
					.release = directory_release_zone};
	call_submit(&list->call);
}
