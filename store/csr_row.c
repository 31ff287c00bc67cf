/* SPDX-License-Identifier: Apache-2.0 */
/* The row of a CSR. */
#include "store/csr_row.h"

#include "base/buf.h"
#include "base/str.h"
#include "store/audit.h"
#include "store/idempotency.h"
#include "store/sql.h"

#include <stdlib.h>
#include <string.h>

#define SANS_BYTES_MAX (CSR_SANS_MAX * (CSR_SAN_BYTES_MAX + 8))

/* ---- statements ---- */

enum {
	CSR_ADD,
	CSR_GET,
	CSR_MOVE,
};
static const struct sql_text csr_row_texts[] = {
    [CSR_ADD] = {"INSERT INTO csrs (id, account_id, zone_id, token_name, principal_id, state, created_us,"
		 " updated_us, key_type, country, province, locality, organization, organizational_unit,"
		 " common_name, sans, name, description, pem, key_label, key_id, spki_sha256, protection,"
		 " account_policy, zone_policy)"
		 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,"
		 " $18, $19, $20, $21, $22, $23, $24, $25)"},
    [CSR_GET] = {"SELECT " CSR_ROW_COLUMNS " FROM csrs WHERE id = $1"},
    [CSR_MOVE] = {"UPDATE csrs SET state = $3, updated_us = $4 WHERE id = $1 AND state = $2"},
};
const struct sql_texts csr_row_sql = SQL_TEXTS(csr_row_texts);

/* ---- names: one "type value" a line ---- */

static enum err csr_row_format_sans(const struct csr_spec *spec, struct buf *b)
{
	for (size_t i = 0; i < spec->sans_len; i++) {
		if (strchr(spec->sans[i].value, '\n'))
			return E_INVAL;
		buf_printf(b, "%s %s\n", san_type_name(spec->sans[i].type), spec->sans[i].value);
	}
	return buf_status(b);
}

static enum err csr_row_parse_san(char *line, struct csr_spec *spec)
{
	char *value = strchr(line, ' ');
	enum san_type type;

	if (!value)
		return E_STORE;
	*value++ = '\0';
	if (san_type_parse(line, &type) != E_OK)
		return E_STORE;
	return csr_spec_add_san(spec, type, value);
}

static enum err csr_row_parse_sans(char *lines, struct csr_spec *spec)
{
	char *line = lines, *end;
	enum err e = E_OK;

	for (; e == E_OK && line && *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			return E_STORE;
		*end = '\0';
		e = csr_row_parse_san(line, spec);
	}
	return e;
}

/* ---- reading ---- */

static void csr_row_read_spec(struct sql_query *q, struct csr_spec *spec)
{
	char *sans = NULL;

	spec->key_type = (enum key_type)sql_int(q, "key_type");
	sql_text(q, "country", &spec->country);
	sql_text(q, "province", &spec->state);
	sql_text(q, "locality", &spec->locality);
	sql_text(q, "organization", &spec->organization);
	sql_text(q, "organizational_unit", &spec->organizational_unit);
	sql_text(q, "common_name", &spec->common_name);
	sql_text(q, "sans", &sans);
	enum err e = q->e == E_OK ? csr_row_parse_sans(sans, spec) : E_OK;
	free(sans);
	if (e == E_NOMEM)
		sql_fail(q, e);
	else if (e != E_OK)
		sql_damaged(q);
}

