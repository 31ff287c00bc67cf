/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass of reconciliation over the rows and keys of one token: a chain of
 * callbacks with one call to the store or the signer in flight at a time, so
 * that it never gets in the way of the requests of callers.
 *
 * First the keys that the signer used and does not know the end of.  Then pages of
 * pending and deleting rows, each settled by itself.  Then keys: all rows are
 * looked up in the signer's list, and what is left of that has no row.  The list
 * is a snapshot and creates and deletes go on meanwhile, so whatever looks wrong
 * is asked for again before it counts: key by key, or, when many are
 * missing, by one more list.
 */
#include "api/reconcile_pass.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILURES_MAX 16 /* keys that the token cannot settle, before the pass gives up */
#define CALL_TIMEOUT_MS 30000

const char *reconcile_finding_name(enum reconcile_finding finding)
{
	switch (finding) {
	case RECONCILE_PENDING:
		return "pending";
	case RECONCILE_DELETING:
		return "deleting";
	case RECONCILE_LEFTOVER:
		return "leftover";
	case RECONCILE_MISSING:
		return "missing";
	case RECONCILE_UNKNOWN:
		return "unknown";
	case RECONCILE_BUSY:
		return "busy";
	case RECONCILE_SET_ASIDE:
		return "set-aside";
	}
	return "?";
}

/* ---- the pass as a whole ---- */

static void reconcile_free(struct reconcile *r)
{
	if (!r)
		return;
	key_list_release(&r->keys);
	key_list_release(&r->doubts);
	free(r->doubt_ids);
	free(r->actor);
	free(r->give_up);
	free(r->token_name);
	free(r);
}

static bool reconcile_must_stop(const struct reconcile *r)
{
	return r->options.should_stop && r->options.should_stop(r->options.arg);
}

void reconcile_finish(struct reconcile *r, enum err e)
{
	r->done(r->options.arg, e, &r->report);
	reconcile_free(r);
}

static bool is_half(enum message_key_presence presence)
{
	return presence == MESSAGE_KEY_PUBLIC_ONLY || presence == MESSAGE_KEY_PRIVATE_ONLY;
}

void reconcile_tell(struct reconcile *r, enum reconcile_finding finding, const char *csr_id,
		    const char *label, enum message_key_presence presence)
{
	uint64_t *counts[] = {
	    [RECONCILE_PENDING] = &r->report.pending,     [RECONCILE_DELETING] = &r->report.deleting,
	    [RECONCILE_LEFTOVER] = &r->report.leftover,   [RECONCILE_MISSING] = &r->report.missing,
	    [RECONCILE_UNKNOWN] = &r->report.unknown,     [RECONCILE_BUSY] = &r->report.busy,
	    [RECONCILE_SET_ASIDE] = &r->report.set_aside,
	};

	++*counts[finding];
	if (is_half(presence))
		r->report.half_pairs++;
	if (r->options.on_finding)
		r->options.on_finding(r->options.arg, finding, csr_id, label, presence);
}

void reconcile_tell_row(struct reconcile *r, enum reconcile_finding finding,
			enum message_key_presence presence)
{
	reconcile_tell(r, finding, r->row.id, r->row.key_label, presence);
}

void reconcile_signer_failed(struct reconcile *r, enum err e, const char *detail, const char *what)
{
	const struct log_context context = {.csr_id = r->row.id};
	bool gone = reconcile_must_stop(r) || e == E_UNAVAIL || e == E_TIMEOUT || e == E_NOMEM ||
		    e == E_PROTO || (e == E_UNCERTAIN && !hsm_is_up(r->options.hsm));

	if (e != E_BUSY) {
		log_write(LOG_LEVEL_WARN, &context, "reconciliation: cannot %s: %s: %s", what, err_str(e),
			  detail);
		if (r->first_error == E_OK)
			r->first_error = e;
		r->failures++;
	}
	if (r->row.state == CSR_FAILED || r->row.state == CSR_DESTROYED)
		r->report.compare_again = true;
	if (!gone)
		reconcile_tell_row(r, RECONCILE_BUSY, MESSAGE_KEY_NONE);
	if (gone || r->failures >= FAILURES_MAX) {
		reconcile_finish(r, e);
		return;
	}
	reconcile_next(r);
}

uint64_t reconcile_deadline_ms(void)
{
	return clock_ms() + CALL_TIMEOUT_MS;
}

bool reconcile_is_in_work(const struct reconcile *r, const struct reconcile_row *row)
{
	return r->options.is_in_work && r->options.is_in_work(r->options.arg, row->id);
}

/* A time that is still to come says nothing but that the clock went back: such a row may be of any age. */
bool reconcile_must_wait(const struct reconcile *r, const struct reconcile_row *row)
{
	int64_t age_us = r->options.min_age_us > 0 ? clock_wall_us() - row->updated_us : 0;

	return (age_us >= 0 && age_us < r->options.min_age_us) || reconcile_is_in_work(r, row);
}

bool reconcile_is_given_up(const struct reconcile *r, const struct reconcile_row *row)
{
	const char *given_up = r->options.give_up;

	return r->options.apply && given_up &&
	       (!strcmp(given_up, RECONCILE_GIVE_UP_ALL) || !strcmp(given_up, row->id));
}

