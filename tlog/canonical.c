/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 8785, read with a stack of its own. */
#include "tlog/canonical.h"

#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

struct canonical_level {
	bool is_object;
	size_t name; /* where the name of the member before begins, behind its quote; 0: there is none */
};

struct canonical_scan {
	const char *text;
	size_t len;
	size_t pos;
	size_t depth;
	struct canonical_level levels[CANONICAL_DEPTH_MAX];
};

static char canonical_sees(const struct canonical_scan *s)
{
	return s->pos < s->len ? s->text[s->pos] : '\0';
}

static bool canonical_skip(struct canonical_scan *s, const char *word)
{
	size_t len = strlen(word);

	if (s->len - s->pos < len || memcmp(s->text + s->pos, word, len) != 0)
		return false;
	s->pos += len;
	return true;
}

/* Behind a backslash.  A character has one escape or none; \u00XX is for control characters alone. */
static bool canonical_next_escaped(const char *text, size_t len, size_t *pos, uint32_t *ret_char)
{
	static const char escapes[][2] = {{'"', '"'},  {'\\', '\\'}, {'b', '\b'}, {'t', '\t'},
					  {'n', '\n'}, {'f', '\f'},  {'r', '\r'}};
	static const char digits[] = "0123456789abcdef";
	const char *at = text + *pos, *digit;

	if (*pos == len)
		return false;
	for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
		if (*at == escapes[i][0]) {
			*ret_char = (uint32_t)escapes[i][1];
			*pos += 1;
			return true;
		}
	}
	if (len - *pos < 5 || memcmp(at, "u00", 3) != 0 || (at[3] != '0' && at[3] != '1') || !at[4] ||
	    !(digit = strchr(digits, at[4])))
		return false;
	*ret_char = (uint32_t)(at[3] - '0') << 4 | (uint32_t)(digit - digits);
	*pos += 5;
	return !strchr("\b\t\n\f\r", (int)*ret_char) || *ret_char == 0;
}

/* The next character of a string; false at its quote, or where it is malformed. */
static bool canonical_next(const char *text, size_t len, size_t *pos, uint32_t *ret_char)
{
	size_t at = *pos;

	if (at == len || text[at] == '"' || (unsigned char)text[at] < 0x20)
		return false;
	if (text[at] == '\\') {
		at++;
		if (!canonical_next_escaped(text, len, &at, ret_char))
			return false;
	} else if (!utf8_next(text, len, &at, ret_char)) {
		return false;
	}
	*pos = at;
	return true;
}

static bool canonical_string(struct canonical_scan *s)
{
	uint32_t c;

	if (!canonical_skip(s, "\""))
		return false;
	while (canonical_next(s->text, s->len, &s->pos, &c))
		;
	return canonical_skip(s, "\"");
}

/* The first of its UTF-16 units, for an order among different characters. */
static uint32_t canonical_unit(uint32_t c)
{
	return c < 0x10000 ? c : 0xd800 + ((c - 0x10000) >> 10);
}

/* Is the name at `a` before that at `b`?  Both are well-formed. */
static bool canonical_is_before(const struct canonical_scan *s, size_t a, size_t b)
{
	uint32_t c, d;

	for (;;) {
		bool more = canonical_next(s->text, s->len, &a, &c);

		if (!canonical_next(s->text, s->len, &b, &d))
			return false;
		if (!more)
			return true;
		if (c != d)
			return canonical_unit(c) != canonical_unit(d) ? canonical_unit(c) < canonical_unit(d)
								      : c < d;
	}
}

static bool canonical_name(struct canonical_scan *s)
{
	struct canonical_level *level = &s->levels[s->depth - 1];
	size_t name = s->pos + 1;

	if (!canonical_string(s) || !canonical_skip(s, ":") ||
	    (level->name > 0 && !canonical_is_before(s, level->name, name)))
		return false;
	level->name = name;
	return true;
}

static bool canonical_number(struct canonical_scan *s)
{
	bool negative = canonical_skip(s, "-");
	size_t first = s->pos;
	uint64_t number = 0;

	while (str_ascii_is_digit(canonical_sees(s)) && number <= JSON_INT_MAX)
		number = number * 10 + (uint64_t)(s->text[s->pos++] - '0');
	if (s->pos == first || number > JSON_INT_MAX)
		return false;
	return s->text[first] != '0' || (s->pos == first + 1 && !negative);
}

static bool canonical_open(struct canonical_scan *s, bool is_object)
{
	if (s->depth == CANONICAL_DEPTH_MAX)
		return false;
	s->levels[s->depth++] = (struct canonical_level){.is_object = is_object};
	s->pos++;
	return true;
}

/* Behind a value: ends what ends here, and goes to where the next value begins, if there is one. */
static bool canonical_after(struct canonical_scan *s)
{
	while (s->depth > 0) {
		const struct canonical_level *level = &s->levels[s->depth - 1];

		if (canonical_skip(s, ","))
			return !level->is_object || canonical_name(s);
		if (!canonical_skip(s, level->is_object ? "}" : "]"))
			return false;
		s->depth--;
	}
	return true;
}

/* A whole value, or the begin of one that has values in it. */
static bool canonical_value(struct canonical_scan *s)
{
	switch (canonical_sees(s)) {
	case '{':
		if (!canonical_open(s, true))
			return false;
		return canonical_sees(s) == '}' ? canonical_after(s) : canonical_name(s);
	case '[':
		if (!canonical_open(s, false))
			return false;
		return canonical_sees(s) != ']' || canonical_after(s);
	case '"':
		return canonical_string(s) && canonical_after(s);
	case 't':
		return canonical_skip(s, "true") && canonical_after(s);
	case 'f':
		return canonical_skip(s, "false") && canonical_after(s);
	case 'n':
		return canonical_skip(s, "null") && canonical_after(s);
	default:
		return canonical_number(s) && canonical_after(s);
	}
}

bool canonical_check(const void *bytes, size_t len)
{
	struct canonical_scan s = {.text = bytes, .len = len};

	do
		if (!canonical_value(&s))
			return false;
	while (s.depth > 0);
	return s.pos == s.len;
}
