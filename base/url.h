/* SPDX-License-Identifier: Apache-2.0 */
/* URLs in what people see. */
#ifndef CSRD_BASE_URL_H
#define CSRD_BASE_URL_H

#include "base/buf.h"

/*
 * Puts a text of any kind with "***" in place of each password of a URL in it:
 * "db://NAME:***@host/db?password=***".  Whatever may be part of one is masked, if
 * in doubt more than that: a '@' or '/' that ought to have been escaped ends none.
 */
void url_put_masked(struct buf *b, const char *text);

#endif
