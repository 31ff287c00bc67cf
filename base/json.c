/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of JSON. */
#include "base/json.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

void json_writer_init(struct json_writer *w, struct buf *out)
{
	*w = (struct json_writer){.out = out};
}

void json_write_in_lines(struct json_writer *w)
{
	w->in_lines = true;
}

void json_write_canonical(struct json_writer *w)
{
	w->canonical = true;
}

static void json_put_line_end(struct json_writer *w)
{
	buf_put_str(w->out, "\n");
	for (unsigned i = 0; i < w->depth; i++)
		buf_put_str(w->out, "  ");
}

static void before_value(struct json_writer *w)
{
	if (!w->after_name) {
		if (w->need_comma)
			buf_put_str(w->out, ",");
		if (w->in_lines && w->depth > 0)
			json_put_line_end(w);
	}
	w->after_name = false;
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
	bool empty = !w->need_comma;

	assert(w->depth > 0);
	w->depth--;
	if (w->in_lines && !empty)
		json_put_line_end(w);
	buf_put_u8(w->out, (uint8_t)w->closers[w->depth]);
	w->need_comma = true;
}

static void json_put_escaped(struct buf *out, uint32_t c, bool canonical)
{
	static const char short_forms[] = {
	    ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['"'] = '"', ['\\'] = '\\'};

	if (c < sizeof(short_forms) && short_forms[c])
		buf_printf(out, "\\%c", short_forms[c]);
	else if (canonical && (c == '\b' || c == '\f'))
		buf_put_str(out, c == '\b' ? "\\b" : "\\f");
	else
		buf_printf(out, "\\u%04x", (unsigned)c);
}

/* ASCII that stands for itself: nearly all there is. */
static bool json_is_plain(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Where texts are looked at, DEL is better escaped; RFC 8785 does not do it. */
static void json_put_quoted(struct buf *out, const char *text, bool canonical)
{
	size_t len = strlen(text);
	size_t run = 0; /* start of what can be copied as it is */
	size_t pos = 0;

	buf_put_str(out, "\"");
	while (pos < len) {
		size_t at = pos;
		uint32_t c;

		if (json_is_plain(text[pos])) {
			pos++;
			continue;
		}
		if (utf8_next(text, len, &pos, &c)) {
			if (c >= 0x20 && c != '"' && c != '\\' && (c != 0x7f || canonical))
				continue;
			buf_put(out, text + run, at - run);
			json_put_escaped(out, c, canonical);
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

void json_put_canonical_string(struct buf *out, const char *text)
{
	json_put_quoted(out, text, true);
}

void json_put_name(struct json_writer *w, const char *name)
{
	before_value(w);
	json_put_quoted(w->out, name, w->canonical);
	buf_put_str(w->out, w->in_lines ? ": " : ":");
	w->after_name = true;
}

void json_put_text(struct json_writer *w, const char *text)
{
	before_value(w);
	if (!text)
		buf_put_str(w->out, "null");
	else
		json_put_quoted(w->out, text, w->canonical);
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
