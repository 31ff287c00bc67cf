/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of csrctl csr tell of a CSR in the same way. */
#include "cli/csr_output.h"

#include "base/key.h"
#include "cli/output.h"

void csr_output_members(struct json_writer *w, const struct names *names, const struct csr_record *r)
{
	json_put_text_member(w, "id", r->id);
	json_put_text_member(w, "state", csr_state_name(r->state));
	json_put_text_member(w, "scope", output_scope_name(r->scope.kind));
	json_put_text_member(w, "scope_id", r->scope.id);
	output_json_text_opt(w, "scope_name", names_of_scope(names, r->scope.kind, r->scope.id));
	json_put_text_member(w, "account", r->account_tag);
	json_put_text_member(w, "token", r->token_name);
	json_put_text_member(w, "principal", r->principal_id);
	output_json_text_opt(w, "principal_name", names_of_principal(names, r->principal_id));
	json_put_text_member(w, "key_type", key_type_name(r->spec.key_type));
	json_put_text_member(w, "common_name", r->spec.common_name);
	output_json_text_opt(w, "name", r->name);
	json_put_time_member(w, "created_at", r->created_us);
	json_put_time_member(w, "updated_at", r->updated_us);
	output_json_time_opt(w, "set_aside_at", r->set_aside_us);
	if (r->account_policy)
		json_put_int_member(w, "account_policy", r->account_policy);
	if (r->zone_policy)
		json_put_int_member(w, "zone_policy", r->zone_policy);
}
