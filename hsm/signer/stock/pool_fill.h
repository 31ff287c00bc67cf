/* What an idle worker does for the pool. */
#ifndef CSRD_HSM_SIGNER_STOCK_POOL_FILL_H
#define CSRD_HSM_SIGNER_STOCK_POOL_FILL_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/stock/pool.h"
#include "hsm/signer/token/session.h"

/*
 * Does what pool_begin returned and logs what fails; the caller ends it with
 * pool_end.  The session is opened when it is closed, and left closed when it
 * can no longer be trusted.
 */
MUST_USE enum err pool_fill_run(struct session *s, struct pool *pool, enum pool_work work,
				enum key_type type);

#endif
