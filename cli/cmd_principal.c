/* csrctl token, csrctl user. */
#include "api/credential.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/str.h"
#include "cli/arg.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_SIZE CREDENTIAL_TOKEN_SIZE /* the longer of the two */
#define GRANTS_BYTES_MAX ((size_t)1024 * 1024)

/* What differs between the two kinds, in words. */
struct kind {
	enum principal_kind kind;
	const char *noun;       /* "token" */
	const char *array;      /* "tokens" */
	const char *name;       /* what principal.name is called */
	const char *secret;     /* what the secret is called */
};

static const struct kind token_kind = {PRINCIPAL_TOKEN, "token", "tokens", "name", "token"};
static const struct kind user_kind = {PRINCIPAL_USER, "user", "users", "email", "key"};

static const char *status_of(const struct principal *p, int64_t now_us)
{
	if (p->revoked_us)
		return "revoked";
	if (p->expires_us && p->expires_us <= now_us)
		return "expired";
	return p->not_before_us > now_us ? "not-yet-valid" : "active";
}

static const char *permission_name(enum grant_permission permission)
{
	return permission == GRANT_WRITE ? "write" : "read";
}

static void put_grants(struct json_writer *w, const struct names *names, const struct principal *p)
{
	json_put_name(w, "grants");
	json_open_array(w);
	for (size_t i = 0; i < p->grants_len; i++) {
		const struct store_scope *scope = &p->grants[i].scope;

		json_open_object(w);
		json_put_text_member(w, "scope", output_scope_name(scope->kind));
		json_put_text_member(w, "id", scope->id);
		output_json_text_opt(w, "name", names_of_scope(names, scope->kind, scope->id));
		json_put_text_member(w, "permission", permission_name(p->grants[i].permission));
		json_close(w);
	}
	json_close(w);
}

static void put_times(struct json_writer *w, const struct principal *p)
{
	output_json_time_opt(w, "created_at", p->created_us); /* the store's: not known when it is made */
	output_json_time_opt(w, "not_before", p->not_before_us);
	output_json_time_opt(w, "expires_at", p->expires_us);
	output_json_time_opt(w, "revoked_at", p->revoked_us);
}

/* ---- create ---- */

#define GRANTS_MAX 256

/* A grant as it was said: whose name or id it is only the store knows. */
struct wish {
	enum store_scope_kind kind;
	const char *text;
};

struct creation {
	struct principal p;
	struct wish *wishes; /* owned */
	size_t wishes_len;
};

static enum exit_code add_wish(struct cli *cli, struct creation *c, enum store_scope_kind kind,
			       const char *text)
{
	enum grant_permission permission;
	struct wish *wishes;
	size_t len;

	if (arg_grant(text, &len, &permission) != E_OK)
		return cli_usage(cli, "--%s '%s': ID or NAME, and :read or :write behind it",
				 output_scope_name(kind), text);
	if (c->wishes_len == GRANTS_MAX)
		return cli_usage(cli, "more than %d accounts and zones", GRANTS_MAX);
	wishes = reallocarray(c->wishes, c->wishes_len + 1, sizeof(*wishes));
	if (!wishes)
		return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	wishes[c->wishes_len++] = (struct wish){.kind = kind, .text = text};
	c->wishes = wishes;
	return EXIT_CODE_OK;
}

static enum exit_code set_time(struct cli *cli, const char *option, const char *text, int64_t *ret_us)
{
	if (arg_time(text, clock_wall_us(), ret_us) != E_OK)
		return cli_usage(cli, "--%s '%s': 90d, 2027-01-31, 2027-01-31T12:00:00Z or 'never'",
		                 option, text);
	return EXIT_CODE_OK;
}

static enum exit_code set_name(struct cli *cli, struct principal *p, const char *name)
{
	if (p->kind == PRINCIPAL_USER && !arg_email_is_valid(name))
		return cli_usage(cli, "--email '%s' is no e-mail address", name);
	if (!arg_name_is_valid(name))
		return cli_usage(cli, "--name: " ARG_NAME_RULE);
	free(p->name);
	p->name = NULL;
	return str_dup_opt(name, &p->name) ? EXIT_CODE_OK : cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
}

