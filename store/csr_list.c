/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of CSRs, a page at a time. */
#include "store/csr_row.h"
#include "store/directory.h"
#include "store/fence.h"
#include "store/call.h"
#include "store/sql.h"
#include "store/walk.h"

#include <stdlib.h>
#include <string.h>

#define ONLY_ACTIVE CSR_STATE_BIT(CSR_ACTIVE)
#define UNSETTLED (CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_DELETING))

struct csr_list {
	struct call call; /* first */
	store_csr_page_fn done;
	struct store_csr_query query;
	struct store_scope scope;
	struct store_csr_filter filter;
	uint8_t filter_key[KEY_SPKI_HASH_BYTES];
	struct store_csr_page page;
};

/* ---- statements ---- */

/* Active CSRs of one scope, straight along an index: from $1 and $2, its account and zone or NULL. */
#define OF_SCOPE(index, rest)                                                                                \
	SQL_ALONG(index, "SELECT " CSR_ROW_COLUMNS " FROM csrs",                                             \
		  " WHERE state = 2 AND account_id = $1 AND zone_id IS NOT DISTINCT FROM $2" rest)
#define LIST_ACTIVE(index, by) OF_SCOPE(index, " ORDER BY " by " LIMIT $3 OFFSET $4")
/* The same behind a row, and $5 others: $4 its id, $6 what else its order is by. */
#define LIST_AFTER(index, where, by) OF_SCOPE(index, " AND " where " ORDER BY " by " LIMIT $3 OFFSET $5")
/* $1 states, $2 account or NULL for all, $3 zone or NULL, $4 updated before or 0. */
#define ANY_WHERE                                                                                            \
	" WHERE ((1 << state) & $1) <> 0"                                                                    \
	" AND ((account_id = $2 AND zone_id IS NOT DISTINCT FROM $3) OR $2 IS NULL)"                         \
	" AND (updated_us < $4 OR $4 = 0)"
#define LIST_ANY(by)                                                                                         \
	{                                                                                                    \
		.text =                                                                                      \
		    "SELECT " CSR_ROW_COLUMNS " FROM csrs" ANY_WHERE " ORDER BY " by " LIMIT $5 OFFSET $6"   \
	}

/*
 * Below, `at` is the function that says where in a text another one is, and `line` a
 * line end: what engines have in common has no names for the two.
 */
/* Whether a text holds `what`, whatever the case of ASCII letters. */
#define IN_NAMES(at, what)                                                                                   \
	"(" at "(lower(common_name), lower(" what ")) > 0"                                                   \
	" OR " at "(lower(coalesce(name, '')), lower(" what ")) > 0)"
/* The lines of sans without their types. */
#define SAN_VALUES_OF(line, type, text) "replace(" text ", " line " || '" type " ', " line ")"
#define SAN_VALUES(line)                                                                                     \
	SAN_VALUES_OF(                                                                                       \
	    line, "dns",                                                                                     \
	    SAN_VALUES_OF(line, "ip",                                                                        \
			  SAN_VALUES_OF(line, "email", SAN_VALUES_OF(line, "uri", line " || lower(sans)"))))
#define IN_SANS(at, line, what) at "(" SAN_VALUES(line) ", lower(" what ")) > 0"
#define BY_NAME(at, what) " AND (CAST(" what " AS text) IS NULL OR " IN_NAMES(at, what) ")"
#define BY_SAN(at, line, what) " AND (CAST(" what " AS text) IS NULL OR " IN_SANS(at, line, what) ")"
#define BY_WORD(at, line, what)                                                                              \
	" AND (CAST(" what " AS text) IS NULL OR substr(id, 1, length(" what ")) = lower(" what              \
	") OR " IN_NAMES(at, what) " OR " IN_SANS(at, line, what) ")"
/* ANY_WHERE and what a store_csr_filter asks, in its order from $5. */
#define FILTER_WHERE(at, line)                                                                               \
	ANY_WHERE                                                                                            \
	" AND (created_us >= $5 OR $5 = 0) AND (created_us < $6 OR $6 = 0)"                                  \
	" AND (CAST($7 AS text) IS NULL OR substr(id, 1, length($7)) = $7)"                                  \
	" AND (token_name = $8 OR $8 IS NULL) AND (principal_id = $9 OR $9 IS NULL)"                         \
	" AND (key_type = $10 OR $10 = 0)"                                                                   \
	" AND (key_id = $11 OR spki_sha256 = $11 OR $11 IS NULL)" BY_NAME(at, "$12") BY_SAN(at, line, "$13") \
	    BY_WORD(at, line, "$14")
