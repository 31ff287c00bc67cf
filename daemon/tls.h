/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.2 and 1.3 for the doors of [http] listen_tls: the certificate and key in
 * use, and connections made with them.
 *
 * The files are looked at every few seconds.  When they have changed and then
 * stood still for one look, they are read again; what cannot be used leaves
 * what is in use as it is, with a line in the log.  Established connections
 * go on as they are, unless the certificate of the client is not good any more;
 * new ones get the new certificate.
 */
#ifndef CSRD_DAEMON_TLS_H
#define CSRD_DAEMON_TLS_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>
#include <stdint.h>

struct bufferevent;
struct event_base;
struct peer;
struct tls;

/* `config` is borrowed for the life.  Logs the cause of a failure: E_CONFIG, E_NOMEM, E_IO. */
MUST_USE enum err tls_new(struct event_base *base, const struct config_http *config, struct tls **ret_tls);
void tls_free(struct tls *tls); /* after the last connection; NULL is fine */

/* Reads the files again now. */
void tls_reload(struct tls *tls);

/*
 * Takes an accepted socket on which a handshake is to begin: BEV_EVENT_CONNECTED
 * tells of its end.  NULL when out of memory, and the socket is still the caller's.
 */
struct bufferevent *tls_accept(struct tls *tls, int fd);

/* How a handshake ended; one that was resumed took a ticket. */
enum tls_outcome {
	TLS_FULL_1_2,
	TLS_FULL_1_3,
	TLS_RESUMED_1_2,
	TLS_RESUMED_1_3,
	TLS_FAILED,
	TLS_REFUSED, /* for the client's certificate, or the lack of one */
	TLS_TIMED_OUT,
	TLS_OUTCOMES
};

/* A handshake is over, as BEV_EVENT_CONNECTED told. */
void tls_succeeded(struct tls *tls, struct bufferevent *bev);
/* It failed.  True when that was for the client's certificate, of which an alert was sent. */
bool tls_log_failure(struct tls *tls, struct bufferevent *bev, const char *who);
void tls_log_timeout(struct tls *tls, const char *who);

/* After the handshake: whom the client's certificate names (owned); NULL: it showed none.  E_NOMEM. */
MUST_USE enum err tls_peer(struct tls *tls, struct bufferevent *bev, struct peer **ret_peer);

/* Whether that certificate, if there is one, would be accepted now; if not, the log says why. */
bool tls_peer_is_good(struct tls *tls, struct bufferevent *bev, const char *who);

struct tls_figures {
	uint64_t handshakes[TLS_OUTCOMES];
	uint64_t certificate_end_s; /* of the one in use, in seconds since 1970 */
	uint64_t client_ca_end_s;   /* of the CA that ends first; 0: there is none */
	uint64_t client_crl_end_s;  /* the same of the CRLs */
};
void tls_figures(const struct tls *tls, struct tls_figures *ret_figures);

/* Tells the peer that nothing more follows (close_notify), as far as it can be sent at once. */
void tls_say_end(struct bufferevent *bev);

#endif
