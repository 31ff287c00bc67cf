/* SPDX-License-Identifier: Apache-2.0 */
/* Reconciliation: settling one row, and what is told of it. */
#include "api/reconcile_pass.h"

#include "base/log.h"

/* Of a key that is gone when it is said. */
static const char *gone_detail(const struct reconcile *r)
{
	switch (r->presence) {
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

/* Of a key that goes after it is said. */
static const char *intent_detail(const struct reconcile *r)
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
	case SETTLE_NO_ROW:
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
	case SETTLE_NO_ROW:
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
	} else if (e == E_EXISTS) {
		log_write(LOG_LEVEL_WARN, &(struct log_context){.csr_id = r->row.id},
			  "reconciliation: key '%s' has a row, and is kept", r->row.key_label);
		reconcile_tell_row(r, RECONCILE_BUSY, MESSAGE_KEY_NONE);
		reconcile_next(r);
	} else if (e != E_OK && e != E_NOTFOUND) { /* E_NOTFOUND: somebody else settled it */
		reconcile_finish(r, e);
	} else {
		reconcile_next(r);
	}
}

static enum settle_kind kind_of_row(const struct reconcile_row *row)
{
	if (row->is_none)
		return SETTLE_NO_ROW;
	if (row->state == CSR_PENDING)
		return SETTLE_PENDING;
	return row->state == CSR_DELETING ? SETTLE_DELETING : SETTLE_LEFTOVER;
}

void reconcile_settle_row(struct reconcile *r)
{
	enum settle_kind kind = kind_of_row(&r->row);
	bool gone = kind == SETTLE_DELETING || r->presence == MESSAGE_KEY_NONE;

	r->settle = (struct settle){
	    .kind = kind,
	    .store = r->options.store,
	    .hsm = r->options.hsm,
	    .csr_id = r->row.id,
	    .key_label = r->row.key_label,
	    /* Where there is no row the signer has to learn of it, too. */
	    .key_is_gone = r->presence == MESSAGE_KEY_NONE && kind != SETTLE_NO_ROW,
	    .deadline_ms = reconcile_deadline_ms(),
	    .origin = {.actor = r->actor, .detail = gone ? gone_detail(r) : intent_detail(r)},
	    .should_stop = r->options.should_stop,
	    .should_stop_arg = r->options.arg,
	};
	settle_start(&r->settle, reconcile_settle_on_settled, r);
}
