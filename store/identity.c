/* SPDX-License-Identifier: Apache-2.0 */
/* Identities of principals: found, added, removed. */
#include "store/identity.h"

#include "base/clock.h"
#include "store/audit.h"
#include "store/call.h"
#include "store/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	IDENTITY_OWNER,
	IDENTITY_SHARED,
	IDENTITY_LIST,
	IDENTITY_ADD,
	IDENTITY_REMOVE,
	IDENTITY_PRINCIPAL,
};
static const struct sql_text identity_texts[] = {
    [IDENTITY_OWNER] = {"SELECT principal_id, removed_us FROM identities WHERE kind = $1 AND value = $2"
			" AND (removed_us = 0 OR EXISTS (SELECT 1 FROM principals"
			" WHERE principals.id = identities.principal_id AND principals.revoked_us <> 0))"
			" ORDER BY CASE WHEN removed_us = 0 THEN 0 ELSE 1 END, removed_us DESC LIMIT 1"},
    [IDENTITY_SHARED] = {"SELECT id FROM identities WHERE kind = $1 AND value = $2 AND principal_id = $3"
			 " AND removed_us = 0"},
    [IDENTITY_LIST] = {"SELECT kind, value FROM identities WHERE principal_id = $1 AND removed_us = 0"
		       " ORDER BY id"},
    [IDENTITY_ADD] = {"INSERT INTO identities (kind, value, principal_id, added_us) VALUES ($1, $2, $3, $4)"},
    [IDENTITY_REMOVE] = {"UPDATE identities SET removed_us = $1 WHERE id = $2"},
    [IDENTITY_PRINCIPAL] = {"SELECT revoked_us FROM principals WHERE id = $1"},
};
const struct sql_texts identity_sql = SQL_TEXTS(identity_texts);

/* ---- finding ---- */

struct identity_found {
	char principal_id[CSR_ID_SIZE];
	bool is_in_force;
};

static enum err identity_find(struct sql *sql, const struct identity *name, struct identity_found *ret_found)
{
	struct sql_query q = sql_ask(sql, &identity_texts[IDENTITY_OWNER], "find a principal by an identity");
	struct identity_found found = {0};

	sql_put_int(&q, name->kind);
	sql_put_text(&q, name->value);
	bool is_there = sql_next(&q);
	if (is_there) {
		sql_fixed(&q, "principal_id", found.principal_id, sizeof(found.principal_id));
		found.is_in_force = sql_int(&q, "removed_us") == 0;
	}
	enum err e = sql_found(&q, is_there);
	if (e == E_OK)
		*ret_found = found;
	return e;
}

enum err identity_owner(struct sql *sql, const struct peer *peer, char ret_id[CSR_ID_SIZE],
			const struct identity **ret_name)
{
	struct identity_found best = {0}, found;
	const struct identity *name = NULL;

	for (size_t i = 0; i < peer->names_len; i++) {
		enum err e = identity_find(sql, &peer->names[i], &found);

		if (e == E_NOTFOUND)
			continue;
		if (e != E_OK)
			return e;
		if (best.is_in_force && found.is_in_force &&
		    strcmp(best.principal_id, found.principal_id) != 0)
			return E_EXISTS;
		if (!name || (found.is_in_force && !best.is_in_force)) {
			best = found;
			name = &peer->names[i];
		}
	}
	if (!name)
		return E_NOTFOUND;
	memcpy(ret_id, best.principal_id, CSR_ID_SIZE);
	*ret_name = name;
	return E_OK;
}

/* *ret_id: of the row. */
static enum err identity_find_row(struct sql *sql, const char *principal_id, enum identity_kind kind,
				  const char *value, int64_t *ret_id)
{
	struct sql_query q = sql_ask(sql, &identity_texts[IDENTITY_SHARED], "find an identity");

	sql_put_int(&q, kind);
	sql_put_text(&q, value);
	sql_put_text(&q, principal_id);
	bool is_there = sql_next(&q);
	int64_t id = is_there ? sql_int(&q, "id") : 0;
	enum err e = sql_found(&q, is_there);
	if (e == E_OK)
		*ret_id = id;
	return e;
}

