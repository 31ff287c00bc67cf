/* What csrctl prints on standard output. */
#include "cli/output.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define FACT_NAME_WIDTH 20
#define CELL_GAP 2

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

void output_text(const char *text)
{
	size_t len = strlen(text), pos = 0;

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

void output_format_time(int64_t us, char text[OUTPUT_TIME_SIZE])
{
	clock_format_rfc3339(us, text);
	memcpy(text + strlen("2026-11-23T14:25:01"), "Z", 2);
}

const char *output_scope_name(enum store_scope_kind kind)
{
	return kind == STORE_ACCOUNT ? "account" : "zone";
}

/* ---- columns ---- */

void output_table_init(struct output_table *t, const char *const *titles, size_t columns)
{
	memset(t, 0, sizeof(*t));
	t->titles = titles;
	t->columns = columns;
}

void output_table_put(struct output_table *t, const char *text)
{
	char *copy;

	if (t->failed)
		return;
	if (t->cells_len == t->capacity) {
		size_t capacity = t->capacity ? 2 * t->capacity : 64;
		char **cells = reallocarray(t->cells, capacity, sizeof(*cells));

		if (!cells) {
			t->failed = true;
			return;
		}
		t->cells = cells;
		t->capacity = capacity;
	}
	copy = strdup(text && *text ? text : "-");
	if (!copy) {
		t->failed = true;
		return;
	}
	t->cells[t->cells_len++] = copy;
}

void output_table_put_int(struct output_table *t, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	output_table_put(t, text);
}

void output_table_put_quota(struct output_table *t, int64_t quota)
{
	if (quota == STORE_NO_LIMIT)
		output_table_put(t, "unlimited");
	else
		output_table_put_int(t, quota);
}

void output_table_put_time(struct output_table *t, int64_t us, const char *never)
{
	char text[OUTPUT_TIME_SIZE];

	if (us == 0) {
		output_table_put(t, never);
		return;
	}
	output_format_time(us, text);
	output_table_put(t, text);
}

static size_t width_of(const char *text)
{
	size_t len = strlen(text);

	return utf8_is_valid(text, len) ? utf8_count(text, len) : len;
}

static const char *cell(const struct output_table *t, size_t row, size_t column)
{
	return row == 0 ? t->titles[column] : t->cells[(row - 1) * t->columns + column];
}

static void print_row(const struct output_table *t, size_t row, const size_t *widths)
{
	for (size_t c = 0; c < t->columns; c++) {
		output_text(cell(t, row, c));
		if (c + 1 < t->columns)
			printf("%*s", (int)(widths[c] - width_of(cell(t, row, c)) + CELL_GAP), "");
	}
	putchar('\n');
}

enum exit_code output_table_end(struct output_table *t)
{
	size_t rows = 1 + t->cells_len / t->columns;
	size_t *widths = calloc(t->columns, sizeof(*widths));
	bool failed = t->failed || !widths;

	for (size_t row = 0; !failed && row < rows; row++)
		for (size_t c = 0; c < t->columns; c++)
			if (width_of(cell(t, row, c)) > widths[c])
				widths[c] = width_of(cell(t, row, c));
	for (size_t row = 0; !failed && row < rows; row++)
		print_row(t, row, widths);
	free(widths);
	output_table_release(t);
	return failed ? cli_fail(E_NOMEM, "%s", err_str(E_NOMEM)) : EXIT_CODE_OK;
}

void output_table_release(struct output_table *t)
{
	for (size_t i = 0; i < t->cells_len; i++)
		free(t->cells[i]);
	free(t->cells);
	memset(t, 0, sizeof(*t));
}

/* ---- a list ---- */

void output_list_begin(struct output_list *list, bool json, const char *name, const char *const *titles,
                       size_t columns)
{
	memset(list, 0, sizeof(*list));
	list->json = json;
	list->total = -1;
	if (!json) {
		output_table_init(&list->table, titles, columns);
		return;
	}
	output_json_begin(&list->j);
	json_put_name(&list->j.w, name);
	json_open_array(&list->j.w);
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

void output_fact(const char *name, const char *value)
{
	if (!value || !*value)
		return;
	printf("%-*s", FACT_NAME_WIDTH, name);
	output_text(value);
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
	char text[OUTPUT_TIME_SIZE];

	if (us == 0) {
		output_fact(name, never);
		return;
	}
	output_format_time(us, text);
	output_fact(name, text);
}
