/* SPDX-License-Identifier: Apache-2.0 */
/* A store that went back in time (store.h).  Private to store/. */
#ifndef CSRD_STORE_LINEAGE_H
#define CSRD_STORE_LINEAGE_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdint.h>

struct sql;

/* Makes a backup the store: sets its open rows aside, deletes its lineages, so that no signer has seen it,
   and adds "store.restore" to its audit trail.  Within a transaction. */
MUST_USE enum err lineage_restore(struct sql *sql, const struct audit_origin *origin);

#endif
