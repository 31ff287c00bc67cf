/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl reconcile: one pass of reconciliation on an event loop of its own. */
#include "api/reconcile.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/signer_status.h"
#include "hsm/hsm.h"
#include "store/upkeep.h"

#include <stdio.h>
#include <string.h>

#define COUNTS_WIDTH 20
#define INDENT 4 /* of a line that is continued */
#define LINK_TIMEOUT_SECONDS 5
#define MIN_AGE_DEFAULT_MS (2 * 60 * 1000)
#define MIN_AGE_MAX_MS ((uint64_t)365 * 24 * 3600 * 1000)

struct pass {
	struct cli *cli;
	const struct config_token *token;
	bool apply;
	uint64_t min_age_ms;
	const char *give_up; /* id of a set-aside CSR, or all; NULL: none */
	bool served;         /* a csrd runs on the store */
	bool vouched;        /* the signer vouches for the store */
	struct loop *loop;
	struct hsm *hsm;
	bool started;
	struct reconcile_report report;
	uint64_t told; /* findings */
	struct output_json j;
};

static const char *presence_name(enum message_key_presence presence)
{
	switch (presence) {
	case MESSAGE_KEY_NONE:
		return "none";
	case MESSAGE_KEY_PAIR:
		return "pair";
	case MESSAGE_KEY_PUBLIC_ONLY:
		return "public-only";
	case MESSAGE_KEY_PRIVATE_ONLY:
		return "private-only";
	case MESSAGE_KEY_AMBIGUOUS:
		return "ambiguous";
	}
	return "?";
}

/* People see each finding when it is met: a pass over a big token takes its time. */
static void cmd_reconcile_on_finding(void *arg, enum reconcile_finding finding, const char *csr_id,
				     const char *label, enum message_key_presence presence)
{
	struct pass *pass = arg;

	if (pass->cli->json) {
		json_open_object(&pass->j.w);
		json_put_text_member(&pass->j.w, "finding", reconcile_finding_name(finding));
		output_json_text_opt(&pass->j.w, "csr", csr_id);
		json_put_text_member(&pass->j.w, "label", label);
		json_put_text_member(&pass->j.w, "key", presence_name(presence));
		json_close(&pass->j.w);
		return;
	}
	if (pass->told++ == 0)
		printf("%-9s  %-12s  %s\n", "FINDING", "KEY", "LABEL");
	printf("%-9s  %-12s  ", reconcile_finding_name(finding), presence_name(presence));
	output_text(label);
	putchar('\n');
}

static void cmd_reconcile_on_done(void *arg, enum err e, const struct reconcile_report *report)
{
	struct pass *pass = arg;

	pass->report = *report;
	loop_stop(pass->loop, e);
}

/*
 * What a running csrd makes or deletes right now only it knows: ages tell nothing when a clock was set.  It
 * settles its open rows by itself, unless the operator said that age does not count.
 */
static void cmd_reconcile_on_vouched(void *arg, enum err e, bool vouched)
{
	struct pass *pass = arg;
	struct reconcile_options options = {
	    .store = pass->cli->store,
	    .hsm = pass->hsm,
	    .vouched = vouched,
	    .apply = pass->apply,
	    .compare_keys = true,
	    .min_age_us = (int64_t)pass->min_age_ms * 1000,
	    .leave_open = pass->apply && pass->served && pass->min_age_ms > 0,
	    .leave_unsettled = pass->served && pass->min_age_ms > 0,
	    .give_up = pass->give_up,
	    .actor = pass->cli->origin.actor,
	    .on_finding = cmd_reconcile_on_finding,
	    .arg = pass,
	};

	pass->vouched = vouched;
	if (e == E_OK)
		e = reconcile_start(&options, cmd_reconcile_on_done);
	if (e != E_OK)
		loop_stop(pass->loop, e);
}

static void cmd_reconcile_on_link(void *arg, struct hsm *hsm, bool up)
{
	struct pass *pass = arg;

	if (!up && !pass->started)
		loop_stop(pass->loop, E_UNAVAIL);
	if (!up || pass->started)
		return;
	pass->started = true;
	loop_clear_timeout(pass->loop);
	loop_ask_vouched(pass->cli->store, hsm, cmd_reconcile_on_vouched, pass);
}

