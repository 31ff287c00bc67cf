/* SPDX-License-Identifier: Apache-2.0 */
/* Every field of a create request, checked. */
#include "api/validate.h"

#include "api/country.h"
#include "api/json.h"
#include "api/note.h"
#include "api/policy_judge.h"
#include "base/buf.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of what a caller sent is quoted in a message. */
#define QUOTE_BYTES 64

#define SPEC(member) offsetof(struct validate_csr, spec.member)

static const struct validate_field fields[] = {
    {"country", VALIDATE_COUNTRY, PROBLEM_COUNTRY, PROBLEM_COUNTRY, CSR_COUNTRY_CHARS, true, SPEC(country),
     "An officially assigned code of ISO 3166-1 alpha-2, or XK.", POLICY_COUNTRY},
    {"state", VALIDATE_SUBJECT, PROBLEM_STATE, PROBLEM_STATE, CSR_STATE_CHARS, true, SPEC(state),
     "State or province.", POLICY_STATE},
    {"locality", VALIDATE_SUBJECT, PROBLEM_LOCALITY, PROBLEM_LOCALITY, CSR_LOCALITY_CHARS, true,
     SPEC(locality), "City or town.", POLICY_LOCALITY},
    {"organization", VALIDATE_SUBJECT, PROBLEM_ORGANIZATION, PROBLEM_ORGANIZATION, CSR_ORGANIZATION_CHARS,
     true, SPEC(organization), "Legal name of the organization.", POLICY_ORGANIZATION},
    {"organizational_unit", VALIDATE_SUBJECT, PROBLEM_BODY, PROBLEM_BODY, CSR_ORGANIZATIONAL_UNIT_CHARS,
     false, SPEC(organizational_unit), "Part of the organization.", POLICY_ORGANIZATIONAL_UNIT},
    {"common_name", VALIDATE_SUBJECT, PROBLEM_COMMON_NAME, PROBLEM_COMMON_NAME_LENGTH, CSR_COMMON_NAME_CHARS,
     true, SPEC(common_name), "A longer name goes into sans alone.", POLICY_COMMON_NAME},
    {"sans", VALIDATE_SANS, PROBLEM_NO_SAN, PROBLEM_SAN, CSR_SAN_BYTES_MAX, true, 0,
     "Subject alternative names, kept in this order and case.", POLICY_FIELDS},
    {"key_type", VALIDATE_KEY_TYPE, PROBLEM_KEY_TYPE, PROBLEM_KEY_TYPE, 0, false, 0,
     "Type of the key pair that the HSM makes.", POLICY_FIELDS},
    {"name", VALIDATE_LABEL, PROBLEM_BODY, PROBLEM_BODY, VALIDATE_NAME_CHARS, false,
     offsetof(struct validate_csr, name), "For people; not part of the CSR.", POLICY_NAME},
    {"description", VALIDATE_LABEL, PROBLEM_BODY, PROBLEM_BODY, VALIDATE_DESCRIPTION_CHARS, false,
     offsetof(struct validate_csr, description), "For people; not part of the CSR.", POLICY_DESCRIPTION},
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

struct validation {
	struct json_value body;
	const struct validate_policy *policy;
	struct san_policy sans; /* narrowed by the rules */
	struct problem_list *problems;
	struct validate_csr *csr;
	size_t unknown;
	enum err status;
};

void validate_csr_release(struct validate_csr *csr)
{
	csr_spec_release(&csr->spec);
	free(csr->name);
	free(csr->description);
	problem_list_release(&csr->notes);
	memset(csr, 0, sizeof(*csr));
}

/* ---- texts ---- */

static const char *name_unsafe(uint32_t c)
{
	switch (utf8_class(c)) {
	case UTF8_CONTROL:
		return c == '\n' || c == '\r' || c == '\t' ? "a line break or tab" : "a control character";
	case UTF8_INVISIBLE:
		return "an invisible character";
	case UTF8_PRIVATE:
		return "a private-use character";
	default:
		return "a code point without a character";
	}
}

/* True when one was refused. */
static bool refuse_unsafe(struct validation *v, const struct validate_field *field, const char *pointer,
			  const char *text)
{
	size_t len = strlen(text);
	size_t pos = 0;
	uint32_t c;

	for (size_t nth = 1; pos < len && utf8_next(text, len, &pos, &c); nth++) {
		if (!utf8_is_unsafe_in_names(c))
			continue;
		problem_list_add(v->problems, field->code, pointer,
				 "%s holds U+%04X, %s, at position %zu; leave it out", field->name,
				 (unsigned)c, name_unsafe(c), nth);
		return true;
	}
	if (pos < len)
		problem_list_add(v->problems, field->code, pointer, "%s is not UTF-8", field->name);
	return pos < len;
}

/* What a subject field lacks, or NULL.  Nothing unsafe is in it. */
static const char *subject_fault(const char *text)
{
	size_t len = strlen(text);
	enum utf8_class class = UTF8_BLANK;
	bool has_visible = false;

	if (len == 0)
		return "must not be empty; send text, or leave it out where it is optional";
	for (size_t pos = 0; pos < len;) {
		bool is_first = pos == 0;
		uint32_t c = 0;

		if (!utf8_next(text, len, &pos, &c))
			return "is not UTF-8";
		class = utf8_class(c);
		if (class == UTF8_VISIBLE)
			has_visible = true;
		else if (class == UTF8_BLANK && is_first)
			return "starts with a blank; leave that out";
	}
	if (class == UTF8_BLANK)
		return "ends with a blank; leave that out";
	return has_visible ? NULL : "contains no visible character; send text";
}

static void validate_refuse_length(struct validation *v, const struct validate_field *field,
				   const char *pointer, size_t chars)
{
	const char *remedy = field->length_code == PROBLEM_COMMON_NAME_LENGTH
				 ? "send a shorter name here, and the long one only in sans"
				 : "shorten it";

	problem_list_add(v->problems, field->length_code, pointer,
			 "%s has %zu characters, and %u at most are accepted; %s", field->name, chars,
			 field->chars_max, remedy);
}

/* True when it was refused. */
static bool refuse_not_public(struct validation *v, const char *pointer, const char *common_name)
{
	char why[SAN_WHY_SIZE];
	enum problem_code code = san_check_common_name(common_name, &v->sans, why);

	if (code == PROBLEM_UNAVAILABLE)
		v->status = E_NOMEM;
	else if (code)
		problem_list_add(v->problems, code, pointer, "common_name \"%s\" %s", common_name, why);
	return code != PROBLEM_NONE;
}

/* Whether one of the SANs stands for the same, as they are in the body. */
static bool common_name_is_among(struct validation *v, const char *common_name)
{
	struct json_value sans = json_member(v->body, "sans");

	for (size_t i = 0; i < json_array_len(sans); i++) {
		const char *san = json_text(json_array_item(sans, i));

		if (san && san_names_same(common_name, san))
			return true;
	}
	return false;
}

static void validate_judge_text(struct validation *v, const struct validate_field *field, const char *text)
{
	const struct policy_set *rules = &v->policy->rules;
	bool is_among;

	policy_judge_text(rules, field->rule, field->code, text, v->problems);
	if (field->rule != POLICY_COMMON_NAME || rules->len == 0)
		return;
	is_among = policy_judge_wants_common_name(rules) && common_name_is_among(v, text);
	if (policy_judge_common_name(rules, text, is_among, v->problems) != E_OK)
		v->status = E_NOMEM;
}

static void check_text(struct validation *v, const struct validate_field *field, const char *pointer,
		       const char *text)
{
	char **slot = (char **)(void *)((char *)v->csr + field->offset);
	size_t chars = utf8_count(text, strlen(text));
	const char *fault;

	if (refuse_unsafe(v, field, pointer, text))
		return;
	fault = field->kind == VALIDATE_LABEL ? NULL : subject_fault(text);
	if (fault) {
		problem_list_add(v->problems, field->code, pointer, "%s %s", field->name, fault);
		return;
	}
	if (chars > field->chars_max) {
		validate_refuse_length(v, field, pointer, chars);
		return;
	}
	if (field->code == PROBLEM_COMMON_NAME && refuse_not_public(v, pointer, text))
		return;
	validate_judge_text(v, field, text);
	*slot = strdup(text);
	if (!*slot)
		v->status = E_NOMEM;
}

/* Clients send null for what nobody set: Python's None, nil pointers of Go, serialisers' defaults. */
static bool validate_is_missing(struct json_value value)
{
	return value.kind == JSON_ABSENT || value.kind == JSON_NULL;
}

/* Behind the words for a required member that is missing. */
static const char *null_words(struct json_value value)
{
	return value.kind == JSON_NULL ? ", and null means that it is not given" : "";
}

static void check_text_field(struct validation *v, const struct validate_field *field)
{
	struct json_value value = json_member(v->body, field->name);
	char pointer[32];

	snprintf(pointer, sizeof(pointer), "/%s", field->name);
	if (value.kind == JSON_STRING)
		check_text(v, field, pointer, json_text(value));
	else if (!validate_is_missing(value))
		problem_list_add(v->problems, PROBLEM_BODY, pointer, "%s must be a string, not %s",
				 field->name, json_kind_name(value.kind));
	else if (field->is_required)
		problem_list_add(v->problems, field->code, pointer, "%s is required%s", field->name,
				 null_words(value));
	else
		policy_judge_text(&v->policy->rules, field->rule, field->code, NULL, v->problems);
}

static void check_country(struct validation *v, const struct validate_field *field)
{
	struct json_value value = json_member(v->body, field->name);
	char meant[COUNTRY_SIZE];

	if (value.kind != JSON_STRING || country_is_known(json_text(value)))
		check_text_field(v, field);
	else if (country_guess(json_text(value), meant))
		problem_list_add(v->problems, PROBLEM_COUNTRY, "/country",
				 "country \"%s\" is not an upper-case ISO 3166-1 alpha-2 code; send \"%s\"",
				 json_text(value), meant);
	else
		problem_list_add(v->problems, PROBLEM_COUNTRY, "/country",
				 "country must be an upper-case ISO 3166-1 alpha-2 code, "
				 "such as \"US\"");
}

/* ---- SANs ---- */

static void check_san(struct validation *v, size_t index, struct json_value value)
{
	struct csr_spec *spec = &v->csr->spec;
	struct csr_san san;
	char why[SAN_WHY_SIZE] = "";
	char pointer[32];
	enum problem_code code;

	snprintf(pointer, sizeof(pointer), "/sans/%zu", index);
	if (value.kind != JSON_STRING) {
		problem_list_add(v->problems, PROBLEM_BODY, pointer, "sans[%zu] must be a string, not %s",
				 index, json_kind_name(value.kind));
		return;
	}
	code = san_check(json_text(value), &v->sans, why, &san.type);
	if (code == PROBLEM_UNAVAILABLE) {
		v->status = E_NOMEM;
		return;
	}
	if (code == PROBLEM_SAN_NOT_ASCII) {
		problem_list_add(v->problems, code, pointer, "sans[%zu] %s", index, why);
		return;
	}
	if (code) {
		problem_list_add(v->problems, code, pointer, "sans[%zu] \"%.*s\" %s", index, QUOTE_BYTES,
				 json_text(value), why);
		return;
	}
	san.value = (char *)(uintptr_t)json_text(value);
	for (size_t i = 0; i < spec->sans_len; i++) {
		if (san_is_same(&spec->sans[i], &san)) {
			problem_list_add(v->problems, PROBLEM_SAN, pointer,
					 "sans[%zu] \"%.*s\" is given twice; send it once", index,
					 QUOTE_BYTES, san.value);
			return;
		}
	}
	if (csr_spec_add_san(spec, san.type, san.value) != E_OK ||
	    policy_judge_san(&v->policy->rules, index, &san, v->problems) != E_OK)
		v->status = E_NOMEM;
}

static void validate_check_sans(struct validation *v, const struct validate_field *field)
{
	struct json_value value = json_member(v->body, field->name);
	size_t len = json_array_len(value);

	if (value.kind != JSON_ARRAY && !validate_is_missing(value)) {
		problem_list_add(v->problems, PROBLEM_BODY, "/sans",
				 "sans must be an array of strings, not %s", json_kind_name(value.kind));
		return;
	}
	if (len == 0) {
		problem_list_add(v->problems, PROBLEM_NO_SAN, "/sans", "%s%s", problem_text(PROBLEM_NO_SAN),
				 null_words(value));
		return;
	}
	if (len > CSR_SANS_MAX) {
		problem_list_add(v->problems, PROBLEM_SAN, "/sans",
				 "sans has %zu items; at most %d are accepted; make another CSR for the rest",
				 len, CSR_SANS_MAX);
		return;
	}
	policy_judge_count(&v->policy->rules, len, v->problems);
	for (size_t i = 0; i < len; i++)
		check_san(v, i, json_array_item(value, i));
}

/* ---- the rest ---- */

static void refuse_key_type(struct validation *v, key_type_set accepted)
{
	struct buf names;

	buf_init(&names, 256);
	key_type_set_format(accepted, &names);
	problem_list_add(v->problems, PROBLEM_KEY_TYPE, "/key_type",
			 "key_type is not accepted; accepted are: %s", buf_text(&names));
	buf_release(&names);
}

static void check_key_type(struct validation *v, const struct validate_field *field)
{
	struct json_value value = json_member(v->body, field->name);
	key_type_set accepted = policy_judge_key_types(&v->policy->rules, v->policy->key_types);
	enum key_type type = VALIDATE_KEY_TYPE_DEFAULT;

	if (!validate_is_missing(value) && value.kind != JSON_STRING) {
		problem_list_add(v->problems, PROBLEM_BODY, "/key_type", "key_type must be a string, not %s",
				 json_kind_name(value.kind));
		return;
	}
	if ((value.kind == JSON_STRING && key_type_parse(json_text(value), &type) != E_OK) ||
	    !(accepted & KEY_TYPE_BIT(type)))
		refuse_key_type(v, accepted);
	else
		v->csr->spec.key_type = type;
}

const struct validate_field *validate_field_at(size_t nth)
{
	return nth < FIELDS ? &fields[nth] : NULL;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < FIELDS; i++) {
		if (strcmp(name, fields[i].name) == 0)
			return true;
	}
	return false;
}

