/* SPDX-License-Identifier: Apache-2.0 */
/* Fences along the long lists. */
#include "store/fence.h"

#include "store/audit.h"
#include "store/call.h"
#include "store/sql.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 12 /* lists that are remembered: the one that was not asked for the longest makes room */
#define CHANGES_MAX 20000 /* more than those, and fences are set anew */

/* Rows behind `mark`, as far as the next fence's own row. */
struct fence {
	struct walk_mark mark;
	uint64_t rows;
};

/* One list. */
struct line {
	struct store_scope scope;
	enum store_order order; /* 0: none */
	int64_t sequence;       /* of the last audit record that it knows of */
	uint64_t used;
	struct fence *fences;
	size_t fences_len;
};

struct fences {
	pthread_mutex_t lock; /* held while a line is looked at or set */
	uint64_t used;
	struct line lines[LINES_MAX];
};

/* ---- statements ---- */

/* What the rows behind a row are ordered by, of the index alone: $3 its id, $4 what else its order is by. */
#define MARKS(index, what, where, by)                                                                        \
	SQL_ALONG(index, "SELECT " what ", id FROM csrs",                                                    \
		  " WHERE state = 2 AND account_id = $1 AND zone_id IS NOT DISTINCT FROM $2"                 \
		  " AND " where " ORDER BY " by)
/* Which rows joined and left the lists of active CSRs by the audit records behind $1, as far as $2. */
#define CHANGES(of_scope)                                                                                    \
	{                                                                                                    \
		"SELECT CASE WHEN audit.action = 'csr.active' THEN 1 ELSE 0 END AS joined,"                  \
		" csrs.created_us AS created_us,"                                                            \
		" csrs.name AS name, csrs.id AS id FROM audit CROSS JOIN csrs"                               \
		" WHERE csrs.id = audit.object AND audit.sequence > $1 AND audit.sequence <= $2"             \
		" AND audit.action IN ('csr.active', 'csr.deleting') AND " of_scope                          \
		" ORDER BY audit.sequence"                                                                   \
	}

enum {
	MARKS_BY_CREATED,
	MARKS_BY_NAME,
	MARKS_NAMELESS,
	MARKS_BY_ID,
	CHANGES_OF_ACCOUNT,
	CHANGES_OF_ZONE,
};
static const struct sql_text fence_texts[] = {
    [MARKS_BY_CREATED] = MARKS("csrs_active_created", "created_us, NULL AS name",
			       "(created_us, id) > ($4, $3)", "created_us, id"),
    [MARKS_BY_NAME] = MARKS("csrs_active_name", "0 AS created_us, name", "(name, id) > ($4, $3)", "name, id"),
    [MARKS_NAMELESS] = MARKS("csrs_active_name", "0 AS created_us, name", "name IS NULL AND id > $3", "id"),
    [MARKS_BY_ID] = MARKS("csrs_active_id", "0 AS created_us, NULL AS name", "id > $3", "id"),
    [CHANGES_OF_ACCOUNT] = CHANGES("csrs.account_id = $3 AND csrs.zone_id IS NULL"),
    [CHANGES_OF_ZONE] = CHANGES("csrs.zone_id = $3"),
};
const struct sql_texts fence_sql = SQL_TEXTS(fence_texts);

/* ---- lines ---- */

static void line_release(struct line *line)
{
	for (size_t i = 0; i < line->fences_len; i++)
		walk_mark_release(&line->fences[i].mark);
	free(line->fences);
	memset(line, 0, sizeof(*line));
}

struct fences *fences_new(void)
{
	struct fences *fences = calloc(1, sizeof(*fences));

	if (fences)
		pthread_mutex_init(&fences->lock, NULL);
	return fences;
}

void fences_free(struct fences *fences)
{
	if (!fences)
		return;
	for (size_t i = 0; i < LINES_MAX; i++)
		line_release(&fences->lines[i]);
	pthread_mutex_destroy(&fences->lock);
	free(fences);
}

static struct line *fences_line(struct fences *fences, const struct fence_list *list)
{
	struct line *oldest = &fences->lines[0];

