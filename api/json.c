/* Strict JSON: our own check of the whole text, then json-c for the tree; and a small writer. */
#include "api/json.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the check ---- */

/* A member name as it was met: unescaped, in the scanner's name memory. */
struct scan_name {
	uint32_t object; /* serial number of the object it stands in */
	uint32_t len;
	const char *bytes;
	size_t pos;
};

struct scan {
	const char *text;
	size_t len;
	size_t pos;
	const char *why; /* set once: the first thing that is wrong */
	size_t why_pos;
	enum err status;
	uint32_t objects;
	char *names_memory; /* as long as the text: no name grows when it is unescaped */
	size_t names_used;
	struct scan_name *names;
	size_t names_len;
	size_t names_capacity;
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

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool scan_digits(struct scan *s)
{
	if (!is_digit(scan_peek(s)))
		return scan_fail(s, s->pos, "not a JSON number");
	while (is_digit(scan_peek(s)))
		s->pos++;
	return true;
}

/* RFC 8259 §6 */
static bool scan_number(struct scan *s)
{
	if (scan_peek(s) == '-')
		s->pos++;
	if (scan_peek(s) == '0')
		s->pos++;
	else if (!scan_digits(s))
		return false;
	if (scan_peek(s) == '.') {
		s->pos++;
		if (!scan_digits(s))
			return false;
	}
	if (scan_peek(s) == 'e' || scan_peek(s) == 'E') {
		s->pos++;
		if (scan_peek(s) == '+' || scan_peek(s) == '-')
			s->pos++;
		if (!scan_digits(s))
			return false;
	}
	return true;
}

static int hex_value(int c)
{
	if (is_digit(c))
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
		int value = hex_value(scan_peek(s));

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

/* Behind a backslash.  Writes the character to dst unless that is NULL. */
static bool scan_escape(struct scan *s, char *dst, size_t *written)
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
		if (at == NULL)
			return scan_fail(s, s->pos, "unknown escape");
		s->pos++;
		code_point = (unsigned char)to[at - from];
	}
	if (dst != NULL)
		*written += utf8_encode(code_point, dst + *written);
	return true;
}

/* A string whose opening quote is at pos; unescaped to dst unless that is NULL. */
static bool scan_string(struct scan *s, char *dst, size_t *ret_len)
{
	size_t written = 0;

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
		if (c == '\\') {
			if (!scan_escape(s, dst, &written))
				return false;
		} else if (dst != NULL) {
			dst[written++] = (char)c;
		}
	}
	*ret_len = written;
	return true;
}

static bool scan_name(struct scan *s, uint32_t object)
{
	struct scan_name name = { .object = object, .pos = s->pos };
	size_t len;

	if (scan_peek(s) != '"')
		return scan_fail(s, s->pos, "a member name in double quotes was expected");
	if (s->names_memory == NULL && (s->names_memory = malloc(s->len)) == NULL)
		return scan_nomem(s);
	name.bytes = s->names_memory + s->names_used;
	if (!scan_string(s, s->names_memory + s->names_used, &len))
		return false;
	name.len = (uint32_t)len;
	s->names_used += len;
	if (s->names_len == s->names_capacity) {
		size_t capacity = s->names_capacity == 0 ? 32 : s->names_capacity * 2;
		struct scan_name *names = reallocarray(s->names, capacity, sizeof(*names));

		if (names == NULL)
			return scan_nomem(s);
		s->names = names;
		s->names_capacity = capacity;
	}
	s->names[s->names_len++] = name;
	return true;
}

static bool scan_value(struct scan *s, unsigned depth);

