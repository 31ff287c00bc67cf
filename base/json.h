/* SPDX-License-Identifier: Apache-2.0 */
/* JSON (RFC 8259), written onto a `struct buf`. */
#ifndef CSRD_BASE_JSON_H
#define CSRD_BASE_JSON_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_WRITER_DEPTH 16

struct json_writer {
	struct buf *out;
	unsigned depth;
	char closers[JSON_WRITER_DEPTH];
	bool need_comma;
	bool after_name;
	bool in_lines;
	bool canonical;
};
/* out is borrowed while the writer is used; ask buf_status once at the end. */
void json_writer_init(struct json_writer *w, struct buf *out);
/* Before the first value: each item and member goes on a line of its own, indented. */
void json_write_in_lines(struct json_writer *w);
/*
 * Before the first value: there is one text for what is written, that of RFC 8785.  The caller gives the
 * names in its order (of ASCII: that of the bytes), and no number beyond ±JSON_INT_MAX.
 */
#define JSON_INT_MAX ((INT64_C(1) << 53) - 1) /* every reader of JSON knows it exactly */
void json_write_canonical(struct json_writer *w);

void json_open_object(struct json_writer *w);
void json_open_array(struct json_writer *w);
/* Ends the innermost object or array. */
void json_close(struct json_writer *w);

/* The name of the next value, inside an object. */
void json_put_name(struct json_writer *w, const char *name);
/* NULL is written as null; bytes that are not UTF-8 as U+FFFD. */
void json_put_text(struct json_writer *w, const char *text);
void json_put_int(struct json_writer *w, int64_t value);
void json_put_bool(struct json_writer *w, bool value);
void json_put_null(struct json_writer *w);
/* A value that is JSON already. */
void json_put_raw(struct json_writer *w, const char *json);

/* A string by itself, quoted as RFC 8785 has it. */
void json_put_canonical_string(struct buf *out, const char *text);

/* A name and its value. */
void json_put_text_member(struct json_writer *w, const char *name, const char *text);
void json_put_int_member(struct json_writer *w, const char *name, int64_t value);
void json_put_bool_member(struct json_writer *w, const char *name, bool value);
/* RFC 3339 in UTC; wall_us counts microseconds since 1970. */
void json_put_time_member(struct json_writer *w, const char *name, int64_t wall_us);

#endif
