/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the api: the body of a create, judged by all that it has to meet: the
 * contract, [policy] of the configuration, what the token can make, and the
 * policies of account and zone.
 */
#ifndef CSRD_API_CSR_JUDGE_H
#define CSRD_API_CSR_JUDGE_H

#include "api/op.h"
#include "api/validate.h"

/*
 * policies NULL: none.  E_INVAL: *problems says why it is refused.  E_NOMEM.  E_CONFIG: a policy cannot be
 * read; that is logged.
 */
MUST_USE enum err csr_judge(const struct op *op, const struct store_policies *policies, bool is_dry_run,
			    struct problem_list *problems, struct validate_csr *ret_csr);

/* Refuses the op by what csr_judge returned, which is not E_OK. */
void csr_judge_refuse(struct op *op, enum err e, const struct problem_list *problems);

#endif
