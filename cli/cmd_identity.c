/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl principal: whoever may call, by whatever they are known; and what they are known by. */
#include "base/clock.h"
#include "cli/arg_identity.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/each.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/principal_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- list and show ---- */

struct principals {
	struct names *names;
	int64_t now_us;
	const char *only_id; /* NULL: all */
	bool is_found;
	struct output_list out;
};

static void cmd_identity_put_json(struct json_writer *w, const struct principals *all,
				  const struct principal *p)
{
	const struct principal_words *words = principal_words_of(p->kind);

	json_put_text_member(w, "id", p->id);
	json_put_text_member(w, "kind", words->noun);
	json_put_text_member(w, words->name, p->name);
	json_put_text_member(w, "status", principal_words_status(p, all->now_us));
	principal_words_put_members(w, all->names, p);
}

static void cmd_identity_put_row(struct output_table *t, const struct principals *all,
				 const struct principal *p)
{
	struct buf text;

	output_table_put(t, p->id);
	output_table_put(t, principal_words_of(p->kind)->noun);
	output_table_put(t, p->name);
	output_table_put(t, principal_words_status(p, all->now_us));
	buf_init(&text, PRINCIPAL_WORDS_GRANTS_MAX);
	principal_words_format_known_by(p, &text);
	output_table_put(t, buf_text(&text));
	buf_reset(&text);
	names_format_grants(all->names, p, &text);
	output_table_put(t, buf_text(&text));
	buf_release(&text);
}

static enum err cmd_identity_list_one(void *arg, const struct principal *p)
{
	struct principals *all = arg;

	if (all->out.json) {
		json_open_object(&all->out.j.w);
		cmd_identity_put_json(&all->out.j.w, all, p);
		json_close(&all->out.j.w);
	} else {
		cmd_identity_put_row(&all->out.table, all, p);
	}
	output_list_next(&all->out);
	return E_OK;
}

static enum err cmd_identity_each(struct cli *cli, each_principal_fn take, struct principals *all)
{
	enum err e = each_principal(cli, PRINCIPAL_PEER, take, all);

	if (e == E_OK)
		e = each_principal(cli, PRINCIPAL_TOKEN, take, all);
	return e == E_OK ? each_principal(cli, PRINCIPAL_USER, take, all) : e;
}

/* Options, as many arguments, the store, and the names of all that is there. */
static enum exit_code cmd_identity_begin(struct cli *cli, int argc, char **argv, int arguments,
					 struct principals *all)
{
	static const struct option options[] = {CLI_OPTIONS};
	enum exit_code code;

	all->now_us = clock_wall_us();
	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, arguments, arguments);
	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	return code == EXIT_CODE_OK ? names_load(cli, &all->names) : code;
}

enum exit_code cmd_principal_list(struct cli *cli, int argc, char **argv)
{
	static const struct output_column columns[] = {
	    {"ID", OUTPUT_ID},        {"KIND", OUTPUT_WHOLE},   {"NAME", OUTPUT_CUT},
	    {"STATUS", OUTPUT_WHOLE}, {"KNOWN BY", OUTPUT_CUT}, {"GRANTS", OUTPUT_CUT},
	};
	struct principals all = {0};
	enum exit_code code = cmd_identity_begin(cli, argc, argv, 0, &all);
	enum err e;

	if (code != EXIT_CODE_OK)
		return code;
	output_list_begin(&all.out, cli->json, "principals", columns, sizeof(columns) / sizeof(columns[0]));
	e = cmd_identity_each(cli, cmd_identity_list_one, &all);
	names_free(all.names);
	if (e != E_OK) {
		output_list_drop(&all.out);
		return cli_fail(e, "cannot list the principals: %s", err_str(e));
	}
	return output_list_end(&all.out);
}

static void cmd_identity_print(const struct principals *all, const struct principal *p)
{
	const struct principal_words *words = principal_words_of(p->kind);
	struct buf text;

	output_fact("id", p->id);
	output_fact("kind", words->noun);
	output_fact(words->name, p->name);
	output_fact("status", principal_words_status(p, all->now_us));
	buf_init(&text, PRINCIPAL_WORDS_GRANTS_MAX);
	principal_words_format_known_by(p, &text);
	output_fact("known by", buf_text(&text));
	buf_reset(&text);
	names_format_grants(all->names, p, &text);
	output_fact("grants", buf_text(&text));
	buf_release(&text);
	output_fact_time("created", p->created_us, NULL);
	output_fact_time("not before", p->not_before_us, NULL);
	output_fact_time("expires", p->expires_us, "never");
	output_fact_time("revoked", p->revoked_us, NULL);
}

static enum err cmd_identity_show_one(void *arg, const struct principal *p)
{
	struct principals *all = arg;

	if (strcmp(p->id, all->only_id) != 0)
		return E_OK;
	all->is_found = true;
	if (all->out.json)
		cmd_identity_put_json(&all->out.j.w, all, p);
	else
		cmd_identity_print(all, p);
	return E_OK;
}

