/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrctl completion: a script for the shell, made from the table of commands
 * and from the options that each command says it takes.
 */
#include "cli/cli.h"
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#define NAMES_MAX 128 /* of different options, or of groups */

/* What may be proposed as an option's value, where that is known: each word with a blank behind it. */
static const struct {
	const char *option;
	const char *values;
} known_values[] = {
    {"config", COMMAND_FILE " "},
    {"module", COMMAND_FILE " "},
    {"pin-file", COMMAND_FILE " "},
    {"policy", COMMAND_FILE " "},
    {"quota", "unlimited "},
    {"expires", "never "},
    {"not-before", "never "},
    {"state", "pending active deleting destroyed failed "},
    {"key", "rsa2048 rsa3072 rsa4096 p256v1 p384v1 ed25519 "},
    {"actor", "system operator: "},
    {"object", "store "},
};

static const char *values_of(const char *option)
{
	for (size_t i = 0; i < sizeof(known_values) / sizeof(known_values[0]); i++)
		if (!strcmp(known_values[i].option, option))
			return known_values[i].values;
	return "";
}

/* The command runs as far as its first cli_getopt, which only leaves its table. */
static const struct option *options_of(const struct command *command)
{
	static char name[] = "csrctl";
	char *argv[] = {name, NULL};
	struct cli cli = {.command = command, .tell_options = true};

	optind = 0;
	command->run(&cli, 1, argv);
	return cli.options;
}

/* ---- the two questions that the scripts ask ---- */

struct names {
	const char *names[NAMES_MAX]; /* borrowed */
	size_t len;
};

/* False: it is there already. */
static bool add_name(struct names *n, const char *name)
{
	for (size_t i = 0; i < n->len; i++)
		if (!strcmp(n->names[i], name))
			return false;
	if (n->len == NAMES_MAX)
		return false;
	n->names[n->len++] = name;
	return true;
}

static void print_values(void)
{
	struct names done = {.len = 0};
	size_t len;
	const struct command *commands = command_list(&len);

	puts("# What option $1 takes: words, or FILE for the name of a file.  False: it takes nothing.\n"
	     "_csrctl_value()\n"
	     "{\n"
	     "\tcase $1 in\n"
	     "\t-c) echo FILE ;;");
	for (size_t i = 0; i < len; i++) {
		for (const struct option *o = options_of(&commands[i]); o && o->name; o++) {
			if (o->has_arg == required_argument && add_name(&done, o->name))
				printf("\t--%s) echo %s;;\n", o->name, values_of(o->name));
		}
	}
	puts("\t*) return 1 ;;\n"
	     "\tesac\n"
	     "}\n");
}

static void print_options(const struct option *options)
{
	for (; options && options->name; options++)
		printf(" --%s", options->name);
	puts(" ;;");
}

static void print_common(void)
{
	static const struct option common[] = {CLI_OPTIONS};

	print_options(common);
}

/* "account ": its verbs. */
static void print_verbs(const struct command *commands, size_t len, const char *group)
{
	printf("\t\"%s \") echo", group);
	for (size_t i = 0; i < len; i++)
		if (!strcmp(commands[i].group, group))
			printf(" %s", commands[i].verb);
	print_common();
}

static void print_words(void)
{
	struct names groups = {.len = 0};
	size_t len;
	const struct command *commands = command_list(&len);

	puts("# What may come after the words $1 and $2 of a command.\n"
	     "_csrctl_words()\n"
	     "{\n"
	     "\tcase \"$1 $2\" in");
	for (size_t i = 0; i < len; i++) {
		const struct command *command = &commands[i];

		if (add_name(&groups, command->group) && command->verb)
			print_verbs(commands, len, command->group);
		printf("\t\"%s %s\"%s) echo%s%s", command->group, command->verb ? command->verb : "",
		       command->verb ? "" : "*", command->argument ? " " : "",
		       command->argument ? command->argument : "");
		print_options(options_of(command));
	}
	printf("\t\" \") echo");
	for (size_t i = 0; i < groups.len; i++)
		printf(" %s", groups.names[i]);
	print_common();
	puts("\tesac\n"
	     "}\n");
}

/* ---- the shells ---- */

