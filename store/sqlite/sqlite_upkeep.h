/* SPDX-License-Identifier: Apache-2.0 */
/* upkeep.h for SQLite: the path in place of the url.  Private to store/. */
#ifndef CSRD_STORE_SQLITE_UPKEEP_H
#define CSRD_STORE_SQLITE_UPKEEP_H

#include "base/attr.h"
#include "base/err.h"
#include "store/upkeep.h"

MUST_USE enum err sqlite_backup(const char *path, int fd, const struct upkeep_watch *watch,
				struct upkeep_summary *ret_summary);
MUST_USE enum err sqlite_restore(const char *path, const struct upkeep_restore *in,
				 struct upkeep_summary *ret_summary, char **ret_kept);
MUST_USE enum err sqlite_check(const char *path, const struct upkeep_check *in,
			       struct upkeep_summary *ret_summary);

#endif
