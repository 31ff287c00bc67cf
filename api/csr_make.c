/* SPDX-License-Identifier: Apache-2.0 */
/* The key and the CSR from the signer, then the row, active from the start and durable, then 201. */
#include "api/csr_make.h"

#include "api/credential.h"
#include "api/csr_json.h"
#include "api/csr_judge.h"
#include "api/json.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/str.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCATION_SIZE 160 /* a path of a collection, "/" and an id */
#define JUDGED_MAX 8      /* changes of a policy during one create */
#define CLEANUP_MS 5000   /* for destroying a key that came to nothing, whatever the client's deadline */

/* ---- the answer ---- */

/* An answer ends the op, so what it says is no part of that. */
static struct problem_list make_take_notes(struct op *op)
{
	struct create *create = op->state;
	struct problem_list notes = create->notes;

	create->notes = (struct problem_list){0};
	return notes;
}

static void make_reply(struct op *op, const struct csr_record *record)
{
	struct problem_list notes = make_take_notes(op);
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
		op_reply_created(op, buf_text(&b), location, &notes);
	buf_release(&b);
	problem_list_release(&notes);
}

void csr_make_answer(struct op *op)
{
	const struct create *create = op->state;

	switch (create->outcome) {
	case STORE_BEGIN_REPLAY:
		make_reply(op, create->seen);
		return;
	case STORE_BEGIN_IN_FLIGHT:
		op_refuse_later(op,
				"the first request with this Idempotency-Key waits to be settled; try again");
		return;
	case STORE_BEGIN_MISMATCH:
		op_refuse(op, PROBLEM_IDEMPOTENCY, NULL);
		return;
	case STORE_BEGIN_GONE:
		op_refuse(op, PROBLEM_IDEMPOTENCY,
			  "the CSR made under this Idempotency-Key has been deleted since; use a new key");
		return;
	case STORE_BEGIN_QUOTA:
		op_refuse(op, PROBLEM_QUOTA, NULL);
		return;
	case STORE_BEGIN_NO_SCOPE:
		op_refuse(op, PROBLEM_DENIED, NULL);
		return;
	case STORE_BEGIN_NEW:
	case STORE_BEGIN_POLICY:
		break;
	}
	op_refuse_internal(op, E_BUG, "the store gave an unknown outcome");
}

static const char *make_words(enum err e)
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

static const char store_is_away[] = "the store is not available at the moment; try again";

/* ---- a create that comes to nothing ---- */

static void make_log_settled(const struct op *op, enum err e, enum settle_step step, const char *detail)
{
	const struct create *create = op->state;

	if (step == SETTLE_KEY)
		op_log(op, LOG_LEVEL_ERROR, "cannot destroy the key of a failed create: %s (%s)", err_str(e),
		       detail);
	else if (e == E_EXISTS)
		op_log(op, LOG_LEVEL_ERROR, "the key of a failed create has a row, and is kept: '%s'",
		       create->key_label);
	else if (e != E_OK)
		op_log(op, LOG_LEVEL_ERROR, "cannot mark the CSR as failed: %s", err_str(e));
	else if (create->key_label[0] != '\0')
		op_log(op, LOG_LEVEL_WARN, "destroyed the key of a failed create (%u objects)",
		       (unsigned)create->settle.objects);
}

/* By what stands in the notes. */
static void make_refuse_list(struct op *op)
{
	struct problem_list problems = make_take_notes(op);

	op_refuse_list(op, &problems);
	problem_list_release(&problems);
}

static void make_on_settled(void *arg, enum err e, enum settle_step step, const char *detail)
{
	struct op *op = arg;
	const struct create *create = op->state;

	make_log_settled(op, e, step, detail);
	if (e != E_OK || create->is_uncertain)
		op_want_reconcile(op);
	if (create->is_refused)
		make_refuse_list(op);
	else if (create->failure == E_OK)
		csr_make_answer(op);
	else
		op_refuse_err(op, create->failure, create->words);
}

