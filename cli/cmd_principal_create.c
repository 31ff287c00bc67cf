/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl token create, csrctl user create, csrctl principal add. */
#include "api/credential.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/str.h"
#include "cli/arg.h"
#include "cli/arg_identity.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/principal_words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_SIZE CREDENTIAL_TOKEN_SIZE /* the longer of the two */

#define GRANTS_MAX 256
#define KNOWN_BY_BYTES ((size_t)64 * 1024) /* for the audit trail */

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
		return cli_usage(cli, "--%s '%s': ID or NAME, optionally followed by :read or :write",
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
		return cli_usage(cli, "--%s '%s': 90d, 2027-01-31, 2027-01-31T12:00:00Z or 'never'", option,
				 text);
	return EXIT_CODE_OK;
}

static enum exit_code cmd_principal_create_set_name(struct cli *cli, struct principal *p, const char *name)
{
	if (p->kind == PRINCIPAL_USER && !arg_email_is_valid(name))
		return cli_usage(cli, "--email '%s' is not an e-mail address", name);
	if (!arg_name_is_valid(name))
		return cli_usage(cli, "--name: " ARG_NAME_RULE);
	free(p->name);
	p->name = NULL;
	return str_dup_opt(name, &p->name) ? EXIT_CODE_OK : cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
}

static enum exit_code add_identity(const struct cli *cli, struct principal *p, int option, const char *text)
{
	struct identity *identities = reallocarray(p->identities, p->identities_len + 1, sizeof(*identities));
	enum exit_code code;

	if (!identities)
		return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	p->identities = identities;
	code = arg_identity(cli, option, text, &identities[p->identities_len]);
	if (code == EXIT_CODE_OK)
		p->identities_len++;
	return code;
}

static enum exit_code cmd_principal_create_add_network(struct cli *cli, struct principal *p, const char *text)
{
	struct address_net *net = &p->networks[p->networks_len];
	enum exit_code code = EXIT_CODE_OK;
	struct buf why;

	if (p->networks_len == PRINCIPAL_NETWORKS_MAX)
		return cli_usage(cli, "more than %d networks: --from may be given %d times",
				 PRINCIPAL_NETWORKS_MAX, PRINCIPAL_NETWORKS_MAX);
	buf_init(&why, 512);
	if (principal_network_parse(text, &why, net) != E_OK)
		code = cli_usage(cli, "--from: %s, or unix", buf_text(&why));
	else
		p->networks_len++;
	buf_release(&why);
	return code;
}

/* Each option once it is known. */
static enum exit_code cmd_principal_create_read_option(struct cli *cli, struct creation *creation, int c)
{
	struct principal *p = &creation->p;

	if (arg_identity_is(c))
		return add_identity(cli, p, c, optarg);
	switch (c) {
	case 'n':
		return cmd_principal_create_set_name(cli, p, optarg);
	case 'a':
		return add_wish(cli, creation, STORE_ACCOUNT, optarg);
	case 'z':
		return add_wish(cli, creation, STORE_ZONE, optarg);
	case 'e':
		return set_time(cli, "expires", optarg, &p->expires_us);
	case 'b':
		return set_time(cli, "not-before", optarg, &p->not_before_us);
	case 'f':
		return cmd_principal_create_add_network(cli, p, optarg);
	default:
		return EXIT_CODE_USAGE;
	}
}

static enum exit_code read_create(struct cli *cli, int argc, char **argv, const struct option *options,
				  struct creation *creation)
{
	const struct principal *p = &creation->p;
	const struct principal_words *kind = principal_words_of(p->kind);
	int64_t now_us = clock_wall_us();
	enum exit_code code;
	int c;

