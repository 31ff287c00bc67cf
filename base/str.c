/* SPDX-License-Identifier: Apache-2.0 */
/* Small text helpers. */
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

enum err str_copy(char *dst, size_t dst_size, const char *src)
{
	size_t len = strlen(src);

	if (len >= dst_size) {
		if (dst_size)
			dst[0] = 0;
		return E_LIMIT;
	}
	memcpy(dst, src, len + 1);
	return E_OK;
}

char *str_dup_len(const char *src, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	if (len)
		memcpy(copy, src, len);
	copy[len] = 0;
	return copy;
}

bool str_dup_opt(const char *src, char **ret_copy)
{
	char *copy = NULL;

	if (src && !(copy = strdup(src)))
		return false;
	*ret_copy = copy;
	return true;
}

void str_hex(char *dst, const uint8_t *src, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		dst[2 * i] = digits[src[i] >> 4];
		dst[2 * i + 1] = digits[src[i] & 15];
	}
	dst[2 * len] = 0;
}

static int str_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = str_ascii_lower(c);
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

enum err str_unhex(uint8_t *dst, size_t len, const char *text)
{
	if (strlen(text) != 2 * len)
		return E_INVAL;
	for (size_t i = 0; i < 2 * len; i++)
		if (str_hex_value(text[i]) < 0)
			return E_INVAL;
	for (size_t i = 0; i < len; i++)
		dst[i] = (uint8_t)(str_hex_value(text[2 * i]) << 4 | str_hex_value(text[2 * i + 1]));
	return E_OK;
}

enum err str_parse_u64(const char *text, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!*text)
		return E_INVAL;
	for (; *text; text++) {
		uint64_t digit;

		if (!str_ascii_is_digit(*text))
			return E_INVAL;
		digit = (uint64_t)(*text - '0');
		if (value > (max - digit) / 10 || digit > max)
			return E_INVAL;
		value = value * 10 + digit;
	}
	*ret_value = value;
	return E_OK;
}

bool str_starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

char str_ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_ascii_is_alpha(char c)
{
	c = str_ascii_lower(c);
	return c >= 'a' && c <= 'z';
}

bool str_ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool str_ascii_is_alnum(char c)
{
	return str_ascii_is_alpha(c) || str_ascii_is_digit(c);
}

bool str_equal_ignoring_case(const char *a, const char *b)
{
	for (; *a && str_ascii_lower(*a) == str_ascii_lower(*b); a++, b++)
		;
	return str_ascii_lower(*a) == str_ascii_lower(*b);
}

bool str_equal_constant_time(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t difference = 0;

	for (size_t i = 0; i < len; i++)
		difference |= (uint8_t)(x[i] ^ y[i]);
	return difference == 0;
}
