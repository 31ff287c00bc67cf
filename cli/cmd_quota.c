/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl quota: how many CSRs accounts and zones may hold, and how many they do. */
#include "cli/arg.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/each.h"
#include "cli/names.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- which account or zone ---- */

struct quota_target {
	const char *account; /* id or name, as it was said; NULL: none was */
	const char *zone;
	const char *quota; /* of set */
};

/* `more` arguments follow the account; with --zone there is no account. */
static enum exit_code cmd_quota_read(struct cli *cli, int argc, char **argv, int more, bool may_be_all,
				     struct quota_target *target)
{
	static const struct option options[] = {{"zone", required_argument, NULL, 'z'}, CLI_OPTIONS};
	enum exit_code code;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c != 'z')
			return EXIT_CODE_USAGE;
		target->zone = optarg;
	}
	code = cli_arguments(cli, argc, argv, more + (target->zone || may_be_all ? 0 : 1),
			     more + (target->zone ? 0 : 1));
	if (code != EXIT_CODE_OK)
		return code;
	if (!target->zone && optind < argc)
		target->account = argv[optind++];
	if (more > 0)
		target->quota = argv[optind];
	return EXIT_CODE_OK;
}

static enum exit_code cmd_quota_find(struct cli *cli, const struct quota_target *target,
				     struct store_scope *ret_scope)
{
	enum store_scope_kind kind = target->zone ? STORE_ZONE : STORE_ACCOUNT;
	struct names *names = NULL;
	enum exit_code code = names_load(cli, &names);

	if (code == EXIT_CODE_OK)
		code =
		    names_find_scope(names, kind, target->zone ? target->zone : target->account, ret_scope);
	names_free(names);
	return code;
}

/* ---- show ---- */

struct quota_list {
	struct store_scope only; /* kind 0: all */
	struct output_list out;
};

struct quota_row {
	struct store_scope scope;
	const char *name;
	int64_t quota;
	int64_t used;
};

static void cmd_quota_put(struct quota_list *list, const struct quota_row *row)
{
	int64_t left = row->quota > row->used ? row->quota - row->used : 0;
	struct json_writer *w = &list->out.j.w;

	if (list->only.kind && !store_scope_equal(&list->only, &row->scope))
		return;
	if (list->out.json) {
		json_open_object(w);
		json_put_text_member(w, "scope", output_scope_name(row->scope.kind));
		json_put_text_member(w, "id", row->scope.id);
		json_put_text_member(w, "name", row->name ? row->name : "");
		output_json_quota(w, "quota", row->quota);
		json_put_int_member(w, "used", row->used);
		output_json_quota(w, "left", row->quota == STORE_NO_LIMIT ? STORE_NO_LIMIT : left);
		json_close(w);
	} else {
		output_table_put(&list->out.table, output_scope_name(row->scope.kind));
		output_table_put(&list->out.table, row->scope.id);
		output_table_put_quota(&list->out.table, row->quota);
		output_table_put_int(&list->out.table, row->used);
		output_table_put_quota(&list->out.table,
				       row->quota == STORE_NO_LIMIT ? STORE_NO_LIMIT : left);
		output_table_put(&list->out.table, row->name);
	}
	output_list_next(&list->out);
}

static enum err cmd_quota_put_account(void *arg, const struct account_record *a)
{
	struct quota_row row = {{.kind = STORE_ACCOUNT}, a->name, a->csr_quota, a->csr_count};

	memcpy(row.scope.id, a->id, sizeof(row.scope.id));
	cmd_quota_put(arg, &row);
	return E_OK;
}

static enum err cmd_quota_put_zone(void *arg, const struct zone_record *z)
{
	struct quota_row row = {{.kind = STORE_ZONE}, z->name, z->csr_quota, z->csr_count};

	memcpy(row.scope.id, z->id, sizeof(row.scope.id));
	cmd_quota_put(arg, &row);
	return E_OK;
}

enum exit_code cmd_quota_show(struct cli *cli, int argc, char **argv)
{
	static const struct output_column columns[] = {
	    {"SCOPE", OUTPUT_WHOLE}, {"ID", OUTPUT_ID},      {"QUOTA", OUTPUT_WHOLE},
	    {"USED", OUTPUT_WHOLE},  {"LEFT", OUTPUT_WHOLE}, {"NAME", OUTPUT_CUT},
	};
	struct quota_target target = {0};
	struct quota_list list = {0};
	enum exit_code code = cmd_quota_read(cli, argc, argv, 0, true, &target);
	enum err e;

	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK && (target.account || target.zone))
		code = cmd_quota_find(cli, &target, &list.only);
	if (code != EXIT_CODE_OK)
		return code;
	output_list_begin(&list.out, cli->json, "quotas", columns, sizeof(columns) / sizeof(columns[0]));
	e = each_account(cli, cmd_quota_put_account, &list);
	if (e == E_OK)
		e = each_zone(cli, cmd_quota_put_zone, &list);
	if (e == E_OK)
		return output_list_end(&list.out);
	output_list_drop(&list.out);
	return cli_fail(e, "cannot list the quotas: %s", err_str(e));
}

/* ---- set ---- */

static enum exit_code cmd_quota_print(const struct cli *cli, const struct store_scope_change *change)
{
	struct output_json j;

	if (cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", change->scope.id);
		output_json_quota(&j.w, "quota", change->csr_quota);
		return output_json_end(&j);
	}
	output_fact("id", change->scope.id);
	output_fact_quota("quota", change->csr_quota);
	return EXIT_CODE_OK;
}

enum exit_code cmd_quota_set(struct cli *cli, int argc, char **argv)
{
	struct store_scope_change change = {.sets_quota = true};
	struct audit_origin origin;
	struct quota_target target = {0};
	struct cli_wait wait = {0};
	char detail[64];
	enum exit_code code = cmd_quota_read(cli, argc, argv, 1, false, &target);

	if (code == EXIT_CODE_OK && arg_quota(target.quota, &change.csr_quota) != E_OK)
		code = cli_usage(cli, "quota set: '%s': a number or 'unlimited'", target.quota);
	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK)
		code = cmd_quota_find(cli, &target, &change.scope);
	if (code != EXIT_CODE_OK)
		return code;
	origin = cli->origin;
	snprintf(detail, sizeof(detail), "quota %s", target.quota);
	origin.detail = detail;
	store_scope_set(cli->store, &change, &origin, cli_on_done, &wait);
	store_wait(cli->store, &wait.done);
	if (wait.e != E_OK)
		return cli_fail(wait.e, "cannot change the %s '%s': %s", output_scope_name(change.scope.kind),
				change.scope.id, err_str(wait.e));
	return cmd_quota_print(cli, &change);
}
