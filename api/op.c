/* SPDX-License-Identifier: Apache-2.0 */
/* An op's life: begun with its request, ended with its answer; and what handlers share between. */
#include "api/op.h"

#include "api/limit.h"
#include "api/precondition.h"
#include "api/reply.h"
#include "api/wait.h"
#include "base/clock.h"
#include "base/identity.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of a request's time that is kept for commits and the answer. */
#define HSM_MARGIN_MS 2000
#define PATH_LOG_BYTES 200
#define KNOWN_BY_LOG_BYTES 300

struct op *op_new(struct api *api, struct request *request)
{
	struct op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->api = api;
	op->request = request;
	op->started_ns = clock_ns();
	LIST_INSERT_HEAD(&api->ops, op, next);
	api->in_flight++;
	return op;
}

/* Frees the op and gives its request back, to be answered by the caller. */
static struct request *op_end(struct op *op)
{
	struct request *request = op->request;

	LIST_REMOVE(op, next);
	op->api->in_flight--;
	op_let_go(op);
	if (op->state)
		op->state_free(op->state);
	principal_free(op->principal);
	free(op->known_by);
	free(op->peer);
	free(op);
	return request;
}

void op_format_caller(const struct principal *caller, char text[OP_CALLER_SIZE])
{
	if (caller)
		snprintf(text, OP_CALLER_SIZE, "%s '%.*s' (%s)",
			 caller->kind == PRINCIPAL_USER   ? "user"
			 : caller->kind == PRINCIPAL_PEER ? "principal"
							  : "token",
			 OP_NAME_LOG_BYTES, caller->name ? caller->name : "", caller->id);
	else
		snprintf(text, OP_CALLER_SIZE, "nobody");
}

enum err op_note_peer(struct op *op)
{
	const struct identity *known_by = &op->principal->known_by;
	const struct peer *known = op->request->known;

	if (!known_by->value)
		return E_OK;
	if (asprintf(&op->known_by, "%s:%s%s%s%s", identity_kind_name(known_by->kind), known_by->value,
		     known && known->evidence ? " (" : "", known && known->evidence ? known->evidence : "",
		     known && known->evidence ? ")" : "") < 0)
		op->known_by = NULL;
	if (op->known_by && asprintf(&op->peer, "%s as %s", op->request->peer, op->known_by) < 0)
		op->peer = NULL;
	return op->peer ? E_OK : E_NOMEM;
}

/* Health checks, and reads that went well: there are many, and they say little. */
static bool is_dull(const struct op *op, int status)
{
	enum http_method method = op->request->method;

	if (op->route.rule && op->route.rule->is_open)
		return true;
	return (method == HTTP_GET || method == HTTP_HEAD) && status < 400 &&
	       !op->api->options.config->log.reads;
}

/* The line of the access log.  What is refused before anybody is known, or as too much, is held back when it
   comes fast. */
static void log_access(const struct op *op, int status, int code)
{
	bool is_known = op->principal && status != 401 && status != 429;
	enum log_level level = LOG_LEVEL_INFO;
	unsigned held_back = 0;
	char more[64] = "", caller[OP_CALLER_SIZE];
	size_t used = 0;

	if (is_dull(op, status) ||
	    (!is_known && !log_gate_pass(&op->api->unknown_gate, API_UNKNOWN_LOG_MS, &held_back)))
		level = LOG_LEVEL_DEBUG;
	if (code)
		used = (size_t)snprintf(more, sizeof(more), " code %d", code);
	if (held_back)
		snprintf(more + used, sizeof(more) - used, " (%u lines held back)", held_back);
	op_format_caller(op->principal, caller);
	op_log(op, level, "%s '%.*s' from '%s'%s by %s%s%.*s: %d in %llu ms%s",
	       http_method_name(op->request->method), PATH_LOG_BYTES, op->request->path, op->request->peer,
	       op->request->over_tls ? " over TLS" : "", caller, op->known_by ? " as " : "",
	       KNOWN_BY_LOG_BYTES, op->known_by ? op->known_by : "", status,
	       (unsigned long long)(clock_ns() - op->started_ns) / 1000000, more);
}

