/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reconciliation: the keys of the token compared with the rows.  The list is a
 * snapshot, so whatever looks wrong is asked for again before it counts.
 */
#include "api/reconcile_pass.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/uuid.h"

#include <string.h>

#define ASK_MAX 16 /* missing keys that are asked for one by one; the others are listed once more */

/* ---- the token's list of keys ---- */

static enum err compare_collect_key(struct reconcile *r, const struct message_listed_key *listed)
{
	struct key_list_key key = {.presence = (uint8_t)listed->presence};

	r->report.checked++;
	if (!str_starts_with(listed->label, RECONCILE_LABEL_PREFIX) ||
	    !uuid_to_bytes(listed->label + sizeof(RECONCILE_LABEL_PREFIX) - 1, key.uuid)) {
		reconcile_tell(r, RECONCILE_UNKNOWN, "", listed->label, listed->presence);
		return E_OK;
	}
	memcpy(key.key_id, listed->key_id, sizeof(key.key_id));
	return key_list_add(&r->keys, &key);
}

static void on_keys(void *arg, enum err e, const char *detail, const struct message_list_keys_part *part)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		reconcile_list_failed(r, e, detail);
		return;
	}
	r->report.unread = part->unread;
	for (size_t i = 0; i < part->keys_len && r->collect_error == E_OK; i++)
		r->collect_error = compare_collect_key(r, &part->keys[i]);
	if (!part->last)
		return;
	if (r->collect_error != E_OK) {
		log_warn("reconciliation: cannot hold the list of keys of token '%s': %s (at most %d keys)",
			 r->token_name, err_str(r->collect_error), KEY_LIST_MAX);
		reconcile_finish(r, r->collect_error);
		return;
	}
	if (r->report.unread)
		log_warn("reconciliation: %llu key objects on token '%s' cannot be read: the list of its "
			 "keys may lack some",
			 (unsigned long long)r->report.unread, r->token_name);
	key_list_seal(&r->keys);
	r->after_id[0] = '\0';
	reconcile_fetch_page(r);
}

void reconcile_compare_begin(struct reconcile *r)
{
	r->comparing = true;
	r->rows_len = r->rows_at = 0;
	r->rows_end = false;
	hsm_list_keys(r->options.hsm, clock_ms() + RECONCILE_LIST_TIMEOUT_MS, on_keys, r);
}

/* ---- comparing keys and rows ---- */

/* The key of a failed or destroyed row was listed: is it still there? */
static void on_leftover_key(void *arg, enum err e, const char *detail,
			    const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		reconcile_signer_failed(r, e, detail, "look for the key of a failed or deleted CSR");
		return;
	}
	r->presence = reply->presence;
	if (r->presence == MESSAGE_KEY_NONE) {
		reconcile_next(r);
	} else if (!r->options.apply) {
		reconcile_tell_row(r, RECONCILE_LEFTOVER, r->presence);
		reconcile_next(r);
	} else {
		reconcile_settle_row(r);
	}
}

/* Whether the key, or the half of it that was not found, may be one that could not be read. */
static bool compare_is_unclear(const struct reconcile *r)
{
	return r->telling_doubts && !r->list_is_whole && r->presence != MESSAGE_KEY_PAIR &&
	       r->presence != MESSAGE_KEY_AMBIGUOUS;
}

/* The key went missing before this read: a delete would have changed the row before that. */
static void on_missing_row(void *arg, enum err e, struct csr_record *record)
{
	struct reconcile *r = arg;
	bool active = e == E_OK && record->state == CSR_ACTIVE;

	csr_record_free(record);
	if (e != E_OK && e != E_NOTFOUND) {
		reconcile_finish(r, e);
		return;
	}
	if (active && compare_is_unclear(r))
		r->report.unclear++;
	else if (active)
		reconcile_tell_row(r, RECONCILE_MISSING, r->presence);
	reconcile_next(r);
}

void reconcile_compare_reread_missing(struct reconcile *r)
{
	store_csr_get(r->options.store, NULL, r->row.id, on_missing_row, r);
}

/* An active row had no whole pair in the list: has it one now, and the one that the row names? */
static void on_missing_key(void *arg, enum err e, const char *detail,
			   const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		reconcile_signer_failed(r, e, detail, "look for the key of an active CSR");
		return;
	}
	r->presence = reply->presence;
	if (reply->presence == MESSAGE_KEY_PAIR && !memcmp(reply->key_id, r->row.key_id, KEY_ID_BYTES)) {
		reconcile_next(r);
		return;
	}
	reconcile_compare_reread_missing(r);
}

static void compare_tell_unknown(struct reconcile *r, const struct key_list_key *key)
{
	char id[CSR_ID_SIZE], label[RECONCILE_LABEL_SIZE];

	uuid_format(id, key->uuid);
	reconcile_format_label(id, label);
	reconcile_tell(r, RECONCILE_UNKNOWN, id, label, (enum message_key_presence)key->presence);
}

