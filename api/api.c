/* From a request to its handler: routing, authentication, permission; and the ops in flight. */
#include "api/api.h"

#include "api/media.h"
#include "api/op.h"
#include "api/precondition.h"
#include "api/reply.h"
#include "api/wait.h"
#include "base/clock.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of a request's time that is kept for commits and the answer. */
#define HSM_MARGIN_MS 2000
#define UNKNOWN_LOG_EVERY_MS 1000
#define PATH_LOG_BYTES 200
#define NAME_LOG_BYTES 200
#define CALLER_SIZE (NAME_LOG_BYTES + CSR_ID_SIZE + sizeof("token '' ()"))

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
	if (e) {
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
	return api->waiting;
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
	for (const struct op *op = api->ops; op; op = op->next) {
		if (strcmp(op->works_on, csr_id) == 0)
			return true;
	}
	return false;
}

/* ---- the op ---- */

static struct op *op_new(struct api *api, struct request *request)
{
	struct op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->api = api;
	op->request = request;
	op->started_ms = clock_ms();
	op->next = api->ops;
	op->link = &api->ops;
	if (op->next)
		op->next->link = &op->next;
	api->ops = op;
	api->in_flight++;
	return op;
}

/* Frees the op and gives its request back, to be answered by the caller. */
static struct request *op_end(struct op *op)
{
	struct request *request = op->request;

	*op->link = op->next;
	if (op->next)
		op->next->link = op->link;
	op->api->in_flight--;
	op_let_go(op);
	if (op->state)
		op->state_free(op->state);
	principal_free(op->principal);
	free(op);
	return request;
}

static const char *method_name(enum http_method method)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET",       [HTTP_HEAD] = "HEAD",       [HTTP_POST] = "POST",
		[HTTP_PUT] = "PUT",
		[HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS", [HTTP_PATCH] = "PATCH",
	};

	return (size_t)method < sizeof(names) / sizeof(names[0]) && names[method] ? names[method] : "?";
}

/* "token 'ci' (ID)": the name is what an operator knows, the id what the audit trail keeps. */
static void format_caller(const struct principal *p, char text[CALLER_SIZE])
{
	if (p)
		snprintf(text, CALLER_SIZE, "%s '%.*s' (%s)", p->kind == PRINCIPAL_USER ? "user" : "token",
			 NAME_LOG_BYTES, p->name ? p->name : "", p->id);
	else
		snprintf(text, CALLER_SIZE, "nobody");
}

/* Of these there are many, and they say little. */
static bool is_dull(const struct op *op, int status)
{
	enum http_method method = op->request->method;

	if (op->route.action == ROUTE_HEALTHZ || op->route.action == ROUTE_READYZ)
		return true;
	return (method == HTTP_GET || method == HTTP_HEAD) && status < 400 &&
	       !op->api->options.config->log.reads;
}

/* The line of the access log.  What is refused before anybody is known is held back when it comes fast. */
static void log_access(const struct op *op, int status, int code)
{
	bool is_known = op->principal != NULL;
	enum log_level level = LOG_LEVEL_INFO;
	unsigned held_back = 0;
	char more[64] = "", caller[CALLER_SIZE];
	size_t used = 0;

	if (is_dull(op, status) ||
	    (!is_known && !log_gate_pass(&op->api->unknown_gate, UNKNOWN_LOG_EVERY_MS, &held_back)))
		level = LOG_LEVEL_DEBUG;
	if (code)
		used = (size_t)snprintf(more, sizeof(more), " code %d", code);
	if (held_back)
		snprintf(more + used, sizeof(more) - used, " (%u lines held back)", held_back);
	format_caller(op->principal, caller);
	op_log(op, level, "%s '%.*s' from '%s' by %s: %d in %llu ms%s", method_name(op->request->method),
	       PATH_LOG_BYTES, op->request->path, op->request->peer, caller, status,
	       (unsigned long long)(clock_ms() - op->started_ms), more);
}

void op_log(const struct op *op, enum log_level level, const char *format, ...)
{
	struct log_context context = {
		.request_id = op->request->id,
		.csr_id = op->works_on[0] != '\0' ? op->works_on :
		          op->route.csr_id[0] != '\0' ? op->route.csr_id :
		                                        NULL,
	};
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	log_write(level, &context, "%s", line);
}

enum err op_work_on(struct op *op, const char *csr_id)
{
	if (api_works_on(op->api, csr_id))
		return E_BUSY;
	snprintf(op->works_on, sizeof(op->works_on), "%s", csr_id);
	return E_OK;
}

void op_let_go(struct op *op)
{
	char csr_id[CSR_ID_SIZE];

	memcpy(csr_id, op->works_on, sizeof(csr_id));
	op->works_on[0] = '\0';
	if (csr_id[0] != '\0')
		wait_wake(op->api, csr_id);
}

