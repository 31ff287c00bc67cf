/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl token, csrctl user: list, revoke and roll; csrctl principal revoke. */
#include "api/credential.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/each.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/principal_words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- list ---- */

struct list {
	const struct principal_words *kind;
	struct names *names;
	int64_t now_us;
	size_t soon; /* that end within SOON_DAYS */
	struct output_list out;
};

static void cmd_principal_put_json(struct list *list, const struct principal *p)
{
	struct json_writer *w = &list->out.j.w;

	json_open_object(w);
	json_put_text_member(w, "id", p->id);
	json_put_text_member(w, list->kind->name, p->name);
	json_put_text_member(w, "status", principal_words_status(p, list->now_us));
	principal_words_put_members(w, list->names, p);
	json_close(w);
}

static void cmd_principal_put_row(struct list *list, const struct principal *p)
{
	struct output_table *t = &list->out.table;
	struct buf grants;

	buf_init(&grants, PRINCIPAL_WORDS_GRANTS_MAX);
	names_format_grants(list->names, p, &grants);
	output_table_put(t, p->id);
	output_table_put(t, p->name);
	output_table_put(t, principal_words_status(p, list->now_us));
	output_table_put_time(t, p->created_us, NULL);
	output_table_put_time(t, p->expires_us, "never");
	output_table_put_time(t, p->last_used_us, "never");
	output_table_put(t, buf_text(&grants));
	buf_release(&grants);
}

#define SOON_DAYS 14

static bool ends_soon(const struct principal *p, int64_t now_us)
{
	return !p->revoked_us && p->expires_us > now_us &&
	       p->expires_us - now_us < (int64_t)SOON_DAYS * 24 * 3600 * 1000000;
}

static enum err cmd_principal_list_one(void *arg, const struct principal *p)
{
	struct list *list = arg;

	if (ends_soon(p, list->now_us))
		list->soon++;
	if (list->out.json)
		cmd_principal_put_json(list, p);
	else
		cmd_principal_put_row(list, p);
	output_list_next(&list->out);
	return E_OK;
}

static enum exit_code list_all(struct cli *cli, int argc, char **argv, const struct principal_words *kind,
			       const struct output_column *columns, size_t columns_len)
{
	static const struct option options[] = {CLI_OPTIONS};
	struct list list = {.kind = kind, .now_us = clock_wall_us()};
	enum exit_code code;
	enum err e;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 0, 0);
	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK)
		code = names_load(cli, &list.names);
	if (code != EXIT_CODE_OK)
		return code;
	output_list_begin(&list.out, cli->json, kind->array, columns, columns_len);
	e = each_principal(cli, kind->kind, cmd_principal_list_one, &list);
	names_free(list.names);
	if (e != E_OK) {
		output_list_drop(&list.out);
		return cli_fail(e, "cannot list the %s: %s", kind->array, err_str(e));
	}
	code = output_list_end(&list.out);
	if (list.soon > 0)
		cli_note("%zu %s within %d days", list.soon, list.soon == 1 ? "expires" : "expire",
			 SOON_DAYS);
	return code;
}

enum exit_code cmd_token_list(struct cli *cli, int argc, char **argv)
{
	static const struct output_column columns[] = {
	    {"ID", OUTPUT_ID},         {"NAME", OUTPUT_CUT},      {"STATUS", OUTPUT_WHOLE},
	    {"CREATED", OUTPUT_WHOLE}, {"EXPIRES", OUTPUT_WHOLE}, {"USED", OUTPUT_WHOLE},
	    {"GRANTS", OUTPUT_CUT},
	};

	return list_all(cli, argc, argv, &principal_words_token, columns,
			sizeof(columns) / sizeof(columns[0]));
}

enum exit_code cmd_user_list(struct cli *cli, int argc, char **argv)
{
	static const struct output_column columns[] = {
	    {"ID", OUTPUT_ID},         {"EMAIL", OUTPUT_CUT},     {"STATUS", OUTPUT_WHOLE},
	    {"CREATED", OUTPUT_WHOLE}, {"EXPIRES", OUTPUT_WHOLE}, {"USED", OUTPUT_WHOLE},
	    {"GRANTS", OUTPUT_CUT},
	};

	return list_all(cli, argc, argv, &principal_words_user, columns,
			sizeof(columns) / sizeof(columns[0]));
}

/* ---- revoke ---- */

#define PREFIX_CHARS_MIN 4

struct candidate {
	char id[CSR_ID_SIZE];
	char *name; /* owned */
	int64_t revoked_us;
	int64_t expires_us; /* 0: never */
	size_t found;       /* how many there are; it is the last one */
};

struct search {
	const char *text; /* id, its first characters, or the name of one that is not revoked */
	struct candidate named, begins;
};

