/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrctl verify: proves that store and token are as recorded, and changes
 * nothing.  First the database by itself; then the token's list of keys against
 * the rows, which is reconciliation that applies nothing; then every CSR against
 * its row and, with --full, against its key as the token has it now.
 */
#include "api/csr_proof.h"
#include "api/reconcile.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/finding.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/signer_status.h"
#include "cli/summary.h"
#include "hsm/hsm.h"
#include "store/upkeep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINK_TIMEOUT_SECONDS 5
#define CALL_TIMEOUT_MS 60000
#define IN_WORK_MS (2 * 60 * 1000) /* rows younger than that may be in work */
#define PAGE_ROWS 100
#define SAMPLE_KEYS 20 /* or as many as a token reads in SAMPLE_MS tell how long all will take */
#define SAMPLE_MS 2000
#define LONG_MS 10000
#define INDENT 4 /* of a line that is continued */
#define WITH_CSR (CSR_STATE_BIT(CSR_ACTIVE) | CSR_STATE_BIT(CSR_DELETING) | CSR_STATE_BIT(CSR_DESTROYED))

struct verify {
	struct cli *cli;
	const struct config_token *token;
	bool full;
	struct finding_list findings;
	struct output_json j;
	struct upkeep_summary summary;

	struct loop *loop;
	struct hsm *hsm;
	bool started;
	bool vouched; /* the signer vouches for the store */
	bool served;  /* a csrd runs on the store */
	bool over;    /* hsm_free ends what is under way */
	struct reconcile_report report;

	struct csr_record rows[PAGE_ROWS]; /* owned */
	size_t rows_len;
	size_t rows_at;
	bool rows_end; /* no page follows */
	char after_id[CSR_ID_SIZE];
	char *detail; /* why the key of the row at hand is not readable; owned */
	uint64_t csrs_checked;
	uint64_t keys_read;
	uint64_t keys_total; /* that are to be read, with --full */
	uint64_t reading_ms; /* since when they are */
	bool estimated;
};

static void cmd_verify_compare(struct verify *v);
static void cmd_verify_count_keys(struct verify *v);
static void next_row(struct verify *v);

static void release_rows(struct verify *v)
{
	for (size_t i = 0; i < v->rows_len; i++)
		csr_record_release(&v->rows[i]);
	v->rows_len = v->rows_at = 0;
}

/* ---- the database ---- */

static bool cmd_verify_go_on(void *arg, enum upkeep_phase phase, uint64_t done, uint64_t total)
{
	(void)arg;
	return progress_show(summary_phase_name(phase), done, total);
}

static void cmd_verify_on_problem(void *arg, const char *object, const char *text)
{
	struct verify *v = arg;

	finding_add(&v->findings, FINDING_STORE, object, text);
}

static enum exit_code check_store(struct verify *v)
{
	const struct upkeep_check check = {
	    .url = v->cli->config->store.url,
	    .full = v->full,
	    .watch = {.go_on = cmd_verify_go_on},
	    .on_problem = cmd_verify_on_problem,
	    .arg = v,
	};
	enum exit_code code = cli_become_store_owner(v->cli);
	enum err e;

	if (code != EXIT_CODE_OK)
		return code;
	e = upkeep_check(&check, &v->summary);
	progress_clear();
	if (progress_is_interrupted())
		return cli_fail(E_DENIED, "interrupted");
	return e == E_OK ? cli_open_store(v->cli, false) : cli_store_failed(v->cli, e, "check");
}

/* ---- how long reading all keys will take ---- */

static void on_counted(void *arg, enum err e, const struct store_csr_page *page)
{
	struct verify *v = arg;

	if (e != E_OK) {
		loop_stop(v->loop, e);
		return;
	}
	v->keys_total = page->total;
	v->reading_ms = clock_ms();
	next_row(v);
}

static void cmd_verify_count_keys(struct verify *v)
{
	const struct store_csr_filter filter = {.token_name = v->token->name};
	const struct store_csr_query query = {
	    .states = CSR_STATE_BIT(CSR_ACTIVE),
	    .filter = &filter,
	    .order = STORE_ORDER_CREATED_AT,
	    .limit = 1,
	};

	store_csr_list(v->cli->store, &query, on_counted, v);
}

