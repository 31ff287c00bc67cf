/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of a key: "csrd-" and 16 random bytes in base32 (RFC 4648 §6) in
 * lower case without padding.  It is the label of both objects on the token,
 * from birth to destruction, and short enough for tokens that take 32 bytes.
 */
#ifndef CSRD_BASE_KEY_NAME_H
#define CSRD_BASE_KEY_NAME_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define KEY_NAME_BYTES 16
#define KEY_NAME_PREFIX "csrd-"
#define KEY_NAME_LEN 31 /* characters, all of [a-z2-7-] */
#define KEY_NAME_SIZE (KEY_NAME_LEN + 1)

void key_name_format(char name[KEY_NAME_SIZE], const uint8_t bytes[KEY_NAME_BYTES]);

/*
 * The exact form of key_name_format alone, so no bytes have two names: the two
 * spare bits of the last character are zero.  False: it is another; ret_bytes is
 * as it was.
 */
MUST_USE bool key_name_parse(const char *text, uint8_t ret_bytes[KEY_NAME_BYTES]);

/* A name that nobody has had.  E_IO, errno kept. */
MUST_USE enum err key_name_new(char ret_name[KEY_NAME_SIZE]);

#endif
