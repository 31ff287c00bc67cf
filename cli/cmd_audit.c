/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl audit: who did what, and when. */
#include "base/str.h"
#include "cli/audit_output.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/output.h"

#include <string.h>

#define PAGE_ROWS 500
#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000000

struct trail {
	struct cli *cli;
	const char *actor; /* as they were said */
	const char *object;
	char actor_id[CSR_ID_SIZE];
	char object_id[CSR_ID_SIZE];
	struct store_audit_query query;
	uint64_t limit;

	struct names *names;
	struct output_list out;
	uint64_t rows;
	size_t page_rows;
	struct cli_wait wait;
};

static enum exit_code cmd_audit_read_option(struct trail *trail, int c)
{
	uint64_t number;

	switch (c) {
	case 'f':
		return cli_past(trail->cli, "since", optarg, &trail->query.since_us);
	case 'u':
		return cli_past(trail->cli, "until", optarg, &trail->query.until_us);
	case 'a':
		trail->actor = optarg;
		return EXIT_CODE_OK;
	case 'o':
		trail->object = optarg;
		return EXIT_CODE_OK;
	case 'A':
		trail->query.action = optarg;
		return EXIT_CODE_OK;
	case 'b':
		if (str_parse_u64(optarg, INT64_MAX, &number) != E_OK || number == 0)
			return cli_usage(trail->cli, "--before '%s': the number of a record", optarg);
		trail->query.below_sequence = (int64_t)number;
		return EXIT_CODE_OK;
	case 'l':
		if (str_parse_u64(optarg, LIMIT_MAX, &trail->limit) != E_OK || trail->limit == 0)
			return cli_usage(trail->cli, "--limit '%s': a number, 1 to %d", optarg, LIMIT_MAX);
		return EXIT_CODE_OK;
	default:
		return EXIT_CODE_USAGE;
	}
}

static enum exit_code cmd_audit_read_options(struct trail *trail, int argc, char **argv)
{
	static const struct option options[] = {
	    {"since", required_argument, NULL, 'f'},  {"until", required_argument, NULL, 'u'},
	    {"actor", required_argument, NULL, 'a'},  {"object", required_argument, NULL, 'o'},
	    {"action", required_argument, NULL, 'A'}, {"before", required_argument, NULL, 'b'},
	    {"limit", required_argument, NULL, 'l'},  CLI_OPTIONS,
	};
	int c;

	while ((c = cli_getopt(trail->cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		enum exit_code code = cmd_audit_read_option(trail, c);

		if (code != EXIT_CODE_OK)
			return code;
	}
	return cli_arguments(trail->cli, argc, argv, 0, 0);
}

/* "system" and "operator:NAME" are actors as they stand; anything else is an API token or a user. */
static enum exit_code find_actor(struct trail *trail)
{
	trail->query.actor = trail->actor;
	if (!trail->actor || !strcmp(trail->actor, "system") || str_starts_with(trail->actor, "operator:"))
		return EXIT_CODE_OK;
	trail->query.actor = trail->actor_id;
	return names_find_principal(trail->names, trail->actor, trail->actor_id);
}

static enum exit_code find_object(struct trail *trail)
{
	if (!trail->object)
		return EXIT_CODE_OK;
	trail->query.object = trail->object_id;
	return names_find_object(trail->names, trail->object, trail->object_id);
}

static void cmd_audit_put_row(struct trail *trail, const struct audit_record *a)
{
	struct output_table *t = &trail->out.table;

	output_table_put_int(t, a->sequence);
	output_table_put_time(t, a->at_us, NULL);
	output_table_put(t, a->action);
	output_table_put(t, a->object);
	audit_output_actor(t, trail->names, a->actor);
	output_table_put(t, a->peer);
	output_table_put(t, a->request_id);
	output_table_put(t, a->detail);
}

static void on_records(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct trail *trail = arg;

	trail->page_rows = e == E_OK ? len : 0;
	for (size_t i = 0; i < trail->page_rows; i++) {
		if (trail->out.json)
			audit_output_json(&trail->out.j.w, trail->names, &records[i], true);
		else
			cmd_audit_put_row(trail, &records[i]);
		output_list_next(&trail->out);
		trail->query.below_sequence = records[i].sequence;
	}
	trail->rows += trail->page_rows;
	cli_on_done(&trail->wait, e);
}

static enum exit_code cmd_audit_print(struct trail *trail)
{
	static const struct output_column columns[] = {
	    {"NUMBER", OUTPUT_WHOLE}, {"AT", OUTPUT_WHOLE}, {"ACTION", OUTPUT_WHOLE}, {"OBJECT", OUTPUT_ID},
	    {"ACTOR", OUTPUT_CUT},    {"PEER", OUTPUT_CUT}, {"REQUEST", OUTPUT_ID},   {"DETAIL", OUTPUT_CUT},
	};
	enum exit_code code;

	output_list_begin(&trail->out, trail->cli->json, "records", columns,
			  sizeof(columns) / sizeof(columns[0]));
	do {
		uint64_t left = trail->limit - trail->rows;

		trail->query.limit = left < PAGE_ROWS ? (unsigned)left : PAGE_ROWS;
		trail->wait = (struct cli_wait){0};
		store_audit_search(trail->cli->store, &trail->query, on_records, trail);
		store_wait(trail->cli->store, &trail->wait.done);
	} while (trail->wait.e == E_OK && trail->page_rows == trail->query.limit &&
		 trail->rows < trail->limit);
	if (trail->wait.e != E_OK) {
		output_list_drop(&trail->out);
		return cli_fail(trail->wait.e, "cannot read the audit trail: %s", err_str(trail->wait.e));
	}
	code = output_list_end(&trail->out);
	if (trail->rows == trail->limit && trail->query.below_sequence > 1)
		cli_note("there may be older ones: --before %lld", (long long)trail->query.below_sequence);
	return code;
}

enum exit_code cmd_audit(struct cli *cli, int argc, char **argv)
{
	struct trail trail = {.cli = cli, .limit = LIMIT_DEFAULT};
	enum exit_code code = cmd_audit_read_options(&trail, argc, argv);

	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK)
		code = names_load(cli, &trail.names);
	if (code == EXIT_CODE_OK)
		code = find_actor(&trail);
	if (code == EXIT_CODE_OK)
		code = find_object(&trail);
	if (code == EXIT_CODE_OK)
		code = cmd_audit_print(&trail);
	names_free(trail.names);
	return code;
}
