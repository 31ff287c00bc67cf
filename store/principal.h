/* SPDX-License-Identifier: Apache-2.0 */
/* Principals.  Private to store/. */
#ifndef CSRD_STORE_PRINCIPAL_H
#define CSRD_STORE_PRINCIPAL_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"
#include "store/store.h"

struct sql;

/* *ret_found (owned), whether it may act or not, and errors: as store_principal_find. */
MUST_USE enum err principal_find(struct sql *sql, const struct store_claim *claim,
				 struct principal **ret_found);

#endif
