/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST …/custom_csrs: a row that is pending and durable, then the key and the
 * CSR from the signer, then the row active and durable, then 201.  A request
 * that repeats one still at work (Idempotency-Key) waits for what becomes of
 * that one, and creates itself when it failed.
 */
#include "api/credential.h"
#include "api/csr_json.h"
#include "api/json.h"
#include "api/op.h"
#include "api/precondition.h"
#include "api/settle.h"
#include "api/validate.h"
#include "api/wait.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/str.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDEMPOTENCY_KEY_MAX 255
#define REPEAT_MIN_MS 1000 /* with less time left a repeat does not begin what the first failed to do */
#define LOCATION_SIZE 160  /* a path of a collection, "/" and an id */
#define CLEANUP_MS 5000    /* for destroying a key that came to nothing, whatever the client's deadline */

/* What a create holds between its steps. */
struct create {
	enum store_begin foreseen;              /* what it would come to when the caller was looked up */
	struct csr_record *seen;                /* and the first result, where there is one */
	uint8_t request_hash[STORE_HASH_BYTES]; /* with an Idempotency-Key */
	struct csr_record *record;              /* as begun */
	struct csr_record *again;   /* with an Idempotency-Key: a copy from before, to begin with once more */
	char first_id[CSR_ID_SIZE]; /* the CSR of the request that this one repeats and waits for */
	char *pem;
	struct hsm *hsm;
	struct settle settle;
	enum err failure; /* why it fails: what the client is told once it is settled */
	char reason[160]; /* the same for the audit trail */
};

static void create_free(void *state)
{
	struct create *create = state;

	csr_record_free(create->seen);
	csr_record_free(create->record);
	csr_record_free(create->again);
	free(create->pem);
	free(create);
}

/* ---- the answer ---- */

static void create_reply(struct op *op, const struct csr_record *record)
{
	char location[LOCATION_SIZE];
	struct json_writer w;
	struct buf b;

	buf_init(&b, CSR_JSON_MAX);
	json_writer_init(&w, &b);
	csr_json_put(&w, record);
	snprintf(location, sizeof(location), "%s/%s", op->request->path, record->id);
	if (buf_status(&b) != E_OK)
		op_refuse_internal(op, buf_status(&b), "cannot build the answer");
	else
		op_reply_created(op, buf_text(&b), location);
	buf_release(&b);
}

static const char *csr_create_words(enum err e)
{
	switch (e) {
	case E_UNCERTAIN:
		return "the outcome is not known yet and will be settled; try again";
	case E_BUSY:
		return "the HSM is busy; try again";
	case E_TIMEOUT:
		return "the HSM did not begin in time; try again";
	case E_UNAVAIL:
		return "the HSM is not available at the moment; try again";
	case E_UNSUPPORTED:
		return "the HSM does not make keys of this key_type";
	default:
		return NULL;
	}
}

/* ---- ways to fail, last step first ---- */

/* The row stays pending, and reconciliation finds out. */
static void csr_create_leave_unsettled(struct op *op, enum err e)
{
	op_want_reconcile(op);
	op_refuse_err(op, e, csr_create_words(e));
}

static void on_failed(void *arg, enum err e, enum settle_step step UNUSED, const char *detail UNUSED)
{
	struct op *op = arg;
	struct create *create = op->state;

	if (e != E_OK) {
		if (e != E_NOTFOUND)
			op_log(op, LOG_LEVEL_ERROR, "cannot mark the CSR as failed: %s", err_str(e));
		op_want_reconcile(op);
	}
	op_refuse_err(op, create->failure, csr_create_words(create->failure));
}

static void csr_create_on_destroyed(void *arg, enum err e, enum settle_step step, const char *detail)
{
	struct op *op = arg;
	struct create *create = op->state;

	if (step == SETTLE_KEY) {
		op_log(op, LOG_LEVEL_ERROR, "cannot destroy the key of a failed create: %s (%s)", err_str(e),
		       detail);
		csr_create_leave_unsettled(op, create->failure);
		return;
	}
	op_log(op, LOG_LEVEL_WARN, "destroyed the key of a failed create (%u objects)",
	       (unsigned)create->settle.objects);
	on_failed(op, e, step, detail);
}

/* key_is_gone: nothing is left on the token.  Else the key is there and must not stay. */
static void create_settle(struct op *op, enum err failure, const char *reason, bool key_is_gone)
{
	struct create *create = op->state;
	uint64_t deadline_ms = op_hsm_deadline_ms(op);
	uint64_t enough_ms = clock_ms() + CLEANUP_MS;

	create->failure = failure;
	snprintf(create->reason, sizeof(create->reason), "%s", reason);
	create->settle = (struct settle){
	    .kind = SETTLE_OWN,
	    .store = op->api->options.store,
	    .hsm = create->hsm,
	    .csr_id = create->record->id,
	    .key_is_gone = key_is_gone,
	    .deadline_ms = deadline_ms > enough_ms ? deadline_ms : enough_ms,
	    .origin = op_origin(op),
	};
	create->settle.origin.detail = create->reason;
	settle_start(&create->settle, key_is_gone ? on_failed : csr_create_on_destroyed, op);
}