struct audit_origin op_origin(const struct op *op)
{
	return (struct audit_origin){
		.actor = op->principal->id,
		.request_id = op->request->id,
		.peer = op->request->peer,
	};
}

void op_want_reconcile(struct op *op)
{
	if (op->api->options.want_reconcile)
		op->api->options.want_reconcile(op->api->options.want_reconcile_arg);
}

struct hsm *op_hsm_find(const struct op *op, const char *token_name)
{
	const struct api_options *options = &op->api->options;

	for (size_t i = 0; i < options->hsms_len; i++) {
		if (strcmp(hsm_token_name(options->hsms[i]), token_name) == 0)
			return options->hsms[i];
	}
	return NULL;
}

uint64_t op_hsm_deadline_ms(const struct op *op)
{
	uint64_t now = clock_ms();
	uint64_t left = op->request->deadline_ms > now ? op->request->deadline_ms - now : 0;

	return now + (left > 2 * HSM_MARGIN_MS ? left - HSM_MARGIN_MS : left / 2);
}

/* ---- its ends ---- */

static void op_reply_bare(struct op *op, int status, const char *allow)
{
	log_access(op, status, 0);
	reply_bare(op_end(op), status, allow);
}

/*
 * True when the op was answered with 304 or 412.  The conditions of a GET or
 * HEAD count only where it would succeed (RFC 9110 §13.2.1), so they come last.
 */
static bool op_reply_condition(struct op *op, int status)
{
	enum http_method method = op->request->method;
	int condition = 0;

	if (status == 200 && (method == HTTP_GET || method == HTTP_HEAD))
		condition = precondition_status(op->request);
	if (condition == 304)
		op_reply_bare(op, condition, NULL);
	else if (condition)
		op_refuse(op, PROBLEM_PRECONDITION, NULL);
	return condition != 0;
}

void op_reply(struct op *op, int status, const char *result, const char *result_info)
{
	if (op_reply_condition(op, status))
		return;
	log_access(op, status, 0);
	reply_result(op_end(op), status, result, result_info);
}

void op_reply_written(struct op *op, int status, struct json_writer *w, const char *result_info)
{
	if (op_reply_condition(op, status))
		return;
	log_access(op, status, 0);
	reply_end(op_end(op), status, w, result_info);
}

void op_reply_created(struct op *op, const char *result, const char *location)
{
	log_access(op, 201, 0);
	reply_created(op_end(op), result, location);
}

static void refuse(struct op *op, const struct reply_refusal *refusal)
{
	log_access(op, problem_status(refusal->code), (int)refusal->code);
	reply_refuse(op_end(op), refusal);
}

void op_refuse(struct op *op, enum problem_code code, const char *message)
{
	refuse(op, &(struct reply_refusal){ .code = code, .message = message });
}

void op_refuse_internal(struct op *op, enum err e, const char *what)
{
	op_log(op, LOG_LEVEL_ERROR, "%s: %s", what, err_str(e));
	op_refuse_err(op, e == E_NOMEM ? E_NOMEM : E_BUG, NULL);
}

void op_refuse_later(struct op *op, const char *message)
{
	refuse(op, &(struct reply_refusal){ .code = PROBLEM_UNAVAILABLE,
	                                    .message = message,
	                                    .retry_after_s = PROBLEM_RETRY_AFTER_S });
}

void op_refuse_method(struct op *op, const char *allow)
{
	refuse(op, &(struct reply_refusal){ .code = PROBLEM_METHOD, .header = { "Allow", allow } });
}

void op_refuse_err(struct op *op, enum err e, const char *message)
{
	refuse(op, &(struct reply_refusal){ .code = problem_from_err(e),
	                                    .message = message,
	                                    .retry_after_s = problem_retry_after_s(e) });
}

void op_refuse_list(struct op *op, const struct problem_list *list)
{
	log_access(op, problem_status(list->items[0].code), (int)list->items[0].code);
	reply_refuse_list(op_end(op), list, list->items[0].code == PROBLEM_UNAVAILABLE ? 5 : 0);
}

/* ---- the way to a handler ---- */

static const struct {
	enum grant_permission permission; /* 0: any valid credential */
	void (*start)(struct op *op);
} handlers[] = {
	[ROUTE_CSR_LIST] = { GRANT_READ, csr_list_start },
	[ROUTE_CSR_CREATE] = { GRANT_WRITE, csr_create_start },
	[ROUTE_CSR_GET] = { GRANT_READ, csr_get_start },
	[ROUTE_CSR_DELETE] = { GRANT_WRITE, csr_delete_start },
	[ROUTE_CSR_NO_ID] = { GRANT_READ, NULL },
	[ROUTE_TOKEN_VERIFY] = { 0, token_verify_start },
	[ROUTE_HEALTHZ] = { 0, health_alive },
	[ROUTE_READYZ] = { 0, health_ready },
};

