/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /healthz: is the loop alive?  GET /readyz: do creates work, which need
 * the store and the first signer?  The others only hold keys of earlier days;
 * ?token=NAME asks about one of them, ?verbose tells each part.
 */
#include "api/json.h"
#include "api/op.h"
#include "base/buf.h"
#include "base/clock.h"
#include "hsm/hsm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READY_DEADLINE_MS 2000
#define READY_BYTES_MAX 65536

void health_alive(struct op *op)
{
	op_reply(op, 200, "{\"status\":\"alive\"}", NULL);
}

/* ---- what is asked ---- */

struct health_query {
	const struct hsm *token; /* that must be usable, beside the store; NULL: there is none */
	bool verbose;
};

static bool is_word(const char *at, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(at, word, len) == 0;
}

static enum err health_find_token(const struct api *api, const char *name, size_t len,
				  struct health_query *query)
{
	for (size_t i = 0; i < api->options.hsms_len; i++) {
		if (is_word(name, len, hsm_token_name(api->options.hsms[i]))) {
			query->token = api->options.hsms[i];
			return E_OK;
		}
	}
	return E_NOTFOUND;
}

/* why: for the caller. */
static enum err query_read(const struct op *op, struct health_query *ret_query, char why[160])
{
	struct health_query query = {0};
	const char *at = op->request->query;

	if (op->api->options.hsms_len > 0)
		query.token = op->api->options.hsms[0];
	while (at && *at) {
		size_t len = strcspn(at, "&");

		if (is_word(at, len, "verbose") || is_word(at, len, "verbose=1")) {
			query.verbose = true;
		} else if (len < strlen("token=") || memcmp(at, "token=", strlen("token=")) != 0) {
			snprintf(why, 160, "unknown query parameter: /readyz takes token=NAME and verbose");
			return E_INVAL;
		} else if (health_find_token(op->api, at + strlen("token="), len - strlen("token="),
					     &query) != E_OK) {
			snprintf(why, 160,
				 "query parameter 'token' must be the NAME of a section [token NAME] of "
				 "the configuration");
			return E_INVAL;
		}
		at += len + (at[len] == '&');
	}
	*ret_query = query;
	return E_OK;
}

/* ---- the check ---- */

/* One check at a time: those who ask meanwhile get its answer too, so a flood of probes costs one. */
struct health {
	struct api *api;
	struct op **waiting;
	size_t waiting_len;
	unsigned parts_left;
	bool out_of_memory;
	const char *store;    /* what is wrong with it; NULL: nothing */
	const char **signers; /* the same by hsm, in the order of the options */
};

/* One signer's part of it. */
struct signer_check {
	struct health *health;
	size_t index;
};

static void put_part(struct json_writer *w, const char *kind, const char *token, const char *fault)
{
	json_open_object(w);
	json_put_text_member(w, "part", kind);
	if (token)
		json_put_text_member(w, "token", token);
	json_put_bool_member(w, "usable", !fault);
	if (fault)
		json_put_text_member(w, "detail", fault);
	json_close(w);
}

static void answer_ready(struct op *op, const struct health *health, const struct health_query *query)
{
	const struct api *api = health->api;
	struct json_writer w;
	struct buf b;

	if (!query->verbose) {
		op_reply(op, 200, "{\"status\":\"ready\"}", NULL);
		return;
	}
	buf_init(&b, READY_BYTES_MAX);
	json_writer_init(&w, &b);
	json_open_object(&w);
	json_put_text_member(&w, "status", "ready");
	json_put_name(&w, "parts");
	json_open_array(&w);
	put_part(&w, "store", NULL, NULL);
	for (size_t i = 0; i < api->options.hsms_len; i++)
		put_part(&w, i == 0 ? "signer of new keys" : "signer of old keys",
			 hsm_token_name(api->options.hsms[i]), health->signers[i]);
	json_close(&w);
	json_close(&w);
	if (buf_status(&b) != E_OK)
		op_refuse_internal(op, buf_status(&b), "cannot build the answer");
	else
		op_reply(op, 200, buf_text(&b), NULL);
	buf_release(&b);
}

