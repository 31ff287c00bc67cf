/* SPDX-License-Identifier: Apache-2.0 */
/* Query parameters: application/x-www-form-urlencoded. */
#ifndef CSRD_API_QUERY_H
#define CSRD_API_QUERY_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define QUERY_TEXT_SIZE 64 /* of a name or value that can be right, and its NUL */
#define QUERY_WHY_SIZE 128

/* E_INVAL: a bad escape, a NUL, or too long. */
MUST_USE enum err query_decode(const char *text, size_t len, char ret_text[QUERY_TEXT_SIZE]);

/*
 * "name=true" or "name=false", once; false when it is not there.  query: as it is in the target, or NULL.
 * E_INVAL: why names the parameter and what is accepted.
 */
MUST_USE enum err query_read_flag(const char *query, const char *name, char why[QUERY_WHY_SIZE],
				  bool *ret_value);

#endif
