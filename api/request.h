/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request as the api sees it, without an HTTP library.  daemon/http.c
 * fills it, api_handle answers it through `reply`, exactly once, now or later,
 * on the loop's thread.  The request stays valid until `reply` returns.
 */
#ifndef CSRD_API_REQUEST_H
#define CSRD_API_REQUEST_H

#include "base/address.h"
#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer; /* base/identity.h */

enum http_method {
	HTTP_GET = 1,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_DELETE,
	HTTP_OPTIONS,
	HTTP_PATCH,
	HTTP_OTHER,
};

/* As it is written on the wire; "?" for HTTP_OTHER. */
const char *http_method_name(enum http_method method);
/* Case-sensitive (RFC 9110 §9.1).  HTTP_OTHER: a method that csrd does not know. */
enum http_method http_method_parse(const char *name);

struct http_header {
	const char *name;
	const char *value;
};

#define API_REPLY_HEADERS_MAX 10
#define REQUEST_ID_SIZE 37

struct reply {
	int status;
	struct http_header headers[API_REPLY_HEADERS_MAX]; /* borrowed until reply returns */
	size_t headers_len;
	char *body; /* JSON; NULL when body_len is 0; not to be changed */
	size_t body_len;
	bool body_is_given; /* malloc(3)ed, the transport frees it; else borrowed until reply returns */
};

/* One limit that a request was counted by, and what is left of it (api/limit.h). */
#define REQUEST_LIMITS_MAX 3
struct request_limit {
	const char *name; /* static text */
	uint64_t quota;
	uint64_t window_s;
	uint64_t left;
	uint64_t reset_s; /* until all of the quota is there again */
};

struct request {
	/* Filled by the daemon; borrowed until `reply` returns. */
	enum http_method method;
	const char *path;  /* raw, starts with '/', without the query; "*" for OPTIONS *; "" when refused */
	const char *query; /* raw, without '?'; NULL when there is none */
	/* The first value of a field, without blanks around it, or NULL. */
	const char *(*header)(const struct request *r, const char *name);
	const char *body; /* not NUL-terminated; NULL when body_len is 0 */
	size_t body_len;
	struct address caller; /* to judge by; ADDRESS_UNIX for a unix socket */
	/* The same for people: "127.0.0.1:41234", "unix"; with the proxies that told it behind "via". */
	const char *peer;
	const struct peer *known; /* who is there, by a certificate or as a user of this machine; or NULL */
	bool over_tls;
	uint64_t deadline_ms;     /* clock_ms() */
	char id[REQUEST_ID_SIZE]; /* X-Request-Id: made by the daemon */
	void (*reply)(struct request *r, const struct reply *reply);
	void *transport;                                 /* the daemon's own */
	struct request_limit limits[REQUEST_LIMITS_MAX]; /* filled by the api */
	unsigned limits_len;
	unsigned route; /* filled by api_handle: route_number (route.h); 0: no route, or refused before */
};

#endif
