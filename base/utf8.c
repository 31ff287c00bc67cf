/* UTF-8 decoding after RFC 3629 §4. */
#include "base/utf8.h"

static bool is_continuation(const char *text, size_t len, size_t pos)
{
	return pos < len && ((uint8_t)text[pos] & 0xc0) == 0x80;
}

bool utf8_next(const char *text, size_t len, size_t *pos, uint32_t *ret_code_point)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
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

bool utf8_is_unsafe_in_names(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} unsafe[] = {
		{ 0x00, 0x1f },     { 0x7f, 0x9f },     { 0x61c, 0x61c },   { 0x200b, 0x200f },
		{ 0x2028, 0x202e }, { 0x2060, 0x2060 }, { 0x2066, 0x2069 }, { 0xfeff, 0xfeff },
	};

	for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
		if (c >= unsafe[i].first && c <= unsafe[i].last)
			return true;
	return false;
}
