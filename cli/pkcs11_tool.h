/* Commands for an operator to paste, where only the token's own tool may do it. */
#ifndef CSRD_CLI_PKCS11_TOOL_H
#define CSRD_CLI_PKCS11_TOOL_H

#include "base/buf.h"
#include "config/config.h"

/* Variables that the signer's unit sets, as a shell takes them; "" where systemd does not tell. */
void pkcs11_tool_environment(const struct config_token *token, struct buf *b);

/*
 * Two commands, a line each, that destroy the private and the public object of
 * a label, module, token and variables included.  They ask for the PIN.
 */
void pkcs11_tool_put_delete(const struct config_token *token, const char *environment, const char *label,
			    struct buf *b);

#endif
