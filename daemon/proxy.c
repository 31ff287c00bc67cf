/* SPDX-License-Identifier: Apache-2.0 */
/* The header of the PROXY protocol, version 2. */
#include "daemon/proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define VERSION_1 "PROXY "
#define LEN(array) (sizeof(array) / sizeof((array)[0]))

enum proxy_command { PROXY_LOCAL = 0, PROXY_PROXY = 1 };
enum proxy_transport { PROXY_STREAM = 1, PROXY_DATAGRAM = 2 };

static const uint8_t signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

/* By the number that stands for it: the bytes of its addresses and ports, and where the source's port is. */
static const struct {
	size_t len;
	size_t port_at;
} families[] = {{0, 0}, {12, 8}, {36, 32}, {216, 0}};

void proxy_init(struct proxy *p)
{
	memset(p, 0, sizeof(*p));
}

static enum proxy_state proxy_refuse(struct proxy *p, const char *why)
{
	p->why = why;
	return PROXY_REFUSED;
}

static size_t proxy_rest(const struct proxy *p)
{
	return (size_t)p->bytes[14] << 8 | p->bytes[15];
}

size_t proxy_missing(const struct proxy *p)
{
	size_t whole = p->len < PROXY_HEAD_BYTES ? PROXY_HEAD_BYTES : PROXY_HEAD_BYTES + proxy_rest(p);

	return whole - p->len;
}

/* It has told whose connection it is. */
static void proxy_take_source(struct proxy *p, unsigned family)
{
	const uint8_t *at = p->bytes + PROXY_HEAD_BYTES;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};

	if (family == 1) {
		memcpy(&four.sin_addr, at, sizeof(four.sin_addr));
		memcpy(&four.sin_port, at + families[family].port_at, sizeof(four.sin_port));
		p->source = address_of_socket((const struct sockaddr *)&four, &p->port);
	} else if (family == 2) {
		memcpy(&six.sin6_addr, at, sizeof(six.sin6_addr));
		memcpy(&six.sin6_port, at + families[family].port_at, sizeof(six.sin6_port));
		p->source = address_of_socket((const struct sockaddr *)&six, &p->port);
	}
}

static enum proxy_state proxy_check_head(struct proxy *p)
{
	unsigned version = p->bytes[12] >> 4, command = p->bytes[12] & 15;
	unsigned family = p->bytes[13] >> 4, transport = p->bytes[13] & 15;

	if (version != 2)
		return proxy_refuse(p, "this version of the PROXY protocol is not spoken, send version 2");
	if (command > PROXY_PROXY)
		return proxy_refuse(p, "the command of the PROXY protocol header is neither LOCAL nor PROXY");
	if (family >= LEN(families) || transport > PROXY_DATAGRAM)
		return proxy_refuse(p, "the address family of the PROXY protocol header is not known");
	if (command == PROXY_PROXY && transport == PROXY_DATAGRAM)
		return proxy_refuse(p, "the PROXY protocol header tells of datagrams");
	if (proxy_rest(p) > PROXY_REST_MAX)
		return proxy_refuse(p, "the PROXY protocol header is longer than 552 bytes");
	if (command == PROXY_PROXY && proxy_rest(p) < families[family].len)
		return proxy_refuse(p, "the PROXY protocol header is too short for its addresses");
	return PROXY_MORE;
}

enum proxy_state proxy_take(struct proxy *p, size_t len)
{
	size_t before = p->len, seen;

	p->len += len;
	seen = p->len < sizeof(signature) ? p->len : sizeof(signature);
	if (memcmp(p->bytes, signature, seen) != 0) {
		seen = p->len < strlen(VERSION_1) ? p->len : strlen(VERSION_1);
		return proxy_refuse(p, memcmp(p->bytes, VERSION_1, seen) == 0
					   ? "version 1 of the PROXY protocol is not spoken, send version 2 "
					     "(HAProxy: send-proxy-v2)"
					   : "a PROXY protocol header, version 2, is expected from this "
					     "address ([http] proxy_protocol_from)");
	}
	if (before < PROXY_HEAD_BYTES && p->len >= PROXY_HEAD_BYTES && proxy_check_head(p) == PROXY_REFUSED)
		return PROXY_REFUSED;
	if (proxy_missing(p) > 0)
		return PROXY_MORE;
	if ((p->bytes[12] & 15) == PROXY_PROXY && (p->bytes[13] & 15) == PROXY_STREAM)
		proxy_take_source(p, p->bytes[13] >> 4);
	return PROXY_WHOLE;
}

enum proxy_state proxy_read(struct proxy *p, int fd)
{
	enum proxy_state s = PROXY_MORE;
	ssize_t got;

	while (s == PROXY_MORE) {
		got = recv(fd, p->bytes + p->len, proxy_missing(p), MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return PROXY_MORE;
		if (got <= 0)
			return PROXY_ENDED;
		s = proxy_take(p, (size_t)got);
	}
	return s;
}

const char *proxy_unasked(const char *bytes, size_t len)
{
	if (len > 4 && memcmp(bytes, signature, len < sizeof(signature) ? len : sizeof(signature)) == 0)
		return "the PROXY protocol is not spoken with this address, which [http] proxy_protocol_from "
		       "does not name";
	if (len >= strlen(VERSION_1) && memcmp(bytes, VERSION_1, strlen(VERSION_1)) == 0)
		return "the PROXY protocol is not spoken with this address, and version 1 with none";
	return NULL;
}
