/* SPDX-License-Identifier: Apache-2.0 */
/* Which schema steps a database gets, over a database that is only a number. */
#include "base/log.h"
#include "store/migrate.h"
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

struct database {
	int version;
	int fails_at; /* the step that fails; 0: none */
	char trail[64];
};

static enum err read_version(void *db, int *ret_version)
{
	*ret_version = ((struct database *)db)->version;
	return E_OK;
}

static enum err apply(void *db, const struct migrate_step *step)
{
	struct database *d = db;

	if (step->version == d->fails_at)
		return E_STORE;
	strcat(d->trail, step->name);
	d->version = step->version;
	return E_OK;
}

static const struct migrate_step steps[] = {{1, "one ", ""}, {2, "two ", ""}, {3, "three ", ""}};

static enum err run(struct database *d)
{
	const struct migrate_driver driver = {
	    .db = d, .subject = "test", .version = read_version, .apply = apply};

	return migrate_run(&driver, steps, 3);
}

static void missing_steps_are_run_in_order(void **state)
{
	static const char *const expected[] = {"one two three ", "two three ", "three ", ""};

	(void)state;
	for (int version = 0; version <= 3; version++) {
		struct database d = {.version = version};

		assert_int_equal(run(&d), E_OK);
		assert_string_equal(d.trail, expected[version]);
		assert_int_equal(d.version, 3);
	}
}

static void first_error_stops_and_keeps_what_was_done(void **state)
{
	struct database d = {.fails_at = 2};

	(void)state;
	assert_int_equal(run(&d), E_STORE);
	assert_int_equal(d.version, 1);
	d.fails_at = 0;
	assert_int_equal(run(&d), E_OK);
	assert_string_equal(d.trail, "one two three ");
}

static void newer_database_is_left_alone(void **state)
{
	struct database d = {.version = 4};

	(void)state;
	assert_int_equal(run(&d), E_STORE);
	assert_int_equal(d.version, 4);
	assert_string_equal(d.trail, "");
}

static void embedded_steps_are_numbered_without_gaps(void **state)
{
	size_t len;
	const struct migrate_step *embedded = migrate_steps(&len);

	(void)state;
	assert_true(len >= 1);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(embedded[i].version, i + 1);
		assert_true(strlen(embedded[i].name) > 0);
		assert_true(strlen(embedded[i].sql) > 0);
	}
	assert_string_equal(embedded[0].name, "initial");
}

int main(void)
{
	const struct CMUnitTest cases[] = {
	    cmocka_unit_test(missing_steps_are_run_in_order),
	    cmocka_unit_test(first_error_stops_and_keeps_what_was_done),
	    cmocka_unit_test(newer_database_is_left_alone),
	    cmocka_unit_test(embedded_steps_are_numbered_without_gaps),
	};

	log_open("store_migrate_test", LOG_LEVEL_WARN);
	return cmocka_run_group_tests_name("store: migrate", cases, NULL, NULL);
}
