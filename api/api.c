/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its handler: routing, authentication, permission. */
#include "api/api.h"

#include "api/media.h"
#include "api/op.h"
#include "api/reply.h"
#include "api/wait.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/identity.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum err api_new(const struct api_options *options, struct api **ret_api)
{
	struct api *api = calloc(1, sizeof(*api));
	enum err e;

	if (!api)
		return E_NOMEM;
	api->options = *options;
	TAILQ_INIT(&api->lists);
	e = san_suffixes_load(&api->suffixes);
	if (e == E_NOTFOUND) {
		log_warn("no public suffix list on this machine: public suffixes are not refused");
		e = E_OK;
	}
	if (e != E_OK) {
		free(api);
		return e;
	}
	*ret_api = api;
	return E_OK;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	assert(api->in_flight == 0);
	san_suffixes_free(api->suffixes);
	free(api);
}

unsigned api_in_flight(const struct api *api)
{
	return api->in_flight;
}

unsigned api_waiting(const struct api *api)
{
	return api->waiting + api->lists_waiting;
}

const struct metric_times *api_auth_times(const struct api *api)
{
	return &api->auth_times;
}

void api_drain(struct api *api)
{
	api->draining = true;
	wait_wake_all(api);
}

void api_tick(struct api *api)
{
	wait_tick(api);
}

bool api_works_on(const struct api *api, const char *csr_id)
{
	const struct op *op;

	LIST_FOREACH (op, &api->ops, next) {
		if (strcmp(op->works_on, csr_id) == 0)
			return true;
	}
	return false;
}

/* With a good credential: what does it open? */
static void authorise(struct op *op)
{
	const struct route *route = &op->route;
	const struct route_rule *rule = route->rule;

	if (route->scope.kind && route->scope.id[0] == '\0')
		op_refuse(op, PROBLEM_NO_SCOPE_ID,
			  route->scope.kind == STORE_ACCOUNT
			      ? "the account id is missing: it goes between /accounts/ and the next slash"
			      : "the zone id is missing: it goes between /zones/ and the next slash");
	else if (rule->permission && !auth_may(op->principal, &route->scope, rule->permission))
		op_refuse(op, PROBLEM_DENIED, NULL);
	else if (route->has_csr && route->csr_id[0] == '\0')
		op_refuse(op, PROBLEM_CSR_ID, NULL);
	else
		rule->start(op);
}

#define API_PEER_BYTES 1024

/* The caller is NULL where it is not known whose the credential is. */
static void log_bad_credential(struct op *op, const struct principal *caller, const char *why)
{
	const struct peer *known = op->request->known;
	char whose[OP_CALLER_SIZE] = "";
	unsigned held_back;
	struct buf shown;

	if (!log_gate_pass(&op->api->auth_gate, API_UNKNOWN_LOG_MS, &held_back))
		return;
	if (caller)
		op_format_caller(caller, whose);
	buf_init(&shown, API_PEER_BYTES);
	if (known) {
		buf_put_str(&shown, " with ");
		peer_put(&shown, known);
	}
	op_log(op, LOG_LEVEL_NOTICE, "credential refused from '%s'%s: %s%s%s (%u lines held back)",
	       op->request->peer, buf_text(&shown), whose, caller ? ": " : "", why, held_back);
	buf_release(&shown);
}

static void refuse_credential(struct op *op, enum err e)
{
	struct buf message;

	buf_init(&message, 2 * API_PEER_BYTES);
	auth_put_peer_refusal(&message, &op->claim, e);
	op_refuse(op, PROBLEM_CREDENTIAL, message.len > 0 ? buf_text(&message) : NULL);
	buf_release(&message);
}

void op_admit(struct op *op, enum err e, struct principal *principal)
{
	const char *refusal = NULL;

	metric_times_add(&op->api->auth_times, clock_ns() - op->started_ns);
	op->principal = principal;
	if (e == E_NOTFOUND)
		refusal = "unknown";
	else if (e == E_EXISTS)
		refusal = "its names are bound to two principals";
	else if (e == E_OK)
		refusal = auth_refusal(&op->claim, principal, clock_wall_us());
	if (refusal) {
		log_bad_credential(op, principal, refusal);
		refuse_credential(op, e);
	} else if (e != E_OK) {
		op_log(op, LOG_LEVEL_ERROR, "cannot look up the caller: %s", err_str(e));
		op_refuse_err(op, e, "the store is not available at the moment; try again");
	} else if (op_note_peer(op) != E_OK) {
		op_refuse_err(op, E_NOMEM, NULL);
	} else {
		authorise(op);
	}
}

static void on_principal(void *arg, enum err e, struct principal *principal)
{
	op_admit(arg, e, principal);
}

static void authenticate(struct op *op)
{
	const struct route_rule *rule = op->route.rule;
	bool needs_both = op->api->options.config->http.credentials == CONFIG_CREDENTIALS_BOTH;
	enum problem_code code = auth_read(op->request, needs_both, &op->claim);

	if (code) {
		log_bad_credential(op, NULL, code == PROBLEM_NO_CREDENTIAL ? "none" : "unreadable");
		op_refuse(op, code,
			  code == PROBLEM_NO_CREDENTIAL ? auth_missing(op->request, needs_both) : NULL);
		return;
	}
	if (rule->look)
		rule->look(op);
	else
		store_principal_find(op->api->options.store, &op->claim.store, on_principal, op);
}

void api_handle(struct api *api, struct request *request)
{
	struct op *op = op_new(api, request);
	struct reply_refusal refusal;
	char allow[ROUTE_ALLOW_SIZE];
	enum err e;

	if (!op) {
		reply_refuse(request,
			     &(struct reply_refusal){.code = PROBLEM_UNAVAILABLE, .retry_after_s = 5});
		return;
	}
	e = route_find(request->method, request->path, &op->route, allow);
	request->route = route_number(op->route.rule);
	if (!media_is_accepted(request, &refusal))
		op_refuse_with(op, &refusal);
	else if (e == E_UNSUPPORTED && request->method == HTTP_OPTIONS)
		op_reply_bare(op, 204, allow);
	else if (e == E_UNSUPPORTED)
		op_refuse_method(op, allow);
	else if (e != E_OK)
		op_refuse(op, PROBLEM_NO_ROUTE, route_hint(request->path));
	else if (op->route.rule->is_open)
		op->route.rule->start(op);
	else
		authenticate(op);
}

void api_refuse(struct request *request, int status, const char *why)
{
	static struct log_gate gate; /* peers can cause this fast; only the loop's thread comes here */
	struct log_context context = {.request_id = request->id};
	unsigned held_back;

	if (log_gate_pass(&gate, API_UNKNOWN_LOG_MS, &held_back))
		log_write(LOG_LEVEL_INFO, &context,
			  "refused a request from '%s'%s: %d %s (%u lines held back)", request->peer,
			  request->over_tls ? " over TLS" : "", status, why ? why : "", held_back);
	reply_refuse_status(request, status, why);
}