static const char bash_end[] =
    "# Words without a dash come first; options once a dash is typed.\n"
    "_csrctl()\n"
    "{\n"
    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "\tlocal i word group= verb= words\n"
    "\n"
    "\t# bash makes three words of --option=value\n"
    "\tif [[ $cur == = ]]; then\n"
    "\t\tcur=\n"
    "\telif [[ $before == = ]]; then\n"
    "\t\tbefore=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "\tfi\n"
    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
    "\t\tword=${COMP_WORDS[i]}\n"
    "\t\tif [[ $word == = ]]; then\n"
    "\t\t\tcontinue\n"
    "\t\telif _csrctl_value \"$word\" >/dev/null; then\n"
    "\t\t\t[[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))\n"
    "\t\t\t((i++))\n"
    "\t\telif [[ $word == -* ]]; then\n"
    "\t\t\tcontinue\n"
    "\t\telif [[ -z $group ]]; then\n"
    "\t\t\tgroup=$word\n"
    "\t\telif [[ -z $verb ]]; then\n"
    "\t\t\tverb=$word\n"
    "\t\tfi\n"
    "\tdone\n"
    "\twords=$(_csrctl_value \"$before\") || words=$(_csrctl_words \"$group\" \"$verb\")\n"
    "\t[[ $cur == -* ]] || words=${words%%--*}\n"
    "\tCOMPREPLY=()\n"
    "\tif [[ \" $words \" == *' FILE '* && $cur != -* ]]; then\n"
    "\t\tcompopt -o filenames 2>/dev/null\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "\telse\n"
    "\t\tmapfile -t COMPREPLY < <(compgen -W \"${words/FILE/}\" -- \"$cur\")\n"
    "\tfi\n"
    "}\n"
    "complete -F _csrctl csrctl\n";

static const char zsh_end[] =
    "# Words without a dash come first; options once a dash is typed.\n"
    "_csrctl()\n"
    "{\n"
    "\tlocal cur=${words[CURRENT]} before=${words[CURRENT - 1]}\n"
    "\tlocal i word group= verb= found\n"
    "\n"
    "\tif [[ $cur == --*=* ]]; then\n"
    "\t\tbefore=${cur%%=*}\n"
    "\t\tcur=${cur#*=}\n"
    "\t\tcompset -P '*='\n"
    "\tfi\n"
    "\tfor ((i = 2; i < CURRENT; i++)); do\n"
    "\t\tword=${words[i]}\n"
    "\t\tif _csrctl_value \"$word\" >/dev/null; then\n"
    "\t\t\t((i++))\n"
    "\t\telif [[ $word == -* ]]; then\n"
    "\t\t\tcontinue\n"
    "\t\telif [[ -z $group ]]; then\n"
    "\t\t\tgroup=$word\n"
    "\t\telif [[ -z $verb ]]; then\n"
    "\t\t\tverb=$word\n"
    "\t\tfi\n"
    "\tdone\n"
    "\tfound=$(_csrctl_value \"$before\") || found=$(_csrctl_words \"$group\" \"$verb\")\n"
    "\t[[ $cur == -* ]] || found=${found%%--*}\n"
    "\tif [[ \" $found \" == *' FILE '* && $cur != -* ]]; then\n"
    "\t\t_files\n"
    "\telse\n"
    "\t\tcompadd -- ${=found/FILE/}\n"
    "\tfi\n"
    "}\n"
    "# Loaded from $fpath this file is the function's body; sourced it is not.\n"
    "if [[ ${funcstack[1]} == _csrctl ]]; then\n"
    "\t_csrctl \"$@\"\n"
    "else\n"
    "\tcompdef _csrctl csrctl\n"
    "fi\n";

enum exit_code cmd_completion(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_OPTIONS};
	enum exit_code code;
	const char *shell;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 1, 1);
	if (code != EXIT_CODE_OK)
		return code;
	shell = argv[optind];
	if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0)
		return cli_usage(cli, "completion '%s': bash or zsh", shell);
	if (!strcmp(shell, "zsh"))
		puts("#compdef csrctl");
	printf("# Completion of csrctl for %s, made by \"csrctl completion %s\".\n\n", shell, shell);
	print_values();
	print_words();
	fputs(!strcmp(shell, "zsh") ? zsh_end : bash_end, stdout);
	return EXIT_CODE_OK;
}
