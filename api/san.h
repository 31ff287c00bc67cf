/*
 * Subject alternative names: from the text that a caller sent to a type, or to
 * what is wrong with it.  The text itself is never changed.
 *
 *   dns    LDH labels of 1–63 characters (RFC 1123 §2.1), 253 in all, no dot at the end;
 *          one "*." in front (RFC 9525 §6.3); A-labels ("xn--") must decode (RFC 3492);
 *          the last label must not be a number, so nothing that reads as IPv4 is a DNS name
 *   ip     IPv4 in four decimal parts or IPv6 (RFC 4291 §2.2), without zone
 *   email  local@domain in ASCII, the local part a dot-atom (RFC 5321 §4.1.2)
 *   uri    scheme://host…, or urn:… (RFC 5280 §4.2.1.6: absolute)
 */
#ifndef CSRD_API_SAN_H
#define CSRD_API_SAN_H

#include "api/problem.h"
#include "base/attr.h"
#include "base/csr.h"

#include <stdbool.h>
#include <stddef.h>

/* The Public Suffix List. */
struct san_suffixes;

/* The newest that this machine has.  Reads files: for start-up.  E_NOTFOUND when there is none; E_NOMEM. */
MUST_USE enum err san_suffixes_load(struct san_suffixes **ret_suffixes);
void san_suffixes_free(struct san_suffixes *suffixes); /* NULL is fine */

struct san_policy {
	unsigned types;                      /* SAN_TYPE_BIT set */
	bool public_names_only;
	const struct san_suffixes *suffixes; /* NULL: that check is left out */
};

#define SAN_WHY_SIZE 160

/* PROBLEM_NONE and *ret_type; or one of 1412–1416 and why, which may hold a part of the (ASCII) value. */
MUST_USE enum problem_code san_check(const char *value, const struct san_policy *policy,
				     char why[SAN_WHY_SIZE], enum san_type *ret_type);

/* True when both stand for the same name: by address for ip, without regard to ASCII case for the others. */
bool san_is_same(const struct csr_san *a, const struct csr_san *b);

#endif
