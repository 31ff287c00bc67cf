/* SPDX-License-Identifier: Apache-2.0 */
/* Strict JSON: a reader of our own, which has json-c hold the values. */
#include "api/json.h"

#include "base/utf8.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the reader ---- */

struct scan {
	const char *text;
	size_t len;
	size_t pos;
	const char *why; /* set once: the first thing that is wrong */
	size_t why_pos;
	enum err status;
	char *memory; /* as long as the text and a NUL: no string grows when it is unescaped */
	size_t memory_used;
};

static bool scan_fail(struct scan *s, size_t pos, const char *why)
{
	if (s->status == E_OK) {
		s->status = E_INVAL;
		s->why = why;
		s->why_pos = pos;
	}
	return false;
}

static bool scan_nomem(struct scan *s)
{
	s->status = E_NOMEM;
	return false;
}

/* The end of each value but null; node is NULL when there was no memory for it. */
static bool scan_done(struct scan *s, struct json_object *node, struct json_object **ret_node)
{
	if (!node)
		return scan_nomem(s);
	*ret_node = node;
	return true;
}

static int scan_peek(const struct scan *s)
{
	return s->pos < s->len ? (unsigned char)s->text[s->pos] : -1;
}

static void scan_space(struct scan *s)
{
	for (; s->pos < s->len; s->pos++) {
		char c = s->text[s->pos];

		if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
			return;
	}
}

static bool scan_literal(struct scan *s, const char *word)
{
	size_t len = strlen(word);

	if (s->len - s->pos < len || memcmp(s->text + s->pos, word, len) != 0)
		return scan_fail(s, s->pos, "not a JSON value");
	s->pos += len;
	return true;
}

static bool scan_boolean(struct scan *s, bool value, struct json_object **ret_node)
{
	return scan_literal(s, value ? "true" : "false") &&
	       scan_done(s, json_object_new_boolean(value), ret_node);
}

static bool json_is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool scan_digits(struct scan *s)
{
	if (!json_is_digit(scan_peek(s)))
		return scan_fail(s, s->pos, "not a JSON number");
	while (json_is_digit(scan_peek(s)))
		s->pos++;
	return true;
}

/* Nobody asks for more than an int64_t: any other is known to be a number, no more. */
static struct json_object *make_number(struct scan *s, size_t start, bool is_whole)
{
	char *digits = s->memory + s->memory_used;
	int64_t value;

	memcpy(digits, s->text + start, s->pos - start);
	digits[s->pos - start] = '\0';
	errno = 0;
	value = strtoll(digits, NULL, 10);
	return is_whole && errno == 0 ? json_object_new_int64(value) : json_object_new_double(0);
}

/* RFC 8259 §6 */
static bool scan_number(struct scan *s, struct json_object **ret_node)
{
	size_t start = s->pos;
	bool is_whole = true;

	if (scan_peek(s) == '-')
		s->pos++;
	if (scan_peek(s) == '0')
		s->pos++;
	else if (!scan_digits(s))
		return false;
	if (scan_peek(s) == '.') {
		is_whole = false;
		s->pos++;
		if (!scan_digits(s))
			return false;
	}
	if (scan_peek(s) == 'e' || scan_peek(s) == 'E') {
		is_whole = false;
		s->pos++;
		if (scan_peek(s) == '+' || scan_peek(s) == '-')
			s->pos++;
		if (!scan_digits(s))
			return false;
	}
	return scan_done(s, make_number(s, start, is_whole), ret_node);
}

