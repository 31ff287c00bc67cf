/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST …/custom_csrs: what a create comes to, by one look at the store, and then
 * it is made (csr_make.h).  A request that repeats one still at work here
 * (Idempotency-Key) waits for its end and looks anew.
 */
#include "api/csr_judge.h"
#include "api/csr_json.h"
#include "api/csr_make.h"
#include "api/json.h"
#include "api/op.h"
#include "api/precondition.h"
#include "api/query.h"
#include "api/validate.h"
#include "api/wait.h"
#include "base/clock.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRY_RUN "dry_run" /* query parameter: say what the create would come to, and make nothing */
#define IDEMPOTENCY_KEY_MAX 255
#define REPEAT_MIN_MS 1000 /* with less time left a repeat does not begin what the first failed to do */

static void create_free(void *state)
{
	struct create *create = state;

	csr_record_free(create->seen);
	csr_record_free(create->record);
	store_policies_free(create->policies);
	problem_list_release(&create->notes);
	free(create);
}

/* ---- repeats ---- */

static void create_go_on(struct op *op);
static void create_look_again(struct op *op);

/* The op of this process that makes a CSR under the same key, or NULL. */
static const struct op *create_find_first(const struct op *op)
{
	const struct create *create = op->state;

	const struct op *other;

	if (!create->idempotency_key)
		return NULL;
	LIST_FOREACH (other, &op->api->ops, next) {
		const struct create *its = other->state;

		if (other->state_free == create_free && other->works_on[0] != '\0' && its->idempotency_key &&
		    strcmp(its->idempotency_key, create->idempotency_key) == 0 &&
		    strcmp(other->principal->id, op->principal->id) == 0 &&
		    store_scope_equal(&other->route.scope, &op->route.scope))
			return other;
	}
	return NULL;
}

static void create_wait_for(struct op *op, const char *csr_id)
{
	op_log(op, LOG_LEVEL_DEBUG, "waiting for CSR '%s' of the first request with its key", csr_id);
	wait_start(op, csr_id, "the first request with this Idempotency-Key is still in progress; try again",
		   create_look_again);
}

static void create_on_looked_again(void *arg, enum err e, struct principal *caller, enum store_begin outcome,
				   struct csr_record *record, struct store_policies *policies)
{
	struct op *op = arg;
	struct create *create = op->state;

	principal_free(caller);        /* it was admitted when it came, */
	store_policies_free(policies); /* and judged; the commit looks at the policies again */
	csr_record_free(create->seen);
	create->outcome = outcome;
	create->seen = record;
	if (e != E_OK) {
		op_log(op, LOG_LEVEL_ERROR, "cannot read what became of the first request: %s", err_str(e));
		op_refuse_err(op, e == E_NOTFOUND ? E_BUG : e,
			      "the store is not available at the moment; try again");
	} else if (outcome == STORE_BEGIN_NEW && clock_ms() + REPEAT_MIN_MS > op->request->deadline_ms) {
		op_refuse_later(op, "the first request with this Idempotency-Key failed; try again");
	} else {
		create_go_on(op);
	}
}

static void create_look(struct op *op, store_csr_look_fn done)
{
	const struct create *create = op->state;
	struct store_csr_look in = {
	    .claim = op->claim.store,
	    .scope = op->route.scope,
	    .idempotency_key = create->idempotency_key,
	    .idempotency_ttl_us = csr_make_idempotency_ttl_us(op),
	};

	memcpy(in.request_hash, create->request_hash, sizeof(in.request_hash));
	store_csr_look(op->api->options.store, &in, done, op);
}

/*
 * What the first came to is the store's to say.  What this one asks for was accepted when it came: a
 * configuration that was reloaded since does not count.
 */
static void create_look_again(struct op *op)
{
	create_look(op, create_on_looked_again);
}

/* Can a create begin now?  False when the op was refused. */
static bool create_can_begin(struct op *op)
{
	const struct api *api = op->api;

	if (api->draining) {
		op_refuse_later(op, "this process is shutting down; try again");
		return false;
	}
	if (api->options.hsms_len == 0 || !hsm_is_up(api->options.hsms[0])) {
		op_refuse_err(op, E_UNAVAIL, "the HSM is not available at the moment; try again");
		return false;
	}
	return true;
}

/* By what the store has said. */
static void create_go_on(struct op *op)
{
	const struct create *create = op->state;
	const struct op *first;

	if (create->outcome == STORE_BEGIN_IN_FLIGHT) {
		create_wait_for(op, create->seen->id);
		return;
	}
	if (create->outcome != STORE_BEGIN_NEW) {
		csr_make_answer(op);
		return;
	}
	first = create_find_first(op);
	if (first)
		create_wait_for(op, first->works_on);
	else if (create_can_begin(op))
		csr_make_start(op);
}

/* ---- before anything is done ---- */

/*
 * A repeat gets what the first got, whatever has been demanded since; nothing is made under the policies of
 * today.
 */
static bool create_has_first(const struct create *create)
{
	return create->outcome != STORE_BEGIN_NEW && create->outcome != STORE_BEGIN_QUOTA;
}

/* Takes csr's contents. */
static struct csr_record *record_new(const struct op *op, struct validate_csr *csr)
{
	struct csr_record *record = calloc(1, sizeof(*record));
	struct create *create = op->state;