/* Connects and runs one pass to its end. */
static enum err cmd_reconcile_run_loop(struct pass *pass)
{
	const struct loop_link link = {pass->token, LINK_TIMEOUT_SECONDS, cmd_reconcile_on_link, pass};
	enum err e = loop_new(pass->cli->store, &pass->loop);

	if (e == E_OK)
		e = loop_connect(pass->loop, &link, &pass->hsm);
	return e == E_OK ? loop_run(pass->loop) : e;
}

static uint64_t left_of(const struct pass *pass)
{
	const struct reconcile_report *r = &pass->report;
	uint64_t left = r->missing + r->unknown + r->busy + r->unread + r->unclear + r->set_aside;

	return pass->apply && pass->vouched ? left : left + r->pending + r->deleting + r->leftover;
}

static enum exit_code cmd_reconcile_print_json(struct pass *pass)
{
	const struct reconcile_report *r = &pass->report;
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
	    {"checked", r->checked},   {"pending", r->pending},     {"deleting", r->deleting},
	    {"leftover", r->leftover}, {"missing", r->missing},     {"unknown", r->unknown},
	    {"busy", r->busy},         {"set_aside", r->set_aside}, {"half_pairs", r->half_pairs},
	    {"unread", r->unread},     {"unclear", r->unclear},     {"ready", r->ready},
	    {"others", r->others},     {"left", left_of(pass)},
	};

	json_close(&pass->j.w); /* the findings */
	json_put_text_member(&pass->j.w, "token", pass->token->name);
	json_put_bool_member(&pass->j.w, "applied", pass->apply && pass->vouched);
	json_put_bool_member(&pass->j.w, "vouched", pass->vouched);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		json_put_int_member(&pass->j.w, counts[i].name, (int64_t)counts[i].value);
	return output_json_end(&pass->j);
}

static void print_line(uint64_t count, const char *name, const char *meaning)
{
	if (count > 0)
		output_line(COUNTS_WIDTH, "%-10s%8llu  %s", name, (unsigned long long)count, meaning);
}

static void cmd_reconcile_print_text(const struct pass *pass)
{
	const struct reconcile_report *r = &pass->report;
	bool apply = pass->apply && pass->vouched;

	if (pass->told > 0)
		putchar('\n');
	print_line(r->pending, "pending",
		   apply ? "unfinished CSRs: failed" : "CSRs that would become failed");
	print_line(r->deleting, "deleting", apply ? "deletes ended" : "deletes that would be ended");
	print_line(r->leftover, "leftover",
		   apply ? "keys of failed or destroyed CSRs: destroyed"
			 : "keys of failed or destroyed CSRs that would be destroyed");
	print_line(r->missing, "missing", "active CSRs without a complete key pair of their own");
	print_line(r->unknown, "unknown", "keys with csrd's label that no CSR has; csrd never destroys them");
	print_line(r->busy, "busy",
		   pass->served ? "left to the csrd that runs on this store: look again later"
				: "being worked on or changed a moment ago: look again later");
	print_line(r->set_aside, "set-aside", "keys of CSRs that were open when the store went back: kept");
	print_line(r->unread, "unread",
		   "key objects that the signer cannot read: keys may have been overlooked");
	print_line(r->unclear, "unclear",
		   "active CSRs whose keys are missing, or among those that cannot be read");
	print_line(r->ready, "ready", "keys of the pool, used for no CSR yet");
	print_line(r->others, "others", "keys of other nodes that share the token");
	output_line(INDENT, "token '%s': %llu rows and keys checked, %llu half pairs, %llu left to do",
		    pass->token->name, (unsigned long long)r->checked, (unsigned long long)r->half_pairs,
		    (unsigned long long)left_of(pass));
	if (!pass->apply && r->pending + r->deleting + r->leftover > 0)
		output_line(INDENT, "nothing was changed: --apply settles pending, deleting and leftover");
	if (r->set_aside > 0)
		output_line(INDENT, "'csrctl verify --token %s' says more about what was set aside",
			    pass->token->name);
}

