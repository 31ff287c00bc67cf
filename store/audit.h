/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail: written in the transaction of the change that it records.  Private to store/. */
#ifndef CSRD_STORE_AUDIT_H
#define CSRD_STORE_AUDIT_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdint.h>

struct sql;

#define AUDIT_OF_STORE "store" /* the object of records about the whole store */
#define AUDIT_ROLLED_BACK "store.rolled-back"
#define AUDIT_SET_ASIDE "csr.set-aside" /* of a row that stays deleting */
#define AUDIT_KEPT_PENDING "set aside: it was pending when the store went back; its key is kept"
#define AUDIT_KEPT_DELETING "set aside: it was being deleted when the store went back; its key is kept"

MUST_USE enum err audit_add(struct sql *sql, int64_t now_us, const char *action, const char *object,
			    const struct audit_origin *origin);

/* Of the last record; 0: there is none. */
MUST_USE enum err audit_last_sequence(struct sql *sql, int64_t *ret_sequence);

const char *audit_action_of_state(enum csr_state state); /* "csr.pending", … */

#endif
