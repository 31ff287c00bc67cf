/* csrctl csr. */
#include "base/key.h"
#include "base/str.h"
#include "cli/arg.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

#define PAGE_ROWS 500
#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000000
#define ALL_STATES                                                                              \
	(CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_ACTIVE) | CSR_STATE_BIT(CSR_DELETING) | \
	 CSR_STATE_BIT(CSR_DESTROYED) | CSR_STATE_BIT(CSR_FAILED))

/* What list and show have in common. */
static void put_members(struct json_writer *w, const struct csr_record *r)
{
	json_put_text_member(w, "id", r->id);
	json_put_text_member(w, "state", csr_state_name(r->state));
	json_put_text_member(w, "scope", output_scope_name(r->scope.kind));
	json_put_text_member(w, "scope_id", r->scope.id);
	json_put_text_member(w, "account", r->account_tag);
	json_put_text_member(w, "token", r->token_name);
	json_put_text_member(w, "key_type", key_type_name(r->spec.key_type));
	json_put_text_member(w, "common_name", r->spec.common_name);
	output_json_text_opt(w, "name", r->name);
	json_put_time_member(w, "created_at", r->created_us);
	json_put_time_member(w, "updated_at", r->updated_us);
	output_json_time_opt(w, "set_aside_at", r->set_aside_us);
}

/* ---- list ---- */

struct list {
	struct output_list out;
	size_t rows;
	size_t page_rows;
	uint64_t total;
	struct cli_wait wait;
};

static void put_row(struct output_table *t, const struct csr_record *r)
{
	char scope[sizeof("account ") + STORE_TAG_SIZE];

	snprintf(scope, sizeof(scope), "%s %s", output_scope_name(r->scope.kind), r->scope.id);
	output_table_put(t, r->id);
	output_table_put(t, csr_state_name(r->state));
	output_table_put_time(t, r->created_us, NULL);
	output_table_put(t, key_type_name(r->spec.key_type));
	output_table_put(t, scope);
	output_table_put(t, r->spec.common_name);
}

static void on_page(void *arg, enum err e, const struct store_csr_page *page)
{
	struct list *list = arg;

	for (size_t i = 0; e == E_OK && i < page->records_len; i++) {
		if (!list->out.json) {
			put_row(&list->out.table, &page->records[i]);
			continue;
		}
		json_open_object(&list->out.j.w);
		put_members(&list->out.j.w, &page->records[i]);
		json_close(&list->out.j.w);
	}
	if (e == E_OK) {
		list->page_rows = page->records_len;
		list->rows += page->records_len;
		list->total = page->total;
	}
	cli_on_done(&list->wait, e);
}

struct list_options {
	struct store_scope scope; /* kind 0: all */
	unsigned states;
	uint64_t limit;
};

static enum exit_code set_scope(struct cli *cli, struct list_options *lo, enum store_scope_kind kind,
				const char *id)
{
	if (lo->scope.kind)
		return cli_usage(cli, "csr list: one --account or one --zone");
	lo->scope.kind = kind;
	if (arg_tag(id, lo->scope.id) != E_OK)
		return cli_usage(cli, "--%s '%s' is no id: 1-32 of [0-9A-Za-z_-]", output_scope_name(kind),
				 id);
	return EXIT_CODE_OK;
}

static enum exit_code read_list_option(struct cli *cli, struct list_options *lo, int c)
{
	enum csr_state state;

	switch (c) {
	case 'a':
		return set_scope(cli, lo, STORE_ACCOUNT, optarg);
	case 'z':
		return set_scope(cli, lo, STORE_ZONE, optarg);
	case 's':
		if (csr_state_parse(optarg, &state) != E_OK)
			return cli_usage(cli, "--state '%s': pending, active, deleting, destroyed or failed",
					 optarg);
		lo->states |= CSR_STATE_BIT(state);
		return EXIT_CODE_OK;
	case 'l':
		if (str_parse_u64(optarg, LIMIT_MAX, &lo->limit) != E_OK || lo->limit == 0)
			return cli_usage(cli, "--limit '%s': a number, 1 to %d", optarg, LIMIT_MAX);
		return EXIT_CODE_OK;
	default:
		return EXIT_CODE_USAGE;
	}
}