	if (!record)
		return NULL;
	record->scope = op->route.scope;
	snprintf(record->token_name, sizeof(record->token_name), "%s", hsm_token_name(create->hsm));
	memcpy(record->principal_id, op->principal->id, sizeof(record->principal_id));
	record->spec = csr->spec;
	record->name = csr->name;
	record->description = csr->description;
	/* A repeat was not judged: should the first turn out to have failed, the commit asks for that. */
	csr_make_note_policies(record, create_has_first(create) ? NULL : create->policies);
	create->notes = csr->notes;
	memset(csr, 0, sizeof(*csr));
	return record;
}

/*
 * SHA-256 of what makes two requests the same: the scope and the bytes of the
 * body, without a byte order mark, which says nothing about the request.
 */
static enum err request_hash(const struct op *op, uint8_t ret_hash[STORE_HASH_BYTES])
{
	const struct store_scope *scope = &op->route.scope;
	uint8_t kind = (uint8_t)scope->kind;
	const char *body = op->request->body ? op->request->body : "";
	size_t mark_len = json_mark_len(body, op->request->body_len);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool done = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(md, &kind, 1) == 1 &&
		    EVP_DigestUpdate(md, scope->id, strlen(scope->id) + 1) == 1 &&
		    EVP_DigestUpdate(md, body + mark_len, op->request->body_len - mark_len) == 1 &&
		    EVP_DigestFinal_ex(md, ret_hash, NULL) == 1;

	EVP_MD_CTX_free(md);
	return done ? E_OK : E_NOMEM;
}

static bool idempotency_key_is_valid(const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < len; i++) {
		if (key[i] < '!' || key[i] > '~')
			return false;
	}
	return len >= 1 && len <= IDEMPOTENCY_KEY_MAX;
}

/* False when the op was refused. */
static bool headers_are_good(struct op *op)
{
	const struct create *create = op->state;
	char why[QUERY_WHY_SIZE];
	bool is_dry_run;

	if (query_read_flag(op->request->query, DRY_RUN, why, &is_dry_run) != E_OK) {
		op_refuse(op, PROBLEM_REQUEST, why);
		return false;
	}
	if (create->idempotency_key && !idempotency_key_is_valid(create->idempotency_key)) {
		op_refuse(op, PROBLEM_REQUEST, "Idempotency-Key must be 1 to 255 visible ASCII characters");
		return false;
	}
	if (precondition_status(op->request)) {
		op_refuse(op, PROBLEM_PRECONDITION, NULL);
		return false;
	}
	return true;
}

static void csr_create_on_look(void *arg, enum err e, struct principal *caller, enum store_begin outcome,
			       struct csr_record *record, struct store_policies *policies)
{
	struct op *op = arg;
	struct create *create = op->state;

	create->outcome = outcome;
	create->seen = record;
	create->policies = policies;
	op_admit(op, e, caller);
}

/* One question for all that has to be known before the key is made. */
void csr_create_look(struct op *op)
{
	struct create *create = calloc(1, sizeof(*create));
	char why[QUERY_WHY_SIZE];

	op->state = create;
	op->state_free = create_free;
	if (!create) {
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	/* What is wrong with it is told once the caller is known. */
	if (query_read_flag(op->request->query, DRY_RUN, why, &create->is_dry_run) == E_OK &&
	    !create->is_dry_run)
		create->idempotency_key = op->request->header(op->request, "Idempotency-Key");
	if (create->idempotency_key && request_hash(op, create->request_hash) != E_OK)
		op_refuse_err(op, E_NOMEM, NULL);
	else
		create_look(op, csr_create_on_look);
}

/*
 * The request as it would be made.  The answer does not depend on the moment, so neither the HSM nor a full
 * quota is in its way.
 */
static void create_answer_dry_run(struct op *op, struct validate_csr *csr)
{
	const struct create *create = op->state;
	struct csr_record record = {.spec = csr->spec, .name = csr->name, .description = csr->description};
	struct json_writer w;
	struct buf b;

	if (create->outcome == STORE_BEGIN_NO_SCOPE) {
		op_refuse(op, PROBLEM_DENIED, NULL);
		return;
	}
	if (create->outcome == STORE_BEGIN_QUOTA)
		problem_list_add(&csr->notes, PROBLEM_QUOTA, NULL, NULL);
	buf_init(&b, CSR_JSON_MAX);
	json_writer_init(&w, &b);
	csr_json_put_request(&w, &record);
	if (buf_status(&b) != E_OK)
		op_refuse_internal(op, buf_status(&b), "cannot build the answer");
	else
		op_reply_noted(op, buf_text(&b), &csr->notes);
	buf_release(&b);
}

void csr_create_start(struct op *op)
{
	struct create *create = op->state;
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	enum err e;

	if (!headers_are_good(op))
		return;
	e = csr_judge(op, create_has_first(create) ? NULL : create->policies, create->is_dry_run, &problems,
		      &csr);
	if (e != E_OK) {
		csr_judge_refuse(op, e, &problems);
	} else if (create->is_dry_run) {
		create_answer_dry_run(op, &csr);
	} else if (create_can_begin(op)) {
		create->hsm = op->api->options.hsms[0];
		create->record = record_new(op, &csr);
		if (create->record)
			create_go_on(op);
		else
			op_refuse_err(op, E_NOMEM, NULL);
	}
	validate_csr_release(&csr);
	problem_list_release(&problems);
}
