/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl setup: the first account, and an API token that may write there. */
#include "base/secret.h"
#include "base/str.h"
#include "cli/arg.h"
#include "cli/each.h"
#include "cli/setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT_NAME "first account"
#define TOKEN_NAME "setup"

struct search {
	struct setup *s;
	bool found;
};

/* ---- the account ---- */

/* The one that was named, or any. */
static enum err setup_account_try_account(void *arg, const struct account_record *account)
{
	struct search *search = arg;
	const char *wanted = search->s->account;

	if (search->found || (wanted && strcmp(wanted, account->id) != 0))
		return E_OK;
	memcpy(search->s->account_id, account->id, sizeof(search->s->account_id));
	search->found = true;
	return E_OK;
}

static enum exit_code add_account(struct setup *s)
{
	static char name[] = ACCOUNT_NAME;
	struct account_record account = {.name = name, .csr_quota = STORE_NO_LIMIT};
	struct cli_wait wait = {0};
	enum err e = arg_tag(s->account, account.id);

	if (e != E_OK)
		return cli_fail(e, "cannot make an id: %s", strerror(errno));
	store_account_add(s->cli->store, &account, &s->cli->origin, cli_on_done, &wait);
	store_wait(s->cli->store, &wait.done);
	if (wait.e != E_OK)
		return cli_fail(wait.e, "cannot add the account '%s': %s", account.id, err_str(wait.e));
	memcpy(s->account_id, account.id, sizeof(s->account_id));
	setup_done(s, "added   account %s", s->account_id);
	return EXIT_CODE_OK;
}

static enum exit_code find_or_add_account(struct setup *s)
{
	struct search search = {.s = s};
	enum err e = each_account(s->cli, setup_account_try_account, &search);

	if (e != E_OK)
		return cli_fail(e, "cannot list the accounts: %s", err_str(e));
	if (!search.found)
		return add_account(s);
	setup_done(s, "kept    account %s", s->account_id);
	return EXIT_CODE_OK;
}

/* ---- the API token ---- */

static bool may_write(const struct principal *p, const char *account)
{
	for (size_t i = 0; i < p->grants_len; i++)
		if (p->grants[i].scope.kind == STORE_ACCOUNT && p->grants[i].permission == GRANT_WRITE &&
		    strcmp(p->grants[i].scope.id, account) == 0)
			return true;
	return false;
}

static enum err setup_account_try_token(void *arg, const struct principal *token)
{
	struct search *search = arg;

	if (!token->revoked_us && may_write(token, search->s->account_id))
		search->found = true;
	return E_OK;
}

static enum exit_code add_token(struct setup *s)
{
	static char name[] = TOKEN_NAME;
	struct grant grant = {.scope = {.kind = STORE_ACCOUNT}, .permission = GRANT_WRITE};
	struct principal token = {.kind = PRINCIPAL_TOKEN, .name = name, .grants = &grant, .grants_len = 1};
	char text[CREDENTIAL_TOKEN_SIZE] = "";
	struct cli_wait wait = {0};
	enum err e = credential_make_token(text);

	memcpy(grant.scope.id, s->account_id, sizeof(grant.scope.id));
	if (e == E_OK)
		e = credential_make_uuid(token.id);
	if (e == E_OK)
		e = credential_hash(text, token.secret_hash);
	if (e == E_OK) {
		store_principal_add(s->cli->store, &token, &s->cli->origin, cli_on_done, &wait);
		store_wait(s->cli->store, &wait.done);
		e = wait.e;
	}
	if (e == E_OK) {
		memcpy(s->api_token, text, sizeof(text));
		setup_done(s, "made    API token '" TOKEN_NAME "' for it");
	}
	secret_scrub(text, sizeof(text));
	return e == E_OK ? EXIT_CODE_OK : cli_fail(e, "cannot make an API token: %s", err_str(e));
}

static enum exit_code find_or_add_token(struct setup *s)
{
	struct search search = {.s = s};
	enum err e = each_principal(s->cli, PRINCIPAL_TOKEN, setup_account_try_token, &search);

	if (e != E_OK)
		return cli_fail(e, "cannot list the API tokens: %s", err_str(e));
	if (!search.found)
		return add_token(s);
	setup_done(s,
		   "kept    its API tokens; for another one: "
		   "csrctl token create --name NAME --account %s:write",
		   s->account_id);
	return EXIT_CODE_OK;
}

enum exit_code setup_account(struct setup *s)
{
	enum exit_code code = cli_open_store(s->cli, true);

	if (code == EXIT_CODE_OK)
		code = find_or_add_account(s);
	return code == EXIT_CODE_OK ? find_or_add_token(s) : code;
}
