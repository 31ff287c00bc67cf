/* SPDX-License-Identifier: Apache-2.0 */
/* Policies of accounts and zones, version by version. */
#include "store/policy.h"

#include "base/clock.h"
#include "base/str.h"
#include "store/audit.h"
#include "store/call.h"
#include "store/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- statements ---- */

#define POLICY_COLUMNS "version, made_us, made_by, document"

enum {
	POLICY_NEWEST,
	POLICY_NEWEST_ZONE,
	POLICY_GET,
	POLICY_GET_ZONE,
	POLICY_LAST,
	POLICY_LAST_ZONE,
	POLICY_LIST,
	POLICY_LIST_ZONE,
	POLICY_ADD,
	POLICY_ADD_ZONE,
};
static const struct sql_text policy_texts[] = {
    [POLICY_NEWEST] = {"SELECT " POLICY_COLUMNS " FROM policies WHERE account_id = $1"
		       " ORDER BY version DESC LIMIT 1"},
    [POLICY_NEWEST_ZONE] = {"SELECT " POLICY_COLUMNS " FROM policies WHERE zone_id = $1"
			    " ORDER BY version DESC LIMIT 1"},
    [POLICY_GET] = {"SELECT " POLICY_COLUMNS " FROM policies WHERE account_id = $1 AND version = $2"},
    [POLICY_GET_ZONE] = {"SELECT " POLICY_COLUMNS " FROM policies WHERE zone_id = $1 AND version = $2"},
    [POLICY_LAST] = {"SELECT coalesce(max(version), 0) AS version FROM policies WHERE account_id = $1"},
    [POLICY_LAST_ZONE] = {"SELECT coalesce(max(version), 0) AS version FROM policies WHERE zone_id = $1"},
    [POLICY_LIST] = {"SELECT " POLICY_COLUMNS " FROM policies WHERE account_id = $1 AND version > $2"
		     " ORDER BY version LIMIT $3"},
    [POLICY_LIST_ZONE] = {"SELECT " POLICY_COLUMNS " FROM policies WHERE zone_id = $1 AND version > $2"
			  " ORDER BY version LIMIT $3"},
    [POLICY_ADD] = {"INSERT INTO policies (account_id, version, made_us, made_by, document)"
		    " VALUES ($1, $2, $3, $4, $5)"},
    [POLICY_ADD_ZONE] = {"INSERT INTO policies (zone_id, version, made_us, made_by, document)"
			 " VALUES ($1, $2, $3, $4, $5)"},
};
const struct sql_texts policy_sql = SQL_TEXTS(policy_texts);

/* number: of the statement for accounts; that for zones follows it. */
static struct sql_query policy_ask(struct sql *sql, int number, const struct store_scope *scope,
				   const char *what)
{
	struct sql_query q =
	    sql_ask(sql, &policy_texts[scope->kind == STORE_ZONE ? number + 1 : number], what);

	sql_put_text(&q, scope->id);
	return q;
}

/* ---- reading ---- */

/* The scope is set by the caller. */
static void policy_read_row(struct sql_query *q, void *row)
{
	struct policy_record *p = row;

	p->version = sql_int(q, "version");
	p->made_us = sql_int(q, "made_us");
	sql_text(q, "made_by", &p->made_by);
	sql_text(q, "document", &p->document);
}

static void policy_release_row(void *row)
{
	policy_record_release(row);
}

/* Ends the query.  E_NOTFOUND. */
static enum err policy_take_one(struct sql_query *q, const struct store_scope *scope,
				struct policy_record *ret_policy)
{
	struct policy_record found = {.scope = *scope};
	bool is_there = sql_next(q);

	if (is_there)
		policy_read_row(q, &found);
	enum err e = sql_found(q, is_there);
	if (e == E_OK)
		*ret_policy = found;
	else
		policy_record_release(&found);
	return e;
}

static enum err policy_find_newest(struct sql *sql, const struct store_scope *scope,
				   struct policy_record *ret_policy)
{
	struct sql_query q = policy_ask(sql, POLICY_NEWEST, scope, "find a policy");

	return policy_take_one(&q, scope, ret_policy);
}

static enum err policy_last_version(struct sql *sql, const struct store_scope *scope, int64_t *ret_version)
{
	struct sql_query q = policy_ask(sql, POLICY_LAST, scope, "find the version of a policy");
	int64_t version = 0;

	if (sql_next(&q))
		version = sql_int(&q, "version");
	enum err e = sql_done(&q);
	if (e == E_OK)
		*ret_version = version;
	return e;
}

/* ---- for a create ---- */

enum err policy_in_force(struct sql *sql, const struct store_scope *scope, const char *account_id,
			 struct store_policies **ret_policies)
{
	struct store_policies *found = calloc(1, sizeof(*found));
	struct store_scope account = {.kind = STORE_ACCOUNT};

	enum err e = found ? str_copy(account.id, sizeof(account.id), account_id) : E_NOMEM;
	if (e == E_OK) {
		found->account.scope = account;
		e = policy_find_newest(sql, &account, &found->account);
	}
	if (scope->kind == STORE_ZONE && (e == E_OK || e == E_NOTFOUND))
		e = policy_find_newest(sql, scope, &found->zone);
	if (e != E_OK && e != E_NOTFOUND) {
		store_policies_free(found);
		return e;
	}
	*ret_policies = found;
	return E_OK;
}

enum err policy_is_in_force(struct sql *sql, const struct csr_record *record, bool *ret_is)
{
	struct store_scope account = {.kind = STORE_ACCOUNT};
	int64_t of_account = 0, of_zone = 0;

