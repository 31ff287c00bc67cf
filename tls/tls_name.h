/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a client certificate names.  Its subject alternative names of the types
 * URI, DNS and e-mail address count, all of them; only where it has none of
 * these, its subject does.
 *
 * A subject is compared as the text of RFC 4514 (the last element first), with
 * short names for the attributes that OpenSSL knows, in lower case, and with one
 * blank where there are several.
 */
#ifndef CSRD_TLS_TLS_NAME_H
#define CSRD_TLS_TLS_NAME_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/identity.h"

#include <openssl/x509.h>

/*
 * The names of a verified certificate, in the form in which they are compared,
 * and its serial number as evidence.  One that names nobody has a `lack`.
 * E_NOMEM.
 */
MUST_USE enum err tls_name_certificate(const X509 *certificate, struct peer **ret_peer);

/* Reads a subject as people write it, such as "CN=build-7,O=Example AB".  E_INVAL, and `why` holds what is
   wrong and what is accepted; E_NOMEM. */
MUST_USE enum err tls_name_parse_subject(const char *text, struct buf *normal, struct buf *why);

/* "subject 'CN=build-7', serial 0A1B, issuer 'CN=Example CA'", for the log. */
void tls_name_describe(const X509 *certificate, struct buf *b);
/* "CN=Example CA", for the log. */
void tls_name_put(struct buf *b, const X509_NAME *name);

#endif
