/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every command of csrctl has at hand: the options before it, the
 * configuration, the store, and one way to say what went wrong.
 */
#ifndef CSRD_CLI_CLI_H
#define CSRD_CLI_CLI_H

#include "base/attr.h"
#include "base/err.h"
#include "base/exit_code.h"
#include "config/config.h"
#include "store/store.h"

#include <getopt.h>
#include <stdbool.h>

struct command; /* cli/command.h */

struct cli {
	const struct command *command; /* the one that runs */
	const char *config_path;
	bool json;
	bool tell_options;            /* for completion: cli_getopt only leaves the command's options here, */
	const struct option *options; /* and returns CLI_OPTION_BAD */
	struct config *config;        /* from cli_open_config on */
	struct store *store;          /* from cli_open_store on */
	struct audit_origin origin;   /* actor: "operator:NAME" */
};

/* Finds out who the operator is.  Before anything else. */
void cli_init(struct cli *cli);
void cli_release(struct cli *cli);

/* The options that every command accepts; they come last in its table. */
#define CLI_OPTIONS                                                                                          \
	{"config", required_argument, NULL, 'c'}, {"json", no_argument, NULL, CLI_OPTION_JSON},              \
	    {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'},                           \
	{                                                                                                    \
		NULL, 0, NULL, 0                                                                             \
	}
#define CLI_SHORT_OPTIONS "c:hV"
#define CLI_OPTION_JSON 256
#define CLI_OPTION_BAD '?'

/*
 * getopt_long that takes the common options by itself: the value of the next
 * option of the command, -1 at the end, CLI_OPTION_BAD after it has said what
 * is wrong.  --help and --version end the program.
 */
int cli_getopt(struct cli *cli, int argc, char **argv, const char *short_options,
	       const struct option *options);

/* For a command that takes --token NAME and nothing else; *ret_token: NULL when it is not given. */
MUST_USE enum exit_code cli_only_token(struct cli *cli, int argc, char **argv, const char **ret_token);

/* EXIT_CODE_OK when min to max arguments follow the options; else says so and returns EXIT_CODE_USAGE. */
MUST_USE enum exit_code cli_arguments(const struct cli *cli, int argc, char **argv, int min, int max);

/* The value of --since or --until: a time, or how long ago ("2h", "7d").  Says what is wrong. */
MUST_USE enum exit_code cli_past(const struct cli *cli, const char *option, const char *text,
				 int64_t *ret_us);

/* Prints the message on standard error, and where help is; returns EXIT_CODE_USAGE. */
enum exit_code cli_usage(const struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);
/* Prints the message on standard error and returns the exit code of e. */
enum exit_code cli_fail(enum err e, const char *format, ...) PRINTF_LIKE(2, 3);
/*
 * A sink for the log (log_set_sink): what the layers below log becomes an ordinary
 * message, without time and level.
 */
struct log_event;
bool cli_take_log(const struct log_event *event);

/* A line on standard error that is not an error. */
void cli_note(const char *format, ...) PRINTF_LIKE(1, 2);

/*
 * Both say what is wrong.  A root that opens a store in somebody else's folder
 * becomes that user first, so that no file there belongs to root afterwards.
 */
MUST_USE enum exit_code cli_open_config(struct cli *cli);
MUST_USE enum exit_code cli_open_store(struct cli *cli, bool create); /* the configuration too */
/* The url of the store as people may see it.  Static; config is there. */
const char *cli_store_name(const struct cli *cli);
/* The part of it that root needs before it touches the store by other means; config is there. */
MUST_USE enum exit_code cli_become_store_owner(const struct cli *cli);

/* Says why `what` ("open", "check") failed, and what helps; returns the exit code. */
enum exit_code cli_store_failed(const struct cli *cli, enum err e, const char *what);

/* The end of one call to the store, for store_wait. */
struct cli_wait {
	bool done;
	enum err e;
};
void cli_on_done(void *arg /* struct cli_wait */, enum err e);

#endif
