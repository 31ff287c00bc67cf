/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a create, judged. */
#include "api/csr_judge.h"

#include "api/policy_cache.h"

/* What the operator permits and the token can make, once the token has said it. */
static key_type_set judge_key_types(const struct op *op)
{
	key_type_set permitted = op->api->options.config->policy.key_types;
	key_type_set offered = op->api->options.hsms_len > 0 ? hsm_key_types(op->api->options.hsms[0]) : 0;

	return offered ? permitted & offered : permitted;
}

static enum err judge_add_policy(const struct op *op, const struct policy_record *record,
				 struct policy_set *set)
{
	struct policy_in_force in_force = {.kind = record->scope.kind, .version = record->version};
	struct problem_list problems = {0};
	enum err e = E_OK;

	if (record->version > 0)
		e = policy_cache_get(&op->api->policies, record, &problems, &in_force.policy);
	if (e == E_INVAL) {
		op_log(op, LOG_LEVEL_ERROR, "cannot read the policy of %s '%s', version %lld: %s",
		       record->scope.kind == STORE_ZONE ? "zone" : "account", record->scope.id,
		       (long long)record->version, problems.items[0].message);
		e = E_CONFIG;
	}
	if (e == E_OK && in_force.policy)
		set->items[set->len++] = in_force;
	problem_list_release(&problems);
	return e;
}

enum err csr_judge(const struct op *op, const struct store_policies *policies, bool is_dry_run,
		   struct problem_list *problems, struct validate_csr *ret_csr)
{
	const struct config_policy *config = &op->api->options.config->policy;
	struct validate_policy policy = {
	    .key_types = judge_key_types(op),
	    .sans = {.types = config->san_types,
		     .public_names_only = config->public_names_only,
		     .suffixes = op->api->suffixes},
	    .notes_public = is_dry_run,
	};
	enum err e = policies ? judge_add_policy(op, &policies->account, &policy.rules) : E_OK;

	if (e == E_OK && policies)
		e = judge_add_policy(op, &policies->zone, &policy.rules);
	if (e != E_OK)
		return e;
	return validate_body(op->request->body ? op->request->body : "", op->request->body_len, &policy,
			     problems, ret_csr);
}

void csr_judge_refuse(struct op *op, enum err e, const struct problem_list *problems)
{
	if (e == E_INVAL)
		op_refuse_list(op, problems);
	else
		op_refuse_err(op, e, NULL);
}
