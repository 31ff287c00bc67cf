/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a ceiling.  The ceiling is set at construction;
 * a put that would exceed it, or runs out of memory, marks the buffer as failed and
 * changes nothing more, so a writer may put many pieces and check once:
 *
 *	buf_init(&b, 4096);
 *	buf_put_str(&b, "…");
 *	e = buf_status(&b);
 *
 * Memory is scrubbed when it is moved or released.
 */
#ifndef CSRD_BASE_BUF_H
#define CSRD_BASE_BUF_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* NUL-terminated past `len` once anything was put */
	size_t len;
	size_t capacity;
	size_t max;
	enum err status;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_release(struct buf *b); /* usable again only after buf_init */

void buf_put(struct buf *b, const void *data, size_t len);
void buf_put_str(struct buf *b, const char *text);
void buf_put_u8(struct buf *b, uint8_t value);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Allocates room for `more` bytes at once, when the amount to come is known. */
void buf_reserve(struct buf *b, size_t more);

/* Drops the first `len` bytes (len ≤ b->len). */
void buf_consume(struct buf *b, size_t len);

/* Empties it, keeps the ceiling, clears the failure. */
void buf_reset(struct buf *b);

/* E_OK, E_LIMIT (ceiling reached) or E_NOMEM. */
MUST_USE enum err buf_status(const struct buf *b);

/* Gives its memory, malloc(3)ed, to the caller and starts afresh; NULL when it is empty or failed. */
char *buf_take(struct buf *b, size_t *ret_len);

/* The text so far; "" for an empty buffer.  Borrowed until the next put. */
const char *buf_text(const struct buf *b);

#endif
