/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose request it is, when the peer is a proxy that [http] trusted_proxies
 * names: X-Forwarded-For or Forwarded (RFC 7239), whichever forwarded_header
 * says, never both.
 *
 * Each proxy adds the address of its own peer at the right end, so only what
 * stands to the right of the first address that is not a trusted proxy's was
 * written by trusted ones: that address is the caller's.  What is no address ends
 * the walk, and the proxy that passed it on counts as the caller.
 */
#ifndef CSRD_DAEMON_FORWARDED_H
#define CSRD_DAEMON_FORWARDED_H

#include "base/address.h"

#include <stdbool.h>

struct config_http;
struct head;

/* peer is one of [http] trusted_proxies. */
bool forwarded_is_trusted(const struct config_http *config, const struct address *peer);

/* False: nobody says anything that is believed, and the peer is the caller. */
bool forwarded_find(const struct config_http *config, const struct head *head, const struct address *peer,
		    struct address *ret_caller);

#endif
