/* SPDX-License-Identifier: Apache-2.0 */
/* Subject alternative names: which type, and what is wrong. */
#include "api/san.h"

#include "api/san_host.h"
#include "api/san_public.h"
#include "api/san_uri.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define LOCAL_PART_MAX_CHARS 64

/* ---- what a text is ---- */

static enum san_type san_guess_type(const char *value)
{
	unsigned char octets[16];
	int family;

	if (san_host_is_address(value, &family, octets))
		return SAN_IP;
	if (strstr(value, "://") || strncasecmp(value, "urn:", 4) == 0)
		return SAN_URI;
	if (strchr(value, '@'))
		return SAN_EMAIL;
	return SAN_DNS;
}

static const char *san_name_without_wildcard(const char *name)
{
	return str_starts_with(name, "*.") ? name + 2 : name;
}

static enum err san_check_dns(const char *name, bool may_underscore, const char **ret_fault)
{
	if (strcmp(name, "*") == 0 || strcmp(name, "*.") == 0)
		*ret_fault = "is a wildcard for everything; name the domain after '*.'";
	else if (strlen(name) > SAN_HOST_MAX_CHARS)
		*ret_fault = "is longer than 253 characters; shorten it";
	else
		return san_host_check(san_name_without_wildcard(name), may_underscore, ret_fault);
	return E_INVAL;
}

static enum err san_check_email(const char *value, const char **ret_fault)
{
	const char *at = strrchr(value, '@');
	size_t local_len = (size_t)(at - value);

	if (local_len == 0 || local_len > LOCAL_PART_MAX_CHARS) {
		*ret_fault = "has nothing, or more than 64 characters, before its '@'; send local@domain";
		return E_INVAL;
	}
	for (size_t i = 0; i < local_len; i++) {
		if (value[i] == '.' && (i == 0 || i + 1 == local_len || value[i + 1] == '.'))
			*ret_fault = "has a misplaced dot before its '@'; leave that out";
		else if (value[i] != '.' && !str_ascii_is_alnum(value[i]) &&
			 !strchr("!#$%&'*+-/=?^_`{|}~", value[i]))
			*ret_fault = "has a character before its '@' that no dot-atom can have (RFC 5321); "
				     "leave that out";
		else
			continue;
		return E_INVAL;
	}
	return san_host_check(at + 1, false, ret_fault);
}

/* host: "" when it has none; an address stays one. */
static enum err san_check_syntax(const char *value, enum san_type type, bool may_underscore,
				 char host[SAN_HOST_SIZE], const char **ret_fault)
{
	const char *name = value;
	enum err e = E_OK;

	switch (type) {
	case SAN_DNS:
		e = san_check_dns(value, may_underscore, ret_fault);
		name = san_name_without_wildcard(value);
		break;
	case SAN_EMAIL:
		e = san_check_email(value, ret_fault);
		name = strrchr(value, '@') + 1;
		break;
	case SAN_IP:
		break;
	case SAN_URI:
		return san_uri_check(value, host, ret_fault);
	}
	/* Whatever is good fits. */
	return e != E_OK ? e : str_copy(host, SAN_HOST_SIZE, name);
}

/* ---- before its type is known ---- */

/* Where the host of a text begins that may be any kind of name, and how long it is. */
static const char *san_find_host(const char *value, size_t *ret_len)
{
	const char *scheme = strstr(value, "://");
	const char *host = scheme ? scheme + 3 : value;
	size_t len = scheme ? strcspn(host, "/?#") : strlen(host);
	const char *at = memrchr(host, '@', len);

	if (at) {
		len -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	if (scheme && *host != '[' && memchr(host, ':', len))
		len = strcspn(host, ":");
	if (len >= 2 && memcmp(host, "*.", 2) == 0) {
		host += 2;
		len -= 2;
	}
	*ret_len = len;
	return host;
}

bool san_is_ascii(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] >= 0x80)
			return false;
	}
	return true;
}

/* The same text with the A-labels of its host, when nothing else in it has to change. */
static enum err san_put_a_labels(const char *value, char why[SAN_WHY_SIZE])
{
	size_t len;
	const char *host = san_find_host(value, &len);
	char typed[4 * SAN_HOST_SIZE];
	char name[SAN_HOST_SIZE];
	size_t before = (size_t)(host - value);
	enum err e;

