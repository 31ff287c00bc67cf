/* SPDX-License-Identifier: Apache-2.0 */
/* Small text helpers.  All of them are pure; none of them logs. */
#ifndef CSRD_BASE_STR_H
#define CSRD_BASE_STR_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies with termination; E_LIMIT (dst is then "") when src does not fit. */
MUST_USE enum err str_copy(char *dst, size_t dst_size, const char *src);

/* A NUL-terminated copy of len bytes, or NULL when out of memory. */
char *str_dup_len(const char *src, size_t len);

/* strdup that takes NULL for NULL.  False only when out of memory. */
MUST_USE bool str_dup_opt(const char *src, char **ret_copy);

/* Lower-case hexadecimal; dst holds 2 × len + 1 bytes. */
void str_hex(char *dst, const uint8_t *src, size_t len);

/* Exactly 2 × len hexadecimal digits of any case; else E_INVAL. */
MUST_USE enum err str_unhex(uint8_t *dst, size_t len, const char *text);

/* Decimal digits alone, 0 … max; E_INVAL for anything else, also "" and "+3". */
MUST_USE enum err str_parse_u64(const char *text, uint64_t max, uint64_t *ret_value);

bool str_starts_with(const char *text, const char *prefix);

/* ASCII letters only change; the locale is never asked. */
char str_ascii_lower(char c);
bool str_ascii_is_alpha(char c);
bool str_ascii_is_digit(char c);
bool str_ascii_is_alnum(char c);
bool str_equal_ignoring_case(const char *a, const char *b);

/* Compares len bytes in a time that depends on len alone. */
bool str_equal_constant_time(const void *a, const void *b, size_t len);

#endif
