/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of a key: "csrd-" and 16 bytes in base32 (RFC 4648 §6) in lower case
 * without padding; four of them tell the node, the others are random.  It is the
 * label of both objects on the token, from birth to destruction, and short enough
 * for tokens that take 32 bytes.
 */
#ifndef CSRD_BASE_KEY_NAME_H
#define CSRD_BASE_KEY_NAME_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define KEY_NAME_BYTES 16
#define KEY_NAME_NODE_BYTES 4
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

/* A name that nobody has had, for the node.  E_IO, errno kept. */
MUST_USE enum err key_name_new(const char *node, char ret_name[KEY_NAME_SIZE]);

/* Whether it was made for the node of that name, or, once in 2^32, for another. */
bool key_name_is_of_node(const uint8_t bytes[KEY_NAME_BYTES], const char *node);

#endif