/* The one of that id, as it is now. */
static enum exit_code cmd_identity_show(struct cli *cli, struct principals *all, const char *id)
{
	enum exit_code code = EXIT_CODE_OK;
	enum err e;

	all->only_id = id;
	all->out.json = cli->json;
	if (cli->json)
		output_json_begin(&all->out.j);
	e = cmd_identity_each(cli, cmd_identity_show_one, all);
	if (cli->json && e == E_OK && all->is_found)
		code = output_json_end(&all->out.j);
	else if (cli->json)
		buf_release(&all->out.j.buf);
	if (e != E_OK)
		return cli_fail(e, "cannot read the principal '%s': %s", id, err_str(e));
	return all->is_found ? code : cli_fail(E_NOTFOUND, "no such principal '%s'", id);
}

enum exit_code cmd_principal_show(struct cli *cli, int argc, char **argv)
{
	struct principals all = {0};
	char id[CSR_ID_SIZE];
	enum exit_code code = cmd_identity_begin(cli, argc, argv, 1, &all);

	if (code == EXIT_CODE_OK)
		code = names_find_principal(all.names, argv[optind], id);
	if (code == EXIT_CODE_OK)
		code = cmd_identity_show(cli, &all, id);
	names_free(all.names);
	return code;
}

/* ---- bind and unbind ---- */

#define IDENTITIES_MAX 64 /* in one command */

struct binding {
	bool removes;
	struct identity identities[IDENTITIES_MAX];
	size_t identities_len;
};

static enum exit_code cmd_identity_read_options(struct cli *cli, int argc, char **argv, struct binding *b)
{
	static const struct option options[] = {ARG_IDENTITY_OPTIONS, CLI_OPTIONS};
	enum exit_code code = EXIT_CODE_OK;
	int c;

	while (code == EXIT_CODE_OK && (c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (!arg_identity_is(c))
			return EXIT_CODE_USAGE;
		if (b->identities_len == IDENTITIES_MAX)
			return cli_usage(cli, "more than %d identities", IDENTITIES_MAX);
		code = arg_identity(cli, c, optarg, &b->identities[b->identities_len]);
		if (code == EXIT_CODE_OK)
			b->identities_len++;
	}
	if (code == EXIT_CODE_OK)
		code = cli_arguments(cli, argc, argv, 1, 1);
	if (code == EXIT_CODE_OK && b->identities_len == 0)
		return cli_usage(cli, "--cert-san, --cert-subject or --unix-user is missing");
	return code;
}

static enum exit_code cmd_identity_change(struct cli *cli, const struct binding *b, const char *id,
					  const struct identity *identity)
{
	struct store_identity_change in = {
	    .principal_id = id, .kind = identity->kind, .value = identity->value, .removes = b->removes};
	const char *kind = identity_kind_name(identity->kind);
	struct audit_origin origin = cli->origin;
	struct cli_wait wait = {0};
	struct buf detail;

	buf_init(&detail, IDENTITY_BYTES_MAX + 64);
	buf_printf(&detail, "%s:%s", kind, identity->value);
	origin.detail = buf_text(&detail);
	store_identity_change(cli->store, &in, &origin, cli_on_done, &wait);
	store_wait(cli->store, &wait.done);
	buf_release(&detail);
	if (wait.e == E_EXISTS)
		return cli_fail(wait.e,
				"'%s:%s' is bound already: see 'csrctl principal list', and unbind it there",
				kind, identity->value);
	if (wait.e == E_NOTFOUND)
		return cli_fail(wait.e, "'%s:%s' is not bound to it: see 'csrctl principal list'", kind,
				identity->value);
	if (wait.e == E_INVAL)
		return cli_fail(wait.e, "the principal is revoked: nothing can be bound to it");
	return wait.e == E_OK
		   ? EXIT_CODE_OK
		   : cli_fail(wait.e, "cannot change '%s:%s': %s", kind, identity->value, err_str(wait.e));
}

static enum exit_code cmd_identity_bind(struct cli *cli, int argc, char **argv, bool removes)
{
	struct binding b = {.removes = removes};
	struct principals all = {.now_us = clock_wall_us()};
	char id[CSR_ID_SIZE];
	enum exit_code code = cmd_identity_read_options(cli, argc, argv, &b);

	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK)
		code = names_load(cli, &all.names);
	if (code == EXIT_CODE_OK)
		code = names_find_principal(all.names, argv[optind], id);
	for (size_t i = 0; code == EXIT_CODE_OK && i < b.identities_len; i++)
		code = cmd_identity_change(cli, &b, id, &b.identities[i]);
	if (code == EXIT_CODE_OK)
		code = cmd_identity_show(cli, &all, id);
	for (size_t i = 0; i < b.identities_len; i++)
		free(b.identities[i].value);
	names_free(all.names);
	return code;
}

enum exit_code cmd_principal_bind(struct cli *cli, int argc, char **argv)
{
	return cmd_identity_bind(cli, argc, argv, false);
}

enum exit_code cmd_principal_unbind(struct cli *cli, int argc, char **argv)
{
	return cmd_identity_bind(cli, argc, argv, true);
}
