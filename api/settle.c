/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a CSR, step by step: shut, key, say (settle.h). */
#include "api/settle.h"

#include "base/failpoint.h"
#include "base/key_name.h"

#include <stdio.h>
#include <string.h>

#define KEY_ROWS_MAX 4 /* of one key id; the schema permits one */

static void settle_end(struct settle *settle, enum err e, enum settle_step step, const char *detail)
{
	settle->done(settle->arg, e, step, detail);
}

/* Its last move. */
static void settle_move_row(struct settle *settle, store_done_fn done)
{
	struct store_csr_move move = {
	    .id = settle->csr_id,
	    .from = settle->kind == SETTLE_DELETING ? CSR_DELETING : CSR_PENDING,
	    .to = settle->kind == SETTLE_DELETING ? CSR_DESTROYED : CSR_FAILED,
	    .origin = settle->origin,
	};

	if (!move.origin.detail && !settle->key_is_gone)
		move.origin.detail = settle->objects_text;
	store_csr_move(settle->store, &move, done, settle);
}

/* ---- 3: say ---- */

static void on_said(void *arg, enum err e)
{
	settle_end(arg, e, e != E_OK ? SETTLE_ROW : SETTLE_DONE, "");
}

static void settle_say(struct settle *settle)
{
	struct audit_origin gone = settle->origin;

	switch (settle->kind) {
	case SETTLE_DELETING:
		settle_move_row(settle, on_said);
		break;
	case SETTLE_LEFTOVER:
		gone.detail = settle->objects_text;
		store_csr_leftover(settle->store, settle->csr_id, true, &gone, on_said, settle);
		break;
	case SETTLE_NO_ROW:
	case SETTLE_PENDING:
		settle_end(settle, E_OK, SETTLE_DONE, "");
		break;
	}
}

/* ---- 2: key ---- */

static void settle_on_destroyed(void *arg, enum err e, const char *detail, uint32_t destroyed)
{
	struct settle *settle = arg;

	if (e != E_OK) {
		settle_end(settle, e, SETTLE_KEY, detail);
		return;
	}
	settle->objects = destroyed;
	/* Of a key that was whole: an earlier attempt may have got so far, and nobody knows for sure. */
	if (destroyed < SETTLE_KEY_OBJECTS && settle->kind == SETTLE_DELETING)
		snprintf(settle->objects_text, sizeof(settle->objects_text),
			 "only %u of the %d objects of the key were there to be destroyed",
			 (unsigned)destroyed, SETTLE_KEY_OBJECTS);
	else
		snprintf(settle->objects_text, sizeof(settle->objects_text), "%u objects destroyed",
			 (unsigned)destroyed);
	FAILPOINT("settle.after-key");
	settle_say(settle);
}

static void settle_destroy_key(struct settle *settle)
{
	if (settle->key_is_gone)
		settle_say(settle);
	else
		hsm_destroy_key(settle->hsm, settle->key_label, settle->deadline_ms, settle_on_destroyed,
				settle);
}

static void settle_on_rows_of_key(void *arg, enum err e, const struct store_csr_page *page)
{
	struct settle *settle = arg;
	bool has_row = false;

	for (size_t i = 0; e == E_OK && i < page->records_len; i++)
		has_row = has_row || strcmp(page->records[i].key_label, settle->key_label) == 0;
	if (e == E_OK && !has_row)
		settle_destroy_key(settle);
	else
		settle_end(settle, e == E_OK ? E_EXISTS : e, SETTLE_ROW, "");
}

/*
 * That the CSR has no row says nothing of the key: a signer that gave one name to two CSRs (its folder was
 * put back from a copy) must not make us destroy the key of the first.
 */
static void settle_ask_rows_of_key(struct settle *settle)
{
	uint8_t key_id[KEY_NAME_BYTES];
	struct store_csr_filter filter = {.key = key_id, .key_len = sizeof(key_id)};
	struct store_csr_query query = {
	    .states = CSR_STATE_BIT(CSR_ACTIVE) | CSR_STATE_BIT(CSR_DELETING),
	    .filter = &filter,
	    .order = STORE_ORDER_CREATED_AT,
	    .limit = KEY_ROWS_MAX,
	};

	if (key_name_parse(settle->key_label, key_id))
		store_csr_list(settle->store, &query, settle_on_rows_of_key, settle);
	else
		settle_destroy_key(settle); /* of csrd 0.1: the label is the CSR's id */
}

/* ---- 1: shut ---- */

static void on_shut(void *arg, enum err e)
{
	struct settle *settle = arg;

	if (e != E_OK) {
		settle_end(settle, e, SETTLE_ROW, "");
		return;
	}
	FAILPOINT("settle.after-shut");
	if (!settle->key_is_gone && settle->should_stop && settle->should_stop(settle->should_stop_arg))
		settle_end(settle, E_UNAVAIL, SETTLE_STOPPED, "");
	else if (settle->kind == SETTLE_NO_ROW && !settle->key_is_gone)
		settle_ask_rows_of_key(settle);
	else
		settle_destroy_key(settle);
}

void settle_start(struct settle *settle, settle_done_fn done, void *arg)
{
	settle->done = done;
	settle->arg = arg;
	settle->objects = 0;
	settle->objects_text[0] = '\0';
	switch (settle->kind) {
	case SETTLE_NO_ROW:
		store_csr_failed(settle->store, settle->csr_id, &settle->origin, on_shut, settle);
		break;
	case SETTLE_DELETING:
		settle_destroy_key(settle);
		break;
	case SETTLE_PENDING:
		settle_move_row(settle, on_shut);
		break;
	case SETTLE_LEFTOVER:
		store_csr_leftover(settle->store, settle->csr_id, false, &settle->origin, on_shut, settle);
		break;
	}
}
