/* SPDX-License-Identifier: Apache-2.0 */
/* The strict JSON reader and the writer (F30–F35). */
#include "tests/unit/cmocka_all.h"

#include "api/json.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FE_SLASH "\\/"

struct text {
	const char *bytes;
	size_t len;
	const char *why; /* how the reason starts; NULL: any */
};
#define TEXT(literal)                                                                                        \
	{                                                                                                    \
		literal, sizeof(literal) - 1, NULL                                                           \
	}
#define BAD(literal, reason)                                                                                 \
	{                                                                                                    \
		literal, sizeof(literal) - 1, reason                                                         \
	}

static const struct text bad[] = {
    /* F35: not an object, or not whole */
    BAD("", "no JSON object"),
    BAD(" ", "no JSON object"),
    BAD("\n\t\r ", "no JSON object"),
    BAD("null", "not a JSON object"),
    BAD("true", "not a JSON object"),
    BAD("1", "not a JSON object"),
    BAD("-0", "not a JSON object"),
    BAD("\"a\"", "not a JSON object"),
    BAD("[]", "not a JSON object"),
    BAD("[{}]", "not a JSON object"),
    BAD("{", "a member name"),
    BAD("}", "not a JSON object"),
    BAD("{\"a\"", "':'"),
    BAD("{\"a\":", "the text ends too early"),
    BAD("{\"a\":1", "',' or '}'"),
    BAD("{\"a\":1,", "a member name"),
    BAD("{\"a\":[", "the text ends too early"),
    BAD("{\"a\":[1", "',' or ']'"),
    BAD("{\"a\":\"", "the text ends inside a string"),
    BAD("{\"a\":\"b", "the text ends inside a string"),
    BAD("{\"a\":\"b\\", "unknown escape"),
    BAD("{\"a", "the text ends inside a string"),
    /* two documents, trailing bytes */
    BAD("{}{}", "something follows"),
    BAD("{} {}", "something follows"),
    BAD("{}x", "something follows"),
    BAD("{},", "something follows"),
    BAD("{}]", "something follows"),
    BAD("{}\0", "something follows"),
    BAD("{\"a\":1}\0", "something follows"),
    BAD("{}//", "something follows"),
    BAD("{}\f", "something follows"),
    BAD("{}\xc2\xa0", "something follows"),
    /* commas and colons */
    BAD("{,}", "a member name"),
    BAD("{\"a\":1,}", "a member name"),
    BAD("{\"a\":1,,\"b\":2}", "a member name"),
    BAD("{,\"a\":1}", "a member name"),
    BAD("{\"a\" 1}", "':'"),
    BAD("{\"a\"::1}", "not a JSON value"),
    BAD("{\"a\":1 \"b\":2}", "',' or '}'"),
    BAD("{\"a\":1;\"b\":2}", "',' or '}'"),
    BAD("{\"a\"=1}", "':'"),
    BAD("{\"a\":}", "not a JSON value"),
    BAD("{:1}", "a member name"),
    BAD("{\"a\":[1,]}", "not a JSON value"),
    BAD("{\"a\":[,1]}", "not a JSON value"),
    BAD("{\"a\":[1 2]}", "',' or ']'"),
    BAD("{\"a\":[1}", "',' or ']'"),
    BAD("{\"a\":{]}", "a member name"),
    BAD("{\"a\":{\"b\":1]}", "',' or '}'"),
    BAD("{\"a\":1]", "',' or '}'"),
    /* names */
    BAD("{a:1}", "a member name"),
    BAD("{'a':1}", "a member name"),
    BAD("{1:1}", "a member name"),
    BAD("{null:1}", "a member name"),
    BAD("{[]:1}", "a member name"),
    BAD("{\"a\":'b'}", "not a JSON value"),
    /* comments */
    BAD("/**/{}", "not a JSON object"),
    BAD("//\n{}", "not a JSON object"),
    BAD("#\n{}", "not a JSON object"),
    BAD("{/**/}", "a member name"),
    BAD("{\"a\":/**/1}", "not a JSON value"),
    BAD("{\"a\":1/**/}", "',' or '}'"),
    BAD("{\"a\":1//\n}", "',' or '}'"),
    BAD("{}/**/", "something follows"),
    /* literals */
    BAD("{\"a\":True}", "not a JSON value"),
    BAD("{\"a\":TRUE}", "not a JSON value"),
    BAD("{\"a\":tru}", "not a JSON value"),
    BAD("{\"a\":truee}", "',' or '}'"),
    BAD("{\"a\":nul", "not a JSON value"),
    BAD("{\"a\":NULL}", "not a JSON value"),
    BAD("{\"a\":None}", "not a JSON value"),
    BAD("{\"a\":undefined}", "not a JSON value"),
    BAD("{\"a\":fals\\u0065}", "not a JSON value"),
    /* F34: numbers */
    BAD("{\"a\":NaN}", "not a JSON value"),
    BAD("{\"a\":nan}", "not a JSON value"),
    BAD("{\"a\":-NaN}", "not a JSON number"),
    BAD("{\"a\":Infinity}", "not a JSON value"),
    BAD("{\"a\":-Infinity}", "not a JSON number"),
    BAD("{\"a\":inf}", "not a JSON value"),
    BAD("{\"a\":+1}", "not a JSON value"),
    BAD("{\"a\":-}", "not a JSON number"),
    BAD("{\"a\":--1}", "not a JSON number"),
    BAD("{\"a\":01}", "',' or '}'"),
    BAD("{\"a\":-01}", "',' or '}'"),
    BAD("{\"a\":00}", "',' or '}'"),
    BAD("{\"a\":0x10}", "',' or '}'"),
    BAD("{\"a\":.5}", "not a JSON value"),
    BAD("{\"a\":5.}", "not a JSON number"),
    BAD("{\"a\":1.e5}", "not a JSON number"),
    BAD("{\"a\":1e}", "not a JSON number"),
    BAD("{\"a\":1e+}", "not a JSON number"),
    BAD("{\"a\":1e5.5}", "',' or '}'"),
    BAD("{\"a\":1_000}", "',' or '}'"),
    BAD("{\"a\":1,000}", "a member name"),
    BAD("{\"a\":1f}", "',' or '}'"),
    BAD("{\"a\":1 000}", "',' or '}'"),
    BAD("{\"a\":\xef\xbc\x91}", "not a JSON value"), /* a full-width one */
    /* raw control characters */
    BAD("{\"a\":\"\n\"}", "raw control character"),
    BAD("{\"a\":\"\r\"}", "raw control character"),
    BAD("{\"a\":\"\t\"}", "raw control character"),
    BAD("{\"a\":\"\x01\"}", "raw control character"),
    BAD("{\"a\":\"\x1f\"}", "raw control character"),
    BAD("{\"a\nb\":1}", "raw control character"),
    BAD("{\"a\":\"b\0c\"}", "raw control character"), /* F31 */
    BAD("{\"a\0b\":1}", "raw control character"),
    BAD("{\0\"a\":1}", "a member name"),
    BAD("{\v\"a\":1}", "a member name"),
    BAD("{\x08}", "a member name"),
    /* escapes; F31 */
    BAD("{\"a\":\"\\u0000\"}", "\\u0000"),
    BAD("{\"a\\u0000b\":1}", "\\u0000"),
    BAD("{\"\\u0000\":1}", "\\u0000"),
    BAD("{\"a\":[[\"x\\u0000\"]]}", "\\u0000"),
    BAD("{\"a\":\"\\u00\"}", "\\u without"),
    BAD("{\"a\":\"\\u00g0\"}", "\\u without"),
    BAD("{\"a\":\"\\u+123\"}", "\\u without"),
    BAD("{\"a\":\"\\u 123\"}", "\\u without"),
    BAD("{\"a\":\"\\u-001\"}", "\\u without"),
    BAD("{\"a\":\"\\u{41}\"}", "\\u without"),
    BAD("{\"a\":\"\\u12", "\\u without"),
    BAD("{\"a\":\"\\U0041\"}", "unknown escape"),
    BAD("{\"a\":\"\\x41\"}", "unknown escape"),
    BAD("{\"a\":\"\\a\"}", "unknown escape"),
    BAD("{\"a\":\"\\v\"}", "unknown escape"),
    BAD("{\"a\":\"\\0\"}", "unknown escape"),
    BAD("{\"a\":\"\\'\"}", "unknown escape"),
    BAD("{\"a\":\"\\ \"}", "unknown escape"),
    BAD("{\"a\":\"\\\n\"}", "unknown escape"),
    BAD("{\"a\":\"\\\0\"}", "unknown escape"),
    BAD("{\"a\":\"\\\xc3\xa9\"}", "unknown escape"),
    /* F32: surrogates */
    BAD("{\"a\":\"\\ud800\"}", "lone surrogate"),
    BAD("{\"a\":\"\\uDBFF\"}", "lone surrogate"),
    BAD("{\"a\":\"\\udc00\"}", "lone surrogate"),
    BAD("{\"a\":\"\\udfff\"}", "lone surrogate"),
    BAD("{\"a\":\"\\ud800\\ud800\"}", "lone surrogate"),
    BAD("{\"a\":\"\\ud83dx\"}", "lone surrogate"),
    BAD("{\"a\":\"\\ud83d\\n\"}", "lone surrogate"),
    BAD("{\"a\":\"\\ud83d\\u0041\"}", "lone surrogate"),
    BAD("{\"a\":\"\\ude00\\ud83d\"}", "lone surrogate"),
    BAD("{\"a\":\"\\ud83d\\ue000\"}", "lone surrogate"),
    BAD("{\"\\ud800\":1}", "lone surrogate"),
    BAD("{\"a\":\"\\ud83d\\u", "\\u without"),
    BAD("{\"a\":\"\\ud83d", "lone surrogate"),
    /* F32: bytes that are not UTF-8 */
    BAD("{\"a\":\"\x80\"}", "not UTF-8"),
    BAD("{\"a\":\"\xbf\"}", "not UTF-8"),
    BAD("{\"a\":\"\xc0\xaf\"}", "not UTF-8"),
    BAD("{\"a\":\"\xc0\x80\"}", "not UTF-8"),
    BAD("{\"a\":\"\xc1\xbf\"}", "not UTF-8"),
    BAD("{\"a\":\"\xc3\"}", "not UTF-8"),
    BAD("{\"a\":\"\xc3(\"}", "not UTF-8"),
    BAD("{\"a\":\"\xe0\x80\xaf\"}", "not UTF-8"),
    BAD("{\"a\":\"\xe0\x9f\xbf\"}", "not UTF-8"),
    BAD("{\"a\":\"\xe2\x82\"}", "not UTF-8"),
    BAD("{\"a\":\"\xed\xa0\x80\"}", "not UTF-8"),
    BAD("{\"a\":\"\xed\xbf\xbf\"}", "not UTF-8"),
    BAD("{\"a\":\"\xed\xa0\xbd\xed\xb8\x80\"}", "not UTF-8"),
    BAD("{\"a\":\"\xf0\x80\x80\xaf\"}", "not UTF-8"),
    BAD("{\"a\":\"\xf0\x8f\xbf\xbf\"}", "not UTF-8"),
    BAD("{\"a\":\"\xf4\x90\x80\x80\"}", "not UTF-8"),
    BAD("{\"a\":\"\xf5\x80\x80\x80\"}", "not UTF-8"),
    BAD("{\"a\":\"\xf8\x88\x80\x80\x80\"}", "not UTF-8"),
    BAD("{\"a\":\"\xfe\"}", "not UTF-8"),
    BAD("{\"a\":\"\xff\"}", "not UTF-8"),
    BAD("{\"\xc0\xaf\":1}", "not UTF-8"),
    BAD("{}\x80", "not UTF-8"),
    BAD("{\"a\":\"\xe9\"}", "not UTF-8"), /* Latin-1 */
    BAD("\xff\xfe{\0}\0", "UTF-16, not UTF-8: send the body as UTF-8, at byte 0"),
    BAD("\xfe\xff\0{\0}", "UTF-16, not UTF-8: send the body as UTF-8, at byte 0"),
    BAD("{\0}\0", "a member name"),
    /* F135: one byte order mark in front is skipped, and counted as bytes of the text */
    BAD("\xef\xbb\xbf", "no JSON object, at byte 3"),
    BAD("\xef\xbb\xbf{\"a\":}", "not a JSON value, at byte 8"),
    BAD("\xef\xbb\xbf\xef\xbb\xbf{}", "a second byte order mark, at byte 3"),
    BAD(" \xef\xbb\xbf{}", "not a JSON object, at byte 1"),
    BAD("{}\xef\xbb\xbf", "something follows the JSON object"),
    BAD("\xef\xbb{}", "not UTF-8"),
    /* F30: a name twice */
    BAD("{\"a\":1,\"a\":1}", "duplicate"),
    BAD("{\"a\":1,\"b\":2,\"a\":3}", "duplicate"),
    BAD("{\"a\":1,\"\\u0061\":2}", "duplicate"),
    BAD("{\"\\u00e9\":1,\"\xc3\xa9\":2}", "duplicate"),
    BAD("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", "duplicate"),
    BAD("{\"a/b\":1,\"a" FE_SLASH "b\":2}", "duplicate"),
    BAD("{\"\":1,\"\":2}", "duplicate"),
    BAD("{\"x\":{\"a\":1,\"a\":2}}", "duplicate"),
    BAD("{\"x\":[{\"a\":1},{\"a\":1,\"b\":1,\"a\":2}]}", "duplicate"),
    BAD("{\"a\":{\"a\":1},\"a\":2}", "duplicate"),
    BAD("{\"\\n\":1,\"\\u000a\":2}", "duplicate"),
    /* F33: nine levels */
    BAD("{\"a\":[[[[[[[[]]]]]]]]}", "nested too deeply"),
    BAD("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}", "nested too deeply"),
};