	while ((c = cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		code = cmd_principal_create_read_option(cli, creation, c);
		if (code != EXIT_CODE_OK)
			return code;
	}
	code = cli_arguments(cli, argc, argv, 0, 0);
	if (code != EXIT_CODE_OK)
		return code;
	if (!p->name)
		return cli_usage(cli, "%s %s: --%s is missing", kind->noun, cli->command->verb, kind->name);
	if (creation->wishes_len == 0)
		return cli_usage(cli, "%s %s: at least one --account or --zone is needed", kind->noun,
				 cli->command->verb);
	if (!kind->secret && p->identities_len == 0)
		return cli_usage(cli,
				 "principal add: at least one --cert-san, --cert-subject or --unix-user is "
				 "needed; csrctl token create makes one with an API token");
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

static enum exit_code print_created(const struct cli *cli, const struct principal_words *kind,
				    const struct names *names, const struct principal *p, const char *secret)
{
	struct output_json j;
	struct buf grants;
	enum exit_code code = EXIT_CODE_OK;

	if (cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "id", p->id);
		json_put_text_member(&j.w, kind->name, p->name);
		if (kind->secret)
			json_put_text_member(&j.w, kind->secret, secret);
		principal_words_put_members(&j.w, names, p);
		code = output_json_end(&j);
	} else {
		buf_init(&grants, PRINCIPAL_WORDS_GRANTS_MAX);
		names_format_grants(names, p, &grants);
		output_fact("id", p->id);
		output_fact(kind->name, p->name);
		if (kind->secret)
			output_fact(kind->secret, secret);
		output_fact("grants", buf_text(&grants));
		buf_reset(&grants);
		principal_words_format_known_by(p, &grants);
		output_fact("known by", buf_text(&grants));
		buf_reset(&grants);
		principal_networks_format(p, &grants);
		output_fact("from", buf_text(&grants));
		output_fact_time("not before", p->not_before_us, NULL);
		output_fact_time("expires", p->expires_us, "never");
		buf_release(&grants);
	}
	if (kind->secret)
		cli_note("the %s is shown only this once: the store keeps only its hash", kind->secret);
	return code;
}

static enum exit_code add_principal(struct cli *cli, const struct principal_words *kind, struct principal *p)
{
	struct audit_origin origin = cli->origin;
	struct cli_wait wait = {0};
	struct buf known_by;

	buf_init(&known_by, KNOWN_BY_BYTES);
	principal_words_format_known_by(p, &known_by);
	origin.detail = p->identities_len > 0 ? buf_text(&known_by) : NULL;
	store_principal_add(cli->store, p, &origin, cli_on_done, &wait);
	store_wait(cli->store, &wait.done);
	buf_release(&known_by);
	if (wait.e == E_EXISTS && p->identities_len > 0)
		return cli_fail(
		    wait.e,
		    "cannot add the %s '%s': what it is to be known by is bound already, or given "
		    "twice, or its name exists: see 'csrctl principal list'",
		    kind->noun, p->name);
	if (wait.e == E_EXISTS && p->kind == PRINCIPAL_USER)
		return cli_fail(wait.e, "user '%s' already exists: revoke it first", p->name);
	if (wait.e != E_OK)
		return cli_fail(wait.e, "cannot add the %s '%s': %s", kind->noun, p->name, err_str(wait.e));
	return EXIT_CODE_OK;
}

static enum err make_secret(struct principal *p, char secret[SECRET_SIZE])
{
	enum err e = credential_make_uuid(p->id);

	if (p->kind == PRINCIPAL_PEER)
		return e;
	if (e == E_OK)
		e = p->kind == PRINCIPAL_TOKEN ? credential_make_token(secret) : credential_make_key(secret);
	return e == E_OK ? credential_hash(secret, p->secret_hash) : e;
}

static enum exit_code cmd_principal_create_of_kind(struct cli *cli, int argc, char **argv,
						   const struct principal_words *kind,
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
		code = cli_fail(e, "cannot make a %s: %s", kind->secret ? kind->secret : "principal",
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
	    {"not-before", required_argument, NULL, 'b'}, ARG_IDENTITY_OPTIONS,
	    {"from", required_argument, NULL, 'f'},       CLI_OPTIONS,
	};

	return cmd_principal_create_of_kind(cli, argc, argv, &principal_words_token, options);
}

enum exit_code cmd_principal_add(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
	    {"name", required_argument, NULL, 'n'},
	    {"account", required_argument, NULL, 'a'},
	    {"zone", required_argument, NULL, 'z'},
	    {"expires", required_argument, NULL, 'e'},
	    {"not-before", required_argument, NULL, 'b'},
	    ARG_IDENTITY_OPTIONS,
	    CLI_OPTIONS,
	};

	return cmd_principal_create_of_kind(cli, argc, argv, &principal_words_peer, options);
}

enum exit_code cmd_user_create(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
	    {"email", required_argument, NULL, 'n'},      {"account", required_argument, NULL, 'a'},
	    {"zone", required_argument, NULL, 'z'},       {"expires", required_argument, NULL, 'e'},
	    {"not-before", required_argument, NULL, 'b'}, ARG_IDENTITY_OPTIONS,
	    {"from", required_argument, NULL, 'f'},       CLI_OPTIONS,
	};

	return cmd_principal_create_of_kind(cli, argc, argv, &principal_words_user, options);
}
