/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names as certificates have them: LDH labels of 1–63 characters
 * (RFC 1123 §2.1), 253 in all, no dot at the end; labels that begin with
 * "xn--" are A-labels of IDNA2008 (RFC 5890 to 5893); the last label is not a
 * number, so nothing that a URL parser would read as IPv4 is a name.
 */
#ifndef CSRD_API_SAN_HOST_H
#define CSRD_API_SAN_HOST_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>

#define SAN_HOST_MAX_CHARS 253
#define SAN_HOST_SIZE (SAN_HOST_MAX_CHARS + 1)

/*
 * may_underscore: an underscore counts as a letter.  E_INVAL: *ret_fault says what is wrong and the remedy,
 * in words that follow the name.  E_NOMEM.
 */
MUST_USE enum err san_host_check(const char *name, bool may_underscore, const char **ret_fault);

/*
 * The A-labels of a name as people type it: mapped as browsers do (UTS #46,
 * so in lower case), then checked as above.  E_NOTFOUND when the text cannot be
 * made a name; E_NOMEM.
 */
MUST_USE enum err san_host_to_ascii(const char *text, char ret_name[SAN_HOST_SIZE]);

/* IPv4 in four decimal parts or IPv6 without zone (inet_pton). */
bool san_host_is_address(const char *text, int *ret_family, unsigned char ret_octets[16]);

#endif
