/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrctl csr delete: as DELETE of the API does it, for an operator who has no
 * credential for it: the row deleting and durable, the key destroyed and proven
 * absent, the row destroyed.  A delete that came to no end goes on.
 */
#include "api/settle.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/signer_status.h"
#include "hsm/hsm.h"

#include <stdio.h>
#include <string.h>

#define LINK_TIMEOUT_SECONDS 5
#define DESTROY_SECONDS 60

struct removal {
	struct cli *cli;
	char id[CSR_ID_SIZE];
	bool yes;
	struct csr_record *record; /* owned */
	const struct config_token *token;
	struct loop *loop;
	struct hsm *hsm;
	bool started;
	struct settle settle;
	char detail[256]; /* of the signer, when it failed */
	struct cli_wait wait;
};

static void cmd_csr_delete_on_record(void *arg, enum err e, struct csr_record *record)
{
	struct removal *removal = arg;

	csr_record_free(removal->record);
	removal->record = record;
	cli_on_done(&removal->wait, e);
}

/* ---- the steps; each ends the loop when it fails ---- */

static void cmd_csr_delete_on_settled(void *arg, enum err e, enum settle_step step, const char *detail)
{
	struct removal *removal = arg;

	snprintf(removal->detail, sizeof(removal->detail), "%s", detail);
	/* E_NOTFOUND: somebody else has ended it meanwhile, and `destroyed` is all that can follow. */
	loop_stop(removal->loop, step == SETTLE_ROW && e == E_NOTFOUND ? E_OK : e);
}

static void cmd_csr_delete_on_deleting(void *arg, enum err e, struct csr_record *record)
{
	struct removal *removal = arg;

	csr_record_free(e == E_OK ? removal->record : NULL);
	if (e != E_OK) {
		loop_stop(removal->loop, e);
		return;
	}
	removal->record = record;
	removal->settle = (struct settle){
	    .kind = SETTLE_DELETING,
	    .store = removal->cli->store,
	    .hsm = removal->hsm,
	    .csr_id = removal->id,
	    .key_label = removal->record->key_label,
	    .deadline_ms = clock_ms() + DESTROY_SECONDS * 1000,
	    .origin = removal->cli->origin,
	};
	settle_start(&removal->settle, cmd_csr_delete_on_settled, removal);
}

/* Nothing is changed before the signer is there. */
static void cmd_csr_delete_on_link(void *arg, struct hsm *hsm UNUSED, bool up)
{
	struct removal *removal = arg;

	if (!up && !removal->started)
		loop_stop(removal->loop, E_UNAVAIL);
	if (!up || removal->started)
		return;
	removal->started = true;
	loop_clear_timeout(removal->loop);
	store_csr_delete_begin(removal->cli->store, NULL, removal->id, &removal->cli->origin,
			       cmd_csr_delete_on_deleting, removal);
}

static enum err cmd_csr_delete_run_loop(struct removal *removal)
{
	const struct loop_link link = {removal->token, LINK_TIMEOUT_SECONDS, cmd_csr_delete_on_link, removal};
	enum err e = loop_new(removal->cli->store, &removal->loop);

	if (e == E_OK)
		e = loop_connect(removal->loop, &link, &removal->hsm);
	return e == E_OK ? loop_run(removal->loop) : e;
}

/* ---- around them ---- */

static enum exit_code cmd_csr_delete_find(struct removal *removal)
{
	const struct csr_record *r;