#define OF_FILTER(what, rest)                                                                                \
	{                                                                                                    \
		.text = "SELECT " what " FROM csrs" FILTER_WHERE("strpos", "chr(10)") rest,                  \
		.sqlite = "SELECT " what " FROM csrs" FILTER_WHERE("instr", "char(10)") rest                 \
	}
#define LIST_FILTERED(by) OF_FILTER(CSR_ROW_COLUMNS, " ORDER BY " by " LIMIT $15 OFFSET $16")
/* The same where $11 is a key: along the indexes of what names one, and no two CSRs share it. */
#define OF_KEY " AND (key_id = $11 OR spki_sha256 = $11)"

enum {
	ACTIVE_TOTAL,
	ANY_TOTAL,
	FILTER_TOTAL,
	FILTER_OLDEST,
	FILTER_NEWEST,
	KEY_TOTAL,
	KEY_LIST,
	PASS_UNSETTLED,
	PASS_ANY,
	/* Two for each store_order, ascending and descending, in its order. */
	LIST_ACTIVE_FIRST,
	LIST_ANY_FIRST = LIST_ACTIVE_FIRST + 6,
	LIST_AFTER_FIRST = LIST_ANY_FIRST + 6,
	/* Rows without a name, which come before all others: ascending, descending. */
	LIST_NAMELESS_FIRST = LIST_AFTER_FIRST + 6,
};
static const struct sql_text csr_list_texts[] = {
    [ACTIVE_TOTAL] = {"SELECT CAST(coalesce((SELECT sum(csr_active) FROM accounts), 0)"
		      " + coalesce((SELECT sum(csr_active) FROM zones), 0) AS bigint) AS total"},
    [ANY_TOTAL] = {"SELECT count(*) AS total FROM csrs" ANY_WHERE},
    [FILTER_TOTAL] = OF_FILTER("count(*) AS total", ""),
    [FILTER_OLDEST] = LIST_FILTERED("created_us, id"),
    [FILTER_NEWEST] = LIST_FILTERED("created_us DESC, id DESC"),
    [KEY_TOTAL] = OF_FILTER("count(*) AS total", OF_KEY),
    [KEY_LIST] = OF_FILTER(CSR_ROW_COLUMNS, OF_KEY " LIMIT $15 OFFSET $16"),
    [PASS_UNSETTLED] = SQL_ALONG("csrs_unsettled", "SELECT " CSR_ROW_COLUMNS " FROM csrs",
				 ANY_WHERE " AND state IN (1, 3) AND id > $5 ORDER BY id LIMIT $6"),
    [PASS_ANY] = {"SELECT " CSR_ROW_COLUMNS " FROM csrs" ANY_WHERE " AND id > $5 ORDER BY id LIMIT $6"},
    [LIST_ACTIVE_FIRST + 0] = LIST_ACTIVE("csrs_active_created", "created_us, id"),
    [LIST_ACTIVE_FIRST + 1] = LIST_ACTIVE("csrs_active_created", "created_us DESC, id DESC"),
    [LIST_ACTIVE_FIRST + 2] = LIST_ACTIVE("csrs_active_name", "name NULLS FIRST, id"),
    [LIST_ACTIVE_FIRST + 3] = LIST_ACTIVE("csrs_active_name", "name DESC NULLS LAST, id DESC"),
    [LIST_ACTIVE_FIRST + 4] = LIST_ACTIVE("csrs_active_id", "id"),
    [LIST_ACTIVE_FIRST + 5] = LIST_ACTIVE("csrs_active_id", "id DESC"),
    [LIST_ANY_FIRST + 0] = LIST_ANY("created_us, id"),
    [LIST_ANY_FIRST + 1] = LIST_ANY("created_us DESC, id DESC"),
    [LIST_ANY_FIRST + 2] = LIST_ANY("name NULLS FIRST, id"),
    [LIST_ANY_FIRST + 3] = LIST_ANY("name DESC NULLS LAST, id DESC"),
    [LIST_ANY_FIRST + 4] = LIST_ANY("account_id, id"),
    [LIST_ANY_FIRST + 5] = LIST_ANY("account_id DESC, id DESC"),
    [LIST_AFTER_FIRST + 0] =
	LIST_AFTER("csrs_active_created", "(created_us, id) > ($6, $4)", "created_us, id"),
    [LIST_AFTER_FIRST + 1] =
	LIST_AFTER("csrs_active_created", "(created_us, id) < ($6, $4)", "created_us DESC, id DESC"),
    [LIST_AFTER_FIRST + 2] = LIST_AFTER("csrs_active_name", "(name, id) > ($6, $4)", "name, id"),
    [LIST_AFTER_FIRST + 3] = LIST_AFTER("csrs_active_name", "(name, id) < ($6, $4)", "name DESC, id DESC"),
    [LIST_AFTER_FIRST + 4] = LIST_AFTER("csrs_active_id", "id > $4", "id"),
    [LIST_AFTER_FIRST + 5] = LIST_AFTER("csrs_active_id", "id < $4", "id DESC"),
    [LIST_NAMELESS_FIRST + 0] = LIST_AFTER("csrs_active_name", "name IS NULL AND id > $4", "id"),
    [LIST_NAMELESS_FIRST + 1] = LIST_AFTER("csrs_active_name", "name IS NULL AND id < $4", "id DESC"),
};
const struct sql_texts csr_list_sql = SQL_TEXTS(csr_list_texts);

