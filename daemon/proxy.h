/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version 2 of the PROXY protocol (HAProxy's proxy-protocol.txt): what a proxy
 * sends before everything else on a connection, to tell whose connection it is.
 * It is believed, so it is read only from peers that [http] proxy_protocol_from
 * names, and these must send it.
 *
 *   12 bytes   CR LF CR LF NUL CR LF "QUIT" LF
 *    1         version 2 (high half), 0: LOCAL, 1: PROXY
 *    1         0: unspecified, 1: IPv4, 2: IPv6, 3: unix (high half); 0: unspecified, 1: stream, 2: datagram
 *    2         how many bytes follow
 *              addresses of source and destination, their ports; then extensions (TLVs), which are skipped
 */
#ifndef CSRD_DAEMON_PROXY_H
#define CSRD_DAEMON_PROXY_H

#include "base/address.h"

#include <stddef.h>
#include <stdint.h>

#define PROXY_HEAD_BYTES 16
#define PROXY_REST_MAX 536
#define PROXY_BYTES_MAX (PROXY_HEAD_BYTES + PROXY_REST_MAX)

enum proxy_state {
	PROXY_MORE = 1, /* not complete yet, nothing wrong so far */
	PROXY_WHOLE,
	PROXY_REFUSED, /* why is set */
	PROXY_ENDED,   /* the peer left, or the connection broke */
};

struct proxy {
	/*
	 * The peer's client.  ADDRESS_NONE: the peer speaks for itself (LOCAL, as a health check does), or
	 * for somebody without an address of IPv4 or IPv6.
	 */
	struct address source;
	uint16_t port;
	const char *why; /* static text, fit for the peer */
	size_t len;
	uint8_t bytes[PROXY_BYTES_MAX]; /* so far */
};

void proxy_init(struct proxy *p);

/* Reads what has arrived on the non-blocking socket, and not one byte of what stands behind the header. */
enum proxy_state proxy_read(struct proxy *p, int fd);

/* The next step of that: `len` bytes were put at p->bytes + p->len, proxy_missing() of them at most. */
enum proxy_state proxy_take(struct proxy *p, size_t len);
size_t proxy_missing(const struct proxy *p);

/*
 * Of bytes that are no request: why not, if they begin a header of this protocol
 * that nobody has asked for; else NULL.
 */
const char *proxy_unasked(const char *bytes, size_t len);

#endif
