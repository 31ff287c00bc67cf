/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of a PKCS#11 URI's path (RFC 7512 §2.3), for a tool that does not know PKCS#11. */
#ifndef CSRD_CLI_URI_CHECK_H
#define CSRD_CLI_URI_CHECK_H

#include <stdbool.h>

/*
 * text is "pkcs11:" and attributes that [token NAME] uri takes.  False:
 * *ret_reason is static text.  Checked: characters, percent-encoding (and that
 * it is UTF-8), the lengths that a token's fields can have, each attribute once.
 */
bool uri_check(const char *text, const char **ret_reason);

#endif
