/* SPDX-License-Identifier: Apache-2.0 */
/* Policies, read. */
#include "api/policy.h"

#include "api/json.h"
#include "api/san.h"
#include "api/san_host.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTER_SIZE 128
#define ITEM_BYTES_MAX 600 /* a subject field of 128 characters, or "scheme://" and a host name */
#define QUOTE_BYTES 64

struct policy_reader {
	struct policy *policy;
	struct problem_list *problems;
	enum err status;
};

/*
 * Changes an item to the form that is compared; E_INVAL: why continues a sentence
 * that begins with it.  E_NOMEM.
 */
typedef enum err (*policy_item_fn)(struct policy *policy, char item[ITEM_BYTES_MAX + 1],
				   char why[SAN_WHY_SIZE]);

static const char *const policy_field_names[POLICY_FIELDS] = {
    [POLICY_COUNTRY] = "country",
    [POLICY_STATE] = "state",
    [POLICY_LOCALITY] = "locality",
    [POLICY_ORGANIZATION] = "organization",
    [POLICY_ORGANIZATIONAL_UNIT] = "organizational_unit",
    [POLICY_COMMON_NAME] = "common_name",
    [POLICY_NAME] = "name",
    [POLICY_DESCRIPTION] = "description",
};

const char *policy_field_name(enum policy_field field)
{
	return policy_field_names[field];
}

static void policy_list_release(struct policy_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(list->items[i]);
	free(list->items);
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	policy_list_release(&policy->dns_names);
	policy_list_release(&policy->wildcards);
	policy_list_release(&policy->underscores);
	policy_list_release(&policy->email_domains);
	policy_list_release(&policy->uris);
	policy_list_release(&policy->ip_networks);
	for (size_t i = 0; i < POLICY_FIELDS; i++)
		policy_list_release(&policy->values[i]);
	free(policy->networks);
	free(policy);
}

/* ---- items ---- */

static enum err policy_item_why(char why[SAN_WHY_SIZE], const char *text)
{
	snprintf(why, SAN_WHY_SIZE, "%s", text);
	return E_INVAL;
}

/* A host name as it is compared, or everything below one. */
static enum err policy_item_host(char *item, bool may_underscore, char why[SAN_WHY_SIZE])
{
	char *host = item[0] == '.' ? item + 1 : item;
	char a_labels[SAN_HOST_SIZE];
	const char *fault = NULL;
	enum err e;

	if (str_starts_with(host, "*."))
		return policy_item_why(why, "has a '*'; write '.b' for the names below b, and say in "
					    "wildcards which wildcards are accepted");
	if (!san_is_ascii(host, strlen(host))) {
		e = san_host_to_ascii(host, a_labels);
		if (e == E_NOTFOUND)
			return policy_item_why(why,
					       "contains characters that are not ASCII, and is no "
					       "internationalised name (IDNA2008); write a name in ASCII");
		if (e != E_OK)
			return e;
		snprintf(why, SAN_WHY_SIZE, "contains characters that are not ASCII; write \"%s%s\"",
			 host > item ? "." : "", a_labels);
		return E_INVAL;
	}
	e = san_host_check(host, may_underscore, &fault);
	if (e != E_OK)
		return e == E_INVAL ? policy_item_why(why, fault) : e;
	for (char *c = host; *c != '\0'; c++)
		*c = str_ascii_lower(*c);
	return E_OK;
}

static enum err policy_item_dns(struct policy *policy, char item[ITEM_BYTES_MAX + 1], char why[SAN_WHY_SIZE])
{
	(void)policy;
	return policy_item_host(item, true, why);
}

static enum err policy_item_suffix(struct policy *policy, char item[ITEM_BYTES_MAX + 1],
				   char why[SAN_WHY_SIZE])
{
	(void)policy;
	if (item[0] != '.')
		return policy_item_why(why, "does not begin with a dot; write '.b' for the wildcards "
					    "\"*.b\", \"*.a.b\" and so on");
	return policy_item_host(item, true, why);
}

