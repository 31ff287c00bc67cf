/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope and the headers of every answer. */
#include "api/reply.h"

#include "api/auth.h"
#include "api/json.h"
#include "base/buf.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static void add_header(struct reply *reply, const char *name, const char *value)
{
	reply->headers[reply->headers_len++] = (struct http_header){name, value};
}

/* One item of each field for a limit: "name";q=…;w=… and "name";r=…;t=…
 * (draft-ietf-httpapi-ratelimit-headers). */
#define LIMIT_NAME_MAX 32
#define LIMIT_FIELD_SIZE (REQUEST_LIMITS_MAX * (LIMIT_NAME_MAX + 64))
struct limit_fields {
	char policy[LIMIT_FIELD_SIZE];
	char state[LIMIT_FIELD_SIZE];
};

static char *reply_put_text(char *at, const char *text)
{
	return stpncpy(at, text, LIMIT_NAME_MAX);
}

/* printf costs more than all the rest of a limit. */
static char *reply_put_number(char *at, uint64_t number)
{
	char digits[20];
	size_t len = 0;

	do {
		digits[len++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	while (len > 0)
		*at++ = digits[--len];
	return at;
}

static char *reply_put_limit(char *at, const char *name, const char *const keys[2], const uint64_t values[2])
{
	at = reply_put_text(at, name);
	for (size_t i = 0; i < 2; i++) {
		at = reply_put_text(at, keys[i]);
		at = reply_put_number(at, values[i]);
	}
	*at = '\0';
	return at;
}

static void reply_add_limits(struct reply *reply, const struct request *r, struct limit_fields *fields)
{
	static const char *const policy_keys[] = {"\";q=", ";w="}, *const state_keys[] = {"\";r=", ";t="};
	char *policy = fields->policy, *state = fields->state;

	for (unsigned i = 0; i < r->limits_len; i++) {
		const struct request_limit *l = &r->limits[i];
		const char *before = i > 0 ? ", \"" : "\"";

		policy = reply_put_limit(reply_put_text(policy, before), l->name, policy_keys,
					 (const uint64_t[]){l->quota, l->window_s});
		state = reply_put_limit(reply_put_text(state, before), l->name, state_keys,
					(const uint64_t[]){l->left, l->reset_s});
	}
	if (r->limits_len == 0)
		return;
	add_header(reply, "Ratelimit-Policy", fields->policy);
	add_header(reply, "Ratelimit", fields->state);
}

/* Adds the fields that every answer has, and sends it. */
static void send_reply(struct request *r, struct reply *reply)
{
	struct limit_fields fields;

	reply_add_limits(reply, r, &fields);
	add_header(reply, "X-Request-Id", r->id);
	add_header(reply, "Cache-Control", "no-store");
	r->reply(r, reply);
}

static void send_out_of_memory(struct request *r)
{
	static char body[] = "{\"success\":false,\"errors\":[{\"code\":1503,\"message\":"
			     "\"not available at the moment; try again\"}],\"messages\":[],\"result\":null}";
	struct reply reply = {.status = 503, .body = body, .body_len = sizeof(body) - 1};

	add_header(&reply, "Content-Type", "application/json");
	add_header(&reply, "Retry-After", "5");
	send_reply(r, &reply);
}

void reply_bare(struct request *r, int status, const char *allow)
{
	struct reply reply = {.status = status};

	if (allow)
		add_header(&reply, "Allow", allow);
	send_reply(r, &reply);
}

static void put_problem(struct json_writer *w, const struct problem *p)
{
	json_open_object(w);
	json_put_int_member(w, "code", p->code);
	json_put_text_member(w, "message", p->message);
	if (p->pointer) {
		json_put_name(w, "source");
		json_open_object(w);
		json_put_text_member(w, "pointer", p->pointer);
		json_close(w);
	}
	json_close(w);
}

static void put_problems(struct json_writer *w, const char *name, const struct problem *problems, size_t len)
{
	json_put_name(w, name);
	json_open_array(w);
	for (size_t i = 0; i < len; i++)
		put_problem(w, &problems[i]);
	json_close(w);
}

void reply_document(struct request *r, const char *json, size_t len)
{
	struct reply reply = {.status = 200, .body = (char *)(uintptr_t)json, .body_len = len};

	add_header(&reply, "Content-Type", "application/json");
	send_reply(r, &reply);
}

/* Up to the value of its result. */
static void reply_open(struct json_writer *w, struct buf *b, const struct problem_list *notes)
{
	json_writer_init(w, b);
	json_open_object(w);
	json_put_bool_member(w, "success", true);
	put_problems(w, "errors", NULL, 0);
	put_problems(w, "messages", notes ? notes->items : NULL, notes ? notes->len : 0);
	json_put_name(w, "result");
}

void reply_begin(struct json_writer *w, struct buf *b)
{
	reply_open(w, b, NULL);
}

/* more: one more field; its name is NULL when there is none */
static void send_written(struct request *r, int status, struct json_writer *w, const char *result_info,
			 struct http_header more)
{
	struct reply reply = {.status = status, .body_is_given = true};

	if (result_info) {
		json_put_name(w, "result_info");
		json_put_raw(w, result_info);
	}
	json_close(w);
	if (buf_status(w->out) != E_OK) {
		log_write(LOG_LEVEL_ERROR, &(struct log_context){.request_id = r->id},
			  "cannot build the answer: %s", err_str(buf_status(w->out)));
		send_out_of_memory(r);
		return;
	}
	reply.body = buf_take(w->out, &reply.body_len);
	add_header(&reply, "Content-Type", "application/json");
	if (more.name)
		add_header(&reply, more.name, more.value);
	send_reply(r, &reply);
}

void reply_end(struct request *r, int status, struct json_writer *w, const char *result_info)
{
	send_written(r, status, w, result_info, (struct http_header){0});
}

void reply_result(struct request *r, int status, const char *result, const char *result_info)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, REPLY_BODY_MAX);
	reply_begin(&w, &b);
	json_put_raw(&w, result);
	reply_end(r, status, &w, result_info);
	buf_release(&b);
}

