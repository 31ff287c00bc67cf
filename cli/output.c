/* SPDX-License-Identifier: Apache-2.0 */
/* What csrctl prints on standard output. */
#include "cli/output.h"

#include "base/clock.h"
#include "base/str.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/terminal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_BYTES_MAX ((size_t)256 * 1024 * 1024) /* that are not printed yet */
#define JSON_BYTES_MUCH ((size_t)256 * 1024)
#define FACT_NAME_WIDTH 20
#define VALUE_WIDTH_MIN 20

/* ---- JSON ---- */

void output_json_begin(struct output_json *j)
{
	buf_init(&j->buf, JSON_BYTES_MAX);
	json_writer_init(&j->w, &j->buf);
	json_open_object(&j->w);
}

enum exit_code output_json_end(struct output_json *j)
{
	enum err e;

	json_close(&j->w);
	buf_put_str(&j->buf, "\n");
	e = buf_status(&j->buf);
	if (e == E_OK)
		fwrite(j->buf.data, 1, j->buf.len, stdout);
	buf_release(&j->buf);
	return e == E_OK ? EXIT_CODE_OK : cli_fail(e, "cannot write the JSON document: %s", err_str(e));
}

void output_json_text_opt(struct json_writer *w, const char *name, const char *text)
{
	if (text && *text)
		json_put_text_member(w, name, text);
}

void output_json_time_opt(struct json_writer *w, const char *name, int64_t us)
{
	if (us != 0)
		json_put_time_member(w, name, us);
}

void output_json_quota(struct json_writer *w, const char *name, int64_t quota)
{
	if (quota != STORE_NO_LIMIT) {
		json_put_int_member(w, name, quota);
		return;
	}
	json_put_name(w, name);
	json_put_null(w);
}

/* ---- text ---- */

static void output_print_text(const char *text, size_t len)
{
	size_t pos = 0;

	while (pos < len) {
		size_t start = pos;
		uint32_t c;

		if (utf8_next(text, len, &pos, &c) && !utf8_is_unsafe_in_names(c)) {
			fwrite(text + start, 1, pos - start, stdout);
			continue;
		}
		for (pos = pos > start ? pos : start + 1; start < pos; start++)
			printf("\\x%02x", (unsigned char)text[start]);
	}
}

void output_text(const char *text)
{
	output_print_text(text, strlen(text));
}

void output_format_time(int64_t us, char text[OUTPUT_TIME_SIZE])
{
	clock_format_rfc3339(us, text);
	memcpy(text + strlen("2026-11-23T14:25:01"), "Z", 2);
}

void output_format_age(int64_t us, int64_t now_us, char text[OUTPUT_TIME_SIZE])
{
	static const struct {
		int64_t seconds;
		char unit;
	} units[] = {{24 * 3600, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	int64_t age = (now_us - us) / 1000000, span = age < 0 ? -age : age;
	size_t u = 0;

	if (span >= 100 * units[0].seconds) {
		output_format_time(us, text);
		text[strlen("2026-11-23")] = '\0';
		return;
	}
	while (u < 3 && span < units[u].seconds)
		u++;
	snprintf(text, OUTPUT_TIME_SIZE, "%s%d%c%s", age < 0 ? "in " : "", (int)(span / units[u].seconds),
		 units[u].unit, age < 0 ? "" : " ago");
}

const char *output_scope_name(enum store_scope_kind kind)
{
	return kind == STORE_ACCOUNT ? "account" : "zone";
}

/* ---- a list ---- */

void output_list_begin(struct output_list *list, bool json, const char *name,
		       const struct output_column *column, size_t columns)
{
	memset(list, 0, sizeof(*list));
	list->json = json;
	list->total = -1;
	if (!json) {
		output_table_init(&list->table, column, columns);
		return;
	}
	output_json_begin(&list->j);
	json_put_name(&list->j.w, name);
	json_open_array(&list->j.w);
}

void output_list_next(struct output_list *list)
{
	struct buf *b = &list->j.buf;

	if (!list->json) {
		output_table_next(&list->table);
	} else if (b->len >= JSON_BYTES_MUCH && buf_status(b) == E_OK) {
		fwrite(b->data, 1, b->len, stdout);
		buf_reset(b);
	}
}

enum exit_code output_list_end(struct output_list *list)
{
	if (!list->json)
		return output_table_end(&list->table);
	json_close(&list->j.w);
	if (list->total >= 0)
		json_put_int_member(&list->j.w, "total_count", list->total);
	return output_json_end(&list->j);
}

void output_list_drop(struct output_list *list)
{
	if (list->json)
		buf_release(&list->j.buf);
	output_table_release(&list->table);
}

/* ---- one thing ---- */

/* How much of a text goes on this line: up to the last blank or comma in it, or all up to the first one. */
static size_t first_line(const char *text, size_t room)
{
	size_t best = 0, chars = 0, len = strlen(text);

	for (size_t pos = 0; pos < len;) {
		size_t next = pos + terminal_bytes_of(text + pos, 1);

		chars++;
		if (chars > room + (text[pos] == ' ' ? 1 : 0) && best > 0)
			return best;
		if (text[pos] == ' ' || text[pos] == ',')
			best = next;
		pos = next;
	}
	return len;
}

void output_wrapped(const char *text, size_t indent)
{
	size_t width = terminal_width();

	if (width < indent + VALUE_WIDTH_MIN) {
		output_text(text);
		return;
	}
	for (;;) {
		size_t len = first_line(text, width - indent);
		size_t shown = len > 0 && text[len - 1] == ' ' ? len - 1 : len;

		output_print_text(text, shown);
		text += len;
		if (!*text)
			return;
		printf("\n%*s", (int)indent, "");
	}
}

void output_line(size_t indent, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	output_wrapped(text, indent);
	putchar('\n');
}

void output_fact(const char *name, const char *value)
{
	if (!value || !*value)
		return;
	printf("%-*s", FACT_NAME_WIDTH, name);
	output_wrapped(value, FACT_NAME_WIDTH);
	putchar('\n');
}

void output_fact_quota(const char *name, int64_t quota)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, quota);
	output_fact(name, quota == STORE_NO_LIMIT ? "unlimited" : text);
}

void output_fact_time(const char *name, int64_t us, const char *never)
{
	char time[OUTPUT_TIME_SIZE], age[OUTPUT_TIME_SIZE], text[2 * OUTPUT_TIME_SIZE + 4];

	if (us == 0) {
		output_fact(name, never);
		return;
	}
	output_format_time(us, time);
	output_format_age(us, clock_wall_us(), age);
	if (str_starts_with(time, age)) /* so long ago that it is the date */
		output_fact(name, time);
	else {
		snprintf(text, sizeof(text), "%s (%s)", time, age);
		output_fact(name, text);
	}
}
