/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs as certificates have them (RFC 5280 §4.2.1.6: absolute, an authority
 * names a host): scheme://host[:port]… by the grammar of RFC 3986, without user
 * information, or urn:NID:NSS (RFC 8141 §2).
 */
#ifndef CSRD_API_SAN_URI_H
#define CSRD_API_SAN_URI_H

#include "api/san_host.h"
#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

/*
 * ret_host: a name, or an address without brackets; "" when a URN.  E_INVAL:
 * *ret_fault says what is wrong, in words that follow the value.  E_NOMEM.
 */
MUST_USE enum err san_uri_check(const char *value, char ret_host[SAN_HOST_SIZE], const char **ret_fault);

/* Bytes at the front of a valid one whose case does not matter (RFC 3986 §6.2.2.1, RFC 8141 §3.1). */
size_t san_uri_caseless_len(const char *value);

#endif