static void send_noted(struct request *r, int status, const char *result, const struct problem_list *notes,
		       struct http_header more)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, REPLY_BODY_MAX);
	reply_open(&w, &b, notes);
	json_put_raw(&w, result);
	send_written(r, status, &w, NULL, more);
	buf_release(&b);
}

void reply_noted(struct request *r, const char *result, const struct problem_list *notes)
{
	send_noted(r, 200, result, notes, (struct http_header){0});
}

void reply_created(struct request *r, const char *result, const char *location,
		   const struct problem_list *notes)
{
	send_noted(r, 201, result, notes, (struct http_header){"Location", location});
}

struct refusal {
	int status;
	const struct problem *problems;
	size_t problems_len;
	unsigned retry_after_s;
	struct http_header header;
	bool is_final;
};

static void put_refusal(struct json_writer *w, const struct refusal *refusal)
{
	json_open_object(w);
	json_put_bool_member(w, "success", false);
	put_problems(w, "errors", refusal->problems, refusal->problems_len);
	put_problems(w, "messages", NULL, 0);
	json_put_name(w, "result");
	json_put_null(w);
	json_close(w);
}

static void send_refusal(struct request *r, const struct refusal *refusal)
{
	struct reply reply = {.status = refusal->status, .body_is_given = true};
	const char *challenge = auth_challenge(r, refusal->problems[0].code);
	unsigned retry_after_s = refusal->retry_after_s;
	char seconds[16];
	struct json_writer w;
	struct buf b;

	buf_init(&b, REPLY_BODY_MAX);
	json_writer_init(&w, &b);
	put_refusal(&w, refusal);
	if (buf_status(&b) != E_OK) {
		send_out_of_memory(r);
		goto out;
	}
	reply.body = buf_take(&b, &reply.body_len);
	add_header(&reply, "Content-Type", "application/json");
	if (refusal->status == 503 && retry_after_s == 0)
		retry_after_s = PROBLEM_RETRY_AFTER_S;
	if (retry_after_s > 0) {
		snprintf(seconds, sizeof(seconds), "%u", retry_after_s);
		add_header(&reply, "Retry-After", seconds);
	}
	if (refusal->header.name)
		add_header(&reply, refusal->header.name, refusal->header.value);
	if (challenge)
		add_header(&reply, "WWW-Authenticate", challenge);
	if (refusal->is_final)
		add_header(&reply, "x-should-retry", "false");
	send_reply(r, &reply);
out:
	buf_release(&b);
}

/* A problem for the time of one call; text is not changed. */
static struct problem borrow_problem(enum problem_code code, const char *message)
{
	return (struct problem){.code = code,
				.message = (char *)(uintptr_t)(message ? message : problem_text(code))};
}

void reply_refuse(struct request *r, const struct reply_refusal *refusal)
{
	struct problem problem = borrow_problem(refusal->code, refusal->message);

	send_refusal(r, &(struct refusal){.status = problem_status(refusal->code),
					  .problems = &problem,
					  .problems_len = 1,
					  .retry_after_s = refusal->retry_after_s,
					  .header = refusal->header,
					  .is_final = problem_is_final(refusal->code)});
}

void reply_refuse_list(struct request *r, const struct problem_list *list, unsigned retry_after_s)
{
	enum problem_code first = list->items[0].code;

	send_refusal(r, &(struct refusal){.status = problem_status(first),
					  .problems = list->items,
					  .problems_len = list->len,
					  .retry_after_s = retry_after_s,
					  .is_final = problem_is_final(first)});
}

void reply_refuse_status(struct request *r, int status, const char *why)
{
	enum problem_code code = problem_from_status(status);
	struct problem problem = borrow_problem(code, why);

	send_refusal(r, &(struct refusal){.status = status,
					  .problems = &problem,
					  .problems_len = 1,
					  .retry_after_s = status == 503 ? 1 : 0,
					  .is_final = problem_is_final(code)});
}