static const struct text good[] = {
    TEXT("{}"),
    TEXT(" \t\r\n{ \t\r\n} \t\r\n"),
    TEXT("{\"\":1}"),
    TEXT("{\"a\":null,\"b\":true,\"c\":false}"),
    TEXT("{\"a\":0,\"b\":-0,\"c\":1.5,\"d\":1e5,\"e\":1E+5,\"f\":-1.25e-10}"),
    TEXT("{\"a\":123456789012345678901234567890}"),
    TEXT("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"}"),
    TEXT("{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80\x7f\"}"),
    TEXT("{\"a\":1,\"A\":2}"),
    TEXT("\xef\xbb\xbf{\"a\":1}"),
    TEXT("\xef\xbb\xbf \n{\"a\":1}"),
    TEXT("{\"a\":{\"a\":{\"a\":1}}}"),
    TEXT("{\"x\":[{\"a\":1},{\"a\":2}]}"),
    TEXT("{\"a\":[[[[[[[0]]]]]]]}"),
    TEXT("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":\"deep\"}}}}}}}"),
    /* RFC 8259 §13 */
    TEXT("{\"Image\":{\"Width\":800,\"Height\":600,\"Title\":\"View from 15th Floor\","
	 "\"Thumbnail\":{\"Url\":"
	 "\"http://www.example.com/image/481989943\",\"Height\":125,\"Width\":100},\"Animated\":false,"
	 "\"IDs\":[116,943,234,38793]}}"),
};

