/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F40.  The input chooses the fields of a subject and the names: what csr_check
 * takes becomes a request that OpenSSL's own X509_REQ, by csr_proof, finds equal in
 * each field, and that it encodes as the same bytes; and I5's check refuses it
 * with any one bit changed.
 */
#include "api/csr_proof.h"
#include "hsm/message.h"
#include "hsm/signer/csr/csr_build.h"
#include "hsm/signer/csr/csr_check.h"
#include "hsm/signer/csr/csr_verify.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

static EVP_PKEY *pair;
static struct spki *spki;

static enum err sign(void *arg, const uint8_t *data, size_t len, struct buf *signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t bytes[256];
	size_t bytes_len = sizeof(bytes);

	(void)arg;
	FUZZ_CHECK(EVP_DigestSignInit(ctx, NULL, NULL, NULL, pair) == 1);
	FUZZ_CHECK(EVP_DigestSign(ctx, bytes, &bytes_len, data, len) == 1);
	EVP_MD_CTX_free(ctx);
	buf_put(signature, bytes, bytes_len);
	return buf_status(signature);
}

/* Up to the next byte 0xff, which is in no UTF-8. */
static char *take_text(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size ? memchr(*data, 0xff, *size) : NULL;
	size_t len = end ? (size_t)(end - *data) : *size;
	char *text = fuzz_text(*data, len);

	*data += len + (end != NULL);
	*size -= len + (end != NULL);
	return text;
}

static void differs(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
	abort();
}

static void compare(const struct csr_spec *spec, const struct buf *der)
{
	struct csr_record record = {.spec = *spec};
	const unsigned char *at = der->data;
	X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der->len);
	BIO *bio = BIO_new(BIO_s_mem());
	unsigned char *again = NULL;
	char *pem;
	long len;

	FUZZ_CHECK(request && at == der->data + der->len);
	FUZZ_CHECK(i2d_X509_REQ(request, &again) == (int)der->len && memcmp(again, der->data, der->len) == 0);
	FUZZ_CHECK(PEM_write_bio_X509_REQ(bio, request) == 1);
	len = BIO_get_mem_data(bio, &pem);
	record.pem = fuzz_text((const uint8_t *)pem, (size_t)len);
	memcpy(record.spki_sha256, spki->sha256, sizeof(record.spki_sha256));
	FUZZ_CHECK(csr_proof(&record, differs, NULL) == E_OK);
	free(record.pem);
	OPENSSL_free(again);
	BIO_free(bio);
	X509_REQ_free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct csr_build_signer signer = {.sign = sign};
	struct csr_spec spec = {.key_type = KEY_ED25519};
	size_t bit = fuzz_byte(&data, &size);
	const char *reason = NULL;
	struct buf der;

	if (!pair)
		FUZZ_CHECK((pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")) &&
			   spki_new(pair, &spki) == E_OK);
	bit = bit << 8 | fuzz_byte(&data, &size);
	spec.country = take_text(&data, &size);
	spec.state = take_text(&data, &size);
	spec.locality = take_text(&data, &size);
	spec.organization = take_text(&data, &size);
	spec.common_name = take_text(&data, &size);
	if (fuzz_byte(&data, &size) & 1)
		spec.organizational_unit = take_text(&data, &size);
	while (size > 0 && spec.sans_len < CSR_SANS_MAX) {
		enum san_type type = 1 + fuzz_byte(&data, &size) % SAN_TYPE_MAX;
		char *value = take_text(&data, &size);

		FUZZ_CHECK(csr_spec_add_san(&spec, type, value) == E_OK);
		free(value);
	}
	buf_init(&der, MESSAGE_DER_MAX);
	if (csr_check(&spec, &reason) == E_OK) {
		FUZZ_CHECK(csr_build(&spec, spki, &signer, &der, &reason) == E_OK);
		compare(&spec, &der);
		bit %= der.len * 8;
		der.data[bit / 8] = (uint8_t)(der.data[bit / 8] ^ 1u << bit % 8);
		FUZZ_CHECK(csr_verify_der(der.data, der.len, &spec, spki, &reason) == E_HSM);
	} else {
		FUZZ_CHECK(reason && reason[0]);
	}
	buf_release(&der);
	csr_spec_release(&spec);
	return 0;
}
