/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl csr show. */
#include "base/key.h"
#include "base/str.h"
#include "base/uuid.h"
#include "cli/audit_output.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/csr_output.h"
#include "cli/each.h"
#include "cli/names.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

#define PREFIX_CHARS_MIN 4
#define ALL_STATES ((CSR_STATE_BIT(CSR_FAILED) << 1) - 1)

struct show {
	struct csr_record *record; /* owned */
	struct names *names;       /* owned */
	struct output_list history;
	struct output_json j;
	bool json;
	struct cli_wait wait;
};

static void cmd_csr_on_record(void *arg, enum err e, struct csr_record *record)
{
	struct show *show = arg;

	show->record = record;
	cli_on_done(&show->wait, e);
}

static enum err cmd_csr_show_event(void *arg, const struct audit_record *a)
{
	struct show *show = arg;
	struct output_table *t = &show->history.table;

	if (show->json) {
		audit_output_json(&show->j.w, show->names, a, false);
		return E_OK;
	}
	output_table_put_time(t, a->at_us, NULL);
	output_table_put(t, a->action);
	audit_output_actor(t, show->names, a->actor);
	output_table_put(t, a->peer);
	output_table_put(t, a->request_id);
	output_table_put(t, a->detail);
	output_list_next(&show->history);
	return E_OK;
}

static void cmd_csr_put_subject(struct json_writer *w, const struct csr_spec *spec)
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

static void cmd_csr_put_key(struct json_writer *w, const struct csr_record *r)
{
	char id[2 * KEY_ID_BYTES + 1], spki[2 * KEY_SPKI_HASH_BYTES + 1];

	str_hex(id, r->key_id, KEY_ID_BYTES);
	str_hex(spki, r->spki_sha256, KEY_SPKI_HASH_BYTES);
	json_put_name(w, "key");
	json_open_object(w);
	json_put_text_member(w, "label", r->key_label);
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
	enum err e = each_record(cli, show->record->id, cmd_csr_show_event, show);

	return e == E_OK ? EXIT_CODE_OK : cli_fail(e, "cannot read the history: %s", err_str(e));
}

static enum exit_code cmd_csr_show_json(struct cli *cli, struct show *show)
{
	const struct csr_record *r = show->record;
	enum exit_code code;

	output_json_begin(&show->j);
	csr_output_members(&show->j.w, show->names, r);
	output_json_text_opt(&show->j.w, "description", r->description);
	cmd_csr_put_subject(&show->j.w, &r->spec);
	output_json_text_opt(&show->j.w, "csr", r->pem);
	if (r->pem)
		cmd_csr_put_key(&show->j.w, r);
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
	output_fact("key label", r->key_label);
	output_fact("key id", id);
	output_fact("SPKI SHA-256", spki);
	output_fact("protection", buf_text(&protection));
	buf_release(&protection);
}

/* "example.com (fedcba…)", or the id alone. */
static void print_scope(const struct names *names, enum store_scope_kind kind, const char *id)
{
	const char *name = names_of_scope(names, kind, id);
	struct buf words;

	buf_init(&words, 4096);
	if (name)
		buf_printf(&words, "%s (%s)", name, id);
	output_fact(output_scope_name(kind), name ? buf_text(&words) : id);
	buf_release(&words);
}

static void print_maker(const struct names *names, const char *principal_id)
{
	struct buf words;

	buf_init(&words, 4096);
	names_format_actor_whole(names, principal_id, &words);
	output_fact("made by", buf_text(&words));
	buf_release(&words);
}

static void print_set_aside(const struct csr_record *r)
{
	struct buf words;

	buf_init(&words, 1024);
	buf_printf(&words, "%s: 'csrctl reconcile --token %s --apply --give-up %s'",
		   r->state == CSR_DELETING
		       ? "it was being deleted when the store went back: its key is kept until somebody "
			 "deletes it again, or gives it up"
		       : "it was open when the store went back, and may have been answered since: its key is "
			 "kept until somebody gives it up",
		   r->token_name, r->id);
	output_fact("", buf_text(&words));
	buf_release(&words);
}

/* Which versions were in force when it was made. */
static void print_policies(const struct csr_record *r)
{
	char version[32];

	snprintf(version, sizeof(version), "version %lld", (long long)r->account_policy);
	output_fact("account policy", r->account_policy ? version : NULL);
	snprintf(version, sizeof(version), "version %lld", (long long)r->zone_policy);
	output_fact("zone policy", r->zone_policy ? version : NULL);
}

static void print_record(const struct names *names, const struct csr_record *r)
{
	output_fact("id", r->id);
	output_fact("state", csr_state_name(r->state));
	print_scope(names, r->scope.kind, r->scope.id);
	if (r->scope.kind != STORE_ACCOUNT)
		print_scope(names, STORE_ACCOUNT, r->account_tag);
	output_fact("name", r->name);
	output_fact("description", r->description);
	output_fact_time("created", r->created_us, NULL);
	output_fact_time("state since", r->updated_us, NULL);
	output_fact_time("set aside", r->set_aside_us, NULL);
	if (r->set_aside_us)
		print_set_aside(r);
	print_maker(names, r->principal_id);
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
	print_policies(r);
	output_fact("token", r->token_name);
	output_fact("key type", key_type_name(r->spec.key_type));
	if (r->pem)
		print_key(r);
}

