/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of JSON. */
#include "base/json.h"
#include "tests/unit/cmocka_all.h"

static void writing_escapes(void **state)
{
	struct json_writer w;
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	json_writer_init(&w, &b);
	json_open_object(&w);
	json_put_text_member(&w, "a\"b", "x\"\\\n\r\t\x01\x7f\xc3\xa9");
	json_put_text_member(&w, "bad", "a\377b\xc3");
	json_put_text_member(&w, "none", NULL);
	json_put_int_member(&w, "i", INT64_MIN);
	json_put_bool_member(&w, "t", true);
	json_put_time_member(&w, "at", 1);
	json_put_name(&w, "list");
	json_open_array(&w);
	json_put_int(&w, 1);
	json_open_object(&w);
	json_close(&w);
	json_put_null(&w);
	json_put_raw(&w, "[]");
	json_close(&w);
	json_put_bool_member(&w, "f", false);
	json_close(&w);
	assert_int_equal(buf_status(&b), E_OK);
	assert_string_equal(buf_text(&b), "{\"a\\\"b\":\"x\\\"\\\\\\n\\r\\t\\u0001\\u007f\xc3\xa9\","
					  "\"bad\":\"a\357\277\275b\xef\xbf\xbd\",\"none\":null,"
					  "\"i\":-9223372036854775808,\"t\":true,"
					  "\"at\":\"1970-01-01T00:00:00.000001Z\","
					  "\"list\":[1,{},null,[]],\"f\":false}");
	buf_release(&b);
}

static void lines_are_indented(void **state)
{
	struct json_writer w;
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	json_writer_init(&w, &b);
	json_write_in_lines(&w);
	json_open_object(&w);
	json_put_int_member(&w, "i", 1);
	json_put_name(&w, "none");
	json_open_array(&w);
	json_close(&w);
	json_put_name(&w, "list");
	json_open_array(&w);
	json_open_object(&w);
	json_put_text_member(&w, "a", "b");
	json_close(&w);
	json_put_bool(&w, true);
	json_close(&w);
	json_close(&w);
	assert_int_equal(buf_status(&b), E_OK);
	assert_string_equal(buf_text(&b), "{\n"
					  "  \"i\": 1,\n"
					  "  \"none\": [],\n"
					  "  \"list\": [\n"
					  "    {\n"
					  "      \"a\": \"b\"\n"
					  "    },\n"
					  "    true\n"
					  "  ]\n"
					  "}");
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writing_escapes),
	    cmocka_unit_test(lines_are_indented),
	};

	return cmocka_run_group_tests_name("base_json", tests, NULL, NULL);
}
