/* csrctl, the operators' tool: finds the command and runs it. */
#include "base/log.h"
#include "cli/cli.h"
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
	{"account", "add", cmd_account_add},
	{"account", "list", cmd_account_list},
	{"zone", "add", cmd_zone_add},
	{"zone", "list", cmd_zone_list},
	{"token", "create", cmd_token_create},
	{"token", "list", cmd_token_list},
	{"token", "revoke", cmd_token_revoke},
	{"user", "create", cmd_user_create},
	{"user", "list", cmd_user_list},
	{"user", "revoke", cmd_user_revoke},
	{"csr", "list", cmd_csr_list},
	{"csr", "show", cmd_csr_show},
	{"reconcile", NULL, cmd_reconcile},
	{"status", NULL, cmd_status},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static char program[] = "csrctl"; /* what getopt_long puts before its complaints */

struct help {
	const char *group; /* NULL: csrctl itself */
	const char *text;
};

static const struct help helps[] = {
	{NULL,
	 "Usage: csrctl [-c FILE] [--json] COMMAND [OPTION]... [ARGUMENT]...\n"
	 "\n"
	 "Manages a csrd service by its store, whether csrd runs or not.\n"
	 "\n"
	 "Commands:\n"
	 "  account add|list          accounts, and how many CSRs each may hold\n"
	 "  zone add|list             zones; each belongs to one account\n"
	 "  token create|list|revoke  API tokens (Authorization: Bearer)\n"
	 "  user create|list|revoke   users (X-Auth-Email and X-Auth-Key)\n"
	 "  csr list|show             certificate signing requests, with their keys and history\n"
	 "  reconcile                 compares store and HSM; --apply settles what can be settled\n"
	 "  status                    how the signer, its token and its key pool are\n"
	 "\n"
	 "Options, before or after the command:\n"
	 "  -c, --config FILE  default " CONFIG_DEFAULT_PATH "\n"
	 "      --json         one JSON document on standard output\n"
	 "  -h, --help         also of a command: csrctl token --help\n"
	 "  -V, --version\n"
	 "\n"
	 "Exit codes: 0 done; 1 not done, or something is left to do; 64 wrong command line;\n"
	 "65 store damaged or too new; 69 store or signer does not answer; 70 internal;\n"
	 "71 system call failed; 73 store in use; 75 token failed; 78 wrong configuration.\n"},
	{"account",
	 "Usage: csrctl account add [ID] [--name NAME] [--quota N|unlimited]\n"
	 "       csrctl account list\n"
	 "\n"
	 "add   makes an account; ID is 1-32 of [0-9A-Za-z_-], without it 32 random hex digits.\n"
	 "      Makes the store when there is none.\n"
	 "list  shows all accounts.\n"
	 "\n"
	 "  --name NAME            words for people\n"
	 "  --quota N|unlimited    CSRs it may hold at a time, not counting its zones (default unlimited)\n"
	 "\n"
	 "JSON: add {id, name, quota}; list {accounts: [{id, name, quota, csr_count, created_at}]}.\n"
	 "quota is null when there is none.\n"},
	{"zone",
	 "Usage: csrctl zone add [ID] --account ACCOUNT [--name NAME] [--quota N|unlimited]\n"
	 "       csrctl zone list\n"
	 "\n"
	 "add   makes a zone of an account; ID is 1-32 of [0-9A-Za-z_-], without it 32 random hex digits.\n"
	 "list  shows all zones.\n"
	 "\n"
	 "  --account ACCOUNT      the account that it belongs to\n"
	 "  --name NAME            words for people, such as the domain\n"
	 "  --quota N|unlimited    CSRs it may hold at one time (default unlimited)\n"
	 "\n"
	 "JSON: add {id, account, name, quota}; list {zones: [{id, account, name, quota, csr_count,\n"
	 "created_at}]}.\n"
	 "quota is null when there is none.\n"},
	{"token",
	 "Usage: csrctl token create --name NAME --account|--zone ID[:read|:write]...\n"
	 "                           [--expires WHEN] [--not-before WHEN]\n"
	 "       csrctl token list\n"
	 "       csrctl token revoke ID\n"
	 "\n"
	 "create  makes an API token and shows it, this once: the store keeps its SHA-256 alone.\n"
	 "list    shows all tokens, also expired and revoked ones, without their values.\n"
	 "revoke  ends one at once, for good.\n"
	 "\n"
	 "  --name NAME                what it is for\n"
	 "  --account ID[:PERMISSION]  may read (default) or write CSRs of that account, not of its zones\n"
	 "  --zone ID[:PERMISSION]     the same for a zone; both may be given many times\n"
	 "  --expires WHEN             90d, 12h, 2027-01-31, 2027-01-31T12:00:00Z or never (default)\n"
	 "  --not-before WHEN          the same\n"
	 "\n"
	 "JSON: create {id, name, token, grants: [{scope, id, permission}], not_before?,\n"
	 "expires_at?}; list {tokens: [{id, name, status, grants, created_at, not_before?, expires_at?,\n"
	 "revoked_at?}]}; revoke {id, name, revoked_at}. status: active, not-yet-valid, expired, revoked.\n"},
	{"user",
	 "Usage: csrctl user create --email EMAIL --account|--zone ID[:read|:write]...\n"
	 "                          [--expires WHEN] [--not-before WHEN]\n"
	 "       csrctl user list\n"
	 "       csrctl user revoke ID|EMAIL\n"
	 "\n"
	 "create  makes a user and shows the key, this once: the store keeps its SHA-256 alone.\n"
	 "list    shows all users, also expired and revoked ones, without their keys.\n"
	 "revoke  ends one at once, for good; the address may then be given to a new one.\n"
	 "\n"
	 "  --email EMAIL              what X-Auth-Email says\n"
	 "  --account ID[:PERMISSION]  may read (default) or write CSRs of that account, not of its zones\n"
	 "  --zone ID[:PERMISSION]     the same for a zone; both may be given many times\n"
	 "  --expires WHEN             90d, 12h, 2027-01-31, 2027-01-31T12:00:00Z or never (default)\n"
	 "  --not-before WHEN          the same\n"
	 "\n"
	 "JSON: as for token, with email for name, key for token and users for tokens.\n"},
	{"csr",
	 "Usage: csrctl csr list [--account ID | --zone ID] [--state STATE]... [--limit N]\n"
	 "       csrctl csr show ID [--pem]\n"
	 "\n"
	 "list  shows CSRs by the time they were made, the oldest first.\n"
	 "show  shows all that is known of one: subject, names, key, protection and history.\n"
	 "\n"
	 "  --account ID   those made for the account itself, not for its zones\n"
	 "  --zone ID      those made for the zone\n"
	 "  --state STATE  pending, active, deleting, destroyed or failed; may be given many times\n"
	 "  --limit N      at most N (default 100)\n"
	 "  --pem          the PEM and nothing else\n"
	 "\n"
	 "JSON: list {csrs: [{id, state, scope, scope_id, account, token, key_type, common_name, name?,\n"
	 "created_at, updated_at}], total_count}; show the same and {subject, sans: [{type, value}],\n"
	 "description?, principal, csr?, key?: {id, spki_sha256, protection: []},\n"
	 "history: [{sequence, at, action, actor, request_id?, peer?, detail?}]}.\n"},
	{"reconcile",
	 "Usage: csrctl reconcile [--token NAME] [--apply] [--min-age DURATION]\n"
	 "\n"
	 "Asks the signer about every CSR whose outcome is open, and compares all keys of the token\n"
	 "with the store. csrd does the same by itself, at start and on a timer.\n"
	 "\n"
	 "  pending   a create that came to no end: its key is destroyed, it becomes failed\n"
	 "  deleting  a delete that came to no end: its key is destroyed, it becomes destroyed\n"
	 "  leftover  key of a failed or destroyed CSR: destroyed\n"
	 "  missing   active CSR without a whole key pair of its own: reported\n"
	 "  unknown   key with csrd's label and no CSR: reported, never destroyed\n"
	 "  busy      being worked on, or changed a moment ago: left alone, look again later\n"
	 "\n"
	 "  --token NAME        [token NAME] of the configuration (default: the first)\n"
	 "  --apply             do it; without it nothing is changed\n"
	 "  --min-age DURATION  leave alone what changed less long ago (default 2m)\n"
	 "\n"
	 "Exit code 0: nothing found, or all of it settled; 1: something is left to do.\n"
	 "JSON: {token, applied, checked, pending, deleting, leftover, missing, unknown, busy, half_pairs,\n"
	 "left, findings: [{finding, csr?, label, key}]}; key is none, pair, public-only, private-only or\n"
	 "ambiguous.\n"},
	{"status",
	 "Usage: csrctl status [--token NAME]\n"
	 "\n"
	 "Asks the signer how it, its token and its key pool are. Does not need the store.\n"
	 "\n"
	 "  --token NAME  [token NAME] of the configuration (default: the first)\n"
	 "\n"
	 "Exit code 0: the token can be worked with; 1: it cannot; 69: the signer does not answer.\n"
	 "JSON: {token, usable, detail?, threads, busy, queued, created, destroyed, failed,\n"
	 "pool: [{key_type, ready, target}], pool_detail?}.\n"},
};

void command_print_help(const char *group)
{
	for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++)
		if (group ? helps[i].group && !strcmp(helps[i].group, group) : !helps[i].group)
			fputs(helps[i].text, stdout);
}

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

static enum exit_code bad_group(const struct cli *cli, const char *name)
{
	if (!name)
		return cli_usage(
		    cli, "a command is missing: account, zone, token, user, csr, reconcile or status");
	return cli_usage(cli,
			 "unknown command '%s': it is one of account, zone, token, user, csr, reconcile, "
			 "status",
			 name);
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

static enum exit_code run(struct cli *cli, int argc, char **argv)
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

	log_open("csrctl", LOG_LEVEL_WARN);
	cli_init(&cli);
	code = run(&cli, argc, argv);
	cli_release(&cli);
	if (fflush(stdout) != 0 || ferror(stdout))
		code = cli_fail(E_IO,
				"cannot write to standard output; what was asked for may have been done");
	return (int)code;
}
