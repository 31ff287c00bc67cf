/* SPDX-License-Identifier: Apache-2.0 */
/* PEM to certificate and key; the key's bytes are read into locked memory. */
#include "tls/tls_identity.h"

#include "base/secret.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_BYTES_MAX 16384

static const char *tls_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "unknown error";
}

static enum err identity_refuse(struct buf *why, const char *key, const char *path, const char *text)
{
	buf_printf(why, "[http] %s '%s': %s", key, path, text);
	ERR_clear_error();
	return E_CONFIG;
}

/* In place of OpenSSL's own, which would ask on the terminal. */
static int identity_no_passphrase(char *to, int size, int writes, void *is_encrypted)
{
	(void)to;
	(void)size;
	(void)writes;
	*(bool *)is_encrypted = true;
	return -1;
}

/* The first certificate of the file is the server's; those of its issuers follow. */
static enum err identity_read_certificates(struct tls_identity *identity, const char *path, struct buf *why)
{
	BIO *file = BIO_new_file(path, "r");
	bool is_encrypted = false; /* which nobody does with certificates */
	X509 *issuer;

	if (!file) {
		buf_printf(why,
			   "[http] tls_certificate '%s': cannot open: %s; it must be readable by csrd's user",
			   path, strerror(errno));
		ERR_clear_error();
		return E_CONFIG;
	}
	identity->certificate = PEM_read_bio_X509(file, NULL, identity_no_passphrase, &is_encrypted);
	while (identity->certificate &&
	       (issuer = PEM_read_bio_X509(file, NULL, identity_no_passphrase, &is_encrypted))) {
		if (!sk_X509_push(identity->issuers, issuer)) {
			X509_free(issuer);
			BIO_free(file);
			return E_NOMEM;
		}
	}
	BIO_free(file);
	if (!identity->certificate)
		return identity_refuse(
		    why, "tls_certificate", path,
		    "holds no certificate; PEM is accepted: the server's certificate, then those of "
		    "its issuers");
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return identity_refuse(why, "tls_certificate", path,
				       "a certificate behind the first one is damaged; PEM is accepted");
	ERR_clear_error();
	return E_OK;
}

static enum err identity_refuse_key_file(const char *path, enum err e, struct buf *why)
{
	int error = errno;

	if (e == E_NOMEM)
		return e;
	if (e == E_DENIED)
		return identity_refuse(
		    why, "tls_key", path,
		    "is not readable, or is open to others; give it to csrd's user with mode 0600, or "
		    "to csrd's group with 0640");
	if (e == E_NOTFOUND)
		return identity_refuse(why, "tls_key", path, "there is no such file");
	if (e == E_INVAL)
		return identity_refuse(why, "tls_key", path,
				       "is empty, or no regular file; a private key in PEM is accepted");
	if (e == E_LIMIT)
		return identity_refuse(why, "tls_key", path,
				       "is longer than a private key; one in PEM is accepted");
	return identity_refuse(why, "tls_key", path, strerror(error));
}

static enum err identity_read_key(struct tls_identity *identity, const char *path, struct buf *why)
{
	struct secret *secret = NULL;
	bool is_encrypted = false;
	enum err e = secret_read_file(path, KEY_BYTES_MAX, &secret);
	BIO *bytes;

	if (e != E_OK)
		return identity_refuse_key_file(path, e, why);
	bytes = BIO_new_mem_buf(secret_bytes(secret), (int)secret_len(secret));
	if (bytes)
		identity->key = PEM_read_bio_PrivateKey(bytes, NULL, identity_no_passphrase, &is_encrypted);
	e = bytes ? E_OK : E_NOMEM;
	BIO_free(bytes);
	secret_free(secret);
	if (e != E_OK)
		return e;
	if (is_encrypted)
		return identity_refuse(
		    why, "tls_key", path,
		    "is encrypted, and there is nobody to ask for the passphrase; decrypt it with 'openssl "
		    "pkey', or hand it over as a systemd credential");
	if (!identity->key)
		return identity_refuse(why, "tls_key", path, "holds no private key; one in PEM is accepted");
	return E_OK;
}

enum err tls_identity_load(const char *certificate_path, const char *key_path, struct buf *why,
			   struct tls_identity **ret_identity)
{
	struct tls_identity *identity = calloc(1, sizeof(*identity));
	enum err e = E_NOMEM;

	ERR_clear_error();
	if (!identity || !(identity->issuers = sk_X509_new_null()))
		goto out;
	e = identity_read_certificates(identity, certificate_path, why);
	if (e == E_OK)
		e = identity_read_key(identity, key_path, why);
	if (e == E_OK && X509_check_private_key(identity->certificate, identity->key) != 1)
		e = identity_refuse(
		    why, "tls_key", key_path,
		    ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH ||
			    ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_TYPE_MISMATCH
			? "is not the key of the first certificate in tls_certificate; put the "
			  "server's own certificate first, and the two files from the same renewal"
			: tls_reason());
	if (e == E_OK) {
		*ret_identity = identity;
		identity = NULL;
	}
out:
	tls_identity_free(identity);
	return e;
}

void tls_identity_free(struct tls_identity *identity)
{
	if (!identity)
		return;
	X509_free(identity->certificate);
	sk_X509_pop_free(identity->issuers, X509_free);
	EVP_PKEY_free(identity->key);
	free(identity);
}

int tls_identity_days_left(const X509 *certificate)
{
	int days = 0, seconds = 0;

	(void)ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate));
	return days < 0 || seconds < 0 ? (days < 0 ? days : -1) : days;
}

uint64_t tls_identity_end_s(const X509 *certificate)
{
	struct tm end = {0};
	time_t end_s = 0;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1)
		end_s = timegm(&end);
	return end_s > 0 ? (uint64_t)end_s : 0;
}
