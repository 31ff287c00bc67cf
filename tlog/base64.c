/* SPDX-License-Identifier: Apache-2.0 */
/* Base 64.  libcrypto's reader takes several texts for one value, so it is not used. */
#include "tlog/base64.h"

#include <stdbool.h>
#include <string.h>

#define CHUNK_BYTES 48

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_text(char *dst, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (; len > 0; at += 3) {
		size_t group = len < 3 ? len : 3;
		uint32_t bits = (uint32_t)at[0] << 16;

		if (group > 1)
			bits |= (uint32_t)at[1] << 8;
		if (group > 2)
			bits |= at[2];
		for (size_t i = 0; i < 4; i++)
			*dst++ = i <= group ? base64_digits[bits >> (18 - 6 * i) & 0x3f] : '=';
		len -= group;
	}
	*dst = '\0';
}

void base64_put(struct buf *out, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	char text[BASE64_SIZE(CHUNK_BYTES)];

	buf_reserve(out, (len + 2) / 3 * 4);
	while (len > 0) {
		size_t part = len < CHUNK_BYTES ? len : CHUNK_BYTES;

		base64_text(text, at, part);
		buf_put_str(out, text);
		at += part;
		len -= part;
	}
}

/* Four characters, the last 4 - digits of them padding.  False, too, if bits under the padding are not 0. */
static bool base64_read_group(const char *text, size_t digits, uint8_t bytes[3])
{
	uint32_t bits = 0;

	for (size_t i = 0; i < 4; i++) {
		const char *digit = i < digits && text[i] ? strchr(base64_digits, text[i]) : base64_digits;

		if (!digit || (i >= digits && text[i] != '=') || (i < digits && !text[i]))
			return false;
		bits = bits << 6 | (uint32_t)(digit - base64_digits);
	}
	for (size_t i = 0; i < 3; i++)
		bytes[i] = (uint8_t)(bits >> (16 - 8 * i));
	return (digits > 2 || bytes[1] == 0) && (digits > 3 || bytes[2] == 0);
}

enum err base64_read(const char *text, size_t len, uint8_t *bytes, size_t max, size_t *ret_len)
{
	size_t done = 0;

	if (len % 4 != 0)
		return E_PROTO;
	for (; len > 0; text += 4, len -= 4) {
		size_t digits = 4;
		uint8_t group[3];

		if (len == 4 && text[3] == '=')
			digits = text[2] == '=' ? 2 : 3;
		if (!base64_read_group(text, digits, group))
			return E_PROTO;
		if (digits - 1 > max - done)
			return E_LIMIT;
		if (bytes)
			memcpy(bytes + done, group, digits - 1);
		done += digits - 1;
	}
	*ret_len = done;
	return E_OK;
}
