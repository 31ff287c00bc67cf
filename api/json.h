/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON read strictly (RFC 8259), and the only place that knows json-c.
 *
 * What is JSON is judged here; json-c, whose parser changes its mind
 * from release to release, only holds the values.  Refused are: bytes that are
 * not UTF-8, a name given twice in one object (compared after
 * unescaping), \u0000, lone surrogates, raw control characters, anything that
 * RFC 8259 does not know (comments, single quotes, NaN, trailing commas), more
 * than JSON_DEPTH_MAX levels, anything after the value, and a value that is
 * not an object.  One byte order mark in front is skipped (RFC 8259 §8.1).
 *
 * Writing is base/json.h's, which comes with this.
 */
#ifndef CSRD_API_JSON_H
#define CSRD_API_JSON_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 8 /* the outermost object is level 1 */
#define JSON_WHY_SIZE 96

enum json_kind {
	JSON_ABSENT = 0, /* no such member */
	JSON_NULL,
	JSON_BOOLEAN,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};
/* "a string", "an array", …: with its article, for messages. */
const char *json_kind_name(enum json_kind kind);

struct json_doc;

/* A value inside a document; lives as long as the document. */
struct json_value {
	enum json_kind kind;
	void *node; /* json-c's; of no use outside */
};

/*
 * E_INVAL: why says what is wrong and at which byte (counted from 0); it never
 * holds bytes of the text.  E_NOMEM.  The time taken grows with the text.
 */
MUST_USE enum err json_read(const char *text, size_t len, char why[JSON_WHY_SIZE], struct json_doc **ret_doc);
void json_doc_free(struct json_doc *doc); /* NULL is fine */

/* Bytes of the byte order mark in front of the text that json_read skips; 0: there is none. */
size_t json_mark_len(const char *text, size_t len);

/* The outermost object. */
struct json_value json_root(const struct json_doc *doc);

/* kind is JSON_ABSENT when there is none. */
struct json_value json_member(struct json_value object, const char *name);

/* For each member in the order of the text. */
typedef void (*json_member_fn)(void *arg, const char *name, struct json_value value);
void json_each_member(struct json_value object, json_member_fn each, void *arg);

/* Of a JSON_STRING: UTF-8, NUL-terminated, without a NUL inside.  NULL for any other kind. */
const char *json_text(struct json_value string);

/* Of a JSON_BOOLEAN; false for any other kind. */
bool json_is_true(struct json_value boolean);
/* Of a whole JSON_NUMBER within the range; anything else is E_INVAL. */
MUST_USE enum err json_integer(struct json_value number, int64_t *ret_value);

/* Of a JSON_ARRAY; 0 and JSON_ABSENT for any other kind. */
size_t json_array_len(struct json_value array);
struct json_value json_array_item(struct json_value array, size_t index);

#endif
