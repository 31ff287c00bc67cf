/* SPDX-License-Identifier: Apache-2.0 */
/* Principals and what they are granted. */
#include "store/principal.h"

#include "base/clock.h"
#include "store/audit.h"
#include "store/call.h"
#include "store/identity.h"
#include "store/sql.h"

#include <stdlib.h>
#include <string.h>

/* ---- statements ---- */

#define PRINCIPAL_COLUMNS                                                                                    \
	"id, kind, name, secret_hash, created_us, not_before_us, expires_us, revoked_us,"                    \
	" networks, last_used_us"

enum {
	PRINCIPAL_FIND,
	PRINCIPAL_GET,
	PRINCIPAL_FIND_REPLACED,
	PRINCIPAL_LIST,
	PRINCIPAL_ADD,
	PRINCIPAL_STATE,
	PRINCIPAL_REVOKE,
	GRANT_LIST,
	GRANT_ADD_ACCOUNT,
	GRANT_ADD_ZONE,
};
static const struct sql_text principal_texts[] = {
    [PRINCIPAL_FIND] = {"SELECT " PRINCIPAL_COLUMNS " FROM principals"
			" WHERE secret_hash = $1 AND kind = $2"},
    [PRINCIPAL_GET] = {"SELECT " PRINCIPAL_COLUMNS " FROM principals WHERE id = $1"},
    [PRINCIPAL_FIND_REPLACED] = {"SELECT " PRINCIPAL_COLUMNS ","
				 " (SELECT until_us FROM replaced_secrets WHERE secret_hash = $1) AS until_us"
				 " FROM principals WHERE kind = $2 AND id ="
				 " (SELECT principal_id FROM replaced_secrets WHERE secret_hash = $1)"},
    [PRINCIPAL_LIST] = {"SELECT " PRINCIPAL_COLUMNS " FROM principals"
			" WHERE kind = $1 AND (created_us, id) > ($2, $3) ORDER BY created_us, id LIMIT $4"},
    [PRINCIPAL_ADD] = {"INSERT INTO principals (id, kind, name, secret_hash, created_us, not_before_us,"
		       " expires_us, revoked_us, networks) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)"},
    [PRINCIPAL_STATE] = {"SELECT revoked_us FROM principals WHERE id = $1 AND kind = $2"},
    [PRINCIPAL_REVOKE] = {"UPDATE principals SET revoked_us = $1 WHERE id = $2"},
    /* In the order in which they were given, where an engine knows it. */
    [GRANT_LIST] = {.text = "SELECT account_id, zone_id, permission FROM grants WHERE principal_id = $1"
			    " ORDER BY CASE WHEN zone_id IS NULL THEN 1 ELSE 2 END,"
			    " coalesce(account_id, zone_id)",
		    .sqlite = "SELECT account_id, zone_id, permission FROM grants"
			      " WHERE principal_id = $1 ORDER BY rowid"},
    [GRANT_ADD_ACCOUNT] = {"INSERT INTO grants (principal_id, account_id, permission) VALUES ($1, $2, $3)"},
    [GRANT_ADD_ZONE] = {"INSERT INTO grants (principal_id, zone_id, permission) VALUES ($1, $2, $3)"},
};
const struct sql_texts principal_sql = SQL_TEXTS(principal_texts);

/* ---- rows ---- */

static void principal_read_grant(struct sql_query *q, void *row)
{
	struct grant *g = row;
	bool on_zone = sql_is_null(q, "account_id");

	g->scope.kind = on_zone ? STORE_ZONE : STORE_ACCOUNT;
	sql_fixed(q, on_zone ? "zone_id" : "account_id", g->scope.id, sizeof(g->scope.id));
	g->permission = (enum grant_permission)sql_int(q, "permission");
}

static enum err principal_read_grants(struct sql *sql, struct principal *p)
{
	struct sql_query q = sql_ask(sql, &principal_texts[GRANT_LIST], "read the grants of a principal");
	struct call_rows grants = {.size = sizeof(struct grant), .read = principal_read_grant};

	sql_put_text(&q, p->id);
	enum err e = call_rows_read(&grants, &q);
	p->grants = grants.first;
	p->grants_len = grants.len;
	return e;
}

