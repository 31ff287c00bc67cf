/* The routes of the contract, with and without their base path. */
#include "api/route.h"

#include "api/credential.h"
#include "base/str.h"

#include <string.h>

#define BASE_PATH "/client/v4"

/* What a path names; which methods it takes is said by `methods`. */
enum target {
	TARGET_COLLECTION,
	TARGET_ITEM,
	TARGET_NO_ID,
	TARGET_VERIFY,
	TARGET_HEALTHZ,
	TARGET_READYZ,
	TARGET_SERVER, /* of OPTIONS alone */
};

static const struct {
	const char *allow;
	enum route_action get;
	enum route_action post;
	enum route_action delete;
} methods[] = {
	[TARGET_COLLECTION] = { "GET, HEAD, POST, OPTIONS", ROUTE_CSR_LIST, ROUTE_CSR_CREATE, 0 },
	[TARGET_ITEM] = { "GET, HEAD, DELETE, OPTIONS", ROUTE_CSR_GET, 0, ROUTE_CSR_DELETE },
	[TARGET_NO_ID] = { "GET, HEAD, POST, DELETE, OPTIONS", ROUTE_CSR_NO_ID, ROUTE_CSR_NO_ID,
			   ROUTE_CSR_NO_ID },
	[TARGET_VERIFY] = { "GET, HEAD, OPTIONS", ROUTE_TOKEN_VERIFY, 0, 0 },
	[TARGET_HEALTHZ] = { "GET, HEAD, OPTIONS", ROUTE_HEALTHZ, 0, 0 },
	[TARGET_READYZ] = { "GET, HEAD, OPTIONS", ROUTE_READYZ, 0, 0 },
	[TARGET_SERVER] = { "GET, HEAD, POST, DELETE, OPTIONS", 0, 0, 0 },
};

/* Moves *at behind `text` when it starts with it. */
static bool skip(const char **at, const char *text)
{
	if (!str_starts_with(*at, text))
		return false;
	*at += strlen(text);
	return true;
}

/* The part up to the next slash or the end: an id, or nothing at all. */
static bool take_tag(const char **at, char tag[STORE_TAG_SIZE])
{
	size_t len = strcspn(*at, "/");

	if (len >= STORE_TAG_SIZE)
		return false;
	memcpy(tag, *at, len);
	tag[len] = '\0';
	*at += len;
	return len == 0 || credential_tag_is_valid(tag);
}

static void take_csr_id(const char *at, char id[CSR_ID_SIZE])
{
	if (!str_is_uuid(at))
		return;
	for (size_t i = 0; i < CSR_ID_SIZE; i++)
		id[i] = str_ascii_lower(at[i]);
}

/* Behind "/accounts/" or "/zones/". */
static bool find_in_scope(const char *at, struct route *route, enum target *ret_target)
{
	if (!take_tag(&at, route->scope.id))
		return false;
	if (strcmp(at, "/custom_csrs") == 0) {
		*ret_target = TARGET_COLLECTION;
		return true;
	}
	if (skip(&at, "/custom_csrs/")) {
		if (strchr(at, '/'))
			return false;
		*ret_target = *at == '\0' ? TARGET_NO_ID : TARGET_ITEM;
		take_csr_id(at, route->csr_id);
		return true;
	}
	*ret_target = TARGET_VERIFY;
	return route->scope.kind == STORE_ACCOUNT && strcmp(at, "/tokens/verify") == 0;
}

static bool find_target(const char *path, struct route *route, enum target *ret_target)
{
	const char *at = path;

	if (strcmp(path, "/healthz") == 0) {
		*ret_target = TARGET_HEALTHZ;
		return true;
	}
	if (strcmp(path, "/readyz") == 0) {
		*ret_target = TARGET_READYZ;
		return true;
	}
	skip(&at, BASE_PATH);
	if (strcmp(at, "/user/tokens/verify") == 0) {
		*ret_target = TARGET_VERIFY;
		return true;
	}
	if (skip(&at, "/accounts/"))
		route->scope.kind = STORE_ACCOUNT;
	else if (skip(&at, "/zones/"))
		route->scope.kind = STORE_ZONE;
	else
		return false;
	return find_in_scope(at, route, ret_target);
}

enum err route_find(enum http_method method, const char *path, struct route *ret_route,
		    const char **ret_allow)
{
	struct route route = { 0 };
	enum target target;

	if (method == HTTP_OPTIONS && (strcmp(path, "*") == 0 || strcmp(path, "/") == 0)) {
		*ret_allow = methods[TARGET_SERVER].allow;
		return E_UNSUPPORTED;
	}
	if (!find_target(path, &route, &target))
		return E_NOTFOUND;
	if (method == HTTP_GET || method == HTTP_HEAD)
		route.action = methods[target].get;
	else if (method == HTTP_POST)
		route.action = methods[target].post;
	else if (method == HTTP_DELETE)
		route.action = methods[target].delete;
	if (!route.action) {
		*ret_allow = methods[target].allow;
		return E_UNSUPPORTED;
	}
	*ret_route = route;
	return E_OK;
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
