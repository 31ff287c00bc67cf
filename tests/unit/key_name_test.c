/* SPDX-License-Identifier: Apache-2.0 */
/* Names of keys: one text for each 16 bytes, and no other is taken. */
#include "tests/unit/cmocka_all.h"

#include "base/key_name.h"

#include <string.h>

static void known_bytes_have_known_names(void **state)
{
	static const struct {
		uint8_t bytes[KEY_NAME_BYTES];
		const char *name;
	} known[] = {
	    {{0}, "csrd-aaaaaaaaaaaaaaaaaaaaaaaaaa"},
	    /* of base32(1): 000102030405060708090A0B0C0D0E0F */
	    {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, "csrd-aaaqeayeaudaocajbifqydiob4"},
	    {"foobarfoobarfoob", "csrd-mzxw6ytbojtg633cmfzgm33pmi"},
	};
	uint8_t ones[KEY_NAME_BYTES], back[KEY_NAME_BYTES];
	char name[KEY_NAME_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		key_name_format(name, known[i].bytes);
		assert_string_equal(name, known[i].name);
		assert_int_equal(strlen(name), KEY_NAME_LEN);
		assert_true(key_name_parse(name, back));
		assert_memory_equal(back, known[i].bytes, sizeof(back));
	}
	memset(ones, 0xff, sizeof(ones));
	key_name_format(name, ones);
	assert_string_equal(name, "csrd-77777777777777777777777774");
	assert_true(key_name_parse(name, back));
	assert_memory_equal(back, ones, sizeof(back));
}

/* Each single bit stands in the name, and comes back. */
static void each_bit_counts(void **state)
{
	char before[KEY_NAME_SIZE] = "";

	(void)state;
	for (unsigned bit = 0; bit < 8 * KEY_NAME_BYTES; bit++) {
		uint8_t bytes[KEY_NAME_BYTES] = {0}, back[KEY_NAME_BYTES];
		char name[KEY_NAME_SIZE];

		bytes[bit / 8] = (uint8_t)(0x80 >> bit % 8);
		key_name_format(name, bytes);
		assert_string_not_equal(name, before);
		assert_true(key_name_parse(name, back));
		assert_memory_equal(back, bytes, sizeof(back));
		memcpy(before, name, sizeof(before));
	}
}

static void nothing_else_is_a_name(void **state)
{
	static const char *const others[] = {
	    "",
	    "csrd-",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaaa",   /* one character less */
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaaaaa", /* one more */
	    "csrd-AAAAAAAAAAAAAAAAAAAAAAAAAA",  /* upper case */
	    "CSRD-aaaaaaaaaaaaaaaaaaaaaaaaaa",
	    "csrd:aaaaaaaaaaaaaaaaaaaaaaaaaa",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaa0a", /* no digits of base32 */
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaa1a",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaa8a",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaa=a",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaa a",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaaab", /* the spare bits are 01, 10, 11 */
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaaac",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaaad",
	    "csrd-aaaaaaaaaaaaaaaaaaaaaaaaa7",
	};
	uint8_t bytes[KEY_NAME_BYTES] = "unchanged";

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (key_name_parse(others[i], bytes))
			fail_msg("'%s' is taken for a name", others[i]);
	assert_string_equal((const char *)bytes, "unchanged");
}

static void new_names_are_new(void **state)
{
	char names[100][KEY_NAME_SIZE];
	uint8_t bytes[KEY_NAME_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(key_name_new(i % 2 ? "node-1" : "node-2", names[i]), E_OK);
		assert_true(key_name_parse(names[i], bytes));
		assert_int_equal(key_name_is_of_node(bytes, "node-1"), i % 2);
		assert_int_equal(key_name_is_of_node(bytes, "node-2"), !(i % 2));
		for (size_t earlier = 0; earlier < i; earlier++)
			assert_string_not_equal(names[earlier], names[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_bytes_have_known_names),
	    cmocka_unit_test(each_bit_counts),
	    cmocka_unit_test(nothing_else_is_a_name),
	    cmocka_unit_test(new_names_are_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
