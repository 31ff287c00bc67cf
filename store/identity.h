/* SPDX-License-Identifier: Apache-2.0 */
/* Which principal a peer is, and what a principal is known by.  Private to store/. */
#ifndef CSRD_STORE_IDENTITY_H
#define CSRD_STORE_IDENTITY_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdint.h>

struct sql;

/*
 * The principal that has names of that peer, and the first of them that it has.
 * What a revoked principal had when it was revoked is still found, unless
 * somebody has it now.  E_NOTFOUND; E_EXISTS: they are two principals'.
 */
MUST_USE enum err identity_owner(struct sql *sql, const struct peer *peer, char ret_id[CSR_ID_SIZE],
				 const struct identity **ret_name);

/* The first name of the peer that this principal has.  E_NOTFOUND: it has none of them. */
MUST_USE enum err identity_shared(struct sql *sql, const struct peer *peer, const char *principal_id,
				  const struct identity **ret_name);

/* Those in force, in the order in which they were added; into a principal without any. */
MUST_USE enum err identity_list(struct sql *sql, struct principal *p);

/* E_EXISTS: it is somebody's. */
MUST_USE enum err identity_add(struct sql *sql, const char *principal_id, const struct identity *identity,
			       int64_t now_us);

#endif
