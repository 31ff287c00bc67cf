/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of keys.  A key is named once, when it is made, and the name is the
 * CKA_LABEL of both objects for ever: "csrd-" and 26 characters of base32 (RFC
 * 4648 §6, in lower case, without padding) of 16 bytes, which are its CKA_ID:
 * four that tell the node and twelve random ones.
 *
 * Keys made by csrd 0.1 have the label "csrd:<csr id>" instead.
 */
#ifndef CSRD_BASE_KEY_NAME_H
#define CSRD_BASE_KEY_NAME_H

#include "base/attr.h"
#include "base/err.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stdint.h>

#define KEY_NAME_BYTES 16
#define KEY_NAME_NODE_BYTES 4
#define KEY_NAME_PREFIX "csrd-"
#define KEY_NAME_SIZE (sizeof(KEY_NAME_PREFIX) + 26) /* with the NUL */
#define KEY_LABEL_PREFIX_0_1 "csrd:"
#define KEY_LABEL_SIZE (sizeof(KEY_LABEL_PREFIX_0_1) + UUID_SIZE - 1) /* of either kind, with the NUL */

void key_name_format(const uint8_t bytes[KEY_NAME_BYTES], char name[KEY_NAME_SIZE]);

/* Of the exact form alone: the last character's two spare bits are zero.  False: ret_bytes is as it was. */
MUST_USE bool key_name_parse(const char *name, uint8_t ret_bytes[KEY_NAME_BYTES]);

/* A new one for the node of that name; E_IO: the kernel gives no random bytes. */
MUST_USE enum err key_name_new(const char *node, uint8_t ret_bytes[KEY_NAME_BYTES]);

/* Whether the node of that name made it (or another one, once in 2^32). */
bool key_name_is_of_node(const uint8_t bytes[KEY_NAME_BYTES], const char *node);

/* "csrd:<csr id>": the label of a key made by csrd 0.1. */
void key_label_of_csr(const char *csr_id, char label[KEY_LABEL_SIZE]);

/* The exact form of a name, or "csrd:" and a canonical UUID. */
bool key_label_is_valid(const char *label);

#endif
