/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the module behind the shim.  It is never unloaded. */
#include "tests/p11shim/module.h"
#include "tests/p11shim/trace.h"

#include <dlfcn.h>
#include <string.h>

static CK_FUNCTION_LIST *functions;

void module_load(const char *path)
{
	CK_C_GetFunctionList get_list;
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void *symbol;
	CK_RV rv;

	if (!handle)
		trace_fatal("cannot load the module '%s': %s", path, dlerror());
	symbol = dlsym(handle, "C_GetFunctionList");
	if (!symbol)
		trace_fatal("the module '%s' has no C_GetFunctionList", path);
	memcpy(&get_list, &symbol, sizeof(get_list)); /* ISO C has no cast from void * to a function */
	rv = get_list(&functions);
	if (rv != CKR_OK || !functions)
		trace_fatal("C_GetFunctionList of the module '%s' failed with 0x%lx", path, rv);
}

CK_FUNCTION_LIST *module_functions(void)
{
	return functions;
}
