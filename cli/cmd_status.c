/* csrctl status: what the signer of a token says of itself and of its key pool. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "hsm/hsm.h"

#include <stdio.h>

#define WITHIN_SECONDS 5

struct question {
	struct cli *cli;
	const struct config_token *token;
	struct loop *loop;
	struct hsm *hsm;
	bool asked;
	bool over;
	enum exit_code code; /* of what was printed */
};

static enum exit_code print_json(const struct question *q, const struct message_status_reply *status)
{
	struct output_json j;

	output_json_begin(&j);
	json_put_text_member(&j.w, "token", q->token->name);
	json_put_bool_member(&j.w, "usable", status->usable);
	output_json_text_opt(&j.w, "detail", status->detail);
	json_put_int_member(&j.w, "threads", status->threads);
	json_put_int_member(&j.w, "busy", status->busy);
	json_put_int_member(&j.w, "queued", status->queued);
	json_put_int_member(&j.w, "created", (int64_t)status->created);
	json_put_int_member(&j.w, "destroyed", (int64_t)status->destroyed);
	json_put_int_member(&j.w, "failed", (int64_t)status->failed);
	json_put_name(&j.w, "pool");
	json_open_array(&j.w);
	for (size_t i = 0; i < status->pools_len; i++) {
		json_open_object(&j.w);
		json_put_text_member(&j.w, "key_type", key_type_name(status->pools[i].key_type));
		json_put_int_member(&j.w, "ready", status->pools[i].ready);
		json_put_int_member(&j.w, "target", status->pools[i].target);
		json_close(&j.w);
	}
	json_close(&j.w);
	output_json_text_opt(&j.w, "pool_detail", status->pool_detail);
	return output_json_end(&j);
}

static void print_text(const struct question *q, const struct message_status_reply *status)
{
	char text[96];

	output_fact("token", q->token->name);
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
}

static void on_status(void *arg, enum err e, const char *detail, const struct message_status_reply *status)
{
	struct question *q = arg;

	if (q->over) /* hsm_free ended what took too long */
		return;
	if (e != E_OK)
		q->code = cli_fail(e, "the signer of token '%s' does not answer: %s", q->token->name, detail);
	else if (q->cli->json)
		q->code = print_json(q, status);
	else
		print_text(q, status);
	if (e == E_OK && q->code == EXIT_CODE_OK && !status->usable)
		q->code = EXIT_CODE_FAILURE;
	loop_stop(q->loop, E_OK);
}

static void on_link(void *arg, struct hsm *hsm, bool up)
{
	struct question *q = arg;

	if (!up || q->asked)
		return;
	q->asked = true;
	hsm_status(hsm, clock_ms() + WITHIN_SECONDS * 1000, on_status, q);
}

static enum exit_code ask(struct question *q)
{
	struct hsm_options options = {
		.token_name = q->token->name,
		.socket_path = q->token->socket,
		.client_name = "csrctl",
		.in_flight_max = 1,
		.reconnect_min_ms = 100,
		.reconnect_max_ms = 1000,
	};
	enum err e = loop_new(NULL, &q->loop);

	if (e == E_OK)
		e = loop_set_timeout(q->loop, WITHIN_SECONDS);
	if (e == E_OK)
		e = hsm_new(loop_base(q->loop), &options, on_link, q, &q->hsm);
	if (e == E_OK)
		e = loop_run(q->loop);
	if (e == E_TIMEOUT)
		return cli_fail(E_UNAVAIL, "the signer of token '%s' does not answer at '%s': %s",
				q->token->name, q->token->socket, hsm_down_reason(q->hsm));
	if (e != E_OK)
		return cli_fail(e, "cannot reach the signer of token '%s': %s", q->token->name, err_str(e));
	return q->code;
}

static enum exit_code read_options(struct cli *cli, int argc, char **argv, const char **ret_token)
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

enum exit_code cmd_status(struct cli *cli, int argc, char **argv)
{
	struct question q = {.cli = cli};
	const char *token;
	enum exit_code code = read_options(cli, argc, argv, &token);

	if (code == EXIT_CODE_OK)
		code = cli_open_config(cli);
	if (code != EXIT_CODE_OK)
		return code;
	q.token = config_token_find(cli->config, token);
	if (!q.token)
		return cli_fail(E_NOTFOUND, "no [token %s] in '%s'", token ? token : "NAME",
				cli->config_path);
	code = ask(&q);
	q.over = true;
	hsm_free(q.hsm);
	loop_free(q.loop);
	return code;
}