void csr_row_read(struct sql_query *q, struct csr_record *r)
{
	sql_fixed(q, "id", r->id, sizeof(r->id));
	sql_fixed(q, "account_id", r->account_tag, sizeof(r->account_tag));
	r->scope.kind = sql_is_null(q, "zone_id") ? STORE_ACCOUNT : STORE_ZONE;
	if (r->scope.kind == STORE_ZONE)
		sql_fixed(q, "zone_id", r->scope.id, sizeof(r->scope.id));
	else
		memcpy(r->scope.id, r->account_tag, sizeof(r->scope.id));
	sql_fixed(q, "token_name", r->token_name, sizeof(r->token_name));
	sql_fixed(q, "principal_id", r->principal_id, sizeof(r->principal_id));
	r->state = (enum csr_state)sql_int(q, "state");
	r->created_us = sql_int(q, "created_us");
	r->updated_us = sql_int(q, "updated_us");
	csr_row_read_spec(q, &r->spec);
	sql_text(q, "name", &r->name);
	sql_text(q, "description", &r->description);
	sql_text(q, "pem", &r->pem);
	if (r->pem) {
		sql_fixed(q, "key_label", r->key_label, sizeof(r->key_label));
		sql_bytes(q, "key_id", r->key_id, sizeof(r->key_id));
		sql_bytes(q, "spki_sha256", r->spki_sha256, sizeof(r->spki_sha256));
		r->protection = (uint32_t)sql_int(q, "protection");
	}
	r->set_aside_us = sql_int(q, "set_aside_us");
	r->account_policy = sql_int(q, "account_policy");
	r->zone_policy = sql_int(q, "zone_policy");
}

enum err csr_row_get(struct sql *sql, const char *id, struct csr_record *ret_record)
{
	struct sql_query q = sql_ask(sql, &csr_row_texts[CSR_GET], "read a CSR");
	struct csr_record found = {.name = NULL};

	sql_put_text(&q, id);
	bool is_there = sql_next(&q);
	if (is_there)
		csr_row_read(&q, &found);
	enum err e = sql_found(&q, is_there);
	if (e == E_OK)
		*ret_record = found;
	else
		csr_record_release(&found);
	return e;
}

/* ---- writing ---- */

enum err csr_row_add(struct sql *sql, const struct csr_record *r)
{
	const struct csr_spec *spec = &r->spec;
	struct buf sans;

	buf_init(&sans, SANS_BYTES_MAX);
	enum err e = csr_row_format_sans(spec, &sans);
	if (e != E_OK)
		goto out;
	struct sql_query q = sql_ask(sql, &csr_row_texts[CSR_ADD], "add a CSR");
	sql_put_text(&q, r->id);
	sql_put_text(&q, r->account_tag);
	sql_put_text(&q, r->scope.kind == STORE_ZONE ? r->scope.id : NULL);
	sql_put_text(&q, r->token_name);
	sql_put_text(&q, r->principal_id);
	sql_put_int(&q, r->state);
	sql_put_int(&q, r->created_us);
	sql_put_int(&q, r->updated_us);
	sql_put_int(&q, spec->key_type);
	sql_put_text(&q, spec->country);
	sql_put_text(&q, spec->state);
	sql_put_text(&q, spec->locality);
	sql_put_text(&q, spec->organization);
	sql_put_text(&q, spec->organizational_unit);
	sql_put_text(&q, spec->common_name);
	sql_put_text(&q, buf_text(&sans));
	sql_put_text(&q, r->name);
	sql_put_text(&q, r->description);
	sql_put_text(&q, r->pem);
	sql_put_text(&q, r->key_label);
	sql_put_bytes(&q, r->key_id, sizeof(r->key_id));
	sql_put_bytes(&q, r->spki_sha256, sizeof(r->spki_sha256));
	sql_put_int(&q, r->protection);
	sql_put_int(&q, r->account_policy);
	sql_put_int(&q, r->zone_policy);
	e = sql_try(&q);
out:
	buf_release(&sans);
	return e;
}

enum err csr_row_move(struct sql *sql, const struct store_csr_move *move, int64_t now_us)
{
	struct sql_query q = sql_ask(sql, &csr_row_texts[CSR_MOVE], "change the state of a CSR");

	sql_put_text(&q, move->id);
	sql_put_int(&q, move->from);
	sql_put_int(&q, move->to);
	sql_put_int(&q, now_us);
	enum err e = sql_try(&q);
	if (e == E_OK && sql_changed(sql) == 0)
		e = E_NOTFOUND;
	if (e == E_OK && move->to == CSR_FAILED)
		e = idempotency_forget(sql, move->id);
	return e == E_OK ? audit_add(sql, now_us, audit_action_of_state(move->to), move->id, &move->origin)
			 : e;
}