/* The key, if there is one, must not stay.  failure E_OK: the outcome is answered. */
static void make_fail(struct op *op, enum err failure, const char *words, const char *reason)
{
	struct create *create = op->state;
	uint64_t deadline_ms = op_hsm_deadline_ms(op);
	uint64_t enough_ms = clock_ms() + CLEANUP_MS;

	create->failure = failure;
	create->words = words;
	snprintf(create->reason, sizeof(create->reason), "%s", reason);
	create->settle = (struct settle){
	    .kind = SETTLE_NO_ROW,
	    .store = op->api->options.store,
	    .hsm = create->hsm,
	    .csr_id = create->id,
	    .key_label = create->key_label,
	    .key_is_gone = create->key_label[0] == '\0',
	    .deadline_ms = deadline_ms > enough_ms ? deadline_ms : enough_ms,
	    .origin = op_origin(op),
	};
	create->settle.origin.detail = create->reason;
	settle_start(&create->settle, make_on_settled, op);
}

/* ---- step 2: the row ---- */

/* Takes the record. */
static void make_succeed(struct op *op, struct csr_record *record)
{
	const struct api_options *options = &op->api->options;
	const struct create *create = op->state;

	FAILPOINT("create.after-commit");
	if (options->want_confirm)
		options->want_confirm(options->want_confirm_arg, create->hsm, create->key_label);
	make_reply(op, record);
	csr_record_free(record);
}

/* Another create, or an operator, was faster. */
static const char *make_lost_reason(enum store_begin outcome)
{
	switch (outcome) {
	case STORE_BEGIN_QUOTA:
		return "the quota was used up when its key was made";
	case STORE_BEGIN_NO_SCOPE:
		return "its account or zone had gone when its key was made";
	default:
		return "another request with its Idempotency-Key was faster";
	}
}

/* Whose the key is: another CSR's, or nobody's, and then it is this CSR that was settled. */
static void make_on_rows_of_key(void *arg, enum err e, const struct store_csr_page *page)
{
	struct op *op = arg;

	if (e == E_OK && page->records_len > 0) {
		op_log(op, LOG_LEVEL_ERROR,
		       "the token gave a key that CSR '%s' has: check the token; this one is refused",
		       page->records[0].id);
		make_fail(op, E_BUG, NULL, "the token gave a key that another CSR has already");
		return;
	}
	op_log(op, LOG_LEVEL_ERROR, "the CSR was settled while it was made: its key is destroyed");
	make_fail(op, E_UNAVAIL, make_words(E_UNCERTAIN), "settled by another before its commit");
}

static void make_ask_whose_key(struct op *op)
{
	const struct create *create = op->state;
	const struct store_csr_filter filter = {.key = create->spki_sha256,
						.key_len = sizeof(create->spki_sha256)};
	const struct store_csr_query query = {
	    .states = CSR_STATE_BIT(CSR_ACTIVE) | CSR_STATE_BIT(CSR_DELETING) | CSR_STATE_BIT(CSR_DESTROYED),
	    .filter = &filter,
	    .order = STORE_ORDER_CREATED_AT,
	    .limit = 1,
	};

	store_csr_list(op->api->options.store, &query, make_on_rows_of_key, op);
}

static void make_add(struct op *op);

/* An operator has set a policy while the key was made: what the store would not take is judged once more. */
static void make_judge_again(struct op *op, struct csr_record *record, struct store_policies *policies)
{
	struct create *create = op->state;
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	enum err e;

	create->record = record;
	store_policies_free(create->policies);
	create->policies = policies;
	if (++create->judged > JUDGED_MAX) {
		make_fail(op, E_BUSY, "the policy of this account or zone keeps changing; try again",
			  "its policy kept changing");
		return;
	}
	e = csr_judge(op, policies, false, &problems, &csr);
	problem_list_release(&create->notes);
	if (e == E_OK) {
		create->notes = csr.notes;
		csr.notes = (struct problem_list){0};
		csr_make_note_policies(record, policies);
		make_add(op);
	} else {
		create->is_refused = e == E_INVAL;
		create->notes = problems;
		problems = (struct problem_list){0};
		make_fail(op, e, NULL, "refused by a policy that was set when its key was made");
	}
	validate_csr_release(&csr);
	problem_list_release(&problems);
}

static void make_on_added(void *arg, enum err e, enum store_begin outcome, struct csr_record *record,
			  struct store_policies *policies)
{
	struct op *op = arg;
	struct create *create = op->state;
	char reason[64];

