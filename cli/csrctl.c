/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl, the operators' tool: finds the command and runs it. */
#include "base/exit_code.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "ossl/ossl_memory.h"

#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
    {"account", "add", cmd_account_add, NULL},
    {"account", "list", cmd_account_list, NULL},
    {"account", "set", cmd_account_set, NULL},
    {"account", "rename", cmd_account_rename, NULL},
    {"zone", "add", cmd_zone_add, NULL},
    {"zone", "list", cmd_zone_list, NULL},
    {"zone", "set", cmd_zone_set, NULL},
    {"zone", "rename", cmd_zone_rename, NULL},
    {"quota", "show", cmd_quota_show, NULL},
    {"quota", "set", cmd_quota_set, NULL},
    {"token", "create", cmd_token_create, NULL},
    {"token", "list", cmd_token_list, NULL},
    {"token", "revoke", cmd_token_revoke, NULL},
    {"token", "roll", cmd_token_roll, NULL},
    {"user", "create", cmd_user_create, NULL},
    {"user", "list", cmd_user_list, NULL},
    {"user", "revoke", cmd_user_revoke, NULL},
    {"user", "roll", cmd_user_roll, NULL},
    {"principal", "add", cmd_principal_add, NULL},
    {"principal", "list", cmd_principal_list, NULL},
    {"principal", "show", cmd_principal_show, NULL},
    {"principal", "bind", cmd_principal_bind, NULL},
    {"principal", "unbind", cmd_principal_unbind, NULL},
    {"principal", "revoke", cmd_principal_revoke, NULL},
    {"csr", "list", cmd_csr_list, NULL},
    {"csr", "find", cmd_csr_find, NULL},
    {"csr", "show", cmd_csr_show, NULL},
    {"csr", "delete", cmd_csr_delete, NULL},
    {"policy", "set", cmd_policy_set, COMMAND_FILE},
    {"policy", "show", cmd_policy_show, NULL},
    {"policy", "list", cmd_policy_list, NULL},
    {"policy", "test", cmd_policy_test, COMMAND_FILE},
    {"audit", NULL, cmd_audit, NULL},
    {"backup", NULL, cmd_backup, COMMAND_FILE},
    {"restore", NULL, cmd_restore, COMMAND_FILE},
    {"verify", NULL, cmd_verify, NULL},
    {"config", "check", cmd_config_check, NULL},
    {"config", "show", cmd_config_show, NULL},
    {"pool", "list", cmd_pool_list, NULL},
    {"pool", "destroy", cmd_pool_destroy, NULL},
    {"reconcile", NULL, cmd_reconcile, NULL},
    {"status", NULL, cmd_status, NULL},
    {"doctor", NULL, cmd_doctor, NULL},
    {"setup", NULL, cmd_setup, NULL},
    {"completion", NULL, cmd_completion, "bash zsh"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

const struct command *command_list(size_t *ret_len)
{
	*ret_len = COMMANDS;
	return commands;
}

static char program[] = "csrctl"; /* what getopt_long puts before its complaints */

/* The first command of that group, or NULL. */
static const struct command *find_group(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].group, name))
			return &commands[i];
	return NULL;
}

static const struct command *find_command(const char *group, const char *verb)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].group, group) && !strcmp(commands[i].verb, verb))
			return &commands[i];
	return NULL;
}

/* "account, zone, …": each group once. */
static void list_groups(char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < COMMANDS && len < size; i++)
		if (find_group(commands[i].group) == &commands[i])
			len += (size_t)snprintf(text + len, size - len, "%s%s", len ? ", " : "",
						commands[i].group);
}

static enum exit_code bad_group(const struct cli *cli, const char *name)
{
	char groups[512];

	list_groups(groups, sizeof(groups));
	if (!name)
		return cli_usage(cli, "a command is missing: it is one of %s", groups);
	return cli_usage(cli, "unknown command '%s': it is one of %s", name, groups);
}

static enum exit_code bad_verb(const struct cli *cli, const char *group, const char *verb)
{
	char verbs[64] = "";

	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i].group, group) != 0)
			continue;
		snprintf(verbs + strlen(verbs), sizeof(verbs) - strlen(verbs), "%s%s", verbs[0] ? ", " : "",
			 commands[i].verb);
	}
	if (!verb)
		return cli_usage(cli, "%s: a command is missing: it is one of %s", group, verbs);
	return cli_usage(cli, "unknown command '%s %s': it is one of %s", group, verb, verbs);
}

/* Options in front of the next word; NULL at the end.  The word is taken off. */
static enum exit_code take_word(struct cli *cli, int *argc, char ***argv, const char **ret_word)
{
	static const struct option options[] = {CLI_OPTIONS};

	(*argv)[0] = program;
	optind = 0;
	if (cli_getopt(cli, *argc, *argv, "+" CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	*ret_word = optind < *argc ? (*argv)[optind] : NULL;
	*argc -= optind;
	*argv += optind;
	return EXIT_CODE_OK;
}

static enum exit_code csrctl_run(struct cli *cli, int argc, char **argv)
{
	const char *group, *verb;
	enum exit_code code = take_word(cli, &argc, &argv, &group);

	if (code != EXIT_CODE_OK)
		return code;
	cli->command = group ? find_group(group) : NULL;
	if (!cli->command)
		return bad_group(cli, group);
	if (cli->command->verb) {
		code = take_word(cli, &argc, &argv, &verb);
		if (code != EXIT_CODE_OK)
			return code;
		const struct command *command = verb ? find_command(group, verb) : NULL;

		if (!command)
			return bad_verb(cli, group, verb);
		cli->command = command;
	}
	argv[0] = program;
	optind = 0;
	return cli->command->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
	struct cli cli;
	enum exit_code code;

	ossl_memory_watch();
	if (fd_fill_standard() != E_OK)
		return (int)EXIT_CODE_SYSTEM;
	log_open("csrctl", LOG_LEVEL_WARN);
	log_set_sink(cli_take_log);
	cli_init(&cli);
	code = csrctl_run(&cli, argc, argv);
	cli_release(&cli);
	if (fflush(stdout) != 0 || ferror(stdout))
		code =
		    cli_fail(E_IO, "cannot write to standard output; the command may have been carried out");
	return (int)code;
}
