/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the attributes of a PKCS#11 URI one by one. */
#include "cli/uri_check.h"

#include "base/err.h"
#include "base/str.h"
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#define VALUE_MAX 512

/* As CK_TOKEN_INFO has room for them (PKCS#11 v2.40 §3.2). */
static const struct {
	const char *name;
	size_t bytes_max;
} attributes[] = {{"token", 32}, {"serial", 16}, {"manufacturer", 32}, {"model", 16}, {"slot-id", 20}};
#define ATTRIBUTES (sizeof(attributes) / sizeof(attributes[0]))

/* pk11-pchar: unreserved characters and "[", "]", "&" and others; the rest is percent-encoded. */
static bool uri_check_is_plain(char c)
{
	return str_ascii_is_alpha(c) || str_ascii_is_digit(c) || (c && strchr("-._~:[]@!$'()*+,=&", c));
}

/* false: the encoding is wrong. */
static bool decode(const char *text, size_t len, char value[VALUE_MAX], size_t *ret_len)
{
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		char digits[3] = "";
		uint8_t byte;

		if (out + 1 >= VALUE_MAX)
			return false;
		if (text[i] != '%') {
			if (!uri_check_is_plain(text[i]))
				return false;
			value[out++] = text[i];
			continue;
		}
		if (len - i < 3)
			return false;
		memcpy(digits, text + i + 1, 2);
		if (str_unhex(&byte, 1, digits) != E_OK)
			return false;
		value[out++] = (char)byte;
		i += 2;
	}
	*ret_len = out;
	return true;
}

static bool check_attribute(size_t which, const char *text, size_t len, const char **ret_reason)
{
	char value[VALUE_MAX];
	size_t value_len;

	if (!decode(text, len, value, &value_len)) {
		*ret_reason = "a character is neither one that may stand in a URI nor percent-encoded (%20)";
		return false;
	}
	if (value_len < 1 || value_len > attributes[which].bytes_max) {
		*ret_reason = "a value is empty or longer than a token can have it (token and manufacturer "
			      "32 bytes, serial and model 16)";
		return false;
	}
	if (!utf8_is_valid(value, value_len)) {
		*ret_reason = "a value is not UTF-8 once it is decoded";
		return false;
	}
	if (!strcmp(attributes[which].name, "slot-id") && strspn(text, "0123456789") < len) {
		*ret_reason = "slot-id is not a number";
		return false;
	}
	return true;
}

bool uri_check(const char *text, const char **ret_reason)
{
	unsigned seen = 0;

	for (text += strlen("pkcs11:"); *text;) {
		size_t len = strcspn(text, ";");
		size_t name_len = strcspn(text, "=;");
		size_t which = 0;

		while (which < ATTRIBUTES && (strlen(attributes[which].name) != name_len ||
					      strncmp(attributes[which].name, text, name_len) != 0))
			which++;
		if (which == ATTRIBUTES || name_len == len) {
			*ret_reason = "an attribute is none of token, serial, manufacturer, model, slot-id";
			return false;
		}
		if (seen & 1u << which) {
			*ret_reason = "an attribute is named twice";
			return false;
		}
		seen |= 1u << which;
		if (!check_attribute(which, text + name_len + 1, len - name_len - 1, ret_reason))
			return false;
		text += len + (text[len] == ';');
	}
	return true;
}
