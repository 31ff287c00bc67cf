/* SPDX-License-Identifier: Apache-2.0 */
/* The words that people know principals, accounts and zones by. */
#include "cli/names.h"

#include "base/str.h"
#include "base/uuid.h"
#include "cli/each.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX_CHARS_MIN 4

struct entry {
	char id[CSR_ID_SIZE]; /* of all kinds: a tag is shorter */
	char *name;
};

struct entries {
	struct entry *at;
	size_t len;
};

enum table { ACCOUNTS, ZONES, TOKENS, USERS, PEERS, TABLES };

struct names {
	struct entries tables[TABLES];
};

/* ---- loading ---- */

/* Room doubles whenever len is a power of two. */
static enum err names_make_room(struct entries *entries)
{
	if ((entries->len & (entries->len - 1)) != 0)
		return E_OK;
	struct entry *at = reallocarray(entries->at, entries->len == 0 ? 1 : 2 * entries->len, sizeof(*at));
	if (!at)
		return E_NOMEM;
	entries->at = at;
	return E_OK;
}

static enum err names_take(struct entries *entries, const char *id, const char *name)
{
	struct entry entry = {.name = NULL};
	enum err e = names_make_room(entries);

	if (e == E_OK)
		e = str_copy(entry.id, sizeof(entry.id), id);
	if (e == E_OK && !str_dup_opt(name, &entry.name))
		e = E_NOMEM;
	if (e == E_OK)
		entries->at[entries->len++] = entry;
	return e;
}

static enum err names_take_account(void *arg, const struct account_record *account)
{
	return names_take(arg, account->id, account->name);
}

static enum err names_take_zone(void *arg, const struct zone_record *zone)
{
	return names_take(arg, zone->id, zone->name);
}

static enum err names_take_principal(void *arg, const struct principal *principal)
{
	return names_take(arg, principal->id, principal->name);
}

static int names_compare(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

/* By id, as find_name wants it. */
static enum err names_fill(struct cli *cli, struct names *names, enum table table)
{
	struct entries *entries = &names->tables[table];
	enum err e = E_BUG;

	switch (table) {
	case ACCOUNTS:
		e = each_account(cli, names_take_account, entries);
		break;
	case ZONES:
		e = each_zone(cli, names_take_zone, entries);
		break;
	case TOKENS:
		e = each_principal(cli, PRINCIPAL_TOKEN, names_take_principal, entries);
		break;
	case USERS:
		e = each_principal(cli, PRINCIPAL_USER, names_take_principal, entries);
		break;
	case PEERS:
		e = each_principal(cli, PRINCIPAL_PEER, names_take_principal, entries);
		break;
	case TABLES:
		break;
	}
	if (entries->len > 0)
		qsort(entries->at, entries->len, sizeof(*entries->at), names_compare);
	return e;
}

enum exit_code names_load(struct cli *cli, struct names **ret_names)
{
	struct names *names = calloc(1, sizeof(*names));
	enum err e = names ? E_OK : E_NOMEM;

	for (int table = 0; e == E_OK && table < TABLES; table++)
		e = names_fill(cli, names, (enum table)table);
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
	struct entry wanted = {.name = NULL};
	const struct entry *found;

	if (entries->len == 0 || str_copy(wanted.id, sizeof(wanted.id), id) != E_OK)
		return NULL;
	found = bsearch(&wanted, entries->at, entries->len, sizeof(*entries->at), names_compare);
	return found && found->name && *found->name ? found->name : NULL;
}

const char *names_of_scope(const struct names *names, enum store_scope_kind kind, const char *id)
{
	return find_name(&names->tables[kind == STORE_ACCOUNT ? ACCOUNTS : ZONES], id);
}

const char *names_of_principal(const struct names *names, const char *id)
{
	const char *name = find_name(&names->tables[TOKENS], id);

	if (!name)
		name = find_name(&names->tables[USERS], id);
	return name ? name : find_name(&names->tables[PEERS], id);
}

void names_format_scope(const struct names *names, const struct store_scope *scope, struct buf *b)
{
	const char *name = names_of_scope(names, scope->kind, scope->id);

	if (scope->kind == STORE_ZONE)
		buf_put_str(b, "zone ");
	buf_put_str(b, name ? name : scope->id);
}

void names_format_grants(const struct names *names, const struct principal *p, struct buf *b)
{
	for (size_t i = 0; i < p->grants_len; i++) {
		buf_put_str(b, i > 0 ? ", " : "");
		names_format_scope(names, &p->grants[i].scope, b);
		buf_printf(b, ":%s", p->grants[i].permission == GRANT_WRITE ? "write" : "read");
	}
}

void names_format_actor(const struct names *names, const char *actor, struct buf *b)
{
	const char *token = find_name(&names->tables[TOKENS], actor);
	const char *user = find_name(&names->tables[USERS], actor);
	const char *peer = find_name(&names->tables[PEERS], actor);

	if (peer)
		buf_printf(b, "principal '%s'", peer);
	else if (token)
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

/* How one of several tables is meant by a text.  An id goes before a name, and that before the start of an
 * id. */
struct meant {
	const struct entry *entry; /* one of them */
	size_t count;
	const char *how;
};

static bool is_id(const struct entry *entry, const char *text)
{
	return strcmp(entry->id, text) == 0 || (uuid_is_valid(entry->id) && strcasecmp(entry->id, text) == 0);
}

static bool is_name(const struct entry *entry, const char *text)
{
	return entry->name && str_equal_ignoring_case(entry->name, text);
}

/* As lists show ids on a narrow terminal. */
static bool is_start_of_id(const struct entry *entry, const char *text)
{
	size_t len = strlen(text);

	return len >= PREFIX_CHARS_MIN && (uuid_is_valid(entry->id) ? strncasecmp(entry->id, text, len)
								    : strncmp(entry->id, text, len)) == 0;
}

static struct meant find_meant(const struct names *names, enum table first, enum table last, const char *text)
{
	static const struct {
		bool (*fits)(const struct entry *entry, const char *text);
		const char *how;
	} ways[] = {
	    {is_id, "have the id"}, {is_name, "are called"}, {is_start_of_id, "have an id that begins with"}};
	struct meant meant = {0};

	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]) && meant.count == 0; w++) {
		meant.how = ways[w].how;
		for (size_t t = first; t <= last; t++) {
			for (size_t i = 0; i < names->tables[t].len; i++) {
				if (!ways[w].fits(&names->tables[t].at[i], text))
					continue;
				meant.entry = &names->tables[t].at[i];
				if (w ==
				    0) { /* an account and a zone of one id are one object to the trail */
					meant.count = 1;
					return meant;
				}
				meant.count++;
			}
		}
	}
	return meant;
}

