/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of a TLS connection: its certificate, verified in the
 * handshake, and again as long as the connection lasts.
 *
 * Where certificates are asked for no session is resumed: a ticket would bring
 * back a certificate that was good when it was made.  TLS 1.3 asks in the
 * handshake too, never later.
 */
#ifndef CSRD_DAEMON_TLS_CLIENT_H
#define CSRD_DAEMON_TLS_CLIENT_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/identity.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct tls_clients;

/* Connections of this context ask for a certificate.  E_NOMEM. */
MUST_USE enum err tls_client_ask(SSL_CTX *context, const struct tls_clients *clients, bool is_required);

/*
 * Why a handshake failed, if it was for the client's certificate: what is wrong,
 * and whose it is; borrowed.  Else NULL.  reason: of the error that ended it.
 */
const char *tls_client_refusal(const SSL *ssl, int reason);

/* After the handshake: whom the certificate names.  generation: of the clients that it was judged by.
   E_NOTFOUND: there is none; E_NOMEM. */
MUST_USE enum err tls_client_peer(SSL *ssl, unsigned generation, struct peer **ret_peer);

/*
 * Whether the certificate of that connection would be accepted now.  It is
 * verified anew at most once a minute, and whenever `generation`, which counts the
 * changes of `clients`, is another.  If not, `why` says so as tls_client_refusal does.
 */
bool tls_client_is_good(SSL *ssl, const struct tls_clients *clients, unsigned generation, struct buf *why);

#endif