void reconcile_list_failed(struct reconcile *r, enum err e, const char *detail)
{
	log_warn("reconciliation: cannot list the keys of token '%s': %s: %s", r->token_name, err_str(e),
		 detail);
	reconcile_finish(r, e);
}

/* ---- rows that are open ---- */

static void on_row_key(void *arg, enum err e, const char *detail, const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		reconcile_signer_failed(r, e, detail, "look for the key of a CSR");
		return;
	}
	r->presence = reply->presence;
	if (!r->options.vouched && r->presence != MESSAGE_KEY_NONE) {
		reconcile_tell_row(r, RECONCILE_SET_ASIDE, r->presence);
		reconcile_next(r);
	} else if (!r->options.apply) {
		reconcile_tell_row(r, r->row.state == CSR_PENDING ? RECONCILE_PENDING : RECONCILE_DELETING,
				   r->presence);
		reconcile_next(r);
	} else {
		reconcile_settle_row(r);
	}
}

/* ---- pages of rows ---- */

static void reconcile_take_row(struct reconcile *r, const struct csr_record *record)
{
	struct reconcile_row *row = &r->rows[r->rows_len];

	memset(row, 0, sizeof(*row));
	memcpy(row->id, record->id, sizeof(row->id));
	if (record->key_label[0] != '\0')
		memcpy(row->key_label, record->key_label, sizeof(row->key_label));
	else
		key_label_of_csr(row->key_label, record->id);
	if (!key_label_is_valid(row->key_label)) {
		log_warn("reconciliation: the store says that the key of CSR '%s' is '%s', which csrd names "
			 "no key; left alone",
			 row->id, row->key_label);
		return;
	}
	row->state = record->state;
	row->updated_us = record->updated_us;
	row->set_aside = record->set_aside_us != 0;
	row->on_this_token = !strcmp(record->token_name, r->token_name);
	memcpy(row->key_id, record->key_id, sizeof(row->key_id));
	r->rows_len++;
}

static void reconcile_on_page(void *arg, enum err e, const struct store_csr_page *page)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		reconcile_finish(r, e);
		return;
	}
	r->rows_len = r->rows_at = 0;
	r->rows_end = page->records_len < RECONCILE_PAGE_ROWS;
	for (size_t i = 0; i < page->records_len && i < RECONCILE_PAGE_ROWS; i++)
		reconcile_take_row(r, &page->records[i]);
	if (page->records_len > 0)
		memcpy(r->after_id, page->records[page->records_len - 1].id, sizeof(r->after_id));
	reconcile_next(r);
}

void reconcile_fetch_page(struct reconcile *r)
{
	const unsigned unsettled = CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_DELETING);
	const unsigned settled =
	    CSR_STATE_BIT(CSR_ACTIVE) | CSR_STATE_BIT(CSR_FAILED) | CSR_STATE_BIT(CSR_DESTROYED);
	struct store_csr_query query = {
	    .states = r->phase == RECONCILE_KEYS ? unsettled | settled : unsettled,
	    .after_id = r->after_id,
	    .order = STORE_ORDER_CREATED_AT,
	    .limit = RECONCILE_PAGE_ROWS,
	};

	store_csr_list(r->options.store, &query, reconcile_on_page, r);
}

/* ---- the chain ---- */

static void reconcile_next_row(struct reconcile *r)
{
	while (r->rows_at < r->rows_len) {
		r->row = r->rows[r->rows_at++];
		if (!r->row.on_this_token || r->row.set_aside)
			continue;
		r->report.checked++;
		if (r->options.leave_open || (r->options.vouched && reconcile_must_wait(r, &r->row))) {
			reconcile_tell_row(r, RECONCILE_BUSY, MESSAGE_KEY_NONE);
			continue;
		}
		hsm_find_key(r->options.hsm, r->row.key_label, reconcile_deadline_ms(), on_row_key, r);
		return;
	}
	if (!r->rows_end) {
		reconcile_fetch_page(r);
	} else if (r->options.compare_keys) {
		reconcile_compare_begin(r);
	} else {
		reconcile_finish(r, r->first_error);
	}
}

void reconcile_next(struct reconcile *r)
{
	if (reconcile_must_stop(r)) {
		reconcile_finish(r, E_UNAVAIL);
		return;
	}
	switch (r->phase) {
	case RECONCILE_UNSETTLED:
		reconcile_unsettled_next(r);
		break;
	case RECONCILE_ROWS:
		reconcile_next_row(r);
		break;
	case RECONCILE_KEYS:
		reconcile_compare_next(r);
		break;
	case RECONCILE_DOUBTS:
		reconcile_doubt_tell(r);
		break;
	}
}

enum err reconcile_start(const struct reconcile_options *options, reconcile_done_fn done)
{
	struct reconcile *r = calloc(1, sizeof(*r));

	if (!r)
		return E_NOMEM;
	r->options = *options;
	r->done = done;
	if (!str_dup_opt(options->actor ? options->actor : "system", &r->actor) ||
	    !str_dup_opt(options->give_up, &r->give_up) ||
	    !str_dup_opt(hsm_token_name(options->hsm), &r->token_name)) {
		reconcile_free(r);
		return E_NOMEM;
	}
	r->options.actor = r->actor;
	r->options.give_up = r->give_up;
	r->options.apply = options->apply && options->vouched;
	r->phase = RECONCILE_UNSETTLED;
	reconcile_unsettled_fetch(r);
	return E_OK;
}
