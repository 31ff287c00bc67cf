/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope: every answer with a body is one JSON object with success,
 * errors, messages and result, and with the same few headers.  Each function
 * that takes a request answers it, exactly once, even when out of memory.
 */
#ifndef CSRD_API_REPLY_H
#define CSRD_API_REPLY_H

#include "api/problem.h"
#include "api/request.h"
#include "base/buf.h"

struct json_writer;

/* result and result_info are JSON; result_info NULL: left out. */
void reply_result(struct request *r, int status, const char *result, const char *result_info);

/* 200, with `messages`. */
void reply_noted(struct request *r, const char *result, const struct problem_list *notes);

/* 200, with JSON that is no envelope; copied. */
void reply_document(struct request *r, const char *json, size_t len);

/* 201, with the path of what was made (RFC 9110 §9.3.3), and `messages`. */
void reply_created(struct request *r, const char *result, const char *location,
		   const struct problem_list *notes);

/*
 * A long result is written into its envelope: reply_begin, one value through
 * the writer, reply_end, which takes the memory of the writer's buffer.
 */
/* A page of 50 CSRs, each at most 150 SANs of 255 bytes, a PEM of 64 KiB of DER and some kilobytes more. */
#define REPLY_BODY_MAX ((size_t)16 * 1024 * 1024)
void reply_begin(struct json_writer *w, struct buf *b); /* b: initialised, of REPLY_BODY_MAX */
void reply_end(struct request *r, int status, struct json_writer *w, const char *result_info);

/* An answer without a body: 204 (allow: the methods that the target accepts) and 304 (allow NULL). */
void reply_bare(struct request *r, int status, const char *allow);

struct reply_refusal {
	enum problem_code code;
	const char *message;       /* NULL: the code's own text */
	unsigned retry_after_s;    /* 0: no Retry-After, but PROBLEM_RETRY_AFTER_S for a 503 */
	struct http_header header; /* one more, such as Allow of a 405; name NULL: none */
};
void reply_refuse(struct request *r, const struct reply_refusal *refusal);

/* The status is that of the first; the list is not empty. */
void reply_refuse_list(struct request *r, const struct problem_list *list, unsigned retry_after_s);

/* A refusal of the HTTP layer, with a status of its own choice. */
void reply_refuse_status(struct request *r, int status, const char *why);

#endif
