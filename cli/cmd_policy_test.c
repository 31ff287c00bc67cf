/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl policy test: what would be said of a request, or of the CSRs that there are. */
#include "api/csr_json.h"
#include "api/policy_judge.h"
#include "api/san_suffixes.h"
#include "api/validate.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/each.h"
#include "cli/output.h"
#include "cli/policy_input.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_ROWS 200
#define SHOWN_MAX 100 /* refused CSRs that are named */

struct policy_test {
	struct cli *cli;
	struct policy_target target;
	bool has_target;
	const char *policy_file; /* NULL: what is in force */
	const char *request_file;
	bool of_existing;
	struct buf policy_text, request_text;
	struct policy *given;                /* of policy_file */
	struct policy *of_account, *of_zone; /* of the store */
	struct san_suffixes *suffixes;
	struct validate_policy rules;
};

static void policy_test_release(struct policy_test *test)
{
	buf_release(&test->policy_text);
	buf_release(&test->request_text);
	policy_free(test->given);
	policy_free(test->of_account);
	policy_free(test->of_zone);
	san_suffixes_free(test->suffixes);
}

/* ---- the rules ---- */

static void policy_test_add(struct policy_test *test, const struct policy *policy, enum store_scope_kind kind,
			    int64_t version)
{
	test->rules.rules.items[test->rules.rules.len++] =
	    (struct policy_in_force){.policy = policy, .kind = kind, .version = version};
}

/* What the store has in force for a scope; nothing is fine. */
static enum exit_code policy_test_take(struct policy_test *test, const struct store_scope *scope,
				       struct policy **ret_policy)
{
	struct policy_record record = {.version = 0};
	enum err e = policy_input_fetch(test->cli, scope, 0, &record);
	enum exit_code code = EXIT_CODE_OK;
	struct buf text;

	if (e != E_OK && e != E_NOTFOUND)
		return cli_fail(e, "cannot read the policy of the %s '%s': %s",
				output_scope_name(scope->kind), scope->id, err_str(e));
	if (e == E_OK) {
		buf_init(&text, POLICY_BYTES_MAX);
		buf_put_str(&text, record.document);
		code = policy_input_parse(scope->id, &text, ret_policy);
		buf_release(&text);
	}
	if (e == E_OK && code == EXIT_CODE_OK)
		policy_test_add(test, *ret_policy, scope->kind, record.version);
	policy_record_release(&record);
	return code;
}

struct policy_test_zone {
	const char *id;
	char account[STORE_TAG_SIZE];
};

static enum err policy_test_find_account(void *arg, const struct zone_record *zone)
{
	struct policy_test_zone *find = arg;

	if (!strcmp(zone->id, find->id))
		memcpy(find->account, zone->account_id, sizeof(find->account));
	return E_OK;
}

/* The account's policy and the zone's; the one that was given takes the place of the target's own. */
static enum exit_code policy_test_of_store(struct policy_test *test)
{
	const struct store_scope *scope = &test->target.scope;
	struct store_scope account = {.kind = STORE_ACCOUNT};
	struct policy_test_zone find = {.id = scope->id};
	enum exit_code code = EXIT_CODE_OK;
	enum err e;

	if (scope->kind == STORE_ZONE && !test->of_existing) {
		e = each_zone(test->cli, policy_test_find_account, &find);
		if (e != E_OK)
			return cli_fail(e, "cannot list the zones: %s", err_str(e));
		memcpy(account.id, find.account, sizeof(account.id));
		code = policy_test_take(test, &account, &test->of_account);
	}
	if (code != EXIT_CODE_OK)
		return code;
	if (test->given)
		policy_test_add(test, test->given, scope->kind, 0);
	else
		code = policy_test_take(test, scope,
					scope->kind == STORE_ZONE ? &test->of_zone : &test->of_account);
	return code;
}

static enum exit_code policy_test_load(struct policy_test *test)
{
	enum exit_code code = EXIT_CODE_OK;
	const struct config_policy *config;
	enum err e;

