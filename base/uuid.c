/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs in text and in bytes. */
#include "base/uuid.h"

#include "base/str.h"

#include <stddef.h>

static bool uuid_is_digit(char c, bool lower_only)
{
	return str_ascii_is_digit(c) || (c >= 'a' && c <= 'f') || (!lower_only && c >= 'A' && c <= 'F');
}

static bool has_form(const char *text, bool lower_only)
{
	size_t i;

	for (i = 0; text[i]; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (i >= UUID_SIZE - 1 || (dash ? text[i] != '-' : !uuid_is_digit(text[i], lower_only)))
			return false;
	}
	return i == UUID_SIZE - 1;
}

bool uuid_is_valid(const char *text)
{
	return has_form(text, false);
}

bool uuid_is_canonical(const char *text)
{
	return has_form(text, true);
}

bool uuid_parse(const char *text, char ret_uuid[UUID_SIZE])
{
	if (!uuid_is_valid(text))
		return false;
	for (size_t i = 0; i < UUID_SIZE; i++)
		ret_uuid[i] = str_ascii_lower(text[i]);
	return true;
}

bool uuid_to_bytes(const char *text, uint8_t ret_bytes[UUID_BYTES])
{
	char digits[2 * UUID_BYTES + 1];
	size_t n = 0;

	if (!uuid_is_canonical(text))
		return false;
	for (; *text; text++)
		if (*text != '-')
			digits[n++] = *text;
	digits[n] = '\0';
	return str_unhex(ret_bytes, UUID_BYTES, digits) == E_OK;
}

void uuid_format(char text[UUID_SIZE], const uint8_t bytes[UUID_BYTES])
{
	static const unsigned groups[] = {4, 2, 2, 2, 6}; /* bytes between the dashes */

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		str_hex(text, bytes, groups[i]);
		bytes += groups[i];
		text += 2 * groups[i];
		*text++ = i < 4 ? '-' : '\0';
	}
}

void uuid_mark_random(uint8_t bytes[UUID_BYTES])
{
	bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
}
