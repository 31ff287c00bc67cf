/* The statements of the store. */
#include "store/sql_text.h"

#define CSR_COLUMNS                                                                                          \
	"id, account_id, zone_id, token_name, principal_id, state, created_us, updated_us, key_type, "       \
	"country, province, locality, organization, organizational_unit, common_name, sans, name, "          \
	"description, pem, key_id, spki_sha256, protection, set_aside_us"
#define PRINCIPAL_COLUMNS "id, kind, name, secret_hash, created_us, not_before_us, expires_us, revoked_us"
#define AUDIT_COLUMNS "sequence, at_us, action, object, actor, request_id, peer, detail"

/* Active CSRs of one scope, straight along an index: SQLite is told which, whatever it thinks of it. */
#define OF_SCOPE(index)                                                                                      \
	"SELECT " CSR_COLUMNS " FROM csrs INDEXED BY " index " WHERE state = 2"                              \
	" AND account_id = $1 AND zone_id IS NOT DISTINCT FROM $2"
#define LIST_ACTIVE(index, by)                                                                               \
	{                                                                                                    \
		.sqlite = OF_SCOPE(index) " ORDER BY " by " LIMIT $3 OFFSET $4"                              \
	}
/* The same behind a row, and $6 others: $4 what its order is by, $5 its id. */
#define LIST_AFTER(index, where, by)                                                                         \
	{                                                                                                    \
		.sqlite = OF_SCOPE(index) " AND " where " ORDER BY " by " LIMIT $3 OFFSET $6"                \
	}
/* What the rows behind a row are ordered by, of the index alone: $3 what its order is by, $4 its id. */
#define MARKS(index, what, where, by)                                                                        \
	{                                                                                                    \
		.sqlite = "SELECT " what ", id FROM csrs INDEXED BY " index                                  \
			  " WHERE state = 2 AND account_id = $1 AND zone_id IS NOT DISTINCT FROM $2"         \
			  " AND " where " ORDER BY " by                                                      \
	}
/* Which rows joined and left the lists of active CSRs by the audit records behind $1, as far as $2. */
#define CHANGES(of_scope)                                                                                    \
	{                                                                                                    \
		"SELECT (audit.action = 'csr.active') AS joined, csrs.created_us AS created_us,"             \
		" csrs.name AS name, csrs.id AS id FROM audit CROSS JOIN csrs"                               \
		" WHERE csrs.id = audit.object AND audit.sequence > $1 AND audit.sequence <= $2"             \
		" AND audit.action IN ('csr.active', 'csr.deleting') AND " of_scope                          \
		" ORDER BY audit.sequence"                                                                   \
	}

/* $1 states, $2 account or NULL for all, $3 zone or NULL, $4 updated before or 0. */
#define ANY_WHERE                                                                                            \
	" WHERE ((1 << state) & $1) <> 0"                                                                    \
	" AND ($2 IS NULL OR (account_id = $2 AND zone_id IS NOT DISTINCT FROM $3))"                         \
	" AND ($4 = 0 OR updated_us < $4)"
#define LIST_ANY(by)                                                                                         \
	{                                                                                                    \
		.text = "SELECT " CSR_COLUMNS " FROM csrs" ANY_WHERE " ORDER BY " by " LIMIT $5 OFFSET $6"   \
	}

/* Open rows of the token $1, NULL for all, that are not set aside yet. */
#define ASIDE_WHERE(state)                                                                                   \
	" WHERE state = " #state " AND set_aside_us = 0 AND ($1 IS NULL OR token_name = $1)"
/* $2 the time, $3 action, $4 actor, $5 detail. */
#define ASIDE_TELL(state)                                                                                    \
	"INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"                         \
	" SELECT $2, $3, id, $4, '', '', $5 FROM csrs" ASIDE_WHERE(state) " ORDER BY id"

/* Whether a text holds `what`, whatever the case of ASCII letters. */
#define IN_NAMES(what)                                                                                       \
	"(instr(lower(common_name), lower(" what ")) > 0"                                                    \
	" OR instr(lower(coalesce(name, '')), lower(" what ")) > 0)"
/* The lines of sans without their types. */
#define SAN_VALUES_OF(type, text) "replace(" text ", char(10) || '" type " ', char(10))"
#define SAN_VALUES                                                                                           \
	SAN_VALUES_OF(                                                                                       \
	    "dns",                                                                                           \
	    SAN_VALUES_OF("ip", SAN_VALUES_OF("email", SAN_VALUES_OF("uri", "char(10) || lower(sans)"))))