/* ---- their parameters ---- */

/* The four parameters of ANY_WHERE. */
static void csr_list_put_any(struct sql_query *q, const struct store_csr_query *query, const char *account_id)
{
	bool in_zone = query->scope && query->scope->kind == STORE_ZONE;

	sql_put_int(q, query->states);
	sql_put_text(q, account_id);
	sql_put_text(q, in_zone ? query->scope->id : NULL);
	sql_put_int(q, query->updated_before_us);
}

/* Which of six statements. */
static unsigned csr_list_way(const struct store_csr_query *query)
{
	return 2 * ((unsigned)query->order - STORE_ORDER_CREATED_AT) + (query->descending ? 1 : 0);
}

static bool csr_list_is_of_active(const struct store_csr_query *query)
{
	return !query->after_id && !query->filter && query->scope && query->states == ONLY_ACTIVE &&
	       query->updated_before_us == 0;
}

static void csr_list_put_filter(struct sql_query *q, const struct store_csr_filter *filter)
{
	sql_put_int(q, filter->since_us);
	sql_put_int(q, filter->until_us);
	sql_put_text(q, filter->id_prefix);
	sql_put_text(q, filter->token_name);
	sql_put_text(q, filter->principal_id);
	sql_put_int(q, filter->key_type);
	sql_put_bytes(q, filter->key, filter->key_len);
	sql_put_text(q, filter->name);
	sql_put_text(q, filter->san);
	sql_put_text(q, filter->word);
}

static struct sql_query csr_list_ask(struct sql *sql, unsigned which)
{
	return sql_ask(sql, &csr_list_texts[which], "list CSRs");
}

/* The rows that a filter leaves. */
static unsigned csr_list_of_filter(const struct store_csr_query *query)
{
	if (query->filter->key)
		return KEY_LIST;
	return query->descending ? FILTER_NEWEST : FILTER_OLDEST;
}

static struct sql_query csr_list_query(struct sql *sql, const struct store_csr_query *query,
				       const char *account_id)
{
	struct sql_query q;

	if (query->after_id) {
		q = csr_list_ask(sql, (query->states & ~UNSETTLED) == 0 ? PASS_UNSETTLED : PASS_ANY);
		csr_list_put_any(&q, query, account_id);
		sql_put_text(&q, query->after_id);
		sql_put_int(&q, query->limit);
		return q;
	}
	if (query->filter) {
		q = csr_list_ask(sql, csr_list_of_filter(query));
		csr_list_put_any(&q, query, account_id);
		csr_list_put_filter(&q, query->filter);
	} else if (csr_list_is_of_active(query)) {
		q = csr_list_ask(sql, LIST_ACTIVE_FIRST + csr_list_way(query));
		sql_put_text(&q, account_id);
		sql_put_text(&q, query->scope->kind == STORE_ZONE ? query->scope->id : NULL);
	} else {
		q = csr_list_ask(sql, LIST_ANY_FIRST + csr_list_way(query));
		csr_list_put_any(&q, query, account_id);
	}
	sql_put_int(&q, query->limit);
	sql_put_int(&q, (int64_t)query->offset);
	return q;
}

/* ---- how many there are ---- */

