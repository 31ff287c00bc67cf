/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl csr list, csrctl csr find. */
#include "base/clock.h"
#include "base/key.h"
#include "base/str.h"
#include "cli/arg.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/csr_output.h"
#include "cli/names.h"
#include "cli/output.h"

#include <string.h>

#define PAGE_ROWS 500
#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000000
#define ALL_STATES                                                                                           \
	(CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_ACTIVE) | CSR_STATE_BIT(CSR_DELETING) |              \
	 CSR_STATE_BIT(CSR_DESTROYED) | CSR_STATE_BIT(CSR_FAILED))

struct list {
	struct cli *cli;
	/* What was asked for, as it was said. */
	const char *account;
	const char *zone;
	const char *by;
	const char *spki; /* of csr find: there has to be one */
	/* And as the store takes it. */
	struct store_scope scope;
	struct store_csr_filter filter;
	char by_id[CSR_ID_SIZE];
	uint8_t key[KEY_SPKI_HASH_BYTES];
	unsigned states;
	bool oldest_first;
	uint64_t limit;
	uint64_t offset;

	struct names *names;
	struct output_list out;
	size_t rows;
	size_t page_rows;
	uint64_t total;
	struct cli_wait wait;
};

/* ---- what is asked for ---- */

static enum exit_code set_state(struct list *list, const char *text)
{
	enum csr_state state;

	if (csr_state_parse(text, &state) != E_OK)
		return cli_usage(list->cli, "--state '%s': pending, active, deleting, destroyed or failed",
				 text);
	list->states |= CSR_STATE_BIT(state);
	return EXIT_CODE_OK;
}

/* A key type, or a key by its CKA_ID or its SPKI hash. */
static enum exit_code cmd_csr_list_set_key(struct list *list, const char *text)
{
	size_t len = strlen(text) / 2;

	if (key_type_parse(text, &list->filter.key_type) == E_OK)
		return EXIT_CODE_OK;
	if ((len != KEY_ID_BYTES && len != KEY_SPKI_HASH_BYTES) || str_unhex(list->key, len, text) != E_OK)
		return cli_usage(list->cli,
				 "--key '%s': a key type such as p256v1, or a key's id (%d hexadecimal "
				 "digits) or SPKI SHA-256 (%d)",
				 text, 2 * KEY_ID_BYTES, 2 * KEY_SPKI_HASH_BYTES);
	list->filter.key = list->key;
	list->filter.key_len = len;
	return EXIT_CODE_OK;
}

static enum exit_code set_number(struct list *list, const char *option, const char *text, uint64_t min,
				 uint64_t *ret_number)
{
	if (str_parse_u64(text, LIMIT_MAX, ret_number) != E_OK || *ret_number < min)
		return cli_usage(list->cli, "--%s '%s': a number, %d to %d", option, text, (int)min,
				 LIMIT_MAX);
	return EXIT_CODE_OK;
}

static enum exit_code cmd_csr_list_read_option(struct list *list, int c)
{
	switch (c) {
	case 'a':
		list->account = optarg;
		return EXIT_CODE_OK;
	case 'z':
		list->zone = optarg;
		return EXIT_CODE_OK;
	case 's':
		return set_state(list, optarg);
	case 'l':
		return set_number(list, "limit", optarg, 1, &list->limit);
	case 'o':
		return set_number(list, "offset", optarg, 0, &list->offset);
	case 'O':
		list->oldest_first = true;
		return EXIT_CODE_OK;
	case 'f':
		return cli_past(list->cli, "since", optarg, &list->filter.since_us);
	case 'u':
		return cli_past(list->cli, "until", optarg, &list->filter.until_us);
	case 'n':
		list->filter.name = optarg;
		return EXIT_CODE_OK;
	case 'S':
		list->filter.san = optarg;
		return EXIT_CODE_OK;
	case 't':
		list->filter.token_name = optarg;
		return EXIT_CODE_OK;
	case 'b':
		list->by = optarg;
		return EXIT_CODE_OK;
	case 'k':
		return cmd_csr_list_set_key(list, optarg);
	default:
		return EXIT_CODE_USAGE;
	}
}

