/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reconciliation: keys that the signer used for a CSR and was told nothing of
 * since.  Where a row has such a key the signer learns that; where there is no row
 * nobody was ever answered, and the key goes.
 */
#include "api/reconcile_pass.h"

#include "base/log.h"

#include <string.h>

_Static_assert(MESSAGE_CONFIRM_MAX >= MESSAGE_UNSETTLED_MAX, "one confirm for a page");

/* ---- the signer learns what it did not ---- */

static void unsettled_on_confirmed(void *arg, enum err e, const char *detail)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		/* It is asked again in the next pass, and the others need not wait for it. */
		log_warn("reconciliation: cannot confirm %zu keys to the signer of token '%s': %s: %s",
			 r->confirmed_len, r->token_name, err_str(e), detail);
		if (r->first_error == E_OK)
			r->first_error = e;
	}
	r->confirmed_len = 0;
	reconcile_next(r);
}

static void unsettled_confirm(struct reconcile *r)
{
	const struct message_confirm confirm = {.labels = r->confirmed, .labels_len = r->confirmed_len};

	hsm_confirm(r->options.hsm, &confirm, reconcile_deadline_ms(), unsettled_on_confirmed, r);
}

/* ---- one key ---- */

static void unsettled_on_key(void *arg, enum err e, const char *detail,
			     const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		reconcile_signer_failed(r, e, detail, "look for the key of a CSR that was not finished");
		return;
	}
	r->presence = reply->presence;
	if (r->row.is_none && r->options.apply) {
		reconcile_settle_row(r);
		return;
	}
	if (r->row.is_none && r->options.vouched)
		reconcile_tell_row(r, RECONCILE_PENDING, r->presence);
	else if (r->presence != MESSAGE_KEY_NONE)
		reconcile_tell_row(r, RECONCILE_UNKNOWN, r->presence);
	reconcile_next(r);
}

static bool unsettled_has_row(const struct reconcile *r, const struct csr_record *record)
{
	return strcmp(record->key_label, r->row.key_label) == 0 &&
	       strcmp(record->token_name, r->token_name) == 0;
}

/* No create of this process is at work on it, so this read has seen whatever one committed. */
static void unsettled_on_row(void *arg, enum err e, struct csr_record *record)
{
	struct reconcile *r = arg;
	bool has_row = e == E_OK && unsettled_has_row(r, record);

	csr_record_free(record);
	if (e != E_OK && e != E_NOTFOUND) {
		reconcile_finish(r, e);
		return;
	}
	r->row.is_none = e == E_NOTFOUND;
	if (has_row) {
		if (r->options.apply)
			memcpy(r->confirmed[r->confirmed_len++], r->row.key_label, KEY_LABEL_SIZE);
		reconcile_next(r);
	} else if (r->row.is_none && r->options.leave_unsettled) {
		reconcile_tell_row(r, RECONCILE_BUSY, MESSAGE_KEY_NONE);
		reconcile_next(r);
	} else {
		hsm_find_key(r->options.hsm, r->row.key_label, reconcile_deadline_ms(), unsettled_on_key, r);
	}
}

/* ---- pages of them ---- */

void reconcile_unsettled_next(struct reconcile *r)
{
	while (r->unsettled_at < r->unsettled_len) {
		const struct message_unsettled_key *key = &r->unsettled[r->unsettled_at++];

		memset(&r->row, 0, sizeof(r->row));
		memcpy(r->row.id, key->csr_id, sizeof(r->row.id));
		memcpy(r->row.key_label, key->label, sizeof(r->row.key_label));
		r->report.checked++;
		if (!reconcile_is_in_work(r, &r->row)) {
			store_csr_get(r->options.store, NULL, r->row.id, unsettled_on_row, r);
			return;
		}
		reconcile_tell_row(r, RECONCILE_BUSY, MESSAGE_KEY_NONE);
	}
	if (r->confirmed_len > 0) {
		unsettled_confirm(r);
	} else if (r->unsettled_more) {
		reconcile_unsettled_fetch(r);
	} else {
		r->phase = RECONCILE_ROWS;
		reconcile_fetch_page(r);
	}
}

static void unsettled_on_page(void *arg, enum err e, const char *detail,
			      const struct message_unsettled_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		log_warn("reconciliation: cannot ask the signer of token '%s' for unsettled keys: %s: %s",
			 r->token_name, err_str(e), detail);
		reconcile_finish(r, e);
		return;
	}
	r->unsettled_at = 0;
	r->unsettled_len = reply->keys_len;
	if (reply->keys_len > 0) {
		memcpy(r->unsettled, reply->keys, reply->keys_len * sizeof(*reply->keys));
		r->unsettled_from = reply->keys[reply->keys_len - 1].journal_index + 1;
	}
	r->unsettled_more = reply->more && reply->keys_len > 0;
	reconcile_next(r);
}

void reconcile_unsettled_fetch(struct reconcile *r)
{
	hsm_unsettled(r->options.hsm, r->unsettled_from, reconcile_deadline_ms(), unsettled_on_page, r);
}