/* RFC 6901 §3 */
static void put_pointer(struct buf *b, const char *name)
{
	buf_put_str(b, "/");
	for (; *name != '\0'; name++) {
		if (*name == '~')
			buf_put_str(b, "~0");
		else if (*name == '/')
			buf_put_str(b, "~1");
		else
			buf_put(b, name, 1);
	}
}

static void check_unknown(void *arg, const char *name, struct json_value value)
{
	struct validation *v = arg;
	struct buf pointer;

	(void)value;
	if (is_known(name))
		return;
	if (v->unknown++ >= VALIDATE_UNKNOWN_MAX)
		return;
	buf_init(&pointer, 1024);
	put_pointer(&pointer, name);
	/* A name too long for a pointer of that size is quoted in part only. */
	problem_list_add(v->problems, PROBLEM_BODY, buf_status(&pointer) != E_OK ? "" : buf_text(&pointer),
			 "unknown field \"%.*s\"", QUOTE_BYTES, name);
	buf_release(&pointer);
}

static void validate_check_field(struct validation *v, const struct validate_field *field)
{
	switch (field->kind) {
	case VALIDATE_COUNTRY:
		check_country(v, field);
		break;
	case VALIDATE_SUBJECT:
	case VALIDATE_LABEL:
		check_text_field(v, field);
		break;
	case VALIDATE_SANS:
		validate_check_sans(v, field);
		break;
	case VALIDATE_KEY_TYPE:
		check_key_type(v, field);
		break;
	}
}

