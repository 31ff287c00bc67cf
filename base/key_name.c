/* SPDX-License-Identifier: Apache-2.0 */
/* Names of keys in text and in bytes. */
#include "base/key_name.h"

#include "base/random.h"
#include "base/str.h"

#include <string.h>

#define PREFIX_LEN (sizeof(KEY_NAME_PREFIX) - 1)
#define DIGIT_BITS 5

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

void key_name_format(char name[KEY_NAME_SIZE], const uint8_t bytes[KEY_NAME_BYTES])
{
	unsigned bits = 0, kept = 0;

	memcpy(name, KEY_NAME_PREFIX, PREFIX_LEN);
	name += PREFIX_LEN;
	for (size_t i = 0; i < KEY_NAME_BYTES; i++) {
		bits =
		    (bits << 8 | bytes[i]) & 0xfff; /* at most 4 of the byte before are still to be written */
		for (kept += 8; kept >= DIGIT_BITS; kept -= DIGIT_BITS)
			*name++ = digits[bits >> (kept - DIGIT_BITS) & 0x1f];
	}
	*name++ = digits[bits << (DIGIT_BITS - kept) & 0x1f];
	*name = '\0';
}

bool key_name_parse(const char *text, uint8_t ret_bytes[KEY_NAME_BYTES])
{
	uint8_t bytes[KEY_NAME_BYTES];
	unsigned bits = 0, kept = 0;
	size_t n = 0;

	if (strnlen(text, KEY_NAME_SIZE) != KEY_NAME_LEN || !str_starts_with(text, KEY_NAME_PREFIX))
		return false;
	for (const char *at = text + PREFIX_LEN; *at; at++) {
		const char *digit = memchr(digits, *at, sizeof(digits) - 1);

		if (!digit)
			return false;
		bits = (bits << DIGIT_BITS | (unsigned)(digit - digits)) & 0xfff;
		kept += DIGIT_BITS;
		if (kept >= 8) {
			kept -= 8;
			bytes[n++] = (uint8_t)(bits >> kept);
		}
	}
	if (bits & ((1u << kept) - 1))
		return false;
	memcpy(ret_bytes, bytes, sizeof(bytes));
	return true;
}

/* Not to be relied on: it tells the keys of nodes that share a token apart, and protects nothing. */
static void put_node(uint8_t bytes[KEY_NAME_NODE_BYTES], const char *node)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *node; node++)
		hash = (hash ^ (uint8_t)*node) * 16777619u;
	for (size_t i = 0; i < KEY_NAME_NODE_BYTES; i++)
		bytes[i] = (uint8_t)(hash >> 8 * i);
}

enum err key_name_new(const char *node, char ret_name[KEY_NAME_SIZE])
{
	uint8_t bytes[KEY_NAME_BYTES];
	enum err e = random_fill(bytes, sizeof(bytes));

	put_node(bytes, node);
	if (e == E_OK)
		key_name_format(ret_name, bytes);
	return e;
}

bool key_name_is_of_node(const uint8_t bytes[KEY_NAME_BYTES], const char *node)
{
	uint8_t of_node[KEY_NAME_NODE_BYTES];

	put_node(of_node, node);
	return memcmp(bytes, of_node, sizeof(of_node)) == 0;
}
