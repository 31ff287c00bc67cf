/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL runs out of memory at each of its calls, one after the other: what
 * asked it says E_NOMEM, or did without, and never that a key, a request or a
 * row is wrong (F401).
 */
#include "tests/unit/cmocka_all.h"

#include "api/csr_proof.h"
#include "base/csr.h"
#include "hsm/message.h"
#include "hsm/signer/csr/csr_build.h"
#include "hsm/signer/csr/csr_verify.h"
#include "hsm/signer/key/spki.h"
#include "hsm/signer/key/weak_key.h"
#include "ossl/ossl_memory.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory that runs out ---- */

static unsigned long calls, fails_at; /* 0: none fails */

static bool call_fails(void)
{
	return ++calls == fails_at;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return call_fails() ? NULL : __real_malloc(size);
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
	return call_fails() ? NULL : __real_realloc(old, size);
}

/* With the n-th call failing, for each n. */
static void fail_each(enum err (*function)(void))
{
	unsigned long without;

	assert_int_equal(function(), E_OK); /* what is made once is there */
	calls = 0;
	assert_int_equal(function(), E_OK);
	without = calls;
	assert_true(without > 0);
	for (unsigned long n = 1; n <= without; n++) {
		enum err e;

		calls = 0;
		fails_at = n;
		e = function();
		fails_at = 0;
		if (e != E_OK && e != E_NOMEM)
			fail_msg("call %lu of %lu: %s", n, without, err_str(e));
	}
	assert_int_equal(function(), E_OK);
}

/* ---- what asks OpenSSL ---- */

static EVP_PKEY *pairs[KEY_TYPE_MAX + 1];
static struct csr_spec spec;
static struct buf signature; /* of the request, made with memory enough */
static struct buf der;

/* The same request each time, and one of the two signatures is as good as the other. */
static enum err sign(void *arg, const uint8_t *data, size_t len, struct buf *out)
{
	(void)arg;
	if (signature.len == 0) {
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		uint8_t bytes[512];
		size_t bytes_len = sizeof(bytes);
		const EVP_MD *md = spec.key_type == KEY_ED25519 ? NULL : EVP_sha256();

		assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, pairs[spec.key_type]), 1);
		assert_int_equal(EVP_DigestSign(ctx, bytes, &bytes_len, data, len), 1);
		EVP_MD_CTX_free(ctx);
		buf_put(&signature, bytes, bytes_len);
	}
	buf_put(out, signature.data, signature.len);
	return buf_status(out);
}

static enum err make_request(void)
{
	const struct csr_build_signer signer = {.sign = sign};
	const char *reason = NULL;
	struct spki *spki = NULL;
	enum err e;

	assert_int_equal(EVP_PKEY_up_ref(pairs[spec.key_type]), 1);
	if ((e = spki_new(pairs[spec.key_type], &spki)) != E_OK) {
		EVP_PKEY_free(pairs[spec.key_type]);
		return e;
	}
	buf_reset(&der);
	e = csr_build(&spec, spki, &signer, &der, &reason);
	if (e == E_NOMEM)
		assert_null(reason);
	spki_free(spki);
	return e;
}

static void request_is_made_or_not_F401(void **state)
{
	static const enum key_type types[] = {KEY_P256V1, KEY_RSA2048, KEY_ED25519};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		spec.key_type = types[i];
		buf_reset(&signature);
		fail_each(make_request);
	}
}

static uint8_t p256_point[65], ed25519_point[WEAK_KEY_ED25519_BYTES];
static BIGNUM *modulus, *exponent;

static enum err check_ec(void)
{
	const char *reason;

	return weak_key_check_ec(NID_X9_62_prime256v1, p256_point, sizeof(p256_point), &reason);
}

static enum err check_edwards(void)
{
	const char *reason;

	return weak_key_check_ed25519(ed25519_point, &reason);
}

static enum err check_rsa(void)
{
	const char *reason;

	return weak_key_check_rsa(modulus, exponent, 2048, &reason);
}

static void sound_key_is_not_called_weak_F401(void **state)
{
	(void)state;
	fail_each(check_ec);
	fail_each(check_edwards);
	fail_each(check_rsa);
}

static struct csr_record record;

static void on_difference(void *arg, const char *text)
{
	(void)arg;
	fail_msg("call %lu: %s", fails_at, text);
}

static enum err prove(void)
{
	return csr_proof(&record, on_difference, NULL);
}

static void row_that_is_right_does_not_differ_F401(void **state)
{
	unsigned hash_len = 0;
	unsigned char *spki = NULL;
	const unsigned char *at;
	X509_REQ *request;
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	(void)state;
	spec.key_type = KEY_P256V1;
	buf_reset(&signature);
	assert_int_equal(make_request(), E_OK);
	at = der.data;
	request = d2i_X509_REQ(NULL, &at, (long)der.len);
	assert_int_equal(PEM_write_bio_X509_REQ(bio, request), 1);
	assert_int_equal(BIO_write(bio, "", 1), 1); /* its end as a string */
	BIO_get_mem_data(bio, &text);
	record.pem = strdup(text);
	BIO_free(bio);
	X509_REQ_free(request);
	len = i2d_PUBKEY(pairs[KEY_P256V1], &spki);
	assert_int_equal(EVP_Digest(spki, (size_t)len, record.spki_sha256, &hash_len, EVP_sha256(), NULL), 1);
	OPENSSL_free(spki);
	record.spec = spec;
	fail_each(prove);
	free(record.pem);
}

/* ---- setting the scene ---- */

static int make_all(void **state)
{
	size_t len;

	(void)state;
	spec = (struct csr_spec){.country = strdup("SE"),
				 .state = strdup("Västra Götaland"),
				 .locality = strdup("Göteborg"),
				 .organization = strdup("Example AB"),
				 .organizational_unit = strdup("Net"),
				 .common_name = strdup("www.example.com")};
	if (csr_spec_add_san(&spec, SAN_DNS, "www.example.com") != E_OK ||
	    csr_spec_add_san(&spec, SAN_IP, "2001:db8::1") != E_OK)
		return -1;
	buf_init(&signature, 1024);
	buf_init(&der, MESSAGE_DER_MAX);
	pairs[KEY_P256V1] = EVP_EC_gen("P-256");
	pairs[KEY_RSA2048] = EVP_RSA_gen(2048);
	pairs[KEY_ED25519] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	len = sizeof(ed25519_point);
	return EVP_PKEY_get_octet_string_param(pairs[KEY_P256V1], "pub", p256_point, sizeof(p256_point),
					       NULL) == 1 &&
		       EVP_PKEY_get_raw_public_key(pairs[KEY_ED25519], ed25519_point, &len) == 1 &&
		       EVP_PKEY_get_bn_param(pairs[KEY_RSA2048], "n", &modulus) == 1 &&
		       EVP_PKEY_get_bn_param(pairs[KEY_RSA2048], "e", &exponent) == 1
		   ? 0
		   : -1;
}

static int free_all(void **state)
{
	(void)state;
	csr_spec_release(&spec);
	buf_release(&signature);
	buf_release(&der);
	for (int type = 1; type <= KEY_TYPE_MAX; type++)
		EVP_PKEY_free(pairs[type]);
	BN_free(modulus);
	BN_free(exponent);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_is_made_or_not_F401),
	    cmocka_unit_test(sound_key_is_not_called_weak_F401),
	    cmocka_unit_test(row_that_is_right_does_not_differ_F401),
	};

	ossl_memory_watch();
	return cmocka_run_group_tests(tests, make_all, free_all);
}
