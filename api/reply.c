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
#define LIMIT_FIELD_SIZE (REQUEST_LIMITS_MAX * 96)
struct limit_fields {
	char policy[LIMIT_FIELD_SIZE];
	char state[LIMIT_FIELD_SIZE];
};

static void reply_add_limits(struct reply *reply, const struct request *r, struct limit_fields *fields)
{
	size_t policy = 0, state = 0;

	for (unsigned i = 0; i < r->limits_len; i++) {
		const struct request_limit *l = &r->limits[i];
		const char *comma = i > 0 ? ", " : "";

		policy += (size_t)snprintf(fields->policy + policy, sizeof(fields->policy) - policy,
					   "%s\"%s\";q=%llu;w=%llu", comma, l->name,
					   (unsigned long long)l->quota, (unsigned long long)l->window_s);
		state += (size_t)snprintf(fields->state + state, sizeof(fields->state) - state,
					  "%s\"%s\";r=%llu;t=%llu", comma, l->name,
					  (unsigned long long)l->left, (unsigned long long)l->reset_s);
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

void reply_begin(struct json_writer *w, struct buf *b)
{
	json_writer_init(w, b);
	json_open_object(w);
	json_put_bool_member(w, "success", true);
	json_put_name(w, "errors");
	json_put_raw(w, "[]");
	json_put_name(w, "messages");
	json_put_raw(w, "[]");
	json_put_name(w, "result");
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

static void send_result(struct request *r, int status, const char *result, const char *result_info,
			struct http_header more)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, REPLY_BODY_MAX);
	reply_begin(&w, &b);
	json_put_raw(&w, result);
	send_written(r, status, &w, result_info, more);
	buf_release(&b);
}

void reply_result(struct request *r, int status, const char *result, const char *result_info)
{
	send_result(r, status, result, result_info, (struct http_header){0});
}

void reply_created(struct request *r, const char *result, const char *location)
{
	send_result(r, 201, result, NULL, (struct http_header){"Location", location});
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
	json_put_name(w, "errors");
	json_open_array(w);
	for (size_t i = 0; i < refusal->problems_len; i++)
		put_problem(w, &refusal->problems[i]);
	json_close(w);
	json_put_name(w, "messages");
	json_put_raw(w, "[]");
	json_put_name(w, "result");
	json_put_null(w);
	json_close(w);
}

static void send_refusal(struct request *r, const struct refusal *refusal)
{
	struct reply reply = {.status = refusal->status, .body_is_given = true};
	const char *challenge = auth_challenge(r, refusal->problems[0].code);
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
	if (refusal->retry_after_s > 0) {
		snprintf(seconds, sizeof(seconds), "%u", refusal->retry_after_s);
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
