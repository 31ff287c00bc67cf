/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl status: whether csrd is ready, and what the signers say of themselves and their key pools. */
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/readyz.h"
#include "cli/running.h"
#include "cli/signer_status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WITHIN_SECONDS 5
#define READYZ_MS 3000
#define WATCH_DEFAULT_SECONDS 2
#define WATCH_MAX_SECONDS 3600
#define WATCH_BUFFER_BYTES 65536
#define CLEAR_SCREEN "\033[H\033[2J"

struct report {
	struct cli *cli;
	const struct config_token *only; /* NULL: all tokens */
	uint64_t watch_seconds;          /* 0: once */
	bool verbose;
	const struct config_token *token; /* that is being asked */
	struct json_doc *running; /* what csrd says of itself; NULL: none runs, or it cannot be told */
	struct output_json j;
	enum exit_code code; /* the worst so far */
};

/* ---- csrd ---- */

static void report_csrd(struct report *report)
{
	struct readyz r = readyz_ask_first(report->cli->config, READYZ_MS);
	const char *name = readyz_state_name(r.state);

	const char *version = report->running ? running_version(report->running) : NULL;
	const struct config *config = report->cli->config;

	if (r.state == READYZ_NOT_READY)
		report->code = EXIT_CODE_FAILURE;
	if (!report->cli->json) {
		output_fact("csrd", name);
		output_fact("version", version);
		output_fact("address", r.address);
		output_fact("new keys on", config->tokens_len > 0 ? config->tokens[0].name : NULL);
		output_fact("detail", r.detail);
		return;
	}
	json_put_name(&report->j.w, "csrd");
	json_open_object(&report->j.w);
	json_put_text_member(&report->j.w, "state", name);
	output_json_text_opt(&report->j.w, "version", version);
	output_json_text_opt(&report->j.w, "address", r.address);
	output_json_text_opt(&report->j.w, "detail", r.detail);
	json_close(&report->j.w);
}

/* ---- a signer ---- */

/* What the configuration forgives a key of this token; "" for nothing. */
static void format_allowed(const struct config_token *token, struct buf *b)
{
	buf_init(b, 256);
	key_protection_format(token->allow_usage, b);
}

static void cmd_status_put_json(struct json_writer *w, const struct config_token *token,
				const struct message_status_reply *status)
{
	struct buf allowed;

	json_put_bool_member(w, "usable", status->usable);
	output_json_text_opt(w, "detail", status->detail);
	json_put_int_member(w, "threads", status->threads);
	json_put_int_member(w, "busy", status->busy);
	json_put_int_member(w, "queued", status->queued);
	json_put_int_member(w, "created", (int64_t)status->created);
	json_put_int_member(w, "destroyed", (int64_t)status->destroyed);
	json_put_int_member(w, "failed", (int64_t)status->failed);
	json_put_name(w, "pool");
	json_open_array(w);
	for (size_t i = 0; i < status->pools_len; i++) {
		json_open_object(w);
		json_put_text_member(w, "key_type", key_type_name(status->pools[i].key_type));
		json_put_int_member(w, "ready", status->pools[i].ready);
		json_put_int_member(w, "target", status->pools[i].target);
		json_close(w);
	}
	json_close(w);
	output_json_text_opt(w, "pool_detail", status->pool_detail);
	json_put_int_member(w, "other_nodes", status->other_nodes);
	json_put_int_member(w, "other_keys", status->other_keys);
	output_json_text_opt(w, "capabilities", status->capabilities);
	format_allowed(token, &allowed);
	output_json_text_opt(w, "allow_usage", buf_text(&allowed));
	buf_release(&allowed);
}

/* "rsa: 512-16384 bits; edwards" of what the signer says at length, with templates for experts. */
static void format_capabilities(const char *whole, struct buf *b)
{
	for (const char *at = whole; at && *at;) {
		const char *end = at + strcspn(at, ";");
		const char *template = strstr(at, " template ");
		size_t len = (size_t)((template && template <end ? template : end) - at);

		if (len && at[len - 1] == ':') /* nothing but the template is said of it */
			len--;
		buf_printf(b, "%s%.*s", at == whole ? "" : ";", (int)len, at);
		at = end + (*end == ';');
	}
}