	memcpy(account.id, record->account_tag, sizeof(account.id));
	enum err e = policy_last_version(sql, &account, &of_account);
	if (e == E_OK && record->scope.kind == STORE_ZONE)
		e = policy_last_version(sql, &record->scope, &of_zone);
	if (e == E_OK)
		*ret_is = of_account == record->account_policy && of_zone == record->zone_policy;
	return e;
}

/* ---- setting ---- */

struct policy_set {
	struct call call; /* first */
	store_policy_set_fn done;
	struct audit_origin origin;
	struct store_scope scope;
	const char *document;
	int64_t after; /* -1: whichever it is */
	int64_t version;
};

static enum err policy_add(struct sql *sql, const struct policy_set *set, int64_t version, int64_t now_us)
{
	bool zone = set->scope.kind == STORE_ZONE;
	struct sql_query q = policy_ask(sql, POLICY_ADD, &set->scope, "add a policy");
	struct audit_origin origin = set->origin;
	char detail[64];

	sql_put_int(&q, version);
	sql_put_int(&q, now_us);
	sql_put_text(&q, set->origin.actor ? set->origin.actor : "");
	sql_put_text(&q, set->document);
	enum err e = sql_try(&q);
	if (e != E_OK)
		return e;
	snprintf(detail, sizeof(detail), "version %" PRId64, version);
	origin.detail = detail;
	return audit_add(sql, now_us, zone ? "zone.policy" : "account.policy", set->scope.id, &origin);
}

static enum err policy_run_set(struct store_op *op, struct sql *sql)
{
	struct policy_set *set = (struct policy_set *)op;
	int64_t last = 0;

	enum err e = policy_last_version(sql, &set->scope, &last);
	if (e == E_OK && set->after >= 0 && set->after != last)
		e = E_EXISTS;
	if (e == E_OK)
		e = policy_add(sql, set, last + 1, clock_wall_us());
	if (e == E_OK || e == E_EXISTS)
		set->version = e == E_OK ? last + 1 : last;
	return e;
}

static void policy_finish_set(struct store_op *op)
{
	struct policy_set *set = (struct policy_set *)op;

	set->done(set->call.arg, op->e, set->version);
	call_free(&set->call);
}

void store_policy_set(struct store *store, const struct store_policy_set *in, store_policy_set_fn done,
		      void *arg)
{
	static const struct call_type type = {sizeof(struct policy_set), STORE_OP_WRITES, policy_run_set,
					      policy_finish_set};
	struct policy_set *set = call_new(store, &type, arg);

	set->done = done;
	set->scope = in->scope;
	set->after = in->after;
	set->document = call_keep(&set->call, in->document);
	set->origin = call_keep_origin(&set->call, &in->origin);
	call_submit(&set->call);
}

/* ---- one version ---- */

struct policy_get {
	struct call call; /* first */
	store_policy_fn done;
	struct store_scope scope;
	int64_t version;
	struct policy_record found;
};

static enum err policy_run_get(struct store_op *op, struct sql *sql)
{
	struct policy_get *get = (struct policy_get *)op;

	if (get->version == 0)
		return policy_find_newest(sql, &get->scope, &get->found);
	struct sql_query q = policy_ask(sql, POLICY_GET, &get->scope, "read a policy");
	sql_put_int(&q, get->version);
	return policy_take_one(&q, &get->scope, &get->found);
}

static void policy_finish_get(struct store_op *op)
{
	struct policy_get *get = (struct policy_get *)op;

	get->done(get->call.arg, op->e, op->e == E_OK ? &get->found : NULL);
	policy_record_release(&get->found);
	call_free(&get->call);
}

void store_policy_get(struct store *store, const struct store_scope *scope, int64_t version,
		      store_policy_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct policy_get), STORE_OP_READS, policy_run_get,
					      policy_finish_get};
	struct policy_get *get = call_new(store, &type, arg);

	get->done = done;
	get->scope = *scope;
	get->version = version;
	call_submit(&get->call);
}

/* ---- all versions ---- */

struct policy_list {
	struct call call; /* first */
	store_policies_fn done;
	struct store_scope scope;
	int64_t after_version;
	unsigned limit;
	struct call_rows rows;
};

static enum err policy_run_list(struct store_op *op, struct sql *sql)
{
	struct policy_list *list = (struct policy_list *)op;
	struct sql_query q = policy_ask(sql, POLICY_LIST, &list->scope, "list the versions of a policy");

	sql_put_int(&q, list->after_version);
	sql_put_int(&q, list->limit);
	enum err e = call_rows_read(&list->rows, &q);
	for (size_t i = 0; i < list->rows.len; i++)
		((struct policy_record *)list->rows.first)[i].scope = list->scope;
	return e;
}

static void policy_finish_list(struct store_op *op)
{
	struct policy_list *list = (struct policy_list *)op;

	if (op->e != E_OK)
		call_rows_release(&list->rows);
	list->done(list->call.arg, op->e, list->rows.first, list->rows.len);
	call_rows_release(&list->rows);
	call_free(&list->call);
}

void store_policy_list(struct store *store, const struct store_policy_query *query, store_policies_fn done,
		       void *arg)
{
	static const struct call_type type = {sizeof(struct policy_list), STORE_OP_READS, policy_run_list,
					      policy_finish_list};
	struct policy_list *list = call_new(store, &type, arg);

	list->done = done;
	list->scope = query->scope;
	list->after_version = query->after_version;
	list->limit = query->limit;
	list->rows = (struct call_rows){
	    .size = sizeof(struct policy_record), .read = policy_read_row, .release = policy_release_row};
	call_check_limit(&list->call, query->limit);
	call_submit(&list->call);
}
