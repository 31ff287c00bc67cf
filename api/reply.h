/*
 * The envelope: every answer is one JSON object with success, errors, messages
 * and result, and with the same few headers.  Each function answers the
 * request, once and for good, also when memory is out.
 */
#ifndef CSRD_API_REPLY_H
#define CSRD_API_REPLY_H

#include "api/problem.h"
#include "api/request.h"

/* result and result_info are JSON; result_info NULL: left out. */
void reply_result(struct request *r, int status, const char *result, const char *result_info);

struct reply_refusal {
	enum problem_code code;
	const char *message;    /* NULL: the code's own text */
	unsigned retry_after_s; /* 0: no Retry-After */
	const char *allow;      /* of a 405; else NULL */
};
void reply_refuse(struct request *r, const struct reply_refusal *refusal);

/* The status is that of the first; the list is not empty. */
void reply_refuse_list(struct request *r, const struct problem_list *list, unsigned retry_after_s);

/* A refusal of the HTTP layer, with a status of its own choice. */
void reply_refuse_status(struct request *r, int status, const char *why);

#endif