static enum exit_code cmd_csr_list_read_options(struct list *list, int argc, char **argv)
{
	static const struct option options[] = {
	    {"account", required_argument, NULL, 'a'}, {"zone", required_argument, NULL, 'z'},
	    {"state", required_argument, NULL, 's'},   {"since", required_argument, NULL, 'f'},
	    {"until", required_argument, NULL, 'u'},   {"name", required_argument, NULL, 'n'},
	    {"san", required_argument, NULL, 'S'},     {"token", required_argument, NULL, 't'},
	    {"by", required_argument, NULL, 'b'},      {"key", required_argument, NULL, 'k'},
	    {"limit", required_argument, NULL, 'l'},   {"offset", required_argument, NULL, 'o'},
	    {"oldest", no_argument, NULL, 'O'},        CLI_OPTIONS,
	};
	enum exit_code code;
	int c;

	while ((c = cli_getopt(list->cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		code = cmd_csr_list_read_option(list, c);
		if (code != EXIT_CODE_OK)
			return code;
	}
	code = cli_arguments(list->cli, argc, argv, 0, 1);
	if (code == EXIT_CODE_OK && list->account && list->zone)
		code = cli_usage(list->cli, "csr list: one --account or one --zone");
	list->filter.word = argv[optind];
	return code;
}

/* What was said by name, now that the store is open. */
static enum exit_code find_ids(struct list *list)
{
	enum exit_code code = EXIT_CODE_OK;

	if (list->account)
		code = names_find_scope(list->names, STORE_ACCOUNT, list->account, &list->scope);
	if (list->zone)
		code = names_find_scope(list->names, STORE_ZONE, list->zone, &list->scope);
	if (code == EXIT_CODE_OK && list->by) {
		code = names_find_principal(list->names, list->by, list->by_id);
		list->filter.principal_id = list->by_id;
	}
	return code;
}

/* ---- the list ---- */

static void cmd_csr_list_put_row(struct list *list, const struct csr_record *r)
{
	struct output_table *t = &list->out.table;
	struct buf scope;

	buf_init(&scope, 4096);
	names_format_scope(list->names, &r->scope, &scope);
	output_table_put(t, r->id);
	output_table_put(t, csr_state_name(r->state));
	output_table_put_time(t, r->created_us, NULL);
	output_table_put(t, key_type_name(r->spec.key_type));
	output_table_put(t, r->token_name);
	output_table_put(t, buf_text(&scope));
	output_table_put(t, r->spec.common_name);
	buf_release(&scope);
}

static void cmd_csr_list_on_page(void *arg, enum err e, const struct store_csr_page *page)
{
	struct list *list = arg;

	for (size_t i = 0; e == E_OK && i < page->records_len; i++) {
		if (!list->out.json) {
			cmd_csr_list_put_row(list, &page->records[i]);
		} else {
			json_open_object(&list->out.j.w);
			csr_output_members(&list->out.j.w, list->names, &page->records[i]);
			json_close(&list->out.j.w);
		}
		output_list_next(&list->out);
	}
	if (e == E_OK) {
		list->page_rows = page->records_len;
		list->rows += page->records_len;
		list->total = page->total;
	}
	cli_on_done(&list->wait, e);
}

static bool has_filter(const struct store_csr_filter *f)
{
	return f->since_us || f->until_us || f->token_name || f->principal_id || f->key_type || f->key ||
	       f->name || f->san || f->word;
}

static enum err list_pages(struct list *list)
{
	struct store_csr_query query = {
	    .scope = list->scope.kind ? &list->scope : NULL,
	    .states = list->states ? list->states : ALL_STATES,
	    .filter = has_filter(&list->filter) ? &list->filter : NULL,
	    .order = STORE_ORDER_CREATED_AT,
	    .descending = !list->oldest_first,
	};

	do {
		uint64_t left = list->limit - list->rows;

		query.offset = list->offset + list->rows;
		query.limit = left < PAGE_ROWS ? (unsigned)left : PAGE_ROWS;
		list->wait = (struct cli_wait){0};
		store_csr_list(list->cli->store, &query, cmd_csr_list_on_page, list);
		store_wait(list->cli->store, &list->wait.done);
	} while (list->wait.e == E_OK && list->page_rows == query.limit && list->rows < list->limit);
	return list->wait.e;
}

static enum exit_code cmd_csr_list_print(struct list *list)
{
	static const struct output_column columns[] = {
	    {"ID", OUTPUT_ID},           {"STATE", OUTPUT_WHOLE}, {"CREATED", OUTPUT_WHOLE},
	    {"KEY", OUTPUT_WHOLE},       {"TOKEN", OUTPUT_CUT},   {"SCOPE", OUTPUT_CUT},
	    {"COMMON NAME", OUTPUT_CUT},
	};
	enum exit_code code;
	enum err e;

	output_list_begin(&list->out, list->cli->json, "csrs", columns, sizeof(columns) / sizeof(columns[0]));
	e = list_pages(list);
	if (e != E_OK) {
		output_list_drop(&list->out);
		return cli_fail(e, "cannot list the CSRs: %s", err_str(e));
	}
	if (list->spki && list->rows == 0) {
		output_list_drop(&list->out);
		return cli_fail(E_NOTFOUND, "no CSR has a key with the SPKI SHA-256 '%s'", list->spki);
	}
	list->out.total = (int64_t)list->total;
	code = output_list_end(&list->out);
	if (list->offset + list->rows < list->total)
		cli_note("%zu of %llu are shown, the %s first: see --limit and --offset", list->rows,
			 (unsigned long long)list->total, list->oldest_first ? "oldest" : "newest");
	return code;
}

enum exit_code cmd_csr_list(struct cli *cli, int argc, char **argv)
{
	struct list list = {.cli = cli, .limit = LIMIT_DEFAULT};
	enum exit_code code = cmd_csr_list_read_options(&list, argc, argv);

	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK)
		code = names_load(cli, &list.names);
	if (code == EXIT_CODE_OK)
		code = find_ids(&list);
	if (code == EXIT_CODE_OK)
		code = cmd_csr_list_print(&list);
	names_free(list.names);
	return code;
}

/* ---- by its public key ---- */

static enum exit_code read_spki(struct list *list, int argc, char **argv)
{
	static const struct option options[] = {{"spki", required_argument, NULL, 'k'}, CLI_OPTIONS};
	enum exit_code code;
	int c;

	while ((c = cli_getopt(list->cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c != 'k')
			return EXIT_CODE_USAGE;
		list->spki = optarg;
	}
	code = cli_arguments(list->cli, argc, argv, 0, 0);
	if (code != EXIT_CODE_OK)
		return code;
	if (!list->spki)
		return cli_usage(list->cli, "csr find: --spki is missing");
	if (arg_hex(list->spki, list->key, sizeof(list->key)) != E_OK)
		return cli_usage(
		    list->cli,
		    "--spki '%s': the SHA-256 of a public key (its SubjectPublicKeyInfo in DER), "
		    "%d hexadecimal digits, with colons between the bytes or without",
		    list->spki, 2 * KEY_SPKI_HASH_BYTES);
	list->filter.key = list->key;
	list->filter.key_len = sizeof(list->key);
	return EXIT_CODE_OK;
}

enum exit_code cmd_csr_find(struct cli *cli, int argc, char **argv)
{
	struct list list = {.cli = cli, .limit = LIMIT_DEFAULT};
	enum exit_code code = read_spki(&list, argc, argv);

	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK)
		code = names_load(cli, &list.names);
	if (code == EXIT_CODE_OK)
		code = cmd_csr_list_print(&list);
	names_free(list.names);
	return code;
}
