/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reconciliation: the keys of the token compared with the rows.  The list is a
 * snapshot, so whatever looks wrong is asked for again before it counts.
 */
#include "api/reconcile_pass.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"

#include <string.h>

#define ASK_MAX 16 /* missing keys that are asked for one by one; the others are listed once more */

/* ---- the token's list of keys ---- */

static enum err compare_collect_key(struct reconcile *r, const struct message_listed_key *listed)
{
	struct key_list_key key = {.presence = (uint8_t)listed->presence, .life = (uint8_t)listed->life};
	enum err e;

	r->report.checked++;
	r->report.ready += listed->life == MESSAGE_LIFE_READY;
	r->report.others += listed->life == MESSAGE_LIFE_OTHER;
	memcpy(key.key_id, listed->key_id, sizeof(key.key_id));
	e = key_list_add(&r->keys, listed->label, &key);
	if (e != E_INVAL)
		return e;
	if (listed->life == MESSAGE_LIFE_NONE)
		reconcile_tell(r, RECONCILE_UNKNOWN, "", listed->label, listed->presence);
	return E_OK;
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
	r->after_id[0] = '\0';
	reconcile_fetch_page(r);
}

void reconcile_compare_begin(struct reconcile *r)
{
	r->phase = RECONCILE_KEYS;
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
	return r->phase == RECONCILE_DOUBTS && !r->list_is_whole && r->presence != MESSAGE_KEY_PAIR &&
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

/* ---- keys that no row had when the rows went by ---- */

/* The current key; has_row: one has it now. */
static void compare_end_key(struct reconcile *r, bool has_row)
{
	char id[CSR_ID_SIZE] = "", label[KEY_LABEL_SIZE];

	if (!has_row) {
		key_list_format_label(r->key, label);
		if (!r->key->is_named)
			uuid_format(id, r->key->bytes);
		reconcile_tell(r, RECONCILE_UNKNOWN, id, label, (enum message_key_presence)r->key->presence);
	}
	reconcile_next(r);
}

/* A row that says another token does not have it: that is not ours to destroy here. */
static bool compare_is_row_of_key(const struct reconcile *r, const struct csr_record *record)
{
	char label[KEY_LABEL_SIZE];

	key_list_format_label(r->key, label);
	return strcmp(record->token_name, r->token_name) == 0 &&
	       (!r->key->is_named || strcmp(record->key_label, label) == 0);
}

static void compare_on_row_of_csr(void *arg, enum err e, struct csr_record *record)
{
	struct reconcile *r = arg;
	bool has_row = e == E_OK && compare_is_row_of_key(r, record);

	csr_record_free(record);
	if (e != E_OK && e != E_NOTFOUND)
		reconcile_finish(r, e);
	else
		compare_end_key(r, has_row);
}

static void compare_on_rows_of_name(void *arg, enum err e, const struct store_csr_page *page)
{
	struct reconcile *r = arg;
	bool has_row = false;

	for (size_t i = 0; e == E_OK && i < page->records_len; i++)
		has_row = has_row || compare_is_row_of_key(r, &page->records[i]);
	if (e != E_OK)
		reconcile_finish(r, e);
	else
		compare_end_key(r, has_row);
}

static void compare_ask_rows(struct reconcile *r)
{
	const struct store_csr_filter filter = {.key = r->key->key_id, .key_len = sizeof(r->key->key_id)};
	const struct store_csr_query query = {
	    .states = CSR_STATE_BIT(CSR_ACTIVE) | CSR_STATE_BIT(CSR_DELETING) | CSR_STATE_BIT(CSR_DESTROYED),
	    .filter = &filter,
	    .order = STORE_ORDER_CREATED_AT,
	    .limit = RECONCILE_KEY_ROWS_MAX,
	};
	char id[CSR_ID_SIZE];

	if (r->key->is_named) {
		store_csr_list(r->options.store, &query, compare_on_rows_of_name, r);
		return;
	}
	uuid_format(id, r->key->bytes);
	store_csr_get(r->options.store, NULL, id, compare_on_row_of_csr, r);
}

/*
 * The next of them.  Those of which the signer knows what they are, are nothing to find: ready, just used, or
 * another node's.  False when there is none.
 */
static bool compare_next_key(struct reconcile *r)
{
	while (r->keys_at < r->keys.keys_len) {
		r->key = key_list_at(&r->keys, r->keys_at++);
		if (r->key->marked || r->key->life != MESSAGE_LIFE_NONE)
			continue;
		compare_ask_rows(r);
		return true;
	}
	return false;
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
		hsm_find_key(r->options.hsm, r->row.key_label, reconcile_deadline_ms(), on_aside_key, r);
		return false;
	}
	if (!key)
		return true;
	if (reconcile_is_given_up(r, &r->row)) {
		hsm_find_key(r->options.hsm, r->row.key_label, reconcile_deadline_ms(), on_leftover_key, r);
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
		hsm_find_key(r->options.hsm, r->row.key_label, reconcile_deadline_ms(), on_missing_key, r);
		return false;
	}
	e = reconcile_doubt_add(r);
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
static bool compare_row(struct reconcile *r, const struct reconcile_row *row)
{
	struct key_list_key *key = row->on_this_token ? key_list_find(&r->keys, row->key_label) : NULL;

	if (!row->on_this_token)
		return true;
	if (key)
		key->marked = true;
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
	hsm_find_key(r->options.hsm, row->key_label, reconcile_deadline_ms(), on_leftover_key, r);
	return false;
}

/* All rows and keys were met. */
static void compare_end(struct reconcile *r)
{
	if (r->doubts.keys_len > 0) {
		reconcile_doubt_list(r);
		return;
	}
	r->report.compared = true;
	reconcile_finish(r, r->first_error);
}

void reconcile_compare_next(struct reconcile *r)
{
	while (r->rows_at < r->rows_len)
		if (!compare_row(r, &r->rows[r->rows_at++]))
			return;
	if (!r->rows_end)
		reconcile_fetch_page(r);
	else if (!compare_next_key(r))
		compare_end(r);
}