static enum err policy_item_domain(struct policy *policy, char item[ITEM_BYTES_MAX + 1],
				   char why[SAN_WHY_SIZE])
{
	(void)policy;
	if (strchr(item, '@'))
		return policy_item_why(why, "has a '@'; write the domain alone");
	return policy_item_host(item, false, why);
}

static enum err policy_item_uri(struct policy *policy, char item[ITEM_BYTES_MAX + 1], char why[SAN_WHY_SIZE])
{
	size_t scheme_len = strcspn(item, ":");
	unsigned char octets[16];
	char *host;
	int family;

	(void)policy;
	if (scheme_len == 0 || item[scheme_len] == '\0' || !str_ascii_is_alpha(item[0]) ||
	    (item[scheme_len + 1] != '\0' && !str_starts_with(item + scheme_len, "://")))
		return policy_item_why(why, "is neither 'scheme:' nor 'scheme://host'; write \"spiffe:\" for "
					    "a scheme with any host, or \"https://.example.com\"");
	for (size_t i = 0; i < scheme_len; i++) {
		if (!str_ascii_is_alnum(item[i]) && !strchr("+-.", item[i]))
			return policy_item_why(why, "has a scheme with a character other than letters, "
						    "digits, '+', '-' and '.'");
		item[i] = str_ascii_lower(item[i]);
	}
	if (item[scheme_len + 1] == '\0')
		return E_OK;
	host = item + scheme_len + strlen("://");
	if (strpbrk(host, "/?#:@") && host[0] != '[')
		return policy_item_why(why,
				       "has more than a host after '://'; leave out path, port and user");
	if (host[0] == '[' && strchr(host, ']') && strchr(host, ']')[1] == '\0') {
		memmove(host, host + 1, strlen(host));
		*strchr(host, ']') = '\0';
		if (san_host_is_address(host, &family, octets))
			return E_OK;
		return policy_item_why(why, "has brackets around something that is not an IPv6 address");
	}
	return san_host_is_address(host, &family, octets) ? E_OK : policy_item_host(host, false, why);
}

static enum err policy_item_value(struct policy *policy, char item[ITEM_BYTES_MAX + 1],
				  char why[SAN_WHY_SIZE])
{
	(void)policy;
	return item[0] == '\0' ? policy_item_why(why, "is empty; forbid the field instead") : E_OK;
}

static enum err policy_item_network(struct policy *policy, char item[ITEM_BYTES_MAX + 1],
				    char why[SAN_WHY_SIZE])
{
	size_t len = policy->ip_networks.len;
	struct address_net *networks;
	struct address_net network;
	struct buf fault;
	enum err e;

	buf_init(&fault, 2 * SAN_WHY_SIZE + ITEM_BYTES_MAX);
	e = address_net_parse(item, &fault, &network);
	if (e == E_INVAL) /* it begins with the text, in quotes */
		snprintf(why, SAN_WHY_SIZE, "%s", buf_text(&fault) + strlen(item) + strlen("'' "));
	if (buf_status(&fault) != E_OK)
		e = E_NOMEM;
	buf_release(&fault);
	if (e != E_OK)
		return e;
	networks = reallocarray(policy->networks, len + 1, sizeof(*networks));
	if (!networks)
		return E_NOMEM;
	networks[len] = network;
	policy->networks = networks;
	return E_OK;
}

/* ---- lists ---- */

static void policy_refuse(struct policy_reader *r, const char *pointer, const char *why)
{
	problem_list_add(r->problems, PROBLEM_BODY, pointer, "%s %s", pointer + 1, why);
}

static void policy_list_add(struct policy_reader *r, struct policy_list *list, const char *item)
{
	char **items = reallocarray(list->items, list->len + 1, sizeof(*items));
	char *copy = strdup(item);

	if (items)
		list->items = items;
	if (!items || !copy) {
		r->status = E_NOMEM;
		free(copy);
		return;
	}
	list->items[list->len++] = copy;
}

static void policy_read_item(struct policy_reader *r, struct policy_list *list, const char *pointer,
			     struct json_value value, policy_item_fn check)
{
	const char *text = json_text(value);
	char item[ITEM_BYTES_MAX + 1];
	char why[SAN_WHY_SIZE] = "";
	enum err e;

