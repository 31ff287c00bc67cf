/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the process ends: with the exit code that it chose and in bounded time,
 * whatever the PKCS#11 module does meanwhile (crash in C_Finalize or in a
 * destructor, hang, call exit(3)).
 */
#ifndef CSRD_HSM_SIGNER_SERVE_ENDING_H
#define CSRD_HSM_SIGNER_SERVE_ENDING_H

#include "base/attr.h"
#include "base/err.h"
#include "base/exit_code.h"

/* Before the module is loaded: an exit(3) that is not ours ends with EXIT_CODE_TOKEN_FAILED.  E_IO. */
MUST_USE enum err ending_prepare(void);

/* The process now closes what it has open: from here on a crash, a hang or an exit(3) ends it with `code`. */
void ending_begin(enum exit_code code);

/* All is closed.  Nothing of the module runs any more. */
void NORETURN ending_leave(enum exit_code code);

#endif
