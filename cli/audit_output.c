/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the audit trail, as csrctl audit and csr show tell them. */
#include "cli/audit_output.h"

void audit_output_json(struct json_writer *w, const struct names *names, const struct audit_record *a,
		       bool with_object)
{
	json_open_object(w);
	json_put_int_member(w, "sequence", a->sequence);
	json_put_time_member(w, "at", a->at_us);
	json_put_text_member(w, "action", a->action);
	if (with_object)
		json_put_text_member(w, "object", a->object);
	json_put_text_member(w, "actor", a->actor);
	output_json_text_opt(w, "actor_name", names_of_principal(names, a->actor));
	output_json_text_opt(w, "request_id", a->request_id);
	output_json_text_opt(w, "peer", a->peer);
	output_json_text_opt(w, "detail", a->detail);
	json_close(w);
}

void audit_output_actor(struct output_table *t, const struct names *names, const char *actor)
{
	struct buf words;

	buf_init(&words, 4096);
	names_format_actor(names, actor, &words);
	output_table_put(t, buf_text(&words));
	buf_release(&words);
}
