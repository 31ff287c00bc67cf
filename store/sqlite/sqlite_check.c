/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for everything in a database that this program does not leave there.  Reads only. */
#include "base/log.h"
#include "store/migrate.h"
#include "store/sqlite/sqlite_file.h"
#include "store/sqlite/sqlite_upkeep.h"

#include <stdlib.h>
#include <string.h>

#define TOLD_MAX 100 /* of one kind: more say no more */

struct check {
	struct sqlite_file f;
	upkeep_problem_fn tell;
	void *arg;
};

/* ---- the rules of the schema: a trigger that was dropped guards nothing ---- */

#define SCHEMA                                                                                               \
	"SELECT type || ' ' || name AS name, coalesce(sql, '') AS text FROM sqlite_schema"                   \
	" WHERE name NOT LIKE 'sqlite_%' ORDER BY 1"

struct schema {
	char **names;
	char **texts;
	size_t len;
};

static void schema_release(struct schema *s)
{
	for (size_t i = 0; i < s->len; i++) {
		free(s->names[i]);
		free(s->texts[i]);
	}
	free(s->names);
	free(s->texts);
}

static enum err take_object(void *arg, sqlite3_stmt *row)
{
	struct schema *s = arg;
	const char *name = sqlite_file_text(row, "name");
	const char *text = sqlite_file_text(row, "text");
	char **names = reallocarray(s->names, s->len + 1, sizeof(*names)), **texts;

	if (names)
		s->names = names;
	texts = reallocarray(s->texts, s->len + 1, sizeof(*texts));
	if (texts)
		s->texts = texts;
	if (!names || !texts || !name || !text)
		return E_NOMEM;
	names[s->len] = strdup(name);
	texts[s->len] = strdup(text);
	if (!names[s->len] || !texts[s->len]) {
		free(names[s->len]);
		free(texts[s->len]);
		return E_NOMEM;
	}
	s->len++;
	return E_OK;
}

/* As the migrations up to that version make it. */
static enum err read_wanted(int version, struct schema *s)
{
	size_t len;
	const struct migrate_step *steps = migrate_steps(&len);
	struct sqlite_file f;
	enum err e = sqlite_file_open(&f, ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY,
				      "a database in memory", NULL);

	for (size_t i = 0; e == E_OK && i < len && steps[i].version <= version; i++)
		e = sqlite_file_run(&f, steps[i].sql, "run a schema step");
	if (e == E_OK)
		e = sqlite_file_each(&f, SCHEMA, take_object, s);
	sqlite_file_close(&f);
	return e;
}

/* Both are in the order of their names. */
static void compare_schemas(const struct check *c, const struct schema *wanted, const struct schema *found)
{
	size_t w = 0, f = 0;

	while (w < wanted->len || f < found->len) {
		int order = w == wanted->len  ? 1
			    : f == found->len ? -1
					      : strcmp(wanted->names[w], found->names[f]);

		if (order < 0)
			c->tell(c->arg, wanted->names[w], "is missing from the schema");
		else if (order > 0)
			c->tell(c->arg, found->names[f], "is not part of the schema");
		else if (strcmp(wanted->texts[w], found->texts[f]) != 0)
			c->tell(c->arg, found->names[f], "is not as the schema has it");
		w += order <= 0;
		f += order >= 0;
	}
}

static enum err check_schema(const struct check *c, int version)
{
	struct schema wanted = {0}, found = {0};
	enum err e = read_wanted(version, &wanted);

	if (e == E_OK)
		e = sqlite_file_each(&c->f, SCHEMA, take_object, &found);
	if (e == E_OK)
		compare_schemas(c, &wanted, &found);
	schema_release(&found);
	schema_release(&wanted);
	return e;
}

/* ---- what rows must say of each other ---- */

static enum err tell_row(void *arg, sqlite3_stmt *row)
{
	const struct check *c = arg;
	const char *object = sqlite_file_text(row, "object");
	const char *text = sqlite_file_text(row, "text");

	if (!object || !text)
		return E_NOMEM;
	c->tell(c->arg, object, text);
	return E_OK;
}

#define STRING(x) #x
#define STRING_OF(x) STRING(x)
#define AT_MOST " LIMIT " STRING_OF(TOLD_MAX)

