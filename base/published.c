/* SPDX-License-Identifier: Apache-2.0 */
/* Where the programs publish how they run. */
#include "base/published.h"

#include <stdio.h>

enum err published_by_csrd(const char *store_path, char **ret_path)
{
	char *path;

	if (asprintf(&path, "%s.running", store_path) < 0)
		return E_NOMEM;
	*ret_path = path;
	return E_OK;
}

enum err published_by_signer(const char *state_dir, char **ret_path)
{
	char *path;

	if (asprintf(&path, "%s/running", state_dir) < 0)
		return E_NOMEM;
	*ret_path = path;
	return E_OK;
}