static void on_unknown_row(void *arg, enum err e, struct csr_record *record)
{
	struct reconcile *r = arg;

	csr_record_free(record);
	if (e != E_OK && e != E_NOTFOUND) {
		reconcile_finish(r, e);
		return;
	}
	if (e == E_NOTFOUND)
		compare_tell_unknown(r, &r->key);
	reconcile_next(r);
}

/* ---- rows that were set aside ---- */

static void on_aside_key(void *arg, enum err e, const char *detail,
			 const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		reconcile_signer_failed(r, e, detail, "look for the key of a CSR that was set aside");
		return;
	}
	r->presence = reply->presence;
	if (r->presence == MESSAGE_KEY_NONE ? r->options.apply : reconcile_is_given_up(r, &r->row)) {
		reconcile_settle_row(r);
	} else if (r->presence == MESSAGE_KEY_NONE) {
		reconcile_tell_row(r, RECONCILE_DELETING, r->presence);
		reconcile_next(r);
	} else {
		reconcile_tell_row(r, RECONCILE_SET_ASIDE, r->presence);
		reconcile_next(r);
	}
}

/* As compare_row. */
static bool compare_set_aside(struct reconcile *r, const struct key_list_key *key)
{
	if (r->row.state == CSR_DELETING) {
		if (reconcile_is_in_work(r, &r->row))
			return true; /* a caller deletes it anew */
		hsm_find_key(r->options.hsm, r->row.id, reconcile_deadline_ms(), on_aside_key, r);
		return false;
	}
	if (!key)
		return true;
	if (reconcile_is_given_up(r, &r->row)) {
		hsm_find_key(r->options.hsm, r->row.id, reconcile_deadline_ms(), on_leftover_key, r);
		return false;
	}
	reconcile_tell_row(r, RECONCILE_SET_ASIDE, (enum message_key_presence)key->presence);
	return true;
}

/* ---- comparing row by row ---- */

/* The list has no whole pair of it.  As compare_row. */
static bool compare_lacking(struct reconcile *r)
{
	enum err e;

	if (r->asked < ASK_MAX) {
		r->asked++;
		hsm_find_key(r->options.hsm, r->row.id, reconcile_deadline_ms(), on_missing_key, r);
		return false;
	}
	e = reconcile_doubt_add(r, &r->row);
	if (e != E_OK) {
		reconcile_finish(r, e);
		return false;
	}
	if (!reconcile_doubt_is_full(r))
		return true;
	reconcile_doubt_list(r);
	return false;
}

/* False when a call was begun that goes on with reconcile_next(), or the pass is over. */
static bool compare_row(struct reconcile *r, const struct reconcile_row *row, const struct key_list_key *key)
{
	if (!row->on_this_token) {
		/* Its row says that the key lives on another token: not ours to destroy here. */
		if (key)
			compare_tell_unknown(r, key);
		return true;
	}
	if (!row->set_aside && (row->state == CSR_PENDING || row->state == CSR_DELETING))
		return true; /* settled, or left alone, before */
	r->row = *row;
	r->report.checked++;
	if (row->set_aside)
		return compare_set_aside(r, key);
	if (row->state == CSR_ACTIVE) {
		if (key && key->presence == MESSAGE_KEY_PAIR &&
		    !memcmp(key->key_id, row->key_id, KEY_ID_BYTES))
			return true;
		return compare_lacking(r);
	}
	if (!key)
		return true;
	if (reconcile_must_wait(r, row)) {
		r->report.compare_again = true;
		reconcile_tell_row(r, RECONCILE_BUSY, (enum message_key_presence)key->presence);
		return true;
	}
	hsm_find_key(r->options.hsm, row->id, reconcile_deadline_ms(), on_leftover_key, r);
	return false;
}

/* All rows and keys were met. */
static void compare_end(struct reconcile *r)
{
	if (r->doubts_len > 0) {
		reconcile_doubt_list(r);
		return;
	}
	r->report.compared = true;
	reconcile_finish(r, r->first_error);
}

void reconcile_compare_next(struct reconcile *r)
{
	for (;;) {
		const struct reconcile_row *row = r->rows_at < r->rows_len ? &r->rows[r->rows_at] : NULL;
		const struct key_list_key *front = key_list_front(&r->keys);
		int order;

		if (!row && !r->rows_end) {
			reconcile_fetch_page(r);
			return;
		}
		if (!row && !front) {
			compare_end(r);
			return;
		}
		order = !row ? -1 : !front ? 1 : memcmp(front->uuid, row->uuid, UUID_BYTES);
		if (order < 0) {
			char id[CSR_ID_SIZE];

			r->key = key_list_take(&r->keys);
			uuid_format(id, r->key.uuid);
			store_csr_get(r->options.store, NULL, id, on_unknown_row, r);
			return;
		}
		r->rows_at++;
		if (order == 0)
			r->key = key_list_take(&r->keys);
		if (!compare_row(r, row, order == 0 ? &r->key : NULL))
			return;
	}
}
