/* SPDX-License-Identifier: Apache-2.0 */
/* Calls, from when they are made until their callback has run: request ids, deadlines, what is owed. */
#include "base/clock.h"
#include "base/log.h"
#include "hsm/hsm_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory and bookkeeping ---- */

struct hsm_call *hsm_call_new(struct hsm *hsm, const struct hsm_call_kind *kind)
{
	struct hsm_call *call = calloc(1, sizeof(*call));

	for (unsigned i = 0; !call && i < HSM_RESERVE_CALLS; i++) {
		if (hsm->reserve_used & 1u << i)
			continue;
		hsm->reserve_used |= 1u << i;
		call = &hsm->reserve[i];
		memset(call, 0, sizeof(*call));
		call->is_reserve = true;
	}
	if (!call) {
		/* A callback is owed, later, and nothing is left to remember it by. */
		log_error("no memory for a call to signer '%s'", hsm->token_name);
		abort();
	}
	call->hsm = hsm;
	call->kind = kind;
	call->made_ns = clock_ns();
	buf_init(&call->payload, FRAME_PAYLOAD_MAX);
	hsm->owed++;
	return call;
}

static void hsm_call_free(struct hsm_call *call)
{
	struct hsm *hsm = call->hsm;

	buf_release(&call->payload);
	if (call->is_reserve)
		hsm->reserve_used &= ~(1u << (unsigned)(call - hsm->reserve));
	else
		free(call);
}

static void hsm_call_detach(struct hsm_call *call)
{
	struct hsm *hsm = call->hsm;
	uint32_t slot = call->request_id % HSM_SLOTS_MAX;

	call->over = true;
	if (call->state == HSM_CALL_REFUSED) {
		TAILQ_REMOVE(&hsm->refused, call, next);
		return;
	}
	if (call->state == HSM_CALL_UNSENT)
		TAILQ_REMOVE(&hsm->unsent, call, next);
	if (hsm->writing == call)
		hsm->writing = NULL;
	timer_stop(&call->timer);
	hsm->slots[slot] = NULL;
	hsm->free_slots[hsm->free_len++] = slot;
}

/* True when the caller is still to be told, which is then up to the caller of this. */
static bool hsm_call_tell(struct hsm_call *call)
{
	if (call->told)
		return false;
	call->told = true;
	call->hsm->owed--;
	return true;
}

/* Likewise; it is over. */
static bool hsm_call_end(struct hsm_call *call)
{
	hsm_call_detach(call);
	return hsm_call_tell(call);
}

bool hsm_call_goes_on(const struct hsm_call *call)
{
	return !call->told;
}

static void hsm_call_count(struct hsm_call *call, enum err e)
{
	struct hsm_figures *figures = &call->hsm->figures;
	uint64_t ns = clock_ns() - call->made_ns;

	assert(call->kind->type < MESSAGE_REQUESTS_LEN && e < ERR_LEN);
	figures->ended[call->kind->type][e]++;
	if (e == E_OK && call->kind->type == MESSAGE_CREATE_CSR)
		metric_times_add(&figures->creates[call->key_type], ns);
	else if (e == E_OK && call->kind->type == MESSAGE_DESTROY_KEY)
		metric_times_add(&figures->destroys, ns);
}

bool hsm_call_over(struct hsm_call *call)
{
	if (!hsm_call_end(call))
		return false;
	hsm_call_count(call, E_OK);
	return true;
}

static void hsm_call_tell_failure(struct hsm_call *call, enum err e, const char *detail)
{
	hsm_call_count(call, e);
	call->kind->fail(call, e, detail);
}

static void hsm_call_fail(struct hsm_call *call, enum err e, const char *detail)
{
	if (hsm_call_end(call))
		hsm_call_tell_failure(call, e, detail);
	hsm_call_free(call);
}

/* What the end of the link means for a call. */
static enum err hsm_call_lost(const struct hsm_call *call)
{
	return call->kind->mutates && call->state == HSM_CALL_SENT ? E_UNCERTAIN : E_UNAVAIL;
}

