/* SPDX-License-Identifier: Apache-2.0 */
/* Which kind of database an operator's work is for. */
#include "store/upkeep.h"

#include "base/log.h"
#include "base/str.h"
#include "store/sqlite/sqlite_place.h"
#include "store/sqlite/sqlite_upkeep.h"
#include "store/store_url.h"

#include <stdlib.h>
#include <string.h>

uint64_t upkeep_csrs(const struct upkeep_summary *summary)
{
	uint64_t sum = 0;

	for (int state = CSR_PENDING; state <= CSR_FAILED; state++)
		sum += summary->csrs[state];
	return sum;
}

/* The path of an SQLite database. */
static enum err path_of(const char *url, const char **ret_path)
{
	const char *path = store_url_path(url);

	if (!path) {
		log_error("the store is not an SQLite database: use its server's tools, such as pg_dump");
		return E_UNSUPPORTED;
	}
	*ret_path = path;
	return E_OK;
}

enum err upkeep_backup(const char *url, int fd, const struct upkeep_watch *watch,
		       struct upkeep_summary *ret_summary)
{
	const char *path;
	enum err e = path_of(url, &path);

	return e == E_OK ? sqlite_backup(path, fd, watch, ret_summary) : e;
}

enum err upkeep_check_place(const char *url)
{
	const char *path;
	char *folder;
	enum err e = path_of(url, &path);

	if (e != E_OK)
		return e;
	folder = str_dup_len(path, (size_t)(strrchr(path, '/') - path) + 1);
	e = !folder ? E_NOMEM : sqlite_place_check(folder);
	free(folder);
	return e;
}

enum err upkeep_is_served(const char *url, bool *ret_served)
{
	const char *path;
	char *real = NULL;
	enum err e = path_of(url, &path);

	if (e == E_OK)
		e = sqlite_place_resolve(path, &real);
	if (e == E_OK)
		e = sqlite_place_is_locked(real, ret_served);
	free(real);
	return e;
}

enum err upkeep_restore(const struct upkeep_restore *in, struct upkeep_summary *ret_summary, char **ret_kept)
{
	const char *path;
	enum err e = path_of(in->url, &path);

	return e == E_OK ? sqlite_restore(path, in, ret_summary, ret_kept) : e;
}

enum err upkeep_check(const struct upkeep_check *in, struct upkeep_summary *ret_summary)
{
	const char *path;
	enum err e = path_of(in->url, &path);

	return e == E_OK ? sqlite_check(path, in, ret_summary) : e;
}
