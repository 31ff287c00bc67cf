/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which values the running programs use.  Each reads the file when it starts, and
 * csrd parts of it at a reload as well, so after a change the file and the values
 * in force differ for a while.
 */
#ifndef CSRD_CLI_IN_FORCE_H
#define CSRD_CLI_IN_FORCE_H

#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdbool.h>

struct in_force;

/* Whatever could be found out.  *ret_denied: something could not, for lack of rights.  E_NOMEM. */
MUST_USE enum err in_force_read(const struct config *config, struct in_force **ret_in_force,
				bool *ret_denied);
void in_force_free(struct in_force *in_force); /* NULL is fine */

struct in_force_other {
	char text[1024];  /* "": none */
	char command[80]; /* what puts the file's value in force: "systemctl reload csrd" */
};
/* Whether a running program uses another value of that key than the file has. */
bool in_force_differs(const struct in_force *in_force, const struct config_value *value,
		      struct in_force_other *ret_other);

#endif
