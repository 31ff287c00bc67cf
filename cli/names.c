/* The words that people know principals, accounts and zones by. */
#include "cli/names.h"

#include "base/str.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	char id[CSR_ID_SIZE]; /* of all kinds: a tag is shorter */
	char *name;
};

struct entries {
	struct entry *at;
	size_t len;
};

enum table { ACCOUNTS, ZONES, TOKENS, USERS, TABLES };

struct names {
	struct entries tables[TABLES];
	struct entries *filling;
	struct cli_wait wait;
};

/* ---- loading ---- */

static enum err take_entry(struct entries *entries, size_t i, const char *id, const char *name)
{
	enum err e = str_copy(entries->at[i].id, sizeof(entries->at[i].id), id);

	if (e == E_OK && !str_dup_opt(name, &entries->at[i].name))
		e = E_NOMEM;
	return e;
}

static enum err make_room(struct names *names, enum err e, size_t len)
{
	if (e != E_OK)
		return e;
	names->filling->at = calloc(len + 1, sizeof(*names->filling->at));
	names->filling->len = names->filling->at ? len : 0;
	return names->filling->at ? E_OK : E_NOMEM;
}

static void on_accounts(void *arg, enum err e, const struct account_record *accounts, size_t len)
{
	struct names *names = arg;

	e = make_room(names, e, len);
	for (size_t i = 0; e == E_OK && i < len; i++)
		e = take_entry(names->filling, i, accounts[i].id, accounts[i].name);
	cli_on_done(&names->wait, e);
}

static void on_zones(void *arg, enum err e, const struct zone_record *zones, size_t len)
{
	struct names *names = arg;

	e = make_room(names, e, len);
	for (size_t i = 0; e == E_OK && i < len; i++)
		e = take_entry(names->filling, i, zones[i].id, zones[i].name);
	cli_on_done(&names->wait, e);
}

static void on_principals(void *arg, enum err e, const struct principal *principals, size_t len)
{
	struct names *names = arg;

	e = make_room(names, e, len);
	for (size_t i = 0; e == E_OK && i < len; i++)
		e = take_entry(names->filling, i, principals[i].id, principals[i].name);
	cli_on_done(&names->wait, e);
}

static enum err fill(struct cli *cli, struct names *names, enum table table)
{
	names->wait = (struct cli_wait){0};
	names->filling = &names->tables[table];
	if (table == ACCOUNTS)
		store_account_list(cli->store, on_accounts, names);
	else if (table == ZONES)
		store_zone_list(cli->store, on_zones, names);
	else
		store_principal_list(cli->store, table == TOKENS ? PRINCIPAL_TOKEN : PRINCIPAL_USER,
				     on_principals, names);
	store_wait(cli->store, &names->wait.done);
	return names->wait.e;
}

enum exit_code names_load(struct cli *cli, struct names **ret_names)
{
	struct names *names = calloc(1, sizeof(*names));
	enum err e = names ? E_OK : E_NOMEM;

	for (int table = 0; e == E_OK && table < TABLES; table++)
		e = fill(cli, names, (enum table)table);
	if (e != E_OK) {
		names_free(names);
		return cli_fail(e, "cannot read the names of accounts, zones and callers: %s", err_str(e));
	}
	*ret_names = names;
	return EXIT_CODE_OK;
}

void names_free(struct names *names)
{
	if (!names)
		return;
	for (int table = 0; table < TABLES; table++) {
		for (size_t i = 0; i < names->tables[table].len; i++)
			free(names->tables[table].at[i].name);
		free(names->tables[table].at);
	}
	free(names);
}

/* ---- from the id to the name ---- */

static const char *find_name(const struct entries *entries, const char *id)
{
	for (size_t i = 0; i < entries->len; i++)
		if (!strcmp(entries->at[i].id, id))
			return entries->at[i].name && *entries->at[i].name ? entries->at[i].name : NULL;
	return NULL;
}

