/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who sends a request, and what they may do.  Bearer wins over X-Auth-Email and
 * X-Auth-Key; if it is present but not valid, nothing else is tried.  A request
 * with neither is its peer's: of the client certificate, or the user of this machine.
 */
#ifndef CSRD_API_AUTH_H
#define CSRD_API_AUTH_H

#include "api/credential.h"
#include "api/problem.h"
#include "api/request.h"
#include "base/buf.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

/* What a request says about its sender, to be looked up in the store. */
struct auth_claim {
	struct store_claim store; /* its peer is borrowed from the request */
	const char *email;        /* PRINCIPAL_USER: borrowed from the request's headers; else NULL */
};

/*
 * PROBLEM_NONE and *ret_claim; PROBLEM_NO_CREDENTIAL, PROBLEM_CREDENTIAL, PROBLEM_UNAVAILABLE (no memory).
 * needs_both: [http] credentials.
 */
MUST_USE enum problem_code auth_read(const struct request *r, bool needs_both, struct auth_claim *ret_claim);

/* What a request with PROBLEM_NO_CREDENTIAL lacks, in words for the client (static text). */
const char *auth_missing(const struct request *r, bool needs_both);

/* NULL when the principal found is the claimed one and may act now; else why not, for the log. */
const char *auth_refusal(const struct auth_claim *claim, const struct principal *principal, int64_t now_us);

/* The same for where it is used from. */
const char *auth_refusal_of_place(const struct principal *principal, const struct address *caller);

/*
 * For the client, when it is refused although it was sure of itself without a
 * secret: what it was known by.  e: of the search.  Nothing for a claim with a secret alone.
 */
void auth_put_peer_refusal(struct buf *b, const struct auth_claim *claim, enum err e);

/*
 * WWW-Authenticate for a refusal with this code (RFC 6750 §3), or NULL when
 * another credential would not help.  Only a client that sent a token gets
 * an error code.
 */
const char *auth_challenge(const struct request *r, enum problem_code code);

/* True when one of the grants is for exactly this account or zone; write includes read. */
bool auth_may(const struct principal *principal, const struct store_scope *scope,
	      enum grant_permission permission);

#endif