	if (!text) {
		problem_list_add(r->problems, PROBLEM_BODY, pointer, "%s must be a string, not %s",
				 pointer + 1, json_kind_name(value.kind));
		return;
	}
	if (str_copy(item, sizeof(item), text) != E_OK) {
		policy_refuse(r, pointer, "is too long");
		return;
	}
	e = check(r->policy, item, why);
	if (e == E_INVAL)
		problem_list_add(r->problems, PROBLEM_BODY, pointer, "%s \"%.*s\" %s", pointer + 1,
				 QUOTE_BYTES, text, why);
	else if (e != E_OK)
		r->status = e;
	else
		policy_list_add(r, list, item);
}

/* True when value is an array of at least one item, and not of too many. */
static bool policy_array_is_fine(struct policy_reader *r, const char *pointer, struct json_value value,
				 const char *accepted)
{
	size_t len = json_array_len(value);

	if (value.kind != JSON_ARRAY)
		problem_list_add(r->problems, PROBLEM_BODY, pointer, "%s must be %s, not %s", pointer + 1,
				 accepted, json_kind_name(value.kind));
	else if (len == 0)
		policy_refuse(r, pointer, "is empty; leave it out where nothing is demanded");
	else if (len > POLICY_ITEMS_MAX)
		problem_list_add(r->problems, PROBLEM_BODY, pointer,
				 "%s has %zu items; at most %d are accepted", pointer + 1, len,
				 POLICY_ITEMS_MAX);
	return value.kind == JSON_ARRAY && len > 0 && len <= POLICY_ITEMS_MAX;
}

static void policy_read_array(struct policy_reader *r, struct policy_list *list, const char *pointer,
			      struct json_value value, policy_item_fn check)
{
	for (size_t i = 0; i < json_array_len(value); i++) {
		char at[POINTER_SIZE];

		snprintf(at, sizeof(at), "%s/%zu", pointer, i);
		policy_read_item(r, list, at, json_array_item(value, i), check);
	}
	list->rule = POLICY_LISTED;
}

/* ---- members ---- */

struct policy_member {
	const char *name;
	void (*read)(struct policy_reader *r, const struct policy_member *member, const char *pointer,
		     struct json_value value);
	size_t offset; /* in struct policy, of what it sets */
	policy_item_fn check;
};

static void *policy_slot(struct policy_reader *r, const struct policy_member *member)
{
	return (char *)r->policy + member->offset;
}

static void policy_read_list(struct policy_reader *r, const struct policy_member *member, const char *pointer,
			     struct json_value value)
{
	if (policy_array_is_fine(r, pointer, value, "an array of strings"))
		policy_read_array(r, policy_slot(r, member), pointer, value, member->check);
}

static void policy_read_switch(struct policy_reader *r, const struct policy_member *member,
			       const char *pointer, struct json_value value)
{
	struct policy_list *list = policy_slot(r, member);

	if (value.kind == JSON_BOOLEAN)
		list->rule = json_is_true(value) ? POLICY_ALL : POLICY_NONE;
	else if (policy_array_is_fine(r, pointer, value, "true, false or an array of strings"))
		policy_read_array(r, list, pointer, value, member->check);
}

static void policy_read_key_types(struct policy_reader *r, const struct policy_member *member,
				  const char *pointer, struct json_value value)
{
	key_type_set *set = policy_slot(r, member);

	if (!policy_array_is_fine(r, pointer, value, "an array of strings"))
		return;
	for (size_t i = 0; i < json_array_len(value); i++) {
		const char *name = json_text(json_array_item(value, i));
		char at[POINTER_SIZE];
		enum key_type type;
		struct buf names;

		if (name && key_type_parse(name, &type) == E_OK) {
			*set |= KEY_TYPE_BIT(type);
			continue;
		}
		buf_init(&names, 256);
		key_type_set_format(KEY_TYPES_ALL, &names);
		snprintf(at, sizeof(at), "%s/%zu", pointer, i);
		problem_list_add(r->problems, PROBLEM_BODY, at, "%s is not a key type; there are: %s", at + 1,
				 buf_text(&names));
		buf_release(&names);
	}
}