void hsm_calls_fail(struct hsm *hsm, const char *why)
{
	char detail[HSM_REASON_SIZE + 32];

	snprintf(detail, sizeof(detail), "the link to the signer is lost: %s", why);
	for (size_t i = 0; i < hsm->slots_len; i++)
		if (hsm->slots[i])
			hsm_call_fail(hsm->slots[i], hsm_call_lost(hsm->slots[i]), detail);
}

/* ---- refused ---- */

static const char *refusal_detail(const struct hsm_call *call)
{
	switch (call->refusal) {
	case E_UNAVAIL:
		return call->hsm->state == HSM_LINK_UP ? "there was no link to the signer"
						       : call->hsm->reason;
	case E_BUSY:
		return "too many calls in flight";
	case E_TIMEOUT:
		return "the deadline passed before the request was sent";
	case E_INVAL:
		return "the values do not fit a message";
	default:
		return "no memory for the request";
	}
}

static void on_refused(void *arg)
{
	struct hsm *hsm = arg;
	struct hsm_call_list now = TAILQ_HEAD_INITIALIZER(now);
	struct hsm_call *call;

	/* Only those of before: a callback that calls again does not hold up the loop. */
	TAILQ_CONCAT(&now, &hsm->refused, next);
	while ((call = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, call, next);
		TAILQ_INSERT_HEAD(&hsm->refused, call, next);
		hsm_call_fail(call, call->refusal, refusal_detail(call));
	}
}

static void hsm_call_refuse(struct hsm_call *call, enum err e)
{
	struct hsm *hsm = call->hsm;

	call->state = HSM_CALL_REFUSED;
	call->refusal = e;
	TAILQ_INSERT_TAIL(&hsm->refused, call, next);
	timer_start(&hsm->refused_timer, 0);
}

void hsm_calls_end_refused(struct hsm *hsm)
{
	while (!TAILQ_EMPTY(&hsm->refused))
		on_refused(hsm);
	timer_stop(&hsm->refused_timer);
}

/* ---- on its way ---- */

static bool time_left(uint64_t deadline_ms, uint32_t *ret_ms)
{
	uint64_t now = clock_ms();

	if (deadline_ms <= now)
		return false;
	*ret_ms = deadline_ms - now > UINT32_MAX ? UINT32_MAX : (uint32_t)(deadline_ms - now);
	return true;
}

uint32_t hsm_call_timeout_ms(uint64_t deadline_ms)
{
	uint32_t left_ms = 0;

	if (!time_left(deadline_ms, &left_ms))
		return 0;
	return left_ms - (left_ms / 20 > 500 ? 500 : left_ms / 20);
}

static void on_deadline(void *arg)
{
	struct hsm_call *call = arg;

	if (call->state == HSM_CALL_UNSENT) {
		hsm_call_fail(call, E_TIMEOUT, "the deadline passed before the request was sent");
		return;
	}
	if (hsm_call_tell(call))
		hsm_call_tell_failure(call, call->kind->mutates ? E_UNCERTAIN : E_TIMEOUT,
				      "the deadline passed before the signer answered");
}

static enum err hsm_call_queue(struct hsm_call *call)
{
	struct hsm *hsm = call->hsm;
	enum err e = buf_status(&call->payload);
	uint32_t slot;
	uint32_t left_ms;

	if (hsm->state != HSM_LINK_UP && !(hsm->state == HSM_LINK_GREETED && call->kind->early))
		return E_UNAVAIL;
	if (e != E_OK)
		return e == E_LIMIT ? E_INVAL : e;
	if (call->is_reserve)
		return E_NOMEM;
	if (!time_left(call->deadline_ms, &left_ms))
		return E_TIMEOUT;
	if (hsm->free_len == 0)
		return E_BUSY;
	if ((e = hsm_link_want_write(hsm)) != E_OK)
		return e;
	slot = hsm->free_slots[--hsm->free_len];
	hsm->slots[slot] = call;
	if (++hsm->generation == 0)
		hsm->generation = 1;
	call->request_id = (uint32_t)hsm->generation * HSM_SLOTS_MAX + slot;
	call->state = HSM_CALL_UNSENT;
	TAILQ_INSERT_TAIL(&hsm->unsent, call, next);
	timer_init(&call->timer, hsm->base, on_deadline, call);
	timer_start(&call->timer, left_ms);
	return E_OK;
}