/* Each option once it is known. */
static enum exit_code read_option(struct cli *cli, struct creation *creation, int c)
{
	struct principal *p = &creation->p;

	switch (c) {
	case 'n':
		return set_name(cli, p, optarg);
	case 'a':
		return add_wish(cli, creation, STORE_ACCOUNT, optarg);
	case 'z':
		return add_wish(cli, creation, STORE_ZONE, optarg);
	case 'e':
		return set_time(cli, "expires", optarg, &p->expires_us);
	case 'b':
		return set_time(cli, "not-before", optarg, &p->not_before_us);
	default:
		return EXIT_CODE_USAGE;
	}
}

static enum exit_code read_create(struct cli *cli, int argc, char **argv, const struct option *options,
				  struct creation *creation)
{
	const struct principal *p = &creation->p;
	const struct kind *kind = p->kind == PRINCIPAL_TOKEN ? &token_kind : &user_kind;
	int64_t now_us = clock_wall_us();
	enum exit_code code;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		code = read_option(cli, creation, c);
		if (code != EXIT_CODE_OK)
			return code;
	}
	code = cli_arguments(cli, argc, argv, 0, 0);
	if (code != EXIT_CODE_OK)
		return code;
	if (!p->name)
		return cli_usage(cli, "%s create: --%s is missing", kind->noun, kind->name);
	if (creation->wishes_len == 0)
		return cli_usage(cli, "%s create: at least one --account or --zone is needed", kind->noun);
	if (p->expires_us && p->expires_us <= now_us)
		return cli_usage(cli, "--expires: that time has passed");
	if (p->expires_us && p->not_before_us >= p->expires_us)
		return cli_usage(cli, "--not-before is not before --expires");
	return EXIT_CODE_OK;
}

/* One wish becomes a grant. */
static enum exit_code take_grant(struct cli *cli, const struct names *names, const struct wish *wish,
				 struct principal *p)
{
	struct grant *grant = &p->grants[p->grants_len];
	enum exit_code code;
	char *which;
	size_t len;

	if (arg_grant(wish->text, &len, &grant->permission) != E_OK)
		return cli_fail(E_BUG, "%s", err_str(E_BUG));
	which = strndup(wish->text, len);
	if (!which)
		return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	code = names_find_scope(names, wish->kind, which, &grant->scope);
	free(which);
	if (code != EXIT_CODE_OK)
		return code;
	for (size_t i = 0; i < p->grants_len; i++)
		if (p->grants[i].scope.kind == wish->kind && !strcmp(p->grants[i].scope.id, grant->scope.id))
			return cli_usage(cli, "%s '%s' is given twice", output_scope_name(wish->kind),
					 grant->scope.id);
	p->grants_len++;
	return EXIT_CODE_OK;
}

static enum exit_code take_grants(struct cli *cli, const struct names *names, struct creation *creation)
{
	enum exit_code code = EXIT_CODE_OK;

	creation->p.grants = calloc(creation->wishes_len, sizeof(*creation->p.grants));
	if (!creation->p.grants)
		return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	for (size_t i = 0; code == EXIT_CODE_OK && i < creation->wishes_len; i++)
		code = take_grant(cli, names, &creation->wishes[i], &creation->p);
	return code;
}

static enum exit_code print_created(const struct cli *cli, const struct kind *kind, const struct names *names,
				    const struct principal *p, const char *secret)
{
	struct output_json j;
	struct buf grants;
	enum exit_code code = EXIT_CODE_OK;

	if (cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", p->id);
		json_put_text_member(&j.w, kind->name, p->name);
		json_put_text_member(&j.w, kind->secret, secret);
		put_grants(&j.w, names, p);
		put_times(&j.w, p);
		code = output_json_end(&j);
	} else {
		buf_init(&grants, GRANTS_BYTES_MAX);
		names_format_grants(names, p, &grants);
		output_fact("id", p->id);
		output_fact(kind->name, p->name);
		output_fact(kind->secret, secret);
		output_fact("grants", buf_text(&grants));
		output_fact_time("not before", p->not_before_us, NULL);
		output_fact_time("expires", p->expires_us, "never");
		buf_release(&grants);
	}
	cli_note("the %s is shown this once: the store keeps its hash alone", kind->secret);
	return code;
}

