/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency keys. */
#include "store/idempotency.h"

#include "store/csr_row.h"
#include "store/sql.h"

#include <string.h>

#define PURGE_MAX 8 /* expired keys that one create removes */

/* ---- statements ---- */

enum {
	KEY_FIND,
	KEY_REMOVE,
	KEY_ADD,
	KEY_PURGE,
	KEY_FORGET,
};
static const struct sql_text idempotency_texts[] = {
    [KEY_FIND] = {"SELECT created_us, request_hash, csr_id FROM idempotency"
		  " WHERE principal_id = $1 AND scope_kind = $2 AND scope_id = $3 AND key = $4"},
    [KEY_REMOVE] = {"DELETE FROM idempotency"
		    " WHERE principal_id = $1 AND scope_kind = $2 AND scope_id = $3 AND key = $4"},
    [KEY_ADD] = {"INSERT INTO idempotency (principal_id, scope_kind, scope_id, key, csr_id,"
		 " request_hash, created_us) VALUES ($1, $2, $3, $4, $5, $6, $7)"},
    [KEY_PURGE] = {"DELETE FROM idempotency WHERE (principal_id, scope_kind, scope_id, key) IN"
		   " (SELECT principal_id, scope_kind, scope_id, key FROM idempotency"
		   " WHERE created_us < $1 ORDER BY created_us LIMIT $2)"},
    [KEY_FORGET] = {"DELETE FROM idempotency WHERE csr_id = $1"},
};
const struct sql_texts idempotency_sql = SQL_TEXTS(idempotency_texts);

static void idempotency_put_key(struct sql_query *q, const struct store_csr_add *in)
{
	sql_put_text(q, in->record->principal_id);
	sql_put_int(q, in->record->scope.kind);
	sql_put_text(q, in->record->scope.id);
	sql_put_text(q, in->idempotency_key);
}

/* What a key that was seen before makes of this create. */
static enum err idempotency_judge_repeat(struct sql *sql, const struct store_csr_add *in, const uint8_t *hash,
					 const char *csr_id, enum store_begin *ret_outcome,
					 struct csr_record *ret_replay)
{
	struct csr_record first;

	if (memcmp(hash, in->request_hash, STORE_HASH_BYTES) != 0) {
		*ret_outcome = STORE_BEGIN_MISMATCH;
		return E_OK;
	}
	enum err e = csr_row_get(sql, csr_id, &first);
	if (e != E_OK)
		return e == E_NOTFOUND ? E_STORE : e;
	if (first.state == CSR_ACTIVE || first.state == CSR_PENDING) {
		*ret_replay = first;
		*ret_outcome = first.state == CSR_ACTIVE ? STORE_BEGIN_REPLAY : STORE_BEGIN_IN_FLIGHT;
		return E_OK;
	}
	*ret_outcome = STORE_BEGIN_GONE;
	csr_record_release(&first);
	return E_OK;
}

static enum err idempotency_remove(struct sql *sql, const struct store_csr_add *in)
{
	struct sql_query q = sql_ask(sql, &idempotency_texts[KEY_REMOVE], "remove an idempotency key");

	idempotency_put_key(&q, in);
	return sql_run(&q);
}

/* *ret_expired: it is there, and too old. */
static enum err idempotency_find(struct sql *sql, const struct store_csr_add *in, int64_t now_us,
				 enum store_begin *ret_outcome, struct csr_record *ret_replay,
				 bool *ret_expired)
{
	struct sql_query q = sql_ask(sql, &idempotency_texts[KEY_FIND], "find an idempotency key");
	uint8_t hash[STORE_HASH_BYTES];
	char csr_id[CSR_ID_SIZE];
	bool expired = false;

	idempotency_put_key(&q, in);
	bool is_there = sql_next(&q);
	if (is_there) {
		expired = sql_int(&q, "created_us") < now_us - in->idempotency_ttl_us;
		sql_bytes(&q, "request_hash", hash, sizeof(hash));
		sql_fixed(&q, "csr_id", csr_id, sizeof(csr_id));
	}
	enum err e = sql_done(&q);
	if (e != E_OK)
		return e;
	if (is_there && !expired)
		return idempotency_judge_repeat(sql, in, hash, csr_id, ret_outcome, ret_replay);
	*ret_outcome = STORE_BEGIN_NEW;
	*ret_expired = expired;
	return E_OK;
}

enum err idempotency_look(struct sql *sql, const struct store_csr_add *in, int64_t now_us,
			  enum store_begin *ret_outcome, struct csr_record *ret_replay)
{
	bool expired;

	return idempotency_find(sql, in, now_us, ret_outcome, ret_replay, &expired);
}

enum err idempotency_judge(struct sql *sql, const struct store_csr_add *in, int64_t now_us,
			   enum store_begin *ret_outcome, struct csr_record *ret_replay)
{
	bool expired = false;
	enum err e = idempotency_find(sql, in, now_us, ret_outcome, ret_replay, &expired);

	return e == E_OK && expired ? idempotency_remove(sql, in) : e;
}

static enum err idempotency_purge(struct sql *sql, int64_t before_us)
{
	struct sql_query q = sql_ask(sql, &idempotency_texts[KEY_PURGE], "remove old idempotency keys");

	sql_put_int(&q, before_us);
	sql_put_int(&q, PURGE_MAX);
	return sql_run(&q);
}

enum err idempotency_note(struct sql *sql, const struct store_csr_add *in, int64_t now_us)
{
	enum err e = E_OK;

	if (in->idempotency_key) {
		struct sql_query q = sql_ask(sql, &idempotency_texts[KEY_ADD], "add an idempotency key");

		idempotency_put_key(&q, in);
		sql_put_text(&q, in->record->id);
		sql_put_bytes(&q, in->request_hash, STORE_HASH_BYTES);
		sql_put_int(&q, now_us);
		e = sql_run(&q);
	}
	if (e == E_OK && in->idempotency_ttl_us > 0)
		e = idempotency_purge(sql, now_us - in->idempotency_ttl_us);
	return e;
}

enum err idempotency_forget(struct sql *sql, const char *csr_id)
{
	struct sql_query q = sql_ask(sql, &idempotency_texts[KEY_FORGET], "remove an idempotency key");

	sql_put_text(&q, csr_id);
	return sql_run(&q);
}
