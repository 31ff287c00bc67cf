/* SPDX-License-Identifier: Apache-2.0 */
/* X-Forwarded-For and Forwarded, read from the right. */
#include "daemon/forwarded.h"

#include "base/str.h"
#include "config/config.h"
#include "daemon/head.h"

#include <string.h>

#define ELEMENT_MAX 256 /* far beyond what a proxy adds */

/* ---- one element ---- */

/* An address with or without a port; IPv6 in brackets, or bare. */
static bool forwarded_parse_node(const char *text, struct address *ret_address)
{
	char host[ADDRESS_SIZE];
	size_t len = strlen(text);
	uint16_t port;

	if (address_parse(text, ret_address) || address_parse_port(text, ret_address, &port))
		return true;
	if (len < 4 || len - 2 >= sizeof(host) || text[0] != '[' || text[len - 1] != ']')
		return false;
	memcpy(host, text + 1, len - 2);
	host[len - 2] = '\0';
	return strchr(host, ':') && address_parse(host, ret_address);
}

/*
 * One "name=value" of RFC 7239 §4: the value is a token, or a quoted string, in which
 * nothing that stands for an address is escaped.  Cut out in place; NULL for what is none.
 */
static char *forwarded_cut_pair(char **at, char **ret_value)
{
	char *name = *at, *value = strchr(name, '='), *end;
	size_t len;

	if (!value || value == name)
		return NULL;
	*value++ = '\0';
	for (const char *c = name; *c; c++)
		if (!head_is_token_char(*c))
			return NULL;
	if (*value == '"') {
		len = strcspn(++value, "\"\\");
		if (value[len] != '"')
			return NULL;
		value[len++] = '\0';
	} else {
		for (len = 0; head_is_token_char(value[len]); len++)
			;
		if (len == 0)
			return NULL;
	}
	end = value + len + strspn(value + len, " \t");
	if (*end != '\0' && *end != ';')
		return NULL;
	*at = *end == ';' ? end + 1 + strspn(end + 1, " \t") : NULL;
	value[len] = '\0';
	*ret_value = value;
	return name;
}

/* "for=192.0.2.60;proto=http;by=203.0.113.43"; exactly one "for". */
static bool forwarded_parse_pairs(char *text, struct address *ret_address)
{
	char *at = text, *found = NULL, *name, *value;

	while (at) {
		name = forwarded_cut_pair(&at, &value);
		if (!name)
			return false;
		if (!str_equal_ignoring_case(name, "for"))
			continue;
		if (found)
			return false;
		found = value;
	}
	return found && forwarded_parse_node(found, ret_address);
}

/* ---- the list ---- */

/*
 * Where the last element of the first `len` bytes begins.  Quotes are paired from the
 * right, too, so one that a client left open on the left hides nothing.
 */
static size_t forwarded_last(const char *text, size_t len, bool has_quotes)
{
	bool quoted = false;

	for (; len > 0; len--) {
		if (has_quotes && text[len - 1] == '"')
			quoted = !quoted;
		else if (text[len - 1] == ',' && !quoted)
			break;
	}
	return len;
}

static bool forwarded_parse_element(const char *text, size_t len, bool is_pairs, struct address *ret_address)
{
	char element[ELEMENT_MAX];

	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	while (len > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		len--;
	}
	if (len == 0 || len >= sizeof(element))
		return false;
	memcpy(element, text, len);
	element[len] = '\0';
	return is_pairs ? forwarded_parse_pairs(element, ret_address)
			: forwarded_parse_node(element, ret_address);
}

/* Goes on from *caller, a trusted proxy, through one field; false when the walk is over. */
static bool forwarded_walk(const struct config_http *config, const char *value, struct address *caller)
{
	const struct config_networks *trusted = &config->trusted_proxies;
	bool is_pairs = config->forwarded_header == CONFIG_FORWARDED_FORWARDED;
	size_t end = strlen(value), begin;

	for (;;) {
		begin = forwarded_last(value, end, is_pairs);
		if (!forwarded_parse_element(value + begin, end - begin, is_pairs, caller) ||
		    !address_is_in_any(caller, trusted->nets, trusted->len))
			return false;
		if (begin == 0)
			return true;
		end = begin - 1; /* its comma */
	}
}

bool forwarded_is_trusted(const struct config_http *config, const struct address *peer)
{
	return address_is_in_any(peer, config->trusted_proxies.nets, config->trusted_proxies.len);
}

bool forwarded_find(const struct config_http *config, const struct head *head, const struct address *peer,
		    struct address *ret_caller)
{
	const char *name =
	    config->forwarded_header == CONFIG_FORWARDED_FORWARDED ? "Forwarded" : "X-Forwarded-For";
	struct address caller = *peer;

	if (config->forwarded_header == CONFIG_FORWARDED_NONE || !forwarded_is_trusted(config, peer))
		return false;
	for (size_t i = head->fields_len; i-- > 0;)
		if (str_equal_ignoring_case(head->fields[i].name, name) &&
		    !forwarded_walk(config, head->fields[i].value, &caller))
			break;
	*ret_caller = caller;
	return address_compare(&caller, peer) != 0;
}