	for (size_t i = 0; i < LINES_MAX; i++) {
		struct line *line = &fences->lines[i];

		if (line->order == list->order && store_scope_equal(&line->scope, list->scope))
			return line;
		if (line->used < oldest->used)
			oldest = line;
	}
	line_release(oldest);
	oldest->scope = *list->scope;
	oldest->order = list->order;
	return oldest;
}

static uint64_t line_rows(const struct line *line)
{
	uint64_t rows = 0;

	for (size_t i = 0; i < line->fences_len; i++)
		rows += line->fences[i].rows;
	return rows;
}

/* A fence with nothing behind it yet, before the one at `at`.  `mark` is copied. */
static enum err line_add(struct line *line, size_t at, const struct walk_mark *mark)
{
	struct fence fence = {.rows = 0};
	void *fences = line->fences;
	struct fence *room;

	if (!walk_mark_copy(mark, &fence.mark))
		return E_NOMEM;
	room = call_append(&fences, &line->fences_len, sizeof(*room));
	if (!room) {
		walk_mark_release(&fence.mark);
		return E_NOMEM;
	}
	line->fences = fences;
	memmove(&line->fences[at + 1], &line->fences[at], (line->fences_len - 1 - at) * sizeof(*room));
	line->fences[at] = fence;
	return E_OK;
}

/* ---- setting fences ---- */

/* The rows behind a mark, by what they are ordered by: those that have a name, or those that have none. */
static struct sql_query fence_ask(struct sql *sql, const struct fence_list *list,
				  const struct walk_mark *mark)
{
	static const unsigned by_order[] = {
	    [STORE_ORDER_CREATED_AT] = MARKS_BY_CREATED,
	    [STORE_ORDER_NAME] = MARKS_BY_NAME,
	    [STORE_ORDER_ACCOUNT_TAG] = MARKS_BY_ID,
	};
	bool nameless = list->order == STORE_ORDER_NAME && !mark->name;
	unsigned which = nameless ? MARKS_NAMELESS : by_order[list->order];
	struct sql_query q = sql_ask(sql, &fence_texts[which], "look along a list of CSRs");

	sql_put_text(&q, list->account_id);
	sql_put_text(&q, list->scope->kind == STORE_ZONE ? list->scope->id : NULL);
	sql_put_text(&q, mark->id);
	if (which == MARKS_BY_NAME)
		sql_put_text(&q, mark->name);
	if (which == MARKS_BY_CREATED)
		sql_put_int(&q, mark->created_us);
	return q;
}

static struct walk_mark fence_read_mark(struct sql_query *q)
{
	struct walk_mark mark = {.created_us = sql_int(q, "created_us")};

	sql_text(q, "name", &mark.name);
	sql_fixed(q, "id", mark.id, sizeof(mark.id));
	return mark;
}

/* Counts the rows behind the fence at `at`, `most` at most, and sets others among them. */
static enum err line_survey(struct line *line, struct sql *sql, const struct fence_list *list, size_t at,
			    uint64_t most)
{
	struct walk_mark from; /* a copy: fences move when others are set */

	if (!walk_mark_copy(&line->fences[at].mark, &from))
		return E_NOMEM;
	struct sql_query q = fence_ask(sql, list, &from);
	line->fences[at].rows = 0;
	for (uint64_t rows = 1; rows <= most && sql_next(&q); rows++) {
		line->fences[at].rows++;
		if (line->fences[at].rows < FENCE_STEP || rows == most)
			continue;
		struct walk_mark mark = fence_read_mark(&q);
		at++;
		sql_fail(&q, line_add(line, at, &mark));
		walk_mark_release(&mark);
	}
	enum err e = sql_done(&q);
	walk_mark_release(&from);
	return e;
}

static enum err line_set(struct line *line, struct sql *sql, const struct fence_list *list)
{
	static char no_name[] = "";
	const struct walk_mark first = {.created_us = INT64_MIN}, first_named = {.name = no_name};
	const struct store_scope scope = line->scope;
	enum err e;