static void destroy_key(struct op *op, enum err failure, const char *reason)
{
	create_settle(op, failure, reason, false);
}

/* ---- step 3: active ---- */

static void on_active(void *arg, enum err e)
{
	struct op *op = arg;
	struct create *create = op->state;

	switch (e) {
	case E_OK:
		FAILPOINT("create.after-active");
		create->record->pem = create->pem;
		create->pem = NULL;
		create_reply(op, create->record);
		break;
	case E_NOTFOUND:
		op_log(op, LOG_LEVEL_ERROR, "the CSR is no longer pending: its key is destroyed");
		destroy_key(op, E_UNAVAIL, "no longer pending when its key was made");
		break;
	case E_EXISTS:
		op_log(op, LOG_LEVEL_ERROR,
		       "the token gave a key that another CSR has: check the token; this one is refused");
		destroy_key(op, E_BUG, "the token gave a key that another CSR has already");
		break;
	default:
		op_log(op, LOG_LEVEL_ERROR, "cannot commit the CSR: %s", err_str(e));
		csr_create_leave_unsettled(op, E_UNCERTAIN);
		break;
	}
}

/* Lines of 64 columns, the last one ended too (RFC 7468 §2).  NULL when out of memory. */
static char *pem_from_der(const uint8_t *der, size_t der_len)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	char *data;
	long len;

	if (bio && PEM_write_bio(bio, PEM_STRING_X509_REQ, "", der, (long)der_len) > 0) {
		len = BIO_get_mem_data(bio, &data);
		text = str_dup_len(data, (size_t)len);
	}
	BIO_free(bio);
	return text;
}

static void commit_active(struct op *op, const struct message_create_csr_reply *reply)
{
	struct create *create = op->state;
	struct store_csr_result result = {.protection = reply->key.protection};
	struct store_csr_move move = {
	    .id = create->record->id,
	    .from = CSR_PENDING,
	    .to = CSR_ACTIVE,
	    .result = &result,
	    .origin = op_origin(op),
	};

	create->pem = pem_from_der(reply->der, reply->der_len);
	if (!create->pem) {
		destroy_key(op, E_NOMEM, "out of memory");
		return;
	}
	result.pem = create->pem;
	memcpy(result.key_id, reply->key.key_id, sizeof(result.key_id));
	memcpy(result.spki_sha256, reply->key.spki_sha256, sizeof(result.spki_sha256));
	FAILPOINT("create.before-active");
	store_csr_move(op->api->options.store, &move, on_active, op);
}

/* ---- step 2: the key and the CSR ---- */

static void on_signed(void *arg, enum err e, const char *detail, const struct message_create_csr_reply *reply)
{
	struct op *op = arg;
	const struct create *create = op->state;
	char reason[64];

	if (e == E_OK && reply->key.key_type != create->record->spec.key_type) {
		op_log(op, LOG_LEVEL_ERROR, "the signer made a key of type '%s' where '%s' was asked for",
		       key_type_name(reply->key.key_type), key_type_name(create->record->spec.key_type));
		destroy_key(op, E_BUG, "the signer made a key of another type");
	} else if (e == E_OK) {
		commit_active(op, reply);
	} else {
		op_log(op, LOG_LEVEL_ERROR, "the HSM made no CSR: %s (%s)", err_str(e), detail);
		snprintf(reason, sizeof(reason), "hsm: %s", err_str(e));
		if (hsm_left_nothing(e))
			create_settle(op, e, reason, true);
		else
			csr_create_leave_unsettled(op, e);
	}
}

/* ---- step 1: pending ---- */

static void begun(struct op *op, struct csr_record *record)
{
	struct create *create = op->state;

	FAILPOINT("create.after-pending");
	create->record = record;
	hsm_create_csr(create->hsm, record->id, &record->spec, op_hsm_deadline_ms(op), on_signed, op);
}

static void create_refuse_gone(struct op *op)
{
	op_refuse(op, PROBLEM_IDEMPOTENCY,
		  "the CSR made under this Idempotency-Key has been deleted since; use a new key");
}

static void create_begin_again(struct op *op);
static void create_look_at_first(struct op *op);

static void create_wait_for_first(struct op *op)
{
	const struct create *create = op->state;

	wait_start(op, create->first_id,
		   "the first request with this Idempotency-Key is still in progress; try again",
		   create_look_at_first);
}

