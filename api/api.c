/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its handler: routing, authentication, permission. */
#include "api/api.h"

#include "api/limit.h"
#include "api/media.h"
#include "api/op.h"
#include "api/openapi.h"
#include "api/reply.h"
#include "api/use.h"
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
	policy_cache_init(&api->policies);
	e = san_suffixes_load(&api->suffixes);
	if (e == E_NOTFOUND) {
		log_warn("no public suffix list on this machine: public suffixes are not refused");
		e = E_OK;
	}
	if (e == E_OK)
		e = limit_new(&options->config->limits, &api->limit);
	if (e != E_OK) {
		san_suffixes_free(api->suffixes);
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
	limit_free(api->limit);
	san_suffixes_free(api->suffixes);
	policy_cache_release(&api->policies);
	openapi_free(api->openapi);
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

void api_limit_figures(const struct api *api, struct limit_figures *ret_figures)
{
	limit_figures(api->limit, ret_figures);
}

unsigned api_principals_ending(const struct api *api)
{
	return use_count_ending(api);
}

void api_note_uses(struct api *api)
{
	use_flush(api);
}

void api_drain(struct api *api)
{
	use_flush(api);
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

/* With 401, or with 429 when too many were refused before this one.  e: of the search. */
static void refuse_credential(struct op *op, enum err e, const struct principal *caller, const char *why)
{
	struct limit_refusal limit;
	struct buf message;

	if (!limit_take_failed_login(op->api->limit, op->request, op->claim.email, &limit)) {
		op_refuse_limit(op, &limit);
		return;
	}
	log_bad_credential(op, caller, why);
	buf_init(&message, 2 * API_PEER_BYTES);
	auth_put_peer_refusal(&message, &op->claim, e);
	op_refuse(op, PROBLEM_CREDENTIAL, message.len > 0 ? buf_text(&message) : NULL);
	buf_release(&message);
}

void op_admit(struct op *op, enum err e, struct principal *principal)
{
	struct limit_refusal limit;
	const char *refusal = NULL;

	metric_times_add(&op->api->auth_times, clock_ns() - op->started_ns);
	op->principal = principal;
	if (e == E_NOTFOUND)
		refusal = "unknown";
	else if (e == E_EXISTS)
		refusal = "its names are bound to two principals";
	else if (e == E_OK)
		refusal = auth_refusal(&op->claim, principal, clock_wall_us());
	if (e == E_OK && !refusal)
		refusal = auth_refusal_of_place(principal, &op->request->caller);
	if (refusal) {
		refuse_credential(op, e, principal, refusal);
	} else if (e != E_OK) {
		op_log(op, LOG_LEVEL_ERROR, "cannot look up the caller: %s", err_str(e));
		op_refuse_err(op, e, "the store is not available at the moment; try again");
	} else if (op_note_peer(op) != E_OK) {
		op_refuse_err(op, E_NOMEM, NULL);
	} else if (!limit_take_principal(op->api->limit, op->request, principal, &limit)) {
		op_refuse_limit(op, &limit);
	} else {
		use_note(op);
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

	if (code == PROBLEM_NO_CREDENTIAL) {
		log_bad_credential(op, NULL, "none");
		op_refuse(op, code, auth_missing(op->request, needs_both));
	} else if (code == PROBLEM_CREDENTIAL) {
		refuse_credential(op, E_OK, NULL, "unreadable");
	} else if (code == PROBLEM_UNAVAILABLE) {
		op_refuse_later(op, NULL);
	} else if (code) {
		op_refuse(op, code, NULL);
	} else if (rule->look) {
		rule->look(op);
	} else {
		store_principal_find(op->api->options.store, &op->claim.store, on_principal, op);
	}
}

void api_handle(struct api *api, struct request *request)
{
	struct op *op = op_new(api, request);
	struct reply_refusal refusal;
	struct limit_refusal limit;
	char allow[ROUTE_ALLOW_SIZE];
	bool is_open;
	enum err e;

	if (!op) {
		reply_refuse(request,
			     &(struct reply_refusal){.code = PROBLEM_UNAVAILABLE, .retry_after_s = 5});
		return;
	}
	e = route_find(request->method, request->path, &op->route, allow);
	request->route = route_number(op->route.rule);
	is_open = e == E_OK && op->route.rule->is_open;
	if (!is_open && !limit_take_address(api->limit, request, &limit))
		op_refuse_limit(op, &limit);
	else if (!media_is_accepted(request, &refusal))
		op_refuse_with(op, &refusal);
	else if (e == E_UNSUPPORTED && request->method == HTTP_OPTIONS)
		op_reply_bare(op, 204, allow);
	else if (e == E_UNSUPPORTED)
		op_refuse_method(op, allow);
	else if (e != E_OK)
		op_refuse(op, PROBLEM_NO_ROUTE, route_hint(request->path));
	else if (is_open)
		op->route.rule->start(op);
	else
		authenticate(op);
}

void api_refuse(struct api *api, struct request *request, int status, const char *why)
{
	static struct log_gate gate; /* peers can cause this fast; only the loop's thread comes here */
	struct log_context context = {.request_id = request->id};
	unsigned held_back;

	limit_count_address(api->limit, request);
	if (log_gate_pass(&gate, API_UNKNOWN_LOG_MS, &held_back))
		log_write(LOG_LEVEL_INFO, &context,
			  "refused a request from '%s'%s: %d %s (%u lines held back)", request->peer,
			  request->over_tls ? " over TLS" : "", status, why ? why : "", held_back);
	reply_refuse_status(request, status, why);
}
