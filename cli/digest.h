/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of files. */
#ifndef CSRD_CLI_DIGEST_H
#define CSRD_CLI_DIGEST_H

#include "base/attr.h"
#include "base/err.h"

#define DIGEST_TEXT_SIZE 65 /* in hex, and its NUL */

/* Of a whole open file; its offset does not matter and is kept.  E_IO (errno kept), E_NOMEM. */
MUST_USE enum err digest_of_file(int fd, char ret_text[DIGEST_TEXT_SIZE]);

#endif
