/* SPDX-License-Identifier: Apache-2.0 */
/* From a CSR's record to the result object of the contract. */
#include "api/csr_json.h"

static void put_given(struct json_writer *w, const char *name, const char *text)
{
	if (text)
		json_put_text_member(w, name, text);
}

/* What a create takes, and what it adds to that in between. */
static void csr_json_put_members(struct json_writer *w, const struct csr_record *record, bool is_request)
{
	const struct csr_spec *spec = &record->spec;

	json_put_text_member(w, "key_type", key_type_name(spec->key_type));
	if (!is_request)
		json_put_text_member(w, "account_tag", record->account_tag);
	json_put_text_member(w, "common_name", spec->common_name);
	json_put_text_member(w, "country", spec->country);
	if (!is_request)
		put_given(w, "csr", record->pem);
	json_put_text_member(w, "locality", spec->locality);
	json_put_text_member(w, "organization", spec->organization);
	put_given(w, "organizational_unit", spec->organizational_unit);
	json_put_name(w, "sans");
	json_open_array(w);
	for (size_t i = 0; i < spec->sans_len; i++)
		json_put_text(w, spec->sans[i].value);
	json_close(w);
	json_put_text_member(w, "state", spec->state);
	put_given(w, "name", record->name);
	put_given(w, "description", record->description);
}

void csr_json_put(struct json_writer *w, const struct csr_record *record)
{
	json_open_object(w);
	json_put_text_member(w, "id", record->id);
	json_put_time_member(w, "created_at", record->created_us);
	csr_json_put_members(w, record, false);
	json_close(w);
}

void csr_json_put_request(struct json_writer *w, const struct csr_record *record)
{
	json_open_object(w);
	csr_json_put_members(w, record, true);
	json_close(w);
}
