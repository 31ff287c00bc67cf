/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a create and the CSR of an answer, as JSON Schema.  A schema
 * never refuses what the validator accepts.  What it cannot say (classes of
 * characters, A-labels, public names) the validator refuses on its own.
 */
#include "api/openapi_part.h"

#include "api/country.h"
#include "api/csr_json.h"
#include "api/san_host.h"

#include <string.h>

/* No control characters, no blank at the ends; written so that every dialect of regular expressions reads it.
 */
#define TEXT_PATTERN "^[^\\x00-\\x20\\x7f-\\xa0]([^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x20\\x7f-\\xa0])?$"
#define LABEL_PATTERN "^[^\\x00-\\x1f\\x7f-\\x9f]*$"

/* A host name, "*." in front or not, whose last label is no number; within a string of JSON, so each \ twice.
 */
#define DNS_LABEL "[0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
#define DNS_PATTERN "^(\\\\*\\\\.)?(" DNS_LABEL "\\\\.)*" DNS_LABEL "$"
#define DNS_NUMBER "(^|\\\\.)([0-9]+|0[Xx][0-9A-Fa-f]*)$"

_Static_assert(CSR_SAN_BYTES_MAX == 255 && SAN_HOST_MAX_CHARS == 253, "as below");
#define SAN_SCHEMA(title, length, more)                                                                      \
	"{\"type\":\"string\",\"title\":\"" title "\",\"minLength\":1,\"maxLength\":" length "," more "}"

static const struct {
	enum san_type type;
	const char *schema;
} san_schemas[] = {
    {SAN_DNS, SAN_SCHEMA("DNS name", "253",
			 "\"pattern\":\"" DNS_PATTERN "\",\"not\":{\"pattern\":\"" DNS_NUMBER "\"}")},
    {SAN_IP,
     SAN_SCHEMA("IP address", "255",
		"\"pattern\":\"^[0-9A-Fa-f:.]+$\",\"anyOf\":[{\"format\":\"ipv4\"},{\"format\":\"ipv6\"}]")},
    {SAN_EMAIL, SAN_SCHEMA("E-mail address", "255", "\"format\":\"email\",\"pattern\":\"@\"")},
    {SAN_URI, SAN_SCHEMA("URI", "255", "\"format\":\"uri\",\"pattern\":\":\"")},
};
#define SAN_SCHEMAS (sizeof(san_schemas) / sizeof(san_schemas[0]))

static void schema_put_type(struct json_writer *w, const char *type, bool is_required)
{
	json_put_name(w, "type");
	if (!is_required) {
		json_open_array(w);
		json_put_text(w, type);
		json_put_text(w, "null");
		json_close(w);
	} else {
		json_put_text(w, type);
	}
}

static void schema_put_countries(struct json_writer *w)
{
	char code[COUNTRY_SIZE] = {0};

	json_put_name(w, "enum");
	json_open_array(w);
	for (code[0] = 'A'; code[0] <= 'Z'; code[0]++) {
		for (code[1] = 'A'; code[1] <= 'Z'; code[1]++) {
			if (country_is_known(code))
				json_put_text(w, code);
		}
	}
	json_close(w);
}

static void schema_put_key_types(struct json_writer *w, key_type_set types, bool or_null)
{
	json_put_name(w, "enum");
	json_open_array(w);
	for (enum key_type type = 1; type <= KEY_TYPE_MAX; type++) {
		if (types & KEY_TYPE_BIT(type))
			json_put_text(w, key_type_name(type));
	}
	if (or_null)
		json_put_null(w);
	json_close(w);
}

/* The kinds that are accepted: of several, one must fit. */
static void schema_put_san(struct json_writer *w, unsigned types)
{
	bool is_several = (types & (types - 1)) != 0;

	if (is_several) {
		json_open_object(w);
		json_put_name(w, "anyOf");
		json_open_array(w);
	}
	for (size_t i = 0; i < SAN_SCHEMAS; i++) {
		if (types & SAN_TYPE_BIT(san_schemas[i].type))
			json_put_raw(w, san_schemas[i].schema);
	}
	if (is_several) {
		json_close(w);
		json_close(w);
	}
}

static void schema_put_sans(struct json_writer *w, unsigned types)
{
	json_put_int_member(w, "minItems", 1);
	json_put_int_member(w, "maxItems", CSR_SANS_MAX);
	json_put_bool_member(w, "uniqueItems", true);
	json_put_name(w, "items");
	schema_put_san(w, types);
}

