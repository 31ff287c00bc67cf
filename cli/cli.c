/* SPDX-License-Identifier: Apache-2.0 */
/* What every command has at hand: common options, configuration, store, errors. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/url.h"
#include "cli/command.h"
#include "store/store_url.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPORT_BYTES_MAX (64 * 1024)
#define STORE_QUEUE_MAX 64
#define USER_NAME_MAX 64

static char actor[sizeof("operator:") + USER_NAME_MAX];

static bool is_plain_name(const char *text)
{
	size_t len = strlen(text);

	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return len > 0 && len <= USER_NAME_MAX;
}

/* Who acts: the user behind sudo, or the real user. */
void cli_init(struct cli *cli)
{
	const char *sudo_user = getuid() == 0 ? getenv("SUDO_USER") : NULL;
	const struct passwd *user = getpwuid(getuid());

	memset(cli, 0, sizeof(*cli));
	cli->config_path = CONFIG_DEFAULT_PATH;
	if (sudo_user && is_plain_name(sudo_user))
		snprintf(actor, sizeof(actor), "operator:%s", sudo_user);
	else if (user && is_plain_name(user->pw_name))
		snprintf(actor, sizeof(actor), "operator:%s", user->pw_name);
	else
		snprintf(actor, sizeof(actor), "operator:%lu", (unsigned long)getuid());
	cli->origin.actor = actor;
}

void cli_release(struct cli *cli)
{
	store_close(cli->store);
	config_free(cli->config);
	cli->store = NULL;
	cli->config = NULL;
}

/* ---- saying things ---- */

static void cli_say(const char *format, va_list args)
{
	fputs("csrctl: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

enum exit_code cli_usage(const struct cli *cli, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	cli_say(format, args);
	va_end(args);
	if (cli->command)
		fprintf(stderr, "Try 'csrctl %s --help'.\n", cli->command->group);
	else
		fputs("Try 'csrctl --help'.\n", stderr);
	return EXIT_CODE_USAGE;
}

enum exit_code cli_fail(enum err e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	cli_say(format, args);
	va_end(args);
	return exit_code_of(e, EXIT_CODE_FAILURE);
}

void cli_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	cli_say(format, args);
	va_end(args);
}

static bool holds_errors;
static char held[1024]; /* the last error meanwhile; "": none */

bool cli_take_log(const struct log_event *event)
{
	if (holds_errors && event->level == LOG_LEVEL_ERROR)
		snprintf(held, sizeof(held), "%s", event->message);
	else
		fprintf(stderr, "csrctl: %s\n", event->message);
	return true;
}

/* ---- the command line ---- */

int cli_getopt(struct cli *cli, int argc, char **argv, const char *short_options,
	       const struct option *options)
{
	if (cli->tell_options) {
		cli->options = options;
		return CLI_OPTION_BAD;
	}
	for (;;) {
		int c = getopt_long(argc, argv, short_options, options, NULL);

		switch (c) {
		case 'c':
			cli->config_path = optarg;
			break;
		case CLI_OPTION_JSON:
			cli->json = true;
			break;
		case 'h':
			command_print_help(cli->command ? cli->command->group : NULL);
			exit(EXIT_CODE_OK);
		case 'V':
			printf("csrctl %s\n", CSRD_VERSION);
			exit(EXIT_CODE_OK);
		case '?':
			if (cli->command)
				fprintf(stderr, "Try 'csrctl %s --help'.\n", cli->command->group);
			else
				fputs("Try 'csrctl --help'.\n", stderr);
			return CLI_OPTION_BAD;
		default:
			return c;
		}
	}
}

enum exit_code cli_only_token(struct cli *cli, int argc, char **argv, const char **ret_token)
{
	static const struct option options[] = {{"token", required_argument, NULL, 't'}, CLI_OPTIONS};
	int c;

	*ret_token = NULL;
	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c != 't')
			return EXIT_CODE_USAGE;
		*ret_token = optarg;
	}
	return cli_arguments(cli, argc, argv, 0, 0);
}

enum exit_code cli_arguments(const struct cli *cli, int argc, char **argv, int min, int max)
{
	const char *verb = cli->command->verb ? cli->command->verb : "";
	const char *space = cli->command->verb ? " " : "";

	if (argc - optind > max)
		return cli_usage(cli, "%s%s%s: unexpected argument '%s'", cli->command->group, space, verb,
				 argv[optind + max]);
	if (argc - optind < min)
		return cli_usage(cli, "%s%s%s: an argument is missing", cli->command->group, space, verb);
	return EXIT_CODE_OK;
}

enum exit_code cli_past(const struct cli *cli, const char *option, const char *text, int64_t *ret_us)
{
	int64_t now_us = clock_wall_us();
	uint64_t ms;

