/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of session tickets: one that new tickets are made with, and the one
 * before, which is still honoured.  A key lives for an hour and is honoured for one
 * more; it exists in memory only, so a ticket is worth nothing after a restart.
 */
#ifndef CSRD_DAEMON_TLS_TICKET_H
#define CSRD_DAEMON_TLS_TICKET_H

#include "base/attr.h"
#include "base/err.h"

#include <openssl/ssl.h>

#define TLS_TICKET_LIFE_S 3600

struct tls_tickets;

MUST_USE enum err tls_tickets_new(struct tls_tickets **ret_tickets); /* E_NOMEM; E_IO: no randomness */
void tls_tickets_free(struct tls_tickets *tickets);                  /* NULL is fine */

/* Tickets of earlier keys are worth nothing any more. */
MUST_USE enum err tls_tickets_forget(struct tls_tickets *tickets);

/* Makes `context` use them; `tickets` must outlive it. */
MUST_USE enum err tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *context);

#endif