static enum exit_code add_principal(struct cli *cli, const struct kind *kind, struct principal *p)
{
	struct cli_wait wait = {0};

	store_principal_add(cli->store, p, &cli->origin, cli_on_done, &wait);
	store_wait(cli->store, &wait.done);
	if (wait.e == E_EXISTS && p->kind == PRINCIPAL_USER)
		return cli_fail(wait.e, "there is a user '%s' already: revoke it first", p->name);
	if (wait.e != E_OK)
		return cli_fail(wait.e, "cannot add the %s '%s': %s", kind->noun, p->name, err_str(wait.e));
	return EXIT_CODE_OK;
}

static enum err make_secret(struct principal *p, char secret[SECRET_SIZE])
{
	enum err e = credential_make_uuid(p->id);

	if (e == E_OK)
		e = p->kind == PRINCIPAL_TOKEN ? credential_make_token(secret) : credential_make_key(secret);
	return e == E_OK ? credential_hash(secret, p->secret_hash) : e;
}

static enum exit_code create(struct cli *cli, int argc, char **argv, const struct kind *kind,
                             const struct option *options)
{
	struct creation creation = {.p = {.kind = kind->kind}};
	struct principal *p = &creation.p;
	struct names *names = NULL;
	char secret[SECRET_SIZE] = "";
	enum exit_code code = read_create(cli, argc, argv, options, &creation);
	enum err e;

	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, true);
	if (code == EXIT_CODE_OK)
		code = names_load(cli, &names);
	if (code == EXIT_CODE_OK)
		code = take_grants(cli, names, &creation);
	if (code != EXIT_CODE_OK)
		goto out;
	e = make_secret(p, secret);
	if (e != E_OK) {
		code = cli_fail(e, "cannot make a %s: %s", kind->secret,
				e == E_IO ? strerror(errno) : err_str(e));
		goto out;
	}
	code = add_principal(cli, kind, p);
	if (code == EXIT_CODE_OK)
		code = print_created(cli, kind, names, p, secret);
out:
	secret_scrub(secret, sizeof(secret));
	principal_release(p);
	free(creation.wishes);
	names_free(names);
	return code;
}

enum exit_code cmd_token_create(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"name", required_argument, NULL, 'n'},       {"account", required_argument, NULL, 'a'},
		{"zone", required_argument, NULL, 'z'},       {"expires", required_argument, NULL, 'e'},
		{"not-before", required_argument, NULL, 'b'}, CLI_OPTIONS,
	};

	return create(cli, argc, argv, &token_kind, options);
}

enum exit_code cmd_user_create(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"email", required_argument, NULL, 'n'},      {"account", required_argument, NULL, 'a'},
		{"zone", required_argument, NULL, 'z'},       {"expires", required_argument, NULL, 'e'},
		{"not-before", required_argument, NULL, 'b'}, CLI_OPTIONS,
	};

	return create(cli, argc, argv, &user_kind, options);
}

/* ---- list ---- */

struct list {
	const struct kind *kind;
	struct names *names;
	int64_t now_us;
	size_t soon; /* that end within SOON_DAYS */
	struct output_list out;
	struct cli_wait wait;
};

static void put_json(struct list *list, const struct principal *p)
{
	struct json_writer *w = &list->out.j.w;

	json_open_object(w);
	json_put_text_member(w, "id", p->id);
	json_put_text_member(w, list->kind->name, p->name);
	json_put_text_member(w, "status", status_of(p, list->now_us));
	put_grants(w, list->names, p);
	put_times(w, p);
	json_close(w);
}