#define IN_SANS(what) "instr(" SAN_VALUES ", lower(" what ")) > 0"
/* ANY_WHERE and what a store_csr_filter asks, in its order from $5. */
#define FILTER_WHERE                                                                                         \
	ANY_WHERE " AND ($5 = 0 OR created_us >= $5) AND ($6 = 0 OR created_us < $6)"                        \
		  " AND ($7 IS NULL OR substr(id, 1, length($7)) = $7) AND ($8 IS NULL OR token_name = $8)"  \
		  " AND ($9 IS NULL OR principal_id = $9) AND ($10 = 0 OR key_type = $10)"                   \
		  " AND ($11 IS NULL OR key_id = $11 OR spki_sha256 = $11)"                                  \
		  " AND ($12 IS NULL OR " IN_NAMES("$12") ") AND ($13 IS NULL OR " IN_SANS(                  \
		      "$13") ")"                                                                             \
			     " AND ($14 IS NULL OR substr(id, 1, length($14)) = lower($14) OR " IN_NAMES(    \
				 "$14") " OR " IN_SANS("$14") ")"
#define LIST_FILTERED(by)                                                                                    \
	{                                                                                                    \
		.sqlite =                                                                                    \
		    "SELECT " CSR_COLUMNS " FROM csrs" FILTER_WHERE " ORDER BY " by " LIMIT $15 OFFSET $16"  \
	}