/* Somebody who waits wants to know whether it is for a minute or for the night. */
static void tell_estimate(struct verify *v)
{
	uint64_t spent_ms = clock_ms() - v->reading_ms, left_ms;
	char span[PROGRESS_SPAN_SIZE];

	if (v->estimated || v->keys_read == 0 || v->keys_read >= v->keys_total ||
	    (v->keys_read < SAMPLE_KEYS && spent_ms < SAMPLE_MS))
		return;
	v->estimated = true;
	left_ms = spent_ms * (v->keys_total - v->keys_read) / v->keys_read;
	if (left_ms < LONG_MS)
		return;
	progress_format_span(left_ms, span);
	progress_clear();
	cli_note("reading the %" PRIu64 " keys of token '%s' takes about %s; it may be interrupted, since "
		 "nothing is changed",
		 v->keys_total, v->token->name, span);
}

/* ---- the list of keys ---- */

static enum finding_kind kind_of_missing(enum message_key_presence presence)
{
	switch (presence) {
	case MESSAGE_KEY_NONE:
		return FINDING_MISSING_KEY;
	case MESSAGE_KEY_PUBLIC_ONLY:
	case MESSAGE_KEY_PRIVATE_ONLY:
		return FINDING_HALF_PAIR;
	case MESSAGE_KEY_PAIR:
	case MESSAGE_KEY_AMBIGUOUS:
		break;
	}
	return FINDING_WRONG_KEY;
}

static const char *presence_text(enum message_key_presence presence)
{
	switch (presence) {
	case MESSAGE_KEY_NONE:
		return "the token has no key of it";
	case MESSAGE_KEY_PUBLIC_ONLY:
		return "the token has only the public half of its key";
	case MESSAGE_KEY_PRIVATE_ONLY:
		return "the token has only the private half of its key";
	case MESSAGE_KEY_PAIR:
		return "the token has another key pair (key id) under its label";
	case MESSAGE_KEY_AMBIGUOUS:
		break;
	}
	return "the token has more than one pair under its label";
}

static void add_missing(struct verify *v, const char *csr_id, const char *label,
			enum message_key_presence presence)
{
	char text[FINDING_LABEL_SIZE + 80];

	snprintf(text, sizeof(text), "%s (%s)", presence_text(presence), label);
	finding_add(&v->findings, kind_of_missing(presence), csr_id, text);
}

static void cmd_verify_on_finding(void *arg, enum reconcile_finding finding, const char *csr_id,
				  const char *label, enum message_key_presence presence)
{
	struct verify *v = arg;

	switch (finding) {
	case RECONCILE_PENDING:
		finding_add(&v->findings, FINDING_UNSETTLED, csr_id, "was being made, unfinished");
		break;
	case RECONCILE_DELETING:
		finding_add(&v->findings, FINDING_UNSETTLED, csr_id, "is being deleted, unfinished");
		break;
	case RECONCILE_LEFTOVER:
		finding_add(&v->findings, FINDING_LEFTOVER, csr_id,
			    "is failed or destroyed, and the token has a key of it");
		break;
	case RECONCILE_MISSING:
		add_missing(v, csr_id, label, presence);
		break;
	case RECONCILE_UNKNOWN:
		finding_add(&v->findings, FINDING_UNKNOWN, label,
			    presence == MESSAGE_KEY_PAIR ? "no CSR has this key"
							 : "no CSR has this key, not a complete pair");
		break;
	case RECONCILE_SET_ASIDE:
		finding_add(&v->findings, FINDING_SET_ASIDE, csr_id,
			    v->vouched
				? "was open when the store went back, and the token has a key of it"
				: "is open in a store that the signer does not vouch for, and the token "
				  "has a key of it");
		break;
	case RECONCILE_BUSY:
		break; /* in progress right now: told in the end */
	}
}

static bool cmd_verify_should_stop(void *arg)
{
	(void)arg;
	return !progress_show("comparing the token's keys", 0, 0);
}

static void cmd_verify_on_compared(void *arg, enum err e, const struct reconcile_report *report)
{
	struct verify *v = arg;
	char text[200];
	int len;

	v->report = *report;
	if (report->unread > 0) {
		len =
		    snprintf(text, sizeof(text), "%" PRIu64 " key objects could not be read", report->unread);
		if (report->unclear > 0)
			snprintf(text + len, sizeof(text) - (size_t)len,
				 "; the keys of %" PRIu64 " active CSRs are missing, or among those",
				 report->unclear);
		finding_add(&v->findings, FINDING_UNREAD, v->token->name, text);
	}
	if (e == E_OK && v->full)
		cmd_verify_count_keys(v);
	else if (e == E_OK)
		next_row(v);
	else
		loop_stop(v->loop, e);
}

