/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of IPv4 and IPv6 and networks of them: the one parser and the one
 * formatter.  Names are never looked up.
 *
 * An IPv4 address that is written or met as IPv6 ("::ffff:192.0.2.1") is the IPv4
 * address, so no address has two forms, and no rule about 192.0.2.1 is passed by
 * writing it otherwise.
 */
#ifndef CSRD_BASE_ADDRESS_H
#define CSRD_BASE_ADDRESS_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum address_family {
	ADDRESS_NONE = 0, /* not known */
	ADDRESS_UNIX,     /* a unix socket, whatever its path */
	ADDRESS_V4,
	ADDRESS_V6,
};

/* Without padding, and zero behind the octets that its family has: its bytes can be compared and hashed. */
struct address {
	uint8_t family; /* enum address_family */
	uint8_t octets[16];
};

struct address_net {
	struct address address; /* zero behind the prefix */
	uint8_t bits;           /* of the prefix; 0 of ADDRESS_UNIX */
};

#define ADDRESS_SIZE 46      /* as INET6_ADDRSTRLEN */
#define ADDRESS_PORT_SIZE 54 /* "[…]:65535" */
#define ADDRESS_NET_SIZE 50  /* "…/128" */
#define ADDRESS_BITS_V4 32
#define ADDRESS_BITS_V6 128

/*
 * "192.0.2.1", "2001:db8::1".  No brackets, blanks, zone ("%eth0"), leading zeros of a decimal part (which
 * some read as octal), nor parts left out ("10.1").  False: it is none; ret_address is as it was.
 */
MUST_USE bool address_parse(const char *text, struct address *ret_address);

/* "192.0.2.1:80", "[2001:db8::1]:80"; the port is decimal, 0 to 65535. */
MUST_USE bool address_parse_port(const char *text, struct address *ret_address, uint16_t *ret_port);

/*
 * "192.0.2.0/24", "2001:db8::/32", or one address.  E_INVAL: `why` holds what is wrong and what is accepted,
 * as in "'10.1.2.3/8' has bits set behind its prefix, it must be 10.0.0.0/8".
 */
MUST_USE enum err address_net_parse(const char *text, struct buf *why, struct address_net *ret_net);

/* RFC 5952; "unix" and "unknown" for the families without octets. */
void address_format(const struct address *a, char text[ADDRESS_SIZE]);
void address_format_port(const struct address *a, uint16_t port, char text[ADDRESS_PORT_SIZE]);
/* One address without its bits. */
void address_net_format(const struct address_net *net, char text[ADDRESS_NET_SIZE]);

/* By family, then by octets; as memcmp(3). */
int address_compare(const struct address *a, const struct address *b);

/* Of another family: false; ::/0 holds no IPv4 address. */
bool address_is_in(const struct address *a, const struct address_net *net);
bool address_is_in_any(const struct address *a, const struct address_net *nets, size_t len);

/* 127.0.0.0/8, ::1. */
bool address_is_loopback(const struct address *a);
/* 0.0.0.0, :: */
bool address_is_any(const struct address *a);

/* Its first `bits`, zero behind them. */
struct address address_cut(const struct address *a, unsigned bits);

/* From accept(2) and its kin; ret_port is 0 where there is none.  ADDRESS_NONE for other families. */
struct address address_of_socket(const struct sockaddr *sa, uint16_t *ret_port);

/* For bind(2) and connect(2); `a` is of ADDRESS_V4 or ADDRESS_V6. */
void address_to_socket(const struct address *a, uint16_t port, struct sockaddr_storage *ret_sa,
		       socklen_t *ret_len);

#endif