const char *names_of_scope(const struct names *names, enum store_scope_kind kind, const char *id)
{
	return find_name(&names->tables[kind == STORE_ACCOUNT ? ACCOUNTS : ZONES], id);
}

const char *names_of_principal(const struct names *names, const char *id)
{
	const char *name = find_name(&names->tables[TOKENS], id);

	return name ? name : find_name(&names->tables[USERS], id);
}

void names_format_scope(const struct names *names, const struct store_scope *scope, struct buf *b)
{
	const char *name = names_of_scope(names, scope->kind, scope->id);

	if (scope->kind == STORE_ZONE)
		buf_put_str(b, "zone ");
	buf_put_str(b, name ? name : scope->id);
}

void names_format_actor(const struct names *names, const char *actor, struct buf *b)
{
	const char *token = find_name(&names->tables[TOKENS], actor);
	const char *user = find_name(&names->tables[USERS], actor);

	if (token)
		buf_printf(b, "token '%s'", token);
	else if (user)
		buf_printf(b, "user %s", user);
	else
		buf_put_str(b, actor);
}

void names_format_actor_whole(const struct names *names, const char *actor, struct buf *b)
{
	names_format_actor(names, actor, b);
	if (names_of_principal(names, actor))
		buf_printf(b, " (%s)", actor);
}

/* ---- from what people say to the id ---- */

/* How many have that name; *found is one of them. */
static size_t count_named(const struct entries *entries, const char *name, const struct entry **found)
{
	size_t count = 0;

	for (size_t i = 0; i < entries->len; i++) {
		if (!entries->at[i].name || !str_equal_ignoring_case(entries->at[i].name, name))
			continue;
		*found = &entries->at[i];
		count++;
	}
	return count;
}

static bool has_id(const struct entries *entries, const char *id)
{
	for (size_t i = 0; i < entries->len; i++)
		if (!strcmp(entries->at[i].id, id))
			return true;
	return false;
}

enum exit_code names_find_scope(const struct names *names, enum store_scope_kind kind, const char *text,
				struct store_scope *ret_scope)
{
	const struct entries *entries = &names->tables[kind == STORE_ACCOUNT ? ACCOUNTS : ZONES];
	const char *noun = output_scope_name(kind);
	const struct entry *found = NULL;
	size_t count = has_id(entries, text) ? 1 : count_named(entries, text, &found);

	if (count == 0)
		return cli_fail(E_NOTFOUND, "no such %s '%s': see 'csrctl %s list'", noun, text, noun);
	if (count > 1)
		return cli_fail(E_EXISTS, "%zu %ss are called '%s': give the id, see 'csrctl %s list'", count,
				noun, text, noun);
	ret_scope->kind = kind;
	if (str_copy(ret_scope->id, sizeof(ret_scope->id), found ? found->id : text) != E_OK)
		return cli_fail(E_BUG, "%s", err_str(E_BUG));
	return EXIT_CODE_OK;
}

enum exit_code names_find_principal(const struct names *names, const char *text, char ret_id[CSR_ID_SIZE])
{
	const struct entry *found = NULL;
	size_t count;

	if (str_is_uuid(text)) { /* also of one that is not in the store any more */
		for (size_t i = 0; i < CSR_ID_SIZE; i++)
			ret_id[i] = str_ascii_lower(text[i]);
		return EXIT_CODE_OK;
	}
	count = count_named(&names->tables[TOKENS], text, &found);
	count += count_named(&names->tables[USERS], text, &found);
	if (count == 0)
		return cli_fail(E_NOTFOUND,
				"no API token and no user is called '%s': see 'csrctl token list' "
				"and 'csrctl user list'",
				text);
	if (count > 1)
		return cli_fail(E_EXISTS, "%zu API tokens and users are called '%s': give the id", count,
				text);
	memcpy(ret_id, found->id, CSR_ID_SIZE);
	return EXIT_CODE_OK;
}
