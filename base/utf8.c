/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 decoding after RFC 3629 §4. */
#include "base/utf8.h"

static bool is_continuation(const char *text, size_t len, size_t pos)
{
	return pos < len && ((uint8_t)text[pos] & 0xc0) == 0x80;
}

bool utf8_next(const char *text, size_t len, size_t *pos, uint32_t *ret_code_point)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t first;
	uint32_t value;
	size_t size;

	if (*pos >= len)
		return false;
	first = (uint8_t)text[*pos];
	if (first < 0x80) {
		*ret_code_point = first;
		*pos += 1;
		return true;
	}
	if (first >= 0xc2 && first <= 0xdf)
		size = 2;
	else if (first >= 0xe0 && first <= 0xef)
		size = 3;
	else if (first >= 0xf0 && first <= 0xf4)
		size = 4;
	else
		return false;
	value = first & (0xffu >> (size + 1));
	for (size_t i = 1; i < size; i++) {
		if (!is_continuation(text, len, *pos + i))
			return false;
		value = value << 6 | ((uint8_t)text[*pos + i] & 0x3f);
	}
	if (value < smallest[size] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return false;
	*ret_code_point = value;
	*pos += size;
	return true;
}

bool utf8_is_valid(const char *text, size_t len)
{
	uint32_t code_point;
	size_t pos = 0;

	while (pos < len)
		if (!utf8_next(text, len, &pos, &code_point))
			return false;
	return true;
}

size_t utf8_count(const char *text, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++)
		count += ((uint8_t)text[i] & 0xc0) != 0x80;
	return count;
}

enum utf8_class utf8_class(uint32_t code_point)
{
	/* Sorted; a row holds for its first code point and all up to the next row. */
	static const struct {
		uint32_t first : 24;
		uint32_t class : 8;
	} rows[] = {
#include "utf8_class.inc"
	};
	size_t low = 0;
	size_t high = sizeof(rows) / sizeof(rows[0]);

	if (code_point > 0x10ffff)
		return UTF8_UNASSIGNED;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (rows[middle].first <= code_point)
			low = middle;
		else
			high = middle;
	}
	return (enum utf8_class)rows[low].class;
}

bool utf8_is_unsafe_in_names(uint32_t code_point)
{
	return utf8_class(code_point) >= UTF8_CONTROL;
}
