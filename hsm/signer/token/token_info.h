/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CSRD_HSM_SIGNER_TOKEN_TOKEN_INFO_H
#define CSRD_HSM_SIGNER_TOKEN_TOKEN_INFO_H

#include <p11-kit/pkcs11.h>

/*
 * C_GetTokenInfo (PKCS#11 5.5), asked up to three times while the answer is an error that may pass: SoftHSM
 * reads it from a file that another process may be writing at that instant, and then fails.  Waits 40 ms at
 * most besides the calls.
 */
CK_RV token_info_read(CK_FUNCTION_LIST_PTR p11, CK_SLOT_ID slot, CK_TOKEN_INFO *ret_info);

#endif
