/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts and zones.  Private to store/. */
#ifndef CSRD_STORE_DIRECTORY_H
#define CSRD_STORE_DIRECTORY_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdint.h>

struct sql;

/* What a create or a list needs to know of an account or zone. */
struct directory_scope {
	char account_id[STORE_TAG_SIZE];
	int64_t csr_quota;
	int64_t csr_count;
	int64_t csr_active;
};
/* E_NOTFOUND. */
MUST_USE enum err directory_find(struct sql *sql, const struct store_scope *scope,
				 struct directory_scope *ret_found);

#endif
