/* SPDX-License-Identifier: Apache-2.0 */
/* The Public Suffix List. */
#ifndef CSRD_API_SAN_SUFFIXES_H
#define CSRD_API_SAN_SUFFIXES_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>

struct san_suffixes;

/* Loads the newest list on this machine.  Reads files: for start-up.  E_NOTFOUND: there is none; E_NOMEM. */
MUST_USE enum err san_suffixes_load(struct san_suffixes **ret_suffixes);
void san_suffixes_free(struct san_suffixes *suffixes); /* NULL is fine */

/* Whether the name itself is a public suffix; it is in lower case. */
bool san_suffixes_has(const struct san_suffixes *suffixes, const char *name);

#endif