	switch (e) {
	case E_OK:
		if (outcome == STORE_BEGIN_POLICY) {
			make_judge_again(op, record, policies);
			return;
		}
		if (outcome == STORE_BEGIN_NEW) {
			make_succeed(op, record);
			return;
		}
		create->outcome = outcome;
		create->seen = record;
		make_fail(op, E_OK, NULL, make_lost_reason(outcome));
		break;
	case E_EXISTS:
		make_ask_whose_key(op);
		break;
	case E_UNCERTAIN: /* the key stays until somebody has read whether there is a row */
		op_log(op, LOG_LEVEL_ERROR, "cannot commit the CSR: %s", err_str(e));
		op_want_reconcile(op);
		op_refuse_err(op, e, make_words(e));
		break;
	default:
		op_log(op, LOG_LEVEL_ERROR, "cannot commit the CSR: %s", err_str(e));
		snprintf(reason, sizeof(reason), "store: %s", err_str(e));
		make_fail(op, e, store_is_away, reason);
		break;
	}
}

/* Lines of 64 columns, the last one ended too (RFC 7468 §2).  NULL when out of memory. */
static char *make_pem(const uint8_t *der, size_t der_len)
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

int64_t csr_make_idempotency_ttl_us(const struct op *op)
{
	return (int64_t)op->api->options.config->policy.idempotency_ttl_ms * 1000;
}

void csr_make_note_policies(struct csr_record *record, const struct store_policies *policies)
{
	record->account_policy = policies ? policies->account.version : 0;
	record->zone_policy = policies ? policies->zone.version : 0;
}

/* Gives the record to the store. */
static void make_add(struct op *op)
{
	struct create *create = op->state;
	struct store_csr_add in = {
	    .record = create->record,
	    .idempotency_key = create->idempotency_key,
	    .idempotency_ttl_us = csr_make_idempotency_ttl_us(op),
	    .origin = op_origin(op),
	};

	memcpy(in.request_hash, create->request_hash, sizeof(in.request_hash));
	create->record = NULL;
	store_csr_add(op->api->options.store, &in, make_on_added, op);
}

static void make_commit(struct op *op, const struct message_create_csr_reply *reply)
{
	struct create *create = op->state;
	struct csr_record *record = create->record;

	memcpy(create->spki_sha256, reply->key.spki_sha256, sizeof(create->spki_sha256));
	memcpy(record->key_label, reply->key.label, sizeof(record->key_label));
	memcpy(record->key_id, reply->key.key_id, sizeof(record->key_id));
	memcpy(record->spki_sha256, reply->key.spki_sha256, sizeof(record->spki_sha256));
	record->protection = reply->key.protection;
	record->pem = make_pem(reply->der, reply->der_len);
	if (!record->pem) {
		make_fail(op, E_NOMEM, NULL, "out of memory");
		return;
	}
	FAILPOINT("create.before-commit");
	make_add(op);
}

/* ---- step 1: the key and the CSR ---- */

static void make_on_signed(void *arg, enum err e, const char *detail,
			   const struct message_create_csr_reply *reply)
{
	struct op *op = arg;
	struct create *create = op->state;
	enum key_type wanted = create->record->spec.key_type;
	char reason[64];

	if (e != E_OK) {
		op_log(op, LOG_LEVEL_ERROR, "the HSM made no CSR: %s (%s)", err_str(e), detail);
		snprintf(reason, sizeof(reason), "hsm: %s", err_str(e));
		create->is_uncertain = !hsm_left_nothing(e);
		make_fail(op, e, make_words(e), reason);
		return;
	}
	memcpy(create->key_label, reply->key.label, sizeof(create->key_label));
	if (reply->key.key_type != wanted) {
		op_log(op, LOG_LEVEL_ERROR, "the signer made a key of type '%s' where '%s' was asked for",
		       key_type_name(reply->key.key_type), key_type_name(wanted));
		make_fail(op, E_BUG, NULL, "the signer made a key of another type");
		return;
	}
	make_commit(op, reply);
}

void csr_make_start(struct op *op)
{
	struct create *create = op->state;
	struct csr_record *record = create->record;

	if (credential_make_uuid(create->id) != E_OK) {
		op_log(op, LOG_LEVEL_ERROR,
		       "cannot make the id of a CSR: the kernel gives no random bytes: %s", strerror(errno));
		op_refuse_err(op, E_IO, "no random numbers are available at the moment; try again");
		return;
	}
	if (op_work_on(op, create->id) != E_OK) {
		op_refuse_internal(op, E_BUG, "a new id is in work already");
		return;
	}
	memcpy(record->id, create->id, sizeof(record->id));
	op_log(op, LOG_LEVEL_DEBUG, "asks the signer for a key and a CSR");
	hsm_create_csr(create->hsm, create->id, &record->spec, op_hsm_deadline_ms(op), make_on_signed, op);
}