static void put_row(struct list *list, const struct principal *p)
{
	struct output_table *t = &list->out.table;
	struct buf grants;

	buf_init(&grants, GRANTS_BYTES_MAX);
	names_format_grants(list->names, p, &grants);
	output_table_put(t, p->id);
	output_table_put(t, p->name);
	output_table_put(t, status_of(p, list->now_us));
	output_table_put_time(t, p->created_us, NULL);
	output_table_put_time(t, p->expires_us, "never");
	output_table_put(t, buf_text(&grants));
	buf_release(&grants);
}

#define SOON_DAYS 14

static bool ends_soon(const struct principal *p, int64_t now_us)
{
	return !p->revoked_us && p->expires_us > now_us &&
	       p->expires_us - now_us < (int64_t)SOON_DAYS * 24 * 3600 * 1000000;
}

static void on_principals(void *arg, enum err e, const struct principal *principals, size_t len)
{
	struct list *list = arg;

	for (size_t i = 0; e == E_OK && i < len; i++) {
		if (ends_soon(&principals[i], list->now_us))
			list->soon++;
		if (list->out.json)
			put_json(list, &principals[i]);
		else
			put_row(list, &principals[i]);
	}
	cli_on_done(&list->wait, e);
}

static enum exit_code list_all(struct cli *cli, int argc, char **argv, const struct kind *kind,
                               const struct output_column *columns, size_t columns_len)
{
	static const struct option options[] = {CLI_OPTIONS};
	struct list list = {.kind = kind, .now_us = clock_wall_us()};
	enum exit_code code;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 0, 0);
	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code == EXIT_CODE_OK)
		code = names_load(cli, &list.names);
	if (code != EXIT_CODE_OK)
		return code;
	output_list_begin(&list.out, cli->json, kind->array, columns, columns_len);
	store_principal_list(cli->store, kind->kind, on_principals, &list);
	store_wait(cli->store, &list.wait.done);
	names_free(list.names);
	if (list.wait.e != E_OK) {
		output_list_drop(&list.out);
		return cli_fail(list.wait.e, "cannot list the %s: %s", kind->array, err_str(list.wait.e));
	}
	code = output_list_end(&list.out);
	if (list.soon > 0)
		cli_note("%zu %s within %d days", list.soon, list.soon == 1 ? "expires" : "expire",
			 SOON_DAYS);
	return code;
}

enum exit_code cmd_token_list(struct cli *cli, int argc, char **argv)
{
	static const struct output_column columns[] = {
		{"ID", OUTPUT_ID}, {"NAME", OUTPUT_CUT}, {"STATUS", OUTPUT_WHOLE},
		{"CREATED", OUTPUT_WHOLE}, {"EXPIRES", OUTPUT_WHOLE}, {"GRANTS", OUTPUT_CUT},
	};

	return list_all(cli, argc, argv, &token_kind, columns, sizeof(columns) / sizeof(columns[0]));
}

enum exit_code cmd_user_list(struct cli *cli, int argc, char **argv)
{
	static const struct output_column columns[] = {
		{"ID", OUTPUT_ID}, {"EMAIL", OUTPUT_CUT}, {"STATUS", OUTPUT_WHOLE},
		{"CREATED", OUTPUT_WHOLE}, {"EXPIRES", OUTPUT_WHOLE}, {"GRANTS", OUTPUT_CUT},
	};

	return list_all(cli, argc, argv, &user_kind, columns, sizeof(columns) / sizeof(columns[0]));
}

/* ---- revoke ---- */

#define PREFIX_CHARS_MIN 4

struct search {
	const char *text; /* id, its first characters, or the name of one that is not revoked */
	char id[CSR_ID_SIZE];
	char *name;
	int64_t revoked_us;
	size_t found;
	struct cli_wait wait;
};

static bool is_named(const struct principal *p, const char *text)
{
	return !p->revoked_us && str_equal_ignoring_case(p->name, text);
}

