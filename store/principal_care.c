/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a principal while it is in use: its last use is noted, its secret is replaced. */
#include "base/clock.h"
#include "store/audit.h"
#include "store/call.h"
#include "store/sql.h"

#include <string.h>

enum { CARE_USED, CARE_SECRET, CARE_REPLACED_ADD, CARE_REPLACED_END, CARE_REPLACE };
static const struct sql_text care_texts[] = {
    [CARE_USED] = {"UPDATE principals SET last_used_us = $1 WHERE id = $2 AND last_used_us < $1"},
    [CARE_SECRET] = {"SELECT secret_hash FROM principals WHERE id = $1 AND kind = $2 AND revoked_us = 0"},
    [CARE_REPLACED_END] = {"UPDATE replaced_secrets SET until_us = $1"
			   " WHERE principal_id = $2 AND until_us > $1"},
    [CARE_REPLACED_ADD] = {"INSERT INTO replaced_secrets (secret_hash, principal_id, until_us)"
			   " VALUES ($1, $2, $3)"},
    [CARE_REPLACE] = {"UPDATE principals SET secret_hash = $1 WHERE id = $2"},
};
const struct sql_texts principal_care_sql = SQL_TEXTS(care_texts);

/* ---- use ---- */

struct care_use {
	struct call_done done; /* first */
	const char *id;
	int64_t at_us;
};

static enum err care_run_use(struct store_op *op, struct sql *sql)
{
	const struct care_use *use = (const struct care_use *)op;
	struct sql_query q = sql_ask(sql, &care_texts[CARE_USED], "note the use of a principal");

	sql_put_int(&q, use->at_us);
	sql_put_text(&q, use->id);
	return sql_run(&q);
}

void store_principal_used(struct store *store, const char *id, int64_t at_us, store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct care_use), STORE_OP_WRITES, care_run_use,
					      call_done_finish};
	struct care_use *use = call_new(store, &type, arg);

	use->done.done = done;
	use->id = call_keep(&use->done.call, id);
	use->at_us = at_us;
	call_submit(&use->done.call);
}

/* ---- a new secret ---- */

struct care_roll {
	struct call_done done; /* first */
	struct audit_origin origin;
	enum principal_kind kind;
	const char *id;
	uint8_t secret_hash[STORE_HASH_BYTES];
	int64_t grace_us;
};

static enum err care_secret(struct sql *sql, const struct care_roll *roll, uint8_t ret_hash[STORE_HASH_BYTES])
{
	struct sql_query q = sql_ask(sql, &care_texts[CARE_SECRET], "find a principal");

	sql_put_text(&q, roll->id);
	sql_put_int(&q, roll->kind);
	bool is_there = sql_next(&q);
	if (is_there)
		sql_bytes(&q, "secret_hash", ret_hash, STORE_HASH_BYTES);
	return sql_found(&q, is_there);
}

/* One secret at most is valid beside the new one: those that were replaced before end now. */
static enum err care_replace(struct sql *sql, const struct care_roll *roll,
			     const uint8_t old_hash[STORE_HASH_BYTES], int64_t now_us)
{
	struct sql_query q = sql_ask(sql, &care_texts[CARE_REPLACED_END], "end replaced secrets");

	sql_put_int(&q, now_us);
	sql_put_text(&q, roll->id);
	enum err e = sql_run(&q);
	if (e != E_OK)
		return e;
	q = sql_ask(sql, &care_texts[CARE_REPLACED_ADD], "keep a replaced secret");
	sql_put_bytes(&q, old_hash, STORE_HASH_BYTES);
	sql_put_text(&q, roll->id);
	sql_put_int(&q, now_us + roll->grace_us);
	e = sql_try(&q);
	if (e != E_OK)
		return e;
	q = sql_ask(sql, &care_texts[CARE_REPLACE], "replace a secret");
	sql_put_bytes(&q, roll->secret_hash, STORE_HASH_BYTES);
	sql_put_text(&q, roll->id);
	return sql_try(&q);
}

static enum err care_run_roll(struct store_op *op, struct sql *sql)
{
	const struct care_roll *roll = (const struct care_roll *)op;
	uint8_t old_hash[STORE_HASH_BYTES];
	int64_t now_us = clock_wall_us();

	enum err e = care_secret(sql, roll, old_hash);
	if (e == E_OK)
		e = care_replace(sql, roll, old_hash, now_us);
	if (e == E_OK)
		e = audit_add(sql, now_us, roll->kind == PRINCIPAL_USER ? "user.roll" : "token.roll",
			      roll->id, &roll->origin);
	return e;
}

void store_principal_roll(struct store *store, const struct store_roll *in, const struct audit_origin *origin,
			  store_done_fn done, void *arg)
{
	static const struct call_type type = {sizeof(struct care_roll), STORE_OP_WRITES, care_run_roll,
					      call_done_finish};
	struct care_roll *roll = call_new(store, &type, arg);

	roll->done.done = done;
	roll->origin = call_keep_origin(&roll->done.call, origin);
	roll->kind = in->kind;
	roll->id = call_keep(&roll->done.call, in->id);
	memcpy(roll->secret_hash, in->secret_hash, STORE_HASH_BYTES);
	roll->grace_us = in->grace_us;
	call_submit(&roll->done.call);
}
