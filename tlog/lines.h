/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of lines, each of which ends in a newline, and what the lines of a log hold.  Private to tlog/. */
#ifndef CSRD_TLOG_LINES_H
#define CSRD_TLOG_LINES_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "tlog/tree_hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
	const char *text; /* borrowed; no NUL at its end */
	size_t len;
};

/* The next line without its newline; `rest` moves behind it.  False: no whole line is left. */
bool lines_next(struct span *rest, struct span *ret_line);

/* Takes the prefix off.  False: the span does not begin with it. */
bool lines_skip(struct span *span, const char *prefix);

/* The whole span: a decimal number without leading zeros, 0 … max. */
bool lines_number(struct span span, uint64_t max, uint64_t *ret_number);

/* The whole span: a hash in base 64. */
bool lines_hash(struct span span, struct tree_hash *ret_hash);

/* A hash in base 64, and a newline. */
void lines_put_hash(struct buf *out, const struct tree_hash *hash);

#endif