enum err identity_shared(struct sql *sql, const struct peer *peer, const char *principal_id,
			 const struct identity **ret_name)
{
	for (size_t i = 0; i < peer->names_len; i++) {
		const struct identity *name = &peer->names[i];
		int64_t id;
		enum err e = identity_find_row(sql, principal_id, name->kind, name->value, &id);

		if (e == E_OK)
			*ret_name = name;
		if (e != E_NOTFOUND)
			return e;
	}
	return E_NOTFOUND;
}

static void identity_read_row(struct sql_query *q, void *row)
{
	struct identity *identity = row;

	identity->kind = (enum identity_kind)sql_int(q, "kind");
	sql_text(q, "value", &identity->value);
}

enum err identity_list(struct sql *sql, struct principal *p)
{
	struct sql_query q =
	    sql_ask(sql, &identity_texts[IDENTITY_LIST], "read the identities of a principal");
	struct call_rows rows = {.size = sizeof(struct identity), .read = identity_read_row};

	sql_put_text(&q, p->id);
	enum err e = call_rows_read(&rows, &q);
	p->identities = rows.first;
	p->identities_len = rows.len;
	return e;
}

/* ---- changing ---- */

enum err identity_add(struct sql *sql, const char *principal_id, const struct identity *identity,
		      int64_t now_us)
{
	struct sql_query q = sql_ask(sql, &identity_texts[IDENTITY_ADD], "add an identity");

	sql_put_int(&q, identity->kind);
	sql_put_text(&q, identity->value);
	sql_put_text(&q, principal_id);
	sql_put_int(&q, now_us);
	return sql_try(&q);
}

struct identity_change {
	struct call_done done; /* first */
	struct store_identity_change in;
	struct audit_origin origin;
};

/* E_NOTFOUND; E_INVAL: it is revoked. */
static enum err identity_check_principal(struct sql *sql, const char *id)
{
	struct sql_query q = sql_ask(sql, &identity_texts[IDENTITY_PRINCIPAL], "find a principal");
	int64_t revoked_us = 0;

	sql_put_text(&q, id);
	bool is_there = sql_next(&q);
	if (is_there)
		revoked_us = sql_int(&q, "revoked_us");
	enum err e = sql_found(&q, is_there);
	return e == E_OK && revoked_us != 0 ? E_INVAL : e;
}

static enum err identity_remove(struct sql *sql, const struct store_identity_change *in, int64_t now_us)
{
	int64_t id = 0;
	enum err e = identity_find_row(sql, in->principal_id, in->kind, in->value, &id);

	if (e != E_OK)
		return e;
	struct sql_query q = sql_ask(sql, &identity_texts[IDENTITY_REMOVE], "remove an identity");
	sql_put_int(&q, now_us);
	sql_put_int(&q, id);
	return sql_run(&q);
}

static enum err identity_run_change(struct store_op *op, struct sql *sql)
{
	const struct identity_change *change = (const struct identity_change *)op;
	const struct store_identity_change *in = &change->in;
	int64_t now_us = clock_wall_us();
	struct identity identity = {.kind = in->kind};
	enum err e = identity_check_principal(sql, in->principal_id);

	if (e == E_OK && in->removes) {
		e = identity_remove(sql, in, now_us);
	} else if (e == E_OK) {
		identity.value = strdup(in->value);
		e = identity.value ? identity_add(sql, in->principal_id, &identity, now_us) : E_NOMEM;
		free(identity.value);
	}
	if (e == E_OK)
		e = audit_add(sql, now_us, in->removes ? "principal.unbind" : "principal.bind",
			      in->principal_id, &change->origin);
	return e;
}

void store_identity_change(struct store *store, const struct store_identity_change *in,
			   const struct audit_origin *origin, store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct identity_change), STORE_OP_WRITES,
					      identity_run_change, call_done_finish};
	struct identity_change *change = call_new(store, &type, arg);

	change->done.done = done;
	change->in = *in;
	change->in.principal_id = call_keep(&change->done.call, in->principal_id);
	change->in.value = call_keep(&change->done.call, in->value);
	change->origin = call_keep_origin(&change->done.call, origin);
	call_submit(&change->done.call);
}
