/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy says to each part of a create. */
#include "api/policy_judge.h"

#include "api/san.h"
#include "api/san_host.h"
#include "api/san_uri.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WHOSE_SIZE 64
#define LIST_SIZE 320 /* of what is accepted, as much as a message tells */

/* A name to be judged, taken apart. */
struct judge_name {
	enum san_type type;
	char host[SAN_HOST_SIZE + 2]; /* with "*." in front; an address without brackets; "": there is none */
	size_t scheme_len;            /* of a URI */
	const char *value;            /* as it was sent */
};

static const char *judge_whose(const struct policy_in_force *p, char text[WHOSE_SIZE])
{
	const char *what = p->kind == STORE_ZONE ? "zone" : "account";

	if (p->version > 0)
		snprintf(text, WHOSE_SIZE, "the policy of this %s (version %" PRId64 ")", what, p->version);
	else
		snprintf(text, WHOSE_SIZE, "the policy");
	return text;
}

static size_t judge_put(char *text, size_t used, const char *item, const char *quote)
{
	return used + (size_t)snprintf(text + used, LIST_SIZE - used, "%s%s%s%s", used ? ", " : "", quote,
				       item, quote);
}

/* The items, as many as there is room for. */
static const char *judge_accepted(const struct policy_list *list, const char *quote, char text[LIST_SIZE])
{
	bool has_suffix = false;
	size_t used = 0, i = 0;

	text[0] = '\0';
	for (; i < list->len; i++) {
		if (used + strlen(list->items[i]) + 100 > LIST_SIZE && i > 0)
			break;
		used = judge_put(text, used, list->items[i], quote);
		if (used >= LIST_SIZE)
			return text;
		has_suffix = has_suffix || (*quote == '\0' && strchr(list->items[i], '.') == list->items[i]);
	}
	if (i < list->len)
		used += (size_t)snprintf(text + used, LIST_SIZE - used, " and %zu more", list->len - i);
	if (has_suffix && used < LIST_SIZE)
		snprintf(text + used, LIST_SIZE - used, " ('.b' stands for all names below b)");
	return text;
}

/* ---- matching ---- */

static bool judge_host_fits(const char *pattern, const char *host)
{
	size_t len = strlen(host);
	size_t pattern_len = strlen(pattern);

	if (pattern[0] != '.')
		return str_equal_ignoring_case(pattern, host);
	return len > pattern_len && str_equal_ignoring_case(pattern, host + len - pattern_len);
}

static bool judge_host_is_listed(const struct policy_list *list, const char *host)
{
	for (size_t i = 0; i < list->len; i++)
		if (judge_host_fits(list->items[i], host))
			return true;
	return false;
}

static bool judge_address_is_listed(const struct policy *p, const char *text)
{
	struct address address;

	return address_parse(text, &address) && address_is_in_any(&address, p->networks, p->ip_networks.len);
}

static bool judge_same_address(const char *a, const char *b)
{
	struct address one, other;

	return address_parse(a, &one) && address_parse(b, &other) && address_compare(&one, &other) == 0;
}

static bool judge_uri_is_listed(const struct policy_list *list, const struct judge_name *name)
{
	for (size_t i = 0; i < list->len; i++) {
		const char *item = list->items[i];
		size_t scheme_len = strcspn(item, ":");
		const char *host = item + scheme_len + strlen(":");

		if (scheme_len != name->scheme_len || strncasecmp(item, name->value, scheme_len) != 0)
			continue;
		if (*host == '\0')
			return true;
		host += strlen("//");
		if (name->host[0] != '\0' &&
		    (judge_host_fits(host, name->host) || judge_same_address(host, name->host)))
			return true;
	}
	return false;
}

/* ---- names ---- */

/* True when it is refused: why continues a sentence that begins with the name. */
static bool judge_refuses_dns(const struct policy *p, const struct judge_name *name, const char *whose,
			      char why[SAN_WHY_SIZE])
{
	bool is_wildcard = str_starts_with(name->host, "*.");
	char list[LIST_SIZE];

	if (p->dns_names.rule == POLICY_LISTED && !judge_host_is_listed(&p->dns_names, name->host))
		snprintf(why, SAN_WHY_SIZE, "is not a name that %s accepts; accepted are: %s", whose,
			 judge_accepted(&p->dns_names, "", list));
	else if (is_wildcard && p->wildcards.rule == POLICY_NONE)
		snprintf(why, SAN_WHY_SIZE, "is a wildcard, and %s accepts none; send each name", whose);
	else if (is_wildcard && p->wildcards.rule == POLICY_LISTED &&
		 !judge_host_is_listed(&p->wildcards, name->host))
		snprintf(why, SAN_WHY_SIZE, "is not a wildcard that %s accepts; accepted end in: %s", whose,
			 judge_accepted(&p->wildcards, "", list));
	else if (strchr(name->host, '_') && p->underscores.rule == POLICY_NONE)
		snprintf(why, SAN_WHY_SIZE, "has an underscore, and %s accepts none", whose);
	else if (strchr(name->host, '_') && p->underscores.rule == POLICY_LISTED &&
		 !judge_host_is_listed(&p->underscores, name->host))
		snprintf(why, SAN_WHY_SIZE, "has an underscore, which %s accepts only in: %s", whose,
			 judge_accepted(&p->underscores, "", list));
	else
		return false;
	return true;
}