static void cmd_verify_on_vouched(void *arg, enum err e, bool vouched)
{
	struct verify *v = arg;

	if (v->over)
		return;
	v->vouched = vouched;
	if (e == E_OK)
		cmd_verify_compare(v);
	else
		loop_stop(v->loop, e);
}

static void cmd_verify_compare(struct verify *v)
{
	const struct reconcile_options options = {
	    .store = v->cli->store,
	    .hsm = v->hsm,
	    .vouched = v->vouched,
	    .compare_keys = true,
	    .min_age_us = (int64_t)IN_WORK_MS * 1000,
	    .leave_unsettled = v->served, /* a create may be about to commit, and only csrd knows */
	    .actor = v->cli->origin.actor,
	    .on_finding = cmd_verify_on_finding,
	    .should_stop = cmd_verify_should_stop,
	    .arg = v,
	};
	enum err e = reconcile_start(&options, cmd_verify_on_compared);

	if (e != E_OK)
		loop_stop(v->loop, e);
}

/* ---- CSR by CSR ---- */

static void on_difference(void *arg, const char *text)
{
	struct verify *v = arg;

	finding_add(&v->findings, FINDING_CSR, v->rows[v->rows_at].id, text);
}

static void tell_protection(struct verify *v, const struct csr_record *row, uint32_t now)
{
	struct buf text;

	buf_init(&text, 1024);
	buf_put_str(&text, "the token says [");
	key_protection_format(now, &text);
	buf_put_str(&text, "], when it was made [");
	key_protection_format(row->protection, &text);
	buf_put_str(&text, "]");
	finding_add(&v->findings, FINDING_PROTECTION, row->id, buf_text(&text));
	buf_release(&text);
}

/* Its key may have gone while the signer looked at it. */
static void on_unreadable_row(void *arg, enum err e, struct csr_record *record)
{
	struct verify *v = arg;

	if (e == E_OK && record->state == CSR_ACTIVE)
		finding_add(&v->findings, FINDING_UNREADABLE, record->id,
			    v->detail ? v->detail : err_str(E_NOMEM));
	csr_record_free(record);
	free(v->detail);
	v->detail = NULL;
	if (e != E_OK) {
		loop_stop(v->loop, e);
		return;
	}
	v->rows_at++;
	next_row(v);
}

/* False when a call was begun that goes on with the next row. */
static bool compare_key(struct verify *v, const struct csr_record *row,
			const struct message_inspect_key_reply *reply)
{
	const struct message_key *key = &reply->key;

	/* Neither a pair nor the right one: the comparison has told that. */
	if (reply->presence != MESSAGE_KEY_PAIR || memcmp(reply->key_id, row->key_id, KEY_ID_BYTES) != 0)
		return true;
	v->keys_read++;
	tell_estimate(v);
	if (!reply->has_key) {
		v->detail = strdup(reply->detail);
		store_csr_get(v->cli->store, NULL, row->id, on_unreadable_row, v);
		return false;
	}
	if (key->key_type != row->spec.key_type)
		finding_add(&v->findings, FINDING_WRONG_KEY, row->id, "the token's key is of another type");
	else if (memcmp(key->spki_sha256, row->spki_sha256, KEY_SPKI_HASH_BYTES) != 0)
		finding_add(&v->findings, FINDING_WRONG_KEY, row->id,
			    "the token's public key is not the one whose SHA-256 the row has");
	if (key->protection != row->protection)
		tell_protection(v, row, key->protection);
	return true;
}

static void on_inspected(void *arg, enum err e, const char *detail,
			 const struct message_inspect_key_reply *reply)
{
	struct verify *v = arg;
	const struct csr_record *row = &v->rows[v->rows_at];

	if (v->over)
		return;
	if (e != E_OK && e != E_BUSY) { /* busy: it is being deleted right now */
		cli_note("cannot read the key of CSR '%s': %s: %s", row->id, err_str(e), detail);
		loop_stop(v->loop, e);
		return;
	}
	if (e == E_OK && !compare_key(v, row, reply))
		return;
	v->rows_at++;
	next_row(v);
}