/* A copy that ends where the text ends, so that reading past it is seen. */
static enum err read_exact(const char *bytes, size_t len, char why[JSON_WHY_SIZE], struct json_doc **ret_doc)
{
	char *copy = malloc(len ? len : 1);
	enum err e;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	e = json_read(copy, len, why, ret_doc);
	free(copy);
	return e;
}

static void bad_texts_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct json_doc *doc = NULL;
		char why[JSON_WHY_SIZE] = "";
		enum err e = read_exact(bad[i].bytes, bad[i].len, why, &doc);

		if (e != E_INVAL || doc || strncmp(why, bad[i].why, strlen(bad[i].why)) != 0)
			fail_msg("row %zu '%s': %s, '%s' instead of '%s'", i, bad[i].bytes, err_str(e), why,
				 bad[i].why);
	}
}

static void good_texts_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct json_doc *doc = NULL;
		char why[JSON_WHY_SIZE] = "";

		if (read_exact(good[i].bytes, good[i].len, why, &doc) != E_OK)
			fail_msg("row %zu '%s': %s", i, good[i].bytes, why);
		assert_int_equal(json_root(doc).kind, JSON_OBJECT);
		json_doc_free(doc);
	}
}

/* Every proper beginning of a good text is bad, and none reads past its end. */
static void every_cut_is_refused(void **state)
{
	static const char text[] =
	    "{\"a\":[1.5e3,true,null,\"\\u00e9\\ud83d\\ude00\\n\"],\"b\":{\"c\":\"\xc3\xa9\",\"d\":-0}}";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct json_doc *doc = NULL;
		char why[JSON_WHY_SIZE];

		if (read_exact(text, len, why, &doc) != E_INVAL)
			fail_msg("a text cut at %zu was accepted", len);
	}
}