static enum err list_pages(struct cli *cli, const struct list_options *lo, struct list *list)
{
	struct store_csr_query query = {
		.scope = lo->scope.kind ? &lo->scope : NULL,
		.states = lo->states ? lo->states : ALL_STATES,
		.order = STORE_ORDER_CREATED_AT,
	};

	do {
		uint64_t left = lo->limit - list->rows;

		query.offset = list->rows;
		query.limit = left < PAGE_ROWS ? (unsigned)left : PAGE_ROWS;
		list->wait = (struct cli_wait){0};
		store_csr_list(cli->store, &query, on_page, list);
		store_wait(cli->store, &list->wait.done);
	} while (list->wait.e == E_OK && list->page_rows == query.limit && list->rows < lo->limit);
	return list->wait.e;
}

enum exit_code cmd_csr_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"account", required_argument, NULL, 'a'}, {"zone", required_argument, NULL, 'z'},
		{"state", required_argument, NULL, 's'},   {"limit", required_argument, NULL, 'l'},
		CLI_OPTIONS,
	};
	static const char *const titles[] = {"ID", "STATE", "CREATED", "KEY", "SCOPE", "COMMON NAME"};
	struct list_options lo = {.limit = LIMIT_DEFAULT};
	struct list list = {0};
	enum exit_code code;
	enum err e;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		code = read_list_option(cli, &lo, c);
		if (code != EXIT_CODE_OK)
			return code;
	}
	code = cli_arguments(cli, argc, argv, 0, 0);
	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK && lo.scope.kind)
		code = cli_need_scope(cli, &lo.scope);
	if (code != EXIT_CODE_OK)
		return code;
	output_list_begin(&list.out, cli->json, "csrs", titles, sizeof(titles) / sizeof(titles[0]));
	e = list_pages(cli, &lo, &list);
	if (e != E_OK) {
		output_list_drop(&list.out);
		return cli_fail(e, "cannot list the CSRs: %s", err_str(e));
	}
	list.out.total = (int64_t)list.total;
	code = output_list_end(&list.out);
	if (list.total > list.rows)
		cli_note("%zu of %llu are shown: see --limit", list.rows, (unsigned long long)list.total);
	return code;
}

/* ---- show ---- */

struct show {
	struct csr_record *record; /* owned */
	struct output_list history;
	struct output_json j;
	bool json;
	struct cli_wait wait;
};

static void on_record(void *arg, enum err e, struct csr_record *record)
{
	struct show *show = arg;

	show->record = record;
	cli_on_done(&show->wait, e);
}

static void put_history(struct json_writer *w, const struct audit_record *a)
{
	json_open_object(w);
	json_put_int_member(w, "sequence", a->sequence);
	json_put_time_member(w, "at", a->at_us);
	json_put_text_member(w, "action", a->action);
	json_put_text_member(w, "actor", a->actor);
	output_json_text_opt(w, "request_id", a->request_id);
	output_json_text_opt(w, "peer", a->peer);
	output_json_text_opt(w, "detail", a->detail);
	json_close(w);
}

static void on_history(void *arg, enum err e, const struct audit_record *records, size_t len)
{
	struct show *show = arg;
	struct output_table *t = &show->history.table;

	for (size_t i = 0; e == E_OK && i < len; i++) {
		const struct audit_record *a = &records[i];

		if (show->json) {
			put_history(&show->j.w, a);
			continue;
		}
		output_table_put_time(t, a->at_us, NULL);
		output_table_put(t, a->action);
		output_table_put(t, a->actor);
		output_table_put(t, a->peer);
		output_table_put(t, a->request_id);
		output_table_put(t, a->detail);
	}
	cli_on_done(&show->wait, e);
}

