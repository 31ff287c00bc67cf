/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the person at the terminal. */
#ifndef CSRD_CLI_ASK_H
#define CSRD_CLI_ASK_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

/* Is there somebody to ask? */
bool ask_is_possible(void);

/*
 * One line, trimmed.  An empty line stands for `fallback`; if that is NULL, the
 * question is repeated.  E_UNAVAIL: end of input.
 */
MUST_USE enum err ask_line(const char *question, const char *fallback, struct buf *ret_answer);

/* The answer is not shown.  E_UNAVAIL as above; E_IO: the terminal's echo cannot be turned off. */
MUST_USE enum err ask_secret(const char *question, struct buf *ret_answer);

/* "y" or an empty line means yes, end of input means no. */
bool ask_yes(const char *question);

/* For what cannot be undone: only the whole word means yes; an empty line or end of input means no. */
bool ask_whole_yes(const char *question);

#endif