	if (clock_parse_duration(text, &ms) == E_OK && ms <= (uint64_t)now_us / 1000) {
		*ret_us = now_us - (int64_t)ms * 1000;
		return EXIT_CODE_OK;
	}
	if (clock_parse_rfc3339(text, ret_us) != E_OK)
		return cli_usage(cli, "--%s '%s': 2h, 7d, 2027-01-31 or 2027-01-31T12:00:00Z", option, text);
	return EXIT_CODE_OK;
}

/* ---- configuration and store ---- */

enum exit_code cli_open_config(struct cli *cli)
{
	struct buf report;
	enum err e;

	if (cli->config)
		return EXIT_CODE_OK;
	buf_init(&report, REPORT_BYTES_MAX);
	e = config_load(cli->config_path, &report, &cli->config);
	if (e != E_OK)
		fputs(buf_text(&report), stderr);
	buf_release(&report);
	return e == E_OK ? EXIT_CODE_OK : cli_fail(e, "cannot use the configuration '%s'", cli->config_path);
}

/*
 * Files that root makes in the folder of another user could not be written by
 * that user, and a folder that another user can write may hold links that lead
 * root astray.  So root goes on as the owner of the folder, for good.
 */
static enum exit_code become_owner(const char *folder)
{
	const struct passwd *user;
	struct stat st;
	gid_t group;

	if (geteuid() != 0 || stat(folder, &st) != 0 || st.st_uid == 0)
		return EXIT_CODE_OK;
	user = getpwuid(st.st_uid);
	group = user ? user->pw_gid : st.st_gid;
	if ((user ? initgroups(user->pw_name, group) : setgroups(0, NULL)) != 0 ||
	    setresgid(group, group, group) != 0 || setresuid(st.st_uid, st.st_uid, st.st_uid) != 0)
		return cli_fail(E_IO, "cannot become the owner of '%s' (user %lu): %s", folder,
				(unsigned long)st.st_uid, strerror(errno));
	return EXIT_CODE_OK;
}

enum exit_code cli_become_store_owner(const struct cli *cli)
{
	const char *path = store_url_path(cli->config->store.url);
	const char *slash = path ? strrchr(path, '/') : NULL;
	enum exit_code code;
	char *folder;

	if (!slash || slash == path)
		return EXIT_CODE_OK;
	folder = str_dup_len(path, (size_t)(slash - path));
	if (!folder)
		return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	code = become_owner(folder);
	free(folder);
	return code;
}

const char *cli_store_name(const struct cli *cli)
{
	static char name[4200]; /* a path, and what stands before it */
	struct buf shown;

	buf_init(&shown, 2 * sizeof(name));
	url_put_masked(&shown, cli->config->store.url);
	snprintf(name, sizeof(name), "%s", buf_text(&shown));
	buf_release(&shown);
	return name;
}

enum exit_code cli_store_failed(const struct cli *cli, enum err e, const char *what)
{
	const char *url = cli_store_name(cli);

	switch (e) {
	case E_NOTFOUND:
		cli_note("no store at '%s': csrctl setup creates it, or csrctl account add", url);
		return EXIT_CODE_UNAVAILABLE;
	case E_EXISTS:
		cli_note("the store at '%s' is in use", url);
		return EXIT_CODE_IN_USE;
	case E_DENIED:
		cli_note("no permission to use the store at '%s': run csrctl as root or as the user of csrd",
			 url);
		return EXIT_CODE_FAILURE;
	case E_STORE:
		return cli_fail(e,
				"cannot %s the store at '%s': when it is damaged, stop csrd, keep a copy of "
				"its files, and have 'csrctl restore' put a backup there",
				what, url);
	default:
		return cli_fail(e, "cannot %s the store at '%s': %s", what, url, err_str(e));
	}
}

enum exit_code cli_open_store(struct cli *cli, bool create)
{
	struct store_options options = {.queue_max = STORE_QUEUE_MAX, .create = create};
	enum exit_code code = cli_open_config(cli);
	enum err e;

	if (code != EXIT_CODE_OK)
		return code;
	code = cli_become_store_owner(cli);
	if (code != EXIT_CODE_OK)
		return code;
	options.url = cli->config->store.url;
	held[0] = '\0';
	holds_errors = true;
	e = store_open(&options, &cli->store);
	holds_errors = false;
	if (e == E_OK)
		return EXIT_CODE_OK;
	/* that there is none is said in words of our own, with what makes one */
	if (held[0] && e != E_NOTFOUND)
		cli_note("%s", held);
	return cli_store_failed(cli, e, "open");
}

void cli_on_done(void *arg, enum err e)
{
	struct cli_wait *wait = arg;

	wait->e = e;
	wait->done = true;
}