/* They were written by principal_networks_format. */
static void principal_read_networks(struct sql_query *q, struct principal *p)
{
	char *text = NULL, *rest, *item;
	struct buf why;

	sql_text(q, "networks", &text);
	buf_init(&why, ADDRESS_NET_SIZE * 4);
	for (rest = text; q->e == E_OK && rest && (item = strsep(&rest, ","));) {
		item += strspn(item, " ");
		if (*item == '\0')
			continue;
		if (p->networks_len == PRINCIPAL_NETWORKS_MAX ||
		    principal_network_parse(item, &why, &p->networks[p->networks_len++]) != E_OK)
			sql_damaged(q);
	}
	buf_release(&why);
	free(text);
}

/* Filled as far as it got, also after an error. */
static void principal_read_row(struct sql_query *q, void *row)
{
	struct principal *p = row;

	sql_fixed(q, "id", p->id, sizeof(p->id));
	p->kind = (enum principal_kind)sql_int(q, "kind");
	sql_text(q, "name", &p->name);
	if (p->kind != PRINCIPAL_PEER)
		sql_bytes(q, "secret_hash", p->secret_hash, sizeof(p->secret_hash));
	p->created_us = sql_int(q, "created_us");
	p->not_before_us = sql_int(q, "not_before_us");
	p->expires_us = sql_int(q, "expires_us");
	p->revoked_us = sql_int(q, "revoked_us");
	principal_read_networks(q, p);
	p->last_used_us = sql_int(q, "last_used_us");
	if (q->e == E_OK)
		sql_fail(q, principal_read_grants(q->sql, p));
}

/* ---- finding ---- */

/* The current row (owned), as far as it got; NULL: out of memory. */
static struct principal *principal_take_row(struct sql_query *q)
{
	struct principal *found = calloc(1, sizeof(*found));

	if (!found)
		sql_fail(q, E_NOMEM);
	else
		principal_read_row(q, found);
	return found;
}

static enum err principal_note_name(struct principal *p, const struct identity *name)
{
	p->known_by.kind = name->kind;
	p->known_by.value = strdup(name->value);
	return p->known_by.value ? E_OK : E_NOMEM;
}

/* Of a secret that is in force, or was replaced. */
static enum err principal_find_by_hash(struct sql *sql, const struct store_claim *claim, unsigned which,
				       struct principal **ret_found)
{
	struct sql_query q = sql_ask(sql, &principal_texts[which], "find a principal");
	struct principal *found = NULL;

	sql_put_bytes(&q, claim->secret_hash, STORE_HASH_BYTES);
	sql_put_int(&q, claim->kind);
	bool is_there = sql_next(&q);
	if (is_there)
		found = principal_take_row(&q);
	if (found && which == PRINCIPAL_FIND_REPLACED) {
		found->secret_until_us = sql_int(&q, "until_us");
		memcpy(found->secret_hash, claim->secret_hash, STORE_HASH_BYTES);
	}
	enum err e = sql_found(&q, is_there);
	if (e == E_OK)
		*ret_found = found;
	else
		principal_free(found);
	return e;
}

static enum err principal_find_by_secret(struct sql *sql, const struct store_claim *claim,
					 struct principal **ret_found)
{
	const struct identity *name = NULL;
	struct principal *found = NULL;
	enum err e = principal_find_by_hash(sql, claim, PRINCIPAL_FIND, &found);

	if (e == E_NOTFOUND)
		e = principal_find_by_hash(sql, claim, PRINCIPAL_FIND_REPLACED, &found);
	if (e == E_OK && claim->needs_both && claim->peer) {
		e = identity_shared(sql, claim->peer, found->id, &name);
		if (e == E_OK)
			e = principal_note_name(found, name);
		else if (e == E_NOTFOUND)
			e = E_OK;
	}
	if (e == E_OK)
		*ret_found = found;
	else
		principal_free(found);
	return e;
}

static enum err principal_find_by_peer(struct sql *sql, const struct peer *peer, struct principal **ret_found)
{
	const struct identity *name = NULL;
	struct principal *found = NULL;
	char id[CSR_ID_SIZE];
	enum err e = identity_owner(sql, peer, id, &name);

	if (e != E_OK)
		return e;
	struct sql_query q = sql_ask(sql, &principal_texts[PRINCIPAL_GET], "find a principal");
	sql_put_text(&q, id);
	bool is_there = sql_next(&q);
	if (is_there)
		found = principal_take_row(&q);
	e = sql_found(&q, is_there);
	if (e == E_OK)
		e = principal_note_name(found, name);
	if (e == E_OK)
		*ret_found = found;
	else
		principal_free(found);
	return e;
}

