/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl account, csrctl zone. */
#include "base/str.h"
#include "cli/arg.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/each.h"
#include "cli/names.h"
#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- add ---- */

struct add {
	const char *name;
	const char *quota_text;
	const char *account;
	char id[STORE_TAG_SIZE];
	int64_t quota;
};

/* Options and argument of both adds. */
static enum exit_code read_add(struct cli *cli, int argc, char **argv, const struct option *options,
			       struct add *add)
{
	enum exit_code code;
	enum err e;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		switch (c) {
		case 'n':
			add->name = optarg;
			break;
		case 'q':
			add->quota_text = optarg;
			break;
		case 'a':
			add->account = optarg;
			break;
		default:
			return EXIT_CODE_USAGE;
		}
	}
	code = cli_arguments(cli, argc, argv, 0, 1);
	if (code != EXIT_CODE_OK)
		return code;
	e = arg_tag(optind < argc ? argv[optind] : NULL, add->id);
	if (e == E_INVAL)
		return cli_usage(cli, "'%s' is not an id: 1-32 of [0-9A-Za-z_-]", argv[optind]);
	if (e != E_OK)
		return cli_fail(e, "cannot make an id: %s", strerror(errno));
	if (add->name && !arg_name_is_valid(add->name))
		return cli_usage(cli, "--name: " ARG_NAME_RULE);
	add->quota = STORE_NO_LIMIT;
	if (add->quota_text && arg_quota(add->quota_text, &add->quota) != E_OK)
		return cli_usage(cli, "--quota '%s': a number or 'unlimited'", add->quota_text);
	return EXIT_CODE_OK;
}

/* The account of a zone, by what was said. */
static enum exit_code find_account(struct cli *cli, struct add *add, char ret_id[STORE_TAG_SIZE])
{
	struct store_scope account;
	struct names *names = NULL;
	enum exit_code code = names_load(cli, &names);

	if (code == EXIT_CODE_OK)
		code = names_find_scope(names, STORE_ACCOUNT, add->account, &account);
	names_free(names);
	if (code != EXIT_CODE_OK)
		return code;
	memcpy(ret_id, account.id, sizeof(account.id));
	add->account = ret_id;
	return EXIT_CODE_OK;
}

static enum exit_code print_added(const struct cli *cli, const struct add *add)
{
	struct output_json j;

	if (cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", add->id);
		if (add->account)
			json_put_text_member(&j.w, "account", add->account);
		json_put_text_member(&j.w, "name", add->name ? add->name : "");
		output_json_quota(&j.w, "quota", add->quota);
		return output_json_end(&j);
	}
	output_fact("id", add->id);
	output_fact("account", add->account);
	output_fact("name", add->name);
	output_fact_quota("quota", add->quota);
	return EXIT_CODE_OK;
}

enum exit_code cmd_account_add(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
	    {"name", required_argument, NULL, 'n'},
	    {"quota", required_argument, NULL, 'q'},
	    CLI_OPTIONS,
	};
	struct account_record account = {0};
	struct add add = {0};
	struct cli_wait wait = {0};
	enum exit_code code = read_add(cli, argc, argv, options, &add);
	char *name = NULL;

	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, true);
	if (code != EXIT_CODE_OK)
		return code;
	if (!str_dup_opt(add.name ? add.name : "", &name))
		return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	memcpy(account.id, add.id, sizeof(account.id));
	account.name = name;
	account.csr_quota = add.quota;
	store_account_add(cli->store, &account, &cli->origin, cli_on_done, &wait);
	store_wait(cli->store, &wait.done);
	free(name);
	if (wait.e == E_EXISTS)
		return cli_fail(wait.e, "account '%s' already exists", add.id);
	if (wait.e != E_OK)
		return cli_fail(wait.e, "cannot add the account '%s': %s", add.id, err_str(wait.e));
	return print_added(cli, &add);
}

enum exit_code cmd_zone_add(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
	    {"account", required_argument, NULL, 'a'},
	    {"name", required_argument, NULL, 'n'},
	    {"quota", required_argument, NULL, 'q'},
	    CLI_OPTIONS,
	};
	struct zone_record zone = {0};
	struct add add = {0};
	struct cli_wait wait = {0};
	enum exit_code code = read_add(cli, argc, argv, options, &add);
	char *name = NULL;

	if (code != EXIT_CODE_OK)
		return code;
	if (!add.account)
		return cli_usage(cli, "zone add: --account is missing");
	code = cli_open_store(cli, true);
	if (code == EXIT_CODE_OK)
		code = find_account(cli, &add, zone.account_id);
	if (code != EXIT_CODE_OK)
		return code;
	if (!str_dup_opt(add.name ? add.name : "", &name))
		return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	memcpy(zone.id, add.id, sizeof(zone.id));
	zone.name = name;
	zone.csr_quota = add.quota;
	store_zone_add(cli->store, &zone, &cli->origin, cli_on_done, &wait);
	store_wait(cli->store, &wait.done);
	free(name);
	if (wait.e == E_EXISTS)
		return cli_fail(wait.e, "zone '%s' already exists", add.id);
	if (wait.e != E_OK)
		return cli_fail(wait.e, "cannot add the zone '%s': %s", add.id, err_str(wait.e));
	return print_added(cli, &add);
}

