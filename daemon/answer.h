/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an answer: status line and header fields (RFC 9112 §4 and §5). */
#ifndef CSRD_DAEMON_ANSWER_H
#define CSRD_DAEMON_ANSWER_H

#include "api/request.h"
#include "base/attr.h"
#include "base/buf.h"

#include <stdbool.h>

#define ANSWER_HEAD_MAX 8192

/*
 * Appends the head of `reply` to b (check buf_status), its empty line included:
 * the reply's fields, Date, X-Request-Id when the reply has none and request_id is not NULL, the
 * length of the body, and "Connection: close" when `close`.  A field that holds a control
 * character fails the buffer: E_LIMIT.
 */
void answer_put_head(struct buf *b, const struct reply *reply, const char *request_id, bool close);

#endif
