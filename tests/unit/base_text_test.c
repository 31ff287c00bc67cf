/* SPDX-License-Identifier: Apache-2.0 */
/* base: text, UTF-8, times, durations, names of key types. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/csr.h"
#include "base/exit_code.h"
#include "base/key.h"
#include "base/published.h"
#include "base/str.h"
#include "base/url.h"
#include "base/utf8.h"

#include "base/uuid.h"
#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

static void copies_only_what_fits(void **state)
{
	char small[4] = "xyz";

	(void)state;
	assert_int_equal(str_copy(small, sizeof(small), "abc"), E_OK);
	assert_string_equal(small, "abc");
	assert_int_equal(str_copy(small, sizeof(small), "abcd"), E_LIMIT);
	assert_string_equal(small, "");
}

static void reads_hexadecimal_of_the_exact_length(void **state)
{
	static const char *const bad[] = {"", "0", "00f", "00fg", "00ff00", " 0ff", "0x0f"};
	uint8_t bytes[2] = {1, 2};
	char text[5];

	(void)state;
	assert_int_equal(str_unhex(bytes, 2, "00fF"), E_OK);
	str_hex(text, bytes, 2);
	assert_string_equal(text, "00ff");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(str_unhex(bytes, 2, bad[i]), E_INVAL);
}

static void reads_numbers_strictly(void **state)
{
	static const char *const bad[] = {"",
					  "+3",
					  "-1",
					  " 1",
					  "1 ",
					  "0x3",
					  "3,3",
					  "1e3",
					  "101",
					  "18446744073709551616",
					  "99999999999999999999999"};
	uint64_t value = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(str_parse_u64(bad[i], 100, &value), E_INVAL);
	assert_int_equal(value, 7);
	assert_int_equal(str_parse_u64("100", 100, &value), E_OK);
	assert_int_equal(value, 100);
	assert_int_equal(str_parse_u64("3", 2, &value), E_INVAL);
	assert_int_equal(str_parse_u64("18446744073709551615", UINT64_MAX, &value), E_OK);
	assert_true(value == UINT64_MAX);
	assert_int_equal(str_parse_u64("18446744073709551616", UINT64_MAX, &value), E_INVAL);
}

static void knows_a_uuid(void **state)
{
	(void)state;
	assert_true(uuid_is_valid("7b163417-1d2b-4c84-a38a-2fb7a0cd7752"));
	assert_true(uuid_is_valid("7B163417-1D2B-4C84-A38A-2FB7A0CD7752"));
	assert_false(uuid_is_valid(""));
	assert_false(uuid_is_valid("7b163417-1d2b-4c84-a38a-2fb7a0cd775"));
	assert_false(uuid_is_valid("7b163417-1d2b-4c84-a38a-2fb7a0cd77522"));
	assert_false(uuid_is_valid("7b1634171-d2b-4c84-a38a-2fb7a0cd7752"));
	assert_false(uuid_is_valid("7b163417-1d2b-4c84-a38a-2fb7a0cd775g"));
}

static void a_uuid_has_one_form_in_bytes_and_in_lower_case(void **state)
{
	static const char text[] = "7b163417-1d2b-4c84-a38a-2fb7a0cd7752";
	char id[UUID_SIZE] = "as it was";
	uint8_t bytes[UUID_BYTES];

	(void)state;
	assert_false(uuid_parse("7b163417-1d2b-4c84-a38a", id));
	assert_string_equal(id, "as it was");
	assert_true(uuid_parse("7B163417-1D2B-4C84-A38A-2FB7A0CD7752", id));
	assert_string_equal(id, text);
	assert_true(uuid_is_canonical(id));
	assert_false(uuid_is_canonical("7B163417-1d2b-4c84-a38a-2fb7a0cd7752"));
	assert_false(uuid_to_bytes("7B163417-1d2b-4c84-a38a-2fb7a0cd7752", bytes));
	assert_true(uuid_to_bytes(text, bytes));
	assert_int_equal(bytes[0], 0x7b);
	assert_int_equal(bytes[15], 0x52);
	id[0] = '\0';
	uuid_format(id, bytes);
	assert_string_equal(id, text);
	memset(bytes, 0xff, sizeof(bytes));
	uuid_mark_random(bytes);
	uuid_format(id, bytes);
	assert_string_equal(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

static void compares_secrets(void **state)
{
	(void)state;
	assert_true(str_equal_constant_time("abcd", "abcd", 4));
	assert_false(str_equal_constant_time("abcd", "abce", 4));
	assert_false(str_equal_constant_time("zbcd", "abcd", 4));
}

/* RFC 3629 §3, §4 and §10: what a decoder must refuse. F32 */
static void refuses_what_is_not_utf8(void **state)
{
	static const char *const bad[] = {
	    "\x80",
	    "\xc0\xaf",
	    "\xc1\xbf",
	    "\xe0\x80\xaf",
	    "\xed\xa0\x80",
	    "\xed\xbf\xbf",
	    "\xf0\x80\x80\xaf",
	    "\xf4\x90\x80\x80",
	    "\xf5\x80\x80\x80",
	    "\xff",
	    "a\xc3",
	    "\xe2\x82",
	    "\xf0\x9f\x98",
	    "\xc3(",
	    "\xe2(\xa1",
	};
	static const char *const good[] = {
	    "",
	    "a",
	    "\xc2\x80",
	    "\xed\x9f\xbf",
	    "\xee\x80\x80",
	    "\xf4\x8f\xbf\xbf",
	    "\xf0\x90\x80\x80",
	    "caf\xc3\xa9",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(utf8_is_valid(good[i], strlen(good[i])));
	assert_true(utf8_is_valid("a\0b", 3));
	assert_int_equal(utf8_count("caf\xc3\xa9", 5), 4);
}

/* F120: a sample of each class, and the edges of its ranges. */
static void knows_what_a_code_point_is_to_a_reader(void **state)
{
	static const struct {
		uint32_t code_point;
		enum utf8_class class;
	} table[] = {
	    {0, UTF8_CONTROL},           {0x1f, UTF8_CONTROL},         {' ', UTF8_BLANK},
	    {'!', UTF8_VISIBLE},         {'~', UTF8_VISIBLE},          {0x7f, UTF8_CONTROL},
	    {0x85, UTF8_CONTROL},        {0x9f, UTF8_CONTROL},         {0xa0, UTF8_BLANK},
	    {0xad, UTF8_INVISIBLE},      {0xe9, UTF8_VISIBLE},         {0x300, UTF8_MARK},
	    {0x34f, UTF8_INVISIBLE},     {0x378, UTF8_UNASSIGNED},     {0x61c, UTF8_INVISIBLE},
	    {0x903, UTF8_MARK},          {0x1160, UTF8_INVISIBLE},     {0x1680, UTF8_BLANK},
	    {0x180e, UTF8_INVISIBLE},    {0x200a, UTF8_BLANK},         {0x200b, UTF8_INVISIBLE},
	    {0x200f, UTF8_INVISIBLE},    {0x2010, UTF8_VISIBLE},       {0x2028, UTF8_INVISIBLE},
	    {0x202e, UTF8_INVISIBLE},    {0x202f, UTF8_BLANK},         {0x2065, UTF8_INVISIBLE},
	    {0x206f, UTF8_INVISIBLE},    {0x20dd, UTF8_MARK},          {0x2800, UTF8_BLANK},
	    {0x2801, UTF8_VISIBLE},      {0x3000, UTF8_BLANK},         {0x3164, UTF8_INVISIBLE},
	    {0x4e00, UTF8_VISIBLE},      {0xd7ff, UTF8_UNASSIGNED},    {0xd800, UTF8_UNASSIGNED},
	    {0xdfff, UTF8_UNASSIGNED},   {0xe000, UTF8_PRIVATE},       {0xf8ff, UTF8_PRIVATE},
	    {0xf900, UTF8_VISIBLE},      {0xfdd0, UTF8_UNASSIGNED},    {0xfe0f, UTF8_INVISIBLE},
	    {0xfeff, UTF8_INVISIBLE},    {0xffa0, UTF8_INVISIBLE},     {0xfff9, UTF8_INVISIBLE},
	    {0xfffc, UTF8_BLANK},        {0xfffd, UTF8_VISIBLE},       {0xffff, UTF8_UNASSIGNED},
	    {0x1d173, UTF8_INVISIBLE},   {0x1f600, UTF8_VISIBLE},      {0xe0001, UTF8_INVISIBLE},
	    {0xe0041, UTF8_INVISIBLE},   {0xe0fff, UTF8_INVISIBLE},    {0xe1000, UTF8_UNASSIGNED},
	    {0xf0000, UTF8_PRIVATE},     {0x10fffd, UTF8_PRIVATE},     {0x10ffff, UTF8_UNASSIGNED},
	    {0x110000, UTF8_UNASSIGNED}, {0x1000020, UTF8_UNASSIGNED}, {UINT32_MAX, UTF8_UNASSIGNED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum utf8_class class = utf8_class(table[i].code_point);

		if (class != table[i].class)
			fail_msg("U+%04X: %d", (unsigned)table[i].code_point, (int)class);
		assert_int_equal(utf8_is_unsafe_in_names(table[i].code_point), class >= UTF8_CONTROL);
	}
}

static void writes_and_reads_times(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} good[] = {
	    {"1970-01-01", 0},
	    {"2026-11-23T14:25:01Z", 1795443901000000},
	    {"2026-11-23t14:25:01.5z", 1795443901500000},
	    {"2026-11-23T15:25:01.123456789+01:00", 1795443901123456},
	    {"2024-02-29", 1709164800000000},
	    {"9999-12-31T23:59:59Z", 253402300799000000},
	};
	static const char *const bad[] = {
	    "",
	    "2026",
	    "2026-13-01",
	    "2026-00-10",
	    "2025-02-29",
	    "2026-04-31",
	    "2026-11-2",
	    "2026-11-23T14:25Z",
	    "2026-11-23T24:00:00Z",
	    "2026-11-23T14:25:01",
	    "2026-11-23 14:25:01Z",
	    "1969-12-31T23:59:59Z",
	    "2026-11-23T14:25:01.Z",
	    "2026-11-23T14:25:01Zx",
	    "1970-01-01T00:00:00+00:01",
	    "9999-12-31T23:59:59-00:01", /* F402: the year 10000 in UTC */
	};
	char text[CLOCK_RFC3339_SIZE];
	int64_t us;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(clock_parse_rfc3339(good[i].text, &us), E_OK);
		assert_true(us == good[i].us);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(clock_parse_rfc3339(bad[i], &us), E_INVAL);
	clock_format_rfc3339(1795443901000042, text);
	assert_string_equal(text, "2026-11-23T14:25:01.000042Z");
}

static void reads_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
	    {"250ms", 250},    {"30s", 30000}, {"5m", 300000}, {"24h", 86400000},
	    {"7d", 604800000}, {"0", 0},       {"0s", 0},
	};
	static const char *const bad[] = {
	    "", "s", "30", "-1s", "1.5s", "1 s", "1w", "1S", "99999999999999999999s",
	};
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(clock_parse_duration(good[i].text, &ms), E_OK);
		assert_true(ms == good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(clock_parse_duration(bad[i], &ms), E_INVAL);
}