static enum err csr_list_count(struct sql *sql, const struct store_csr_query *query,
			       const struct directory_scope *scope, uint64_t *ret_total)
{
	bool active = query->states == ONLY_ACTIVE && !query->filter;
	struct store_csr_query of_any_age = *query;

	if (query->after_id) {
		*ret_total = 0;
		return E_OK;
	}
	if (active && query->scope) {
		*ret_total = (uint64_t)scope->csr_active;
		return E_OK;
	}
	unsigned which = active ? ACTIVE_TOTAL : ANY_TOTAL;
	if (query->filter)
		which = query->filter->key ? KEY_TOTAL : FILTER_TOTAL;
	struct sql_query q = sql_ask(sql, &csr_list_texts[which], "count CSRs");
	of_any_age.updated_before_us = 0;
	if (!active)
		csr_list_put_any(&q, &of_any_age, query->scope ? scope->account_id : NULL);
	if (query->filter)
		csr_list_put_filter(&q, query->filter);
	if (sql_next(&q))
		*ret_total = (uint64_t)sql_int(&q, "total");
	return sql_done(&q);
}

/* ---- the rows ---- */

/* Appends to the page, which has room for `limit`. */
static enum err csr_list_read(struct sql_query *q, unsigned limit, struct store_csr_page *page)
{
	while (page->records_len < limit && sql_next(q))
		csr_row_read(q, &page->records[page->records_len++]);
	return sql_done(q);
}

/* What is left of the page, by one statement of LIST_AFTER: behind a row and `skip` others. */
static enum err csr_list_read_after(struct sql *sql, const struct store_csr_query *query,
				    const char *account_id, unsigned which, const struct walk_mark *mark,
				    uint64_t skip, struct store_csr_page *page)
{
	if (page->records_len >= query->limit)
		return E_OK;
	struct sql_query q = csr_list_ask(sql, which);
	sql_put_text(&q, account_id);
	sql_put_text(&q, query->scope->kind == STORE_ZONE ? query->scope->id : NULL);
	sql_put_int(&q, query->limit - (int64_t)page->records_len);
	sql_put_text(&q, mark->id);
	sql_put_int(&q, (int64_t)skip);
	if (query->order == STORE_ORDER_NAME && which < LIST_NAMELESS_FIRST)
		sql_put_text(&q, mark->name);
	if (query->order == STORE_ORDER_CREATED_AT)
		sql_put_int(&q, mark->created_us);
	return csr_list_read(&q, query->limit, page);
}

/*
 * The page behind a row and `skip` others, which have a name if and only if it has.
 * Rows without a name are a range of their own, before all that have one.
 */
static enum err csr_list_read_behind(struct sql *sql, const struct store_csr_query *query,
				     const char *account_id, const struct walk_mark *mark, uint64_t skip,
				     struct store_csr_page *page)
{
	static char no_name[] = "";
	const struct walk_mark first_named = {.name = no_name}, last_nameless = {.id = "~"};
	unsigned list = LIST_AFTER_FIRST + csr_list_way(query);
	unsigned nameless = LIST_NAMELESS_FIRST + (query->descending ? 1 : 0);
	bool is_nameless = query->order == STORE_ORDER_NAME && !mark->name;
	enum err e;

	e = csr_list_read_after(sql, query, account_id, is_nameless ? nameless : list, mark, skip, page);
	if (e != E_OK || query->order != STORE_ORDER_NAME || is_nameless == query->descending)
		return e;
	if (is_nameless)
		return csr_list_read_after(sql, query, account_id, list, &first_named, 0, page);
	return csr_list_read_after(sql, query, account_id, nameless, &last_nameless, 0, page);
}

static void csr_list_reverse(struct store_csr_page *page)
{
	for (size_t i = 0; i < page->records_len / 2; i++) {
		struct csr_record *a = &page->records[i], *b = &page->records[page->records_len - 1 - i];
		struct csr_record swapped = *a;

		*a = *b;
		*b = swapped;
	}
}

/* Counted to, from the nearer end of the list. */
static enum err csr_list_read_counted(struct sql *sql, const struct store_csr_query *query,
				      const char *account_id, struct store_csr_page *page)
{
	struct store_csr_query near = *query;

	if (query->offset >= page->total) /* past the end: not looked for along the whole index */
		return E_OK;
	bool backwards = query->offset > page->total / 2;
	if (backwards) {
		if (near.limit > page->total - query->offset)
			near.limit = (unsigned)(page->total - query->offset);
		near.offset = page->total - query->offset - near.limit;
		near.descending = !query->descending;
	}
	struct sql_query q = csr_list_query(sql, &near, account_id);
	enum err e = csr_list_read(&q, near.limit, page);
	if (backwards)
		csr_list_reverse(page);
	return e;
}

