/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl policy set, show and list. */
#include "api/policy_judge.h"
#include "base/str.h"
#include "cli/audit_output.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/each.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/policy_input.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_ROWS 500

/* Behind the options: ACCOUNT, unless there is a zone, and up to `more` arguments. */
static enum exit_code policy_take_target(struct cli *cli, int argc, char **argv, int more,
					 struct policy_target *target)
{
	int own = target->zone ? 0 : 1;
	enum exit_code code = cli_arguments(cli, argc, argv, own, own + more);

	if (code == EXIT_CODE_OK && own)
		target->account = argv[optind++];
	return code;
}

static const char *policy_target_name(const struct policy_target *target)
{
	return output_scope_name(target->scope.kind);
}

/* ---- set ---- */

struct policy_set_command {
	struct cli *cli;
	struct policy_target target;
	int64_t after;
	const char *file;
	struct buf text;
	int64_t version;
	struct cli_wait wait;
};

static void policy_on_set(void *arg, enum err e, int64_t version)
{
	struct policy_set_command *set = arg;

	set->version = version;
	cli_on_done(&set->wait, e);
}

/* A policy that leaves nothing of what the configuration permits is lawful, and rarely meant. */
static void policy_note_nothing_left(const struct cli *cli, const struct policy *policy)
{
	const struct config_policy *config = &cli->config->policy;
	const struct policy_set set = {.items = {{.policy = policy}}, .len = 1};

	if (!policy_judge_key_types(&set, config->key_types))
		cli_note(
		    "note: none of its key_types is permitted by [policy] key_types: it refuses everything");
	if (!policy_judge_san_types(&set, config->san_types))
		cli_note(
		    "note: none of its san_types is permitted by [policy] san_types: it refuses everything");
}

static enum exit_code policy_print_set(const struct policy_set_command *set, bool changed)
{
	struct output_json j;
	char version[32];

	if (set->cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "scope", policy_target_name(&set->target));
		json_put_text_member(&j.w, "scope_id", set->target.scope.id);
		json_put_int_member(&j.w, "version", set->version);
		json_put_bool_member(&j.w, "changed", changed);
		return output_json_end(&j);
	}
	snprintf(version, sizeof(version), "%" PRId64 "%s", set->version, changed ? "" : ", unchanged");
	output_fact(policy_target_name(&set->target), set->target.scope.id);
	output_fact("version", version);
	return EXIT_CODE_OK;
}

static enum exit_code policy_apply(struct policy_set_command *set)
{
	struct store_policy_set in = {.scope = set->target.scope,
				      .document = buf_text(&set->text),
				      .after = set->after,
				      .origin = set->cli->origin};
	const char *what = policy_target_name(&set->target);
	struct policy_record now = {.version = 0};
	enum err e = policy_input_fetch(set->cli, &set->target.scope, 0, &now);
	bool is_same = e == E_OK && !strcmp(now.document, in.document);

	set->version = now.version;
	policy_record_release(&now);
	if (e != E_OK && e != E_NOTFOUND)
		return cli_fail(e, "cannot read the policy of the %s '%s': %s", what, in.scope.id,
				err_str(e));
	if (is_same && (set->after < 0 || set->after == set->version))
		return policy_print_set(set, false);
	store_policy_set(set->cli->store, &in, policy_on_set, set);
	store_wait(set->cli->store, &set->wait.done);
	if (set->wait.e == E_EXISTS)
		return cli_fail(set->wait.e,
				"the policy of the %s '%s' is at version %" PRId64 ", not %" PRId64
				": see 'csrctl policy list', and set yours after what is there",
				what, in.scope.id, set->version, set->after);
	if (set->wait.e != E_OK)
		return cli_fail(set->wait.e, "cannot set the policy of the %s '%s': %s", what, in.scope.id,
				err_str(set->wait.e));
	return policy_print_set(set, true);
}

static enum exit_code policy_set_file(struct policy_set_command *set)
{
	struct policy *policy = NULL;
	enum exit_code code = policy_input_read(set->file, &set->text);

	if (code == EXIT_CODE_OK)
		code = policy_input_parse(set->file, &set->text, &policy);
	if (code == EXIT_CODE_OK)
		code = policy_target_open(set->cli, &set->target);
	if (code == EXIT_CODE_OK) {
		policy_note_nothing_left(set->cli, policy);
		code = policy_apply(set);
	}
	policy_free(policy);
	return code;
}

