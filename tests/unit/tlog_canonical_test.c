/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 8785: what is checked, what base/json.h writes, and the entries of a log. */
#include "base/json.h"
#include "tests/unit/cmocka_all.h"
#include "tlog/canonical.h"
#include "tlog/log_entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_canonical(const char *text)
{
	/* Without a NUL behind it, so that a sanitizer sees who reads on. */
	size_t len = strlen(text);
	char *copy = malloc(len > 0 ? len : 1);
	bool is;

	memcpy(copy, text, len);
	is = canonical_check(copy, len);
	free(copy);
	return is;
}

static const char *const good[] = {
    "{}",
    "[]",
    "0",
    "-1",
    "9007199254740991",
    "-9007199254740991",
    "true",
    "false",
    "null",
    "\"\"",
    "[[],{},[1,2],{\"a\":[]}]",
    "{\"a\":1,\"b\":{\"a\":\"x\"},\"c\":[true,false,null,\"\"]}",
    "{\"\":1,\"a\":2,\"aa\":3,\"b\":4}",
    "\"\\b\\t\\n\\f\\r\\\"\\\\\\u0000\\u0001\\u001f\\u000b "
    "/\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
    /* the names of RFC 8785 §3.2.3: U+1F600 is a pair of units below U+FB33 */
    "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\xc2\x80\":\"Control\",\"\xc3\xb6\":\"Latin Small "
    "Letter O With "
    "Diaeresis\",\"\xe2\x82\xac\":\"Euro Sign\",\"\xf0\x9f\x98\x80\":\"Emoji: Grinning "
    "Face\",\"\xef\xac\xb3\":\"Hebrew Letter Dalet With Dagesh\"}",
    "{\"\xf0\x9f\x98\x80\":1,\"\xf0\x9f\x98\x81\":2}",
    "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
};
/* F437 */
static const char *const bad[] = {
    "",
    " ",
    " {}",
    "{} ",
    "{}{}",
    "{ }",
    "[1, 2]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[",
    "[1",
    "[1,",
    "]",
    "[}",
    "{]",
    "{\"a\":1",
    "{\"a\":1,}",
    "{\"a\":}",
    "{\"a\"}",
    "{\"a\" :1}",
    "{\"a\":1 }",
    "{a:1}",
    "{1:1}",
    "{,}",
    "{\"b\":1,\"a\":2}",
    "{\"a\":1,\"a\":2}",
    "{\"aa\":1,\"a\":2}",
    "{\"a\":1,\"\":2}",
    "{\"a\":{\"b\":1,\"a\":2}}",
    "{\"\xef\xac\xb3\":1,\"\xf0\x9f\x98\x80\":2}",
    "{\"\xf0\x9f\x98\x81\":1,\"\xf0\x9f\x98\x80\":2}",
    "00",
    "-0",
    "01",
    "-",
    "+1",
    "1.0",
    "1.5",
    "1e3",
    "9007199254740992",
    "-9007199254740992",
    "99999999999999999999999999",
    "True",
    "tru",
    "truee",
    "nul",
    "NaN",
    "\"",
    "\"a",
    "\"a\\\"",
    "\"\\",
    "\"\\u",
    "\"\\u000\"",
    "\"\\/\"",
    "\"\\u0041\"",
    "\"\\u007f\"",
    "\"\\u000a\"",
    "\"\\u0008\"",
    "\"\\u000c\"",
    "\"\\u000B\"",
    "\"\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\\a\"",
    "\"\n\"",
    "\"\x01\"",
    "\"\xff\"",
    "\"\xc0\x80\"",
    "\"\xed\xa0\x80\"",
    "'a'",
    "\xef\xbb\xbf{}",
    "// x\n{}",
    "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
};

static void canonical_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!is_canonical(good[i]))
			fail_msg("'%s' is not taken", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (is_canonical(bad[i]))
			fail_msg("'%s' is taken", bad[i]);
	assert_false(canonical_check("\0", 1));
	assert_false(canonical_check("{}\0", 3));
	assert_false(canonical_check("\"a\0b\"", 5));
}

/* Deep and long, at no cost but reading. */
static void hostile_texts_end(void **state)
{
	size_t len = 1 << 20;
	char *text = malloc(len);

	(void)state;
	memset(text, '[', len);
	assert_false(canonical_check(text, len));
	memset(text, '9', len);
	assert_false(canonical_check(text, len));
	memset(text, '\\', len);
	text[0] = '"';
	assert_false(canonical_check(text, len));
	free(text);
}