/* No single byte put in place of another may crash it, or be read as something that is not UTF-8. */
static void every_changed_byte_is_survived(void **state)
{
	static const char text[] = "{\"a\":[1.5e3,true,\"\\u00e9\\ud83d\\ude00\"],\"b\":\"\xc3\xa9\"}";
	char changed[sizeof(text)];

	(void)state;
	for (size_t at = 0; at < sizeof(text) - 1; at++) {
		for (int byte = 0; byte < 256; byte++) {
			struct json_doc *doc = NULL;
			char why[JSON_WHY_SIZE];

			memcpy(changed, text, sizeof(text));
			changed[at] = (char)byte;
			if (read_exact(changed, sizeof(text) - 1, why, &doc) == E_OK)
				json_doc_free(doc);
		}
	}
}

static void values_are_typed(void **state)
{
	static const char text[] =
	    "{\"n\":null,\"b\":true,\"i\":3,\"d\":3.5,\"s\":\"a\\u00e9\",\"a\":[1,\"x\"],\"o\":{}}";
	struct json_doc *doc = NULL;
	char why[JSON_WHY_SIZE];
	struct json_value root;

	(void)state;
	assert_int_equal(json_read(text, sizeof(text) - 1, why, &doc), E_OK);
	root = json_root(doc);
	assert_int_equal(json_member(root, "none").kind, JSON_ABSENT);
	assert_int_equal(json_member(root, "n").kind, JSON_NULL);
	assert_int_equal(json_member(root, "b").kind, JSON_BOOLEAN);
	assert_int_equal(json_member(root, "i").kind, JSON_NUMBER);
	assert_int_equal(json_member(root, "d").kind, JSON_NUMBER);
	assert_int_equal(json_member(root, "o").kind, JSON_OBJECT);
	assert_string_equal(json_text(json_member(root, "s")), "a\xc3\xa9");
	assert_null(json_text(json_member(root, "i")));
	assert_int_equal(json_array_len(json_member(root, "a")), 2);
	assert_int_equal(json_array_len(json_member(root, "s")), 0);
	assert_string_equal(json_text(json_array_item(json_member(root, "a"), 1)), "x");
	assert_int_equal(json_array_item(json_member(root, "a"), 2).kind, JSON_ABSENT);
	json_doc_free(doc);
	json_doc_free(NULL);
}