static void names_go_there_and_back(void **state)
{
	struct buf b;
	uint32_t bit;

	(void)state;
	for (unsigned t = 1; t <= KEY_TYPE_MAX; t++) {
		enum key_type type;

		assert_int_equal(key_type_parse(key_type_name((enum key_type)t), &type), E_OK);
		assert_int_equal(type, t);
	}
	for (unsigned t = 1; t <= SAN_TYPE_MAX; t++) {
		enum san_type type;

		assert_int_equal(san_type_parse(san_type_name((enum san_type)t), &type), E_OK);
		assert_int_equal(type, t);
	}
	assert_string_equal(key_type_name((enum key_type)0), "?");
	assert_string_equal(key_type_name((enum key_type)(KEY_TYPE_MAX + 1)), "?");
	assert_int_equal(key_protection_parse("never_extractable", &bit), E_OK);
	assert_int_equal(bit, KEY_PROT_NEVER_EXTRACTABLE);
	assert_int_equal(key_protection_parse("", &bit), E_INVAL);
	buf_init(&b, 1024);
	key_protection_format(KEY_PROT_REQUIRED, &b);
	assert_string_equal(buf_text(&b),
			    "token,private,sensitive,always_sensitive,never_extractable,local,sign");
	buf_reset(&b);
	key_type_set_format(KEY_TYPE_BIT(KEY_P256V1) | KEY_TYPE_BIT(KEY_RSA2048), &b);
	assert_string_equal(buf_text(&b), "rsa2048, p256v1");
	buf_reset(&b);
	key_type_set_format(KEY_TYPES_ALL, &b);
	assert_string_equal(buf_text(&b), "rsa2048, p256v1, rsa3072, rsa4096, p384v1, ed25519");
	buf_reset(&b);
	key_type_set_format(0, &b);
	assert_string_equal(buf_text(&b), "none");
	buf_release(&b);
}

