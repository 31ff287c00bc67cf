/*
 * Every statement that the decisions of store/ make, each once, whichever
 * database it is for.  An engine prepares all of them when it opens, so a
 * schema that lacks something is found at the start and not at the first use.
 *
 * Parameters are $1, $2, …; columns are read by the names that the text gives
 * them (sql.h).  Transactions are the engine's own affair.
 */
#ifndef CSRD_STORE_SQL_TEXT_H
#define CSRD_STORE_SQL_TEXT_H

enum sql_text {
	SQL_ACCOUNT_FIND,
	SQL_ZONE_FIND,
	SQL_ACCOUNT_ADD,
	SQL_ZONE_ADD,
	SQL_ACCOUNT_LIST,
	SQL_ZONE_LIST,
	SQL_ACCOUNT_SET,
	SQL_ZONE_SET,
	SQL_PRINCIPAL_FIND,
	SQL_PRINCIPAL_LIST,
	SQL_PRINCIPAL_ADD,
	SQL_PRINCIPAL_STATE,
	SQL_PRINCIPAL_REVOKE,
	SQL_GRANT_LIST,
	SQL_GRANT_ADD_ACCOUNT,
	SQL_GRANT_ADD_ZONE,
	SQL_IDEMPOTENCY_FIND,
	SQL_IDEMPOTENCY_REMOVE,
	SQL_IDEMPOTENCY_ADD,
	SQL_IDEMPOTENCY_PURGE,
	SQL_IDEMPOTENCY_FORGET,
	SQL_CSR_ADD,
	SQL_CSR_GET,
	SQL_CSR_MOVE,
	SQL_CSR_MOVE_ACTIVE,
	SQL_AUDIT_ADD,
	SQL_AUDIT_LIST,
	SQL_AUDIT_SEARCH,
	SQL_AUDIT_LAST,
	SQL_LEFTOVER_LAST,
	SQL_LINEAGE_FIND,
	SQL_LINEAGE_SET,
	SQL_LINEAGE_FORGET_ALL,
	SQL_ASIDE_TELL_PENDING,
	SQL_ASIDE_TELL_DELETING,
	SQL_ASIDE_FORGET,
	SQL_ASIDE_PENDING,
	SQL_ASIDE_DELETING,
	SQL_ACTIVE_TOTAL,
	SQL_ANY_TOTAL,
	SQL_FILTER_TOTAL,
	SQL_FILTER_OLDEST,
	SQL_FILTER_NEWEST,
	SQL_PASS_UNSETTLED,
	SQL_PASS_ANY,
	SQL_MARKS_BY_CREATED,
	SQL_MARKS_BY_NAME,
	SQL_MARKS_NAMELESS,
	SQL_MARKS_BY_ID,
	SQL_CHANGES_OF_ACCOUNT,
	SQL_CHANGES_OF_ZONE,
	/* Two for each store_order, ascending and descending, in its order. */
	SQL_LIST_ACTIVE_FIRST,
	SQL_LIST_ANY_FIRST = SQL_LIST_ACTIVE_FIRST + 6,
	SQL_LIST_AFTER_FIRST = SQL_LIST_ANY_FIRST + 6,
	/* Rows without a name, which come before all others: ascending, descending. */
	SQL_LIST_NAMELESS_FIRST = SQL_LIST_AFTER_FIRST + 6,
	SQL_TEXTS_LEN = SQL_LIST_NAMELESS_FIRST + 2
};

struct sql_text_of {
	const char *text;   /* understood by every engine; NULL: no engine but SQLite has this one yet */
	const char *sqlite; /* SQLite's own, where it must differ; else NULL */
};
extern const struct sql_text_of sql_texts[SQL_TEXTS_LEN];

#endif
