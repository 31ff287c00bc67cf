/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, operations and refusals of the OpenAPI document: from the routes, the parameters of lists and the
 * problems. */
#include "api/openapi_part.h"

#include "api/page.h"
#include "api/problem.h"
#include "api/route.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

#define BASE "{base}"
#define NAME_BYTES 128

void openapi_put_ref(struct json_writer *w, const char *kind, const char *name)
{
	char ref[NAME_BYTES + 32];

	snprintf(ref, sizeof(ref), "#/components/%s/%s", kind, name);
	json_open_object(w);
	json_put_text_member(w, "$ref", ref);
	json_close(w);
}

static void path_put_ref_member(struct json_writer *w, const char *member, const char *kind, const char *name)
{
	json_put_name(w, member);
	openapi_put_ref(w, kind, name);
}

/* ---- refusals ---- */

/* The places (problem.h) of what a request of this rule involves. */
static unsigned rule_places(const struct route_rule *rule)
{
	unsigned places = PROBLEM_ANYWHERE;

	if (!rule->is_open)
		places |= PROBLEM_OF_CREDENTIAL;
	if (rule->permission)
		places |= PROBLEM_OF_GRANT;
	if (strstr(rule->pattern, "{csr}"))
		places |= PROBLEM_OF_CSR_ID;
	if (rule->method == HTTP_POST)
		places |= PROBLEM_OF_BODY;
	return places;
}

/* Those of them from which this status comes; 0: from none. */
static unsigned refusal_places(int status, unsigned places)
{
	const struct problem_row *row;
	unsigned found = 0;

	for (size_t i = 0; (row = problem_row_at(i)); i++) {
		if (row->status == status)
			found |= row->place & places;
	}
	return found;
}

/* A text that could not be made is no empty one: the document cannot be made either. */
static void path_end_text(struct json_writer *w, struct buf *text)
{
	if (w->out->status == E_OK)
		w->out->status = buf_status(text);
	buf_release(text);
}

/* "Refused400CredentialBody": one component for all operations that are refused alike. */
static void refusal_name(int status, unsigned places, char name[NAME_BYTES])
{
	static const char *const words[PROBLEM_PLACES] = {"", "Credential", "Grant", "CsrId", "Body"};
	int used = snprintf(name, NAME_BYTES, "Refused%d", status);

	for (unsigned i = 0; i < PROBLEM_PLACES; i++) {
		if (places & (1u << i))
			used += snprintf(name + used, NAME_BYTES - (size_t)used, "%s", words[i]);
	}
}

static void refusal_put_description(struct json_writer *w, int status, unsigned places)
{
	const struct problem_row *row;
	struct buf text;

	buf_init(&text, 16384);
	for (size_t i = 0; (row = problem_row_at(i)); i++) {
		if (row->status == status && (row->place & places))
			buf_printf(&text, "%s`%d`: %s", text.len > 0 ? "\n\n" : "", (int)row->code,
				   row->text);
	}
	json_put_text_member(w, "description", buf_text(&text));
	path_end_text(w, &text);
}

static void path_put_header(struct json_writer *w, const char *name)
{
	path_put_ref_member(w, name, "headers", name);
}

