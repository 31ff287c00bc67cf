/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a TLS server shows to its clients, read from two PEM files and judged:
 * the certificate with those of its issuers, and the key that belongs to it.
 */
#ifndef CSRD_TLS_TLS_IDENTITY_H
#define CSRD_TLS_TLS_IDENTITY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <openssl/x509.h>
#include <stdint.h>

/* How long before its end a certificate is worth a warning. */
#define TLS_IDENTITY_WARN_DAYS 30

struct tls_identity {
	X509 *certificate;
	STACK_OF(X509) * issuers; /* in the order of the file; may be empty */
	EVP_PKEY *key;
};

/*
 * The key's file must be closed to others, as that of a PIN.  On failure
 * E_CONFIG, and `why` names the file, what is wrong and what to do; E_NOMEM.
 */
MUST_USE enum err tls_identity_load(const char *certificate_path, const char *key_path, struct buf *why,
				    struct tls_identity **ret_identity);
void tls_identity_free(struct tls_identity *identity); /* NULL is fine */

/* Whole days until the certificate ends; negative once it has ended. */
int tls_identity_days_left(const X509 *certificate);
/* When it ends, in seconds since 1970; 0 for a time before that. */
uint64_t tls_identity_end_s(const X509 *certificate);

#endif
