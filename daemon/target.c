/* SPDX-License-Identifier: Apache-2.0 */
/* The three forms of a request target that csrd takes, and Host. */
#include "daemon/target.h"

#include "base/address.h"
#include "base/str.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define UNRESERVED "-._~"
#define SUB_DELIMS "!$&'()*+,;="
#define PCHAR UNRESERVED SUB_DELIMS ":@"

static bool target_refuse(struct target *t, int status, const char *why)
{
	t->status = status;
	t->why = why;
	return false;
}

static bool is_hex(char c)
{
	char lower = str_ascii_lower(c);

	return str_ascii_is_digit(c) || (lower >= 'a' && lower <= 'f');
}

/* Letters, digits, `others` and sound percent-encodings; how far they go. */
static size_t span_encoded(const char *text, const char *others)
{
	size_t i = 0;

	while (text[i] != '\0') {
		if (text[i] == '%' && is_hex(text[i + 1]) && is_hex(text[i + 2]))
			i += 3;
		else if (str_ascii_is_alpha(text[i]) || str_ascii_is_digit(text[i]) ||
			 strchr(others, text[i]))
			i++;
		else
			break;
	}
	return i;
}

/* ---- hosts ---- */

/* "[…]": an IPv6 address, or an address of a later version; the length, 0 when it is neither. */
static size_t span_ip_literal(const char *text)
{
	const char *end = strchr(text, ']');
	char address[ADDRESS_SIZE];
	struct address parsed;
	size_t len, version;

	if (!end)
		return 0;
	len = (size_t)(end - text) - 1;
	if (str_ascii_lower(text[1]) == 'v') { /* IPvFuture: "v" 1*HEXDIG "." 1*( … ) */
		version = 0;
		while (is_hex(text[2 + version]))
			version++;
		if (version == 0 || text[2 + version] != '.' || len < version + 3)
			return 0;
		for (const char *c = text + 3 + version; c < end; c++)
			if (!str_ascii_is_alpha(*c) && !str_ascii_is_digit(*c) &&
			    !strchr(UNRESERVED SUB_DELIMS ":", *c))
				return 0;
		return len + 2;
	}
	if (len >= sizeof(address))
		return 0;
	memcpy(address, text + 1, len);
	address[len] = '\0';
	return strchr(address, ':') && address_parse(address, &parsed) ? len + 2 : 0;
}

/* The length of uri-host [ ":" port ] at the start of text; SIZE_MAX when an IP literal is none. */
static size_t span_host(const char *text)
{
	size_t at = text[0] == '[' ? span_ip_literal(text) : span_encoded(text, UNRESERVED SUB_DELIMS);

	if (text[0] == '[' && at == 0)
		return SIZE_MAX;
	if (text[at] == ':')
		at += 1 + strspn(text + at + 1, "0123456789");
	return at;
}

bool target_host_is_valid(const char *text)
{
	size_t len = span_host(text);

	return len != SIZE_MAX && text[len] == '\0';
}

/* ---- targets ---- */

/* RFC 9110 §4.1: absolute-path [ "?" query ]; NUL is refused however it is written. */
static bool path_parse(char *text, struct target *t)
{
	size_t len = span_encoded(text, PCHAR "/?");
	char *mark;

	if (text[len] != '\0')
		return target_refuse(t, 400,
				     "the request target holds a character that must be percent-encoded");
	if (strstr(text, "%00"))
		return target_refuse(t, 400, "the request target holds an encoded NUL");
	mark = strchr(text, '?');
	if (mark)
		*mark = '\0';
	t->path = text;
	t->query = mark ? mark + 1 : NULL;
	return true;
}

/* RFC 9112 §3.2.2 with RFC 9110 §4.2.1, §4.2.4 and §7.4; the authority is not looked at further. */
static bool absolute_parse(char *text, const char *scheme, bool is_options, struct target *t)
{
	size_t scheme_len = strcspn(text, ":");
	bool is_http = scheme_len == 4 && strncasecmp(text, "http", 4) == 0;
	bool is_https = scheme_len == 5 && strncasecmp(text, "https", 5) == 0;
	char *authority = text + scheme_len + 3;
	size_t len;

	if (is_https && strcmp(scheme, "https") != 0)
		return target_refuse(t, 421, "this connection is not encrypted: https is not served on it");
	if (is_http && strcmp(scheme, "http") != 0)
		return target_refuse(t, 421, "this connection is encrypted: http is not served on it");
	if (!is_http && !is_https)
		return target_refuse(t, 400, "the request target's scheme is neither http nor https");
	len = span_host(authority);
	if (len == SIZE_MAX || len == 0 || authority[0] == ':' ||
	    (authority[len] != '\0' && authority[len] != '/' && authority[len] != '?'))
		return target_refuse(t, 400, "the request target's authority is not a valid host");
	if (authority[len] == '/')
		return path_parse(authority + len, t);
	if (authority[len] == '\0') {
		t->path = is_options ? "*" : "/";
		return true;
	}
	if (!path_parse(authority + len, t)) /* "?query" */
		return false;
	t->path = "/";
	return true;
}

bool target_parse(char *text, const char *scheme, bool is_options, struct target *ret_target)
{
	size_t scheme_len;

	*ret_target = (struct target){.path = NULL};
	if (text[0] == '/')
		return path_parse(text, ret_target);
	if (strcmp(text, "*") == 0) {
		if (!is_options)
			return target_refuse(ret_target, 400, "the request target '*' is only for OPTIONS");
		ret_target->path = "*";
		return true;
	}
	scheme_len = span_encoded(text, "+-.");
	if (scheme_len > 0 && strncmp(text + scheme_len, "://", 3) == 0)
		return absolute_parse(text, scheme, is_options, ret_target);
	return target_refuse(ret_target, 400, "the request target must be a path that starts with '/'");
}
