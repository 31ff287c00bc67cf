/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fakes/old_rows.h"

#include "base/clock.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void run(sqlite3 *db, const char *sql)
{
	char *why = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK)
		return;
	fprintf(stderr, "%s: %s\n", sql, why);
	abort();
}

/* The text of the guard that goes for a moment; to be freed. */
static char *guard_text(sqlite3 *db)
{
	static const char sql[] = "SELECT sql FROM sqlite_schema WHERE name = 'csrs_start_active'";
	sqlite3_stmt *st;
	char *text = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		text = strdup((const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	if (!text)
		abort();
	return text;
}

void old_rows_add_pending(struct sqlite3 *db, const char *id, const char *account_id, const char *token_name)
{
	long long now_us = clock_wall_us();
	char *guard, *sql;

	sqlite3_busy_timeout(db, 20000);
	guard = guard_text(db);
	sql = sqlite3_mprintf(
	    "BEGIN IMMEDIATE; DROP TRIGGER csrs_start_active;"
	    "INSERT INTO csrs (id, account_id, token_name, principal_id, state, created_us, updated_us,"
	    " key_type, country, province, locality, organization, common_name, sans)"
	    " VALUES (%Q, %Q, %Q, '5a5a5a5a-0000-4000-8000-000000000000', 1, %lld, %lld, 2, 'DE',"
	    " 'Bavaria', 'Munich', 'Example', 'example.com', 'dns example.com' || char(10));"
	    "UPDATE accounts SET csr_active = csr_active - 1 WHERE id = %Q;"
	    "INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
	    " VALUES (%lld, 'csr.pending', %Q, 'test', '', '', ''); %s; COMMIT",
	    id, account_id, token_name, now_us, now_us, account_id, now_us, id, guard);
	run(db, sql);
	sqlite3_free(sql);
	free(guard);
}