	line_release(line);
	line->scope = scope;
	line->order = list->order;
	e = line_add(line, 0, &first);
	if (e == E_OK)
		e = line_survey(line, sql, list, 0, UINT64_MAX);
	if (e == E_OK && list->order == STORE_ORDER_NAME) {
		e = line_add(line, line->fences_len, &first_named);
		if (e == E_OK)
			e = line_survey(line, sql, list, line->fences_len - 1, UINT64_MAX);
	}
	return e;
}

/* ---- following what comes and goes ---- */

/* The last fence before a row. */
static size_t line_fence_of(const struct line *line, const struct walk_mark *row)
{
	size_t low = 0, high = line->fences_len;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (walk_compare(line->order, &line->fences[middle].mark, row) < 0)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* E_NOTFOUND: too much has changed, or not as it is told. */
static enum err line_follow(struct line *line, struct sql *sql, const struct fence_list *list,
			    int64_t sequence)
{
	bool in_zone = list->scope->kind == STORE_ZONE, fits = true;
	struct sql_query q;

	if (sequence - line->sequence > CHANGES_MAX)
		return E_NOTFOUND;
	q = sql_ask(sql, &fence_texts[in_zone ? CHANGES_OF_ZONE : CHANGES_OF_ACCOUNT],
		    "see what a list has become");
	sql_put_int(&q, line->sequence);
	sql_put_int(&q, sequence);
	sql_put_text(&q, list->scope->id);
	while (fits && sql_next(&q)) {
		bool joined = sql_int(&q, "joined") != 0;
		struct walk_mark row = fence_read_mark(&q);
		struct fence *fence = &line->fences[line_fence_of(line, &row)];
		walk_mark_release(&row);
		fits = joined || fence->rows > 0;
		if (fits && q.e == E_OK)
			fence->rows += joined ? 1 : (uint64_t)-1;
	}
	enum err e = sql_done(&q);
	if (e == E_OK && (!fits || line_rows(line) != list->total))
		e = E_NOTFOUND;
	return e;
}

/* A fence with many rows behind it gets others among them. */
static enum err line_thicken(struct line *line, struct sql *sql, const struct fence_list *list)
{
	enum err e = E_OK;

	for (size_t i = 0; e == E_OK && i < line->fences_len; i++) {
		if (line->fences[i].rows > 2 * FENCE_STEP)
			e = line_survey(line, sql, list, i, line->fences[i].rows);
	}
	return e;
}

/* One that another thread has brought further than this transaction sees will do: it was so just after. */
static enum err line_update(struct line *line, struct sql *sql, const struct fence_list *list)
{
	int64_t sequence;
	enum err e = audit_last_sequence(sql, &sequence);

	if (e != E_OK)
		return e;
	if (line->fences_len > 0 && sequence <= line->sequence)
		return E_OK;
	e = line->fences_len == 0 ? E_NOTFOUND : line_follow(line, sql, list, sequence);
	if (e == E_OK)
		e = line_thicken(line, sql, list);
	else if (e == E_NOTFOUND)
		e = line_set(line, sql, list);
	line->sequence = sequence;
	return e;
}

static enum err line_find(const struct line *line, uint64_t rank, struct fence_place *ret_place)
{
	for (size_t i = 0; i < line->fences_len; i++) {
		const struct fence *fence = &line->fences[i];

		if (rank >= fence->rows) {
			rank -= fence->rows;
			continue;
		}
		if (!walk_mark_copy(&fence->mark, &ret_place->mark))
			return E_NOMEM;
		ret_place->skip = rank;
		return E_OK;
	}
	return E_NOTFOUND;
}

enum err fences_find(struct fences *fences, struct sql *sql, const struct fence_list *list, uint64_t rank,
		     struct fence_place *ret_place)
{
	pthread_mutex_lock(&fences->lock);
	struct line *line = fences_line(fences, list);
	line->used = ++fences->used;
	enum err e = line_update(line, sql, list);
	if (e == E_OK)
		e = line_find(line, rank, ret_place);
	else
		line_release(line);
	pthread_mutex_unlock(&fences->lock);
	return e;
}
