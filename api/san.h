/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subject alternative names: from the text that a caller sent to a type, or to
 * what is wrong with it.  The text itself is never changed.
 *
 *   dns    a host name (api/san_host.h), one "*." in front (RFC 9525 §6.3)
 *   ip     IPv4 in four decimal parts or IPv6 (RFC 4291 §2.2), without zone
 *   email  local@domain in ASCII, the local part a dot-atom (RFC 5321 §4.1.2)
 *   uri    scheme://host…, or urn:… (api/san_uri.h)
 */
#ifndef CSRD_API_SAN_H
#define CSRD_API_SAN_H

#include "api/problem.h"
#include "api/san_host.h"
#include "base/attr.h"
#include "base/csr.h"

#include <stdbool.h>

struct san_suffixes;

struct san_policy {
	unsigned types;          /* SAN_TYPE_BIT set */
	bool types_are_narrowed; /* by more than [policy] san_types */
	bool may_underscore;     /* in DNS names, unless they must be public */
	bool public_names_only;
	const struct san_suffixes *suffixes; /* NULL: that check is left out */
};

/* Room for what is wrong, and a name to send instead. */
#define SAN_WHY_SIZE 512

/*
 * PROBLEM_NONE and *ret_type; or one of 1412–1416 and why, which is ASCII and
 * continues a sentence that begins with the value; or PROBLEM_UNAVAILABLE when
 * out of memory.
 */
MUST_USE enum problem_code san_check(const char *value, const struct san_policy *policy,
				     char why[SAN_WHY_SIZE], enum san_type *ret_type);

/* "a DNS name", and so on. */
const char *san_type_words(enum san_type type);

/*
 * A common name need not be a host name.  If it looks like one, or like an
 * address, URI or e-mail address, public_names_only applies to it as well: then
 * PROBLEM_COMMON_NAME and why.  PROBLEM_UNAVAILABLE when out of memory.
 */
MUST_USE enum problem_code san_check_common_name(const char *text, const struct san_policy *policy,
						 char why[SAN_WHY_SIZE]);

/*
 * What a common name reads as.  More is taken for a host than is a good SAN: "db_1.internal:8443." as well
 * as the same without port and dot; ret_host is without them, and without "*.".  E_NOTFOUND: it is a text; a
 * single word is one, "localhost" aside.  E_NOMEM.
 */
MUST_USE enum err san_read_common_name(const char *text, enum san_type *ret_type,
				       char ret_host[SAN_HOST_SIZE]);

/*
 * True when both stand for the same name: hosts and schemes without regard to
 * ASCII case, ip by address, the local part of an e-mail address and the path
 * of a URI byte by byte (RFC 5280 §7.4, §7.5).
 */
bool san_is_same(const struct csr_san *a, const struct csr_san *b);
/* The same of two texts, valid or not. */
bool san_names_same(const char *a, const char *b);

bool san_is_ascii(const char *text, size_t len);

#endif
