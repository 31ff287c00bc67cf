/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base 64 (RFC 4648 §4), with one text for each value: padded, no blanks, no bits left over.  Private to
 * tlog/.
 */
#ifndef CSRD_TLOG_BASE64_H
#define CSRD_TLOG_BASE64_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* The text and its NUL. */
#define BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)
void base64_text(char *dst, const void *bytes, size_t len);

void base64_put(struct buf *out, const void *bytes, size_t len);

/*
 * `bytes` may be NULL with max = SIZE_MAX, to know only the length.  E_PROTO: it is no such text; E_LIMIT:
 * more than `max` bytes.  `bytes` is then of any content.
 */
MUST_USE enum err base64_read(const char *text, size_t len, uint8_t *bytes, size_t max, size_t *ret_len);

#endif