static void print_capabilities(const char *whole, bool verbose)
{
	struct buf words;

	buf_init(&words, 4096);
	format_capabilities(whole, &words);
	output_fact("capabilities", verbose ? whole : buf_text(&words));
	buf_release(&words);
}

static void cmd_status_print_text(const struct report *report, const struct message_status_reply *status)
{
	const struct config_token *token = report->token;
	struct buf allowed;
	char text[96];

	output_fact("usable", status->usable ? "yes" : "no");
	output_fact("detail", status->detail);
	snprintf(text, sizeof(text), "%u, %u at work, %u requests queued", status->threads, status->busy,
		 status->queued);
	output_fact("threads", text);
	snprintf(text, sizeof(text), "%llu created, %llu destroyed, %llu failed",
		 (unsigned long long)status->created, (unsigned long long)status->destroyed,
		 (unsigned long long)status->failed);
	output_fact("since start", text);
	for (size_t i = 0; i < status->pools_len; i++) {
		snprintf(text, sizeof(text), "%s: %u of %u ready", key_type_name(status->pools[i].key_type),
			 status->pools[i].ready, status->pools[i].target);
		output_fact("pool", text);
	}
	output_fact("pool detail", status->pool_detail);
	if (status->other_nodes) {
		snprintf(text, sizeof(text), "%u ready keys of %u other nodes (csrctl pool list)",
			 status->other_keys, status->other_nodes);
		output_fact("other pools", text);
	}
	print_capabilities(status->capabilities, report->verbose);
	format_allowed(token, &allowed);
	output_fact("allowed usage", buf_text(&allowed));
	buf_release(&allowed);
}

static void begin_token(struct report *report, bool answers)
{
	if (!report->cli->json) {
		putchar('\n');
		output_fact("token", report->token->name);
		return;
	}
	json_open_object(&report->j.w);
	json_put_text_member(&report->j.w, "token", report->token->name);
	json_put_bool_member(&report->j.w, "answers", answers);
}

static void cmd_status_on_status(void *arg, const struct message_status_reply *status)
{
	struct report *report = arg;

	begin_token(report, true);
	if (report->cli->json)
		cmd_status_put_json(&report->j.w, report->token, status);
	else
		cmd_status_print_text(report, status);
	if (!status->usable && report->code == EXIT_CODE_OK)
		report->code = EXIT_CODE_FAILURE;
}

/* What csrd found when it compared the token with the store last. */
static void report_comparison(struct report *report)
{
	struct running_comparison c;
	char at[OUTPUT_TIME_SIZE], words[RUNNING_WORDS_SIZE], text[RUNNING_WORDS_SIZE + 128];

	if (!report->running || !running_last_comparison(report->running, report->token->name, &c))
		return;
	if (report->cli->json) {
		struct json_writer *w = &report->j.w;

		json_put_name(w, "last_comparison");
		json_open_object(w);
		json_put_time_member(w, "at", c.at_us);
		json_put_int_member(w, "checked", c.checked);
		json_put_int_member(w, "missing", c.missing);
		json_put_int_member(w, "unknown", c.unknown);
		json_put_int_member(w, "set_aside", c.set_aside);
		json_put_int_member(w, "unread", c.unread);
		json_put_int_member(w, "unclear", c.unclear);
		json_close(w);
		return;
	}
	output_format_age(c.at_us, clock_wall_us(), at);
	running_comparison_words(&c, words);
	if (words[0])
		snprintf(text, sizeof(text), "%s, %s: 'csrctl verify --token %s' shows which", words, at,
			 report->token->name);
	else
		snprintf(text, sizeof(text), "as recorded, %s", at);
	output_fact("keys and store", text);
}

static void report_silence(struct report *report, enum err e, const char *why)
{
	bool denied = access(report->token->socket, R_OK | W_OK) < 0 && errno == EACCES;

	begin_token(report, false);
	if (report->cli->json) {
		json_put_bool_member(&report->j.w, "usable", false);
		json_put_text_member(&report->j.w, "detail", why);
	} else {
		output_fact("usable", denied ? "not known: run csrctl as root" : "no");
		fflush(stdout);
	}
	report->code = cli_fail(e, "%s", why);
}