static bool judge_refuses(const struct policy_in_force *in_force, const struct judge_name *name,
			  char why[SAN_WHY_SIZE])
{
	const struct policy *p = in_force->policy;
	char whose[WHOSE_SIZE], list[LIST_SIZE];

	judge_whose(in_force, whose);
	switch (name->type) {
	case SAN_DNS:
		return judge_refuses_dns(p, name, whose, why);
	case SAN_IP:
		if (p->ip_networks.rule != POLICY_LISTED || judge_address_is_listed(p, name->host))
			return false;
		snprintf(why, SAN_WHY_SIZE, "is in no network that %s accepts; accepted are: %s", whose,
			 judge_accepted(&p->ip_networks, "", list));
		return true;
	case SAN_EMAIL:
		if (p->email_domains.rule != POLICY_LISTED ||
		    judge_host_is_listed(&p->email_domains, name->host))
			return false;
		snprintf(why, SAN_WHY_SIZE, "is in no domain that %s accepts; accepted are: %s", whose,
			 judge_accepted(&p->email_domains, "", list));
		return true;
	case SAN_URI:
		if (p->uris.rule != POLICY_LISTED || judge_uri_is_listed(&p->uris, name))
			return false;
		snprintf(why, SAN_WHY_SIZE, "has no scheme and host that %s accepts; accepted are: %s", whose,
			 judge_accepted(&p->uris, "", list));
		return true;
	}
	return false;
}

enum err policy_judge_san(const struct policy_set *set, size_t index, const struct csr_san *san,
			  struct problem_list *problems)
{
	struct judge_name name = {.type = san->type, .value = san->value};
	char pointer[32], why[SAN_WHY_SIZE];
	const char *fault, *host = san->value;
	char uri_host[SAN_HOST_SIZE] = "";

	if (san->type == SAN_EMAIL) {
		host = strrchr(san->value, '@') + 1;
	} else if (san->type == SAN_URI) {
		if (san_uri_check(san->value, uri_host, &fault) != E_OK)
			return E_NOMEM;
		host = uri_host;
		name.scheme_len = strcspn(san->value, ":");
	}
	if (str_copy(name.host, sizeof(name.host), host) != E_OK)
		return E_NOMEM;
	snprintf(pointer, sizeof(pointer), "/sans/%zu", index);
	for (size_t i = 0; i < set->len; i++)
		if (judge_refuses(&set->items[i], &name, why))
			problem_list_add(problems, PROBLEM_SAN, pointer, "sans[%zu] \"%s\" %s", index,
					 san->value, why);
	return E_OK;
}

void policy_judge_count(const struct policy_set *set, size_t sans, struct problem_list *problems)
{
	char whose[WHOSE_SIZE];

	for (size_t i = 0; i < set->len; i++) {
		unsigned max = set->items[i].policy->max_sans;

		if (max > 0 && sans > max)
			problem_list_add(
			    problems, PROBLEM_SAN, "/sans",
			    "sans has %zu items, and %s accepts %u at most; make another CSR for "
			    "the rest",
			    sans, judge_whose(&set->items[i], whose), max);
	}
}

/* ---- the common name ---- */

/* The type is one of those that the policy accepts, and the name as well. */
static bool judge_refuses_common_name(const struct policy_in_force *in_force, const struct judge_name *name,
				      char why[SAN_WHY_SIZE])
{
	unsigned types = in_force->policy->san_types;
	char whose[WHOSE_SIZE];

	if (!types || types & SAN_TYPE_BIT(name->type))
		return judge_refuses(in_force, name, why);
	snprintf(why, SAN_WHY_SIZE, "reads as %s, which is not a type of name that %s accepts",
		 san_type_words(name->type), judge_whose(in_force, whose));
	return true;
}