	if (len >= sizeof(typed) || !san_is_ascii(value, before) ||
	    !san_is_ascii(host + len, strlen(host + len)))
		return E_NOTFOUND;
	memcpy(typed, host, len);
	typed[len] = '\0';
	e = san_host_to_ascii(typed, name);
	if (e != E_OK)
		return e;
	if (before + strlen(name) + strlen(host + len) > CSR_SAN_BYTES_MAX)
		return E_NOTFOUND;
	snprintf(why, SAN_WHY_SIZE, "contains characters that are not ASCII; send \"%.*s%s%s\"", (int)before,
		 value, name, host + len);
	return E_OK;
}

static enum problem_code san_refuse_not_ascii(const char *value, char why[SAN_WHY_SIZE])
{
	enum err e = san_put_a_labels(value, why);

	if (e == E_NOMEM)
		return PROBLEM_UNAVAILABLE;
	if (e != E_OK)
		snprintf(why, SAN_WHY_SIZE,
			 "contains characters that are not ASCII and is not a valid internationalised name "
			 "(IDNA2008); send a name in ASCII, or in 'xn--' labels");
	return PROBLEM_SAN_NOT_ASCII;
}

static enum problem_code san_check_text(const char *value, char why[SAN_WHY_SIZE])
{
	size_t len = strlen(value);

	if (!san_is_ascii(value, len))
		return san_refuse_not_ascii(value, why);
	if (len == 0) {
		snprintf(why, SAN_WHY_SIZE, "is empty; leave it out or send a name");
		return PROBLEM_SAN;
	}
	if (len > CSR_SAN_BYTES_MAX) {
		snprintf(why, SAN_WHY_SIZE, "is longer than %d characters; shorten it", CSR_SAN_BYTES_MAX);
		return PROBLEM_SAN;
	}
	for (size_t i = 0; i < len; i++) {
		if (value[i] <= ' ' || value[i] == 0x7f) {
			snprintf(why, SAN_WHY_SIZE, "contains a space or control character; leave it out");
			return PROBLEM_SAN;
		}
	}
	return PROBLEM_NONE;
}

const char *san_type_words(enum san_type type)
{
	static const char *const words[] = {
	    [SAN_DNS] = "a DNS name",
	    [SAN_IP] = "an IP address",
	    [SAN_EMAIL] = "an e-mail address",
	    [SAN_URI] = "a URI",
	};

	return words[type];
}

static enum problem_code san_refuse_type(enum san_type type, const struct san_policy *policy,
					 char why[SAN_WHY_SIZE])
{
	unsigned accepted = policy->types;
	bool only_host_is_missing = type != SAN_IP && accepted & SAN_TYPE_BIT(SAN_DNS);
	size_t used = (size_t)snprintf(why, SAN_WHY_SIZE, "is %s; accepted here are:", san_type_words(type));

	for (unsigned t = 1; t <= SAN_TYPE_MAX; t++) {
		if (accepted & SAN_TYPE_BIT(t))
			used += (size_t)snprintf(why + used, SAN_WHY_SIZE - used, " %s",
						 san_type_name((enum san_type)t));
	}
	snprintf(why + used, SAN_WHY_SIZE - used, "%s; the operator allows others with [policy] san_types%s",
		 only_host_is_missing ? "; send the host name alone" : "",
		 policy->types_are_narrowed ? ", or with the policy of this account or zone" : "");
	return PROBLEM_SAN;
}

/* ---- all of it ---- */

enum problem_code san_check(const char *value, const struct san_policy *policy, char why[SAN_WHY_SIZE],
			    enum san_type *ret_type)
{
	enum problem_code code = san_check_text(value, why);
	char host[SAN_HOST_SIZE] = "";
	const char *fault = NULL;
	enum san_type type;
	enum err e;

	if (code)
		return code;
	type = san_guess_type(value);
	if (!(policy->types & SAN_TYPE_BIT(type)))
		return san_refuse_type(type, policy, why);
	e = san_check_syntax(value, type, policy->may_underscore && !policy->public_names_only, host, &fault);
	if (e == E_INVAL) {
		snprintf(why, SAN_WHY_SIZE, "%s", fault);
		return PROBLEM_SAN;
	}
	if (e != E_OK)
		return PROBLEM_UNAVAILABLE;
	if (policy->public_names_only && *host != '\0') {
		code = san_public_check(host, policy, why);
		if (code)
			return code;
	}
	*ret_type = type;
	return PROBLEM_NONE;
}