static void put_subject(struct json_writer *w, const struct csr_spec *spec)
{
	json_put_name(w, "subject");
	json_open_object(w);
	json_put_text_member(w, "country", spec->country);
	json_put_text_member(w, "state", spec->state);
	json_put_text_member(w, "locality", spec->locality);
	json_put_text_member(w, "organization", spec->organization);
	output_json_text_opt(w, "organizational_unit", spec->organizational_unit);
	json_put_text_member(w, "common_name", spec->common_name);
	json_close(w);
	json_put_name(w, "sans");
	json_open_array(w);
	for (size_t i = 0; i < spec->sans_len; i++) {
		json_open_object(w);
		json_put_text_member(w, "type", san_type_name(spec->sans[i].type));
		json_put_text_member(w, "value", spec->sans[i].value);
		json_close(w);
	}
	json_close(w);
}

static void put_key(struct json_writer *w, const struct csr_record *r)
{
	char id[2 * KEY_ID_BYTES + 1], spki[2 * KEY_SPKI_HASH_BYTES + 1];

	str_hex(id, r->key_id, KEY_ID_BYTES);
	str_hex(spki, r->spki_sha256, KEY_SPKI_HASH_BYTES);
	json_put_name(w, "key");
	json_open_object(w);
	json_put_text_member(w, "id", id);
	json_put_text_member(w, "spki_sha256", spki);
	json_put_name(w, "protection");
	json_open_array(w);
	for (uint32_t bit = 1; bit <= KEY_PROT_MAX; bit <<= 1) {
		struct buf name;

		if (!(r->protection & bit))
			continue;
		buf_init(&name, 64);
		key_protection_format(bit, &name);
		json_put_text(w, buf_text(&name));
		buf_release(&name);
	}
	json_close(w);
	json_close(w);
}

static enum exit_code fetch_history(struct cli *cli, struct show *show)
{
	show->wait = (struct cli_wait){0};
	store_audit_list(cli->store, show->record->id, on_history, show);
	store_wait(cli->store, &show->wait.done);
	if (show->wait.e != E_OK)
		return cli_fail(show->wait.e, "cannot read the history: %s", err_str(show->wait.e));
	return EXIT_CODE_OK;
}

static enum exit_code show_json(struct cli *cli, struct show *show)
{
	const struct csr_record *r = show->record;
	enum exit_code code;

	output_json_begin(&show->j);
	put_members(&show->j.w, r);
	output_json_text_opt(&show->j.w, "description", r->description);
	json_put_text_member(&show->j.w, "principal", r->principal_id);
	put_subject(&show->j.w, &r->spec);
	output_json_text_opt(&show->j.w, "csr", r->pem);
	if (r->pem)
		put_key(&show->j.w, r);
	json_put_name(&show->j.w, "history");
	json_open_array(&show->j.w);
	code = fetch_history(cli, show);
	if (code != EXIT_CODE_OK) {
		buf_release(&show->j.buf);
		return code;
	}
	json_close(&show->j.w);
	return output_json_end(&show->j);
}

static void print_key(const struct csr_record *r)
{
	char id[2 * KEY_ID_BYTES + 1], spki[2 * KEY_SPKI_HASH_BYTES + 1];
	struct buf protection;

	str_hex(id, r->key_id, KEY_ID_BYTES);
	str_hex(spki, r->spki_sha256, KEY_SPKI_HASH_BYTES);
	buf_init(&protection, 1024);
	key_protection_format(r->protection, &protection);
	output_fact("key id", id);
	output_fact("SPKI SHA-256", spki);
	output_fact("protection", buf_text(&protection));
	buf_release(&protection);
}