static void policy_read_san_types(struct policy_reader *r, const struct policy_member *member,
				  const char *pointer, struct json_value value)
{
	unsigned *set = policy_slot(r, member);

	if (!policy_array_is_fine(r, pointer, value, "an array of strings"))
		return;
	for (size_t i = 0; i < json_array_len(value); i++) {
		const char *name = json_text(json_array_item(value, i));
		char at[POINTER_SIZE];
		enum san_type type;

		snprintf(at, sizeof(at), "%s/%zu", pointer, i);
		if (name && san_type_parse(name, &type) == E_OK)
			*set |= SAN_TYPE_BIT(type);
		else
			policy_refuse(r, at, "is not a type of SANs; there are: dns, ip, email, uri");
	}
}

static void policy_read_count(struct policy_reader *r, const struct policy_member *member,
			      const char *pointer, struct json_value value)
{
	int64_t count;

	if (json_integer(value, &count) == E_OK && count >= 1 && count <= CSR_SANS_MAX)
		*(unsigned *)policy_slot(r, member) = (unsigned)count;
	else
		problem_list_add(r->problems, PROBLEM_BODY, pointer, "%s must be a whole number from 1 to %d",
				 pointer + 1, CSR_SANS_MAX);
}

static void policy_read_boolean(struct policy_reader *r, const struct policy_member *member,
				const char *pointer, struct json_value value)
{
	if (value.kind == JSON_BOOLEAN)
		*(bool *)policy_slot(r, member) = json_is_true(value);
	else
		problem_list_add(r->problems, PROBLEM_BODY, pointer, "%s must be true or false, not %s",
				 pointer + 1, json_kind_name(value.kind));
}

static enum policy_field policy_find_field(const char *name, enum policy_field fields)
{
	enum policy_field field = 0;

	while (field < fields && strcmp(name, policy_field_names[field]) != 0)
		field++;
	return field;
}

#define SUBJECT_FIELDS POLICY_NAME /* those before it are of the subject */

static void policy_read_value(void *arg, const char *name, struct json_value value)
{
	struct policy_reader *r = arg;
	enum policy_field field = policy_find_field(name, SUBJECT_FIELDS);
	struct policy_list *list;
	char pointer[POINTER_SIZE];

	if (field == SUBJECT_FIELDS) {
		problem_list_add(
		    r->problems, PROBLEM_BODY, "/subject",
		    "subject has an unknown member \"%.*s\"; there are: country, state, locality, "
		    "organization, organizational_unit, common_name",
		    QUOTE_BYTES, name);
		return;
	}
	list = &r->policy->values[field];
	snprintf(pointer, sizeof(pointer), "/subject/%s", name);
	if (value.kind == JSON_STRING) {
		policy_read_item(r, list, pointer, value, policy_item_value);
		list->rule = POLICY_LISTED;
	} else if (policy_array_is_fine(r, pointer, value, "a string or an array of strings")) {
		policy_read_array(r, list, pointer, value, policy_item_value);
	}
}

static void policy_read_subject(struct policy_reader *r, const struct policy_member *member,
				const char *pointer, struct json_value value)
{
	(void)member;
	if (value.kind == JSON_OBJECT)
		json_each_member(value, policy_read_value, r);
	else
		problem_list_add(r->problems, PROBLEM_BODY, pointer, "%s must be an object, not %s",
				 pointer + 1, json_kind_name(value.kind));
}

/* Only what the contract leaves open can be required or forbidden. */
static void policy_read_fields(struct policy_reader *r, const struct policy_member *member,
			       const char *pointer, struct json_value value)
{
	bool *fields = policy_slot(r, member);

	if (!policy_array_is_fine(r, pointer, value, "an array of strings"))
		return;
	for (size_t i = 0; i < json_array_len(value); i++) {
		const char *name = json_text(json_array_item(value, i));
		enum policy_field field = name ? policy_find_field(name, POLICY_FIELDS) : POLICY_FIELDS;
		char at[POINTER_SIZE];

		snprintf(at, sizeof(at), "%s/%zu", pointer, i);
		if (field == POLICY_ORGANIZATIONAL_UNIT || field == POLICY_NAME ||
		    field == POLICY_DESCRIPTION)
			fields[field] = true;
		else
			policy_refuse(r, at,
				      "is not an optional field; there are: organizational_unit, name, "
				      "description");
	}
}