static void copies_a_csr_spec_and_caps_its_sans(void **state)
{
	struct csr_spec spec = {.key_type = KEY_P256V1}, copy;

	(void)state;
	spec.country = strdup("SE");
	assert_non_null(spec.country);
	for (int i = 0; i < CSR_SANS_MAX; i++)
		assert_int_equal(csr_spec_add_san(&spec, SAN_DNS, "a.example"), E_OK);
	assert_int_equal(csr_spec_add_san(&spec, SAN_DNS, "b.example"), E_LIMIT);
	assert_int_equal(csr_spec_copy(&spec, &copy), E_OK);
	assert_string_equal(copy.country, "SE");
	assert_null(copy.organizational_unit);
	assert_int_equal(copy.sans_len, CSR_SANS_MAX);
	csr_spec_release(&spec);
	assert_string_equal(copy.sans[149].value, "a.example");
	csr_spec_release(&copy);
	csr_spec_release(&copy);
}

static void each_error_has_its_exit_code(void **state)
{
	(void)state;
	assert_int_equal(exit_code_of(E_OK, EXIT_CODE_FAILURE), EXIT_CODE_OK);
	assert_int_equal(exit_code_of(E_CONFIG, EXIT_CODE_FAILURE), EXIT_CODE_CONFIG);
	assert_int_equal(exit_code_of(E_UNAVAIL, EXIT_CODE_FAILURE), EXIT_CODE_UNAVAILABLE);
	assert_int_equal(exit_code_of(E_STORE, EXIT_CODE_FAILURE), EXIT_CODE_STORE);
	assert_int_equal(exit_code_of(E_HSM, EXIT_CODE_FAILURE), EXIT_CODE_TOKEN_FAILED);
	assert_int_equal(exit_code_of(E_IO, EXIT_CODE_FAILURE), EXIT_CODE_SYSTEM);
	assert_int_equal(exit_code_of(E_NOMEM, EXIT_CODE_FAILURE), EXIT_CODE_INTERNAL);
	assert_int_equal(exit_code_of(E_NOTFOUND, EXIT_CODE_FAILURE), EXIT_CODE_FAILURE);
	assert_int_equal(exit_code_of(E_EXISTS, EXIT_CODE_IN_USE), EXIT_CODE_IN_USE);
}

