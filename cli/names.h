/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words that people know principals, accounts and zones by.  The store
 * keeps ids wherever one of them is meant, since names may change and need not
 * be unique; people are shown the name, and may give it where it is unique.
 */
#ifndef CSRD_CLI_NAMES_H
#define CSRD_CLI_NAMES_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/exit_code.h"
#include "cli/cli.h"

struct names;

/* All of them, as they are now.  Says what is wrong. */
MUST_USE enum exit_code names_load(struct cli *cli, struct names **ret_names);
void names_free(struct names *names); /* NULL is fine */

/* NULL when there is none, or it has no name. */
const char *names_of_scope(const struct names *names, enum store_scope_kind kind, const char *id);
const char *names_of_principal(const struct names *names, const char *id);

/* "Payments", "zone example.com"; with the id where there is no name. */
void names_format_scope(const struct names *names, const struct store_scope *scope, struct buf *b);
/* "Payments:write, zone example.com:read" */
void names_format_grants(const struct names *names, const struct principal *p, struct buf *b);
/* "token 'ci'", "user a@example.com", or the actor as it is. */
void names_format_actor(const struct names *names, const char *actor, struct buf *b);
/* The same, followed by the id of a principal. */
void names_format_actor_whole(const struct names *names, const char *actor, struct buf *b);

/* By id, by a unique name, or by the first characters of an id if they are unique.  These functions say what
 * is wrong. */
MUST_USE enum exit_code names_find_scope(const struct names *names, enum store_scope_kind kind,
					 const char *text, struct store_scope *ret_scope);
MUST_USE enum exit_code names_find_principal(const struct names *names, const char *text,
					     char ret_id[CSR_ID_SIZE]);
/* Of any kind that the audit trail knows; CSRs by their whole id. */
MUST_USE enum exit_code names_find_object(const struct names *names, const char *text,
					  char ret_id[CSR_ID_SIZE]);

#endif
