/* SPDX-License-Identifier: Apache-2.0 */
/* Principals.  Private to store/. */
#ifndef CSRD_STORE_PRINCIPAL_H
#define CSRD_STORE_PRINCIPAL_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdint.h>

struct sql;

/* *ret_found (owned): by kind and hash of the secret, whether it may act or not.  E_NOTFOUND. */
MUST_USE enum err principal_find(struct sql *sql, enum principal_kind kind,
				 const uint8_t secret_hash[STORE_HASH_BYTES], struct principal **ret_found);

#endif
