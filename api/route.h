/*
 * From method and raw path to what is asked for.  Paths are compared byte by
 * byte: nothing is decoded, joined or folded, so "%2e" and ".." are just
 * names that fit nowhere.
 */
#ifndef CSRD_API_ROUTE_H
#define CSRD_API_ROUTE_H

#include "api/request.h"
#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdbool.h>

enum route_action {
	ROUTE_CSR_LIST = 1,
	ROUTE_CSR_CREATE,
	ROUTE_CSR_GET,
	ROUTE_CSR_DELETE,
	ROUTE_CSR_NO_ID, /* ".../custom_csrs/": the id is empty */
	ROUTE_TOKEN_VERIFY,
	ROUTE_HEALTHZ,
	ROUTE_READYZ,
};

struct route {
	enum route_action action;
	struct store_scope scope; /* kind 0: none in the path; id "": left empty in the path */
	char csr_id[CSR_ID_SIZE]; /* lower case; "": none, or what stands there is no UUID */
};

/*
 * HEAD is routed as GET.  E_NOTFOUND: no such route.  E_UNSUPPORTED: not with
 * this method, or OPTIONS; *ret_allow (static text) names those that are.
 */
MUST_USE enum err route_find(enum http_method method, const char *path, struct route *ret_route,
                             const char **ret_allow);

/* For a path that is no route: words about a slash too many, the usual mistake; else NULL. */
const char *route_hint(const char *path);

#endif