/* Why nothing was done although it was asked for. */
static enum exit_code fail_unvouched(const struct pass *pass)
{
	return cli_fail(
	    E_DENIED,
	    "nothing was changed: the signer of token '%s' does not vouch for this store, which may "
	    "have gone back; start csrd, which sets its open CSRs aside, and then again",
	    pass->token->name);
}

static enum exit_code cmd_reconcile_run(struct pass *pass)
{
	enum err e = cmd_reconcile_run_loop(pass);
	enum exit_code shown = EXIT_CODE_OK;

	if (!pass->started && (e == E_TIMEOUT || e == E_UNAVAIL))
		return cli_fail(E_UNAVAIL, "the signer of token '%s' does not answer at '%s': %s",
				pass->token->name, pass->token->socket, signer_status_silence(pass->hsm, e));
	if (!pass->started)
		return cli_fail(e, "cannot reach the signer of token '%s': %s", pass->token->name,
				err_str(e));
	if (pass->cli->json)
		shown = cmd_reconcile_print_json(pass);
	else
		cmd_reconcile_print_text(pass);
	if (e != E_OK)
		return cli_fail(e, "the pass ended early: %s", err_str(e));
	if (pass->apply && !pass->vouched)
		return fail_unvouched(pass);
	if (shown != EXIT_CODE_OK)
		return shown;
	return left_of(pass) > 0 ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}

static enum exit_code cmd_reconcile_read_options(struct pass *pass, int argc, char **argv,
						 const char **ret_token)
{
	static const struct option options[] = {
	    {"token", required_argument, NULL, 't'},
	    {"apply", no_argument, NULL, 'a'},
	    {"min-age", required_argument, NULL, 'm'},
	    {"give-up", required_argument, NULL, 'g'},
	    CLI_OPTIONS,
	};
	int c;

	*ret_token = NULL;
	while ((c = cli_getopt(pass->cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		switch (c) {
		case 't':
			*ret_token = optarg;
			break;
		case 'a':
			pass->apply = true;
			break;
		case 'm':
			if (clock_parse_duration(optarg, &pass->min_age_ms) != E_OK ||
			    pass->min_age_ms > MIN_AGE_MAX_MS)
				return cli_usage(pass->cli, "--min-age '%s': a duration such as 2m or 30s",
						 optarg);
			break;
		case 'g':
			pass->give_up = optarg;
			break;
		default:
			return EXIT_CODE_USAGE;
		}
	}
	if (pass->give_up && !pass->apply)
		return cli_usage(pass->cli, "--give-up destroys keys, and goes with --apply only");
	if (pass->give_up && strcmp(pass->give_up, RECONCILE_GIVE_UP_ALL) != 0 &&
	    !uuid_is_valid(pass->give_up))
		return cli_usage(pass->cli, "--give-up '%s': the id of a CSR, or all", pass->give_up);
	return cli_arguments(pass->cli, argc, argv, 0, 0);
}

enum exit_code cmd_reconcile(struct cli *cli, int argc, char **argv)
{
	struct pass pass = {.cli = cli, .min_age_ms = MIN_AGE_DEFAULT_MS};
	const char *token;
	enum err e;
	enum exit_code code = cmd_reconcile_read_options(&pass, argc, argv, &token);

	if (code == EXIT_CODE_OK)
		code = cli_open_config(cli);
	if (code != EXIT_CODE_OK)
		return code;
	pass.token = config_token_find(cli->config, token);
	if (!pass.token)
		return cli_fail(E_NOTFOUND, "no [token %s] in '%s'", token ? token : "NAME",
				cli->config_path);
	code = cli_open_store(cli, false);
	if (code != EXIT_CODE_OK)
		return code;
	e = upkeep_is_served(cli->config->store.url, &pass.served);
	if (e != E_OK && e != E_UNSUPPORTED)
		return cli_fail(e, "cannot see whether a csrd runs on '%s': %s", cli_store_name(cli),
				err_str(e));
	if (cli->json) {
		output_json_begin(&pass.j);
		json_put_name(&pass.j.w, "findings");
		json_open_array(&pass.j.w);
	}
	code = cmd_reconcile_run(&pass);
	hsm_free(pass.hsm);
	loop_free(pass.loop);
	if (cli->json)
		buf_release(&pass.j.buf); /* of a document that was not printed */
	return code;
}