static void on_first(void *arg, enum err e, struct csr_record *record)
{
	struct op *op = arg;

	if (e != E_OK) {
		op_log(op, LOG_LEVEL_ERROR, "cannot read the CSR of the first request: %s", err_str(e));
		op_refuse_err(op, e == E_NOTFOUND ? E_BUG : e, NULL);
		return;
	}
	switch (record->state) {
	case CSR_PENDING:
		create_wait_for_first(op);
		break;
	case CSR_ACTIVE:
		create_reply(op, record);
		break;
	case CSR_DELETING:
	case CSR_DESTROYED:
		create_refuse_gone(op);
		break;
	case CSR_FAILED:
		create_begin_again(op);
		break;
	}
	csr_record_free(record);
}

static void create_look_at_first(struct op *op)
{
	const struct create *create = op->state;

	store_csr_get(op->api->options.store, &op->route.scope, create->first_id, on_first, op);
}

/* Takes the record. */
static void create_go_on(struct op *op, enum store_begin outcome, struct csr_record *record)
{
	struct create *create = op->state;

	switch (outcome) {
	case STORE_BEGIN_NEW:
		begun(op, record);
		return;
	case STORE_BEGIN_REPLAY:
		create_reply(op, record);
		csr_record_free(record);
		return;
	case STORE_BEGIN_IN_FLIGHT:
		op_let_go(op); /* of the id that this one would have had */
		snprintf(create->first_id, sizeof(create->first_id), "%s", record->id);
		csr_record_free(record);
		op_log(op, LOG_LEVEL_DEBUG, "waiting for CSR '%s' of the first request with its key",
		       create->first_id);
		create_wait_for_first(op);
		return;
	case STORE_BEGIN_MISMATCH:
		op_refuse(op, PROBLEM_IDEMPOTENCY, NULL);
		return;
	case STORE_BEGIN_GONE:
		create_refuse_gone(op);
		return;
	case STORE_BEGIN_QUOTA:
		op_refuse(op, PROBLEM_QUOTA, NULL);
		return;
	case STORE_BEGIN_NO_SCOPE:
		op_refuse(op, PROBLEM_DENIED, NULL);
		return;
	}
	op_refuse_internal(op, E_BUG, "the store gave an unknown outcome");
}

static void on_begin(void *arg, enum err e, enum store_begin outcome, struct csr_record *record)
{
	struct op *op = arg;

	if (e != E_OK) {
		op_log(op, LOG_LEVEL_ERROR, "cannot begin a CSR: %s", err_str(e));
		if (e == E_UNCERTAIN)
			op_want_reconcile(op);
		op_refuse_err(op, e, "the store is not available at the moment; try again");
		return;
	}
	create_go_on(op, outcome, record);
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

static const char *create_idempotency_key(const struct op *op)
{
	return op->request->header(op->request, "Idempotency-Key");
}

static int64_t create_idempotency_ttl_us(const struct op *op)
{
	return (int64_t)op->api->options.config->policy.idempotency_ttl_ms * 1000;
}

/* Takes csr's contents. */
static struct csr_record *record_new(const struct op *op, const char id[CSR_ID_SIZE],
				     struct validate_csr *csr)
{
	struct csr_record *record = calloc(1, sizeof(*record));
	const struct create *create = op->state;

	if (!record)
		return NULL;
	memcpy(record->id, id, sizeof(record->id));
	record->scope = op->route.scope;
	snprintf(record->token_name, sizeof(record->token_name), "%s", hsm_token_name(create->hsm));
	memcpy(record->principal_id, op->principal->id, sizeof(record->principal_id));
	record->spec = csr->spec;
	record->name = csr->name;
	record->description = csr->description;
	memset(csr, 0, sizeof(*csr));
	return record;
}

/* Takes the record. */
static void create_begin_record(struct op *op, struct csr_record *record)
{
	const struct create *create = op->state;
	struct store_csr_begin in = {
	    .record = record,
	    .idempotency_key = create_idempotency_key(op),
	    .idempotency_ttl_us = create_idempotency_ttl_us(op),
	    .origin = op_origin(op),
	};

	if (op_work_on(op, record->id) != E_OK) {
		csr_record_free(record);
		op_refuse_internal(op, E_BUG, "a new id is in work already");
		return;
	}
	memcpy(in.request_hash, create->request_hash, sizeof(in.request_hash));
	store_csr_begin(op->api->options.store, &in, on_begin, op);
}

/* NULL when out of memory. */
static struct csr_record *record_dup(const struct csr_record *from)
{
	struct csr_record *record = calloc(1, sizeof(*record));

	if (record && csr_record_copy(from, record) != E_OK) {
		free(record);
		return NULL;
	}
	return record;
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
		op_refuse_err(op, E_UNAVAIL, csr_create_words(E_UNAVAIL));
		return false;
	}
	return true;
}

