/* SPDX-License-Identifier: Apache-2.0 */
/* Making, recognising and hashing API tokens, keys and ids. */
#include "api/credential.h"

#include "base/random.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/uuid.h"

#include <openssl/evp.h>
#include <string.h>

#define PREFIX "csrd_"
#define PREFIX_LEN 5
#define RANDOM_BYTES 32
#define RANDOM_CHARS 43 /* 256 bits, 6 to a character, no padding */
#define CHECKSUM_CHARS 6

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* CRC-32 of ISO 3309 (reflected polynomial 0xEDB88320). */
static uint32_t crc32_of(const char *text, size_t len)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)text[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static void put_checksum(const char *text, size_t len, char dst[CHECKSUM_CHARS])
{
	uint32_t crc = crc32_of(text, len);

	for (size_t i = CHECKSUM_CHARS; i-- > 0;) {
		dst[i] = base62[crc % 62];
		crc /= 62;
	}
}

/* RFC 4648 §5, without padding. */
static void put_base64url(const uint8_t *src, size_t src_len, char *dst)
{
	uint32_t bits = 0;
	unsigned bits_len = 0;

	for (size_t i = 0; i < src_len; i++) {
		bits = bits << 8 | src[i];
		for (bits_len += 8; bits_len >= 6; bits_len -= 6)
			*dst++ = base64url[bits >> (bits_len - 6) & 0x3f];
	}
	if (bits_len > 0)
		*dst = base64url[bits << (6 - bits_len) & 0x3f];
}

enum err credential_make_token(char ret_token[CREDENTIAL_TOKEN_SIZE])
{
	uint8_t random[RANDOM_BYTES];

	enum err e = random_fill(random, sizeof(random));
	if (e != E_OK)
		return e;
	memcpy(ret_token, PREFIX, PREFIX_LEN);
	put_base64url(random, sizeof(random), ret_token + PREFIX_LEN);
	put_checksum(ret_token, PREFIX_LEN + RANDOM_CHARS, ret_token + PREFIX_LEN + RANDOM_CHARS);
	ret_token[CREDENTIAL_TOKEN_SIZE - 1] = '\0';
	secret_scrub(random, sizeof(random));
	return E_OK;
}

enum err credential_make_key(char ret_key[CREDENTIAL_KEY_SIZE])
{
	uint8_t random[(CREDENTIAL_KEY_SIZE - 1) / 2];

	enum err e = random_fill(random, sizeof(random));
	if (e != E_OK)
		return e;
	str_hex(ret_key, random, sizeof(random));
	secret_scrub(random, sizeof(random));
	return E_OK;
}

bool credential_token_is_intact(const char *token)
{
	char checksum[CHECKSUM_CHARS];

	if (strlen(token) != CREDENTIAL_TOKEN_SIZE - 1 || !str_starts_with(token, PREFIX))
		return false;
	if (strspn(token + PREFIX_LEN, base64url) != RANDOM_CHARS + CHECKSUM_CHARS)
		return false;
	put_checksum(token, PREFIX_LEN + RANDOM_CHARS, checksum);
	return memcmp(checksum, token + PREFIX_LEN + RANDOM_CHARS, CHECKSUM_CHARS) == 0;
}

enum err credential_hash(const char *secret, uint8_t ret_hash[CREDENTIAL_HASH_BYTES])
{
	uint8_t hash[CREDENTIAL_HASH_BYTES];

	if (EVP_Digest(secret, strlen(secret), hash, NULL, EVP_sha256(), NULL) != 1)
		return E_NOMEM;
	memcpy(ret_hash, hash, sizeof(hash));
	return E_OK;
}

bool credential_tag_is_valid(const char *tag)
{
	size_t len = strlen(tag);

	return len >= 1 && len <= 32 && strspn(tag, base64url) == len;
}

enum err credential_make_uuid(char ret_uuid[UUID_SIZE])
{
	uint8_t bytes[UUID_BYTES];

	enum err e = random_fill(bytes, sizeof(bytes));
	if (e != E_OK)
		return e;
	uuid_mark_random(bytes);
	uuid_format(ret_uuid, bytes);
	return E_OK;
}