/* With a good credential: what does it open? */
static void authorise(struct op *op)
{
	const struct route *route = &op->route;
	enum grant_permission permission = handlers[route->action].permission;

	if (route->scope.kind && route->scope.id[0] == '\0')
		op_refuse(op, PROBLEM_NO_SCOPE_ID,
		          route->scope.kind == STORE_ACCOUNT ?
		                  "the account id is missing: it goes between /accounts/ and the next slash" :
		                  "the zone id is missing: it goes between /zones/ and the next slash");
	else if (permission && !auth_may(op->principal, &route->scope, permission))
		op_refuse(op, PROBLEM_DENIED, NULL);
	else if (route->action == ROUTE_CSR_NO_ID)
		op_refuse(op, PROBLEM_CSR_ID,
		          "the path ends in a slash where a CSR id is expected: "
		          "add the id, or leave out the slash to list or create");
	else if ((route->action == ROUTE_CSR_GET || route->action == ROUTE_CSR_DELETE) &&
		 route->csr_id[0] == '\0')
		op_refuse(op, PROBLEM_CSR_ID, NULL);
	else
		handlers[route->action].start(op);
}

/* The caller is NULL where it is not known whose the credential is. */
static void log_bad_credential(struct op *op, const struct principal *caller, const char *why)
{
	char whose[CALLER_SIZE] = "";
	unsigned held_back;

	if (caller)
		format_caller(caller, whose);
	if (log_gate_pass(&op->api->auth_gate, UNKNOWN_LOG_EVERY_MS, &held_back))
		op_log(op, LOG_LEVEL_NOTICE, "credential refused from '%s': %s%s%s (%u lines held back)",
		       op->request->peer, whose, caller ? ": " : "", why, held_back);
}

static void on_principal(void *arg, enum err e, struct principal *principal)
{
	struct op *op = arg;
	const char *refusal = NULL;

	op->principal = principal;
	if (e == E_NOTFOUND)
		refusal = "unknown";
	else if (!e)
		refusal = auth_refusal(&op->claim, principal, clock_wall_us());
	if (refusal) {
		log_bad_credential(op, principal, refusal);
		op_refuse(op, PROBLEM_CREDENTIAL, NULL);
	} else if (e) {
		op_log(op, LOG_LEVEL_ERROR, "cannot look up the caller: %s", err_str(e));
		op_refuse_err(op, e, "the store is not available at the moment; try again");
	} else {
		authorise(op);
	}
}

static void authenticate(struct op *op)
{
	enum problem_code code = auth_read(op->request, &op->claim);

	if (code) {
		log_bad_credential(op, NULL, code == PROBLEM_NO_CREDENTIAL ? "none" : "unreadable");
		op_refuse(op, code, code == PROBLEM_NO_CREDENTIAL ? auth_missing(op->request) : NULL);
		return;
	}
	store_principal_find(op->api->options.store, op->claim.kind, op->claim.secret_hash, on_principal, op);
	if (op->route.action == ROUTE_CSR_GET && op->route.csr_id[0] != '\0')
		csr_get_prefetch(op);
}

void api_handle(struct api *api, struct request *request)
{
	struct op *op = op_new(api, request);
	struct reply_refusal refusal;
	const char *allow = NULL;
	enum err e;

	if (!op) {
		reply_refuse(request,
			     &(struct reply_refusal){ .code = PROBLEM_UNAVAILABLE, .retry_after_s = 5 });
		return;
	}
	e = route_find(request->method, request->path, &op->route, &allow);
	if (!media_is_accepted(request, &refusal))
		refuse(op, &refusal);
	else if (e == E_UNSUPPORTED && request->method == HTTP_OPTIONS)
		op_reply_bare(op, 204, allow);
	else if (e == E_UNSUPPORTED)
		op_refuse_method(op, allow);
	else if (e)
		op_refuse(op, PROBLEM_NO_ROUTE, route_hint(request->path));
	else if (op->route.action == ROUTE_HEALTHZ || op->route.action == ROUTE_READYZ)
		handlers[op->route.action].start(op);
	else
		authenticate(op);
}

void api_refuse(struct request *request, int status, const char *why)
{
	static struct log_gate gate; /* peers can cause this fast; only the loop's thread comes here */
	struct log_context context = { .request_id = request->id };
	unsigned held_back;

	if (log_gate_pass(&gate, UNKNOWN_LOG_EVERY_MS, &held_back))
		log_write(LOG_LEVEL_INFO, &context, "refused a request from '%s': %d %s (%u lines held back)",
		          request->peer, status, why ? why : "", held_back);
	reply_refuse_status(request, status, why);
}
