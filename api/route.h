/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP contract on one screen: which methods and paths there are, what a
 * credential must permit, and who answers (route.c: routes).  Paths are
 * compared byte by byte: nothing is decoded, joined or folded, so "%2e" and
 * ".." are just names that match nothing.
 */
#ifndef CSRD_API_ROUTE_H
#define CSRD_API_ROUTE_H

#include "api/request.h"
#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdbool.h>

#define ROUTE_ALLOW_SIZE 64

struct op;

/* What the OpenAPI document says of a rule, beyond what the rule says itself. */
struct route_operation {
	const char *id; /* operationId; '*' in it stands for Account or Zone */
	const char *tag;
	const char *summary;
	int status;                /* when it succeeds */
	const char *schema;        /* of the result, in components/schemas; NULL: the answer is no envelope */
	const char *parameters[2]; /* in components/parameters */
	bool is_page; /* the answer is a page: it has the parameters of api/page.h and result_info */
};

/* One row of the contract. */
struct route_rule {
	enum http_method method; /* HTTP_GET: HEAD as well */
	/*
	 * Literal except {base}, "/client/v4" or nothing; {scope}, "accounts/ID" or "zones/ID";
	 * {account}, an ID; and {csr}, any non-empty text without a slash.
	 */
	const char *pattern;
	enum grant_permission permission; /* 0: any valid credential */
	bool is_open;                     /* no credential is needed */
	void (*start)(struct op *op);     /* called once the principal is authorised */
	/*
	 * NULL, or called before it is known whether the op is permitted: asks the store, in one question,
	 * for the principal and for what `start` will need, and calls op_admit with the answer.
	 */
	void (*look)(struct op *op);
	const struct route_operation *operation; /* NULL: it only refuses, and the document leaves it out */
};

/* A path that matches a rule, and what it names. */
struct route {
	const struct route_rule *rule; /* NULL: none matches */
	struct store_scope scope;      /* kind 0: none in the path; id "": left empty in the path */
	bool has_csr;                  /* the pattern has {csr} */
	char csr_id[CSR_ID_SIZE];      /* lower case; "": none, or what stands there is no UUID */
};

/*
 * HEAD is routed as GET.  E_NOTFOUND: no such path.  E_UNSUPPORTED: not with this method, or it is OPTIONS;
 * ret_allow lists the methods that the path accepts, as a value for Allow.
 */
MUST_USE enum err route_find(enum http_method method, const char *path, struct route *ret_route,
			     char ret_allow[ROUTE_ALLOW_SIZE]);

/* The rules by number, from 1 to ROUTE_NUMBER_MAX.  NULL: there is no such number. */
#define ROUTE_NUMBER_MAX 16
unsigned route_number(const struct route_rule *rule); /* 0 for NULL */
const struct route_rule *route_at(unsigned number);

/* For a path that is not a route: a hint about a surplus slash, the usual mistake; else NULL. */
const char *route_hint(const char *path);

#endif
