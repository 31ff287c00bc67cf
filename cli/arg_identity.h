/* SPDX-License-Identifier: Apache-2.0 */
/* The options that say what a principal is known by: --cert-san, --cert-subject, --unix-user. */
#ifndef CSRD_CLI_ARG_IDENTITY_H
#define CSRD_CLI_ARG_IDENTITY_H

#include "base/attr.h"
#include "base/identity.h"
#include "cli/cli.h"

/* For the table of getopt_long, and the values that arg_identity_is is asked about. */
#define ARG_IDENTITY_SAN 300
#define ARG_IDENTITY_SUBJECT 301
#define ARG_IDENTITY_USER 302
#define ARG_IDENTITY_OPTIONS                                                                                 \
	{"cert-san", required_argument, NULL, ARG_IDENTITY_SAN},                                             \
	    {"cert-subject", required_argument, NULL, ARG_IDENTITY_SUBJECT},                                 \
	{                                                                                                    \
		"unix-user", required_argument, NULL, ARG_IDENTITY_USER                                      \
	}

bool arg_identity_is(int option);

/* The value of such an option, in the form in which it is compared (owned).  Says what is wrong. */
MUST_USE enum exit_code arg_identity(const struct cli *cli, int option, const char *text,
				     struct identity *ret_identity);

#endif
