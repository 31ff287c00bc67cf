/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl account set and rename, csrctl zone set and rename. */
#include "base/str.h"
#include "cli/arg.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct set {
	struct cli *cli;
	enum store_scope_kind kind;
	const char *which; /* id or name, as it was said */
	struct store_scope_change change;
};

/* For the audit trail: what is in force from now on. */
static void format_detail(const struct store_scope_change *change, char *text, size_t size)
{
	char quota[32] = "";

	if (change->sets_quota && change->csr_quota == STORE_NO_LIMIT)
		snprintf(quota, sizeof(quota), "quota unlimited");
	else if (change->sets_quota)
		snprintf(quota, sizeof(quota), "quota %" PRId64, change->csr_quota);
	snprintf(text, size, "%s%s%s%s%s", quota, quota[0] && change->name ? ", " : "",
		 change->name ? "name '" : "", change->name ? change->name : "", change->name ? "'" : "");
}

static enum exit_code print_set(const struct set *set)
{
	const struct store_scope_change *change = &set->change;
	struct output_json j;

	if (set->cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", change->scope.id);
		if (change->name)
			json_put_text_member(&j.w, "name", change->name);
		if (change->sets_quota)
			output_json_quota(&j.w, "quota", change->csr_quota);
		return output_json_end(&j);
	}
	output_fact("id", change->scope.id);
	output_fact("name", change->name);
	if (change->sets_quota)
		output_fact_quota("quota", change->csr_quota);
	return EXIT_CODE_OK;
}

static enum exit_code apply(struct set *set)
{
	struct audit_origin origin = set->cli->origin;
	struct names *names = NULL;
	struct cli_wait wait = {0};
	char detail[1200];
	enum exit_code code = cli_open_store(set->cli, false);

	if (code == EXIT_CODE_OK)
		code = names_load(set->cli, &names);
	if (code == EXIT_CODE_OK)
		code = names_find_scope(names, set->kind, set->which, &set->change.scope);
	names_free(names);
	if (code != EXIT_CODE_OK)
		return code;
	format_detail(&set->change, detail, sizeof(detail));
	origin.detail = detail;
	store_scope_set(set->cli->store, &set->change, &origin, cli_on_done, &wait);
	store_wait(set->cli->store, &wait.done);
	if (wait.e != E_OK)
		return cli_fail(wait.e, "cannot change the %s '%s': %s", output_scope_name(set->kind),
				set->change.scope.id, err_str(wait.e));
	return print_set(set);
}

static enum exit_code cmd_account_set_name(struct set *set, const char *option, const char *name)
{
	if (!arg_name_is_valid(name))
		return cli_usage(set->cli, "%s: " ARG_NAME_RULE, option);
	set->change.name = name;
	return EXIT_CODE_OK;
}

static enum exit_code change(struct cli *cli, int argc, char **argv, enum store_scope_kind kind)
{
	static const struct option options[] = {
	    {"name", required_argument, NULL, 'n'},
	    {"quota", required_argument, NULL, 'q'},
	    CLI_OPTIONS,
	};
	struct set set = {.cli = cli, .kind = kind};
	enum exit_code code = EXIT_CODE_OK;
	int c;

	while (code == EXIT_CODE_OK && (c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		switch (c) {
		case 'n':
			code = cmd_account_set_name(&set, "--name", optarg);
			break;
		case 'q':
			set.change.sets_quota = true;
			if (arg_quota(optarg, &set.change.csr_quota) != E_OK)
				code = cli_usage(cli, "--quota '%s': a number or 'unlimited'", optarg);
			break;
		default:
			return EXIT_CODE_USAGE;
		}
	}
	if (code == EXIT_CODE_OK)
		code = cli_arguments(cli, argc, argv, 1, 1);
	if (code == EXIT_CODE_OK && !set.change.name && !set.change.sets_quota)
		code = cli_usage(cli, "%s set: --name or --quota is missing", cli->command->group);
	if (code != EXIT_CODE_OK)
		return code;
	set.which = argv[optind];
	return apply(&set);
}

static enum exit_code rename_scope(struct cli *cli, int argc, char **argv, enum store_scope_kind kind)
{
	static const struct option options[] = {CLI_OPTIONS};
	struct set set = {.cli = cli, .kind = kind};
	enum exit_code code;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 2, 2);
	if (code == EXIT_CODE_OK)
		code = cmd_account_set_name(&set, "the new name", argv[optind + 1]);
	if (code != EXIT_CODE_OK)
		return code;
	set.which = argv[optind];
	return apply(&set);
}

enum exit_code cmd_account_set(struct cli *cli, int argc, char **argv)
{
	return change(cli, argc, argv, STORE_ACCOUNT);
}

enum exit_code cmd_account_rename(struct cli *cli, int argc, char **argv)
{
	return rename_scope(cli, argc, argv, STORE_ACCOUNT);
}

enum exit_code cmd_zone_set(struct cli *cli, int argc, char **argv)
{
	return change(cli, argc, argv, STORE_ZONE);
}

enum exit_code cmd_zone_rename(struct cli *cli, int argc, char **argv)
{
	return rename_scope(cli, argc, argv, STORE_ZONE);
}
