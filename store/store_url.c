/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of stores, by their urls. */
#include "store/store_url.h"

#include "base/str.h"

#include <stddef.h>
#include <string.h>

#define SQLITE "sqlite:"

const char *store_url_path(const char *url)
{
	return str_starts_with(url, SQLITE) ? url + strlen(SQLITE) : NULL;
}

bool store_url_is_shared(const char *url)
{
	return !store_url_path(url);
}