static void validate_narrow(struct validation *v)
{
	const struct policy_set *rules = &v->policy->rules;

	v->sans = v->policy->sans;
	v->sans.types = policy_judge_san_types(rules, v->sans.types);
	v->sans.types_are_narrowed = v->sans.types != v->policy->sans.types;
	v->sans.may_underscore = policy_judge_may_underscore(rules);
}

static void validate_check_all(struct validation *v)
{
	validate_narrow(v);
	for (size_t i = 0; i < FIELDS; i++)
		validate_check_field(v, &fields[i]);
	json_each_member(v->body, check_unknown, v);
	if (v->unknown > VALIDATE_UNKNOWN_MAX)
		problem_list_add(v->problems, PROBLEM_BODY, "", "and %zu more unknown fields",
				 v->unknown - VALIDATE_UNKNOWN_MAX);
}

enum err validate_body(const char *body, size_t len, const struct validate_policy *policy,
		       struct problem_list *problems, struct validate_csr *ret_csr)
{
	struct validate_csr csr = {0};
	struct validation v = {.policy = policy, .problems = problems, .csr = &csr};
	struct json_doc *doc = NULL;
	char why[JSON_WHY_SIZE];
	enum err e = json_read(body, len, why, &doc);

	if (e == E_INVAL)
		problem_list_add(problems, PROBLEM_BODY, "", "the body cannot be decoded: %s", why);
	if (e != E_OK)
		goto out;
	v.body = json_root(doc);
	validate_check_all(&v);
	if (problems->status || v.status)
		e = E_NOMEM;
	else if (problems->len > 0)
		e = E_INVAL;
	if (e == E_OK)
		e = note_csr(&csr, policy, &csr.notes);
	if (e != E_OK)
		goto out;
	*ret_csr = csr;
	memset(&csr, 0, sizeof(csr));
out:
	if (e == E_INVAL && problems->len == 0)
		e = E_NOMEM;
	validate_csr_release(&csr);
	json_doc_free(doc);
	return e;
}