static void put_character(char dst[5], uint32_t c)
{
	size_t more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};

	*dst++ = (char)(first[more] | c >> 6 * more);
	while (more-- > 0)
		*dst++ = (char)(0x80 | (c >> 6 * more & 0x3f));
	*dst = '\0';
}

/* In a value and in a name. */
static void expect_character(uint32_t c)
{
	char text[32];
	char character[5] = "";
	char why[JSON_WHY_SIZE] = "";
	struct json_doc *doc = NULL;
	struct json_value root;

	put_character(character, c);
	snprintf(text, sizeof(text), "{\"<%s>\":\"<%s>\"}", character, character);
	if (json_read(text, strlen(text), why, &doc) != E_OK)
		fail_msg("U+%04X: %s", (unsigned)c, why);
	root = json_root(doc);
	snprintf(text, sizeof(text), "<%s>", character);
	assert_string_equal(json_text(json_member(root, text)), text);
	json_doc_free(doc);
}

/* F190: some parser has taken bytes above 0x7f for control characters, and a long integer for no number. */
static void every_character_is_read_as_it_was_sent(void **state)
{
	static const struct {
		uint32_t first;
		uint32_t last;
	} ranges[] = {{0x20, 0xd7ff}, {0xe000, 0x1000f}, {0x1f600, 0x1f64f}, {0x10fff0, 0x10ffff}};

	(void)state;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		for (uint32_t c = ranges[i].first; c <= ranges[i].last; c++) {
			if (c != '"' && c != '\\')
				expect_character(c);
		}
	}
}

static void append_name(void *arg, const char *name, struct json_value value)
{
	size_t used = strlen(arg);

	(void)value;
	snprintf((char *)arg + used, 8 - used, "%s", name);
}

