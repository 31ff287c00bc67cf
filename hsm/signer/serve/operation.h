/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker does for one request: the steps of create, destroy, find and list on the token. */
#ifndef CSRD_HSM_SIGNER_SERVE_OPERATION_H
#define CSRD_HSM_SIGNER_SERVE_OPERATION_H

#include "base/attr.h"
#include "hsm/signer/serve/job.h"
#include "hsm/signer/stock/book.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>

/*
 * Does the work and leaves the answer, or an error, in the job; logs what
 * fails.  The session is opened when it is closed, and left closed when it
 * can no longer be trusted.
 *
 * False: nothing was done, since the token granted no session to this
 * thread while others have theirs and can do it.
 */
MUST_USE bool operation_run(struct session *s, struct book *book, struct job *job);

#endif
