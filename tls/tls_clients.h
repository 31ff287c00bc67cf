/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which client certificates are good: the CAs that they may come from, and what
 * those have revoked, read from two PEM files and judged.
 */
#ifndef CSRD_TLS_TLS_CLIENTS_H
#define CSRD_TLS_TLS_CLIENTS_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdint.h>

struct tls_clients {
	X509_STORE *store;           /* the CAs, each of them an anchor, and the CRLs */
	STACK_OF(X509_NAME) * names; /* of the CAs, for the client to choose a certificate by */
	char *ca_name;               /* of the CA that ends first */
	uint64_t ca_end_s;           /* when, in seconds since 1970 */
	char *crl_name;              /* the issuer of the CRL that ends first; NULL: there are no CRLs */
	uint64_t crl_begin_s;
	uint64_t
	    crl_end_s; /* from then on no certificate of its issuer is good; UINT64_MAX: it does not say */
};

/*
 * crl_path NULL: nothing is revoked.  With CRLs, each CA of the file must have
 * one, signed by it, or none of its certificates would be good.  On failure
 * E_CONFIG, and `why` names the file, what is wrong and what to do; E_NOMEM.
 */
MUST_USE enum err tls_clients_load(const char *ca_path, const char *crl_path, struct buf *why,
				   struct tls_clients **ret_clients);
void tls_clients_free(struct tls_clients *clients); /* NULL is fine */

/*
 * For X509_STORE_CTX and SSL_CTX_set_verify: as OpenSSL judges, but that a CA of
 * the file needs no CRL of its own issuer.
 */
int tls_clients_on_verify(int ok, X509_STORE_CTX *context);

#endif
