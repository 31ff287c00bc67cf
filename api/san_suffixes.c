/* SPDX-License-Identifier: Apache-2.0 */
/* The Public Suffix List, by libpsl. */
#include "api/san_suffixes.h"

#include <libpsl.h>
#include <stdlib.h>

struct san_suffixes {
	psl_ctx_t *psl;
};

enum err san_suffixes_load(struct san_suffixes **ret_suffixes)
{
	struct san_suffixes *suffixes = calloc(1, sizeof(*suffixes));

	if (!suffixes)
		return E_NOMEM;
	suffixes->psl = psl_latest(NULL);
	if (!suffixes->psl) {
		free(suffixes);
		return E_NOTFOUND;
	}
	*ret_suffixes = suffixes;
	return E_OK;
}

void san_suffixes_free(struct san_suffixes *suffixes)
{
	if (!suffixes)
		return;
	psl_free(suffixes->psl);
	free(suffixes);
}

bool san_suffixes_has(const struct san_suffixes *suffixes, const char *name)
{
	return psl_is_public_suffix(suffixes->psl, name);
}
