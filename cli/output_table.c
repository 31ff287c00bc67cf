/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned columns for people. */
#include "cli/output_table.h"

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_GAP 2
#define ID_CHARS 8   /* of an id that is cut */
#define CUT_CHARS 10 /* a column of texts keeps that many */

void output_table_init(struct output_table *t, const struct output_column *column, size_t columns)
{
	memset(t, 0, sizeof(*t));
	t->column = column;
	t->columns = columns;
}

static void output_table_put_text(struct output_table *t, const char *text, const char *brief)
{
	struct output_cell cell = {0};

	if (t->failed)
		return;
	if (t->cells_len == t->capacity) {
		size_t capacity = t->capacity ? 2 * t->capacity : 64;
		struct output_cell *cells = reallocarray(t->cells, capacity, sizeof(*cells));

		if (!cells) {
			t->failed = true;
			return;
		}
		t->cells = cells;
		t->capacity = capacity;
	}
	cell.text = strdup(text && *text ? text : "-");
	cell.brief = brief ? strdup(brief) : NULL;
	if (!cell.text || (brief && !cell.brief)) {
		free(cell.text);
		free(cell.brief);
		t->failed = true;
		return;
	}
	t->cells[t->cells_len++] = cell;
}

void output_table_put(struct output_table *t, const char *text)
{
	output_table_put_text(t, text, NULL);
}

void output_table_put_int(struct output_table *t, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	output_table_put_text(t, text, NULL);
}

void output_table_put_quota(struct output_table *t, int64_t quota)
{
	if (quota == STORE_NO_LIMIT)
		output_table_put_text(t, "unlimited", NULL);
	else
		output_table_put_int(t, quota);
}

void output_table_put_time(struct output_table *t, int64_t us, const char *never)
{
	char text[OUTPUT_TIME_SIZE], age[OUTPUT_TIME_SIZE];

	if (us == 0) {
		output_table_put_text(t, never, NULL);
		return;
	}
	output_format_time(us, text);
	output_format_age(us, clock_wall_us(), age);
	output_table_put_text(t, text, age);
}

/* ---- making it fit ---- */

static size_t rows_of(const struct output_table *t)
{
	return t->cells_len / t->columns;
}

static const char *cell(const struct output_table *t, size_t row, size_t column)
{
	return row == 0 ? t->column[column].title : t->cells[(row - 1) * t->columns + column].text;
}

/* Makes each column as wide as it has to be and answers the width of the whole. */
static size_t measure(const struct output_table *t)
{
	size_t all = CELL_GAP * (t->columns - 1);

	for (size_t c = 0; c < t->columns; c++) {
		for (size_t row = 0; row <= rows_of(t); row++) {
			size_t width = terminal_width_of(cell(t, row, c));

			t->widths[c] = width > t->widths[c] ? width : t->widths[c];
		}
		all += t->widths[c];
	}
	return all;
}

/* The same after something was shortened. */
static size_t measure_anew(const struct output_table *t)
{
	memset(t->widths, 0, t->columns * sizeof(*t->widths));
	return measure(t);
}

static void use_brief(struct output_table *t)
{
	for (size_t i = 0; i < t->cells_len; i++) {
		if (!t->cells[i].brief)
			continue;
		free(t->cells[i].text);
		t->cells[i].text = t->cells[i].brief;
		t->cells[i].brief = NULL;
	}
}

static void cut_ids(struct output_table *t)
{
	for (size_t i = 0; i < t->cells_len; i++) {
		char *text = t->cells[i].text;

		if (t->column[i % t->columns].fit == OUTPUT_ID)
			text[terminal_bytes_of(text, ID_CHARS)] = '\0';
	}
}

/* The last column, which is what the others are about, is cut when it is half as wide again as they are. */
static size_t weight_of(const struct output_table *t, size_t column)
{
	return column + 1 == t->columns ? t->widths[column] * 2 / 3 : t->widths[column];
}

/* Takes what is too much from the widest columns of texts. */
static void cut_texts(const struct output_table *t, size_t too_much)
{
	for (; too_much > 0; too_much--) {
		size_t widest = t->columns;

		for (size_t c = 0; c < t->columns; c++)
			if (t->column[c].fit == OUTPUT_CUT && t->widths[c] > CUT_CHARS &&
			    (widest == t->columns || weight_of(t, c) > weight_of(t, widest)))
				widest = c;
		if (widest == t->columns)
			return;
		t->widths[widest]--;
	}
}

/* What was shortened for earlier rows is shortened for all that follow. */
static void make_fit(struct output_table *t)
{
	static void (*const shorten[])(struct output_table * t) = {use_brief, cut_ids};
	size_t room = terminal_width(), all;

	for (unsigned i = 0; i < t->narrow; i++)
		shorten[i](t);
	all = measure(t);
	while (room > 0 && all > room && t->narrow < sizeof(shorten) / sizeof(shorten[0])) {
		shorten[t->narrow++](t);
		all = measure_anew(t);
	}
	if (room > 0 && all > room)
		cut_texts(t, all - room);
}

static void print_cell(const char *text, size_t width, bool is_last)
{
	size_t chars = terminal_width_of(text);
	char *start;

	if (chars <= width) {
		output_text(text);
		if (!is_last)
			printf("%*s", (int)(width - chars + CELL_GAP), "");
		return;
	}
	start = strndup(text, terminal_bytes_of(text, width - 1));
	output_text(start ? start : "");
	free(start);
	printf("…%*s", is_last ? 0 : CELL_GAP, "");
}

static void output_table_print_rows(const struct output_table *t, size_t first)
{
	for (size_t row = first; row <= rows_of(t); row++) {
		for (size_t c = 0; c < t->columns; c++)
			print_cell(cell(t, row, c), t->widths[c], c + 1 == t->columns);
		putchar('\n');
	}
}

static void output_table_release_cells(struct output_table *t)
{
	for (size_t i = 0; i < t->cells_len; i++) {
		free(t->cells[i].text);
		free(t->cells[i].brief);
	}
	t->cells_len = 0;
}

static void output_table_print(struct output_table *t)
{
	bool is_first = !t->widths;

	if (is_first)
		t->widths = calloc(t->columns, sizeof(*t->widths));
	t->failed = t->failed || !t->widths;
	if (!t->failed) {
		make_fit(t);
		output_table_print_rows(t, is_first ? 0 : 1);
	}
	output_table_release_cells(t);
}

void output_table_next(struct output_table *t)
{
	if (rows_of(t) >= OUTPUT_TABLE_ROWS)
		output_table_print(t);
}

enum exit_code output_table_end(struct output_table *t)
{
	output_table_print(t);
	bool failed = t->failed;
	output_table_release(t);
	return failed ? cli_fail(E_NOMEM, "%s", err_str(E_NOMEM)) : EXIT_CODE_OK;
}

void output_table_release(struct output_table *t)
{
	output_table_release_cells(t);
	free(t->cells);
	free(t->widths);
	memset(t, 0, sizeof(*t));
}