static int json_hex_value(int c)
{
	if (json_is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Four digits of a \u escape. */
static bool scan_hex4(struct scan *s, uint32_t *ret_unit)
{
	uint32_t unit = 0;

	for (int i = 0; i < 4; i++) {
		int value = json_hex_value(scan_peek(s));

		if (value < 0)
			return scan_fail(s, s->pos, "\\u without four hexadecimal digits");
		unit = unit << 4 | (uint32_t)value;
		s->pos++;
	}
	*ret_unit = unit;
	return true;
}

/* Behind "\u": one code point, of one unit or of a surrogate pair. */
static bool scan_unicode_escape(struct scan *s, uint32_t *ret_code_point)
{
	size_t start = s->pos;
	uint32_t high;
	uint32_t low;

	if (!scan_hex4(s, &high))
		return false;
	if (high == 0)
		return scan_fail(s, start, "\\u0000 is not accepted");
	if (high >= 0xdc00 && high <= 0xdfff)
		return scan_fail(s, start, "lone surrogate");
	if (high < 0xd800 || high > 0xdbff) {
		*ret_code_point = high;
		return true;
	}
	if (s->len - s->pos < 2 || s->text[s->pos] != '\\' || s->text[s->pos + 1] != 'u')
		return scan_fail(s, start, "lone surrogate");
	s->pos += 2;
	if (!scan_hex4(s, &low))
		return false;
	if (low < 0xdc00 || low > 0xdfff)
		return scan_fail(s, start, "lone surrogate");
	*ret_code_point = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return true;
}

/* At most 4 bytes; an escape of as many code points is 6 or 12 bytes long. */
static size_t utf8_encode(uint32_t c, char *dst)
{
	if (c < 0x80) {
		dst[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		dst[0] = (char)(0xc0 | c >> 6);
		dst[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		dst[0] = (char)(0xe0 | c >> 12);
		dst[1] = (char)(0x80 | (c >> 6 & 0x3f));
		dst[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	dst[0] = (char)(0xf0 | c >> 18);
	dst[1] = (char)(0x80 | (c >> 12 & 0x3f));
	dst[2] = (char)(0x80 | (c >> 6 & 0x3f));
	dst[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Behind a backslash.  The character is added at dst. */
static bool scan_escape(struct scan *s, char *dst, size_t *len)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	int c = scan_peek(s);
	const char *at;
	uint32_t code_point;

	if (c == 'u') {
		s->pos++;
		if (!scan_unicode_escape(s, &code_point))
			return false;
	} else {
		at = c > 0 ? strchr(from, c) : NULL;
		if (!at)
			return scan_fail(s, s->pos, "unknown escape");
		s->pos++;
		code_point = (unsigned char)to[at - from];
	}
	*len += utf8_encode(code_point, dst + *len);
	return true;
}

/* Its opening quote is at pos.  Unescaped and terminated it lies in the memory, until the next one does. */
static bool scan_string(struct scan *s, const char **ret_text, size_t *ret_len)
{
	char *dst = s->memory + s->memory_used;
	size_t len = 0;

	s->pos++;
	for (;;) {
		int c = scan_peek(s);

		if (c < 0)
			return scan_fail(s, s->pos, "the text ends inside a string");
		if (c < 0x20)
			return scan_fail(s, s->pos, "raw control character in a string");
		s->pos++;
		if (c == '"')
			break;
		if (c != '\\')
			dst[len++] = (char)c;
		else if (!scan_escape(s, dst, &len))
			return false;
	}
	dst[len] = '\0';
	*ret_text = dst;
	*ret_len = len;
	return true;
}

static bool scan_text(struct scan *s, struct json_object **ret_node)
{
	const char *text;
	size_t len;

	return scan_string(s, &text, &len) &&
	       scan_done(s, json_object_new_string_len(text, (int)len), ret_node);
}

static bool scan_value(struct scan *s, unsigned depth, struct json_object **ret_node);

static bool scan_member(struct scan *s, unsigned depth, struct json_object *object)
{
	struct json_object *value = NULL;
	size_t start = s->pos;
	const char *name;
	size_t len;

	if (scan_peek(s) != '"')
		return scan_fail(s, s->pos, "a member name in double quotes was expected");
	if (!scan_string(s, &name, &len))
		return false;
	if (json_object_object_get_ex(object, name, NULL))
		return scan_fail(s, start, "duplicate member name");
	scan_space(s);
	if (scan_peek(s) != ':')
		return scan_fail(s, s->pos, "':' was expected");
	s->pos++;
	scan_space(s);
	s->memory_used += len + 1; /* the name is kept while the value is read */
	if (!scan_value(s, depth, &value))
		return false;
	s->memory_used -= len + 1;
	if (json_object_object_add_ex(object, name, value, JSON_C_OBJECT_ADD_KEY_IS_NEW) != 0) {
		json_object_put(value);
		return scan_nomem(s);
	}
	return true;
}

static bool scan_members(struct scan *s, unsigned depth, struct json_object *object)
{
	s->pos++;
	scan_space(s);
	if (scan_peek(s) == '}') {
		s->pos++;
		return true;
	}
	for (;;) {
		if (!scan_member(s, depth, object))
			return false;
		scan_space(s);
		if (scan_peek(s) == '}') {
			s->pos++;
			return true;
		}
		if (scan_peek(s) != ',')
			return scan_fail(s, s->pos, "',' or '}' was expected");
		s->pos++;
		scan_space(s);
	}
}

static bool scan_item(struct scan *s, unsigned depth, struct json_object *array)
{
	struct json_object *value = NULL;

	if (!scan_value(s, depth, &value))
		return false;
	if (json_object_array_add(array, value) != 0) {
		json_object_put(value);
		return scan_nomem(s);
	}
	return true;
}

static bool scan_items(struct scan *s, unsigned depth, struct json_object *array)
{
	s->pos++;
	scan_space(s);
	if (scan_peek(s) == ']') {
		s->pos++;
		return true;
	}
	for (;;) {
		if (!scan_item(s, depth, array))
			return false;
		scan_space(s);
		if (scan_peek(s) == ']') {
			s->pos++;
			return true;
		}
		if (scan_peek(s) != ',')
			return scan_fail(s, s->pos, "',' or ']' was expected");
		s->pos++;
		scan_space(s);
	}
}

/* An object or an array; depth: its own level. */
static bool scan_nest(struct scan *s, unsigned depth, struct json_object **ret_node)
{
	bool is_object = scan_peek(s) == '{';
	struct json_object *node;

	if (depth > JSON_DEPTH_MAX)
		return scan_fail(s, s->pos, "nested too deeply");
	node = is_object ? json_object_new_object() : json_object_new_array();
	if (node && !(is_object ? scan_members : scan_items)(s, depth, node)) {
		json_object_put(node);
		return false;
	}
	return scan_done(s, node, ret_node);
}

/* depth: how many objects and arrays are open around it.  null is a NULL node, as everywhere in json-c. */
static bool scan_value(struct scan *s, unsigned depth, struct json_object **ret_node)
{
	int c = scan_peek(s);

	switch (c) {
	case '{':
	case '[':
		return scan_nest(s, depth + 1, ret_node);
	case '"':
		return scan_text(s, ret_node);
	case 't':
	case 'f':
		return scan_boolean(s, c == 't', ret_node);
	case 'n':
		return scan_literal(s, "null");
	default:
		if (c == '-' || json_is_digit(c))
			return scan_number(s, ret_node);
		return scan_fail(s, s->pos, c < 0 ? "the text ends too early" : "not a JSON value");
	}
}

size_t json_mark_len(const char *text, size_t len)
{
	return len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

/* What stands where UTF-8 was expected: PowerShell and old editors send UTF-16 with its mark, or Latin-1. */
static bool scan_fail_encoding(struct scan *s, size_t pos)
{
	if (pos == 0 && s->len >= 2 &&
	    (memcmp(s->text, "\xff\xfe", 2) == 0 || memcmp(s->text, "\xfe\xff", 2) == 0))
		return scan_fail(s, pos, "UTF-16, not UTF-8: send the body as UTF-8");
	return scan_fail(s, pos, "not UTF-8: send the body as UTF-8");
}

/* The whole text, of which the object is all. */
static bool scan_document(struct scan *s, struct json_object **ret_root)
{
	struct json_object *root = NULL;

	for (size_t pos = 0; pos < s->len;) {
		uint32_t code_point;

		if (!utf8_next(s->text, s->len, &pos, &code_point))
			return scan_fail_encoding(s, pos);
	}
	s->pos = json_mark_len(s->text, s->len);
	if (json_mark_len(s->text + s->pos, s->len - s->pos) > 0)
		return scan_fail(s, s->pos, "a second byte order mark");
	scan_space(s);
	if (scan_peek(s) != '{')
		return scan_fail(s, s->pos, s->pos == s->len ? "no JSON object" : "not a JSON object");
	if (!scan_value(s, 0, &root))
		return false;
	scan_space(s);
	if (s->pos != s->len) {
		json_object_put(root);
		return scan_fail(s, s->pos, "something follows the JSON object");
	}
	*ret_root = root;
	return true;
}

/* ---- the tree ---- */

static struct json_value wrap(struct json_object *node)
{
	switch (json_object_get_type(node)) {
	case json_type_boolean:
		return (struct json_value){JSON_BOOLEAN, node};
	case json_type_double:
	case json_type_int:
		return (struct json_value){JSON_NUMBER, node};
	case json_type_string:
		return (struct json_value){JSON_STRING, node};
	case json_type_array:
		return (struct json_value){JSON_ARRAY, node};
	case json_type_object:
		return (struct json_value){JSON_OBJECT, node};
	case json_type_null:
		break;
	}
	return (struct json_value){JSON_NULL, NULL};
}

struct json_doc {
	struct json_object *root;
};

enum err json_read(const char *text, size_t len, char why[JSON_WHY_SIZE], struct json_doc **ret_doc)
{
	struct scan s = {.text = text, .len = len};
	struct json_doc *doc = NULL;

	if (len >= INT_MAX) {
		scan_fail(&s, 0, "too large");
		goto out;
	}
	doc = calloc(1, sizeof(*doc));
	s.memory = malloc(len + 1);
	if (!doc || !s.memory)
		scan_nomem(&s);
	else
		scan_document(&s, &doc->root);
out:
	if (s.status == E_INVAL)
		snprintf(why, JSON_WHY_SIZE, "%s, at byte %zu", s.why, s.why_pos);
	if (s.status == E_OK)
		*ret_doc = doc;
	else
		free(doc);
	free(s.memory);
	return s.status;
}

void json_doc_free(struct json_doc *doc)
{
	if (!doc)
		return;
	json_object_put(doc->root);
	free(doc);
}

struct json_value json_root(const struct json_doc *doc)
{
	return wrap(doc->root);
}

struct json_value json_member(struct json_value object, const char *name)
{
	struct json_object *node;

	if (object.kind != JSON_OBJECT || !json_object_object_get_ex(object.node, name, &node))
		return (struct json_value){JSON_ABSENT, NULL};
	return wrap(node);
}

void json_each_member(struct json_value object, json_member_fn each, void *arg)
{
	struct json_object_iterator at;
	struct json_object_iterator end;

	if (object.kind != JSON_OBJECT)
		return;
	at = json_object_iter_begin(object.node);
	end = json_object_iter_end(object.node);
	for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at))
		each(arg, json_object_iter_peek_name(&at), wrap(json_object_iter_peek_value(&at)));
}

const char *json_text(struct json_value string)
{
	return string.kind == JSON_STRING ? json_object_get_string(string.node) : NULL;
}

bool json_is_true(struct json_value boolean)
{
	return boolean.kind == JSON_BOOLEAN && json_object_get_boolean(boolean.node);
}

enum err json_integer(struct json_value number, int64_t *ret_value)
{
	if (number.kind != JSON_NUMBER || json_object_get_type(number.node) != json_type_int)
		return E_INVAL;
	*ret_value = json_object_get_int64(number.node);
	return E_OK;
}

size_t json_array_len(struct json_value array)
{
	return array.kind == JSON_ARRAY ? json_object_array_length(array.node) : 0;
}

struct json_value json_array_item(struct json_value array, size_t index)
{
	if (index >= json_array_len(array))
		return (struct json_value){JSON_ABSENT, NULL};
	return wrap(json_object_array_get_idx(array.node, index));
}

const char *json_kind_name(enum json_kind kind)
{
	static const char *const names[] = {
	    [JSON_ABSENT] = "nothing",   [JSON_NULL] = "null",       [JSON_BOOLEAN] = "a boolean",
	    [JSON_NUMBER] = "a number",  [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
	    [JSON_OBJECT] = "an object",
	};

	return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "?";
}
