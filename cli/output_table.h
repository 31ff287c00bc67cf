/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aligned columns for people.  On a terminal that is too narrow for all of it
 * times become ages, ids their first eight characters, and at last texts are
 * cut; anywhere else, as in a pipe or a file, everything is whole.
 *
 * Rows are kept until there are OUTPUT_TABLE_ROWS of them, then printed: a table of
 * any length takes no more memory than those, and its columns may become wider.
 */
#ifndef CSRD_CLI_OUTPUT_TABLE_H
#define CSRD_CLI_OUTPUT_TABLE_H

#include "base/attr.h"
#include "base/exit_code.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_TABLE_ROWS 1000

enum output_fit {
	OUTPUT_WHOLE = 0, /* never cut */
	OUTPUT_ID,        /* csrctl takes the start of it, too, where it is the only one */
	OUTPUT_CUT,       /* ends with "…" where it is cut */
};

struct output_column {
	const char *title;
	enum output_fit fit;
};

struct output_cell {
	char *text;
	char *brief; /* for a narrow terminal; NULL: there is none */
};

struct output_table {
	const struct output_column *column;
	size_t columns;
	struct output_cell *cells; /* owned, row by row */
	size_t cells_len;
	size_t capacity;
	size_t *widths;  /* owned: of the columns so far; NULL: nothing is printed yet */
	unsigned narrow; /* what had to be done to make it fit */
	bool failed;     /* out of memory */
};

/* column is borrowed. */
void output_table_init(struct output_table *t, const struct output_column *column, size_t columns);
void output_table_put(struct output_table *t, const char *text); /* "-" for NULL and "" */
void output_table_put_int(struct output_table *t, int64_t value);
void output_table_put_quota(struct output_table *t, int64_t quota);
void output_table_put_time(struct output_table *t, int64_t us, const char *never); /* `never` for 0 */
/* Between two rows: prints those that are there when they are many. */
void output_table_next(struct output_table *t);
/* Prints the rest, with the titles if they are missing, and releases all.  Says what is wrong. */
enum exit_code output_table_end(struct output_table *t);
void output_table_release(struct output_table *t);

#endif
