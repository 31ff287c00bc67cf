/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DELETE …/custom_csrs/{id}: the row deleting and durable, the key destroyed
 * and proven absent, the row destroyed, then 200.  A delete that stopped in
 * between is taken up again by itself while its time lasts, by the next one,
 * or by reconciliation.  Clients repeat a delete whose answer they did not get,
 * and take 404 for a failure, so for an hour the repeat is 200 too.
 */
#include "api/json.h"
#include "api/op.h"
#include "api/precondition.h"
#include "api/settle.h"
#include "api/wait.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "hsm/hsm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DESTROYED_RECENTLY_US ((int64_t)3600 * 1000000)

struct deletion {
	struct settle settle;
	char key_label[KEY_LABEL_SIZE];
};

static const char still_deleting[] = "the CSR is being deleted, but not all of it is done yet; try again";

static void delete_look(struct op *op);

static void reply_deleted(struct op *op)
{
	char result[CSR_ID_SIZE + 16];

	snprintf(result, sizeof(result), "{\"id\":\"%s\"}", op->route.csr_id);
	op_reply(op, 200, result, NULL);
}

/* The row stays in `deleting`: it can only go on from there. */
static void csr_delete_leave_unsettled(struct op *op, enum err e)
{
	op_want_reconcile(op);
	op_refuse_err(op, e, problem_from_err(e) == PROBLEM_UNAVAILABLE ? still_deleting : NULL);
}

/*
 * Is the signer slow, or at work on that key, so that it may well be done in a
 * moment?  A signer that could answer and does not know is another matter:
 * haste does not help it.
 */
static bool delete_may_go_on(const struct op *op, enum err e)
{
	const struct deletion *delete = op->state;

	return e == E_BUSY || e == E_TIMEOUT ||
	       (e == E_UNCERTAIN && clock_ms() >= delete->settle.deadline_ms);
}

/* The key may still be there. */
static void delete_key_failed(struct op *op, enum err e, const char *detail)
{
	if (delete_may_go_on(op, e)) {
		op_log(op, op->wait.rounds == 0 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
		       "the key is not destroyed yet: %s (%s)", err_str(e), detail);
		op_want_reconcile(op);
		op_let_go(op);
		wait_start(op, op->route.csr_id, still_deleting, delete_look);
		return;
	}
	op_log(op, LOG_LEVEL_ERROR, "cannot destroy the key: %s (%s)", err_str(e), detail);
	csr_delete_leave_unsettled(op, e);
}

static void csr_delete_on_settled(void *arg, enum err e, enum settle_step step, const char *detail)
{
	struct op *op = arg;
	const struct deletion *delete = op->state;

	if (step == SETTLE_KEY) {
		delete_key_failed(op, e, detail);
		return;
	}
	if (delete->settle.objects < SETTLE_KEY_OBJECTS)
		op_log(op, LOG_LEVEL_WARN, "only %u of the %d objects of the key were there to be destroyed",
		       (unsigned)delete->settle.objects, SETTLE_KEY_OBJECTS);
	/* E_NOTFOUND: another process settled it meanwhile, and `destroyed` is all that can follow. */
	if (e != E_OK && e != E_NOTFOUND) {
		op_log(op, LOG_LEVEL_ERROR, "the key is destroyed, but that cannot be committed: %s",
		       err_str(e));
		csr_delete_leave_unsettled(op, e);
		return;
	}
	FAILPOINT("delete.after-destroyed");
	reply_deleted(op);
}

static void csr_delete_on_deleting(void *arg, enum err e, struct csr_record *record)
{
	struct op *op = arg;
	struct hsm *hsm = record ? op_hsm_find(op, record->token_name) : NULL;
	struct deletion *delete = op->state;

	if (record)
		memcpy(delete->key_label, record->key_label, sizeof(delete->key_label));
	csr_record_free(record);
	if (e == E_NOTFOUND) {
		/* It was there a moment ago: somebody else has brought the delete to its end. */
		op_let_go(op);
		delete_look(op);
		return;
	}
	if (e != E_OK) {
		op_log(op, LOG_LEVEL_ERROR, "cannot begin to delete: %s", err_str(e));
		if (e == E_UNCERTAIN)
			op_want_reconcile(op);
		op_refuse_err(op, e, NULL);
		return;
	}
	FAILPOINT("delete.after-deleting");
	if (!hsm) {
		csr_delete_leave_unsettled(op, E_UNAVAIL);
		return;
	}
	delete->settle = (struct settle){
	    .kind = SETTLE_DELETING,
	    .store = op->api->options.store,
	    .hsm = hsm,
	    .csr_id = op->route.csr_id,
	    .key_label = delete->key_label,
	    .deadline_ms = op_hsm_deadline_ms(op),
	    .origin = op_origin(op),
	};
	settle_start(&delete->settle, csr_delete_on_settled, op);
}

/* The CSR is there, whole or in part.  Nothing is changed before it is known that its signer is up. */
static void delete_begin(struct op *op, const struct csr_record *record)
{
	struct audit_origin origin = op_origin(op);
	struct hsm *hsm = op_hsm_find(op, record->token_name);

	if (api_works_on(op->api, op->route.csr_id)) {
		wait_start(op, op->route.csr_id, still_deleting, delete_look);
	} else if (op->api->draining) {
		op_refuse_later(op, "this process is shutting down; try again");
	} else if (!hsm || !hsm_is_up(hsm)) {
		if (!hsm)
			op_log(op, LOG_LEVEL_ERROR, "token '%s' is no longer in the configuration",
			       record->token_name);
		op_refuse_err(op, E_UNAVAIL, "the HSM is not available at the moment; try again");
	} else if (precondition_status(op->request)) {
		op_refuse(op, PROBLEM_PRECONDITION, NULL);
	} else if (op_work_on(op, op->route.csr_id) != E_OK) {
		op_refuse_internal(op, E_BUG, "another request works on the CSR");
	} else {
		store_csr_delete_begin(op->api->options.store, &op->route.scope, op->route.csr_id, &origin,
				       csr_delete_on_deleting, op);
	}
}

/* A clock that was set back since does not make it old. */
static bool is_destroyed_recently(const struct csr_record *record)
{
	return record->state == CSR_DESTROYED && clock_wall_us() - record->updated_us < DESTROYED_RECENTLY_US;
}

static void on_found(void *arg, enum err e, struct csr_record *record)
{
	struct op *op = arg;

	if (e != E_OK && e != E_NOTFOUND)
		op_log(op, LOG_LEVEL_ERROR, "cannot read a CSR: %s", err_str(e));
	if (e != E_OK)
		op_refuse_err(op, e, NULL);
	else if (is_destroyed_recently(record))
		reply_deleted(op);
	else if (record->state == CSR_ACTIVE || record->state == CSR_DELETING)
		delete_begin(op, record);
	else
		op_refuse(op, PROBLEM_NO_CSR, NULL);
	csr_record_free(record);
}

static void delete_look(struct op *op)
{
	store_csr_get(op->api->options.store, &op->route.scope, op->route.csr_id, on_found, op);
}

void csr_delete_start(struct op *op)
{
	op->state = calloc(1, sizeof(struct deletion));
	op->state_free = free;
	if (op->state)
		delete_look(op);
	else
		op_refuse_err(op, E_NOMEM, NULL);
}