static void numbers_and_truth_are_read_strictly(void **state)
{
	static const char text[] = "{\"t\":true,\"f\":false,\"n\":null,\"one\":1,\"s\":\"1\",\"real\":1.5,"
				   "\"less\":-9007199254740993,\"most\":9223372036854775806,"
				   "\"max\":9223372036854775807,\"min\":-9223372036854775808,"
				   "\"more\":9223372036854775808,\"huge\":1e300,\"dot\":3.0,"
				   "\"longer\":-123456789012345678901234567890}";
	static const char *const no_integers[] = {"t",    "n",   "s",      "real",  "more",
						  "huge", "dot", "longer", "absent"};
	char why[JSON_WHY_SIZE];
	struct json_doc *doc = NULL;
	struct json_value root;
	int64_t value = 7;

	(void)state;
	assert_int_equal(json_read(text, strlen(text), why, &doc), E_OK);
	root = json_root(doc);
	assert_true(json_is_true(json_member(root, "t")));
	assert_false(json_is_true(json_member(root, "f")));
	assert_false(json_is_true(json_member(root, "one")));
	assert_false(json_is_true(json_member(root, "absent")));
	for (size_t i = 0; i < sizeof(no_integers) / sizeof(no_integers[0]); i++)
		assert_int_equal(json_integer(json_member(root, no_integers[i]), &value), E_INVAL);
	assert_int_equal(value, 7);
	assert_int_equal(json_integer(json_member(root, "less"), &value), E_OK);
	assert_int_equal(value, INT64_C(-9007199254740993));
	assert_int_equal(json_integer(json_member(root, "most"), &value), E_OK);
	assert_int_equal(value, INT64_C(9223372036854775806));
	assert_int_equal(json_integer(json_member(root, "max"), &value), E_OK);
	assert_true(value == INT64_MAX);
	assert_int_equal(json_integer(json_member(root, "min"), &value), E_OK);
	assert_true(value == INT64_MIN);
	json_doc_free(doc);
}

static void members_come_in_the_order_of_the_text(void **state)
{
	static const char text[] = "{\"z\":1,\"b\":2,\"a\":3,\"y\":null}";
	struct json_doc *doc = NULL;
	char why[JSON_WHY_SIZE];
	char names[8] = "";

	(void)state;
	assert_int_equal(json_read(text, sizeof(text) - 1, why, &doc), E_OK);
	json_each_member(json_root(doc), append_name, names);
	assert_string_equal(names, "zbay");
	json_doc_free(doc);
}

/* ---- F33: size and depth cost little ---- */

#define MEGABYTE ((size_t)1024 * 1024)
/* A few milliseconds where it is measured; room for sanitizers and a busy machine. */
#define PATIENCE_MS 2000

static void expect_quick(const char *text, size_t len, enum err expected)
{
	struct json_doc *doc = NULL;
	char why[JSON_WHY_SIZE];
	uint64_t started = clock_ms();

	assert_int_equal(json_read(text, len, why, &doc), expected);
	if (clock_ms() - started > PATIENCE_MS)
		fail_msg("%zu bytes took %llu ms", len, (unsigned long long)(clock_ms() - started));
	json_doc_free(doc);
}

static void a_megabyte_is_quick(void **state)
{
	char *text = malloc(MEGABYTE);

	(void)state;
	assert_non_null(text);
	memset(text, '[', MEGABYTE);
	expect_quick(text, MEGABYTE, E_INVAL);
	memset(text, '{', MEGABYTE);
	expect_quick(text, MEGABYTE, E_INVAL);
	memset(text, ' ', MEGABYTE);
	expect_quick(text, MEGABYTE, E_INVAL);
	memset(text, '\\', MEGABYTE);
	memcpy(text, "{\"a\":\"", 6);
	expect_quick(text, MEGABYTE, E_INVAL);
	memset(text, 'x', MEGABYTE);
	memcpy(text, "{\"a\":\"", 6);
	memcpy(text + MEGABYTE - 2, "\"}", 2);
	expect_quick(text, MEGABYTE, E_OK);
	free(text);
}

static void many_names_are_quick(void **state)
{
	struct buf b;
	size_t len;

	(void)state;
	buf_init(&b, MEGABYTE);
	buf_put_str(&b, "{");
	for (int i = 0; i < 65536; i++)
		buf_printf(&b, "\"%05x\":1,", i);
	len = b.len;
	buf_put_str(&b, "\"x\":1}");
	expect_quick(buf_text(&b), b.len, E_OK);
	/* the first one again, at the end */
	memcpy(b.data + len, "\"00000\"", 7);
	buf_put_str(&b, ":1}");
	expect_quick(buf_text(&b), b.len, E_INVAL);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bad_texts_are_refused),
	    cmocka_unit_test(good_texts_are_read),
	    cmocka_unit_test(every_cut_is_refused),
	    cmocka_unit_test(every_changed_byte_is_survived),
	    cmocka_unit_test(values_are_typed),
	    cmocka_unit_test(numbers_and_truth_are_read_strictly),
	    cmocka_unit_test(every_character_is_read_as_it_was_sent),
	    cmocka_unit_test(members_come_in_the_order_of_the_text),
	    cmocka_unit_test(a_megabyte_is_quick),
	    cmocka_unit_test(many_names_are_quick),
	};

	return cmocka_run_group_tests_name("api_json", tests, NULL, NULL);
}