/* The page that has the number which the query says: what is far from both ends is found by fences. */
static enum err csr_list_read_numbered(struct sql *sql, struct fences *fences,
				       const struct store_csr_query *query, const char *account_id,
				       struct store_csr_page *page)
{
	const struct fence_list list = {
	    .scope = query->scope, .account_id = account_id, .order = query->order, .total = page->total};
	struct store_csr_query ascending = *query;
	uint64_t end = query->offset + query->limit;
	struct fence_place place;

	if (query->offset <= FENCE_NEAR || end + FENCE_NEAR >= page->total)
		return csr_list_read_counted(sql, query, account_id, page);
	ascending.descending = false;
	enum err e =
	    fences_find(fences, sql, &list, query->descending ? page->total - end : query->offset, &place);
	if (e == E_NOTFOUND)
		return csr_list_read_counted(sql, query, account_id, page);
	if (e != E_OK)
		return e;
	e = csr_list_read_behind(sql, &ascending, account_id, &place.mark, place.skip, page);
	walk_mark_release(&place.mark);
	if (query->descending)
		csr_list_reverse(page);
	return e;
}

static void csr_list_release_rows(struct store_csr_page *page)
{
	for (size_t i = 0; i < page->records_len; i++)
		csr_record_release(&page->records[i]);
	page->records_len = 0;
}

static size_t csr_list_count_held(const struct walk_page *place, const struct store_csr_query *query,
				  const struct store_csr_page *page)
{
	size_t held = 0;

	for (size_t i = 0; i < page->records_len; i++)
		held += walk_page_holds(place, query, &page->records[i]);
	return held;
}

/* What other pages of the walk showed is not shown again. */
static void csr_list_cut(const struct walk_page *place, const struct store_csr_query *query,
			 struct store_csr_page *page)
{
	size_t kept = 0;

	for (size_t i = 0; i < page->records_len; i++) {
		struct csr_record *row = &page->records[i];

		if (!walk_page_holds(place, query, row)) {
			csr_record_release(row);
			continue;
		}
		if (kept != i) {
			page->records[kept] = *row;
			memset(row, 0, sizeof(*row));
		}
		kept++;
	}
	page->records_len = kept;
}

/*
 * But whoever goes forwards takes a page without rows for the end of the list.  So one
 * of which all was shown before goes on behind that, and what was shown further on, on
 * the way of somebody else perhaps, does not leave it empty.
 */
static enum err csr_list_cut_forwards(struct sql *sql, struct walk_page *place,
				      const struct store_csr_query *query, const char *account_id,
				      struct store_csr_page *page)
{
	struct walk_page behind = *place;
	enum err e = E_OK;

	behind.has_after = false;
	if (place->has_before && page->records_len > 0 && csr_list_count_held(&behind, query, page) == 0) {
		csr_list_release_rows(page);
		e = csr_list_read_behind(sql, query, account_id, &place->before, 0, page);
	}
	if (csr_list_count_held(place, query, page) == 0)
		place->has_after = false;
	csr_list_cut(place, query, page);
	return e;
}

/* A page of somebody's walk. */
static enum err csr_list_read_walk(struct sql *sql, struct store *store, const struct store_csr_query *query,
				   const char *account_id, struct store_csr_page *page)
{
	struct walk_page place = walk_find(store->walk, query);
	struct store_csr_query reversed = *query;
	enum walk_way way = place.way;
	enum err e = E_BUG;

	switch (way) {
	case WALK_BEHIND:
		e = csr_list_read_behind(sql, query, account_id, &place.before, 0, page);
		break;
	case WALK_BEFORE:
		reversed.descending = !query->descending;
		e = csr_list_read_behind(sql, &reversed, account_id, &place.after, 0, page);
		csr_list_reverse(page);
		csr_list_cut(&place, query, page);
		break;
	case WALK_JUMP:
		e = csr_list_read_numbered(sql, store->fences, query, account_id, page);
		if (query->offset + query->limit >= page->total) /* where a walk backwards begins */
			way = WALK_BEFORE;
		break;
	}
	if (e == E_OK && place.way != WALK_BEFORE)
		e = csr_list_cut_forwards(sql, &place, query, account_id, page);
	if (e == E_OK && page->records_len > 0)
		walk_keep(store->walk, query, way, &page->records[0], &page->records[page->records_len - 1]);
	walk_page_release(&place);
	return e;
}

