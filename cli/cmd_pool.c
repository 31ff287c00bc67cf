/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrctl pool: ready keys on a token that are of other nodes than its signer's.
 * No signer takes them over once their node is gone for good.
 */
#include "base/clock.h"
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
#define ANSWER_SECONDS 300 /* it looks at every object of the token */

struct pool_request {
	struct cli *cli;
	const struct config_token *token;
	const char *node; /* to be destroyed; NULL: list */
	bool yes;
	struct loop *loop;
	struct hsm *hsm;
	bool started;
	bool over;
	enum exit_code code; /* of what was printed */
	uint32_t objects;
	char detail[256]; /* of the signer, when it failed */
};

/* ---- list ---- */

static enum exit_code print_pools(const struct pool_request *r, const struct message_list_pools_reply *reply)
{
	static const struct output_column columns[] = {{"NODE", OUTPUT_WHOLE}, {"KEYS", OUTPUT_WHOLE}};
	struct output_list list;
	enum exit_code code;

	output_list_begin(&list, r->cli->json, "nodes", columns, 2);
	for (size_t i = 0; i < reply->nodes_len; i++) {
		const struct message_node_pool *n = &reply->nodes[i];
		uint32_t keys = n->private_keys > n->public_keys ? n->private_keys : n->public_keys;

		if (!r->cli->json) {
			output_table_put(&list.table, n->node);
			output_table_put_int(&list.table, keys);
			continue;
		}
		json_open_object(&list.j.w);
		json_put_text_member(&list.j.w, "node", n->node);
		json_put_int_member(&list.j.w, "keys", keys);
		json_close(&list.j.w);
	}
	code = output_list_end(&list);
	if (reply->more)
		cli_note("there are more nodes than these");
	if (reply->unread)
		cli_note("%u key objects cannot be read: keys may have been overlooked",
			 (unsigned)reply->unread);
	return code;
}

/* ---- both ---- */

static void request_end(struct pool_request *r, enum err e, const char *detail)
{
	if (e != E_OK && !r->detail[0])
		snprintf(r->detail, sizeof(r->detail), "%s", detail);
	if (!r->over) /* hsm_free ends what is under way */
		loop_stop(r->loop, e);
}

static void on_pools(void *arg, enum err e, const char *detail, const struct message_list_pools_reply *reply)
{
	struct pool_request *r = arg;

	if (e == E_OK)
		r->code = print_pools(r, reply);
	request_end(r, e, detail);
}

static void cmd_pool_on_destroyed(void *arg, enum err e, const char *detail, uint32_t objects)
{
	struct pool_request *r = arg;

	r->objects = objects;
	request_end(r, e, detail);
}

static void cmd_pool_on_link(void *arg, struct hsm *hsm, bool up)
{
	struct pool_request *r = arg;
	uint64_t deadline_ms = clock_ms() + ANSWER_SECONDS * 1000;

	if (!up && !r->started)
		loop_stop(r->loop, E_UNAVAIL);
	if (!up || r->started)
		return;
	r->started = true;
	loop_clear_timeout(r->loop);
	if (r->node)
		hsm_destroy_pool(hsm, r->node, deadline_ms, cmd_pool_on_destroyed, r);
	else
		hsm_list_pools(hsm, deadline_ms, on_pools, r);
}

static enum err request_run_loop(struct pool_request *r)
{
	const struct loop_link link = {r->token, LINK_TIMEOUT_SECONDS, cmd_pool_on_link, r};
	enum err e = loop_new(NULL, &r->loop);

	if (e == E_OK)
		e = loop_connect(r->loop, &link, &r->hsm);
	return e == E_OK ? loop_run(r->loop) : e;
}

static enum exit_code request_fail(const struct pool_request *r, enum err e)
{
	if (!r->started && (e == E_TIMEOUT || e == E_UNAVAIL))
		return cli_fail(E_UNAVAIL, "the signer of token '%s' does not answer at '%s': %s",
				r->token->name, r->token->socket, signer_status_silence(r->hsm, e));
	if (r->node)
		return cli_fail(e,
				"cannot destroy the ready keys of node '%s': %s (%s); nothing else was "
				"touched, and the same command goes on with what is left",
				r->node, err_str(e), r->detail);
	return cli_fail(e, "cannot list the ready keys on token '%s': %s (%s)", r->token->name, err_str(e),
			r->detail);
}

static enum exit_code request_run(struct pool_request *r, const char *token)
{
	enum exit_code code = cli_open_config(r->cli);
	enum err e;

	if (code != EXIT_CODE_OK)
		return code;
	r->token = config_token_find(r->cli->config, token);
	if (!r->token)
		return cli_fail(E_NOTFOUND, "no [token %s] in '%s'", token ? token : "NAME",
				r->cli->config_path);
	e = request_run_loop(r);
	r->over = true;
	code = e == E_OK ? r->code : request_fail(r, e);
	hsm_free(r->hsm);
	loop_free(r->loop);
	return code;
}

enum exit_code cmd_pool_list(struct cli *cli, int argc, char **argv)
{
	struct pool_request r = {.cli = cli};
	const char *token;
	enum exit_code code = cli_only_token(cli, argc, argv, &token);

	return code == EXIT_CODE_OK ? request_run(&r, token) : code;
}

/* ---- destroy ---- */

static enum exit_code request_confirm(const struct pool_request *r)
{
	if (r->yes)
		return EXIT_CODE_OK;
	if (!ask_is_possible())
		return cli_usage(r->cli, "pool destroy destroys keys for good: where nobody can be asked, "
					 "give --yes");
	cli_note("the ready keys of node '%s' are destroyed for good; a signer that still has that name, on "
		 "whatever machine, must not run meanwhile",
		 r->node);
	return ask_whole_yes("Destroy them? (yes, no)") ? EXIT_CODE_OK
							: cli_fail(E_DENIED, "nothing was changed");
}

static enum exit_code print_destroyed(const struct pool_request *r)
{
	struct output_json j;
	char text[32];

	if (r->objects == 0)
		return cli_fail(E_NOTFOUND, "there are no ready keys of a node '%s': see 'csrctl pool list'",
				r->node);
	if (r->cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "node", r->node);
		json_put_text_member(&j.w, "token", r->token->name);
		json_put_int_member(&j.w, "objects", r->objects);
		return output_json_end(&j);
	}
	snprintf(text, sizeof(text), "%u destroyed", (unsigned)r->objects);
	output_fact("node", r->node);
	output_fact("token", r->token->name);
	output_fact("objects", text);
	return EXIT_CODE_OK;
}

enum exit_code cmd_pool_destroy(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
	    {"token", required_argument, NULL, 't'}, {"yes", no_argument, NULL, 'y'}, CLI_OPTIONS};
	struct pool_request r = {.cli = cli};
	const char *token = NULL;
	enum exit_code code;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS "y", options)) != -1) {
		if (c == 't')
			token = optarg;
		else if (c == 'y')
			r.yes = true;
		else
			return EXIT_CODE_USAGE;
	}
	if ((code = cli_arguments(cli, argc, argv, 1, 1)) != EXIT_CODE_OK)
		return code;
	r.node = argv[optind];
	if (!r.node[0] || strlen(r.node) > MESSAGE_NODE_MAX)
		return cli_usage(cli, "'%s' is not a node: 1 to %d characters, see 'csrctl pool list'",
				 r.node, MESSAGE_NODE_MAX);
	if ((code = request_confirm(&r)) == EXIT_CODE_OK && (code = request_run(&r, token)) == EXIT_CODE_OK)
		code = print_destroyed(&r);
	return code;
}
