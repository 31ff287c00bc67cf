/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency keys: which create was requested before.  Private to store/. */
#ifndef CSRD_STORE_IDEMPOTENCY_H
#define CSRD_STORE_IDEMPOTENCY_H

#include "base/attr.h"
#include "base/err.h"
#include "store/store.h"

#include <stdint.h>

struct sql;

/*
 * What becomes of a create with the key of `in`: NEW when the key is not known,
 * or has expired; REPLAY, IN_FLIGHT (both fill *ret_replay),
 * MISMATCH or GONE.  Only reads.
 */
MUST_USE enum err idempotency_look(struct sql *sql, const struct store_csr_add *in, int64_t now_us,
				   enum store_begin *ret_outcome, struct csr_record *ret_replay);

/* The same, and a key that is too old is forgotten. */
MUST_USE enum err idempotency_judge(struct sql *sql, const struct store_csr_add *in, int64_t now_us,
				    enum store_begin *ret_outcome, struct csr_record *ret_replay);

/* Notes the key of a create, if it has one, and forgets a few that have expired. */
MUST_USE enum err idempotency_note(struct sql *sql, const struct store_csr_add *in, int64_t now_us);

/* Deletes the key of a CSR that failed, so that its create may be tried again. */
MUST_USE enum err idempotency_forget(struct sql *sql, const char *csr_id);

#endif
