/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of notes. */
#include "tlog/note_key.h"

#include "base/str.h"
#include "base/utf8.h"
#include "tlog/base64.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define ID_BYTES 4
#define ID_DIGITS (2 * ID_BYTES)
#define SHA256_BYTES 32
#define ED25519_SIGNATURE_BYTES 64
#define TIME_BYTES 8
#define COSIGNATURE_HEAD_MAX 64

/* What stands before the 64 bytes of the point: id-ecPublicKey, prime256v1, BIT STRING, uncompressed. */
static const uint8_t note_key_p256[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
					0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
					0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
static_assert(sizeof(note_key_p256) + 64 == NOTE_ECDSA_BYTES, "the form of the key is fixed");

/* White_Space of Unicode, which is what other verifiers ask for, and the control characters. */
static bool note_key_is_blank(uint32_t c)
{
	return c <= 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
	       c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool note_key_name_is_valid(const char *name, size_t len)
{
	size_t pos = 0;
	uint32_t c;

	if (len < 1 || len > NOTE_NAME_MAX)
		return false;
	while (pos < len)
		if (!utf8_next(name, len, &pos, &c) || c == '+' || note_key_is_blank(c))
			return false;
	return true;
}

static EVP_PKEY *note_key_load(const struct note_key *key)
{
	const uint8_t *at = key->public_key;

	EVP_PKEY *pkey;

	if (key->algorithm != NOTE_ECDSA)
		pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, at, key->public_key_len);
	else
		pkey = d2i_PUBKEY(NULL, &at, NOTE_ECDSA_BYTES);
	if (!pkey)
		ERR_clear_error();
	return pkey;
}

static bool note_key_is_valid(const struct note_key *key)
{
	EVP_PKEY *pkey;

	if (key->algorithm == NOTE_ECDSA &&
	    memcmp(key->public_key, note_key_p256, sizeof(note_key_p256)) != 0)
		return false;
	pkey = note_key_load(key);
	EVP_PKEY_free(pkey);
	return pkey != NULL;
}

/* It is over name and algorithm too, but that of an ECDSA key is the same whatever its name. */
static enum err note_key_compute_id(struct note_key *key)
{
	uint8_t hash[SHA256_BYTES], algorithm[] = {'\n', (uint8_t)key->algorithm};
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool done = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

	if (done && key->algorithm != NOTE_ECDSA)
		done = EVP_DigestUpdate(md, key->name, strlen(key->name)) == 1 &&
		       EVP_DigestUpdate(md, algorithm, sizeof(algorithm)) == 1;
	done = done && EVP_DigestUpdate(md, key->public_key, key->public_key_len) == 1 &&
	       EVP_DigestFinal_ex(md, hash, NULL) == 1;
	EVP_MD_CTX_free(md);
	if (!done)
		return E_NOMEM;
	key->id = (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
	return E_OK;
}

enum err note_key_make(const char *name, enum note_algorithm algorithm, const uint8_t *public_key, size_t len,
		       struct note_key *ret_key)
{
	struct note_key key = {.algorithm = algorithm, .public_key_len = len};
	enum err e;

	if (!note_key_name_is_valid(name, strlen(name)) ||
	    len != (algorithm == NOTE_ECDSA ? NOTE_ECDSA_BYTES : NOTE_ED25519_BYTES) ||
	    str_copy(key.name, sizeof(key.name), name) != E_OK)
		return E_INVAL;
	memcpy(key.public_key, public_key, len);
	if (!note_key_is_valid(&key))
		return E_INVAL;
	if ((e = note_key_compute_id(&key)) == E_OK)
		*ret_key = key;
	return e;
}

static bool note_key_is_known(uint8_t algorithm)
{
	return algorithm == NOTE_ED25519 || algorithm == NOTE_ECDSA || algorithm == NOTE_COSIGNATURE;
}

enum err note_key_parse(const char *vkey, struct note_key *ret_key)
{
	uint8_t bytes[1 + NOTE_ECDSA_BYTES];
	const char *id = strchr(vkey, '+'), *text;
	char name[NOTE_NAME_MAX + 1], expected[ID_DIGITS + 1];
	struct note_key key;
	size_t len;
	enum err e;

	if (!id || id - vkey > NOTE_NAME_MAX)
		return E_INVAL;
	memcpy(name, vkey, (size_t)(id - vkey));
	name[id - vkey] = '\0';
	if (strnlen(++id, ID_DIGITS + 1) <= ID_DIGITS || id[ID_DIGITS] != '+')
		return E_INVAL;
	text = id + ID_DIGITS + 1;
	e = base64_read(text, strlen(text), bytes, sizeof(bytes), &len);
	if (e == E_PROTO || (e == E_OK && len < 1))
		return E_INVAL;
	/* A key that does not fit here is an ML-DSA key at the least. */
	if (e != E_OK || !note_key_is_known(bytes[0]))
		return E_UNSUPPORTED;
	if ((e = note_key_make(name, bytes[0], bytes + 1, len - 1, &key)) != E_OK)
		return e;
	snprintf(expected, sizeof(expected), "%08x", key.id);
	if (memcmp(id, expected, ID_DIGITS) != 0)
		return E_INVAL;
	*ret_key = key;
	return E_OK;
}

void note_key_put(const struct note_key *key, struct buf *out)
{
	uint8_t bytes[1 + NOTE_ECDSA_BYTES] = {(uint8_t)key->algorithm};

	memcpy(bytes + 1, key->public_key, key->public_key_len);
	buf_printf(out, "%s+%08x+", key->name, key->id);
	base64_put(out, bytes, 1 + key->public_key_len);
}

/* libcrypto refuses an ECDSA signature that is not DER, or has bytes behind it. */
static enum err note_key_verify_bytes(const struct note_key *key, const void *text, size_t text_len,
				      const uint8_t *signature, size_t signature_len)
{
	const EVP_MD *md = key->algorithm == NOTE_ECDSA ? EVP_sha256() : NULL;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY *pkey = note_key_load(key);
	enum err e = E_NOMEM;

	if (context && pkey && EVP_DigestVerifyInit(context, NULL, md, NULL, pkey) == 1)
		e = EVP_DigestVerify(context, signature, signature_len, text, text_len) == 1 ? E_OK
											     : E_DENIED;
	if (e != E_OK)
		ERR_clear_error(); /* the next TLS connection of this thread would take it for its own */
	EVP_PKEY_free(pkey);
	EVP_MD_CTX_free(context);
	return e;
}

uint64_t note_key_cosigned_at(const struct note_signature *signature)
{
	uint64_t seconds = 0;

	for (size_t i = 0; i < TIME_BYTES; i++)
		seconds = seconds << 8 | signature->bytes[i];
	return seconds;
}

static enum err note_key_verify_cosignature(const struct note_key *key, const void *text, size_t text_len,
					    const struct note_signature *signature)
{
	struct buf signed_text;
	uint64_t seconds;
	enum err e;

	if (signature->len != TIME_BYTES + ED25519_SIGNATURE_BYTES)
		return E_DENIED;
	if ((seconds = note_key_cosigned_at(signature)) > INT64_MAX)
		return E_DENIED;
	buf_init(&signed_text, text_len + COSIGNATURE_HEAD_MAX);
	buf_printf(&signed_text, "cosignature/v1\ntime %" PRIu64 "\n", seconds);
	buf_put(&signed_text, text, text_len);
	if ((e = buf_status(&signed_text)) == E_OK)
		e = note_key_verify_bytes(key, signed_text.data, signed_text.len,
					  signature->bytes + TIME_BYTES, ED25519_SIGNATURE_BYTES);
	buf_release(&signed_text);
	return e;
}

enum err note_key_verify(const struct note_key *key, const void *text, size_t text_len,
			 const struct note_signature *signature)
{
	if (key->algorithm == NOTE_COSIGNATURE)
		return note_key_verify_cosignature(key, text, text_len, signature);
	return note_key_verify_bytes(key, text, text_len, signature->bytes, signature->len);
}