/* ---- list ---- */

struct list {
	struct names *names; /* of a list of zones */
	struct output_list out;
};

static void cmd_account_put_json(struct json_writer *w, const char *id, const char *account,
				 const char *account_name, const char *name, int64_t quota, int64_t count,
				 int64_t created_us)
{
	json_open_object(w);
	json_put_text_member(w, "id", id);
	if (account)
		json_put_text_member(w, "account", account);
	output_json_text_opt(w, "account_name", account_name);
	json_put_text_member(w, "name", name ? name : "");
	output_json_quota(w, "quota", quota);
	json_put_int_member(w, "csr_count", count);
	json_put_time_member(w, "created_at", created_us);
	json_close(w);
}

static void cmd_account_put_row(struct output_table *t, const char *id, const char *account, const char *name,
				int64_t quota, int64_t count, int64_t created_us)
{
	output_table_put(t, id);
	if (account)
		output_table_put(t, account);
	output_table_put_int(t, count);
	output_table_put_quota(t, quota);
	output_table_put_time(t, created_us, NULL);
	output_table_put(t, name);
}

static enum err cmd_account_list_account(void *arg, const struct account_record *a)
{
	struct list *list = arg;

	if (list->out.json)
		cmd_account_put_json(&list->out.j.w, a->id, NULL, NULL, a->name, a->csr_quota, a->csr_count,
				     a->created_us);
	else
		cmd_account_put_row(&list->out.table, a->id, NULL, a->name, a->csr_quota, a->csr_count,
				    a->created_us);
	output_list_next(&list->out);
	return E_OK;
}

static enum err cmd_account_list_zone(void *arg, const struct zone_record *z)
{
	struct list *list = arg;
	const char *account = names_of_scope(list->names, STORE_ACCOUNT, z->account_id);

	if (list->out.json)
		cmd_account_put_json(&list->out.j.w, z->id, z->account_id, account, z->name, z->csr_quota,
				     z->csr_count, z->created_us);
	else
		cmd_account_put_row(&list->out.table, z->id, account ? account : z->account_id, z->name,
				    z->csr_quota, z->csr_count, z->created_us);
	output_list_next(&list->out);
	return E_OK;
}

static enum exit_code begin_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_OPTIONS};
	enum exit_code code;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 0, 0);
	return code == EXIT_CODE_OK ? cli_open_store(cli, false) : code;
}

static enum exit_code end_list(struct list *list, enum err e, const char *what)
{
	if (e == E_OK)
		return output_list_end(&list->out);
	output_list_drop(&list->out);
	return cli_fail(e, "cannot list the %s: %s", what, err_str(e));
}

enum exit_code cmd_account_list(struct cli *cli, int argc, char **argv)
{
	static const struct output_column columns[] = {
	    {"ID", OUTPUT_ID},         {"CSRS", OUTPUT_WHOLE}, {"QUOTA", OUTPUT_WHOLE},
	    {"CREATED", OUTPUT_WHOLE}, {"NAME", OUTPUT_CUT},
	};
	enum exit_code code = begin_list(cli, argc, argv);
	struct list list = {0};

	if (code != EXIT_CODE_OK)
		return code;
	output_list_begin(&list.out, cli->json, "accounts", columns, sizeof(columns) / sizeof(columns[0]));
	return end_list(&list, each_account(cli, cmd_account_list_account, &list), "accounts");
}

enum exit_code cmd_zone_list(struct cli *cli, int argc, char **argv)
{
	static const struct output_column columns[] = {
	    {"ID", OUTPUT_ID},       {"ACCOUNT", OUTPUT_CUT},   {"CSRS", OUTPUT_WHOLE},
	    {"QUOTA", OUTPUT_WHOLE}, {"CREATED", OUTPUT_WHOLE}, {"NAME", OUTPUT_CUT},
	};
	enum exit_code code = begin_list(cli, argc, argv);
	struct list list = {0};

	if (code == EXIT_CODE_OK)
		code = names_load(cli, &list.names);
	if (code != EXIT_CODE_OK)
		return code;
	output_list_begin(&list.out, cli->json, "zones", columns, sizeof(columns) / sizeof(columns[0]));
	code = end_list(&list, each_zone(cli, cmd_account_list_zone, &list), "zones");
	names_free(list.names);
	return code;
}
