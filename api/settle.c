/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a CSR, step by step: shut, key, say (settle.h). */
#include "api/settle.h"

#include "base/failpoint.h"

#include <stdio.h>

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
	case SETTLE_OWN:
	case SETTLE_DELETING:
		settle_move_row(settle, on_said);
		break;
	case SETTLE_LEFTOVER:
		gone.detail = settle->objects_text;
		store_csr_leftover(settle->store, settle->csr_id, true, &gone, on_said, settle);
		break;
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
		hsm_destroy_key(settle->hsm, settle->csr_id, settle->deadline_ms, settle_on_destroyed,
				settle);
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
	case SETTLE_OWN:
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