enum exit_code cmd_policy_set(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
	    {"zone", required_argument, NULL, 'z'},
	    {"after", required_argument, NULL, 'a'},
	    CLI_OPTIONS,
	};
	struct policy_set_command set = {.cli = cli, .after = -1, .file = "-"};
	enum exit_code code;
	uint64_t after;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		switch (c) {
		case 'z':
			set.target.zone = optarg;
			break;
		case 'a':
			if (str_parse_u64(optarg, INT64_MAX, &after) != E_OK)
				return cli_usage(cli, "--after '%s': a version, or 0 for none", optarg);
			set.after = (int64_t)after;
			break;
		default:
			return EXIT_CODE_USAGE;
		}
	}
	code = policy_take_target(cli, argc, argv, 1, &set.target);
	if (code != EXIT_CODE_OK)
		return code;
	if (optind < argc)
		set.file = argv[optind];
	buf_init(&set.text, POLICY_BYTES_MAX);
	code = policy_set_file(&set);
	buf_release(&set.text);
	return code;
}

/* ---- show ---- */

static enum exit_code policy_print_shown(const struct cli *cli, const struct policy_target *target,
					 const struct policy_record *policy)
{
	size_t len = strlen(policy->document);
	struct output_json j;

	if (!cli->json) {
		fputs(policy->document, stdout); /* as it was set, so that it can be edited and set again */
		if (len > 0 && policy->document[len - 1] != '\n')
			putchar('\n');
		return EXIT_CODE_OK;
	}
	output_json_begin(&j);
	json_put_text_member(&j.w, "scope", policy_target_name(target));
	json_put_text_member(&j.w, "scope_id", target->scope.id);
	json_put_int_member(&j.w, "version", policy->version);
	json_put_time_member(&j.w, "set_at", policy->made_us);
	json_put_text_member(&j.w, "set_by", policy->made_by);
	json_put_name(&j.w, "policy");
	json_put_raw(&j.w, policy->document + json_mark_len(policy->document, len));
	return output_json_end(&j);
}

enum exit_code cmd_policy_show(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
	    {"zone", required_argument, NULL, 'z'},
	    CLI_OPTIONS,
	};
	struct policy_target target = {.zone = NULL};
	struct policy_record policy = {.version = 0};
	uint64_t version = 0;
	enum exit_code code;
	enum err e;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c != 'z')
			return EXIT_CODE_USAGE;
		target.zone = optarg;
	}
	code = policy_take_target(cli, argc, argv, 1, &target);
	if (code == EXIT_CODE_OK && optind < argc &&
	    (str_parse_u64(argv[optind], INT64_MAX, &version) != E_OK || version == 0))
		code = cli_usage(cli, "'%s' is not a version: a number, from 1", argv[optind]);
	if (code == EXIT_CODE_OK)
		code = policy_target_open(cli, &target);
	if (code != EXIT_CODE_OK)
		return code;
	e = policy_input_fetch(cli, &target.scope, (int64_t)version, &policy);
	if (e == E_NOTFOUND && version > 0)
		code = cli_fail(
		    e, "the policy of the %s '%s' has no version %" PRIu64 ": see 'csrctl policy list'",
		    policy_target_name(&target), target.scope.id, version);
	else if (e == E_NOTFOUND)
		code = cli_fail(e, "the %s '%s' has no policy", policy_target_name(&target), target.scope.id);
	else if (e != E_OK)
		code = cli_fail(e, "cannot read the policy of the %s '%s': %s", policy_target_name(&target),
				target.scope.id, err_str(e));
	else
		code = policy_print_shown(cli, &target, &policy);
	policy_record_release(&policy);
	return code;
}

/* ---- list ---- */

struct policy_list_command {
	struct cli *cli;
	struct names *names;
	struct output_list out;
	int64_t after_version;
	size_t page_rows;
	struct cli_wait wait;
};

static void policy_put_row(struct policy_list_command *list, const struct policy_record *p, bool with_scope)
{
	struct json_writer *w = &list->out.j.w;
	struct output_table *t = &list->out.table;

	if (list->cli->json) {
		json_open_object(w);
		json_put_text_member(w, "scope", output_scope_name(p->scope.kind));
		json_put_text_member(w, "scope_id", p->scope.id);
		output_json_text_opt(w, "scope_name",
				     names_of_scope(list->names, p->scope.kind, p->scope.id));
		json_put_int_member(w, "version", p->version);
		json_put_time_member(w, "set_at", p->made_us);
		json_put_text_member(w, "set_by", p->made_by);
		json_close(w);
	} else {
		if (with_scope) {
			output_table_put(t, output_scope_name(p->scope.kind));
			output_table_put(t, p->scope.id);
		}
		output_table_put_int(t, p->version);
		output_table_put_time(t, p->made_us, NULL);
		audit_output_actor(t, list->names, p->made_by);
		if (with_scope)
			output_table_put(t, names_of_scope(list->names, p->scope.kind, p->scope.id));
	}
	output_list_next(&list->out);
}

