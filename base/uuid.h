/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UUIDs (RFC 9562): the ids of CSRs, principals and requests.  Those that csrd
 * makes are random and in lower case; any case is accepted, and compared as
 * lower case.
 */
#ifndef CSRD_BASE_UUID_H
#define CSRD_BASE_UUID_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

#define UUID_BYTES 16
#define UUID_SIZE 37 /* its text and the NUL */

/* 36 characters, 8-4-4-4-12 hexadecimal digits of any case, with the dashes. */
bool uuid_is_valid(const char *text);

/* The same in lower case, as csrd writes it; so no id has two forms. */
bool uuid_is_canonical(const char *text);

/* Converts a UUID in any case to lower case.  False: it is not one, and ret_uuid is unchanged. */
MUST_USE bool uuid_parse(const char *text, char ret_uuid[UUID_SIZE]);

/* Of a canonical one.  False: it is not, and ret_bytes is unchanged. */
MUST_USE bool uuid_to_bytes(const char *text, uint8_t ret_bytes[UUID_BYTES]);

void uuid_format(char text[UUID_SIZE], const uint8_t bytes[UUID_BYTES]);

/* Turns random bytes into a UUID of version 4. */
void uuid_mark_random(uint8_t bytes[UUID_BYTES]);

#endif
