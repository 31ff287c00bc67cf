/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl doctor: all checks in an order in which each can build upon those before. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/doctor.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 8192

/* What may be the cause of something goes before it. */
static void cmd_doctor_check_token(struct doctor *d, const struct config_token *token)
{
	d->cause = (struct doctor_cause){0};
	doctor_look_at_units(d, token);
	doctor_look_at_signer(d, token);
	d->seeks_cause = true;
	doctor_check_token_files(d, token);
	doctor_check_token(d, token);
	d->seeks_cause = false;
	if (token == &d->config->tokens[0])
		d->first_cause = d->cause;
	doctor_check_token_units(d, token);
	doctor_check_socket_file(d, token);
	doctor_check_signer(d, token);
}

static bool cmd_doctor_is_missing(const char *path)
{
	return access(path, F_OK) != 0 && errno == ENOENT;
}

/* Nothing is there yet of what a service needs: all that follows would fail, and say nothing. */
static bool was_never_set_up(const struct doctor *d)
{
	const struct config_token *token = &d->config->tokens[0];
	const char *store = doctor_store_path(d->config);
	char sealed[PATH_MAX];

	if (d->config->tokens_len == 0)
		return false;
	snprintf(sealed, sizeof(sealed), "%s.cred", token->pin_file);
	return store && cmd_doctor_is_missing(store) && cmd_doctor_is_missing(token->pin_file) &&
	       cmd_doctor_is_missing(sealed) && cmd_doctor_is_missing(token->state_dir);
}

static void cmd_doctor_check_all(struct doctor *d)
{
	if (!d->file_is_bad && was_never_set_up(d)) {
		doctor_say(d, DOCTOR_FAIL, "setup", NULL, "there is no store and no PIN yet");
		doctor_remedy(d, "csrctl setup turns this installation into a service");
		return;
	}
	doctor_check_files(d);
	doctor_check_clock(d);
	for (size_t i = 0; i < d->config->tokens_len; i++)
		if (!d->only || d->only == &d->config->tokens[i])
			cmd_doctor_check_token(d, &d->config->tokens[i]);
	doctor_check_units(d);
	doctor_check_csrd(d);
	doctor_check_tls(d);
	doctor_check_running(d);
	doctor_check_store(d);
}

static enum exit_code end(struct doctor *d)
{
	enum exit_code shown = EXIT_CODE_OK;

	doctor_flush(d);
	if (d->cli->json) {
		json_close(&d->j.w); /* the checks */
		json_put_int_member(&d->j.w, "ok", d->counts[DOCTOR_OK]);
		json_put_int_member(&d->j.w, "warnings", d->counts[DOCTOR_WARN]);
		json_put_int_member(&d->j.w, "failed", d->counts[DOCTOR_FAIL]);
		json_put_int_member(&d->j.w, "skipped", d->counts[DOCTOR_SKIP]);
		shown = output_json_end(&d->j);
	} else {
		printf("\n%u ok, %u to look into, %u failed, %u skipped\n", d->counts[DOCTOR_OK],
		       d->counts[DOCTOR_WARN], d->counts[DOCTOR_FAIL], d->counts[DOCTOR_SKIP]);
	}
	if (shown != EXIT_CODE_OK)
		return shown;
	return d->counts[DOCTOR_FAIL] ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}

static enum exit_code cmd_doctor_run(struct cli *cli, const char *token)
{
	struct doctor d = {.cli = cli};
	enum exit_code code;

	doctor_hold_log();
	buf_init(&d.found, TEXT_MAX);
	buf_init(&d.remedy, TEXT_MAX);
	if (cli->json) {
		output_json_begin(&d.j);
		json_put_name(&d.j.w, "checks");
		json_open_array(&d.j.w);
	}
	if (doctor_check_config(&d)) {
		d.only = token ? config_token_find(d.config, token) : NULL;
		if (token && !d.only) {
			doctor_say(&d, DOCTOR_FAIL, "config", NULL, "no [token %s] in '%s'", token,
				   cli->config_path);
			doctor_remedy(&d, "leave --token away, or give a NAME of the file");
		} else {
			cmd_doctor_check_all(&d);
		}
	}
	code = end(&d);
	buf_release(&d.found);
	buf_release(&d.remedy);
	return code;
}

enum exit_code cmd_doctor(struct cli *cli, int argc, char **argv)
{
	const char *token;
	enum exit_code code = cli_only_token(cli, argc, argv, &token);

	return code == EXIT_CODE_OK ? cmd_doctor_run(cli, token) : code;
}
