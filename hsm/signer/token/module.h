/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PKCS#11 module: loads it and finds the token.  libp11 is used here and
 * nowhere else; the rest of the signer calls the module's own function list.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_MODULE_H
#define CSRD_HSM_SIGNER_TOKEN_MODULE_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/token/token.h"

struct module;

/*
 * Loads and initialises the module at an absolute path.  Code that others can
 * replace is never run: see module_file_find.  `init_args` is what some modules
 * need in C_Initialize (as pReserved); NULL: nothing.  Logs every failure with
 * path and reason.  E_CONFIG (path refused), E_NOTFOUND, E_DENIED,
 * E_UNSUPPORTED (no module that this machine can load), E_HSM (it loads and
 * does not initialise, as many while their HSM is away), E_NOMEM.
 */
MUST_USE enum err module_load(const char *path, const char *init_args, struct module **ret_module);

/* Finalises and unloads; every session must be closed.  NULL is fine. */
void module_free(struct module *module);

/* The module's functions, each under the watchdog; borrowed. */
CK_FUNCTION_LIST_PTR module_functions(const struct module *module);

/*
 * E_OK when `uri` is an RFC 7512 URI that names a token by `token`, `serial`,
 * `manufacturer`, `model` or `slot-id` and nothing else: no PIN, no object.
 * E_CONFIG, and *ret_reason is static text.
 */
MUST_USE enum err module_check_uri(const char *uri, const char **ret_reason);

/*
 * The one initialised token that matches the URI, with its mechanisms.  Logs every
 * failure, with what is in each slot.  E_CONFIG (URI), E_NOTFOUND (none
 * fits), E_EXISTS (more than one fits), E_UNSUPPORTED (it makes no key type
 * that csrd knows; *ret_token is filled in all the same), E_HSM, E_NOMEM.  allow_usage is left as it is.
 */
MUST_USE enum err module_find_token(struct module *module, const char *uri, struct token *ret_token);

/*
 * Finalises the module and initialises it again, and finds the token by label,
 * serial number and everything that the URI says: its slot may be another.  No session is open afterwards,
 * and nobody else may be inside the module.  Logs nothing; `reason` says why
 * not.  E_HSM (does not initialise), E_UNAVAIL (the token is not there),
 * E_NOTFOUND (another one with its label is, or more than one fits).
 */
MUST_USE enum err module_restart(struct module *module, struct token *token, char reason[256]);

#endif