static void search_release(struct search *search)
{
	free(search->named.name);
	free(search->begins.name);
	search->named = search->begins = (struct candidate){.found = 0};
}

static bool is_named(const struct principal *p, const char *text)
{
	return !p->revoked_us && str_equal_ignoring_case(p->name, text);
}

static bool begins_with(const struct principal *p, const char *text)
{
	return strlen(text) >= PREFIX_CHARS_MIN && strncasecmp(p->id, text, strlen(text)) == 0;
}

static enum err candidate_take(struct candidate *candidate, const struct principal *p)
{
	candidate->found++;
	memcpy(candidate->id, p->id, sizeof(candidate->id));
	candidate->revoked_us = p->revoked_us;
	candidate->expires_us = p->expires_us;
	free(candidate->name);
	candidate->name = NULL;
	return str_dup_opt(p->name, &candidate->name) ? E_OK : E_NOMEM;
}

static enum err search_try(void *arg, const struct principal *p)
{
	struct search *search = arg;
	enum err e = is_named(p, search->text) ? candidate_take(&search->named, p) : E_OK;

	return e == E_OK && begins_with(p, search->text) ? candidate_take(&search->begins, p) : e;
}

/* By name first: a name may look like the first characters of another's id. */
static const struct candidate *search_best(const struct search *search)
{
	return search->named.found > 0 ? &search->named : &search->begins;
}

/* *ret_found is the search's. */
static enum exit_code cmd_principal_find(struct cli *cli, const struct principal_words *kind,
					 struct search *search, const struct candidate **ret_found)
{
	search_release(search);
	enum err e = each_principal(cli, kind->kind, search_try, search);
	const struct candidate *best = search_best(search);

	if (e != E_OK)
		return cli_fail(e, "cannot list the %s: %s", kind->array, err_str(e));
	if (best->found > 1)
		return cli_fail(E_EXISTS,
				"%zu %s are called '%s' or begin so: give the id, see 'csrctl %s list'",
				best->found, kind->array, search->text, kind->noun);
	if (best->found == 0)
		return cli_fail(E_NOTFOUND, "no such %s '%s': see 'csrctl %s list'", kind->noun, search->text,
				kind->noun);
	*ret_found = best;
	return EXIT_CODE_OK;
}

static enum exit_code print_revoked(const struct cli *cli, const struct principal_words *kind,
				    const struct candidate *revoked)
{
	struct output_json j;

	if (cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", revoked->id);
		json_put_text_member(&j.w, kind->name, revoked->name);
		json_put_time_member(&j.w, "revoked_at", revoked->revoked_us);
		return output_json_end(&j);
	}
	output_fact("id", revoked->id);
	output_fact(kind->name, revoked->name);
	output_fact_time("revoked", revoked->revoked_us, NULL);
	return EXIT_CODE_OK;
}

static enum exit_code revoke_found(struct cli *cli, const struct principal_words *kind,
				   const struct candidate *found)
{
	struct cli_wait wait = {0};

	if (found->revoked_us) {
		cli_note("the %s '%s' was revoked before", kind->noun, found->name);
		return EXIT_CODE_OK;
	}
	store_principal_revoke(cli->store, kind->kind, found->id, &cli->origin, cli_on_done, &wait);
	store_wait(cli->store, &wait.done);
	return wait.e == E_OK ? EXIT_CODE_OK
			      : cli_fail(wait.e, "cannot revoke the %s '%s': %s", kind->noun, found->name,
					 err_str(wait.e));
}

static enum exit_code revoke(struct cli *cli, int argc, char **argv, const struct principal_words *kind)
{
	static const struct option options[] = {CLI_OPTIONS};
	struct search search = {0};
	const struct candidate *found;
	char id[CSR_ID_SIZE];
	enum exit_code code;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 1, 1);
	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code != EXIT_CODE_OK)
		return code;
	search.text = argv[optind];
	code = cmd_principal_find(cli, kind, &search, &found);
	if (code == EXIT_CODE_OK)
		code = revoke_found(cli, kind, found);
	if (code == EXIT_CODE_OK && !found->revoked_us) {
		memcpy(id, found->id, sizeof(id));
		search.text = id; /* the time is the store's */
		code = cmd_principal_find(cli, kind, &search, &found);
	}
	if (code == EXIT_CODE_OK)
		code = print_revoked(cli, kind, found);
	search_release(&search);
	return code;
}

enum exit_code cmd_token_revoke(struct cli *cli, int argc, char **argv)
{
	return revoke(cli, argc, argv, &principal_words_token);
}

enum exit_code cmd_principal_revoke(struct cli *cli, int argc, char **argv)
{
	return revoke(cli, argc, argv, &principal_words_peer);
}