static void report_token(struct report *report, const struct config_token *token)
{
	struct buf why;
	enum err e;

	buf_init(&why, 4096);
	report->token = token;
	e = signer_status_ask(token, WITHIN_SECONDS, cmd_status_on_status, report, &why);
	if (e != E_OK)
		report_silence(report, e, buf_text(&why));
	report_comparison(report);
	if (report->cli->json)
		json_close(&report->j.w);
	buf_release(&why);
}

/* ---- all ---- */

static enum exit_code report_once(struct report *report)
{
	const struct config *config = report->cli->config;
	enum exit_code shown = EXIT_CODE_OK;

	report->code = EXIT_CODE_OK;
	report->running = NULL;
	if (running_read(config, &report->running) != E_OK)
		report->running = NULL; /* as where none runs */
	if (report->cli->json)
		output_json_begin(&report->j);
	report_csrd(report);
	if (report->cli->json) {
		json_put_name(&report->j.w, "tokens");
		json_open_array(&report->j.w);
	}
	for (size_t i = 0; i < config->tokens_len; i++)
		if (!report->only || report->only == &config->tokens[i])
			report_token(report, &config->tokens[i]);
	if (report->cli->json) {
		json_close(&report->j.w);
		shown = output_json_end(&report->j);
	}
	json_doc_free(report->running);
	return shown != EXIT_CODE_OK ? shown : report->code;
}

/* Until a signal ends us, or the terminal is gone. */
static enum exit_code watch(struct report *report)
{
	const struct timespec pause = {.tv_sec = (time_t)report->watch_seconds};
	char now[OUTPUT_TIME_SIZE];
	enum exit_code code;

	setvbuf(stdout, NULL, _IOFBF, WATCH_BUFFER_BYTES); /* the old screen stays meanwhile */
	for (;;) {
		output_format_time(clock_wall_us(), now);
		fputs(CLEAR_SCREEN, stdout);
		output_fact("time", now);
		code = report_once(report);
		if (fflush(stdout) || ferror(stdout))
			return code;
		nanosleep(&pause, NULL);
	}
}

static enum exit_code cmd_status_read_options(struct report *report, int argc, char **argv,
					      const char **ret_token)
{
	static const struct option options[] = {
	    {"token", required_argument, NULL, 't'},
	    {"watch", optional_argument, NULL, 'w'},
	    {"verbose", no_argument, NULL, 'v'},
	    CLI_OPTIONS,
	};
	struct cli *cli = report->cli;
	int c;

	*ret_token = NULL;
	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS "v", options)) != -1) {
		switch (c) {
		case 't':
			*ret_token = optarg;
			break;
		case 'v':
			report->verbose = true;
			break;
		case 'w':
			report->watch_seconds = WATCH_DEFAULT_SECONDS;
			if (!optarg)
				break;
			if (str_parse_u64(optarg, WATCH_MAX_SECONDS, &report->watch_seconds) != E_OK ||
			    report->watch_seconds == 0)
				return cli_usage(cli, "--watch '%s': seconds, 1 to %d", optarg,
						 WATCH_MAX_SECONDS);
			break;
		default:
			return EXIT_CODE_USAGE;
		}
	}
	if (report->watch_seconds && (cli->json || !isatty(STDOUT_FILENO)))
		return cli_usage(cli, "--watch is for a terminal, and not for --json");
	return cli_arguments(cli, argc, argv, 0, 0);
}

enum exit_code cmd_status(struct cli *cli, int argc, char **argv)
{
	struct report report = {.cli = cli};
	const char *token;
	enum exit_code code = cmd_status_read_options(&report, argc, argv, &token);

	if (code == EXIT_CODE_OK)
		code = cli_open_config(cli);
	if (code != EXIT_CODE_OK)
		return code;
	log_set_level(LOG_LEVEL_ERROR); /* why a signer is silent is said once, by us */
	report.only = token ? config_token_find(cli->config, token) : NULL;
	if (token && !report.only)
		return cli_fail(E_NOTFOUND, "no [token %s] in '%s'", token, cli->config_path);
	return report.watch_seconds ? watch(&report) : report_once(&report);
}