static bool begins_with(const struct principal *p, const char *text)
{
	return strlen(text) >= PREFIX_CHARS_MIN && strncasecmp(p->id, text, strlen(text)) == 0;
}

static enum err take_found(struct search *search, const struct principal *p)
{
	search->found++;
	memcpy(search->id, p->id, sizeof(search->id));
	search->revoked_us = p->revoked_us;
	free(search->name);
	return str_dup_opt(p->name, &search->name) ? E_OK : E_NOMEM;
}

/* By name first: a name may look like the first characters of another's id. */
static void on_search(void *arg, enum err e, const struct principal *principals, size_t len)
{
	struct search *search = arg;

	search->found = 0;
	for (size_t i = 0; e == E_OK && i < len; i++)
		if (is_named(&principals[i], search->text))
			e = take_found(search, &principals[i]);
	for (size_t i = 0, named = search->found; e == E_OK && named == 0 && i < len; i++)
		if (begins_with(&principals[i], search->text))
			e = take_found(search, &principals[i]);
	cli_on_done(&search->wait, e);
}

static enum exit_code find(struct cli *cli, const struct kind *kind, struct search *search)
{
	search->wait = (struct cli_wait){0};
	store_principal_list(cli->store, kind->kind, on_search, search);
	store_wait(cli->store, &search->wait.done);
	if (search->wait.e != E_OK)
		return cli_fail(search->wait.e, "cannot list the %s: %s", kind->array,
				err_str(search->wait.e));
	if (search->found > 1)
		return cli_fail(E_EXISTS,
				"%zu %s are called '%s' or begin so: give the id, see 'csrctl %s list'",
				search->found, kind->array, search->text, kind->noun);
	if (search->found == 0)
		return cli_fail(E_NOTFOUND, "no such %s '%s': see 'csrctl %s list'", kind->noun, search->text,
		                kind->noun);
	return EXIT_CODE_OK;
}

static enum exit_code print_revoked(const struct cli *cli, const struct kind *kind,
				    const struct search *search)
{
	struct output_json j;

	if (cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", search->id);
		json_put_text_member(&j.w, kind->name, search->name);
		json_put_time_member(&j.w, "revoked_at", search->revoked_us);
		return output_json_end(&j);
	}
	output_fact("id", search->id);
	output_fact(kind->name, search->name);
	output_fact_time("revoked", search->revoked_us, NULL);
	return EXIT_CODE_OK;
}

static enum exit_code revoke(struct cli *cli, int argc, char **argv, const struct kind *kind)
{
	static const struct option options[] = {CLI_OPTIONS};
	struct search search = {0};
	struct cli_wait wait = {0};
	enum exit_code code;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 1, 1);
	if (code == EXIT_CODE_OK)
		code = cli_open_store(cli, false);
	if (code != EXIT_CODE_OK)
		return code;
	search.text = argv[optind];
	code = find(cli, kind, &search);
	if (code != EXIT_CODE_OK)
		goto out;
	if (search.revoked_us) {
		cli_note("the %s '%s' was revoked before", kind->noun, search.name);
	} else {
		store_principal_revoke(cli->store, kind->kind, search.id, &cli->origin, cli_on_done, &wait);
		store_wait(cli->store, &wait.done);
		if (wait.e != E_OK) {
			code = cli_fail(wait.e, "cannot revoke the %s '%s': %s", kind->noun, search.name,
			                err_str(wait.e));
			goto out;
		}
		search.text = search.id; /* the time is the store's */
		code = find(cli, kind, &search);
	}
	if (code == EXIT_CODE_OK)
		code = print_revoked(cli, kind, &search);
out:
	free(search.name);
	return code;
}

enum exit_code cmd_token_revoke(struct cli *cli, int argc, char **argv)
{
	return revoke(cli, argc, argv, &token_kind);
}

enum exit_code cmd_user_revoke(struct cli *cli, int argc, char **argv)
{
	return revoke(cli, argc, argv, &user_kind);
}
