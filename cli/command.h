/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of csrctl: one function each, run with argv[0] before its options and arguments. */
#ifndef CSRD_CLI_COMMAND_H
#define CSRD_CLI_COMMAND_H

#include "base/exit_code.h"

#include <stddef.h>

struct cli;

typedef enum exit_code (*command_fn)(struct cli *cli, int argc, char **argv);

struct command {
	const char *group; /* "account" */
	const char *verb;  /* "add"; NULL when the group is the command */
	command_fn run;
	/* For completion: the words that may follow, or COMMAND_FILE; NULL: none are known. */
	const char *argument;
};
#define COMMAND_FILE "FILE"

/* All of them, by group. */
const struct command *command_list(size_t *ret_len);

/* Prints the help of one group, or of csrctl for NULL, to standard output. */
void command_print_help(const char *group);

enum exit_code cmd_account_add(struct cli *cli, int argc, char **argv);
enum exit_code cmd_account_list(struct cli *cli, int argc, char **argv);
enum exit_code cmd_account_set(struct cli *cli, int argc, char **argv);
enum exit_code cmd_account_rename(struct cli *cli, int argc, char **argv);
enum exit_code cmd_zone_add(struct cli *cli, int argc, char **argv);
enum exit_code cmd_zone_list(struct cli *cli, int argc, char **argv);
enum exit_code cmd_zone_set(struct cli *cli, int argc, char **argv);
enum exit_code cmd_zone_rename(struct cli *cli, int argc, char **argv);

enum exit_code cmd_quota_show(struct cli *cli, int argc, char **argv);
enum exit_code cmd_quota_set(struct cli *cli, int argc, char **argv);
enum exit_code cmd_token_create(struct cli *cli, int argc, char **argv);
enum exit_code cmd_token_list(struct cli *cli, int argc, char **argv);
enum exit_code cmd_token_revoke(struct cli *cli, int argc, char **argv);
enum exit_code cmd_token_roll(struct cli *cli, int argc, char **argv);
enum exit_code cmd_user_create(struct cli *cli, int argc, char **argv);
enum exit_code cmd_user_list(struct cli *cli, int argc, char **argv);
enum exit_code cmd_user_revoke(struct cli *cli, int argc, char **argv);
enum exit_code cmd_user_roll(struct cli *cli, int argc, char **argv);

enum exit_code cmd_principal_add(struct cli *cli, int argc, char **argv);
enum exit_code cmd_principal_list(struct cli *cli, int argc, char **argv);
enum exit_code cmd_principal_show(struct cli *cli, int argc, char **argv);
enum exit_code cmd_principal_bind(struct cli *cli, int argc, char **argv);
enum exit_code cmd_principal_unbind(struct cli *cli, int argc, char **argv);
enum exit_code cmd_principal_revoke(struct cli *cli, int argc, char **argv);

enum exit_code cmd_csr_list(struct cli *cli, int argc, char **argv);
enum exit_code cmd_csr_find(struct cli *cli, int argc, char **argv);
enum exit_code cmd_csr_show(struct cli *cli, int argc, char **argv);
enum exit_code cmd_csr_delete(struct cli *cli, int argc, char **argv);
enum exit_code cmd_audit(struct cli *cli, int argc, char **argv);

enum exit_code cmd_policy_set(struct cli *cli, int argc, char **argv);
enum exit_code cmd_policy_show(struct cli *cli, int argc, char **argv);
enum exit_code cmd_policy_list(struct cli *cli, int argc, char **argv);
enum exit_code cmd_policy_test(struct cli *cli, int argc, char **argv);

enum exit_code cmd_backup(struct cli *cli, int argc, char **argv);
enum exit_code cmd_restore(struct cli *cli, int argc, char **argv);
enum exit_code cmd_verify(struct cli *cli, int argc, char **argv);
enum exit_code cmd_config_check(struct cli *cli, int argc, char **argv);
enum exit_code cmd_config_show(struct cli *cli, int argc, char **argv);

enum exit_code cmd_pool_list(struct cli *cli, int argc, char **argv);
enum exit_code cmd_pool_destroy(struct cli *cli, int argc, char **argv);
enum exit_code cmd_reconcile(struct cli *cli, int argc, char **argv);
enum exit_code cmd_status(struct cli *cli, int argc, char **argv);
enum exit_code cmd_doctor(struct cli *cli, int argc, char **argv);
enum exit_code cmd_setup(struct cli *cli, int argc, char **argv);
enum exit_code cmd_completion(struct cli *cli, int argc, char **argv);

#endif
