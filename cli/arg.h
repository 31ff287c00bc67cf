/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options and arguments. */
#ifndef CSRD_CLI_ARG_H
#define CSRD_CLI_ARG_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARG_TAG_BYTES 16 /* a fresh account or zone id: that many random bytes in hex */

/* The given id, or for NULL a new one of 32 hexadecimal digits.  E_INVAL, E_IO. */
MUST_USE enum err arg_tag(const char *text, char ret_tag[STORE_TAG_SIZE]);

/* "WHICH", "WHICH:read" or "WHICH:write"; *ret_len is the length of WHICH.  Read by default.  E_INVAL. */
MUST_USE enum err arg_grant(const char *text, size_t *ret_len, enum grant_permission *ret_permission);

/* A number, or "unlimited".  E_INVAL. */
MUST_USE enum err arg_quota(const char *text, int64_t *ret_quota);

/* An RFC 3339 time or date, or a duration from now ("90d"), or "never" (0).  E_INVAL. */
MUST_USE enum err arg_time(const char *text, int64_t now_us, int64_t *ret_us);

/* `len` bytes, two hexadecimal digits each, all of them or none with a colon between.  E_INVAL. */
MUST_USE enum err arg_hex(const char *text, uint8_t *ret_bytes, size_t len);

/* 1–255 characters of UTF-8, at least one of them visible and none unsafe (base/utf8.h). */
bool arg_name_is_valid(const char *text);
#define ARG_NAME_RULE                                                                                        \
	"1-255 characters of UTF-8, at least one of them visible, none of them a control, invisible, "       \
	"private-use or unassigned character"

/* Something@something of visible ASCII, at most 254 bytes. */
bool arg_email_is_valid(const char *text);

#endif