enum err principal_find(struct sql *sql, const struct store_claim *claim, struct principal **ret_found)
{
	if (claim->kind != 0)
		return principal_find_by_secret(sql, claim, ret_found);
	return claim->peer ? principal_find_by_peer(sql, claim->peer, ret_found) : E_NOTFOUND;
}

struct principal_look {
	struct call call; /* first */
	store_principal_fn done;
	struct store_claim claim;
	struct principal *found;
};

static enum err principal_run_find(struct store_op *op, struct sql *sql)
{
	struct principal_look *look = (struct principal_look *)op;

	return principal_find(sql, &look->claim, &look->found);
}

static void principal_finish_find(struct store_op *op)
{
	struct principal_look *look = (struct principal_look *)op;

	if (op->e != E_OK) {
		principal_free(look->found);
		look->found = NULL;
	}
	look->done(look->call.arg, op->e, look->found);
	call_free(&look->call);
}

void store_principal_find(struct store *store, const struct store_claim *claim, store_principal_fn done,
			  void *arg)
{
	static const struct call_type type = {sizeof(struct principal_look), STORE_OP_READS,
					      principal_run_find, principal_finish_find};
	struct principal_look *look = call_new(store, &type, arg);

	look->done = done;
	look->claim = *claim;
	look->claim.peer = call_keep_peer(&look->call, claim->peer);
	call_submit(&look->call);
}

struct principal_list {
	struct call call; /* first */
	store_principals_fn done;
	struct store_principal_query query;
	struct call_rows rows;
};

/* As principal_read_row, with identities. */
static void principal_read_whole(struct sql_query *q, void *row)
{
	principal_read_row(q, row);
	if (q->e == E_OK)
		sql_fail(q, identity_list(q->sql, row));
}

static void principal_release_row(void *row)
{
	principal_release(row);
}

static enum err principal_run_list(struct store_op *op, struct sql *sql)
{
	struct principal_list *list = (struct principal_list *)op;
	struct sql_query q = sql_ask(sql, &principal_texts[PRINCIPAL_LIST], "list the principals");

	sql_put_int(&q, list->query.kind);
	sql_put_int(&q, list->query.after_created_us);
	sql_put_text(&q, list->query.after_id);
	sql_put_int(&q, list->query.limit);
	return call_rows_read(&list->rows, &q);
}

static void principal_finish_list(struct store_op *op)
{
	struct principal_list *list = (struct principal_list *)op;

	if (op->e != E_OK)
		call_rows_release(&list->rows);
	list->done(list->call.arg, op->e, list->rows.first, list->rows.len);
	call_rows_release(&list->rows);
	call_free(&list->call);
}

void store_principal_list(struct store *store, const struct store_principal_query *query,
			  store_principals_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct principal_list), STORE_OP_READS,
					      principal_run_list, principal_finish_list};
	struct principal_list *list = call_new(store, &type, arg);

	list->done = done;
	list->query = *query;
	list->query.after_id = call_keep(&list->call, query->after_id ? query->after_id : "");
	call_check_limit(&list->call, query->limit);
	list->rows = (struct call_rows){
	    .size = sizeof(struct principal), .read = principal_read_whole, .release = principal_release_row};
	call_submit(&list->call);
}

/* ---- adding ---- */

struct principal_add {
	struct call_done done; /* first */
	struct audit_origin origin;
	struct principal principal;
};

/* The strongest of the grants on the same thing; 0 when an earlier one stands for it. */
static enum grant_permission principal_permission(const struct principal *p, size_t which)
{
	enum grant_permission strongest = p->grants[which].permission;

	for (size_t i = 0; i < p->grants_len; i++) {
		if (!store_scope_equal(&p->grants[i].scope, &p->grants[which].scope))
			continue;
		if (i < which)
			return 0;
		if (p->grants[i].permission > strongest)
			strongest = p->grants[i].permission;
	}
	return strongest;
}

static enum err principal_add_grant(struct sql *sql, const struct principal *p, size_t which)
{
	const struct store_scope *scope = &p->grants[which].scope;
	enum grant_permission permission = principal_permission(p, which);

	if (permission == 0)
		return E_OK;
	bool zone = scope->kind == STORE_ZONE;
	struct sql_query q =
	    sql_ask(sql, &principal_texts[zone ? GRANT_ADD_ZONE : GRANT_ADD_ACCOUNT], "add a grant");
	sql_put_text(&q, p->id);
	sql_put_text(&q, scope->id);
	sql_put_int(&q, permission);
	return sql_try(&q);
}

