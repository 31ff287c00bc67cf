/* SPDX-License-Identifier: Apache-2.0 */
/* What people say a principal is known by. */
#include "cli/arg_identity.h"

#include "base/buf.h"
#include "base/str.h"
#include "tls/tls_name.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

#define WHY_BYTES 1024

bool arg_identity_is(int option)
{
	return option == ARG_IDENTITY_SAN || option == ARG_IDENTITY_SUBJECT || option == ARG_IDENTITY_USER;
}

static enum exit_code arg_identity_san(const struct cli *cli, const char *text, enum identity_kind *ret_kind,
				       struct buf *normal)
{
	static const enum identity_kind kinds[] = {IDENTITY_URI, IDENTITY_DNS, IDENTITY_EMAIL};
	size_t type_len = strcspn(text, ":");

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *name = identity_kind_name(kinds[i]);

		if (text[type_len] != ':' || strlen(name) != type_len || strncmp(text, name, type_len) != 0)
			continue;
		if (identity_put_normal(normal, kinds[i], text + type_len + 1) != E_OK)
			break;
		*ret_kind = kinds[i];
		return EXIT_CODE_OK;
	}
	return cli_usage(cli,
			 "--cert-san '%s': uri:URI, such as uri:spiffe://example.org/build, dns:NAME (no "
			 "wildcard), or email:ADDRESS",
			 text);
}

static enum exit_code arg_identity_subject(const struct cli *cli, const char *text, struct buf *normal)
{
	struct buf why;
	enum exit_code code = EXIT_CODE_OK;
	enum err e;

	buf_init(&why, WHY_BYTES);
	e = tls_name_parse_subject(text, normal, &why);
	if (e == E_INVAL)
		code = cli_usage(cli, "--cert-subject '%s': %s", text, buf_text(&why));
	else if (e != E_OK)
		code = cli_fail(e, "--cert-subject: %s", err_str(e));
	buf_release(&why);
	return code;
}

/* A name is that of a user now: the number is what the kernel tells csrd. */
static enum exit_code arg_identity_user(const struct cli *cli, const char *text, struct buf *normal)
{
	const struct passwd *user = str_ascii_is_digit(text[0]) ? NULL : getpwnam(text);
	uint64_t uid = user ? user->pw_uid : 0;

	if (!user && str_parse_u64(text, UINT32_MAX - 1, &uid) != E_OK)
		return cli_usage(cli, "--unix-user '%s': no such user; a name or a number is accepted", text);
	if (identity_uid_is_nobody((uint32_t)uid))
		return cli_usage(
		    cli,
		    "--unix-user '%s': the kernel shows that one for whoever has no number on this "
		    "machine, as in a container with users of its own; use another user",
		    text);
	buf_printf(normal, "%llu", (unsigned long long)uid);
	return EXIT_CODE_OK;
}

enum exit_code arg_identity(const struct cli *cli, int option, const char *text,
			    struct identity *ret_identity)
{
	struct identity identity = {.kind = IDENTITY_UNIX_UID};
	struct buf normal;
	enum exit_code code;

	buf_init(&normal, IDENTITY_BYTES_MAX);
	if (option == ARG_IDENTITY_SAN) {
		code = arg_identity_san(cli, text, &identity.kind, &normal);
	} else if (option == ARG_IDENTITY_SUBJECT) {
		identity.kind = IDENTITY_SUBJECT;
		code = arg_identity_subject(cli, text, &normal);
	} else {
		code = arg_identity_user(cli, text, &normal);
	}
	if (code == EXIT_CODE_OK) {
		identity.value = buf_status(&normal) == E_OK ? strdup(buf_text(&normal)) : NULL;
		if (identity.value)
			*ret_identity = identity;
		else
			code = cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	}
	buf_release(&normal);
	return code;
}
