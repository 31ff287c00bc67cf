/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The function list that the signer calls: each function announces itself to
 * the watchdog and then calls the module's own.  Functions that the signer has
 * no business with (wrapping, decryption, PIN changes, token initialisation …)
 * are not on it: NULL.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_GUARD_H
#define CSRD_HSM_SIGNER_TOKEN_GUARD_H

#include <p11-kit/pkcs11.h>

/* One module in a process: `module` is kept.  What it lacks answers CKR_FUNCTION_NOT_SUPPORTED. */
CK_FUNCTION_LIST_PTR guard_functions(CK_FUNCTION_LIST_PTR module);

#endif
