/* SPDX-License-Identifier: Apache-2.0 */
/* Routes: exactly these, and nothing that looks like them (F11, F12). */
#include "tests/unit/cmocka_all.h"

#include "api/op.h"
#include "api/route.h"

#include <string.h>

#define ID "7b163417-1d2b-4c84-a38a-2fb7a0cd7752"
#define TAG32 "023e105f4ecef8ad9ca31a8372d0c353"

struct row {
	enum http_method method;
	const char *path;
	enum err e;
	void (*start)(struct op *op);
	enum store_scope_kind kind;
	const char *scope;
	const char *csr_id;
	const char *allow;
};

#define OK(method, path, start, kind, scope, id)                                                             \
	{                                                                                                    \
		HTTP_##method, path, E_OK, start, kind, scope, id, NULL                                      \
	}
#define NONE(path)                                                                                           \
	{                                                                                                    \
		HTTP_GET, path, E_NOTFOUND, NULL, 0, NULL, NULL, NULL                                        \
	}
#define NOT(method, path, allow)                                                                             \
	{                                                                                                    \
		HTTP_##method, path, E_UNSUPPORTED, NULL, 0, NULL, NULL, allow                               \
	}

static const struct row rows[] = {
    OK(GET, "/client/v4/accounts/a/custom_csrs", csr_list_start, STORE_ACCOUNT, "a", ""),
    OK(POST, "/client/v4/accounts/account_id/custom_csrs", csr_create_start, STORE_ACCOUNT, "account_id", ""),
    OK(POST, "/client/v4/zones/zone_id/custom_csrs", csr_create_start, STORE_ZONE, "zone_id", ""),
    OK(GET, "/accounts/" TAG32 "/custom_csrs", csr_list_start, STORE_ACCOUNT, TAG32, ""),
    OK(GET, "/zones/z-Z_9/custom_csrs", csr_list_start, STORE_ZONE, "z-Z_9", ""),
    OK(GET, "/client/v4/accounts/a/custom_csrs/" ID, csr_get_start, STORE_ACCOUNT, "a", ID),
    OK(DELETE, "/zones/z/custom_csrs/" ID, csr_delete_start, STORE_ZONE, "z", ID),
    OK(GET, "/zones/z/custom_csrs/7B163417-1D2B-4C84-A38A-2FB7A0CD7752", csr_get_start, STORE_ZONE, "z", ID),
    OK(GET, "/client/v4/user/tokens/verify", token_verify_start, 0, "", ""),
    OK(GET, "/user/tokens/verify", token_verify_start, 0, "", ""),
    OK(GET, "/client/v4/accounts/a/tokens/verify", token_verify_start, STORE_ACCOUNT, "a", ""),
    OK(GET, "/healthz", health_alive, 0, "", ""),
    OK(GET, "/readyz", health_ready, 0, "", ""),
    OK(GET, "/openapi.json", openapi_start, 0, "", ""),
    NONE("/client/v4/openapi.json"),
    /* ids that are not one: the route is known, the id is empty */
    OK(GET, "/accounts/a/custom_csrs/x", csr_get_start, STORE_ACCOUNT, "a", ""),
    OK(DELETE, "/accounts/a/custom_csrs/" ID "0", csr_delete_start, STORE_ACCOUNT, "a", ""),
    OK(GET, "/accounts/a/custom_csrs/7b1634171d2b4c84a38a2fb7a0cd7752", csr_get_start, STORE_ACCOUNT, "a",
       ""),
    OK(GET, "/accounts/a/custom_csrs/..", csr_get_start, STORE_ACCOUNT, "a", ""),
    OK(GET, "/accounts/a/custom_csrs/%37b163417-1d2b-4c84-a38a-2fb7a0cd7752", csr_get_start, STORE_ACCOUNT,
       "a", ""),
    OK(GET, "/accounts/a/custom_csrs/';DROP TABLE csrs;--", csr_get_start, STORE_ACCOUNT, "a", ""),
    OK(GET, "/accounts/a/custom_csrs/", csr_refuse_no_id, STORE_ACCOUNT, "a", ""),
    OK(POST, "/accounts/a/custom_csrs/", csr_refuse_no_id, STORE_ACCOUNT, "a", ""),
    OK(DELETE, "/client/v4/zones/a/custom_csrs/", csr_refuse_no_id, STORE_ZONE, "a", ""),
    /* a scope left empty */
    OK(GET, "/accounts//custom_csrs", csr_list_start, STORE_ACCOUNT, "", ""),
    OK(POST, "/client/v4/zones//custom_csrs", csr_create_start, STORE_ZONE, "", ""),
    /* methods */
    NOT(OPTIONS, "/accounts/a/custom_csrs", "GET, HEAD, POST, OPTIONS"),
    NOT(OPTIONS, "*", "GET, HEAD, POST, DELETE, OPTIONS"),
    NOT(OPTIONS, "/", "GET, HEAD, POST, DELETE, OPTIONS"),
    NOT(DELETE, "/accounts/a/custom_csrs", "GET, HEAD, POST, OPTIONS"),
    NOT(PUT, "/accounts/a/custom_csrs/" ID, "GET, HEAD, DELETE, OPTIONS"),
    NOT(PATCH, "/accounts/a/custom_csrs/" ID, "GET, HEAD, DELETE, OPTIONS"),
    NOT(POST, "/accounts/a/custom_csrs/" ID, "GET, HEAD, DELETE, OPTIONS"),
    NOT(OTHER, "/accounts/a/custom_csrs/" ID, "GET, HEAD, DELETE, OPTIONS"),
    NOT(PUT, "/accounts/a/custom_csrs/", "GET, HEAD, POST, DELETE, OPTIONS"),
    NOT(POST, "/user/tokens/verify", "GET, HEAD, OPTIONS"),
    NOT(POST, "/healthz", "GET, HEAD, OPTIONS"),
    NOT(POST, "/readyz", "GET, HEAD, OPTIONS"),
    /* nothing of ours */
    NONE("/"),
    NONE(""),
    NONE("*"),
    NONE("/client/v4"),
    NONE("/client/v4/"),
    NONE("/client/v4/healthz"),
    NONE("/client/v3/accounts/a/custom_csrs"),
    NONE("/client/v4/client/v4/accounts/a/custom_csrs"),
    NONE("//client/v4/accounts/a/custom_csrs"),
    NONE("/client//v4/accounts/a/custom_csrs"),
    NONE("/client/v4//accounts/a/custom_csrs"),
    NONE("//evil/client/v4/accounts/a/custom_csrs"),
    NONE("http://evil/client/v4/accounts/a/custom_csrs"),
    NONE("/CLIENT/v4/accounts/a/custom_csrs"),
    NONE("/accounts/a/Custom_csrs"),
    NONE("/accounts/a/custom_csr"),
    NONE("/accounts/a/custom_csrss"),
    NONE("/accounts/a/custom_csrs;x"),
    NONE("/accounts/a/custom_csrs//"),
    NONE("/accounts/a/custom_csrs/" ID "/"),
    NONE("/accounts/a/custom_csrs/" ID "/x"),
    NONE("/accounts/a//custom_csrs"),
    NONE("/accounts/a"),
    NONE("/accounts/"),
    NONE("/accounts"),
    NONE("/accounts/custom_csrs"),
    NONE("/accounts/" TAG32 "0/custom_csrs"),
    NONE("/accounts/a%2fb/custom_csrs"),
    NONE("/accounts/%61/custom_csrs"),
    NONE("/accounts/a%00/custom_csrs"),
    NONE("/accounts/../custom_csrs"),
    NONE("/accounts/./custom_csrs"),
    NONE("/accounts/a b/custom_csrs"),
    NONE("/accounts/\xc3\xa9/custom_csrs"),
    NONE("/accounts/a;b/custom_csrs"),
    NONE("/zones/a/tokens/verify"),
    NONE("/user/tokens/verify/"),
    NONE("/user/tokens"),
    NONE("/healthz/"),
    NONE("/readyz?"),
};

static void routes_are_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct route route = {0};
		char allow[ROUTE_ALLOW_SIZE] = "";
		enum err e = route_find(row->method, row->path, &route, allow);

		if (e != row->e)
			fail_msg("'%s': %s", row->path, err_str(e));
		if (row->allow)
			assert_string_equal(allow, row->allow);
		if (e != E_OK)
			continue;
		if (route.rule->start != row->start || route.scope.kind != row->kind ||
		    strcmp(route.scope.id, row->scope) != 0 || strcmp(route.csr_id, row->csr_id) != 0)
			fail_msg("'%s': '%s', scope %d '%s', id '%s'", row->path, route.rule->pattern,
				 (int)route.scope.kind, route.scope.id, route.csr_id);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(routes_are_exact),
	};

	return cmocka_run_group_tests_name("api_route", tests, NULL, NULL);
}