/* What it asks for must be usable; with `verbose` the rest is told beside that. */
static void health_answer(struct op *op, const struct health *health)
{
	const struct api *api = health->api;
	struct problem_list needed = {0}, all = {0};
	struct health_query query;
	char why[160];

	if (health->out_of_memory || query_read(op, &query, why) != E_OK) {
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	if (health->store) {
		problem_list_add(&needed, PROBLEM_UNAVAILABLE, NULL, "store: %s", health->store);
		problem_list_add(&all, PROBLEM_UNAVAILABLE, NULL, "store: %s", health->store);
	}
	for (size_t i = 0; i < api->options.hsms_len; i++) {
		const char *name = hsm_token_name(api->options.hsms[i]);

		if (!health->signers[i])
			continue;
		problem_list_add(&all, PROBLEM_UNAVAILABLE, NULL, "signer '%s': %s", name,
				 health->signers[i]);
		if (query.token == api->options.hsms[i])
			problem_list_add(&needed, PROBLEM_UNAVAILABLE, NULL, "signer '%s': %s", name,
					 health->signers[i]);
	}
	if (needed.len > 0)
		op_refuse_list(op, query.verbose ? &all : &needed);
	else if (needed.status)
		op_refuse_err(op, E_NOMEM, NULL);
	else
		answer_ready(op, health, &query);
	problem_list_release(&needed);
	problem_list_release(&all);
}

static void part_done(struct health *health)
{
	if (--health->parts_left > 0)
		return;
	health->api->health = NULL;
	for (size_t i = 0; i < health->waiting_len; i++)
		health_answer(health->waiting[i], health);
	free(health->waiting);
	free(health->signers);
	free(health);
}

static const char *health_words(enum err e)
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

static void health_on_store(void *arg, enum err e)
{
	struct health *health = arg;

	if (e != E_OK)
		health->store = store_ping_text(e);
	part_done(health);
}

static void on_signer(void *arg, enum err e, const char *detail, const struct message_status_reply *reply)
{
	struct signer_check *check = arg;
	struct health *health = check->health;

	(void)detail;
	if (e != E_OK)
		health->signers[check->index] = health_words(e);
	else if (!reply->usable)
		health->signers[check->index] = "its token is not usable";
	free(check);
	part_done(health);
}

static void check_signer(struct health *health, size_t index, uint64_t deadline_ms)
{
	struct signer_check *check = calloc(1, sizeof(*check));

	if (!check) {
		health->out_of_memory = true;
		return;
	}
	check->health = health;
	check->index = index;
	health->parts_left++;
	hsm_status(health->api->options.hsms[index], deadline_ms, on_signer, check);
}

static enum err health_wait_for(struct health *health, struct op *op)
{
	struct op **waiting = reallocarray(health->waiting, health->waiting_len + 1, sizeof(struct op *));

	if (!waiting)
		return E_NOMEM;
	waiting[health->waiting_len++] = op;
	health->waiting = waiting;
	return E_OK;
}

static void start_check(struct op *op)
{
	struct api *api = op->api;
	struct health *health = calloc(1, sizeof(*health));
	uint64_t deadline_ms = clock_ms() + READY_DEADLINE_MS;

	if (health)
		health->signers = calloc(api->options.hsms_len + 1, sizeof(*health->signers));
	if (!health || !health->signers || health_wait_for(health, op) != E_OK) {
		if (health)
			free(health->signers);
		free(health);
		op_refuse_err(op, E_NOMEM, NULL);
		return;
	}
	health->api = api;
	api->health = health;
	health->parts_left = 1;
	store_ping(api->options.store, health_on_store, health);
	for (size_t i = 0; i < api->options.hsms_len; i++)
		check_signer(health, i, deadline_ms);
}

void health_ready(struct op *op)
{
	struct health *health = op->api->health;
	struct health_query query;
	char why[160];

	if (query_read(op, &query, why) != E_OK)
		op_refuse(op, PROBLEM_REQUEST, why);
	else if (op->api->draining)
		op_refuse_later(op, "draining: this process is shutting down");
	else if (!health)
		start_check(op);
	else if (health_wait_for(health, op) != E_OK)
		op_refuse_err(op, E_NOMEM, NULL);
}