static void policy_on_versions(void *arg, enum err e, const struct policy_record *policies, size_t len)
{
	struct policy_list_command *list = arg;

	for (size_t i = 0; i < len; i++)
		policy_put_row(list, &policies[i], false);
	if (len > 0)
		list->after_version = policies[len - 1].version;
	list->page_rows = len;
	cli_on_done(&list->wait, e);
}

static enum err policy_list_versions(struct policy_list_command *list, const struct store_scope *scope)
{
	do {
		const struct store_policy_query query = {
		    .scope = *scope, .after_version = list->after_version, .limit = PAGE_ROWS};

		list->wait = (struct cli_wait){0};
		list->page_rows = 0;
		store_policy_list(list->cli->store, &query, policy_on_versions, list);
		store_wait(list->cli->store, &list->wait.done);
	} while (list->wait.e == E_OK && list->page_rows == PAGE_ROWS);
	return list->wait.e;
}

/* The scopes are few, and known before any of them is asked about: no call waits inside another. */
struct policy_scopes {
	struct store_scope *scopes;
	size_t len;
};

static enum err policy_add_scope(struct policy_scopes *all, enum store_scope_kind kind, const char *id)
{
	struct store_scope *scopes = reallocarray(all->scopes, all->len + 1, sizeof(*scopes));

	if (!scopes)
		return E_NOMEM;
	all->scopes = scopes;
	scopes[all->len].kind = kind;
	return str_copy(scopes[all->len++].id, STORE_TAG_SIZE, id);
}

static enum err policy_add_account(void *arg, const struct account_record *account)
{
	return policy_add_scope(arg, STORE_ACCOUNT, account->id);
}

static enum err policy_add_zone(void *arg, const struct zone_record *zone)
{
	return policy_add_scope(arg, STORE_ZONE, zone->id);
}

/* What is in force, wherever there is something. */
static enum err policy_list_scopes(struct policy_list_command *list)
{
	struct policy_scopes all = {.len = 0};
	enum err e = each_account(list->cli, policy_add_account, &all);

	if (e == E_OK)
		e = each_zone(list->cli, policy_add_zone, &all);
	for (size_t i = 0; e == E_OK && i < all.len; i++) {
		struct policy_record policy = {.version = 0};

		e = policy_input_fetch(list->cli, &all.scopes[i], 0, &policy);
		if (e == E_OK)
			policy_put_row(list, &policy, true);
		else if (e == E_NOTFOUND)
			e = E_OK;
		policy_record_release(&policy);
	}
	free(all.scopes);
	return e;
}

static enum exit_code policy_print_list(struct cli *cli, const struct policy_target *target)
{
	static const struct output_column scopes[] = {
	    {"SCOPE", OUTPUT_WHOLE}, {"ID", OUTPUT_ID},  {"VERSION", OUTPUT_WHOLE},
	    {"SET", OUTPUT_WHOLE},   {"BY", OUTPUT_CUT}, {"NAME", OUTPUT_CUT},
	};
	static const struct output_column versions[] = {
	    {"VERSION", OUTPUT_WHOLE}, {"SET", OUTPUT_WHOLE}, {"BY", OUTPUT_CUT}};
	struct policy_list_command list = {.cli = cli};
	enum exit_code code = names_load(cli, &list.names);
	enum err e;

	if (code != EXIT_CODE_OK)
		return code;
	output_list_begin(&list.out, cli->json, "policies", target ? versions : scopes, target ? 3 : 6);
	e = target ? policy_list_versions(&list, &target->scope) : policy_list_scopes(&list);
	if (e == E_OK) {
		code = output_list_end(&list.out);
	} else {
		output_list_drop(&list.out);
		code = cli_fail(e, "cannot list the policies: %s", err_str(e));
	}
	names_free(list.names);
	return code;
}

enum exit_code cmd_policy_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"zone", required_argument, NULL, 'z'}, CLI_OPTIONS};
	struct policy_target target = {.zone = NULL};
	enum exit_code code;
	bool has_target;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c != 'z')
			return EXIT_CODE_USAGE;
		target.zone = optarg;
	}
	has_target = target.zone || optind < argc;
	code = has_target ? policy_take_target(cli, argc, argv, 0, &target) : EXIT_CODE_OK;
	if (code == EXIT_CODE_OK)
		code = has_target ? policy_target_open(cli, &target) : cli_open_store(cli, false);
	return code == EXIT_CODE_OK ? policy_print_list(cli, has_target ? &target : NULL) : code;
}
