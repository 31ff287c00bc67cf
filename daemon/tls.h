/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.2 and 1.3 for the doors of [http] listen_tls: the certificate and key in
 * use, and connections made with them.
 *
 * Both files are looked at every few seconds.  When they have changed and then
 * stood still for one look, they are read again; a pair that cannot be used leaves
 * the one in use as it is, with a line in the log.  Established connections
 * go on as they are; new ones get the new certificate.
 */
#ifndef CSRD_DAEMON_TLS_H
#define CSRD_DAEMON_TLS_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdint.h>

struct bufferevent;
struct event_base;
struct tls;

/* `config` is borrowed for the life.  Logs the cause of a failure: E_CONFIG, E_NOMEM, E_IO. */
MUST_USE enum err tls_new(struct event_base *base, const struct config_http *config, struct tls **ret_tls);
void tls_free(struct tls *tls); /* after the last connection; NULL is fine */

/* Reads both files again now. */
void tls_reload(struct tls *tls);

/*
 * Takes an accepted socket on which a handshake is to begin: BEV_EVENT_CONNECTED
 * tells of its end.  NULL when out of memory, and the socket is still the caller's.
 */
struct bufferevent *tls_accept(struct tls *tls, int fd);

/* Why the handshake failed, for the log; never NULL. */
const char *tls_failure(struct bufferevent *bev);

/* How a handshake ended; one that was resumed took a ticket. */
enum tls_outcome {
	TLS_FULL_1_2,
	TLS_FULL_1_3,
	TLS_RESUMED_1_2,
	TLS_RESUMED_1_3,
	TLS_FAILED,
	TLS_TIMED_OUT,
	TLS_OUTCOMES
};

/* A handshake is over, as BEV_EVENT_CONNECTED told. */
void tls_succeeded(struct tls *tls, struct bufferevent *bev);
/* TLS_FAILED or TLS_TIMED_OUT: it will not succeed any more. */
void tls_failed(struct tls *tls, enum tls_outcome outcome);

struct tls_figures {
	uint64_t handshakes[TLS_OUTCOMES];
	uint64_t certificate_end_s; /* of the one in use, in seconds since 1970 */
};
void tls_figures(const struct tls *tls, struct tls_figures *ret_figures);

/* Tells the peer that nothing more follows (close_notify), as far as it can be sent at once. */
void tls_say_end(struct bufferevent *bev);

#endif