#define COUNTERS(word, table, column, of_it)                                                                 \
	"SELECT '" word                                                                                      \
	" ' || id AS object, 'counts ' || csr_count || ' CSRs and has ' || coalesce(held, 0) ||"             \
	" ', counts ' || csr_active || ' active ones and has ' || coalesce(active, 0) AS text FROM " table   \
	" LEFT JOIN (SELECT " column " AS scope, sum(state IN (1, 2, 3)) AS held, sum(state = 2) AS active"  \
	" FROM csrs WHERE " of_it " GROUP BY " column ") ON scope = id"                                      \
	" WHERE csr_count <> coalesce(held, 0) OR csr_active <> coalesce(active, 0)" AT_MOST

/* Each row is a problem: `object` is what it is about, `text` what is wrong. */
static const char *const rules[] = {
    "SELECT 'audit trail' AS object, 'starts with record ' || min(sequence) || ', not 1' AS text FROM audit"
    " HAVING min(sequence) <> 1",
    "SELECT 'audit trail' AS object, 'record ' || (sequence - 1) || ' is missing' AS text"
    " FROM audit AS a WHERE sequence > 1"
    " AND NOT EXISTS (SELECT 1 FROM audit WHERE sequence = a.sequence - 1)" AT_MOST,
    /* The moves of state in the trail end where the row is. */
    "SELECT id AS object, 'the row is as after ' || is_now || ', the audit trail ends with ' ||"
    " coalesce(told, 'nothing') AS text FROM (SELECT id, CASE state WHEN 1 THEN 'csr.pending'"
    " WHEN 2 THEN 'csr.active' WHEN 3 THEN 'csr.deleting' WHEN 4 THEN 'csr.destroyed'"
    " ELSE 'csr.failed' END AS is_now,"
    " (SELECT action FROM audit WHERE object = csrs.id AND action IN ('csr.pending', 'csr.active',"
    " 'csr.deleting', 'csr.destroyed', 'csr.failed') ORDER BY sequence DESC LIMIT 1) AS told"
    " FROM csrs) WHERE told IS NOT is_now" AT_MOST,
    "SELECT object, 'is in the audit trail and not among the CSRs' AS text FROM audit WHERE action IN"
    " ('csr.pending', 'csr.active')"
    " AND NOT EXISTS (SELECT 1 FROM csrs WHERE id = object)" AT_MOST,
    COUNTERS("account", "accounts", "account_id", "zone_id IS NULL"),
    COUNTERS("zone", "zones", "zone_id", "zone_id IS NOT NULL"),
    "SELECT c.id AS object, 'is of zone ' || z.id || ' and of another account than that' AS text FROM csrs "
    "AS c"
    " JOIN zones AS z ON z.id = c.zone_id WHERE z.account_id <> c.account_id" AT_MOST,
};

static enum err check_rows(const struct check *c)
{
	enum err e = E_OK;

	for (size_t i = 0; e == E_OK && i < sizeof(rules) / sizeof(rules[0]); i++)
		e = sqlite_file_each(&c->f, rules[i], tell_row, (void *)(uintptr_t)c);
	return e;
}

enum err sqlite_check(const char *path, const struct upkeep_check *in, struct upkeep_summary *ret_summary)
{
	struct check c = {.tell = in->on_problem, .arg = in->arg};
	struct upkeep_summary s = {0};
	enum err e = sqlite_file_open(&c.f, path, SQLITE_OPEN_READWRITE, path, &in->watch);

	if (e == E_OK)
		e = sqlite_file_run(&c.f, "PRAGMA query_only = ON; BEGIN", "begin a transaction");
	if (e == E_OK)
		e = sqlite_file_recognise(&c.f, &s.schema_version);
	if (e == E_OK)
		e = sqlite_file_integrity(&c.f, in->full, in->on_problem, in->arg);
	if (e == E_OK)
		e = check_schema(&c, s.schema_version);
	if (e == E_OK)
		e = check_rows(&c);
	if (e == E_OK)
		e = sqlite_file_count(&c.f, &s);
	sqlite_file_close(&c.f);
	if (e == E_OK)
		*ret_summary = s;
	return e;
}
