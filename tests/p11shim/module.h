/* SPDX-License-Identifier: Apache-2.0 */
/* The module behind the shim. */
#ifndef CSRD_TESTS_P11SHIM_MODULE_H
#define CSRD_TESTS_P11SHIM_MODULE_H

#include <p11-kit/pkcs11.h>

/* Loads it; a module that cannot be loaded is fatal. */
void module_load(const char *path);

/* Its functions.  Only after module_load. */
CK_FUNCTION_LIST *module_functions(void);

#endif
