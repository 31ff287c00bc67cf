/* GET /healthz: is the loop alive?  GET /readyz: are the store and every signer usable? */
#include "api/op.h"
#include "base/buf.h"
#include "base/clock.h"
#include "hsm/hsm.h"

#include <stdlib.h>

#define READY_DEADLINE_MS 2000

void health_alive(struct op *op)
{
	op_reply(op, 200, "{\"status\":\"alive\"}", NULL);
}

/* One check at a time: those who ask meanwhile get its answer too, so a flood of probes costs one. */
struct health {
	struct api *api;
	struct op **waiting;
	size_t waiting_len;
	unsigned parts_left;
	struct problem_list problems;
};

/* One signer's part of it. */
struct signer_check {
	struct health *health;
	const struct hsm *hsm;
};

static void answer(struct op *op, const struct health *health)
{
	if (health->problems.status)
		op_refuse_err(op, E_NOMEM, NULL);
	else if (health->problems.len > 0)
		op_refuse_list(op, &health->problems);
	else
		op_reply(op, 200, "{\"status\":\"ready\"}", NULL);
}

static void part_done(struct health *health)
{
	if (--health->parts_left > 0)
		return;
	health->api->health = NULL;
	for (size_t i = 0; i < health->waiting_len; i++)
		answer(health->waiting[i], health);
	free(health->waiting);
	problem_list_release(&health->problems);
	free(health);
}

static const char *words(enum err e)
{
	switch (e) {
	case E_BUSY:
		return "busy";
	case E_TIMEOUT:
	case E_UNCERTAIN:
		return "does not answer in time";
	case E_UNAVAIL:
		return "cannot be reached";
	default:
		return "failing";
	}
}

static void on_store(void *arg, enum err e)
{
	struct health *health = arg;

	if (e)
		problem_list_add(&health->problems, PROBLEM_UNAVAILABLE, NULL, "store: %s",
				 store_ping_text(e));
	part_done(health);
}

static void on_signer(void *arg, enum err e, const char *detail, const struct message_status_reply *reply)
{
	struct signer_check *check = arg;
	struct health *health = check->health;
	const char *name = hsm_token_name(check->hsm);

	(void)detail;
	if (e)
		problem_list_add(&health->problems, PROBLEM_UNAVAILABLE, NULL, "signer '%s': %s", name,
				 words(e));
	else if (!reply->usable)
		problem_list_add(&health->problems, PROBLEM_UNAVAILABLE, NULL,
		                 "signer '%s': its token is not usable", name);
	free(check);
	part_done(health);
}

static void check_signer(struct health *health, struct hsm *hsm, uint64_t deadline_ms)
{
	struct signer_check *check = calloc(1, sizeof(*check));

	if (!check) {
		health->problems.status = E_NOMEM;
		return;
	}
	check->health = health;
	check->hsm = hsm;
	health->parts_left++;
	hsm_status(hsm, deadline_ms, on_signer, check);
}

static enum err wait_for(struct health *health, struct op *op)
{
	struct op **waiting = reallocarray(health->waiting, health->waiting_len + 1, sizeof(struct op *));

	if (!waiting)
		return E_NOMEM;
	waiting[health->waiting_len++] = op;
	health->waiting = waiting;
	return E_OK;
}

void health_ready(struct op *op)
{
	struct api *api = op->api;
	struct health *health = api->health;
	uint64_t deadline_ms = clock_ms() + READY_DEADLINE_MS;

	if (api->draining) {
		op_refuse_later(op, "draining: this process is about to end");
		return;
	}
	if (health) {
		if (wait_for(health, op))
			op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	health = calloc(1, sizeof(*health));
	if (!health || wait_for(health, op)) {
		free(health);
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	health->api = api;
	api->health = health;
	health->parts_left = 1;
	store_ping(api->options.store, on_store, health);
	for (size_t i = 0; i < api->options.hsms_len; i++)
		check_signer(health, api->options.hsms[i], deadline_ms);
}
