/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at module and token without serving: one JSON document on standard
 * output, for operators and "csrctl doctor".  It logs nobody in, takes neither
 * socket nor lock and writes nothing, so another csrd-hsm may serve the same
 * token meanwhile.
 *
 * The document (doc/man: csrd-hsm(8)) is printed whatever was found, unless a
 * call into the module hangs or crashes: the watchdog, which must run, then
 * ends the process.  The exit code is the one that serving would begin with,
 * as far as that can be told without a login.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_INSPECT_H
#define CSRD_HSM_SIGNER_SERVE_INSPECT_H

#include "base/attr.h"
#include "base/exit_code.h"
#include "config/config.h"
#include "hsm/signer/token/module.h"

/*
 * A process of root becomes the owner of the state folder (or the user
 * csrd-hsm) before it loads the module, for good.  *ret_module is always set,
 * NULL when it was not loaded; owned by the caller.
 */
MUST_USE enum exit_code inspect_run(const struct config_token *settings, struct module **ret_module);

#endif
