/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API tokens and keys: how they look, are made and are hashed.
 *
 * Token: "csrd_" + 43 characters of [0-9A-Za-z_-] (256 random bits, base64url)
 * + 6 characters of checksum (CRC-32 of everything before it, base 62): 54 in all.
 * The checksum is for secret scanners and typing errors; the server does not
 * require it.  Key (for X-Auth-Key): 40 lower-case hexadecimal digits.
 */
#ifndef CSRD_API_CREDENTIAL_H
#define CSRD_API_CREDENTIAL_H

#include "base/attr.h"
#include "base/err.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stdint.h>

#define CREDENTIAL_TOKEN_SIZE 55
#define CREDENTIAL_KEY_SIZE 41
#define CREDENTIAL_HASH_BYTES 32

/* E_IO, errno kept: the kernel gives no randomness. */
MUST_USE enum err credential_make_token(char ret_token[CREDENTIAL_TOKEN_SIZE]);
MUST_USE enum err credential_make_key(char ret_key[CREDENTIAL_KEY_SIZE]);

/* True when the text looks like a token of ours and its checksum fits. */
bool credential_token_is_intact(const char *token);

/* SHA-256 of the text. */
MUST_USE enum err credential_hash(const char *secret, uint8_t ret_hash[CREDENTIAL_HASH_BYTES]);

/* Account and zone ids: 1–32 of [0-9A-Za-z_-]. */
bool credential_tag_is_valid(const char *tag);

/* A random UUID (version 4) in lower case.  E_IO, errno kept: as above, and no other UUID is made then. */
MUST_USE enum err credential_make_uuid(char ret_uuid[UUID_SIZE]);

#endif
