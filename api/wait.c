/* SPDX-License-Identifier: Apache-2.0 */
/* Ops that wait for what becomes of a CSR. */
#include "api/wait.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* A row that nobody in this process works on is read after so long, then more seldom, at last every 4 s. */
#define WAIT_LOOK_MS 500
#define WAIT_DOUBLINGS_MAX 3

static bool wait_is_on(const struct op *op)
{
	return op->wait.csr_id[0] != '\0';
}

/* Asks for a turn, unless an earlier one is asked for already. */
static void wait_ask(struct api *api, uint64_t at_ms)
{
	if (api->tick_ms != 0 && api->tick_ms <= at_ms)
		return;
	api->tick_ms = at_ms;
	api->options.want_tick(api->options.want_tick_arg, at_ms);
}

static uint64_t wait_pause_ms(const struct op *op)
{
	unsigned doublings = op->wait.rounds / 2;

	return (uint64_t)WAIT_LOOK_MS << (doublings < WAIT_DOUBLINGS_MAX ? doublings : WAIT_DOUBLINGS_MAX);
}

static uint64_t wait_due_ms(const struct op *op)
{
	uint64_t deadline_ms = op->request->deadline_ms;

	return op->wait.look_ms < deadline_ms ? op->wait.look_ms : deadline_ms;
}

void wait_start(struct op *op, const char *csr_id, const char *refusal, void (*look)(struct op *op))
{
	struct api *api = op->api;
	bool has_worker = api_works_on(api, csr_id);
	uint64_t now_ms = clock_ms();

	if (now_ms >= op->request->deadline_ms) {
		op_refuse_later(op, refusal);
		return;
	}
	if (api->draining && !has_worker) {
		op_refuse_later(op, "this process is shutting down; try again");
		return;
	}
	if (api_waiting(api) >= api->options.waiting_max) {
		op_refuse_later(op, "too many requests are waiting for an earlier one; try again");
		return;
	}
	snprintf(op->wait.csr_id, sizeof(op->wait.csr_id), "%s", csr_id);
	op->wait.look_ms = has_worker ? UINT64_MAX : now_ms + wait_pause_ms(op);
	op->wait.refusal = refusal;
	op->wait.look = look;
	op->wait.rounds++;
	api->waiting++;
	wait_ask(api, wait_due_ms(op));
}

/* csr_id NULL: whatever they wait for. */
static void wait_mark(struct api *api, const char *csr_id)
{
	bool any = false;
	struct op *op;

	if (api->waiting == 0)
		return;
	LIST_FOREACH (op, &api->ops, next) {
		if (!wait_is_on(op) || (csr_id && strcmp(op->wait.csr_id, csr_id) != 0))
			continue;
		op->wait.look_ms = 0;
		any = true;
	}
	if (any)
		wait_ask(api, clock_ms());
}

void wait_wake(struct api *api, const char *csr_id)
{
	wait_mark(api, csr_id);
}

void wait_wake_all(struct api *api)
{
	wait_mark(api, NULL);
}

/* Who was woken looks once more, however late it is: what it waited for has come. */
static void wait_over(struct op *op, uint64_t now_ms)
{
	op->wait.csr_id[0] = '\0';
	op->api->waiting--;
	if (op->wait.look_ms <= now_ms)
		op->wait.look(op);
	else
		op_refuse_later(op, op->wait.refusal);
}

void wait_tick(struct api *api)
{
	uint64_t now_ms = clock_ms();
	uint64_t next_ms = UINT64_MAX;
	struct op *op, *next;

	api->tick_ms = 0;
	/* An op that is answered frees itself and no other; what comes newly stands in front. */
	for (op = LIST_FIRST(&api->ops); op; op = next) {
		next = LIST_NEXT(op, next);
		if (wait_is_on(op) && wait_due_ms(op) <= now_ms)
			wait_over(op, now_ms);
	}
	LIST_FOREACH (op, &api->ops, next) {
		if (wait_is_on(op) && wait_due_ms(op) < next_ms)
			next_ms = wait_due_ms(op);
	}
	if (next_ms != UINT64_MAX)
		wait_ask(api, next_ms);
}
