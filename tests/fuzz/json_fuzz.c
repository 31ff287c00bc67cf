/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F38.  JSON: what is accepted is UTF-8 and accepted by json-c's own parser, too; written again and read
 * again it is the same.  What is refused is so with a reason in ASCII.
 */
#include "api/json.h"
#include "base/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <json-c/json.h>

static void write_value(struct json_writer *w, struct json_value value);

static void write_member(void *arg, const char *name, struct json_value value)
{
	json_put_name(arg, name);
	write_value(arg, value);
}

static void write_value(struct json_writer *w, struct json_value value)
{
	int64_t integer = 0;

	switch (value.kind) {
	case JSON_OBJECT:
		json_open_object(w);
		json_each_member(value, write_member, w);
		json_close(w);
		break;
	case JSON_ARRAY:
		json_open_array(w);
		for (size_t i = 0; i < json_array_len(value); i++)
			write_value(w, json_array_item(value, i));
		json_close(w);
		break;
	case JSON_STRING:
		json_put_text(w, json_text(value));
		break;
	case JSON_BOOLEAN:
		json_put_bool(w, json_is_true(value));
		break;
	case JSON_NUMBER:
		if (json_integer(value, &integer) == E_OK)
			json_put_int(w, integer);
		else
			json_put_raw(w, "0.5");
		break;
	default:
		json_put_null(w);
	}
}

/* False: it was refused. */
static bool rewrite(const char *text, size_t len, struct buf *out)
{
	char why[JSON_WHY_SIZE] = "";
	struct json_doc *doc = NULL;
	struct json_writer w;
	enum err e = json_read(text, len, why, &doc);

	buf_init(out, 16 * (len + 64));
	if (e != E_OK) {
		FUZZ_CHECK(e == E_INVAL && why[0] && strlen(why) < JSON_WHY_SIZE);
		for (size_t i = 0; why[i]; i++)
			FUZZ_CHECK(why[i] >= ' ' && why[i] <= '~');
		return false;
	}
	json_writer_init(&w, out);
	write_value(&w, json_root(doc));
	FUZZ_CHECK(buf_status(out) == E_OK);
	json_doc_free(doc);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct json_tokener *other;
	size_t mark = json_mark_len(text, size);
	struct json_object *value;
	struct buf once, twice;

	if (rewrite(text, size, &once)) {
		FUZZ_CHECK(utf8_is_valid(text, size) && utf8_is_valid(buf_text(&once), once.len));
		other = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
		json_tokener_set_flags(other, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		value = json_tokener_parse_ex(other, text + mark, (int)(size - mark));
		FUZZ_CHECK(json_tokener_get_error(other) == json_tokener_success);
		json_object_put(value);
		json_tokener_free(other);
		FUZZ_CHECK(rewrite(buf_text(&once), once.len, &twice));
		FUZZ_CHECK(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
		buf_release(&twice);
	}
	buf_release(&once);
	return 0;
}