enum exit_code cmd_user_revoke(struct cli *cli, int argc, char **argv)
{
	return revoke(cli, argc, argv, &principal_words_user);
}

/* ---- roll ---- */

struct cmd_roll {
	uint64_t grace_ms;
	struct search search;
	char secret[CREDENTIAL_TOKEN_SIZE]; /* the longer of the two */
};

static enum exit_code cmd_roll_read(struct cli *cli, int argc, char **argv, struct cmd_roll *roll)
{
	static const struct option options[] = {{"grace", required_argument, NULL, 'g'}, CLI_OPTIONS};
	const uint64_t longest_ms = UINT64_C(365) * 24 * 3600 * 1000;
	enum exit_code code;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c != 'g')
			return EXIT_CODE_USAGE;
		if (clock_parse_duration(optarg, &roll->grace_ms) != E_OK || roll->grace_ms > longest_ms)
			return cli_usage(cli, "--grace '%s': a time up to 365d, as in 30m, 24h, 7d; or 0",
					 optarg);
	}
	code = cli_arguments(cli, argc, argv, 1, 1);
	if (code == EXIT_CODE_OK)
		roll->search.text = argv[optind];
	return code;
}

static enum exit_code cmd_roll_found(struct cli *cli, const struct principal_words *kind,
				     const struct candidate *found, struct cmd_roll *roll)
{
	struct store_roll change = {
	    .kind = kind->kind, .id = found->id, .grace_us = (int64_t)roll->grace_ms * 1000};
	struct cli_wait wait = {0};
	enum err e;

	if (found->revoked_us)
		return cli_fail(E_INVAL, "the %s '%s' was revoked: create a new one", kind->noun,
				found->name);
	if (found->expires_us && found->expires_us <= clock_wall_us())
		return cli_fail(E_INVAL, "the %s '%s' has expired: create a new one", kind->noun,
				found->name);
	e = kind->kind == PRINCIPAL_TOKEN ? credential_make_token(roll->secret)
					  : credential_make_key(roll->secret);
	if (e == E_OK)
		e = credential_hash(roll->secret, change.secret_hash);
	if (e != E_OK)
		return cli_fail(e, "cannot make a %s: %s", kind->secret,
				e == E_IO ? strerror(errno) : err_str(e));
	store_principal_roll(cli->store, &change, &cli->origin, cli_on_done, &wait);
	store_wait(cli->store, &wait.done);
	return wait.e == E_OK ? EXIT_CODE_OK
			      : cli_fail(wait.e, "cannot roll the %s '%s': %s", kind->noun, found->name,
					 err_str(wait.e));
}

static enum exit_code cmd_roll_print(const struct cli *cli, const struct principal_words *kind,
				     const struct candidate *found, const struct cmd_roll *roll)
{
	int64_t until_us = clock_wall_us() + (int64_t)roll->grace_ms * 1000;
	enum exit_code code = EXIT_CODE_OK;
	struct output_json j;

	if (found->expires_us && until_us > found->expires_us)
		until_us = found->expires_us;
	if (cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", found->id);
		json_put_text_member(&j.w, kind->name, found->name);
		json_put_text_member(&j.w, kind->secret, roll->secret);
		output_json_time_opt(&j.w, "old_valid_until", roll->grace_ms > 0 ? until_us : 0);
		code = output_json_end(&j);
	} else {
		output_fact("id", found->id);
		output_fact(kind->name, found->name);
		output_fact(kind->secret, roll->secret);
		output_fact_time("old one valid until", roll->grace_ms > 0 ? until_us : 0,
				 "it is not valid any more");
	}
	cli_note("the %s is shown only this once: the store keeps only its hash", kind->secret);
	return code;
}

static enum exit_code cmd_roll_of_kind(struct cli *cli, int argc, char **argv,
				       const struct principal_words *kind)
{
	struct cmd_roll roll = {0};
	const struct candidate *found;
	enum exit_code code = cmd_roll_read(cli, argc, argv, &roll);

	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code != EXIT_CODE_OK)
		return code;
	code = cmd_principal_find(cli, kind, &roll.search, &found);
	if (code == EXIT_CODE_OK)
		code = cmd_roll_found(cli, kind, found, &roll);
	if (code == EXIT_CODE_OK)
		code = cmd_roll_print(cli, kind, found, &roll);
	secret_scrub(roll.secret, sizeof(roll.secret));
	search_release(&roll.search);
	return code;
}

enum exit_code cmd_token_roll(struct cli *cli, int argc, char **argv)
{
	return cmd_roll_of_kind(cli, argc, argv, &principal_words_token);
}

enum exit_code cmd_user_roll(struct cli *cli, int argc, char **argv)
{
	return cmd_roll_of_kind(cli, argc, argv, &principal_words_user);
}