void hsm_call_start(struct hsm_call *call, uint64_t deadline_ms)
{
	enum err e;

	call->deadline_ms = deadline_ms;
	e = hsm_call_queue(call);
	if (e != E_OK)
		hsm_call_refuse(call, e);
}

bool hsm_call_put_next(struct hsm *hsm)
{
	struct hsm_call *call;

	while ((call = TAILQ_FIRST(&hsm->unsent))) {
		enum err e;

		buf_reset(&hsm->out);
		frame_put(&hsm->out, call->request_id, (uint16_t)call->kind->type, call->payload.data,
			  call->payload.len);
		e = buf_status(&hsm->out);
		if (e != E_OK) {
			buf_reset(&hsm->out);
			hsm_call_fail(call, e, "no memory for the request");
			continue;
		}
		TAILQ_REMOVE(&hsm->unsent, call, next);
		buf_release(&call->payload);
		call->state = HSM_CALL_WRITING;
		hsm->writing = call;
		return true;
	}
	return false;
}

void hsm_call_was_put(struct hsm *hsm)
{
	if (!hsm->writing)
		return;
	hsm->writing->state = HSM_CALL_SENT;
	hsm->writing = NULL;
}

/* ---- its answer ---- */

struct hsm_call *hsm_call_find(struct hsm *hsm, uint32_t request_id)
{
	uint32_t slot = request_id % HSM_SLOTS_MAX;
	struct hsm_call *call = slot < hsm->slots_len ? hsm->slots[slot] : NULL;

	return call && call->request_id == request_id && call->state == HSM_CALL_SENT ? call : NULL;
}

/* An error reply.  A read that went wrong changed nothing, so it is never uncertain. */
static enum err answer_error(struct hsm_call *call, const struct frame *frame)
{
	struct message_error error;
	enum err e = message_error_decode(frame->payload, frame->payload_len, &error);

	if (e != E_OK)
		return e;
	if (error.code == E_UNCERTAIN && !call->kind->mutates)
		error.code = E_HSM;
	if (hsm_call_end(call))
		hsm_call_tell_failure(call, error.code, error.detail);
	message_error_release(&error);
	return E_OK;
}

/* The answer is there and cannot be taken in. */
static void answer_lost(struct hsm_call *call)
{
	if (hsm_call_tell(call))
		hsm_call_tell_failure(call, call->kind->mutates ? E_UNCERTAIN : E_NOMEM,
				      "no memory for the answer");
	if (!call->kind->in_parts) /* or others may follow */
		hsm_call_detach(call);
}

enum err hsm_call_take_answer(struct hsm_call *call, const struct frame *frame)
{
	enum err e = E_PROTO;

	if (frame->type == MESSAGE_ERROR)
		e = answer_error(call, frame);
	else if (frame->type == (unsigned)(call->kind->type | MESSAGE_REPLY))
		e = call->kind->answer(call, frame);
	if (e == E_NOMEM)
		answer_lost(call);
	if (call->over)
		hsm_call_free(call);
	return e == E_PROTO ? E_PROTO : E_OK;
}

/* ---- all of them ---- */

enum err hsm_calls_init(struct hsm *hsm, unsigned in_flight_max)
{
	TAILQ_INIT(&hsm->unsent);
	TAILQ_INIT(&hsm->refused);
	timer_init(&hsm->refused_timer, hsm->base, on_refused, hsm);
	hsm->slots_len = in_flight_max;
	if (hsm->slots_len < 1)
		hsm->slots_len = 1;
	if (hsm->slots_len > HSM_SLOTS_MAX)
		hsm->slots_len = HSM_SLOTS_MAX;
	hsm->slots = calloc(hsm->slots_len, sizeof(hsm->slots[0]));
	hsm->free_slots = calloc(hsm->slots_len, sizeof(hsm->free_slots[0]));
	if (!hsm->slots || !hsm->free_slots)
		return E_NOMEM;
	while (hsm->free_len < hsm->slots_len) {
		hsm->free_slots[hsm->free_len] = (uint32_t)(hsm->slots_len - 1 - hsm->free_len);
		hsm->free_len++;
	}
	return E_OK;
}

void hsm_calls_release(struct hsm *hsm)
{
	free(hsm->slots);
	free(hsm->free_slots);
}
