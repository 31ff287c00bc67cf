/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL statements.  Each is written once, for all databases, in the file of the
 * decision that it serves: in a table of its own that sql_text.c lists.  An engine
 * prepares all of them when it opens a database, so a schema that lacks something
 * is found at start, not at the first use.
 *
 * Parameters are $1, $2, …; columns are read by the names that the text gives
 * them (sql.h).  Transactions are the engine's own affair.
 */
#ifndef CSRD_STORE_SQL_TEXT_H
#define CSRD_STORE_SQL_TEXT_H

#include <stddef.h>

/*
 * A text for every engine says what PostgreSQL needs to hear (sql_text_test.c holds them to it): the type of
 * a parameter is told where it first stands, by a column beside it or by CAST; no parameter is left out of
 * the numbering; where rows without a value come in an order, it is told; a condition is no number.
 */
struct sql_text {
	const char *text;
	const char *sqlite; /* SQLite's own, where it must differ; else NULL */
};

/* SQLite is told along which index of the table that ends `from`, whatever it thinks of it. */
#define SQL_ALONG(index, from, rest)                                                                         \
	{                                                                                                    \
		.text = from rest, .sqlite = from " INDEXED BY " index rest                                  \
	}

/* Those of one file. */
struct sql_texts {
	const struct sql_text *texts;
	size_t len;
};
#define SQL_TEXTS(array)                                                                                     \
	{                                                                                                    \
		(array), sizeof(array) / sizeof((array)[0])                                                  \
	}

extern const struct sql_texts audit_sql, csr_sql, csr_list_sql, csr_row_sql, directory_sql, fence_sql,
    idempotency_sql, identity_sql, lineage_sql, policy_sql, principal_sql, principal_care_sql;

/* ---- for engines ---- */

size_t sql_text_count(void);                         /* of all files */
const struct sql_text *sql_text_at(size_t number);   /* from 0, below sql_text_count() */
size_t sql_text_number(const struct sql_text *text); /* at which it is */

#endif
