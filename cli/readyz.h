/* SPDX-License-Identifier: Apache-2.0 */
/* One query to csrd over HTTP: GET /readyz. */
#ifndef CSRD_CLI_READYZ_H
#define CSRD_CLI_READYZ_H

#include "config/config.h"

enum readyz_state {
	READYZ_UNKNOWN = 0, /* its address does not follow from the configuration (port 0) */
	READYZ_READY,
	READYZ_NOT_READY,   /* detail says what is missing */
	READYZ_UNREACHABLE, /* detail says why */
	READYZ_NO_FAMILY,   /* this machine has no such addresses, so csrd skips it */
};
/* "ready", "not-ready", "unreachable", "unknown", "no-such-family" */
const char *readyz_state_name(enum readyz_state state);

struct readyz {
	enum readyz_state state;
	const char *address; /* of the configuration; borrowed from it */
	char detail[512];    /* "" when there is nothing to say */
};

/* At one address of [http] listen, which is borrowed.  Blocks for at most timeout_ms. */
struct readyz readyz_ask(const struct config *config, const char *address, unsigned timeout_ms);

/* At the first address of [http] listen that this machine has. */
struct readyz readyz_ask_first(const struct config *config, unsigned timeout_ms);

#endif