enum exit_code names_find_scope(const struct names *names, enum store_scope_kind kind, const char *text,
				struct store_scope *ret_scope)
{
	enum table table = kind == STORE_ACCOUNT ? ACCOUNTS : ZONES;
	const char *noun = output_scope_name(kind);
	struct meant meant = find_meant(names, table, table, text);

	if (meant.count == 0)
		return cli_fail(E_NOTFOUND, "no such %s '%s': see 'csrctl %s list'", noun, text, noun);
	if (meant.count > 1)
		return cli_fail(E_EXISTS, "%zu %ss %s '%s': give the id, see 'csrctl %s list'", meant.count,
				noun, meant.how, text, noun);
	ret_scope->kind = kind;
	if (str_copy(ret_scope->id, sizeof(ret_scope->id), meant.entry->id) != E_OK)
		return cli_fail(E_BUG, "%s", err_str(E_BUG));
	return EXIT_CODE_OK;
}

enum exit_code names_find_principal(const struct names *names, const char *text, char ret_id[CSR_ID_SIZE])
{
	struct meant meant = find_meant(names, TOKENS, PEERS, text);

	if (meant.count == 1) {
		memcpy(ret_id, meant.entry->id, CSR_ID_SIZE);
		return EXIT_CODE_OK;
	}
	if (meant.count > 1)
		return cli_fail(E_EXISTS, "%zu principals %s '%s': give the id", meant.count, meant.how,
				text);
	if (!uuid_parse(text, ret_id)) /* of one that is not in the store any more */
		return cli_fail(E_NOTFOUND,
				"no API token, user or other principal is called '%s': see 'csrctl "
				"principal list'",
				text);
	return EXIT_CODE_OK;
}

enum exit_code names_find_object(const struct names *names, const char *text, char ret_id[CSR_ID_SIZE])
{
	struct meant meant = find_meant(names, ACCOUNTS, PEERS, text);

	if (meant.count > 1)
		return cli_fail(E_EXISTS, "%zu accounts, zones and principals %s '%s': give the id",
				meant.count, meant.how, text);
	if (meant.count == 1) {
		memcpy(ret_id, meant.entry->id, CSR_ID_SIZE);
		return EXIT_CODE_OK;
	}
	if (uuid_parse(text, ret_id))
		return EXIT_CODE_OK;
	if (strcmp(text, "store") != 0)
		return cli_fail(E_NOTFOUND,
				"--object '%s': no account, zone or principal is called so, and it is "
				"neither the full id of a CSR nor 'store'",
				text);
	memcpy(ret_id, text, strlen(text) + 1);
	return EXIT_CODE_OK;
}
