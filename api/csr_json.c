/* SPDX-License-Identifier: Apache-2.0 */
/* From a CSR's record to the result object of the contract. */
#include "api/csr_json.h"

#define RECORD(member) offsetof(struct csr_record, member)

static const struct csr_json_member members[] = {
    {"id", CSR_JSON_ID, false, RECORD(id), "The CSR's id, a random UUID."},
    {"created_at", CSR_JSON_TIME, false, RECORD(created_us), "When it was made; never changes."},
    {"key_type", CSR_JSON_KEY_TYPE, false, RECORD(spec.key_type), "Type of its key pair."},
    {"account_tag", CSR_JSON_ACCOUNT, false, RECORD(account_tag),
     "The account for which it was made, or whose zone it was made for."},
    {"common_name", CSR_JSON_TEXT, false, RECORD(spec.common_name), NULL},
    {"country", CSR_JSON_TEXT, false, RECORD(spec.country), NULL},
    {"csr", CSR_JSON_TEXT, false, RECORD(pem), "The PKCS#10 request, as PEM."},
    {"locality", CSR_JSON_TEXT, false, RECORD(spec.locality), NULL},
    {"organization", CSR_JSON_TEXT, false, RECORD(spec.organization), NULL},
    {"organizational_unit", CSR_JSON_TEXT, true, RECORD(spec.organizational_unit), NULL},
    {"sans", CSR_JSON_SANS, false, RECORD(spec), "As they were sent, in the same order."},
    {"state", CSR_JSON_TEXT, false, RECORD(spec.state), NULL},
    {"name", CSR_JSON_TEXT, true, RECORD(name), NULL},
    {"description", CSR_JSON_TEXT, true, RECORD(description), NULL},
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

const struct csr_json_member *csr_json_member_at(size_t nth)
{
	return nth < MEMBERS ? &members[nth] : NULL;
}

static void csr_json_put_sans(struct json_writer *w, const struct csr_spec *spec)
{
	json_open_array(w);
	for (size_t i = 0; i < spec->sans_len; i++)
		json_put_text(w, spec->sans[i].value);
	json_close(w);
}

static void csr_json_put_member(struct json_writer *w, const struct csr_record *record,
				const struct csr_json_member *member)
{
	const void *at = (const char *)record + member->offset;
	const char *text;

	switch (member->kind) {
	case CSR_JSON_TEXT:
		text = *(const char *const *)at;
		if (text)
			json_put_text_member(w, member->name, text);
		break;
	case CSR_JSON_ID:
	case CSR_JSON_ACCOUNT:
		json_put_text_member(w, member->name, at);
		break;
	case CSR_JSON_TIME:
		json_put_time_member(w, member->name, *(const int64_t *)at);
		break;
	case CSR_JSON_KEY_TYPE:
		json_put_text_member(w, member->name, key_type_name(*(const enum key_type *)at));
		break;
	case CSR_JSON_SANS:
		json_put_name(w, member->name);
		csr_json_put_sans(w, at);
		break;
	}
}

void csr_json_put(struct json_writer *w, const struct csr_record *record)
{
	json_open_object(w);
	for (size_t i = 0; i < MEMBERS; i++)
		csr_json_put_member(w, record, &members[i]);
	json_close(w);
}

/* Whether a create takes it, too. */
static bool csr_json_is_sent(const struct csr_json_member *member)
{
	return member->kind != CSR_JSON_ID && member->kind != CSR_JSON_TIME &&
	       member->kind != CSR_JSON_ACCOUNT && member->offset != RECORD(pem);
}

void csr_json_put_request(struct json_writer *w, const struct csr_record *record)
{
	json_open_object(w);
	for (size_t i = 0; i < MEMBERS; i++)
		if (csr_json_is_sent(&members[i]))
			csr_json_put_member(w, record, &members[i]);
	json_close(w);
}