static bool scan_object(struct scan *s, unsigned depth)
{
	uint32_t object = s->objects++;

	s->pos++;
	scan_space(s);
	if (scan_peek(s) == '}') {
		s->pos++;
		return true;
	}
	for (;;) {
		if (!scan_name(s, object))
			return false;
		scan_space(s);
		if (scan_peek(s) != ':')
			return scan_fail(s, s->pos, "':' was expected");
		s->pos++;
		scan_space(s);
		if (!scan_value(s, depth))
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

static bool scan_array(struct scan *s, unsigned depth)
{
	s->pos++;
	scan_space(s);
	if (scan_peek(s) == ']') {
		s->pos++;
		return true;
	}
	for (;;) {
		if (!scan_value(s, depth))
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

/* depth: how many objects and arrays are open around it. */
static bool scan_value(struct scan *s, unsigned depth)
{
	size_t len;
	int c = scan_peek(s);

	if ((c == '{' || c == '[') && depth == JSON_DEPTH_MAX)
		return scan_fail(s, s->pos, "nested too deeply");
	switch (c) {
	case '{':
		return scan_object(s, depth + 1);
	case '[':
		return scan_array(s, depth + 1);
	case '"':
		return scan_string(s, NULL, &len);
	case 't':
		return scan_literal(s, "true");
	case 'f':
		return scan_literal(s, "false");
	case 'n':
		return scan_literal(s, "null");
	default:
		if (c == '-' || is_digit(c))
			return scan_number(s);
		return scan_fail(s, s->pos, c < 0 ? "the text ends too early" : "not a JSON value");
	}
}

static int name_compare(const void *a, const void *b)
{
	const struct scan_name *x = a;
	const struct scan_name *y = b;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->bytes, y->bytes, x->len);
}

static bool scan_duplicates(struct scan *s)
{
	if (s->names_len < 2)
		return true;
	qsort(s->names, s->names_len, sizeof(*s->names), name_compare);
	for (size_t i = 1; i < s->names_len; i++) {
		const struct scan_name *x = &s->names[i - 1];
		const struct scan_name *y = &s->names[i];

		if (name_compare(x, y) == 0)
			return scan_fail(s, x->pos > y->pos ? x->pos : y->pos, "duplicate member name");
	}
	return true;
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

/* The whole text; *ret_start and *ret_end are the bounds of the object in it. */
static bool scan_text(struct scan *s, size_t *ret_start, size_t *ret_end)
{
	for (size_t pos = 0; pos < s->len;) {
		uint32_t code_point;

		if (!utf8_next(s->text, s->len, &pos, &code_point))
			return scan_fail_encoding(s, pos);
	}
	s->pos = json_mark_len(s->text, s->len);
	if (json_mark_len(s->text + s->pos, s->len - s->pos) > 0)
		return scan_fail(s, s->pos, "a second byte order mark");
	scan_space(s);
	*ret_start = s->pos;
	if (scan_peek(s) != '{')
		return scan_fail(s, s->pos, s->pos == s->len ? "no JSON object" : "not a JSON object");
	if (!scan_value(s, 0))
		return false;
	*ret_end = s->pos;
	scan_space(s);
	if (s->pos != s->len)
		return scan_fail(s, s->pos, "something follows the JSON object");
	return scan_duplicates(s);
}

/* ---- the tree ---- */

static struct json_value wrap(struct json_object *node)
{
	switch (json_object_get_type(node)) {
	case json_type_boolean:
		return (struct json_value){ JSON_BOOLEAN, node };
	case json_type_double:
	case json_type_int:
		return (struct json_value){ JSON_NUMBER, node };
	case json_type_string:
		return (struct json_value){ JSON_STRING, node };
	case json_type_array:
		return (struct json_value){ JSON_ARRAY, node };
	case json_type_object:
		return (struct json_value){ JSON_OBJECT, node };
	case json_type_null:
		break;
	}
	return (struct json_value){ JSON_NULL, NULL };
}

struct json_doc {
	struct json_object *root;
};

/* json-c on text that was checked: whatever it refuses now is memory or a disagreement with our check. */
static enum err parse_checked(const char *text, size_t len, struct json_object **ret_root)
{
	enum err e = E_OK;
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 2);
	struct json_object *root;

	if (tokener == NULL)
		return E_NOMEM;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = json_tokener_parse_ex(tokener, text, (int)len);
	if (root == NULL || json_tokener_get_error(tokener) != json_tokener_success ||
	    json_tokener_get_parse_end(tokener) != len || json_object_get_type(root) != json_type_object) {
		e = E_INVAL;
		json_object_put(root);
	} else {
		*ret_root = root;
	}
	json_tokener_free(tokener);
	return e;
}

enum err json_read(const char *text, size_t len, char why[JSON_WHY_SIZE], struct json_doc **ret_doc)
{
	struct scan s = { .text = text, .len = len };
	struct json_doc *doc = NULL;
	size_t start;
	size_t end;

	if (len > INT_MAX)
		scan_fail(&s, 0, "too large");
	else if (scan_text(&s, &start, &end)) {
		doc = calloc(1, sizeof(*doc));
		s.status = doc == NULL ? E_NOMEM : parse_checked(text + start, end - start, &doc->root);
		if (s.status == E_INVAL) {
			s.why = "not accepted by the parser";
			s.why_pos = start;
		}
	}
	if (s.status == E_INVAL)
		snprintf(why, JSON_WHY_SIZE, "%s, at byte %zu", s.why, s.why_pos);
	if (s.status == E_OK)
		*ret_doc = doc;
	else
		free(doc);
	free(s.names);
	free(s.names_memory);
	return s.status;
}

void json_doc_free(struct json_doc *doc)
{
	if (doc == NULL)
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
		return (struct json_value){ JSON_ABSENT, NULL };
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
	int64_t value;

	if (number.kind != JSON_NUMBER || json_object_get_type(number.node) != json_type_int)
		return E_INVAL;
	value = json_object_get_int64(number.node); /* one too large is cut to INT64_MAX */
	if (value == INT64_MAX || value == INT64_MIN)
		return E_INVAL;
	*ret_value = value;
	return E_OK;
}

size_t json_array_len(struct json_value array)
{
	return array.kind == JSON_ARRAY ? json_object_array_length(array.node) : 0;
}

struct json_value json_array_item(struct json_value array, size_t index)
{
	if (index >= json_array_len(array))
		return (struct json_value){ JSON_ABSENT, NULL };
	return wrap(json_object_array_get_idx(array.node, index));
}

const char *json_kind_name(enum json_kind kind)
{
	static const char *const names[] = {
		[JSON_ABSENT] = "nothing",    [JSON_NULL] = "null",       [JSON_BOOLEAN] = "a boolean",
		[JSON_NUMBER] = "a number",   [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
		[JSON_OBJECT] = "an object",
	};

	return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "?";
}

/* ---- the writer ---- */

void json_writer_init(struct json_writer *w, struct buf *out)
{
	*w = (struct json_writer){ .out = out };
}

static void before_value(struct json_writer *w)
{
	if (w->need_comma)
		buf_put_str(w->out, ",");
	w->need_comma = true;
}

static void open_level(struct json_writer *w, const char *opener, char closer)
{
	assert(w->depth < JSON_WRITER_DEPTH);
	before_value(w);
	buf_put_str(w->out, opener);
	w->closers[w->depth++] = closer;
	w->need_comma = false;
}

void json_open_object(struct json_writer *w)
{
	open_level(w, "{", '}');
}

void json_open_array(struct json_writer *w)
{
	open_level(w, "[", ']');
}

void json_close(struct json_writer *w)
{
	assert(w->depth > 0);
	buf_put_u8(w->out, (uint8_t)w->closers[--w->depth]);
	w->need_comma = true;
}

static void put_escaped(struct buf *out, uint32_t c)
{
	switch (c) {
	case '"':
		buf_put_str(out, "\\\"");
		break;
	case '\\':
		buf_put_str(out, "\\\\");
		break;
	case '\n':
		buf_put_str(out, "\\n");
		break;
	case '\r':
		buf_put_str(out, "\\r");
		break;
	case '\t':
		buf_put_str(out, "\\t");
		break;
	default:
		buf_printf(out, "\\u%04x", (unsigned)c);
		break;
	}
}

/* ASCII that stands for itself: nearly all there is. */
static bool is_plain(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_quoted(struct buf *out, const char *text)
{
	size_t len = strlen(text);
	size_t run = 0; /* start of what can be copied as it is */
	size_t pos = 0;

	buf_put_str(out, "\"");
	while (pos < len) {
		size_t at = pos;
		uint32_t c;

		if (is_plain(text[pos])) {
			pos++;
			continue;
		}
		if (utf8_next(text, len, &pos, &c)) {
			if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
				continue;
			buf_put(out, text + run, at - run);
			put_escaped(out, c);
		} else {
			buf_put(out, text + run, at - run);
			buf_put_str(out, "\xef\xbf\xbd");
			pos = at + 1;
		}
		run = pos;
	}
	buf_put(out, text + run, len - run);
	buf_put_str(out, "\"");
}

void json_put_name(struct json_writer *w, const char *name)
{
	before_value(w);
	put_quoted(w->out, name);
	buf_put_str(w->out, ":");
	w->need_comma = false;
}

void json_put_text(struct json_writer *w, const char *text)
{
	before_value(w);
	if (text == NULL)
		buf_put_str(w->out, "null");
	else
		put_quoted(w->out, text);
}

void json_put_int(struct json_writer *w, int64_t value)
{
	before_value(w);
	buf_printf(w->out, "%" PRId64, value);
}

void json_put_bool(struct json_writer *w, bool value)
{
	json_put_raw(w, value ? "true" : "false");
}

void json_put_null(struct json_writer *w)
{
	json_put_raw(w, "null");
}

void json_put_raw(struct json_writer *w, const char *json)
{
	before_value(w);
	buf_put_str(w->out, json);
}

void json_put_text_member(struct json_writer *w, const char *name, const char *text)
{
	json_put_name(w, name);
	json_put_text(w, text);
}

void json_put_int_member(struct json_writer *w, const char *name, int64_t value)
{
	json_put_name(w, name);
	json_put_int(w, value);
}

void json_put_bool_member(struct json_writer *w, const char *name, bool value)
{
	json_put_name(w, name);
	json_put_bool(w, value);
}

void json_put_time_member(struct json_writer *w, const char *name, int64_t wall_us)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(wall_us, text);
	json_put_text_member(w, name, text);
}
