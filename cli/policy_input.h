/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of csrctl policy are given: a scope, and JSON from files or standard input. */
#ifndef CSRD_CLI_POLICY_INPUT_H
#define CSRD_CLI_POLICY_INPUT_H

#include "api/policy.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/exit_code.h"
#include "cli/cli.h"

/* The account or zone of a command line: one of them, by id or name. */
struct policy_target {
	const char *account; /* as it was said; NULL: a zone */
	const char *zone;
	struct store_scope scope; /* once it is found */
};

/* Opens the store and finds the scope.  Says what is wrong. */
MUST_USE enum exit_code policy_target_open(struct cli *cli, struct policy_target *target);

/*
 * All of a file, or of standard input for "-".  Before the store is opened, since that may take away the
 * right to read it.  text: initialised, with its ceiling.  Says what is wrong.
 */
MUST_USE enum exit_code policy_input_read(const char *name, struct buf *text);

/* The same, and the policy that it holds.  Says everything that is wrong with that. */
MUST_USE enum exit_code policy_input_parse(const char *name, const struct buf *text,
					   struct policy **ret_policy);

/* The version of a policy, 0 for the one in force; *ret_policy is owned.  E_NOTFOUND is not said. */
MUST_USE enum err policy_input_fetch(struct cli *cli, const struct store_scope *scope, int64_t version,
				     struct policy_record *ret_policy);

#endif
