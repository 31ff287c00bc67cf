/* SPDX-License-Identifier: Apache-2.0 */
/* Host names, with IDNA2008 by libidn2. */
#include "api/san_host.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LABEL_MAX_CHARS 63

static bool host_label_has_prefix(const char *label, size_t len)
{
	return len >= 4 && str_ascii_lower(label[0]) == 'x' && str_ascii_lower(label[1]) == 'n' &&
	       label[2] == '-' && label[3] == '-';
}

static const char *host_idn_fault(int status)
{
	switch (status) {
	case IDN2_DISALLOWED:
	case IDN2_UNASSIGNED:
	case IDN2_LEADING_COMBINING:
	case IDN2_NOT_NFC:
	case IDN2_2HYPHEN:
	case IDN2_HYPHEN_STARTEND:
		return "has an 'xn--' label that stands for characters which IDNA2008 does not allow there; "
		       "choose another name";
	case IDN2_CONTEXTJ:
	case IDN2_CONTEXTJ_NO_RULE:
	case IDN2_CONTEXTO:
	case IDN2_CONTEXTO_NO_RULE:
		return "has an 'xn--' label with a joiner or sign where IDNA2008 does not allow it; "
		       "choose another name";
	case IDN2_BIDI:
		return "has an 'xn--' label that mixes directions of writing (RFC 5893); choose another name";
	default:
		return "has an 'xn--' label that is not the Punycode of any name; "
		       "send the A-label that IDNA2008 produces";
	}
}

/*
 * An A-label as a registry takes it (RFC 5891 §4): decoded, every rule looked
 * at, contextual ones too, and encoded again to the same text.
 */
static enum err host_check_a_label(const char *label, size_t len, const char **ret_fault)
{
	char lower[LABEL_MAX_CHARS + 1];
	uint8_t *again = NULL;
	int status;

	for (size_t i = 0; i < len; i++)
		lower[i] = str_ascii_lower(label[i]);
	lower[len] = '\0';
	status = idn2_register_u8(NULL, (const uint8_t *)lower, &again, 0);
	idn2_free(again);
	if (status == IDN2_OK)
		return E_OK;
	if (status == IDN2_MALLOC)
		return E_NOMEM;
	*ret_fault = host_idn_fault(status);
	return E_INVAL;
}

static const char *host_character_fault(char c)
{
	switch (c) {
	case '_':
		return "has an underscore, which a certificate's host name may not have (RFC 1123 §2.1); "
		       "use a name without it";
	case '*':
		return "has a '*' that is not the whole first label; the only wildcard is '*.' in front";
	case ':':
		return "has a ':', as before a port or after a scheme; send the host name alone";
	case '/':
		return "has a '/', as in a path or a network; send the host name alone";
	case '@':
		return "has a '@'; send the host name alone";
	case ',':
	case ';':
		return "has a ',' or ';'; send each name as an item of its own";
	default:
		return "has a character other than letters, digits, '-' and '.'; leave it out";
	}
}

static enum err host_check_label(const char *label, size_t len, bool may_underscore, const char **ret_fault)
{
	*ret_fault = NULL;
	for (size_t i = 0; i < len && !*ret_fault; i++) {
		if (!str_ascii_is_alnum(label[i]) && label[i] != '-' && !(label[i] == '_' && may_underscore))
			*ret_fault = host_character_fault(label[i]);
	}
	if (*ret_fault)
		return E_INVAL;
	if (len == 0)
		*ret_fault = "has an empty label; put one dot between labels and none in front";
	else if (len > LABEL_MAX_CHARS)
		*ret_fault = "has a label of more than 63 characters; shorten it";
	else if (label[0] == '-' || label[len - 1] == '-')
		*ret_fault = "has a label that starts or ends with '-'; leave that out";
	else
		return host_label_has_prefix(label, len) ? host_check_a_label(label, len, ret_fault) : E_OK;
	return E_INVAL;
}

/* Would a URL parser read a name with this last label as an IPv4 address? */
static bool host_label_is_number(const char *label, size_t len)
{
	size_t digits = 0;
	size_t start = len >= 2 && label[0] == '0' && str_ascii_lower(label[1]) == 'x' ? 2 : 0;

	for (size_t i = start; i < len; i++) {
		char c = str_ascii_lower(label[i]);

		if (str_ascii_is_digit(c) || (start == 2 && c >= 'a' && c <= 'f'))
			digits++;
	}
	return start + digits == len;
}

enum err san_host_check(const char *name, bool may_underscore, const char **ret_fault)
{
	const char *label = name;
	size_t total = strlen(name);

	if (total == 0)
		*ret_fault = "is empty; send a host name";
	else if (total > SAN_HOST_MAX_CHARS)
		*ret_fault = "is longer than 253 characters; shorten it";
	else if (total > 1 && name[total - 1] == '.' && name[total - 2] != '.')
		*ret_fault = "ends with a dot; send it without";
	else
		*ret_fault = NULL;
	if (*ret_fault)
		return E_INVAL;
	for (;;) {
		size_t len = strcspn(label, ".");
		enum err e = host_check_label(label, len, may_underscore, ret_fault);

		if (e != E_OK)
			return e;
		if (label[len] == '\0') {
			if (!host_label_is_number(label, len))
				return E_OK;
			*ret_fault = "ends in a number, as an IP address does; "
				     "give its last label a letter";
			return E_INVAL;
		}
		label += len + 1;
	}
}

enum err san_host_to_ascii(const char *text, char ret_name[SAN_HOST_SIZE])
{
	const char *fault;
	uint8_t *name = NULL;
	int status = idn2_lookup_u8((const uint8_t *)text, &name, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	enum err e = E_NOTFOUND;

	if (status == IDN2_MALLOC)
		return E_NOMEM;
	if (status == IDN2_OK)
		e = san_host_check((const char *)name, false, &fault);
	if (e == E_OK)
		e = str_copy(ret_name, SAN_HOST_SIZE, (const char *)name);
	idn2_free(name);
	return e == E_OK || e == E_NOMEM ? e : E_NOTFOUND;
}

bool san_host_is_address(const char *text, int *ret_family, unsigned char ret_octets[16])
{
	for (int i = 0; i < 2; i++) {
		int family = i == 0 ? AF_INET : AF_INET6;

		if (inet_pton(family, text, ret_octets) == 1) {
			*ret_family = family;
			return true;
		}
	}
	return false;
}
