/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks. */
#include "base/address.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

_Static_assert(ADDRESS_SIZE >= INET6_ADDRSTRLEN, "each address fits");
_Static_assert(sizeof(struct address) == 17, "no padding");

#define MAPPED_BITS 96 /* of ::ffff:0:0/96 */

static const uint8_t mapped_prefix[MAPPED_BITS / 8] = {[10] = 0xff, [11] = 0xff};

static unsigned address_bits(const struct address *a)
{
	return a->family == ADDRESS_V4 ? ADDRESS_BITS_V4 : a->family == ADDRESS_V6 ? ADDRESS_BITS_V6 : 0;
}

static struct address address_make(enum address_family family, const void *octets, size_t len)
{
	struct address a = {.family = (uint8_t)family};

	memcpy(a.octets, octets, len);
	return a;
}

static struct address address_of_v6(const uint8_t octets[16])
{
	if (memcmp(octets, mapped_prefix, sizeof(mapped_prefix)) == 0)
		return address_make(ADDRESS_V4, octets + sizeof(mapped_prefix), 4);
	return address_make(ADDRESS_V6, octets, 16);
}

/* ---- from text ---- */

/* glibc's inet_pton(3) takes nothing but whole addresses, without leading zeros. */
bool address_parse(const char *text, struct address *ret_address)
{
	uint8_t octets[16];

	if (inet_pton(AF_INET, text, octets) == 1) {
		*ret_address = address_make(ADDRESS_V4, octets, 4);
		return true;
	}
	if (inet_pton(AF_INET6, text, octets) != 1)
		return false;
	*ret_address = address_of_v6(octets);
	return true;
}

bool address_parse_port(const char *text, struct address *ret_address, uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	bool in_brackets = text[0] == '[', has_colons;
	char host[ADDRESS_SIZE];
	struct address a;
	uint64_t port;
	size_t len;

	if (!colon || str_parse_u64(colon + 1, UINT16_MAX, &port) != E_OK)
		return false;
	len = (size_t)(colon - text);
	if (in_brackets && (len < 2 || text[len - 1] != ']'))
		return false;
	len -= in_brackets ? 2 : 0;
	if (len >= sizeof(host))
		return false;
	memcpy(host, text + in_brackets, len);
	host[len] = '\0';
	has_colons = strchr(host, ':') != NULL;
	if (in_brackets != has_colons || !address_parse(host, &a))
		return false;
	*ret_address = a;
	*ret_port = (uint16_t)port;
	return true;
}

static enum err address_refuse_net(const char *text, struct buf *why)
{
	buf_printf(why,
		   "'%s' is not accepted, it must be an address or a network, as in 192.0.2.1, 10.0.0.0/8, "
		   "2001:db8::/32",
		   text);
	return E_INVAL;
}

/* A network of IPv4 addresses may be written as IPv6, too: there it has 96 bits more. */
static bool address_parse_bits(const char *text, bool is_v6_text, const struct address *a, uint8_t *ret_bits)
{
	unsigned folded = is_v6_text && a->family == ADDRESS_V4 ? MAPPED_BITS : 0;
	uint64_t bits;

	if ((text[0] == '0' && text[1] != '\0') ||
	    str_parse_u64(text, address_bits(a) + folded, &bits) != E_OK || bits < folded)
		return false;
	*ret_bits = (uint8_t)(bits - folded);
	return true;
}

enum err address_net_parse(const char *text, struct buf *why, struct address_net *ret_net)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char right[ADDRESS_NET_SIZE], host[ADDRESS_SIZE];
	struct address_net net;
	struct address cut;

	if (len >= sizeof(host))
		return address_refuse_net(text, why);
	memcpy(host, text, len);
	host[len] = '\0';
	if (!address_parse(host, &net.address))
		return address_refuse_net(text, why);
	net.bits = (uint8_t)address_bits(&net.address);
	if (slash && !address_parse_bits(slash + 1, strchr(host, ':'), &net.address, &net.bits))
		return address_refuse_net(text, why);
	cut = address_cut(&net.address, net.bits);
	if (address_compare(&cut, &net.address) != 0) {
		net.address = cut;
		address_net_format(&net, right);
		buf_printf(why, "'%s' has bits set behind its prefix, it must be %s", text, right);
		return E_INVAL;
	}
	*ret_net = net;
	return E_OK;
}