	if (test->policy_file)
		code = policy_input_read(test->policy_file, &test->policy_text);
	if (code == EXIT_CODE_OK && test->policy_file)
		code = policy_input_parse(test->policy_file, &test->policy_text, &test->given);
	if (code == EXIT_CODE_OK && test->request_file)
		code = policy_input_read(test->request_file, &test->request_text);
	if (code == EXIT_CODE_OK)
		code = test->has_target ? policy_target_open(test->cli, &test->target)
					: cli_open_config(test->cli);
	if (code == EXIT_CODE_OK && test->has_target)
		code = policy_test_of_store(test);
	else if (code == EXIT_CODE_OK)
		policy_test_add(test, test->given, STORE_ACCOUNT, 0);
	if (code != EXIT_CODE_OK)
		return code;
	e = san_suffixes_load(&test->suffixes);
	if (e != E_OK && e != E_NOTFOUND)
		return cli_fail(e, "cannot read the public suffix list: %s", err_str(e));
	config = &test->cli->config->policy;
	test->rules.key_types = config->key_types;
	test->rules.sans = (struct san_policy){.types = config->san_types,
					       .public_names_only = config->public_names_only,
					       .suffixes = test->suffixes};
	test->rules.notes_public = true;
	return EXIT_CODE_OK;
}

/* ---- one request ---- */

static void policy_test_put(struct json_writer *w, const char *name, const struct problem_list *list)
{
	json_put_name(w, name);
	json_open_array(w);
	for (size_t i = 0; i < list->len; i++) {
		json_open_object(w);
		json_put_int_member(w, "code", list->items[i].code);
		json_put_text_member(w, "message", list->items[i].message);
		output_json_text_opt(w, "pointer", list->items[i].pointer);
		json_close(w);
	}
	json_close(w);
}

static void policy_test_print(const char *what, const struct problem_list *list)
{
	for (size_t i = 0; i < list->len; i++) {
		printf("%s ", what);
		output_text(list->items[i].message);
		printf(" (%d)\n", (int)list->items[i].code);
	}
}

static enum exit_code policy_test_request(struct policy_test *test)
{
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	enum exit_code code = EXIT_CODE_OK;
	struct output_json j;
	enum err e = validate_body(buf_text(&test->request_text), test->request_text.len, &test->rules,
				   &problems, &csr);

	if (e != E_OK && e != E_INVAL) {
		code = cli_fail(e, "%s", err_str(e));
		goto out;
	}
	if (test->cli->json) {
		output_json_begin(&j);
		json_put_bool_member(&j.w, "accepted", e == E_OK);
		policy_test_put(&j.w, "errors", &problems);
		policy_test_put(&j.w, "messages", &csr.notes);
		code = output_json_end(&j);
	} else {
		policy_test_print("refused:", &problems);
		policy_test_print("note:", &csr.notes);
		if (e == E_OK)
			puts("accepted");
	}
	if (e == E_INVAL && code == EXIT_CODE_OK)
		code = EXIT_CODE_FAILURE;
out:
	problem_list_release(&problems);
	validate_csr_release(&csr);
	return code;
}

/* ---- those that there are ---- */

struct policy_census {
	struct policy_test *test;
	struct output_list out;
	char after_id[CSR_ID_SIZE];
	size_t page_rows;
	uint64_t judged, refused;
	struct cli_wait wait;
};

/* What the policies alone say, whatever else a create would meet today. */
static enum err policy_census_judge(const struct policy_test *test, const struct csr_record *r,
				    char **ret_why)
{
	struct validate_policy rules = {
	    .key_types = KEY_TYPES_ALL, .sans = {.types = ~0u}, .rules = test->rules.rules};
	struct problem_list problems = {0};
	struct validate_csr csr = {0};
	struct json_writer w;
	struct buf body;
	enum err e;

	buf_init(&body, CSR_JSON_MAX);
	json_writer_init(&w, &body);
	csr_json_put_request(&w, r);
	e = buf_status(&body);
	if (e == E_OK)
		e = validate_body(buf_text(&body), body.len, &rules, &problems, &csr);
	if (e == E_INVAL) {
		e = E_OK;
		if (!str_dup_opt(problems.items[0].message, ret_why))
			e = E_NOMEM;
	}
	buf_release(&body);
	problem_list_release(&problems);
	validate_csr_release(&csr);
	return e;
}

static void policy_census_put(struct policy_census *census, const struct csr_record *r, const char *why)
{
	if (++census->refused > SHOWN_MAX)
		return;
	if (census->test->cli->json) {
		json_open_object(&census->out.j.w);
		json_put_text_member(&census->out.j.w, "id", r->id);
		json_put_text_member(&census->out.j.w, "common_name", r->spec.common_name);
		json_put_text_member(&census->out.j.w, "why", why);
		json_close(&census->out.j.w);
	} else {
		output_table_put(&census->out.table, r->id);
		output_table_put(&census->out.table, r->spec.common_name);
		output_table_put(&census->out.table, why);
	}
	output_list_next(&census->out);
}

