/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be wrong with a request, as clients see it: the numbers of the
 * HTTP contract (doc/api.md), one table of their HTTP status and words, and
 * the only place where an `enum err` becomes HTTP.
 */
#ifndef CSRD_API_PROBLEM_H
#define CSRD_API_PROBLEM_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Clients know these numbers: never renumber. */
enum problem_code {
	PROBLEM_NONE = 0,
	PROBLEM_RATE_LIMIT = 971,
	PROBLEM_CREDENTIAL = 1000,
	PROBLEM_BODY = 1400,
	PROBLEM_NO_SCOPE_ID = 1401,
	PROBLEM_NO_CREDENTIAL = 1402,
	PROBLEM_QUOTA = 1403,
	PROBLEM_DENIED = 1404,
	PROBLEM_COUNTRY = 1405,
	PROBLEM_STATE = 1406,
	PROBLEM_LOCALITY = 1407,
	PROBLEM_ORGANIZATION = 1408,
	PROBLEM_COMMON_NAME = 1409,
	PROBLEM_COMMON_NAME_LENGTH = 1410,
	PROBLEM_NO_SAN = 1411,
	PROBLEM_SAN = 1412,
	PROBLEM_SAN_NOT_ASCII = 1413,
	PROBLEM_SAN_RESERVED = 1414,
	PROBLEM_SAN_PUBLIC_SUFFIX = 1415,
	PROBLEM_SAN_EXAMPLE = 1416,
	PROBLEM_KEY_TYPE = 1417,
	PROBLEM_CSR_ID = 1418,
	PROBLEM_NO_CSR = 1419,
	PROBLEM_IN_USE = 1420,
	PROBLEM_IDEMPOTENCY = 1421,
	PROBLEM_INTERNAL = 1500,
	PROBLEM_UNAVAILABLE = 1503,
	PROBLEM_NO_ROUTE = 7003,
	PROBLEM_REQUEST = 10400,
	PROBLEM_METHOD = 10405,
	PROBLEM_REQUEST_TIMEOUT = 10408,
	PROBLEM_PRECONDITION = 10412,
	PROBLEM_TOO_LARGE = 10413,
	PROBLEM_TARGET_TOO_LONG = 10414,
	PROBLEM_MEDIA_TYPE = 10415,
	PROBLEM_EXPECTATION = 10417,
	PROBLEM_MISDIRECTED = 10421,
	PROBLEM_HEADERS_TOO_LARGE = 10431,
	PROBLEM_NOT_IMPLEMENTED = 10501,
	PROBLEM_HTTP_VERSION = 10505,
};

/* What a request must involve for a problem to arise. */
enum problem_place {
	PROBLEM_ANYWHERE = 1 << 0, /* HTTP, the store, memory */
	PROBLEM_OF_CREDENTIAL = 1 << 1,
	PROBLEM_OF_GRANT = 1 << 2,
	PROBLEM_OF_CSR_ID = 1 << 3,
	PROBLEM_OF_BODY = 1 << 4,
};
#define PROBLEM_PLACES 5

struct problem_row {
	enum problem_code code;
	int status;
	enum problem_place place; /* 0: at no route of the OpenAPI document */
	const char *text;         /* for when there is nothing more exact to say */
};

/* From 0; NULL past the last. */
const struct problem_row *problem_row_at(size_t nth);

int problem_status(enum problem_code code); /* 500 for an unknown code */
const char *problem_text(enum problem_code code);

/*
 * True when the answer must tell clients not to retry, since the same request
 * will be refused again: for everything except 408, 429 and 503.  Otherwise the
 * SDKs go by the status alone, and retry 408, 409, 429 and ≥ 500.
 */
bool problem_is_final(enum problem_code code);

/* The code of an error of the store or the HSM. */
enum problem_code problem_from_err(enum err e);
/* With less, the SDKs use up their retries before a signer that hung is back. */
#define PROBLEM_RETRY_AFTER_S 5
/* Seconds for Retry-After; 0: none is sent. */
unsigned problem_retry_after_s(enum err e);

/* The code of a refusal by the HTTP layer; PROBLEM_REQUEST for a status without one of its own. */
enum problem_code problem_from_status(int status);

/* ---- several at once ---- */

struct problem {
	enum problem_code code;
	char *message;
	char *pointer; /* JSON pointer (RFC 6901) into the body; NULL: not about the body */
};

#define PROBLEM_LIST_MAX 256 /* those past it are dropped */

/* Zero-initialise. */
struct problem_list {
	struct problem *items;
	size_t len;
	enum err status; /* E_NOMEM once an addition failed */
};
void problem_list_release(struct problem_list *list);
/* pointer is copied; NULL is fine.  format NULL: the code's own text. */
void problem_list_add(struct problem_list *list, enum problem_code code, const char *pointer,
		      const char *format, ...) PRINTF_LIKE(4, 5);

#endif