/* ---- to text ---- */

/* glibc's inet_ntop(3) writes what RFC 5952 recommends. */
void address_format(const struct address *a, char text[ADDRESS_SIZE])
{
	if (a->family == ADDRESS_V4)
		(void)inet_ntop(AF_INET, a->octets, text, ADDRESS_SIZE);
	else if (a->family == ADDRESS_V6)
		(void)inet_ntop(AF_INET6, a->octets, text, ADDRESS_SIZE);
	else
		snprintf(text, ADDRESS_SIZE, "%s", a->family == ADDRESS_UNIX ? "unix" : "unknown");
}

void address_format_port(const struct address *a, uint16_t port, char text[ADDRESS_PORT_SIZE])
{
	char host[ADDRESS_SIZE];

	address_format(a, host);
	if (address_bits(a) == 0)
		snprintf(text, ADDRESS_PORT_SIZE, "%s", host);
	else
		snprintf(text, ADDRESS_PORT_SIZE, a->family == ADDRESS_V6 ? "[%s]:%u" : "%s:%u", host,
			 (unsigned)port);
}

void address_net_format(const struct address_net *net, char text[ADDRESS_NET_SIZE])
{
	char host[ADDRESS_SIZE];

	address_format(&net->address, host);
	if (net->bits == address_bits(&net->address))
		snprintf(text, ADDRESS_NET_SIZE, "%s", host);
	else
		snprintf(text, ADDRESS_NET_SIZE, "%s/%u", host, (unsigned)net->bits);
}

/* ---- questions ---- */

int address_compare(const struct address *a, const struct address *b)
{
	return memcmp(a, b, sizeof(*a));
}

struct address address_cut(const struct address *a, unsigned bits)
{
	struct address cut = *a;

	for (size_t i = 0; i < sizeof(cut.octets); i++, bits -= bits < 8 ? bits : 8)
		if (bits < 8)
			cut.octets[i] &= (uint8_t)(0xff00 >> bits);
	return cut;
}

bool address_is_in(const struct address *a, const struct address_net *net)
{
	struct address cut = address_cut(a, net->bits);

	return a->family != ADDRESS_NONE && address_compare(&cut, &net->address) == 0;
}

bool address_is_in_any(const struct address *a, const struct address_net *nets, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (address_is_in(a, &nets[i]))
			return true;
	return false;
}

bool address_is_loopback(const struct address *a)
{
	static const uint8_t one[16] = {[15] = 1};

	return (a->family == ADDRESS_V4 && a->octets[0] == 127) ||
	       (a->family == ADDRESS_V6 && memcmp(a->octets, one, sizeof(one)) == 0);
}

bool address_is_any(const struct address *a)
{
	static const uint8_t zero[16];

	return address_bits(a) > 0 && memcmp(a->octets, zero, sizeof(zero)) == 0;
}

/* ---- sockets ---- */

struct address address_of_socket(const struct sockaddr *sa, uint16_t *ret_port)
{
	struct address none = {.family = ADDRESS_NONE}, local = {.family = ADDRESS_UNIX};
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	*ret_port = 0;
	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&four, sa, sizeof(four));
		*ret_port = ntohs(four.sin_port);
		return address_make(ADDRESS_V4, &four.sin_addr, 4);
	case AF_INET6:
		memcpy(&six, sa, sizeof(six));
		*ret_port = ntohs(six.sin6_port);
		return address_of_v6(six.sin6_addr.s6_addr);
	case AF_UNIX:
		return local;
	default:
		return none;
	}
}

void address_to_socket(const struct address *a, uint16_t port, struct sockaddr_storage *ret_sa,
		       socklen_t *ret_len)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};

	memset(ret_sa, 0, sizeof(*ret_sa));
	if (a->family == ADDRESS_V4) {
		memcpy(&four.sin_addr, a->octets, 4);
		memcpy(ret_sa, &four, sizeof(four));
		*ret_len = sizeof(four);
	} else {
		memcpy(&six.sin6_addr, a->octets, 16);
		memcpy(ret_sa, &six, sizeof(six));
		*ret_len = sizeof(six);
	}
}