static void print_record(const struct csr_record *r)
{
	output_fact("id", r->id);
	output_fact("state", csr_state_name(r->state));
	output_fact(output_scope_name(r->scope.kind), r->scope.id);
	if (r->scope.kind != STORE_ACCOUNT)
		output_fact("account", r->account_tag);
	output_fact("name", r->name);
	output_fact("description", r->description);
	output_fact_time("created", r->created_us, NULL);
	output_fact_time("state since", r->updated_us, NULL);
	output_fact_time("set aside", r->set_aside_us, NULL);
	if (r->set_aside_us)
		output_fact(
		    "", r->state == CSR_DELETING
			    ? "it was being deleted when the store went back: its key is kept until somebody "
			      "deletes it again, or gives it up (csrctl reconcile --apply --give-up)"
			    : "it was open when the store went back, and may have been answered since: its "
			      "key is kept until somebody gives it up (csrctl reconcile --apply --give-up)");
	output_fact("made by", r->principal_id);
	output_fact("country", r->spec.country);
	output_fact("state or province", r->spec.state);
	output_fact("locality", r->spec.locality);
	output_fact("organization", r->spec.organization);
	output_fact("organizational unit", r->spec.organizational_unit);
	output_fact("common name", r->spec.common_name);
	for (size_t i = 0; i < r->spec.sans_len; i++) {
		char title[16];

		snprintf(title, sizeof(title), "%s name", san_type_name(r->spec.sans[i].type));
		output_fact(title, r->spec.sans[i].value);
	}
	output_fact("token", r->token_name);
	output_fact("key type", key_type_name(r->spec.key_type));
	if (r->pem)
		print_key(r);
}

static enum exit_code show_text(struct cli *cli, struct show *show)
{
	static const char *const titles[] = {"AT", "ACTION", "ACTOR", "PEER", "REQUEST", "DETAIL"};
	enum exit_code code;

	print_record(show->record);
	output_list_begin(&show->history, false, NULL, titles, sizeof(titles) / sizeof(titles[0]));
	code = fetch_history(cli, show);
	if (code != EXIT_CODE_OK) {
		output_list_drop(&show->history);
		return code;
	}
	putchar('\n');
	code = output_list_end(&show->history);
	if (show->record->pem)
		printf("\n%s", show->record->pem);
	return code;
}

static enum exit_code show_pem(const struct show *show)
{
	if (!show->record->pem)
		return cli_fail(E_NOTFOUND, "CSR '%s' is %s and has no PEM", show->record->id,
		                csr_state_name(show->record->state));
	fputs(show->record->pem, stdout);
	return EXIT_CODE_OK;
}

static enum exit_code show_one(struct cli *cli, const char *text, bool pem)
{
	struct show show = {.json = cli->json};
	char id[CSR_ID_SIZE];
	enum exit_code code;

	for (size_t i = 0; i < sizeof(id); i++)
		id[i] = str_ascii_lower(text[i]);
	store_csr_get(cli->store, NULL, id, on_record, &show);
	store_wait(cli->store, &show.wait.done);
	if (show.wait.e == E_NOTFOUND)
		return cli_fail(show.wait.e, "no such CSR '%s': see 'csrctl csr list'", id);
	if (show.wait.e != E_OK)
		return cli_fail(show.wait.e, "cannot read the CSR '%s': %s", id, err_str(show.wait.e));
	if (cli->json)
		code = show_json(cli, &show);
	else
		code = pem ? show_pem(&show) : show_text(cli, &show);
	csr_record_free(show.record);
	return code;
}

enum exit_code cmd_csr_show(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"pem", no_argument, NULL, 'p'}, CLI_OPTIONS};
	enum exit_code code;
	bool pem = false;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c != 'p')
			return EXIT_CODE_USAGE;
		pem = true;
	}
	code = cli_arguments(cli, argc, argv, 1, 1);
	if (code != EXIT_CODE_OK)
		return code;
	if (!str_is_uuid(argv[optind]))
		return cli_usage(cli, "'%s' is no CSR id (a UUID)", argv[optind]);
	code = cli_open_store(cli, false);
	return code == EXIT_CODE_OK ? show_one(cli, argv[optind], pem) : code;
}
