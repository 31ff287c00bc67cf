/* SPDX-License-Identifier: Apache-2.0 */
/* What an idle worker does for the stock. */
#ifndef CSRD_HSM_SIGNER_STOCK_STOCK_FILL_H
#define CSRD_HSM_SIGNER_STOCK_STOCK_FILL_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/stock/book.h"
#include "hsm/signer/stock/stock.h"
#include "hsm/signer/token/session.h"

/*
 * Does what stock_begin returned and logs what fails; the caller ends it with
 * stock_end.  The session is opened when it is closed, and left closed when it
 * can no longer be trusted.
 */
MUST_USE enum err stock_fill_run(struct session *s, struct book *book, enum stock_work work,
				 enum key_type type);

#endif