void op_log(const struct op *op, enum log_level level, const char *format, ...)
{
	struct log_context context = {
	    .request_id = op->request->id,
	    .csr_id = op->works_on[0] != '\0'       ? op->works_on
		      : op->route.csr_id[0] != '\0' ? op->route.csr_id
						    : NULL,
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
	    .peer = op->peer ? op->peer : op->request->peer,
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

static key_type_set op_accepted_key_types(const struct op *op)
{
	key_type_set permitted = op->api->options.config->policy.key_types;
	key_type_set offered = op->api->options.hsms_len > 0 ? hsm_key_types(op->api->options.hsms[0]) : 0;

	return offered ? permitted & offered : permitted;
}

struct validate_policy op_policy(const struct op *op)
{
	const struct config_policy *config = &op->api->options.config->policy;

	return (struct validate_policy){
	    .key_types = op_accepted_key_types(op),
	    .sans = {.types = config->san_types,
		     .public_names_only = config->public_names_only,
		     .suffixes = op->api->suffixes},
	};
}

uint64_t op_hsm_deadline_ms(const struct op *op)
{
	uint64_t now = clock_ms();
	uint64_t left = op->request->deadline_ms > now ? op->request->deadline_ms - now : 0;

	return now + (left > 2 * HSM_MARGIN_MS ? left - HSM_MARGIN_MS : left / 2);
}

/* ---- its ends ---- */

void op_reply_bare(struct op *op, int status, const char *allow)
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

void op_reply_document(struct op *op, const char *json, size_t len)
{
	if (op_reply_condition(op, 200))
		return;
	log_access(op, 200, 0);
	reply_document(op_end(op), json, len);
}

void op_reply_noted(struct op *op, const char *result, const struct problem_list *notes)
{
	log_access(op, 200, 0);
	reply_noted(op_end(op), result, notes);
}

void op_reply_created(struct op *op, const char *result, const char *location,
		      const struct problem_list *notes)
{
	log_access(op, 201, 0);
	reply_created(op_end(op), result, location, notes);
}

void op_refuse_with(struct op *op, const struct reply_refusal *refusal)
{
	log_access(op, problem_status(refusal->code), (int)refusal->code);
	reply_refuse(op_end(op), refusal);
}

void op_refuse(struct op *op, enum problem_code code, const char *message)
{
	op_refuse_with(op, &(struct reply_refusal){.code = code, .message = message});
}

void op_refuse_internal(struct op *op, enum err e, const char *what)
{
	op_log(op, LOG_LEVEL_ERROR, "%s: %s", what, err_str(e));
	op_refuse_err(op, e == E_NOMEM ? E_NOMEM : E_BUG, NULL);
}

void op_refuse_later(struct op *op, const char *message)
{
	op_refuse_with(op, &(struct reply_refusal){.code = PROBLEM_UNAVAILABLE,
						   .message = message,
						   .retry_after_s = PROBLEM_RETRY_AFTER_S});
}

void op_refuse_limit(struct op *op, const struct limit_refusal *refusal)
{
	op_refuse_with(op, &(struct reply_refusal){.code = PROBLEM_RATE_LIMIT,
						   .message = refusal->why,
						   .retry_after_s = refusal->retry_after_s});
}

void op_refuse_method(struct op *op, const char *allow)
{
	op_refuse_with(op, &(struct reply_refusal){.code = PROBLEM_METHOD, .header = {"Allow", allow}});
}

void op_refuse_err(struct op *op, enum err e, const char *message)
{
	op_refuse_with(op, &(struct reply_refusal){.code = problem_from_err(e),
						   .message = message,
						   .retry_after_s = problem_retry_after_s(e)});
}

void op_refuse_list(struct op *op, const struct problem_list *list)
{
	log_access(op, problem_status(list->items[0].code), (int)list->items[0].code);
	reply_refuse_list(op_end(op), list, list->items[0].code == PROBLEM_UNAVAILABLE ? 5 : 0);
}