static void what_runs_is_published_where_csrctl_looks(void **state)
{
	char *path = NULL;

	(void)state;
	assert_int_equal(published_by_csrd("/var/lib/csrd/csrd.db", &path), E_OK);
	assert_string_equal(path, "/var/lib/csrd/csrd.db.running");
	free(path);
	assert_int_equal(published_by_signer("/var/lib/csrd-hsm/hsm1", &path), E_OK);
	assert_string_equal(path, "/var/lib/csrd-hsm/hsm1/running");
	free(path);
}

static void passwords_of_urls_are_masked(void **state) /* F306 */
{
	static const struct {
		const char *text, *shown;
	} table[] = {
	    {"postgresql://user:secret@host:5432/d?a=b", "postgresql://user:***@host:5432/d?a=b"},
	    {"postgresql://user:sec@r/e:t@host/d", "postgresql://user:***@host/d"},
	    {"postgresql://a@example.com:secret@host/d", "postgresql://a@example.com:***@host/d"},
	    {"db://user:@host", "db://user:***@host"},
	    {"db://host/d?user=x&password=secret&a=b", "db://host/d?user=x&password=***&a=b"},
	    {"db://u:secret@host/?SSLPassword=secret", "db://u:***@host/?SSLPassword=***"},
	    {"1: 'db://a:secret@b' and\n2: 'db://c:secret@d'\n",
	     "1: 'db://a:***@b' and\n2: 'db://c:***@d'\n"},
	    {"postgresql://user:12se", "postgresql://user:***"},
	    {"postgresql://user:%41'", "postgresql://user:***"},
	    {"'db://u:sec ret@host/?password=x' is not", "'db://u:***@host/?password=*** is not"},
	    {"'db://u:sec ret, s@cret@host' x", "'db://u:***@host' x"}, /* F403 */
	    {"'db://u:sec ret', 2\na@b", "'db://u:*** ret', 2\na@b"},
	    {"'http://127.0.0.1:8080' 'http://[::1]:8080/x' http://h:80: refused a@b",
	     "'http://127.0.0.1:8080' 'http://[::1]:8080/x' http://h:80: refused a@b"},
	    {"postgresql://user@host:5432/d", "postgresql://user@host:5432/d"},
	    {"sqlite:/srv/a:b@c.db", "sqlite:/srv/a:b@c.db"},
	    {" password=x  a:b@c\t", " password=x  a:b@c\t"},
	    {"", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct buf b;

		buf_init(&b, 1000);
		url_put_masked(&b, table[i].text);
		assert_string_equal(buf_text(&b), table[i].shown);
		buf_release(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(copies_only_what_fits),
	    cmocka_unit_test(reads_hexadecimal_of_the_exact_length),
	    cmocka_unit_test(reads_numbers_strictly),
	    cmocka_unit_test(knows_a_uuid),
	    cmocka_unit_test(a_uuid_has_one_form_in_bytes_and_in_lower_case),
	    cmocka_unit_test(compares_secrets),
	    cmocka_unit_test(refuses_what_is_not_utf8),
	    cmocka_unit_test(knows_what_a_code_point_is_to_a_reader),
	    cmocka_unit_test(writes_and_reads_times),
	    cmocka_unit_test(reads_durations),
	    cmocka_unit_test(each_error_has_its_exit_code),
	    cmocka_unit_test(what_runs_is_published_where_csrctl_looks),
	    cmocka_unit_test(names_go_there_and_back),
	    cmocka_unit_test(copies_a_csr_spec_and_caps_its_sans),
	    cmocka_unit_test(passwords_of_urls_are_masked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