#define SLOT(member) offsetof(struct policy, member)

static const struct policy_member policy_members[] = {
    {"key_types", policy_read_key_types, SLOT(key_types), NULL},
    {"san_types", policy_read_san_types, SLOT(san_types), NULL},
    {"max_sans", policy_read_count, SLOT(max_sans), NULL},
    {"dns_names", policy_read_list, SLOT(dns_names), policy_item_dns},
    {"wildcards", policy_read_switch, SLOT(wildcards), policy_item_suffix},
    {"underscores", policy_read_switch, SLOT(underscores), policy_item_dns},
    {"ip_networks", policy_read_list, SLOT(ip_networks), policy_item_network},
    {"email_domains", policy_read_list, SLOT(email_domains), policy_item_domain},
    {"uris", policy_read_list, SLOT(uris), policy_item_uri},
    {"subject", policy_read_subject, 0, NULL},
    {"required", policy_read_fields, SLOT(is_required), NULL},
    {"forbidden", policy_read_fields, SLOT(is_forbidden), NULL},
    {"common_name_in_sans", policy_read_boolean, SLOT(common_name_in_sans), NULL},
};
#define MEMBERS (sizeof(policy_members) / sizeof(policy_members[0]))

static void policy_refuse_unknown(struct policy_reader *r, const char *name)
{
	char names[512] = "";
	size_t used = 0;

	for (size_t i = 0; i < MEMBERS; i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : "",
					 policy_members[i].name);
	problem_list_add(r->problems, PROBLEM_BODY, "", "unknown member \"%.*s\"; there are: %s", QUOTE_BYTES,
			 name, names);
}

static void policy_read_member(void *arg, const char *name, struct json_value value)
{
	struct policy_reader *r = arg;
	char pointer[POINTER_SIZE];

	for (size_t i = 0; i < MEMBERS; i++) {
		if (strcmp(name, policy_members[i].name) != 0)
			continue;
		snprintf(pointer, sizeof(pointer), "/%s", name);
		policy_members[i].read(r, &policy_members[i], pointer, value);
		return;
	}
	policy_refuse_unknown(r, name);
}

/* Demands that no request could meet. */
static void policy_check_whole(struct policy_reader *r)
{
	const struct policy *p = r->policy;

	for (enum policy_field field = 0; field < POLICY_FIELDS; field++) {
		if (p->is_forbidden[field] && (p->is_required[field] || p->values[field].rule))
			problem_list_add(r->problems, PROBLEM_BODY, "/forbidden",
					 "forbidden names %s, which is required or has values; "
					 "name it in one place",
					 policy_field_names[field]);
	}
}

enum err policy_read(const char *text, size_t len, struct problem_list *problems, struct policy **ret_policy)
{
	struct policy_reader r = {.problems = problems};
	struct json_doc *doc = NULL;
	char why[JSON_WHY_SIZE];
	enum err e;

	if (len > POLICY_BYTES_MAX) {
		problem_list_add(problems, PROBLEM_BODY, "", "the policy has more than %zu bytes",
				 POLICY_BYTES_MAX);
		return problems->status == E_OK ? E_INVAL : E_NOMEM;
	}
	e = json_read(text, len, why, &doc);
	if (e == E_INVAL)
		problem_list_add(problems, PROBLEM_BODY, "", "the policy cannot be decoded: %s", why);
	if (e != E_OK)
		goto out;
	r.policy = calloc(1, sizeof(*r.policy));
	if (!r.policy) {
		e = E_NOMEM;
		goto out;
	}
	json_each_member(json_root(doc), policy_read_member, &r);
	policy_check_whole(&r);
	e = r.status;
	if (e == E_OK && problems->len > 0)
		e = E_INVAL;
	if (e == E_OK && problems->status == E_OK) {
		*ret_policy = r.policy;
		r.policy = NULL;
	}
out:
	if (problems->status != E_OK)
		e = E_NOMEM;
	policy_free(r.policy);
	json_doc_free(doc);
	return e;
}
