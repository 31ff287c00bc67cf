/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at a token from where its signer will be: csrd-hsm -i as a unit of its
 * own with the user, the sandbox and the drop-ins of csrd-hsm@NAME.service.  A
 * module in /home, a missing device or a variable that only a drop-in gives
 * shows up here, but not when root runs csrd-hsm from a shell.
 */
#ifndef CSRD_CLI_SANDBOX_H
#define CSRD_CLI_SANDBOX_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

/* Is it possible: are we root, does systemd run, is there such a unit? */
bool sandbox_is_possible(const char *token);

struct sandbox_look {
	const char *token;
	const char *config_path;
	const char *more;    /* lines for [Service] that the unit lacks so far; NULL: none */
	unsigned timeout_ms; /* after that it is ended */
};

/*
 * Runs it to its end; output and errors as it wrote them.  *ret_status: its
 * exit status, 128 + the signal that ended it, or one of systemd's own, from
 * 200 on, when the sandbox could not be made.  E_NOTFOUND: there is no csrd-hsm
 * beside us; E_UNAVAIL: systemd did not start it; E_TIMEOUT, E_IO (errno kept), E_NOMEM.
 */
MUST_USE enum err sandbox_inspect(const struct sandbox_look *look, struct buf *output, struct buf *errors,
				  int *ret_status);

#endif
