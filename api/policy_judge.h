/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A create, judged by the policies of its account and zone.  Each problem says
 * what is accepted.  What is judged has passed the contract's own checks.
 */
#ifndef CSRD_API_POLICY_JUDGE_H
#define CSRD_API_POLICY_JUDGE_H

#include "api/policy.h"
#include "api/problem.h"
#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"
#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>

/* What is left of a set when all policies are met. */
key_type_set policy_judge_key_types(const struct policy_set *set, key_type_set permitted);
unsigned policy_judge_san_types(const struct policy_set *set, unsigned permitted);
/* Whether any name at all may have an underscore. */
bool policy_judge_may_underscore(const struct policy_set *set);
/* Whether it matters that the common name is among the SANs. */
bool policy_judge_wants_common_name(const struct policy_set *set);

/* text NULL: not given.  code: of the field. */
void policy_judge_text(const struct policy_set *set, enum policy_field field, enum problem_code code,
		       const char *text, struct problem_list *problems);
/*
 * A common name that reads as a name (san_read_common_name) must be one that the SANs may have, too.
 * is_among: one of the SANs is the same.  E_NOMEM.
 */
MUST_USE enum err policy_judge_common_name(const struct policy_set *set, const char *text, bool is_among,
					   struct problem_list *problems);
void policy_judge_count(const struct policy_set *set, size_t sans, struct problem_list *problems);
/* E_NOMEM. */
MUST_USE enum err policy_judge_san(const struct policy_set *set, size_t index, const struct csr_san *san,
				   struct problem_list *problems);

#endif