/* Those of every answer. */
static void path_put_headers(struct json_writer *w)
{
	static const char *const names[] = {"X-Request-Id", "Cache-Control", "Ratelimit", "Ratelimit-Policy"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		path_put_header(w, names[i]);
}

static void refusal_put_headers(struct json_writer *w, int status, unsigned places)
{
	json_put_name(w, "headers");
	json_open_object(w);
	path_put_headers(w);
	if (status == 429 || status == 503)
		path_put_header(w, "Retry-After");
	else if (status != 408)
		path_put_header(w, "x-should-retry");
	if (places & (PROBLEM_OF_CREDENTIAL | PROBLEM_OF_GRANT))
		path_put_header(w, "WWW-Authenticate");
	if (status == 415) {
		path_put_header(w, "Accept");
		path_put_header(w, "Accept-Encoding");
	}
	json_close(w);
}

/* A Refusal with these codes. */
static void refusal_put_schema(struct json_writer *w, int status, unsigned places)
{
	const struct problem_row *row;

	json_put_name(w, "content");
	json_put_raw(
	    w, "{\"application/json\":{\"schema\":{\"allOf\":[{\"$ref\":\"#/components/schemas/Refusal\"},"
	       "{\"properties\":{\"errors\":{\"items\":{\"properties\":{\"code\":{\"enum\":[");
	for (size_t i = 0, n = 0; (row = problem_row_at(i)); i++) {
		if (row->status == status && (row->place & places))
			buf_printf(w->out, "%s%d", n++ > 0 ? "," : "", (int)row->code);
	}
	buf_put_str(w->out, "]}}}}}}]}}}");
}

static void refusal_put(struct json_writer *w, int status, unsigned places)
{
	json_open_object(w);
	refusal_put_description(w, status, places);
	refusal_put_headers(w, status, places);
	refusal_put_schema(w, status, places);
	json_close(w);
}

/* Has a rule before this one the same refusal? */
static bool refusal_is_known(int status, unsigned places, unsigned before)
{
	for (unsigned number = 1; number < before; number++) {
		const struct route_rule *rule = route_at(number);

		if (rule->operation && refusal_places(status, rule_places(rule)) == places)
			return true;
	}
	return false;
}

void openapi_put_responses(struct json_writer *w, const struct validate_policy *policy)
{
	const struct route_rule *rule;
	char name[NAME_BYTES];

	(void)policy;
	json_open_object(w);
	json_put_name(w, "NotModified");
	json_open_object(w);
	json_put_text_member(w, "description", "The answer to `If-None-Match: *`.");
	json_put_name(w, "headers");
	json_open_object(w);
	path_put_headers(w);
	json_close(w);
	json_close(w);
	for (unsigned number = 1; (rule = route_at(number)); number++) {
		for (int status = 400; rule->operation && status < 600; status++) {
			unsigned places = refusal_places(status, rule_places(rule));

			if (!places || refusal_is_known(status, places, number))
				continue;
			refusal_name(status, places, name);
			json_put_name(w, name);
			refusal_put(w, status, places);
		}
	}
	json_close(w);
}

/* ---- answers ---- */

static void answer_put_envelope(struct json_writer *w, const char *schema, bool is_page)
{
	json_put_raw(
	    w, is_page ? "{\"type\":\"object\",\"additionalProperties\":false,\"required\":["
			 "\"success\",\"errors\",\"messages\",\"result\",\"result_info\"],\"properties\":{"
		       : "{\"type\":\"object\",\"additionalProperties\":false,\"required\":["
			 "\"success\",\"errors\",\"messages\",\"result\"],\"properties\":{");
	buf_printf(w->out,
		   "\"success\":{\"const\":true},\"errors\":{\"type\":\"array\",\"maxItems\":0},"
		   "\"messages\":{\"$ref\":\"#/components/schemas/Messages\"},"
		   "\"result\":{\"$ref\":\"#/components/schemas/%s\"}",
		   schema);
	if (is_page)
		buf_put_str(w->out, ",\"result_info\":{\"$ref\":\"#/components/schemas/PageInfo\"}");
	buf_put_str(w->out, "}}");
}

/* schema NULL: no envelope */
static void answer_put(struct json_writer *w, int status, const char *schema, bool is_page)
{
	json_open_object(w);
	json_put_text_member(w, "description", status == 201 ? "Made." : "Done.");
	json_put_name(w, "headers");
	json_open_object(w);
	path_put_headers(w);
	if (status == 201)
		path_put_header(w, "Location");
	json_close(w);
	json_put_name(w, "content");
	json_open_object(w);
	json_put_name(w, "application/json");
	json_open_object(w);
	json_put_name(w, "schema");
	if (schema)
		answer_put_envelope(w, schema, is_page);
	else
		json_put_raw(w, "{\"type\":\"object\"}");
	json_close(w);
	json_close(w);
	json_close(w);
}

static void operation_put_responses(struct json_writer *w, const struct route_rule *rule)
{
	const struct route_operation *operation = rule->operation;
	unsigned places = rule_places(rule);
	char number[16], name[NAME_BYTES];

	json_put_name(w, "responses");
	json_open_object(w);
	if (operation->other_status) {
		snprintf(number, sizeof(number), "%d", operation->other_status);
		json_put_name(w, number);
		answer_put(w, operation->other_status, operation->other_schema, false);
	}
	snprintf(number, sizeof(number), "%d", operation->status);
	json_put_name(w, number);
	answer_put(w, operation->status, operation->schema, operation->is_page);
	if (rule->method == HTTP_GET)
		path_put_ref_member(w, "304", "responses", "NotModified");
	for (int status = 400; status < 600; status++) {
		unsigned found = refusal_places(status, places);

		if (!found)
			continue;
		snprintf(number, sizeof(number), "%d", status);
		refusal_name(status, found, name);
		path_put_ref_member(w, number, "responses", name);
	}
	json_close(w);
}

/* ---- operations ---- */

static void parameter_put_schema(struct json_writer *w, const struct page_parameter *parameter, bool of_zone)
{
	uint64_t initial = parameter->initial[of_zone];

	json_open_object(w);
	json_put_text_member(w, "type", parameter->values ? "string" : "integer");
	if (parameter->values) {
		json_put_name(w, "enum");
		json_open_array(w);
		for (uint64_t i = parameter->min; i <= parameter->max; i++)
			json_put_text(w, parameter->values[i]);
		json_close(w);
		json_put_text_member(w, "default", parameter->values[initial]);
	} else {
		json_put_int_member(w, "minimum", (int64_t)parameter->min);
		json_put_int_member(w, "maximum", (int64_t)parameter->max);
		json_put_int_member(w, "default", (int64_t)initial);
	}
	json_close(w);
}

static void operation_put_parameters(struct json_writer *w, const struct route_operation *operation,
				     bool of_zone)
{
	const struct page_parameter *parameter;

	if (!operation->is_page && !operation->parameters[0])
		return;
	json_put_name(w, "parameters");
	json_open_array(w);
	for (size_t i = 0; operation->is_page && (parameter = page_parameter_at(i)); i++) {
		json_open_object(w);
		json_put_text_member(w, "name", parameter->name);
		json_put_text_member(w, "in", "query");
		json_put_text_member(w, "description", parameter->words);
		json_put_name(w, "schema");
		parameter_put_schema(w, parameter, of_zone);
		json_close(w);
	}
	for (size_t i = 0; i < 2 && operation->parameters[i]; i++)
		openapi_put_ref(w, "parameters", operation->parameters[i]);
	json_close(w);
}

/* With "Account" or "Zone" for the '*'. */
static void operation_put_id(struct json_writer *w, const char *id, bool of_zone)
{
	size_t len = strcspn(id, "*");
	char text[NAME_BYTES];

	if (id[len] == '\0')
		snprintf(text, sizeof(text), "%s", id);
	else
		snprintf(text, sizeof(text), "%.*s%s%s", (int)len, id, of_zone ? "Zone" : "Account",
			 id + len + 1);
	json_put_text_member(w, "operationId", text);
}

static void operation_put(struct json_writer *w, const struct route_rule *rule, bool of_zone)
{
	const struct route_operation *operation = rule->operation;
	char method[16] = "";

	for (size_t i = 0; i + 1 < sizeof(method) && http_method_name(rule->method)[i] != '\0'; i++)
		method[i] = str_ascii_lower(http_method_name(rule->method)[i]);
	json_put_name(w, method);
	json_open_object(w);
	operation_put_id(w, operation->id, of_zone);
	json_put_name(w, "tags");
	json_open_array(w);
	json_put_text(w, operation->tag);
	json_close(w);
	json_put_text_member(w, "summary", operation->summary);
	if (rule->is_open) {
		json_put_name(w, "security");
		json_put_raw(w, "[]");
	}
	operation_put_parameters(w, operation, of_zone);
	if (rule->method == HTTP_POST) {
		json_put_name(w, "requestBody");
		json_put_raw(w, "{\"required\":true,\"content\":{\"application/json\":{\"schema\":"
				"{\"$ref\":\"#/components/schemas/CustomCsrCreate\"}}}}");
	}
	operation_put_responses(w, rule);
	json_close(w);
}

/* ---- paths ---- */

static const struct {
	const char *word;         /* of a rule's pattern */
	const char *path[2];      /* in the document: of an account, of a zone */
	const char *parameter[2]; /* in components/parameters */
} path_words[] = {
    {"{scope}", {"accounts/{account_id}", "zones/{zone_id}"}, {"account_id", "zone_id"}},
    {"{account}", {"{account_id}", "{account_id}"}, {"account_id", "account_id"}},
    {"{csr}", {"{custom_csr_id}", "{custom_csr_id}"}, {"custom_csr_id", "custom_csr_id"}},
};
#define PATH_WORDS (sizeof(path_words) / sizeof(path_words[0]))

static void path_put_name(struct json_writer *w, const char *pattern, bool of_zone)
{
	struct buf path;

	buf_init(&path, NAME_BYTES);
	if (str_starts_with(pattern, BASE))
		pattern += strlen(BASE);
	while (*pattern != '\0') {
		size_t i = 0;

		while (i < PATH_WORDS && !str_starts_with(pattern, path_words[i].word))
			i++;
		if (i < PATH_WORDS) {
			buf_put_str(&path, path_words[i].path[of_zone]);
			pattern += strlen(path_words[i].word);
		} else {
			buf_put(&path, pattern++, 1);
		}
	}
	json_put_name(w, buf_text(&path));
	path_end_text(w, &path);
}

static void path_put_parameters(struct json_writer *w, const char *pattern, bool of_zone)
{
	if (!strchr(pattern + (str_starts_with(pattern, BASE) ? strlen(BASE) : 0), '{'))
		return;
	json_put_name(w, "parameters");
	json_open_array(w);
	for (size_t i = 0; i < PATH_WORDS; i++) {
		if (strstr(pattern, path_words[i].word))
			openapi_put_ref(w, "parameters", path_words[i].parameter[of_zone]);
	}
	json_close(w);
}

/* The path of this rule, with the operations of all rules that have it. */
static void path_put(struct json_writer *w, const char *pattern, bool of_zone)
{
	const struct route_rule *rule;

	path_put_name(w, pattern, of_zone);
	json_open_object(w);
	if (!str_starts_with(pattern, BASE)) {
		json_put_name(w, "servers");
		json_put_raw(w, "[{\"url\":\"/\"}]");
	}
	path_put_parameters(w, pattern, of_zone);
	for (unsigned number = 1; (rule = route_at(number)); number++) {
		if (strcmp(rule->pattern, pattern) == 0)
			operation_put(w, rule, of_zone);
	}
	json_close(w);
}

/* Is this the first of the rules with its path? */
static bool path_is_new(const struct route_rule *rule)
{
	unsigned number = 1;

	while (strcmp(route_at(number)->pattern, rule->pattern) != 0)
		number++;
	return route_at(number) == rule;
}

void openapi_put_paths(struct json_writer *w, const struct validate_policy *policy)
{
	const struct route_rule *rule;

	(void)policy;
	json_open_object(w);
	for (unsigned number = 1; (rule = route_at(number)); number++) {
		if (!rule->operation || !path_is_new(rule))
			continue;
		path_put(w, rule->pattern, false);
		if (strstr(rule->pattern, "{scope}"))
			path_put(w, rule->pattern, true);
	}
	json_close(w);
}