enum err san_read_common_name(const char *text, enum san_type *ret_type, char ret_host[SAN_HOST_SIZE])
{
	char copy[4 * SAN_HOST_SIZE];
	char name[SAN_HOST_SIZE];
	unsigned char octets[16];
	size_t len;
	const char *host = san_find_host(text, &len);
	int family;
	enum err e;

	if (len >= sizeof(copy) || memchr(host, ' ', len))
		return E_NOTFOUND;
	memcpy(copy, host, len);
	copy[len] = '\0';
	if (copy[0] == '[' && strchr(copy, ']')) {
		memmove(copy, copy + 1, len);
		*strchr(copy, ']') = '\0';
	}
	*ret_type = san_guess_type(text);
	if (san_host_is_address(copy, &family, octets)) {
		if (*ret_type == SAN_DNS)
			*ret_type = SAN_IP;
		return str_copy(ret_host, SAN_HOST_SIZE, copy);
	}
	copy[strcspn(copy, ":/")] = '\0';
	len = strlen(copy);
	if (len > 0 && copy[len - 1] == '.')
		copy[--len] = '\0';
	if (len > SAN_HOST_MAX_CHARS)
		return E_NOTFOUND;
	e = san_is_ascii(copy, len) ? str_copy(name, sizeof(name), copy) : san_host_to_ascii(copy, name);
	if (e != E_OK)
		return e;
	if (!strchr(name, '.') && !str_equal_ignoring_case(name, "localhost"))
		return E_NOTFOUND;
	if (*ret_type == SAN_DNS && san_host_is_address(name, &family, octets))
		*ret_type = SAN_IP;
	return str_copy(ret_host, SAN_HOST_SIZE, name);
}

enum problem_code san_check_common_name(const char *text, const struct san_policy *policy,
					char why[SAN_WHY_SIZE])
{
	char host[SAN_HOST_SIZE];
	enum san_type type;
	enum err e;

	if (!policy->public_names_only)
		return PROBLEM_NONE;
	e = san_read_common_name(text, &type, host);
	if (e != E_OK)
		return e == E_NOTFOUND ? PROBLEM_NONE : PROBLEM_UNAVAILABLE;
	return san_public_check(host, policy, why) ? PROBLEM_COMMON_NAME : PROBLEM_NONE;
}

/* len bytes at the front without regard to case, what follows byte by byte. */
static bool san_is_same_text(const char *a, const char *b, size_t caseless_len)
{
	return strncasecmp(a, b, caseless_len) == 0 && strcmp(a + caseless_len, b + caseless_len) == 0;
}

static bool san_is_same_email(const char *a, const char *b)
{
	size_t local_len = (size_t)(strrchr(a, '@') - a);

	return strncmp(a, b, local_len + 1) == 0 && str_equal_ignoring_case(a + local_len, b + local_len);
}

bool san_is_same(const struct csr_san *a, const struct csr_san *b)
{
	unsigned char octets_a[16];
	unsigned char octets_b[16];
	int family_a;
	int family_b;

	if (a->type != b->type)
		return false;
	switch (a->type) {
	case SAN_DNS:
		return str_equal_ignoring_case(a->value, b->value);
	case SAN_EMAIL:
		return san_is_same_email(a->value, b->value);
	case SAN_URI:
		return san_is_same_text(a->value, b->value, san_uri_caseless_len(a->value));
	case SAN_IP:
		break;
	}
	return san_host_is_address(a->value, &family_a, octets_a) &&
	       san_host_is_address(b->value, &family_b, octets_b) && family_a == family_b &&
	       memcmp(octets_a, octets_b, family_a == AF_INET ? 4 : 16) == 0;
}

bool san_names_same(const char *a, const char *b)
{
	const struct csr_san one = {san_guess_type(a), (char *)(uintptr_t)a};
	const struct csr_san other = {san_guess_type(b), (char *)(uintptr_t)b};

	return san_is_same(&one, &other);
}