/* False when a call was begun that goes on with the next row. */
static bool check_row(struct verify *v, const struct csr_record *row, enum err *ret_error)
{
	bool here = strcmp(row->token_name, v->token->name) == 0;

	v->csrs_checked++;
	*ret_error = csr_proof(row, on_difference, v);
	if (*ret_error != E_OK || !v->full || !here || row->state != CSR_ACTIVE)
		return true;
	hsm_inspect_key(v->hsm, row->key_label, clock_ms() + CALL_TIMEOUT_MS, on_inspected, v);
	return false;
}

static void cmd_verify_on_page(void *arg, enum err e, const struct store_csr_page *page)
{
	struct verify *v = arg;

	release_rows(v);
	while (e == E_OK && v->rows_len < page->records_len && v->rows_len < PAGE_ROWS) {
		e = csr_record_copy(&page->records[v->rows_len], &v->rows[v->rows_len]);
		v->rows_len += e == E_OK;
	}
	if (e != E_OK) {
		loop_stop(v->loop, e);
		return;
	}
	v->rows_end = v->rows_len < PAGE_ROWS;
	if (v->rows_len > 0)
		memcpy(v->after_id, v->rows[v->rows_len - 1].id, sizeof(v->after_id));
	next_row(v);
}

static void fetch_page(struct verify *v)
{
	const struct store_csr_query query = {
	    .states = WITH_CSR,
	    .after_id = v->after_id,
	    .order = STORE_ORDER_CREATED_AT,
	    .limit = PAGE_ROWS,
	};

	store_csr_list(v->cli->store, &query, cmd_verify_on_page, v);
}

static void next_row(struct verify *v)
{
	const uint64_t *states = v->summary.csrs;
	uint64_t total = states[CSR_ACTIVE] + states[CSR_DELETING] + states[CSR_DESTROYED];

	while (v->rows_at < v->rows_len) {
		enum err e;

		if (!progress_show(v->full ? "checking CSRs and reading their keys" : "checking CSRs",
				   v->csrs_checked, total)) {
			loop_stop(v->loop, E_TIMEOUT);
			return;
		}
		if (!check_row(v, &v->rows[v->rows_at], &e))
			return;
		if (e != E_OK) {
			loop_stop(v->loop, e);
			return;
		}
		v->rows_at++;
	}
	if (v->rows_end)
		loop_stop(v->loop, E_OK);
	else
		fetch_page(v);
}

/* ---- all of it ---- */

static void cmd_verify_on_link(void *arg, struct hsm *hsm, bool up)
{
	struct verify *v = arg;

	(void)hsm;
	if (!up && !v->started)
		loop_stop(v->loop, E_UNAVAIL);
	if (!up || v->started)
		return;
	v->started = true;
	loop_clear_timeout(v->loop);
	loop_ask_vouched(v->cli->store, v->hsm, cmd_verify_on_vouched, v);
}

static enum exit_code cmd_verify_check_token(struct verify *v)
{
	const struct loop_link link = {v->token, LINK_TIMEOUT_SECONDS, cmd_verify_on_link, v};
	enum err e = loop_new(v->cli->store, &v->loop);

	if (e == E_OK) {
		loop_stop_when(v->loop, progress_is_interrupted);
		e = loop_connect(v->loop, &link, &v->hsm);
	}
	if (e == E_OK)
		e = loop_run(v->loop);
	progress_clear();
	if (progress_is_interrupted())
		return cli_fail(E_DENIED, "interrupted: not all was checked");
	if (e == E_OK)
		return EXIT_CODE_OK;
	if (!v->started)
		return cli_fail(E_UNAVAIL, "the signer of token '%s' does not answer at '%s': %s",
				v->token->name, v->token->socket, signer_status_silence(v->hsm, e));
	return cli_fail(e, "it ended early, not all was checked: %s", err_str(e));
}

static enum exit_code cmd_verify_print_json(struct verify *v)
{
	struct json_writer *w = &v->j.w;

	json_close(w); /* the findings */
	json_put_text_member(w, "token", v->token->name);
	json_put_bool_member(w, "full", v->full);
	json_put_bool_member(w, "ok", finding_total(&v->findings) == 0);
	json_put_int_member(w, "csrs_checked", (int64_t)v->csrs_checked);
	json_put_int_member(w, "keys_compared", (int64_t)v->report.checked);
	json_put_int_member(w, "keys_ready", (int64_t)v->report.ready);
	json_put_int_member(w, "keys_of_others", (int64_t)v->report.others);
	json_put_int_member(w, "keys_read", (int64_t)v->keys_read);
	json_put_int_member(w, "in_work", (int64_t)v->report.busy);
	json_put_name(w, "store");
	json_open_object(w);
	summary_put_json(w, &v->summary);
	json_close(w);
	return output_json_end(&v->j);
}