static const char *principal_action(enum principal_kind kind, bool adds)
{
	switch (kind) {
	case PRINCIPAL_USER:
		return adds ? "user.create" : "user.revoke";
	case PRINCIPAL_PEER:
		return adds ? "principal.add" : "principal.revoke";
	case PRINCIPAL_TOKEN:
		break;
	}
	return adds ? "token.create" : "token.revoke";
}

static enum err principal_run_add(struct store_op *op, struct sql *sql)
{
	const struct principal_add *add = (const struct principal_add *)op;
	const struct principal *p = &add->principal;
	struct sql_query q = sql_ask(sql, &principal_texts[PRINCIPAL_ADD], "add a principal");
	int64_t now_us = clock_wall_us();
	struct buf networks;

	sql_put_text(&q, p->id);
	sql_put_int(&q, p->kind);
	sql_put_text(&q, p->name ? p->name : "");
	sql_put_bytes(&q, p->kind == PRINCIPAL_PEER ? NULL : p->secret_hash, sizeof(p->secret_hash));
	sql_put_int(&q, now_us);
	sql_put_int(&q, p->not_before_us);
	sql_put_int(&q, p->expires_us);
	buf_init(&networks, PRINCIPAL_NETWORKS_MAX * ADDRESS_NET_SIZE);
	principal_networks_format(p, &networks);
	sql_put_text(&q, buf_text(&networks));
	if (buf_status(&networks) != E_OK)
		sql_fail(&q, E_NOMEM);
	enum err e = sql_try(&q);
	buf_release(&networks);
	for (size_t i = 0; e == E_OK && i < p->grants_len; i++)
		e = principal_add_grant(sql, p, i);
	for (size_t i = 0; e == E_OK && i < p->identities_len; i++)
		e = identity_add(sql, p->id, &p->identities[i], now_us);
	if (e == E_OK)
		e = audit_add(sql, now_us, principal_action(p->kind, true), p->id, &add->origin);
	return e;
}

static void principal_finish_add(struct store_op *op)
{
	principal_release(&((struct principal_add *)op)->principal);
	call_done_finish(op);
}

void store_principal_add(struct store *store, const struct principal *principal,
			 const struct audit_origin *origin, store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct principal_add), STORE_OP_WRITES,
					      principal_run_add, principal_finish_add};
	struct principal_add *add = call_new(store, &type, arg);

	add->done.done = done;
	add->origin = call_keep_origin(&add->done.call, origin);
	if (principal_copy(principal, &add->principal) != E_OK)
		call_refuse(&add->done.call, E_NOMEM);
	call_submit(&add->done.call);
}

/* ---- revoking ---- */

struct principal_revoke {
	struct call_done done; /* first */
	struct audit_origin origin;
	enum principal_kind kind;
	const char *id;
};

static enum err principal_revoked_at(struct sql *sql, enum principal_kind kind, const char *id,
				     int64_t *ret_revoked_us)
{
	struct sql_query q = sql_ask(sql, &principal_texts[PRINCIPAL_STATE], "find a principal");

	sql_put_text(&q, id);
	sql_put_int(&q, kind);
	bool is_there = sql_next(&q);
	if (is_there)
		*ret_revoked_us = sql_int(&q, "revoked_us");
	return sql_found(&q, is_there);
}

static enum err principal_run_revoke(struct store_op *op, struct sql *sql)
{
	const struct principal_revoke *revoke = (const struct principal_revoke *)op;
	int64_t now_us = clock_wall_us(), revoked_us = 0;

	enum err e = principal_revoked_at(sql, revoke->kind, revoke->id, &revoked_us);
	if (e != E_OK || revoked_us != 0)
		return e;
	struct sql_query q = sql_ask(sql, &principal_texts[PRINCIPAL_REVOKE], "revoke a principal");
	sql_put_int(&q, now_us);
	sql_put_text(&q, revoke->id);
	e = sql_run(&q);
	if (e == E_OK)
		e = audit_add(sql, now_us, principal_action(revoke->kind, false), revoke->id,
			      &revoke->origin);
	return e;
}

void store_principal_revoke(struct store *store, enum principal_kind kind, const char *id,
			    const struct audit_origin *origin, store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct principal_revoke), STORE_OP_WRITES,
					      principal_run_revoke, call_done_finish};
	struct principal_revoke *revoke = call_new(store, &type, arg);

	revoke->done.done = done;
	revoke->origin = call_keep_origin(&revoke->done.call, origin);
	revoke->kind = kind;
	revoke->id = call_keep(&revoke->done.call, id);
	call_submit(&revoke->done.call);
}
