/* SPDX-License-Identifier: Apache-2.0 */
/* Policies that were read lately, so that each version is parsed once. */
#ifndef CSRD_API_POLICY_CACHE_H
#define CSRD_API_POLICY_CACHE_H

#include "api/policy.h"
#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

#include <sys/queue.h>

#define POLICY_CACHE_MAX 64

struct policy_cache {
	TAILQ_HEAD(policy_cache_entries, policy_cache_entry) entries; /* the last used first */
	unsigned len;
};
void policy_cache_init(struct policy_cache *cache);
void policy_cache_release(struct policy_cache *cache);

/*
 * The policy of a record, borrowed: it stays while fewer than POLICY_CACHE_MAX others are asked for.
 * E_INVAL: it cannot be read, as one of a newer csrd may be; `problems` says why.  E_NOMEM.
 */
MUST_USE enum err policy_cache_get(struct policy_cache *cache, const struct policy_record *record,
				   struct problem_list *problems, const struct policy **ret_policy);

#endif