/* It says something of DNS names. */
static bool judge_bounds_dns(const struct policy *p)
{
	return p->san_types || p->dns_names.rule || p->wildcards.rule || p->underscores.rule;
}

/*
 * A client that finds no DNS name among the SANs may match the common name, and by looser rules than those
 * of SANs: "w*.example.com".
 */
static enum err judge_check_host(const struct policy_set *set, const char *host, const char **ret_fault)
{
	enum err e = san_host_check(host, policy_judge_may_underscore(set), ret_fault);

	return e == E_INVAL ? E_OK : e;
}

enum err policy_judge_common_name(const struct policy_set *set, const char *text, bool is_among,
				  struct problem_list *problems)
{
	struct judge_name name = {.type = SAN_DNS, .value = text};
	char host[SAN_HOST_SIZE] = "", why[SAN_WHY_SIZE], whose[WHOSE_SIZE];
	const char *fault = NULL;
	enum err e = set->len > 0 ? san_read_common_name(text, &name.type, host) : E_NOTFOUND;

	if (e == E_NOMEM ||
	    (e == E_OK && name.type == SAN_DNS && judge_check_host(set, host, &fault) != E_OK))
		return E_NOMEM;
	snprintf(name.host, sizeof(name.host), "%s%s",
		 name.type == SAN_DNS && str_starts_with(text, "*.") ? "*." : "", host);
	if (name.type == SAN_URI)
		name.scheme_len = strcspn(text, ":");
	for (size_t i = 0; i < set->len; i++) {
		const struct policy_in_force *p = &set->items[i];

		if (e == E_OK && judge_refuses_common_name(p, &name, why))
			problem_list_add(problems, PROBLEM_COMMON_NAME, "/common_name",
					 "common_name \"%s\" %s", text, why);
		else if (fault && judge_bounds_dns(p->policy))
			problem_list_add(problems, PROBLEM_COMMON_NAME, "/common_name",
					 "common_name \"%s\" reads as a DNS name, which %s bounds, and %s",
					 text, judge_whose(p, whose), fault);
		else if (p->policy->common_name_in_sans && !is_among)
			problem_list_add(problems, PROBLEM_COMMON_NAME, "/common_name",
					 "common_name \"%s\" is not one of sans, as %s demands; add it there",
					 text, judge_whose(p, whose));
	}
	return E_OK;
}

/* ---- texts ---- */

static bool judge_text_is_listed(const struct policy_list *list, const char *text)
{
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

void policy_judge_text(const struct policy_set *set, enum policy_field field, enum problem_code code,
		       const char *text, struct problem_list *problems)
{
	const char *name = policy_field_name(field);
	char pointer[32], whose[WHOSE_SIZE], list[LIST_SIZE];

	snprintf(pointer, sizeof(pointer), "/%s", name);
	for (size_t i = 0; i < set->len; i++) {
		const struct policy *p = set->items[i].policy;
		const struct policy_list *values = &p->values[field];

		judge_whose(&set->items[i], whose);
		if ((!text || *text == '\0') && p->is_required[field])
			problem_list_add(problems, code, pointer, "%s is required by %s", name, whose);
		else if (text && p->is_forbidden[field])
			problem_list_add(problems, code, pointer, "%s is not accepted by %s; leave it out",
					 name, whose);
		else if (text && values->rule == POLICY_LISTED && !judge_text_is_listed(values, text))
			problem_list_add(
			    problems, code, pointer, "%s is not one that %s accepts; accepted %s %s", name,
			    whose, values->len == 1 ? "is" : "are:", judge_accepted(values, "\"", list));
	}
}

/* ---- sets ---- */

key_type_set policy_judge_key_types(const struct policy_set *set, key_type_set permitted)
{
	for (size_t i = 0; i < set->len; i++)
		if (set->items[i].policy->key_types)
			permitted &= set->items[i].policy->key_types;
	return permitted;
}

unsigned policy_judge_san_types(const struct policy_set *set, unsigned permitted)
{
	for (size_t i = 0; i < set->len; i++)
		if (set->items[i].policy->san_types)
			permitted &= set->items[i].policy->san_types;
	return permitted;
}

bool policy_judge_may_underscore(const struct policy_set *set)
{
	for (size_t i = 0; i < set->len; i++) {
		enum policy_rule rule = set->items[i].policy->underscores.rule;

		if (rule == POLICY_ALL || rule == POLICY_LISTED)
			return true;
	}
	return false;
}

bool policy_judge_wants_common_name(const struct policy_set *set)
{
	for (size_t i = 0; i < set->len; i++)
		if (set->items[i].policy->common_name_in_sans)
			return true;
	return false;
}
