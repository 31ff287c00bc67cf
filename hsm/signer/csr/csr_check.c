/* SPDX-License-Identifier: Apache-2.0 */
/* Refuses what cannot go into a CSR as it is. */
#include "hsm/signer/csr/csr_check.h"

#include "base/str.h"
#include "base/utf8.h"

#include <arpa/inet.h>
#include <string.h>

static bool text_is_fine(const char *text, size_t max_chars)
{
	size_t len = strlen(text), pos = 0, chars = 0;
	uint32_t code_point;

	while (pos < len) {
		if (!utf8_next(text, len, &pos, &code_point) || utf8_is_unsafe_in_names(code_point))
			return false;
		chars++;
	}
	return chars >= 1 && chars <= max_chars;
}

static bool is_visible_ascii(const char *text)
{
	for (; *text; text++)
		if (*text <= 0x20 || *text >= 0x7f)
			return false;
	return true;
}

enum err csr_check_ip(const char *text, unsigned char ret_octets[16], int *ret_len)
{
	if (inet_pton(AF_INET, text, ret_octets) == 1)
		*ret_len = 4;
	else if (inet_pton(AF_INET6, text, ret_octets) == 1)
		*ret_len = 16;
	else
		return E_INVAL;
	return E_OK;
}

static bool san_is_fine(const struct csr_san *san)
{
	unsigned char octets[16];
	size_t len = san->value ? strlen(san->value) : 0;
	const char *at;
	int octets_len;

	if (len == 0 || len > CSR_SAN_BYTES_MAX || !is_visible_ascii(san->value))
		return false;
	switch (san->type) {
	case SAN_DNS:
		return len <= 253;
	case SAN_IP:
		return csr_check_ip(san->value, octets, &octets_len) == E_OK;
	case SAN_EMAIL:
		at = strchr(san->value, '@');
		return at && at != san->value && at[1];
	case SAN_URI:
		at = strchr(san->value, ':');
		return at && at != san->value;
	}
	return false;
}

static bool country_is_fine(const char *country)
{
	return strlen(country) == 2 && str_ascii_is_alpha(country[0]) && str_ascii_is_alpha(country[1]);
}

enum err csr_check(const struct csr_spec *spec, const char **ret_reason)
{
	const struct {
		const char *text;
		size_t max_chars;
		const char *reason;
	} fields[] = {
	    {spec->state, CSR_STATE_CHARS, "state is not usable"},
	    {spec->locality, CSR_LOCALITY_CHARS, "locality is not usable"},
	    {spec->organization, CSR_ORGANIZATION_CHARS, "organization is not usable"},
	    {spec->organizational_unit ? spec->organizational_unit : "-", CSR_ORGANIZATIONAL_UNIT_CHARS,
	     "organizational unit is not usable"},
	    {spec->common_name, CSR_COMMON_NAME_CHARS, "common name is not usable"},
	};

	if (!key_type_is_valid(spec->key_type)) {
		*ret_reason = "unknown key type";
		return E_INVAL;
	}
	if (!spec->country || !country_is_fine(spec->country)) {
		*ret_reason = "country is not two letters";
		return E_INVAL;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (!fields[i].text || !text_is_fine(fields[i].text, fields[i].max_chars)) {
			*ret_reason = fields[i].reason;
			return E_INVAL;
		}
	}
	if (spec->sans_len < 1 || spec->sans_len > CSR_SANS_MAX) {
		*ret_reason = "number of subject alternative names";
		return E_INVAL;
	}
	for (size_t i = 0; i < spec->sans_len; i++) {
		if (!san_is_fine(&spec->sans[i])) {
			*ret_reason = "a subject alternative name cannot be encoded";
			return E_INVAL;
		}
	}
	return E_OK;
}
