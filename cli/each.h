/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists of the store, row by row: a page is read when the one before has been
 * taken, so none of them is in memory whole.
 *
 * `take` is given rows that are borrowed for the call.  What it returns, unless
 * E_OK, ends the list and is what the caller gets.
 */
#ifndef CSRD_CLI_EACH_H
#define CSRD_CLI_EACH_H

#include "base/attr.h"
#include "base/err.h"
#include "cli/cli.h"

typedef enum err (*each_account_fn)(void *arg, const struct account_record *account);
MUST_USE enum err each_account(struct cli *cli, each_account_fn take, void *arg);

typedef enum err (*each_zone_fn)(void *arg, const struct zone_record *zone);
MUST_USE enum err each_zone(struct cli *cli, each_zone_fn take, void *arg);

typedef enum err (*each_principal_fn)(void *arg, const struct principal *principal);
MUST_USE enum err each_principal(struct cli *cli, enum principal_kind kind, each_principal_fn take,
				 void *arg);

/* What happened to one object, the oldest first. */
typedef enum err (*each_record_fn)(void *arg, const struct audit_record *record);
MUST_USE enum err each_record(struct cli *cli, const char *object, each_record_fn take, void *arg);

#endif
