/* The envelope and the headers of every answer. */
#include "api/reply.h"

#include "api/json.h"
#include "base/buf.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

/*
 * The largest answer is a page of 50 CSRs: each at most 150 SANs of 255 bytes,
 * a PEM of 64 KiB of DER and some kilobytes more.
 */
#define BODY_MAX ((size_t)16 * 1024 * 1024)

static const char out_of_memory[] =
    "{\"success\":false,\"errors\":[{\"code\":1503,\"message\":\"not available at the moment; try again\"}],"
    "\"messages\":[],\"result\":null}";

static void add_header(struct reply *reply, const char *name, const char *value)
{
	reply->headers[reply->headers_len++] = (struct http_header){ name, value };
}

static void send_body(struct request *r, int status, const char *body, size_t body_len,
		      unsigned retry_after_s, const char *allow, bool is_final)
{
	struct reply reply = { .status = status, .body = body, .body_len = body_len };
	char seconds[16];

	add_header(&reply, "Content-Type", "application/json");
	add_header(&reply, "X-Request-Id", r->id);
	add_header(&reply, "Cache-Control", "no-store");
	if (retry_after_s > 0) {
		snprintf(seconds, sizeof(seconds), "%u", retry_after_s);
		add_header(&reply, "Retry-After", seconds);
	}
	if (allow)
		add_header(&reply, "Allow", allow);
	if (status == 401)
		add_header(&reply, "WWW-Authenticate", "Bearer");
	if (is_final)
		add_header(&reply, "x-should-retry", "false");
	r->reply(r, &reply);
}

static void send_out_of_memory(struct request *r)
{
	send_body(r, 503, out_of_memory, sizeof(out_of_memory) - 1, 5, NULL, false);
}

void reply_result(struct request *r, int status, const char *result, const char *result_info)
{
	struct log_context context = { .request_id = r->id };
	struct json_writer w;
	struct buf b;

	buf_init(&b, BODY_MAX);
	json_writer_init(&w, &b);
	json_open_object(&w);
	json_put_bool_member(&w, "success", true);
	json_put_name(&w, "errors");
	json_put_raw(&w, "[]");
	json_put_name(&w, "messages");
	json_put_raw(&w, "[]");
	json_put_name(&w, "result");
	json_put_raw(&w, result);
	if (result_info) {
		json_put_name(&w, "result_info");
		json_put_raw(&w, result_info);
	}
	json_close(&w);
	if (buf_status(&b)) {
		log_write(LOG_LEVEL_ERROR, &context, "cannot build the answer: %s", err_str(buf_status(&b)));
		send_out_of_memory(r);
	} else {
		send_body(r, status, buf_text(&b), b.len, 0, NULL, false);
	}
	buf_release(&b);
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
	const char *allow;
	bool is_final;
};

static void refuse(struct request *r, const struct refusal *refusal)
{
	struct json_writer w;
	struct buf b;

	buf_init(&b, BODY_MAX);
	json_writer_init(&w, &b);
	json_open_object(&w);
	json_put_bool_member(&w, "success", false);
	json_put_name(&w, "errors");
	json_open_array(&w);
	for (size_t i = 0; i < refusal->problems_len; i++)
		put_problem(&w, &refusal->problems[i]);
	json_close(&w);
	json_put_name(&w, "messages");
	json_put_raw(&w, "[]");
	json_put_name(&w, "result");
	json_put_null(&w);
	json_close(&w);
	if (buf_status(&b))
		send_out_of_memory(r);
	else
		send_body(r, refusal->status, buf_text(&b), b.len, refusal->retry_after_s, refusal->allow,
		          refusal->is_final);
	buf_release(&b);
}

/* A problem for the time of one call; text is not changed. */
static struct problem borrow_problem(enum problem_code code, const char *message)
{
	return (struct problem){ .code = code,
				 .message = (char *)(uintptr_t)(message ? message : problem_text(code)) };
}

void reply_refuse(struct request *r, const struct reply_refusal *refusal)
{
	struct problem problem = borrow_problem(refusal->code, refusal->message);

	refuse(r, &(struct refusal){ .status = problem_status(refusal->code),
	                             .problems = &problem,
	                             .problems_len = 1,
	                             .retry_after_s = refusal->retry_after_s,
	                             .allow = refusal->allow,
	                             .is_final = problem_is_final(refusal->code) });
}

void reply_refuse_list(struct request *r, const struct problem_list *list, unsigned retry_after_s)
{
	enum problem_code first = list->items[0].code;

	refuse(r, &(struct refusal){ .status = problem_status(first),
	                             .problems = list->items,
	                             .problems_len = list->len,
	                             .retry_after_s = retry_after_s,
	                             .is_final = problem_is_final(first) });
}

void reply_refuse_status(struct request *r, int status, const char *why)
{
	enum problem_code code = problem_from_status(status);
	struct problem problem = borrow_problem(code, why);

	refuse(r, &(struct refusal){ .status = status,
	                             .problems = &problem,
	                             .problems_len = 1,
	                             .retry_after_s = status == 503 ? 1 : 0,
	                             .is_final = problem_is_final(code) });
}
