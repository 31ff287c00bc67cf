/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Labels of keys on the token (CKA_LABEL of both objects): the name that a key
 * was given when it was made (key_name.h), or "csrd:<csr id>" of one that csrd
 * 0.1 made.
 */
#ifndef CSRD_BASE_KEY_LABEL_H
#define CSRD_BASE_KEY_LABEL_H

#include "base/key_name.h"
#include "base/uuid.h"

#include <stdbool.h>

#define KEY_LABEL_PREFIX_0_1 "csrd:"
#define KEY_LABEL_SIZE (sizeof(KEY_LABEL_PREFIX_0_1) + UUID_SIZE - 1) /* of either kind, with the NUL */

/* "csrd:<csr id>" */
void key_label_of_csr(char label[KEY_LABEL_SIZE], const char *csr_id);

/* The exact form of a name, or "csrd:" and a canonical UUID. */
bool key_label_is_valid(const char *label);

#endif
