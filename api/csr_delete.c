/*
 * DELETE …/custom_csrs/{id}: the row deleting and durable, the key destroyed
 * and proven absent, the row destroyed, then 200.  A delete that stopped in
 * between is taken up again by the next one, or by reconciliation.
 */
#include "api/json.h"
#include "api/op.h"
#include "base/buf.h"
#include "base/failpoint.h"
#include "hsm/hsm.h"

#include <stdio.h>

#define KEY_OBJECTS 2 /* a private and a public one */

static void reply_deleted(struct op *op)
{
	char result[CSR_ID_SIZE + 16];

	snprintf(result, sizeof(result), "{\"id\":\"%s\"}", op->route.csr_id);
	op_reply(op, 200, result, NULL);
}

/* The row stays in `deleting`: it can only go on from there. */
static void leave_unsettled(struct op *op, enum err e)
{
	op_want_reconcile(op);
	op_refuse_err(op, e, problem_from_err(e) == PROBLEM_UNAVAILABLE ?
	                         "the CSR is being deleted, but not all of it is done yet; try again" :
	                         NULL);
}

static void on_destroyed_row(void *arg, enum err e)
{
	struct op *op = arg;

	/* E_NOTFOUND: another process settled it meanwhile, and `destroyed` is all that can follow. */
	if (e && e != E_NOTFOUND) {
		op_log(op, LOG_LEVEL_ERROR, "the key is destroyed, but that cannot be committed: %s",
		       err_str(e));
		leave_unsettled(op, e);
		return;
	}
	FAILPOINT("delete.after-destroyed");
	reply_deleted(op);
}

static void on_destroyed_key(void *arg, enum err e, const char *detail, uint32_t destroyed)
{
	struct op *op = arg;
	struct store_csr_move move = {
		.id = op->route.csr_id,
		.from = CSR_DELETING,
		.to = CSR_DESTROYED,
		.origin = op_origin(op),
	};
	char objects[96];

	if (e) {
		op_log(op, LOG_LEVEL_ERROR, "cannot destroy the key: %s (%s)", err_str(e), detail);
		leave_unsettled(op, e);
		return;
	}
	snprintf(objects, sizeof(objects), "%u objects destroyed", (unsigned)destroyed);
	if (destroyed < KEY_OBJECTS) { /* an earlier attempt may have got so far; nobody knows for sure */
		snprintf(objects, sizeof(objects),
		         "only %u of the %d objects of the key were there to be destroyed",
		         (unsigned)destroyed, KEY_OBJECTS);
		op_log(op, LOG_LEVEL_WARN, "only %u of the %d objects of the key were there to be destroyed",
		       (unsigned)destroyed, KEY_OBJECTS);
	}
	move.origin.detail = objects;
	FAILPOINT("delete.before-destroyed");
	store_csr_move(op->api->options.store, &move, on_destroyed_row, op);
}

static void on_deleting(void *arg, enum err e, struct csr_record *record)
{
	struct op *op = arg;
	struct hsm *hsm = record ? op_hsm_find(op, record->token_name) : NULL;

	csr_record_free(record);
	if (e) {
		if (e != E_NOTFOUND)
			op_log(op, LOG_LEVEL_ERROR, "cannot begin to delete: %s", err_str(e));
		if (e == E_UNCERTAIN)
			op_want_reconcile(op);
		op_refuse_err(op, e, NULL);
		return;
	}
	FAILPOINT("delete.after-deleting");
	if (!hsm) {
		leave_unsettled(op, E_UNAVAIL);
		return;
	}
	hsm_destroy_key(hsm, op->route.csr_id, op_hsm_deadline_ms(op), on_destroyed_key, op);
}

/* Is it there, and is its signer up?  Nothing is changed before both are known. */
static void on_found(void *arg, enum err e, struct csr_record *record)
{
	struct op *op = arg;
	struct audit_origin origin = op_origin(op);
	struct hsm *hsm = record ? op_hsm_find(op, record->token_name) : NULL;

	if (!e && record->state != CSR_ACTIVE && record->state != CSR_DELETING)
		e = E_NOTFOUND;
	if (e) {
		if (e != E_NOTFOUND)
			op_log(op, LOG_LEVEL_ERROR, "cannot read a CSR: %s", err_str(e));
		op_refuse_err(op, e, NULL);
	} else if (!hsm || !hsm_is_up(hsm)) {
		if (!hsm)
			op_log(op, LOG_LEVEL_ERROR, "token '%s' is no longer in the configuration",
			       record->token_name);
		op_refuse_err(op, E_UNAVAIL, "the HSM is not available at the moment; try again");
	} else {
		store_csr_delete_begin(op->api->options.store, &op->route.scope, op->route.csr_id, &origin,
		                       on_deleting, op);
	}
	csr_record_free(record);
}

void csr_delete_start(struct op *op)
{
	if (op->api->draining) {
		op_refuse_later(op, "this process is about to end; try again", 5);
		return;
	}
	if (op_work_on(op, op->route.csr_id)) {
		op_refuse_later(op, "this CSR is being worked on; try again", 1);
		return;
	}
	store_csr_get(op->api->options.store, &op->route.scope, op->route.csr_id, on_found, op);
}