	removal->wait = (struct cli_wait){0};
	store_csr_get(removal->cli->store, NULL, removal->id, cmd_csr_delete_on_record, removal);
	store_wait(removal->cli->store, &removal->wait.done);
	r = removal->record;
	if (removal->wait.e == E_NOTFOUND)
		return cli_fail(E_NOTFOUND, "no such CSR '%s': see 'csrctl csr list'", removal->id);
	if (removal->wait.e != E_OK)
		return cli_fail(removal->wait.e, "cannot read the CSR '%s': %s", removal->id,
				err_str(removal->wait.e));
	if (r->state == CSR_PENDING)
		return cli_fail(
		    E_NOTFOUND,
		    "CSR '%s' is pending: only an active one can be deleted; csrd settles a pending "
		    "one by itself, and where none runs 'csrctl reconcile --token %s --apply' does",
		    r->id, r->token_name);
	if (r->state != CSR_ACTIVE && r->state != CSR_DELETING)
		return cli_fail(E_NOTFOUND, "CSR '%s' is %s: only an active one can be deleted", r->id,
				csr_state_name(r->state));
	removal->token = config_token_find(removal->cli->config, r->token_name);
	if (!removal->token)
		return cli_fail(E_NOTFOUND, "the key is on token '%s', which '%s' no longer names",
				r->token_name, removal->cli->config_path);
	return EXIT_CODE_OK;
}

static enum exit_code confirm(const struct removal *removal)
{
	const struct csr_record *r = removal->record;

	if (removal->yes)
		return EXIT_CODE_OK;
	if (!ask_is_possible())
		return cli_usage(removal->cli,
				 "csr delete destroys a key for good: where nobody can be asked, "
				 "give --yes");
	cli_note("CSR %s, %s, of %s %s: its key on token '%s' is destroyed for good", r->id,
		 r->spec.common_name, output_scope_name(r->scope.kind), r->scope.id, r->token_name);
	return ask_whole_yes("Delete it? (yes, no)") ? EXIT_CODE_OK
						     : cli_fail(E_DENIED, "nothing was changed");
}

static enum exit_code cmd_csr_delete_fail(const struct removal *removal, enum err e)
{
	if (!removal->started && (e == E_TIMEOUT || e == E_UNAVAIL))
		return cli_fail(
		    E_UNAVAIL, "nothing was changed: the signer of token '%s' does not answer at '%s': %s",
		    removal->token->name, removal->token->socket, signer_status_silence(removal->hsm, e));
	if (removal->detail[0])
		return cli_fail(
		    e,
		    "CSR '%s' is deleting, but its key may still be there: %s (%s); give the same "
		    "again, or csrd ends it by itself",
		    removal->id, err_str(e), removal->detail);
	return cli_fail(e, "cannot delete the CSR '%s': %s", removal->id, err_str(e));
}

static enum exit_code print_removed(const struct removal *removal)
{
	char text[64];
	struct output_json j;

	if (removal->cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", removal->id);
		json_put_text_member(&j.w, "state", csr_state_name(CSR_DESTROYED));
		json_put_text_member(&j.w, "token", removal->token->name);
		json_put_int_member(&j.w, "objects", removal->settle.objects);
		return output_json_end(&j);
	}
	snprintf(text, sizeof(text), "destroyed (%u objects on the token)",
		 (unsigned)removal->settle.objects);
	output_fact("id", removal->id);
	output_fact("common name", removal->record->spec.common_name);
	output_fact("token", removal->token->name);
	output_fact("key", text);
	return EXIT_CODE_OK;
}

enum exit_code cmd_csr_delete(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"yes", no_argument, NULL, 'y'}, CLI_OPTIONS};
	struct removal removal = {.cli = cli};
	enum exit_code code;
	enum err e;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS "y", options)) != -1) {
		if (c != 'y')
			return EXIT_CODE_USAGE;
		removal.yes = true;
	}
	code = cli_arguments(cli, argc, argv, 1, 1);
	if (code != EXIT_CODE_OK)
		return code;
	if (!uuid_parse(argv[optind], removal.id))
		return cli_usage(
		    cli, "'%s' is not a complete CSR id (a UUID): 'csrctl csr show ID' shows it whole",
		    argv[optind]);
	code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK)
		code = cmd_csr_delete_find(&removal);
	if (code == EXIT_CODE_OK)
		code = confirm(&removal);
	if (code == EXIT_CODE_OK) {
		e = cmd_csr_delete_run_loop(&removal);
		code = e == E_OK ? print_removed(&removal) : cmd_csr_delete_fail(&removal, e);
	}
	hsm_free(removal.hsm);
	loop_free(removal.loop);
	csr_record_free(removal.record);
	return code;
}
