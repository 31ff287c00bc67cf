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
 * One line, trimmed.  An empty one is `fallback`; for NULL it is asked again.
 * E_UNAVAIL: end of input.
 */
MUST_USE enum err ask_line(const char *question, const char *fallback, struct buf *ret_answer);

/* Nothing of it is shown.  E_UNAVAIL as above; E_IO: the terminal's echo cannot be turned off. */
MUST_USE enum err ask_secret(const char *question, struct buf *ret_answer);

/* "y" or an empty line is yes.  End of input is no. */
bool ask_yes(const char *question);

/* For what cannot be undone: the whole word is yes, an empty line or end of input is no. */
bool ask_whole_yes(const char *question);

#endif
