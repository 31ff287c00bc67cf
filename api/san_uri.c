/* SPDX-License-Identifier: Apache-2.0 */
/* URIs, by the grammar of RFC 3986 appendix A. */
#include "api/san_uri.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define PORT_MAX 65535
#define NID_MAX_CHARS 32

static bool uri_is_hex(char c)
{
	return str_ascii_is_digit(c) || (str_ascii_lower(c) >= 'a' && str_ascii_lower(c) <= 'f');
}

/* pchar, and what else stands in path and query; '#' once, before the fragment. */
static const char *uri_text_fault(const char *text)
{
	bool has_fragment = false;

	for (const char *c = text; *c != '\0'; c++) {
		if (*c == '%') {
			if (!uri_is_hex(c[1]) || !uri_is_hex(c[2]))
				return "has a '%' without two hexadecimal digits; send '%' itself as '%25'";
			c += 2;
		} else if (*c == '#') {
			if (has_fragment)
				return "has a second '#'; send it percent-encoded";
			has_fragment = true;
		} else if (!str_ascii_is_alnum(*c) && !strchr("-._~!$&'()*+,;=:@/?", *c)) {
			return "has a character that a URI may not contain there (RFC 3986); "
			       "send it percent-encoded";
		}
	}
	return NULL;
}

/* Digits of a port; none at all are lawful (RFC 3986 §3.2.3). */
static bool uri_port_is_fine(const char *digits, size_t len)
{
	unsigned port = 0;

	for (size_t i = 0; i < len; i++) {
		if (!str_ascii_is_digit(digits[i]))
			return false;
		port = port * 10 + (unsigned)(digits[i] - '0');
		if (port > PORT_MAX)
			return false;
	}
	return len == 0 || port > 0;
}

/* "[v6]" or what else stands before the port, copied without brackets. */
static const char *uri_copy_host(const char *authority, size_t len, char host[SAN_HOST_SIZE], size_t *ret_len)
{
	bool is_bracketed = len > 0 && authority[0] == '[';
	const char *end = memchr(authority, is_bracketed ? ']' : ':', len);
	size_t text_len;

	if (is_bracketed && !end)
		return "has a '[' without its ']'; close it after the IPv6 address";
	*ret_len = end ? (size_t)(end - authority) + is_bracketed : len;
	text_len = is_bracketed ? *ret_len - 2 : *ret_len;
	if (text_len >= SAN_HOST_SIZE)
		return "has a host of more than 253 characters; shorten it";
	memcpy(host, authority + is_bracketed, text_len);
	host[text_len] = '\0';
	return NULL;
}

static enum err uri_check_authority(const char *authority, size_t len, char host[SAN_HOST_SIZE],
				    const char **ret_fault)
{
	unsigned char octets[16];
	size_t host_len = 0;
	int family = AF_UNSPEC;
	bool is_address;

	if (len == 0)
		*ret_fault = "has no host after '//'; send scheme://host";
	else if (memchr(authority, '@', len))
		*ret_fault = "has user information before its host; leave it and the '@' out";
	else
		*ret_fault = uri_copy_host(authority, len, host, &host_len);
	if (*ret_fault)
		return E_INVAL;
	is_address = san_host_is_address(host, &family, octets);
	if (authority[0] == '[' && family != AF_INET6)
		*ret_fault = "has a host in brackets that is not an IPv6 address; "
			     "send the address, without zone";
	else if (host_len < len && authority[host_len] != ':')
		*ret_fault = "has something between ']' and its port or path; leave it out";
	else if (host_len < len && !uri_port_is_fine(authority + host_len + 1, len - host_len - 1))
		*ret_fault = "has a port that is not a number from 1 to 65535; "
			     "send such a number, or an IPv6 address in brackets";
	if (*ret_fault)
		return E_INVAL;
	return is_address ? E_OK : san_host_check(host, false, ret_fault);
}

/* Behind "urn:". */
static const char *urn_fault(const char *text)
{
	size_t nid_len = strcspn(text, ":");
	const char *nss = text + nid_len + 1;
	const char *question;

	if (text[nid_len] == '\0' || nid_len < 2 || nid_len > NID_MAX_CHARS || text[0] == '-' ||
	    nss[-2] == '-')
		return "is not a URN; send urn:NAMESPACE:NAME (RFC 8141)";
	for (size_t i = 0; i < nid_len; i++) {
		if (!str_ascii_is_alnum(text[i]) && text[i] != '-')
			return "has a URN namespace with a character other than letters, digits and '-'; "
			       "send urn:NAMESPACE:NAME (RFC 8141)";
	}
	if (*nss == '\0' || strchr("/?#", *nss))
		return "has no name after the namespace of its URN; send urn:NAMESPACE:NAME (RFC 8141)";
	question = strchr(nss, '?');
	if (question && question < nss + strcspn(nss, "#") && question[1] != '+' && question[1] != '=')
		return "has a '?' that is not followed by '+' or '=', as a URN requires (RFC 8141); "
		       "send it percent-encoded";
	return uri_text_fault(nss);
}

enum err san_uri_check(const char *value, char ret_host[SAN_HOST_SIZE], const char **ret_fault)
{
	char host[SAN_HOST_SIZE] = "";
	size_t scheme_len = strcspn(value, ":");
	const char *rest = value + scheme_len + 1;
	size_t authority_len = 0;
	enum err e;

	*ret_fault = NULL;
	if (!str_ascii_is_alpha(value[0]) || value[scheme_len] == '\0')
		*ret_fault = "does not begin with a scheme; send scheme://host";
	for (size_t i = 1; i < scheme_len && !*ret_fault; i++) {
		if (!str_ascii_is_alnum(value[i]) && !strchr("+-.", value[i]))
			*ret_fault = "has a scheme with a character other than letters, digits, "
				     "'+', '-' and '.'; send scheme://host";
	}
	if (*ret_fault)
		return E_INVAL;
	if (str_starts_with(rest, "//")) {
		authority_len = strcspn(rest + 2, "/?#");
		e = uri_check_authority(rest + 2, authority_len, host, ret_fault);
		if (e != E_OK)
			return e;
		*ret_fault = uri_text_fault(rest + 2 + authority_len);
	} else if (strncasecmp(value, "urn:", 4) == 0) {
		*ret_fault = urn_fault(rest);
	} else {
		*ret_fault = "has no '//' after its scheme; accepted are scheme://host and urn:";
	}
	if (*ret_fault)
		return E_INVAL;
	memcpy(ret_host, host, sizeof(host));
	return E_OK;
}

size_t san_uri_caseless_len(const char *value)
{
	size_t scheme_len = strcspn(value, ":");
	const char *rest = value + scheme_len + 1;

	if (str_starts_with(rest, "//"))
		return scheme_len + 3 + strcspn(rest + 2, "/?#");
	return scheme_len + 1 + strcspn(rest, ":");
}