/*
 * The first request failed and nothing is left of it, so this one is a request
 * like any other.  What it asked for was accepted when it came: a
 * configuration that was reloaded since does not count.
 */
static void create_begin_again(struct op *op)
{
	const struct create *create = op->state;
	struct csr_record *record;

	if (clock_ms() + REPEAT_MIN_MS > op->request->deadline_ms) {
		op_refuse_later(op, "the first request with this Idempotency-Key failed; try again");
		return;
	}
	if (!create_can_begin(op))
		return;
	record = record_dup(create->again);
	if (!record) {
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	create_begin_record(op, record);
}

static void create_begin(struct op *op, struct validate_csr *csr)
{
	struct create *create = op->state;
	bool has_key = create_idempotency_key(op) != NULL;
	struct csr_record *record;
	char id[CSR_ID_SIZE];

	if (credential_make_uuid(id) != E_OK) {
		op_log(op, LOG_LEVEL_ERROR,
		       "cannot make the id of a CSR: the kernel gives no random bytes: %s", strerror(errno));
		op_refuse_err(op, E_IO, "no random numbers are available at the moment; try again");
		return;
	}
	record = record_new(op, id, csr);
	if (record && has_key)
		create->again = record_dup(record);
	if (!record || (has_key && !create->again)) {
		csr_record_free(record);
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	if (create->foreseen == STORE_BEGIN_NEW) {
		create_begin_record(op, record);
		return;
	}
	csr_record_free(record);
	record = create->seen;
	create->seen = NULL;
	create_go_on(op, create->foreseen, record);
}

/* ---- before anything is done ---- */

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
	const char *key = create_idempotency_key(op);

	if (key && !idempotency_key_is_valid(key)) {
		op_refuse(op, PROBLEM_REQUEST, "Idempotency-Key must be 1 to 255 visible ASCII characters");
		return false;
	}
	if (precondition_status(op->request)) {
		op_refuse(op, PROBLEM_PRECONDITION, NULL);
		return false;
	}
	return true;
}

/* What the operator permits and the token can make, once the token has said it. */
static key_type_set accepted_key_types(const struct op *op)
{
	key_type_set permitted = op->api->options.config->policy.key_types;
	key_type_set offered = op->api->options.hsms_len > 0 ? hsm_key_types(op->api->options.hsms[0]) : 0;

	return offered ? permitted & offered : permitted;
}

static enum err read_body(const struct op *op, struct problem_list *problems, struct validate_csr *ret_csr)
{
	const struct config_policy *config = &op->api->options.config->policy;
	struct validate_policy policy = {
	    .key_types = accepted_key_types(op),
	    .sans = {.types = config->san_types,
		     .public_names_only = config->public_names_only,
		     .suffixes = op->api->suffixes},
	};

	return validate_body(op->request->body ? op->request->body : "", op->request->body_len, &policy,
			     problems, ret_csr);
}

static void csr_create_on_look(void *arg, enum err e, struct principal *caller, enum store_begin outcome,
			       struct csr_record *record)
{
	struct op *op = arg;
	struct create *create = op->state;

	create->foreseen = outcome;
	create->seen = record;
	op_admit(op, e, caller);
}

/* One question for all that has to be known before the first commit. */
void csr_create_look(struct op *op)
{
	struct create *create = calloc(1, sizeof(*create));
	struct store_csr_look in = {
	    .kind = op->claim.kind,
	    .scope = op->route.scope,
	    .idempotency_key = create_idempotency_key(op),
	    .idempotency_ttl_us = create_idempotency_ttl_us(op),
	};

	op->state = create;
	op->state_free = create_free;
	if (!create || (in.idempotency_key && request_hash(op, create->request_hash) != E_OK)) {
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	memcpy(in.secret_hash, op->claim.secret_hash, sizeof(in.secret_hash));
	memcpy(in.request_hash, create->request_hash, sizeof(in.request_hash));
	store_csr_look(op->api->options.store, &in, csr_create_on_look, op);
}

void csr_create_start(struct op *op)
{
	struct create *create = op->state;
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	enum err e;

	if (!headers_are_good(op))
		return;
	e = read_body(op, &problems, &csr);
	if (e == E_INVAL) {
		op_refuse_list(op, &problems);
	} else if (e != E_OK) {
		op_refuse_err(op, E_NOMEM, NULL);
	} else if (create_can_begin(op)) {
		create->hsm = op->api->options.hsms[0];
		create_begin(op, &csr);
	}
	validate_csr_release(&csr);
	problem_list_release(&problems);
}