static enum err csr_list_read_active(struct sql *sql, struct store *store,
				     const struct store_csr_query *query, const char *account_id,
				     struct store_csr_page *page)
{
	return query->reader ? csr_list_read_walk(sql, store, query, account_id, page)
			     : csr_list_read_numbered(sql, store->fences, query, account_id, page);
}

static enum err csr_list_read_any(struct sql *sql, const struct store_csr_query *query,
				  const char *account_id, struct store_csr_page *page)
{
	if (!query->after_id && query->offset >= page->total)
		return E_OK;
	struct sql_query q = csr_list_query(sql, query, account_id);
	return csr_list_read(&q, query->limit, page);
}

/* ---- the call ---- */

static enum err csr_list_run(struct store_op *op, struct sql *sql)
{
	struct csr_list *list = (struct csr_list *)op;
	const struct store_csr_query *query = &list->query;
	struct store_csr_page *page = &list->page;
	struct directory_scope scope = {.csr_active = 0};
	enum err e = E_OK;

	if (query->scope)
		e = directory_find(sql, query->scope, &scope);
	if (e == E_NOTFOUND)
		return E_OK;
	if (e == E_OK)
		e = csr_list_count(sql, query, &scope, &page->total);
	if (e != E_OK)
		return e;
	page->records = calloc(query->limit, sizeof(*page->records));
	if (!page->records)
		return E_NOMEM;
	if (csr_list_is_of_active(query))
		return csr_list_read_active(sql, list->call.store, query, scope.account_id, page);
	return csr_list_read_any(sql, query, query->scope ? scope.account_id : NULL, page);
}

static void csr_list_release_page(struct store_csr_page *page)
{
	csr_list_release_rows(page);
	free(page->records);
	memset(page, 0, sizeof(*page));
}

static void csr_list_finish(struct store_op *op)
{
	struct csr_list *list = (struct csr_list *)op;

	if (op->e != E_OK)
		csr_list_release_page(&list->page);
	list->done(list->call.arg, op->e, &list->page);
	csr_list_release_page(&list->page);
	call_free(&list->call);
}

/* E_INVAL: a filter that a list cannot have, or a key of no known length. */
static void csr_list_keep_filter(struct csr_list *list, const struct store_csr_query *query)
{
	const struct store_csr_filter *filter = query->filter;

	if (!filter)
		return;
	list->filter = *filter;
	list->filter.id_prefix = call_keep(&list->call, filter->id_prefix);
	list->filter.token_name = call_keep(&list->call, filter->token_name);
	list->filter.principal_id = call_keep(&list->call, filter->principal_id);
	list->filter.name = call_keep(&list->call, filter->name);
	list->filter.san = call_keep(&list->call, filter->san);
	list->filter.word = call_keep(&list->call, filter->word);
	list->query.filter = &list->filter;
	if (query->after_id || query->updated_before_us != 0 || query->order != STORE_ORDER_CREATED_AT ||
	    (filter->key && filter->key_len != KEY_ID_BYTES && filter->key_len != KEY_SPKI_HASH_BYTES)) {
		call_refuse(&list->call, E_INVAL);
		return;
	}
	if (filter->key) {
		memcpy(list->filter_key, filter->key, filter->key_len);
		list->filter.key = list->filter_key;
	}
}

void store_csr_list(struct store *store, const struct store_csr_query *query, store_csr_page_fn done,
		    void *arg)
{
	static const struct call_type type = {sizeof(struct csr_list), STORE_OP_READS, csr_list_run,
					      csr_list_finish};
	struct csr_list *list = call_new(store, &type, arg);

	list->done = done;
	list->query = *query;
	if (query->scope) {
		list->scope = *query->scope;
		list->query.scope = &list->scope;
	}
	list->query.after_id = call_keep(&list->call, query->after_id);
	list->query.reader = call_keep(&list->call, query->reader);
	csr_list_keep_filter(list, query);
	call_check_limit(&list->call, query->limit);
	if (query->offset > INT64_MAX || (!query->after_id && (query->order < STORE_ORDER_CREATED_AT ||
							       query->order > STORE_ORDER_ACCOUNT_TAG)))
		call_refuse(&list->call, E_INVAL);
	call_submit(&list->call);
}
