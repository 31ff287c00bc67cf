/* SPDX-License-Identifier: Apache-2.0 */
/* The name of the machine. */
#include "tests/unit/cmocka_all.h"

#include "base/node.h"

#include <stdio.h>

/* The linker puts this in the place of gethostname (tests.mk). */
static const char *host;
int __wrap_gethostname(char *name, size_t size);
int __wrap_gethostname(char *name, size_t size)
{
	if (!host)
		return -1;
	snprintf(name, size, "%s", host);
	return 0;
}

#define LONG_63 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"

static void a_node_is_named_by_the_operator_or_its_host(void **state)
{
	static const struct {
		const char *configured, *host, *name;
	} cases[] = {
	    {"blue", "h1", "blue"},         {NULL, "h1.example_2.org-x", "h1.example_2.org-x"},
	    {"", "H 1:\xc3\xa9", "H-1---"}, {NULL, "", "localhost"},
	    {NULL, NULL, "localhost"},      {NULL, LONG_63 "f", LONG_63},
	    {LONG_63 "f", "h1", LONG_63},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[NODE_NAME_MAX + 1];

		host = cases[i].host;
		node_name(cases[i].configured, name);
		assert_string_equal(name, cases[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_node_is_named_by_the_operator_or_its_host),
	};

	return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