const struct sql_text_of sql_texts[SQL_TEXTS_LEN] = {
    [SQL_ACCOUNT_FIND] = {"SELECT id AS account_id, csr_quota, csr_count, csr_active FROM accounts"
			  " WHERE id = $1"},
    [SQL_ZONE_FIND] = {"SELECT account_id, csr_quota, csr_count, csr_active FROM zones WHERE id = $1"},
    [SQL_ACCOUNT_ADD] = {"INSERT INTO accounts (id, name, csr_quota, created_us) VALUES ($1, $2, $3, $4)"},
    [SQL_ZONE_ADD] = {"INSERT INTO zones (id, account_id, name, csr_quota, created_us)"
		      " VALUES ($1, $2, $3, $4, $5)"},
    [SQL_ACCOUNT_LIST] = {"SELECT id, name, csr_quota, csr_count, created_us FROM accounts ORDER BY id"},
    [SQL_ZONE_LIST] =
	{"SELECT id, account_id, name, csr_quota, csr_count, created_us FROM zones ORDER BY id"},
    [SQL_ACCOUNT_SET] = {"UPDATE accounts SET name = coalesce($2, name), csr_quota = coalesce($3, csr_quota)"
			 " WHERE id = $1"},
    [SQL_ZONE_SET] = {"UPDATE zones SET name = coalesce($2, name), csr_quota = coalesce($3, csr_quota)"
		      " WHERE id = $1"},
    [SQL_PRINCIPAL_FIND] = {"SELECT " PRINCIPAL_COLUMNS " FROM principals"
			    " WHERE secret_hash = $1 AND kind = $2"},
    [SQL_PRINCIPAL_LIST] = {.sqlite = "SELECT " PRINCIPAL_COLUMNS " FROM principals WHERE kind = $1"
				      " ORDER BY created_us, rowid"},
    [SQL_PRINCIPAL_ADD] = {"INSERT INTO principals (id, kind, name, secret_hash, created_us, not_before_us,"
			   " expires_us, revoked_us) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)"},
    [SQL_PRINCIPAL_STATE] = {"SELECT revoked_us FROM principals WHERE id = $1 AND kind = $2"},
    [SQL_PRINCIPAL_REVOKE] = {"UPDATE principals SET revoked_us = $1 WHERE id = $2"},
    [SQL_GRANT_LIST] = {.sqlite = "SELECT account_id, zone_id, permission FROM grants"
				  " WHERE principal_id = $1 ORDER BY rowid"},
    [SQL_GRANT_ADD_ACCOUNT] =
	{"INSERT INTO grants (principal_id, account_id, permission) VALUES ($1, $2, $3)"},
    [SQL_GRANT_ADD_ZONE] = {"INSERT INTO grants (principal_id, zone_id, permission) VALUES ($1, $2, $3)"},
    [SQL_IDEMPOTENCY_FIND] = {"SELECT created_us, request_hash, csr_id FROM idempotency"
			      " WHERE principal_id = $1 AND scope_kind = $2 AND scope_id = $3 AND key = $4"},
    [SQL_IDEMPOTENCY_REMOVE] =
	{"DELETE FROM idempotency"
	 " WHERE principal_id = $1 AND scope_kind = $2 AND scope_id = $3 AND key = $4"},
    [SQL_IDEMPOTENCY_ADD] = {"INSERT INTO idempotency (principal_id, scope_kind, scope_id, key, csr_id,"
			     " request_hash, created_us) VALUES ($1, $2, $3, $4, $5, $6, $7)"},
    [SQL_IDEMPOTENCY_PURGE] = {.sqlite = "DELETE FROM idempotency WHERE rowid IN (SELECT rowid"
					 " FROM idempotency WHERE created_us < $1"
					 " ORDER BY created_us LIMIT $2)"},
    [SQL_IDEMPOTENCY_FORGET] = {"DELETE FROM idempotency WHERE csr_id = $1"},
    [SQL_CSR_ADD] = {"INSERT INTO csrs (id, account_id, zone_id, token_name, principal_id, state, created_us,"
		     " updated_us, key_type, country, province, locality, organization, organizational_unit,"
		     " common_name, sans, name, description)"
		     " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,"
		     " $18)"},
    [SQL_CSR_GET] = {"SELECT " CSR_COLUMNS " FROM csrs WHERE id = $1"},
    [SQL_CSR_MOVE] = {"UPDATE csrs SET state = $3, updated_us = $4 WHERE id = $1 AND state = $2"},
    [SQL_CSR_MOVE_ACTIVE] = {"UPDATE csrs SET state = $3, updated_us = $4, pem = $5, key_id = $6,"
			     " spki_sha256 = $7, protection = $8 WHERE id = $1 AND state = $2"},
    [SQL_AUDIT_ADD] = {"INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
		       " VALUES ($1, $2, $3, $4, $5, $6, $7)"},
    [SQL_AUDIT_LIST] = {"SELECT " AUDIT_COLUMNS " FROM audit WHERE object = $1 ORDER BY sequence"},
    [SQL_AUDIT_SEARCH] = {"SELECT " AUDIT_COLUMNS " FROM audit"
			  " WHERE ($1 = 0 OR at_us >= $1) AND ($2 = 0 OR at_us < $2)"
			  " AND ($3 IS NULL OR actor = $3) AND ($4 IS NULL OR object = $4)"
			  " AND ($5 IS NULL OR action = $5 OR substr(action, 1, length($5) + 1) = $5 || '.')"
			  " AND ($6 = 0 OR sequence < $6) ORDER BY sequence DESC LIMIT $7"},
    [SQL_AUDIT_LAST] = {"SELECT coalesce(max(sequence), 0) AS sequence FROM audit"},
    [SQL_LEFTOVER_LAST] = {"SELECT action FROM audit WHERE object = $1 AND action IN"
			   " ('csr.leftover', 'csr.leftover-destroyed') ORDER BY sequence DESC LIMIT 1"},
    [SQL_LINEAGE_FIND] = {"SELECT lineage FROM lineages WHERE token_name = $1"},
    [SQL_LINEAGE_SET] = {"INSERT INTO lineages (token_name, lineage) VALUES ($1, $2)"
			 " ON CONFLICT (token_name) DO UPDATE SET lineage = excluded.lineage"},
    [SQL_LINEAGE_FORGET_ALL] = {"DELETE FROM lineages"},
    [SQL_ASIDE_TELL_PENDING] = {ASIDE_TELL(1)},
    [SQL_ASIDE_TELL_DELETING] = {ASIDE_TELL(3)},
    [SQL_ASIDE_FORGET] = {"DELETE FROM idempotency WHERE csr_id IN (SELECT id FROM csrs" ASIDE_WHERE(1) ")"},
    [SQL_ASIDE_PENDING] = {"UPDATE csrs SET state = 5, updated_us = $2, set_aside_us = $2" ASIDE_WHERE(1)},
    [SQL_ASIDE_DELETING] = {"UPDATE csrs SET set_aside_us = $2" ASIDE_WHERE(3)},
    [SQL_ACTIVE_TOTAL] = {"SELECT coalesce((SELECT sum(csr_active) FROM accounts), 0)"
			  " + coalesce((SELECT sum(csr_active) FROM zones), 0) AS total"},
    [SQL_ANY_TOTAL] = {"SELECT count(*) AS total FROM csrs" ANY_WHERE},
    [SQL_FILTER_TOTAL] = {.sqlite = "SELECT count(*) AS total FROM csrs" FILTER_WHERE},
    [SQL_FILTER_OLDEST] = LIST_FILTERED("created_us, id"),
    [SQL_FILTER_NEWEST] = LIST_FILTERED("created_us DESC, id DESC"),
    [SQL_PASS_UNSETTLED] = {.sqlite = "SELECT " CSR_COLUMNS " FROM csrs INDEXED BY csrs_unsettled" ANY_WHERE
				      " AND state IN (1, 3) AND id > $5 ORDER BY id LIMIT $6"},
    [SQL_PASS_ANY] = {"SELECT " CSR_COLUMNS " FROM csrs" ANY_WHERE " AND id > $5 ORDER BY id LIMIT $6"},
    [SQL_MARKS_BY_CREATED] = MARKS("csrs_active_created", "created_us, NULL AS name",
				   "(created_us, id) > ($3, $4)", "created_us, id"),
    [SQL_MARKS_BY_NAME] =
	MARKS("csrs_active_name", "0 AS created_us, name", "(name, id) > ($3, $4)", "name, id"),
    [SQL_MARKS_NAMELESS] =
	MARKS("csrs_active_name", "0 AS created_us, name", "name IS NULL AND id > $4", "id"),
    [SQL_MARKS_BY_ID] = MARKS("csrs_active_id", "0 AS created_us, NULL AS name", "id > $4", "id"),
    [SQL_CHANGES_OF_ACCOUNT] = CHANGES("csrs.account_id = $3 AND csrs.zone_id IS NULL"),
    [SQL_CHANGES_OF_ZONE] = CHANGES("csrs.zone_id = $3"),
    [SQL_LIST_ACTIVE_FIRST + 0] = LIST_ACTIVE("csrs_active_created", "created_us, id"),
    [SQL_LIST_ACTIVE_FIRST + 1] = LIST_ACTIVE("csrs_active_created", "created_us DESC, id DESC"),
    [SQL_LIST_ACTIVE_FIRST + 2] = LIST_ACTIVE("csrs_active_name", "name, id"),
    [SQL_LIST_ACTIVE_FIRST + 3] = LIST_ACTIVE("csrs_active_name", "name DESC, id DESC"),
    [SQL_LIST_ACTIVE_FIRST + 4] = LIST_ACTIVE("csrs_active_id", "id"),
    [SQL_LIST_ACTIVE_FIRST + 5] = LIST_ACTIVE("csrs_active_id", "id DESC"),
    [SQL_LIST_ANY_FIRST + 0] = LIST_ANY("created_us, id"),
    [SQL_LIST_ANY_FIRST + 1] = LIST_ANY("created_us DESC, id DESC"),
    [SQL_LIST_ANY_FIRST + 2] = LIST_ANY("name, id"),
    [SQL_LIST_ANY_FIRST + 3] = LIST_ANY("name DESC, id DESC"),
    [SQL_LIST_ANY_FIRST + 4] = LIST_ANY("account_id, id"),
    [SQL_LIST_ANY_FIRST + 5] = LIST_ANY("account_id DESC, id DESC"),
    [SQL_LIST_AFTER_FIRST + 0] =
	LIST_AFTER("csrs_active_created", "(created_us, id) > ($4, $5)", "created_us, id"),
    [SQL_LIST_AFTER_FIRST + 1] =
	LIST_AFTER("csrs_active_created", "(created_us, id) < ($4, $5)", "created_us DESC, id DESC"),
    [SQL_LIST_AFTER_FIRST + 2] = LIST_AFTER("csrs_active_name", "(name, id) > ($4, $5)", "name, id"),
    [SQL_LIST_AFTER_FIRST + 3] =
	LIST_AFTER("csrs_active_name", "(name, id) < ($4, $5)", "name DESC, id DESC"),
    [SQL_LIST_AFTER_FIRST + 4] = LIST_AFTER("csrs_active_id", "id > $5", "id"),
    [SQL_LIST_AFTER_FIRST + 5] = LIST_AFTER("csrs_active_id", "id < $5", "id DESC"),
    [SQL_LIST_NAMELESS_FIRST + 0] = LIST_AFTER("csrs_active_name", "name IS NULL AND id > $5", "id"),
    [SQL_LIST_NAMELESS_FIRST + 1] = LIST_AFTER("csrs_active_name", "name IS NULL AND id < $5", "id DESC"),
};
