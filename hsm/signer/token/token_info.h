/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CSRD_HSM_SIGNER_TOKEN_INFO_H
#define CSRD_HSM_SIGNER_TOKEN_INFO_H

#include "hsm/signer/token/token.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>

/* A text of CK_TOKEN_INFO without its padding: blanks, and of some modules NUL.  dst holds len + 1 bytes. */
void token_info_trim(char *dst, const unsigned char *src, size_t len);

/* Whether this is the token found at start, and not another put in its place. */
bool token_info_is_of(const struct token *token, const CK_TOKEN_INFO *info);

/*
 * C_GetTokenInfo (PKCS#11 5.5), asked up to three times while the answer is an
 * error that may pass or is not of `meant` (NULL: any token): SoftHSM reads it
 * from a file that another process may be writing at that instant, and then
 * fails or gives half of it.  Waits 40 ms at most besides the calls.  CKR_OK:
 * the last answer, which may still be of another token.
 */
CK_RV token_info_read(CK_FUNCTION_LIST_PTR p11, CK_SLOT_ID slot, const struct token *meant,
		      CK_TOKEN_INFO *ret_info);

#endif