static void policy_census_on_page(void *arg, enum err e, const struct store_csr_page *page)
{
	struct policy_census *census = arg;
	const struct store_scope *scope = &census->test->target.scope;

	for (size_t i = 0; e == E_OK && i < page->records_len; i++) {
		const struct csr_record *r = &page->records[i];
		char *why = NULL;

		if (scope->kind == STORE_ZONE ? !store_scope_equal(&r->scope, scope)
					      : strcmp(r->account_tag, scope->id) != 0)
			continue;
		e = policy_census_judge(census->test, r, &why);
		census->judged++;
		if (why)
			policy_census_put(census, r, why);
		free(why);
	}
	if (e == E_OK && page->records_len > 0)
		memcpy(census->after_id, page->records[page->records_len - 1].id, sizeof(census->after_id));
	census->page_rows = e == E_OK ? page->records_len : 0;
	cli_on_done(&census->wait, e);
}

static enum err policy_census_count(struct policy_census *census)
{
	do {
		const struct store_csr_query query = {
		    .states = CSR_STATE_BIT(CSR_ACTIVE), .after_id = census->after_id, .limit = PAGE_ROWS};

		census->wait = (struct cli_wait){0};
		store_csr_list(census->test->cli->store, &query, policy_census_on_page, census);
		store_wait(census->test->cli->store, &census->wait.done);
	} while (census->wait.e == E_OK && census->page_rows == PAGE_ROWS);
	return census->wait.e;
}

static enum exit_code policy_test_existing(struct policy_test *test)
{
	static const struct output_column columns[] = {
	    {"ID", OUTPUT_ID}, {"COMMON NAME", OUTPUT_CUT}, {"WHY", OUTPUT_CUT}};
	struct policy_census census = {.test = test};
	enum exit_code code;
	enum err e;

	output_list_begin(&census.out, test->cli->json, "refused", columns, 3);
	e = policy_census_count(&census);
	if (e != E_OK) {
		output_list_drop(&census.out);
		return cli_fail(e, "cannot list the CSRs: %s", err_str(e));
	}
	census.out.total = (int64_t)census.refused;
	code = output_list_end(&census.out);
	if (code == EXIT_CODE_OK && !test->cli->json)
		printf("%s%" PRIu64 " of %" PRIu64 " active CSRs would be refused\n",
		       census.refused ? "\n" : "", census.refused, census.judged);
	return code == EXIT_CODE_OK && census.refused > 0 ? EXIT_CODE_FAILURE : code;
}

/* ---- the command ---- */

static enum exit_code policy_test_check(struct policy_test *test, int argc, char **argv)
{
	struct cli *cli = test->cli;
	enum exit_code code =
	    cli_arguments(cli, argc, argv, test->of_existing ? 0 : 1, test->of_existing ? 0 : 1);

	test->has_target = test->target.account || test->target.zone;
	if (code != EXIT_CODE_OK)
		return code;
	if (test->target.account && test->target.zone)
		return cli_usage(cli, "policy test: --account and --zone exclude each other");
	if (!test->has_target && (!test->policy_file || test->of_existing))
		return cli_usage(cli, "policy test: --account or --zone is missing%s",
				 test->of_existing ? "" : ", or --policy FILE");
	if (!test->of_existing)
		test->request_file = argv[optind];
	if (test->policy_file && test->request_file && !strcmp(test->policy_file, "-") &&
	    !strcmp(test->request_file, "-"))
		return cli_usage(cli, "policy test: only one of the two can be standard input");
	return EXIT_CODE_OK;
}

enum exit_code cmd_policy_test(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
	    {"account", required_argument, NULL, 'a'},
	    {"zone", required_argument, NULL, 'z'},
	    {"policy", required_argument, NULL, 'p'},
	    {"existing", no_argument, NULL, 'e'},
	    CLI_OPTIONS,
	};
	struct policy_test test = {.cli = cli};
	enum exit_code code;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		switch (c) {
		case 'a':
			test.target.account = optarg;
			break;
		case 'z':
			test.target.zone = optarg;
			break;
		case 'p':
			test.policy_file = optarg;
			break;
		case 'e':
			test.of_existing = true;
			break;
		default:
			return EXIT_CODE_USAGE;
		}
	}
	code = policy_test_check(&test, argc, argv);
	if (code != EXIT_CODE_OK)
		return code;
	buf_init(&test.policy_text, POLICY_BYTES_MAX);
	buf_init(&test.request_text, CSR_JSON_MAX);
	code = policy_test_load(&test);
	if (code == EXIT_CODE_OK)
		code = test.of_existing ? policy_test_existing(&test) : policy_test_request(&test);
	policy_test_release(&test);
	return code;
}
