/* SPDX-License-Identifier: Apache-2.0 */
/* Reconciliation: settling one row, and what is told of it. */
#include "api/reconcile_pass.h"

static const char *audit_detail(enum message_key_presence presence)
{
	switch (presence) {
	case MESSAGE_KEY_NONE:
		return "reconciliation: no key on the token";
	case MESSAGE_KEY_PAIR:
		return "reconciliation: key pair on the token destroyed";
	case MESSAGE_KEY_PUBLIC_ONLY:
	case MESSAGE_KEY_PRIVATE_ONLY:
		return "reconciliation: half a key pair on the token destroyed";
	case MESSAGE_KEY_AMBIGUOUS:
		break;
	}
	return "reconciliation: key objects on the token destroyed";
}

static const char *leftover_detail(const struct reconcile *r)
{
	if (r->row.set_aside)
		return "destroys a key that was set aside: an operator has decided so";
	switch (r->presence) {
	case MESSAGE_KEY_PAIR:
		return "reconciliation: destroys a key pair that was left on the token";
	case MESSAGE_KEY_PUBLIC_ONLY:
	case MESSAGE_KEY_PRIVATE_ONLY:
		return "reconciliation: destroys half a key pair that was left on the token";
	case MESSAGE_KEY_NONE:
	case MESSAGE_KEY_AMBIGUOUS:
		break;
	}
	return "reconciliation: destroys key objects that were left on the token";
}

/* What settling the current row has come to, even when it stopped halfway. */
static void tell_settled(struct reconcile *r, enum err e, enum settle_step step)
{
	switch (r->settle.kind) {
	case SETTLE_PENDING:
		if (e == E_OK || step == SETTLE_KEY)
			reconcile_tell_row(r, RECONCILE_PENDING, r->presence);
		break;
	case SETTLE_LEFTOVER:
		if (r->settle.objects > 0)
			reconcile_tell_row(r, RECONCILE_LEFTOVER, r->presence);
		break;
	case SETTLE_DELETING:
		if (e == E_OK)
			reconcile_tell_row(r, RECONCILE_DELETING, r->presence);
		break;
	case SETTLE_OWN:
		break;
	}
}

static const char *failure_words(enum settle_kind kind)
{
	switch (kind) {
	case SETTLE_DELETING:
		return "destroy the key of a deleted CSR";
	case SETTLE_LEFTOVER:
		return "destroy the key of a failed or deleted CSR";
	case SETTLE_PENDING:
	case SETTLE_OWN:
		break;
	}
	return "destroy the key of a failed CSR";
}

static void reconcile_settle_on_settled(void *arg, enum err e, enum settle_step step, const char *detail)
{
	struct reconcile *r = arg;

	tell_settled(r, e, step);
	if (step == SETTLE_KEY) {
		if (r->settle.kind == SETTLE_PENDING)
			r->row.state = CSR_FAILED;
		reconcile_signer_failed(r, e, detail, failure_words(r->settle.kind));
	} else if (e != E_OK && e != E_NOTFOUND) { /* E_NOTFOUND: somebody else settled it */
		reconcile_finish(r, e);
	} else {
		reconcile_next(r);
	}
}

static enum settle_kind kind_of_row(const struct reconcile_row *row)
{
	if (row->state == CSR_PENDING)
		return SETTLE_PENDING;
	return row->state == CSR_DELETING ? SETTLE_DELETING : SETTLE_LEFTOVER;
}

void reconcile_settle_row(struct reconcile *r)
{
	enum settle_kind kind = kind_of_row(&r->row);

	r->settle = (struct settle){
	    .kind = kind,
	    .store = r->options.store,
	    .hsm = r->options.hsm,
	    .csr_id = r->row.id,
	    .key_is_gone = r->presence == MESSAGE_KEY_NONE,
	    .deadline_ms = reconcile_deadline_ms(),
	    .origin = {.actor = r->actor,
		       .detail = kind == SETTLE_LEFTOVER ? leftover_detail(r) : audit_detail(r->presence)},
	    .should_stop = r->options.should_stop,
	    .should_stop_arg = r->options.arg,
	};
	settle_start(&r->settle, reconcile_settle_on_settled, r);
}