static enum exit_code cmd_csr_show_text(struct cli *cli, struct show *show)
{
	static const struct output_column columns[] = {
	    {"AT", OUTPUT_WHOLE}, {"ACTION", OUTPUT_WHOLE}, {"ACTOR", OUTPUT_CUT},
	    {"PEER", OUTPUT_CUT}, {"REQUEST", OUTPUT_ID},   {"DETAIL", OUTPUT_CUT},
	};
	enum exit_code code;

	print_record(show->names, show->record);
	putchar('\n'); /* before the history, which is printed as it comes when it is long */
	output_list_begin(&show->history, false, NULL, columns, sizeof(columns) / sizeof(columns[0]));
	code = fetch_history(cli, show);
	if (code != EXIT_CODE_OK) {
		output_list_drop(&show->history);
		return code;
	}
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

/* ---- which one ---- */

struct search {
	char id[CSR_ID_SIZE];
	uint64_t total;
	struct cli_wait wait;
};

static void cmd_csr_on_search(void *arg, enum err e, const struct store_csr_page *page)
{
	struct search *search = arg;

	if (e == E_OK && page->records_len > 0)
		memcpy(search->id, page->records[0].id, sizeof(search->id));
	if (e == E_OK)
		search->total = page->total;
	cli_on_done(&search->wait, e);
}

/* The id that begins so, where only one does: as a list on a narrow terminal shows it. */
static enum exit_code complete_id(struct cli *cli, char id[CSR_ID_SIZE])
{
	struct store_csr_filter filter = {.id_prefix = id};
	struct store_csr_query query = {
	    .states = ALL_STATES, .filter = &filter, .order = STORE_ORDER_CREATED_AT, .limit = 1};
	struct search search = {0};

	if (strlen(id) == CSR_ID_SIZE - 1)
		return EXIT_CODE_OK;
	store_csr_list(cli->store, &query, cmd_csr_on_search, &search);
	store_wait(cli->store, &search.wait.done);
	if (search.wait.e != E_OK)
		return cli_fail(search.wait.e, "cannot look for the CSR '%s': %s", id,
				err_str(search.wait.e));
	if (search.total == 0)
		return cli_fail(E_NOTFOUND, "no CSR's id begins with '%s': see 'csrctl csr list'", id);
	if (search.total > 1)
		return cli_fail(E_EXISTS, "the ids of %llu CSRs begin with '%s': see 'csrctl csr list %s'",
				(unsigned long long)search.total, id, id);
	memcpy(id, search.id, sizeof(search.id));
	return EXIT_CODE_OK;
}

static enum exit_code show_one(struct cli *cli, char id[CSR_ID_SIZE], bool pem)
{
	struct show show = {.json = cli->json};
	enum exit_code code = complete_id(cli, id);

	if (code == EXIT_CODE_OK)
		code = names_load(cli, &show.names);
	if (code != EXIT_CODE_OK)
		return code;
	store_csr_get(cli->store, NULL, id, cmd_csr_on_record, &show);
	store_wait(cli->store, &show.wait.done);
	if (show.wait.e == E_NOTFOUND)
		code = cli_fail(show.wait.e, "no such CSR '%s': see 'csrctl csr list'", id);
	else if (show.wait.e != E_OK)
		code = cli_fail(show.wait.e, "cannot read the CSR '%s': %s", id, err_str(show.wait.e));
	else if (cli->json)
		code = cmd_csr_show_json(cli, &show);
	else
		code = pem ? show_pem(&show) : cmd_csr_show_text(cli, &show);
	csr_record_free(show.record);
	names_free(show.names);
	return code;
}

/* An id, or the first characters of one; in lower case. */
static bool take_id(const char *text, char id[CSR_ID_SIZE])
{
	size_t len = strlen(text);

	if (len < PREFIX_CHARS_MIN || len >= CSR_ID_SIZE || (len == CSR_ID_SIZE - 1 && !uuid_is_valid(text)))
		return false;
	for (size_t i = 0; i <= len; i++)
		id[i] = str_ascii_lower(text[i]);
	return strspn(id, "0123456789abcdef-") == len;
}

enum exit_code cmd_csr_show(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {{"pem", no_argument, NULL, 'p'}, CLI_OPTIONS};
	char id[CSR_ID_SIZE];
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
	if (!take_id(argv[optind], id))
		return cli_usage(cli, "'%s' is not a CSR id: a UUID, or at least its first %d characters",
				 argv[optind], PREFIX_CHARS_MIN);
	code = cli_open_store(cli, false);
	return code == EXIT_CODE_OK ? show_one(cli, id, pem) : code;
}
