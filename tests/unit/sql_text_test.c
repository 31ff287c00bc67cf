/* SPDX-License-Identifier: Apache-2.0 */
/* Each statement of the store is one that PostgreSQL would take, too; SQLite's own are named so. */
#include "store/sql_text.h"
#include "tests/unit/cmocka_all.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PARAMS_MAX 32

/* What SQLite alone has, or what means something else there. */
static const char *const of_sqlite[] = {
    "rowid",     "indexed by", "insert or", "replace into", "update or", "regexp", "glob",
    "nocase",    "pragma",     "attach",    "vacuum",       "sqlite_",   "x'",     "?",
    "`",         "==",         "is $",      "is not $",     "strftime(", "iif(",   "julianday(",
    "datetime(", "unixepoch(", "instr(",    "char(",        "ifnull(",   "hex(",   "typeof(",
    "printf(",   "total(",     "changes(",  "randomblob(",  "zeroblob(", "max($",  "min($",
};
/* Why SQLite may have a text of its own. */
static const char *const reasons[] = {"indexed by", "rowid", "instr("};

static bool is_word_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Whether a text holds it, as words of their own where it is words; string literals count, too. */
static bool has_words(const char *text, const char *words)
{
	size_t len = strlen(words);

	for (const char *at = text; *at; at++) {
		if (strncasecmp(at, words, len) != 0)
			continue;
		if (is_word_byte(words[0]) && at > text && is_word_byte(at[-1]))
			continue;
		if (is_word_byte(words[len - 1]) && is_word_byte(at[len]))
			continue;
		return true;
	}
	return false;
}

static void assert_numbered(const char *text, unsigned *ret_params)
{
	bool seen[PARAMS_MAX + 1] = {false};
	unsigned most = 0;

	for (const char *at = strchr(text, '$'); at; at = strchr(at + 1, '$')) {
		unsigned long number = strtoul(at + 1, NULL, 10);

		assert_in_range(number, 1, PARAMS_MAX);
		seen[number] = true;
		most = number > most ? (unsigned)number : most;
	}
	for (unsigned i = 1; i <= most; i++)
		if (!seen[i])
			fail_msg("$%u is missing in: %s", i, text);
	*ret_params = most;
}

static const char *find_param(const char *text, unsigned number)
{
	char name[8];
	size_t len = (size_t)snprintf(name, sizeof(name), "$%u", number);
	const char *at = strstr(text, name);

	while (at && isdigit((unsigned char)at[len]))
		at = strstr(at + 1, name);
	assert_non_null(at);
	return at;
}

/* PostgreSQL takes the type of a parameter from where it first stands: "$1 IS NULL" has none, "$1 = 0" a
 * short one. */
static void assert_typed(const char *text, unsigned params)
{
	for (unsigned i = 1; i <= params; i++) {
		const char *after = find_param(text, i) + (i < 10 ? 2 : 3);

		if (strncmp(after, " IS NULL", 8) == 0 || strncmp(after, " = 0", 4) == 0)
			fail_msg("$%u has no type where it first stands: %s", i, text);
	}
}

static void statements_are_for_every_engine(void **state)
{
	(void)state;
	for (size_t i = 0; i < sql_text_count(); i++) {
		const char *text = sql_text_at(i)->text;
		unsigned params;

		assert_non_null(text);
		for (size_t w = 0; w < sizeof(of_sqlite) / sizeof(of_sqlite[0]); w++)
			if (has_words(text, of_sqlite[w]))
				fail_msg("'%s' is SQLite's own: %s", of_sqlite[w], text);
		assert_numbered(text, &params);
		assert_typed(text, params);
	}
}

static void own_texts_of_sqlite_have_a_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sql_text_count(); i++) {
		const struct sql_text *text = sql_text_at(i);
		unsigned params, own_params;
		bool has_reason = false;

		if (!text->sqlite)
			continue;
		for (size_t r = 0; r < sizeof(reasons) / sizeof(reasons[0]); r++)
			has_reason = has_reason || has_words(text->sqlite, reasons[r]);
		if (!has_reason)
			fail_msg("every engine could take it: %s", text->sqlite);
		assert_numbered(text->text, &params);
		assert_numbered(text->sqlite, &own_params);
		assert_int_equal(own_params, params);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(statements_are_for_every_engine),
	    cmocka_unit_test(own_texts_of_sqlite_have_a_reason),
	};

	return cmocka_run_group_tests_name("sql_text", tests, NULL, NULL);
}
