/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a caller may ask ([limits] of the configuration): requests by API
 * token or user and by address, and credentials that were refused, by address and
 * by the e-mail address of X-Auth-Email.  What a request was measured by is
 * noted in it, for the headers of its answer.
 *
 * An address is an IPv4 address or a /64 of IPv6.  Limits by address hold neither for exempt ones nor for
 * callers at unix sockets, who have none.
 *
 * A credential is judged by the store alone, however many were refused before it: so nobody can lock others
 * out.  Secrets have 160 random bits or more, so what a limit of guesses guards is not they, but the log and
 * whoever reads it.
 */
#ifndef CSRD_API_LIMIT_H
#define CSRD_API_LIMIT_H

#include "api/request.h"
#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>
#include <stdint.h>

struct limit;
struct principal;

/* config is borrowed for the life, and read again for each request.  E_NOMEM, E_IO (no randomness). */
MUST_USE enum err limit_new(const struct config_limits *config, struct limit **ret_limit);
void limit_free(struct limit *limit); /* NULL is fine */

/* What a request ran into; the key of [limits], by its name. */
#define LIMIT_WHY_SIZE 192
struct limit_refusal {
	char why[LIMIT_WHY_SIZE]; /* for the client */
	unsigned retry_after_s;   /* 1 … 30 */
};

/* One request of this address.  False: it is too many. */
MUST_USE bool limit_take_address(struct limit *limit, struct request *r, struct limit_refusal *ret_refusal);

/* The same for a request that is refused in any case. */
void limit_count_address(struct limit *limit, struct request *r);

/* One request of this principal, which has shown a credential that is right.  False: it is too many. */
MUST_USE bool limit_take_principal(struct limit *limit, struct request *r, const struct principal *principal,
				   struct limit_refusal *ret_refusal);

/* One credential that was refused; email: of X-Auth-Email, or NULL.  False: there were too many. */
MUST_USE bool limit_take_failed_login(struct limit *limit, struct request *r, const char *email,
				      struct limit_refusal *ret_refusal);

/* What stood in the way of a request. */
enum limit_by { LIMIT_BY_ADDRESS = 0, LIMIT_BY_PRINCIPAL, LIMIT_BY_FAILED_LOGINS, LIMIT_BYS };

struct limit_figures {
	uint64_t refused[LIMIT_BYS]; /* requests */
	uint64_t failed_logins;      /* credentials that were refused, with 401 or with 429 */
	uint64_t dropped;            /* buckets that had to make room for others before they were full */
};
void limit_figures(const struct limit *limit, struct limit_figures *ret_figures);

#endif
