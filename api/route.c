/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the contract, with and without their base path. */
#include "api/route.h"

#include "api/credential.h"
#include "api/op.h"
#include "base/str.h"
#include "base/uuid.h"

#include <stdio.h>
#include <string.h>

#define BASE_PATH "/client/v4"
#define COLLECTION "{base}/{scope}/custom_csrs"

static const struct route_operation list = {
    "list*CustomCsrs", "Custom CSRs", "List CSRs", 200, "CustomCsrs", {NULL}, true,
};
static const struct route_operation create = {
    "create*CustomCsr",  "Custom CSRs", "Make a key pair and a CSR", 201, "CustomCsr",
    {"Idempotency-Key"}, false,
};
static const struct route_operation get = {
    "get*CustomCsr", "Custom CSRs", "Get a CSR", 200, "CustomCsr", {NULL}, false,
};
static const struct route_operation delete = {
    "delete*CustomCsr", "Custom CSRs", "Delete a CSR and destroy its key", 200, "DeletedCsr", {NULL}, false,
};
static const struct route_operation verify_account = {
    "verifyAccountToken", "Credentials", "Verify a credential", 200, "Credential", {NULL}, false,
};
static const struct route_operation verify_user = {
    "verifyUserToken", "Credentials", "Verify a credential", 200, "Credential", {NULL}, false,
};
static const struct route_operation alive = {
    "getHealth", "Service", "Is csrd alive?", 200, "Health", {NULL}, false,
};
static const struct route_operation ready = {
    "getReadiness", "Service", "Can csrd make keys?", 200, "Readiness", {"token", "verbose"}, false,
};
static const struct route_operation document = {
    "getOpenApi", "Service", "This document", 200, NULL, {NULL}, false,
};

static const struct route_rule routes[] = {
    {HTTP_GET, COLLECTION, GRANT_READ, false, csr_list_start, NULL, &list},
    {HTTP_POST, COLLECTION, GRANT_WRITE, false, csr_create_start, csr_create_look, &create},
    {HTTP_GET, COLLECTION "/{csr}", GRANT_READ, false, csr_get_start, csr_get_look, &get},
    {HTTP_DELETE, COLLECTION "/{csr}", GRANT_WRITE, false, csr_delete_start, NULL, &delete},
    {HTTP_GET, COLLECTION "/", GRANT_READ, false, csr_refuse_no_id, NULL, NULL},
    {HTTP_POST, COLLECTION "/", GRANT_READ, false, csr_refuse_no_id, NULL, NULL},
    {HTTP_DELETE, COLLECTION "/", GRANT_READ, false, csr_refuse_no_id, NULL, NULL},
    {HTTP_GET, "{base}/accounts/{account}/tokens/verify", 0, false, token_verify_start, NULL,
     &verify_account},
    {HTTP_GET, "{base}/user/tokens/verify", 0, false, token_verify_start, NULL, &verify_user},
    {HTTP_GET, "/healthz", 0, true, health_alive, NULL, &alive},
    {HTTP_GET, "/readyz", 0, true, health_ready, NULL, &ready},
    {HTTP_GET, "/openapi.json", 0, true, openapi_start, NULL, &document},
};

#define ROUTES (sizeof(routes) / sizeof(routes[0]))
_Static_assert(ROUTES <= ROUTE_NUMBER_MAX, "each rule has a number");

unsigned route_number(const struct route_rule *rule)
{
	return rule ? (unsigned)(rule - routes) + 1 : 0;
}

const struct route_rule *route_at(unsigned number)
{
	return number >= 1 && number <= ROUTES ? &routes[number - 1] : NULL;
}

/* ---- a path and a pattern ---- */

/* Moves *at behind `text` when it starts with it. */
static bool path_skip(const char **at, const char *text)
{
	if (!str_starts_with(*at, text))
		return false;
	*at += strlen(text);
	return true;
}

/* The part up to the next slash or the end: an id, or nothing at all. */
static bool path_take_tag(const char **at, struct store_scope *scope)
{
	size_t len = strcspn(*at, "/");

	if (len >= sizeof(scope->id))
		return false;
	memcpy(scope->id, *at, len);
	scope->id[len] = '\0';
	*at += len;
	return len == 0 || credential_tag_is_valid(scope->id);
}

static bool path_take_scope(const char **at, struct store_scope *scope)
{
	if (path_skip(at, "accounts/"))
		scope->kind = STORE_ACCOUNT;
	else if (path_skip(at, "zones/"))
		scope->kind = STORE_ZONE;
	return scope->kind && path_take_tag(at, scope);
}

static bool path_take_csr(const char **at, struct route *route)
{
	size_t len = strcspn(*at, "/");

	route->has_csr = true;
	if (!uuid_parse(*at, route->csr_id))
		route->csr_id[0] = '\0';
	*at += len;
	return len > 0;
}

static bool path_fits(const char *path, const char *pattern, struct route *route)
{
	bool fits = true;

	while (fits && *pattern != '\0') {
		if (path_skip(&pattern, "{base}")) {
			path_skip(&path, BASE_PATH);
		} else if (path_skip(&pattern, "{scope}")) {
			fits = path_take_scope(&path, &route->scope);
		} else if (path_skip(&pattern, "{account}")) {
			route->scope.kind = STORE_ACCOUNT;
			fits = path_take_tag(&path, &route->scope);
		} else if (path_skip(&pattern, "{csr}")) {
			fits = path_take_csr(&path, route);
		} else {
			fits = *path == *pattern;
			path += fits;
			pattern++;
		}
	}
	return fits && *path == '\0';
}

/* ---- methods ---- */

#define METHOD_BIT(method) (1U << (method))

static void methods_write(unsigned methods, char ret_allow[ROUTE_ALLOW_SIZE])
{
	static const enum http_method order[] = {HTTP_GET,   HTTP_HEAD,   HTTP_POST,   HTTP_PUT,
						 HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS};
	size_t used = 0;

	if (methods & METHOD_BIT(HTTP_GET))
		methods |= METHOD_BIT(HTTP_HEAD);
	methods |= METHOD_BIT(HTTP_OPTIONS);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (methods & METHOD_BIT(order[i]))
			used += (size_t)snprintf(ret_allow + used, ROUTE_ALLOW_SIZE - used, "%s%s",
						 used > 0 ? ", " : "", http_method_name(order[i]));
	}
}

enum err route_find(enum http_method method, const char *path, struct route *ret_route,
		    char ret_allow[ROUTE_ALLOW_SIZE])
{
	bool is_server = method == HTTP_OPTIONS && (strcmp(path, "*") == 0 || strcmp(path, "/") == 0);
	enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
	unsigned methods = 0;

	for (size_t i = 0; i < ROUTES; i++) {
		struct route route = {.rule = &routes[i]};

		if (!is_server && !path_fits(path, routes[i].pattern, &route))
			continue;
		methods |= METHOD_BIT(routes[i].method);
		if (routes[i].method == wanted) {
			*ret_route = route;
			return E_OK;
		}
	}
	if (!methods)
		return E_NOTFOUND;
	methods_write(methods, ret_allow);
	return E_UNSUPPORTED;
}

const char *route_hint(const char *path)
{
	size_t len = strlen(path);

	if (strstr(path, "//"))
		return "no such route: the path has two slashes in a row; does the base URL end in one?";
	if (len > 1 && path[len - 1] == '/')
		return "no such route: the path ends in a slash; leave it out";
	return NULL;
}
