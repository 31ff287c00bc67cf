/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as csrd 0.1 made them, which no program makes any more: past the guards of the schema. */
#ifndef CSRD_TESTS_FAKES_OLD_ROWS_H
#define CSRD_TESTS_FAKES_OLD_ROWS_H

struct sqlite3;

/* A pending row of an account, with its audit record. */
void old_rows_add_pending(struct sqlite3 *db, const char *id, const char *account_id, const char *token_name);

#endif