static void cmd_verify_print_text(struct verify *v)
{
	finding_print_remedies(&v->findings);
	if (finding_total(&v->findings) > 0)
		putchar('\n');
	output_line(INDENT,
		    "store: schema version %d, %" PRIu64 " CSRs, %" PRIu64 " audit records; %" PRIu64
		    " CSRs checked against their rows",
		    v->summary.schema_version, upkeep_csrs(&v->summary), v->summary.audit_records,
		    v->csrs_checked);
	output_line(INDENT,
		    "token '%s': %" PRIu64 " rows and keys compared, %" PRIu64 " keys read, %" PRIu64
		    " in progress right now",
		    v->token->name, v->report.checked, v->keys_read, v->report.busy);
	if (v->report.ready + v->report.others > 0)
		output_line(INDENT,
			    "of the keys, %" PRIu64 " are ready ones of the pool, and %" PRIu64
			    " are other nodes'",
			    v->report.ready, v->report.others);
	output_line(INDENT, "%" PRIu64 " difference%s", finding_total(&v->findings),
		    finding_total(&v->findings) == 1 ? "" : "s");
	if (!v->full)
		output_line(INDENT, "keys were listed and not read: --full reads the public key and the "
				    "attributes of each");
	if (v->cli->config->tokens_len > 1)
		output_line(INDENT, "the keys of other tokens were not checked: --token NAME does that");
}

static enum exit_code ask_served(struct verify *v)
{
	const char *url = v->cli->config->store.url;
	enum err e = upkeep_is_served(url, &v->served);

	if (e != E_OK && e != E_UNSUPPORTED)
		return cli_fail(e, "cannot see whether a csrd runs on '%s': %s", url, err_str(e));
	return EXIT_CODE_OK;
}

static enum exit_code cmd_verify_run(struct verify *v)
{
	enum exit_code code = check_store(v);
	enum exit_code shown = EXIT_CODE_OK;

	if (code == EXIT_CODE_OK)
		code = ask_served(v);
	if (code == EXIT_CODE_OK)
		code = cmd_verify_check_token(v);
	if (code == EXIT_CODE_OK && v->cli->json)
		shown = cmd_verify_print_json(v);
	else if (code == EXIT_CODE_OK)
		cmd_verify_print_text(v);
	else if (!v->cli->json)
		finding_print_remedies(&v->findings);
	if (code != EXIT_CODE_OK)
		return code;
	if (shown != EXIT_CODE_OK)
		return shown;
	return finding_total(&v->findings) > 0 ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}

static enum exit_code cmd_verify_read_options(struct verify *v, int argc, char **argv, const char **ret_token)
{
	static const struct option options[] = {
	    {"token", required_argument, NULL, 't'}, {"full", no_argument, NULL, 'f'}, CLI_OPTIONS};
	int c;

	*ret_token = NULL;
	while ((c = cli_getopt(v->cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c == 't')
			*ret_token = optarg;
		else if (c == 'f')
			v->full = true;
		else
			return EXIT_CODE_USAGE;
	}
	return cli_arguments(v->cli, argc, argv, 0, 0);
}

enum exit_code cmd_verify(struct cli *cli, int argc, char **argv)
{
	static struct verify v; /* too large for a stack */
	const char *token;
	enum exit_code code;

	v.cli = cli;
	code = cmd_verify_read_options(&v, argc, argv, &token);
	if (code == EXIT_CODE_OK)
		code = cli_open_config(cli);
	if (code != EXIT_CODE_OK)
		return code;
	v.token = config_token_find(cli->config, token);
	if (!v.token)
		return cli_fail(E_NOTFOUND, "no [token %s] in '%s'", token ? token : "NAME",
				cli->config_path);
	v.findings.token = v.token;
	log_set_level(LOG_LEVEL_ERROR); /* what it finds is said once, by us */
	progress_begin();
	v.findings.json = cli->json;
	v.findings.j = &v.j;
	if (cli->json) {
		output_json_begin(&v.j);
		json_put_name(&v.j.w, "findings");
		json_open_array(&v.j.w);
	}
	code = cmd_verify_run(&v);
	v.over = true;
	hsm_free(v.hsm);
	loop_free(v.loop);
	release_rows(&v);
	if (cli->json)
		buf_release(&v.j.buf); /* of a document that was not printed */
	return code;
}
