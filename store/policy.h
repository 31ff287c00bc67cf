/* SPDX-License-Identifier: Apache-2.0 */
/* Policies of accounts and zones: their versions, and which are in force.  Private to store/. */
#ifndef CSRD_STORE_POLICY_H
#define CSRD_STORE_POLICY_H

#include "base/attr.h"
#include "base/err.h"
#include "store/store.h"

struct sql;

/* What is in force for CSRs of a scope, whose account is account_id.  E_OK without any, too. */
MUST_USE enum err policy_in_force(struct sql *sql, const struct store_scope *scope, const char *account_id,
				  struct store_policies **ret_policies);

/* Whether these versions still are in force. */
MUST_USE enum err policy_is_in_force(struct sql *sql, const struct csr_record *record, bool *ret_is);

#endif
