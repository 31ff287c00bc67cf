/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What csrctl prints on standard output: aligned columns for people, or one
 * JSON document.  Control characters in values are shown as \xNN to people.
 */
#ifndef CSRD_CLI_OUTPUT_H
#define CSRD_CLI_OUTPUT_H

#include "api/json.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/exit_code.h"
#include "cli/output_table.h"
#include "store/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- JSON ---- */

struct output_json {
	struct buf buf;
	struct json_writer w;
};
/* Opens the outermost object. */
void output_json_begin(struct output_json *j);
/* Closes it, prints it with a newline, scrubs the buffer.  Says what is wrong. */
enum exit_code output_json_end(struct output_json *j);
/* Nothing for NULL and "". */
void output_json_text_opt(struct json_writer *w, const char *name, const char *text);
/* Nothing for 0. */
void output_json_time_opt(struct json_writer *w, const char *name, int64_t us);
/* null for STORE_NO_LIMIT. */
void output_json_quota(struct json_writer *w, const char *name, int64_t quota);

/* ---- a list: columns for people, or {"NAME": […]} ---- */

struct output_list {
	bool json;
	struct output_json j;
	struct output_table table;
	int64_t total; /* written as total_count unless negative */
};
/* column is borrowed.  The caller puts table cells, or objects onto j.w. */
void output_list_begin(struct output_list *list, bool json, const char *name,
		       const struct output_column *column, size_t columns);
/* After each row of a list that may be long: prints what is there when it has become much. */
void output_list_next(struct output_list *list);
/* Prints the rest and releases it. */
enum exit_code output_list_end(struct output_list *list);
/* Releases it, and prints no more of it. */
void output_list_drop(struct output_list *list);

/* ---- one thing ---- */

/* "name    value", broken at blanks and commas on a terminal; nothing for a value of NULL or "". */
void output_fact(const char *name, const char *value);
void output_fact_quota(const char *name, int64_t quota);
void output_fact_time(const char *name, int64_t us, const char *never); /* and its age */

/* "2026-11-23T14:25:01Z" and its NUL. */
#define OUTPUT_TIME_SIZE 32
void output_format_time(int64_t us, char text[OUTPUT_TIME_SIZE]);
/* "3m ago", "in 12d"; the date if it is a hundred days or more. */
void output_format_age(int64_t us, int64_t now_us, char text[OUTPUT_TIME_SIZE]);

/* As printf("%s") with control characters escaped. */
void output_text(const char *text);
/* The same, wrapped at blanks and commas on a terminal; lines after the first are indented. */
void output_wrapped(const char *text, size_t indent);
/* A line of words, wrapped likewise. */
void output_line(size_t indent, const char *format, ...) PRINTF_LIKE(2, 3);

const char *output_scope_name(enum store_scope_kind kind); /* "account", "zone" */

#endif
