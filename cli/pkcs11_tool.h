/* SPDX-License-Identifier: Apache-2.0 */
/* Commands for an operator to paste, for work that only the token's own tool may do. */
#ifndef CSRD_CLI_PKCS11_TOOL_H
#define CSRD_CLI_PKCS11_TOOL_H

#include "base/buf.h"
#include "config/config.h"

/* Variables that the signer's unit sets, quoted for a shell; "" if systemd does not report them. */
void pkcs11_tool_environment(const struct config_token *token, struct buf *b);

/*
 * Two commands, one per line, that destroy the private and the public object with
 * that label, with module, token and variables.  They ask for the PIN.
 */
void pkcs11_tool_put_delete(const struct config_token *token, const char *environment, const char *label,
			    struct buf *b);

#endif
