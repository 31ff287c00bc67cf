/* SPDX-License-Identifier: Apache-2.0 */
/* Names and addresses that are not for everybody. */
#include "api/san_public.h"

#include "api/san_host.h"
#include "api/san_suffixes.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Names that are never delegated: RFC 2606, 6761, 6762 (and its appendix G), 7686, 8375, 9476;
 * ICANN for "internal".
 */
static const char *const reserved_names[] = {
    "test",      "example", "invalid", "localhost", "local", "onion",    "alt",     "internal",
    "home.arpa", "home",    "corp",    "mail",      "lan",   "intranet", "private", "localdomain",
};

/*
 * What the registries of special-purpose addresses (RFC 6890) do not call
 * globally reachable, and multicast.
 */
static const struct block {
	const char *prefix;
	unsigned bits;
	const char *use;
} special_blocks[] = {
    {"0.0.0.0", 8, "this network"},
    {"10.0.0.0", 8, "private use"},
    {"100.64.0.0", 10, "shared address space"},
    {"127.0.0.0", 8, "loopback"},
    {"169.254.0.0", 16, "link-local"},
    {"172.16.0.0", 12, "private use"},
    {"192.0.0.0", 24, "protocol assignments"},
    {"192.0.2.0", 24, "documentation"},
    {"192.88.99.0", 24, "6to4 relays"},
    {"192.168.0.0", 16, "private use"},
    {"198.18.0.0", 15, "benchmarks"},
    {"198.51.100.0", 24, "documentation"},
    {"203.0.113.0", 24, "documentation"},
    {"224.0.0.0", 4, "multicast"},
    {"240.0.0.0", 4, "reserved"},
    {"2001::", 23, "protocol assignments"},
    {"2001:db8::", 32, "documentation"},
    {"2002::", 16, "6to4"},
    {"3fff::", 20, "documentation"},
};
/* IPv6 outside of it is loopback, unique local, link-local, multicast, mapped, or not assigned. */
static const struct block global_unicast = {"2000::", 3, NULL};

static bool public_block_holds(const struct block *block, int family, const unsigned char octets[16])
{
	unsigned char prefix[16];
	int prefix_family = AF_UNSPEC;
	size_t bytes = block->bits / 8;
	unsigned char mask = (unsigned char)(0xff00u >> block->bits % 8);
	bool is_address = san_host_is_address(block->prefix, &prefix_family, prefix);

	assert(is_address);
	return is_address && prefix_family == family && memcmp(prefix, octets, bytes) == 0 &&
	       (prefix[bytes] & mask) == (octets[bytes] & mask);
}

static enum problem_code public_check_address(int family, const unsigned char octets[16],
					      char why[SAN_WHY_SIZE])
{
	for (size_t i = 0; i < LEN(special_blocks); i++) {
		const struct block *block = &special_blocks[i];

		if (public_block_holds(block, family, octets)) {
			snprintf(why, SAN_WHY_SIZE,
				 "is in %s/%u (%s), which is not public; send a public address",
				 block->prefix, block->bits, block->use);
			return PROBLEM_SAN_RESERVED;
		}
	}
	if (family == AF_INET6 && !public_block_holds(&global_unicast, family, octets)) {
		snprintf(why, SAN_WHY_SIZE, "is not a global IPv6 address (2000::/3); send a public address");
		return PROBLEM_SAN_RESERVED;
	}
	return PROBLEM_NONE;
}

static bool public_name_ends_in(const char *lower_name, const char *parent)
{
	size_t len = strlen(lower_name);
	size_t parent_len = strlen(parent);

	if (len < parent_len || strcmp(lower_name + len - parent_len, parent) != 0)
		return false;
	return len == parent_len || lower_name[len - parent_len - 1] == '.';
}

enum problem_code san_public_check(const char *host, const struct san_policy *policy, char why[SAN_WHY_SIZE])
{
	unsigned char octets[16];
	char name[SAN_HOST_SIZE];
	size_t i = 0;
	int family;

	if (san_host_is_address(host, &family, octets))
		return public_check_address(family, octets, why);
	for (; host[i] != '\0' && i + 1 < sizeof(name); i++)
		name[i] = str_ascii_lower(host[i]);
	name[i] = '\0';
	if (!strchr(name, '.')) {
		snprintf(why, SAN_WHY_SIZE,
			 "is a single label, which is not a public name; send the full name");
		return PROBLEM_SAN_RESERVED;
	}
	for (i = 0; i < LEN(reserved_names); i++) {
		if (public_name_ends_in(name, reserved_names[i])) {
			snprintf(why, SAN_WHY_SIZE,
				 "ends in the reserved name '%s', which is not public; send a public name",
				 reserved_names[i]);
			return PROBLEM_SAN_RESERVED;
		}
	}
	if (public_name_ends_in(name, "example.com") || public_name_ends_in(name, "example.net") ||
	    public_name_ends_in(name, "example.org")) {
		snprintf(why, SAN_WHY_SIZE, "is in a domain for documentation only; send a name of your own");
		return PROBLEM_SAN_EXAMPLE;
	}
	if (policy->suffixes && san_suffixes_has(policy->suffixes, name)) {
		snprintf(why, SAN_WHY_SIZE,
			 "is a public suffix, under which others register their names; "
			 "send a name registered under it");
		return PROBLEM_SAN_PUBLIC_SUFFIX;
	}
	return PROBLEM_NONE;
}