/* Without its default the key type has to be given. */
static bool schema_is_required(const struct validate_field *field, const struct validate_policy *policy)
{
	if (field->kind == VALIDATE_KEY_TYPE)
		return !(policy->key_types & KEY_TYPE_BIT(VALIDATE_KEY_TYPE_DEFAULT));
	return field->is_required;
}

static void schema_put_field(struct json_writer *w, const struct validate_field *field,
			     const struct validate_policy *policy)
{
	bool is_required = schema_is_required(field, policy);

	json_open_object(w);
	schema_put_type(w, field->kind == VALIDATE_SANS ? "array" : "string", is_required);
	json_put_text_member(w, "description", field->words);
	switch (field->kind) {
	case VALIDATE_COUNTRY:
		schema_put_countries(w);
		break;
	case VALIDATE_SUBJECT:
		json_put_int_member(w, "minLength", 1);
		json_put_int_member(w, "maxLength", field->chars_max);
		json_put_text_member(w, "pattern", TEXT_PATTERN);
		break;
	case VALIDATE_LABEL:
		json_put_int_member(w, "maxLength", field->chars_max);
		json_put_text_member(w, "pattern", LABEL_PATTERN);
		break;
	case VALIDATE_SANS:
		schema_put_sans(w, policy->sans.types);
		break;
	case VALIDATE_KEY_TYPE:
		schema_put_key_types(w, policy->key_types, !is_required);
		if (!is_required)
			json_put_text_member(w, "default", key_type_name(VALIDATE_KEY_TYPE_DEFAULT));
		break;
	}
	json_close(w);
}

void openapi_put_create(struct json_writer *w, const struct validate_policy *policy)
{
	const struct validate_field *field;

	json_open_object(w);
	json_put_text_member(w, "type", "object");
	json_put_bool_member(w, "additionalProperties", false);
	json_put_name(w, "required");
	json_open_array(w);
	for (size_t i = 0; (field = validate_field_at(i)); i++) {
		if (schema_is_required(field, policy))
			json_put_text(w, field->name);
	}
	json_close(w);
	json_put_name(w, "properties");
	json_open_object(w);
	for (size_t i = 0; (field = validate_field_at(i)); i++) {
		json_put_name(w, field->name);
		schema_put_field(w, field, policy);
	}
	json_close(w);
	json_close(w);
}

/* ---- answers ---- */

static void schema_put_member(struct json_writer *w, const struct csr_json_member *member)
{
	if (member->kind == CSR_JSON_ACCOUNT) {
		openapi_put_ref(w, "schemas", "ScopeId");
		return;
	}
	json_open_object(w);
	json_put_text_member(w, "type", member->kind == CSR_JSON_SANS ? "array" : "string");
	if (member->words)
		json_put_text_member(w, "description", member->words);
	switch (member->kind) {
	case CSR_JSON_ID:
		json_put_text_member(w, "format", "uuid");
		break;
	case CSR_JSON_TIME:
		json_put_text_member(w, "format", "date-time");
		break;
	case CSR_JSON_KEY_TYPE:
		schema_put_key_types(w, KEY_TYPES_ALL, false);
		break;
	case CSR_JSON_SANS:
		json_put_name(w, "items");
		json_put_raw(w, "{\"type\":\"string\"}");
		break;
	case CSR_JSON_TEXT:
	case CSR_JSON_ACCOUNT:
		break;
	}
	json_close(w);
}

void openapi_put_csr(struct json_writer *w, const struct validate_policy *policy)
{
	const struct csr_json_member *member;

	(void)policy; /* a CSR may be older than that */
	json_open_object(w);
	json_put_text_member(w, "type", "object");
	json_put_bool_member(w, "additionalProperties", false);
	json_put_name(w, "required");
	json_open_array(w);
	for (size_t i = 0; (member = csr_json_member_at(i)); i++) {
		if (!member->is_optional)
			json_put_text(w, member->name);
	}
	json_close(w);
	json_put_name(w, "properties");
	json_open_object(w);
	for (size_t i = 0; (member = csr_json_member_at(i)); i++) {
		json_put_name(w, member->name);
		schema_put_member(w, member);
	}
	json_close(w);
	json_close(w);
}