/* Every character below U+0100, and what is not UTF-8. */
static void what_is_written_is_canonical(void **state)
{
	struct json_writer w;
	struct buf out;
	char text[] = "x?";

	(void)state;
	buf_init(&out, 65536);
	json_writer_init(&w, &out);
	json_write_canonical(&w);
	json_open_array(&w);
	for (int c = 1; c < 256; c++) {
		text[1] = (char)c;
		json_put_text(&w, text);
	}
	json_put_text(&w, "\b\t\n\f\r\"\\\x01\x1f\x7f\xc3\xa9");
	json_put_int(&w, JSON_INT_MAX);
	json_put_int(&w, -JSON_INT_MAX);
	json_open_object(&w);
	json_put_bool_member(&w, "a", true);
	json_put_text_member(&w, "b\f", NULL);
	json_close(&w);
	json_close(&w);
	assert_int_equal(buf_status(&out), E_OK);
	assert_true(canonical_check(out.data, out.len));
	assert_non_null(strstr(buf_text(&out), "\"\\b\\t\\n\\f\\r\\\"\\\\\\u0001\\u001f\x7f\xc3\xa9\","));
	buf_release(&out);
}

static void entries_have_their_form(void **state)
{
	struct tree_hash spki = {{0xab}}, statement = {{0xcd}};
	struct log_entry entry = {.action = "csr.created",
				  .outcome = "ok",
				  .object = "0b2f6c1e-0000-4000-8000-000000000000",
				  .node = "a",
				  .node_sequence = 97,
				  .index = 421,
				  .at_us = 1795773600123456,
				  .private_hash = {{1, 2, 3}},
				  .spki = &spki,
				  .statement = &statement};
	struct log_private part = {.account = "acc", .actor = "an \"actor\"\b", .row = &spki, .salt = {0xff}};
	struct buf out;

	(void)state;
	buf_init(&out, 2 * LOG_ENTRY_BYTES_MAX);
	assert_int_equal(log_entry_put(&entry, &out), E_OK);
	assert_string_equal(
	    buf_text(&out),
	    "{\"action\":\"csr.created\",\"at\":\"2026-11-27T10:00:00.123456Z\",\"index\":421,\"node\":\"a\","
	    "\"nodeseq\":97,\"object\":\"0b2f6c1e-0000-4000-8000-000000000000\",\"outcome\":\"ok\","
	    "\"private\":\"AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\","
	    "\"spki\":\"ab00000000000000000000000000000000000000000000000000000000000000\","
	    "\"statement\":\"cd00000000000000000000000000000000000000000000000000000000000000\",\"v\":1}");
	assert_true(canonical_check(out.data, out.len));
	buf_reset(&out);
	entry.object = NULL;
	entry.spki = entry.statement = NULL;
	assert_int_equal(log_entry_put(&entry, &out), E_OK);
	assert_string_equal(
	    buf_text(&out),
	    "{\"action\":\"csr.created\",\"at\":\"2026-11-27T10:00:00.123456Z\",\"index\":421,\"node\":\"a\","
	    "\"nodeseq\":97,\"outcome\":\"ok\",\"private\":\"AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\","
	    "\"v\":1}");
	assert_true(canonical_check(out.data, out.len));
	buf_reset(&out);
	assert_int_equal(log_entry_put_private(&part, &out), E_OK);
	assert_string_equal(buf_text(&out),
			    "{\"account\":\"acc\",\"actor\":\"an \\\"actor\\\"\\b\","
			    "\"row\":\"ab00000000000000000000000000000000000000000000000000000000000000\","
			    "\"salt\":\"/wAAAAAAAAAAAAAAAAAAAA==\"}");
	assert_true(canonical_check(out.data, out.len));
	buf_release(&out);
}

static void entries_that_cannot_be_are_refused(void **state)
{
	struct log_entry entry = {.action = "a", .outcome = "ok", .node = "a", .index = UINT64_C(1) << 53};
	struct log_private part = {.detail = "\xff"};
	char detail[LOG_ENTRY_BYTES_MAX];
	struct buf out;

	(void)state;
	buf_init(&out, 2 * LOG_ENTRY_BYTES_MAX);
	assert_int_equal(log_entry_put(&entry, &out), E_INVAL);
	entry.index = 1;
	entry.node_sequence = UINT64_MAX;
	assert_int_equal(log_entry_put(&entry, &out), E_INVAL);
	assert_int_equal(log_entry_put_private(&part, &out), E_INVAL);
	buf_reset(&out);
	/* As long as it may be, and longer by one: with the salt and what is around them. */
	memset(detail, 'd', sizeof(detail));
	detail[LOG_ENTRY_BYTES_MAX - strlen("{\"detail\":\"\",\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}")] =
	    '\0';
	part.detail = detail;
	assert_int_equal(log_entry_put_private(&part, &out), E_OK);
	assert_int_equal(out.len, LOG_ENTRY_BYTES_MAX);
	buf_reset(&out);
	detail[strlen(detail)] = 'd';
	detail[LOG_ENTRY_BYTES_MAX - 1] = '\0';
	assert_int_equal(log_entry_put_private(&part, &out), E_LIMIT);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(canonical_texts),
	    cmocka_unit_test(hostile_texts_end),
	    cmocka_unit_test(what_is_written_is_canonical),
	    cmocka_unit_test(entries_have_their_form),
	    cmocka_unit_test(entries_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
