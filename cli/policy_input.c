/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of csrctl policy are given. */
#include "cli/policy_input.h"

#include "base/fd.h"
#include "base/str.h"
#include "cli/names.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum exit_code policy_target_open(struct cli *cli, struct policy_target *target)
{
	enum store_scope_kind kind = target->zone ? STORE_ZONE : STORE_ACCOUNT;
	struct names *names = NULL;
	enum exit_code code = cli_open_store(cli, false);

	if (code == EXIT_CODE_OK)
		code = names_load(cli, &names);
	if (code == EXIT_CODE_OK)
		code = names_find_scope(names, kind, target->zone ? target->zone : target->account,
					&target->scope);
	names_free(names);
	return code;
}

/* ---- files ---- */

static enum exit_code policy_input_take(int fd, const char *name, struct buf *text)
{
	char piece[4096];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(E_IO, "cannot read '%s': %s", name, strerror(errno));
		buf_put(text, piece, (size_t)n);
		if (buf_status(text) == E_LIMIT)
			return cli_fail(E_INVAL, "'%s' has more than %zu bytes", name, text->max);
		if (buf_status(text) != E_OK)
			return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	}
	return EXIT_CODE_OK;
}

enum exit_code policy_input_read(const char *name, struct buf *text)
{
	enum exit_code code;
	int fd;

	if (!strcmp(name, "-"))
		return policy_input_take(STDIN_FILENO, "standard input", text);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return cli_fail(E_INVAL, "cannot open '%s': %s", name, strerror(errno));
	code = policy_input_take(fd, name, text);
	fd_close(&fd);
	return code;
}

enum exit_code policy_input_parse(const char *name, const struct buf *text, struct policy **ret_policy)
{
	struct problem_list problems = {0};
	enum err e = policy_read(buf_text(text), text->len, &problems, ret_policy);
	enum exit_code code = EXIT_CODE_OK;

	for (size_t i = 0; e == E_INVAL && i < problems.len; i++)
		cli_note("%s: %s", name, problems.items[i].message);
	if (e == E_INVAL)
		code = cli_fail(e, "the policy in '%s' is not accepted: see POLICIES in csrctl(1)", name);
	else if (e != E_OK)
		code = cli_fail(e, "%s", err_str(e));
	problem_list_release(&problems);
	return code;
}

/* ---- the store's ---- */

struct policy_input_fetch {
	struct policy_record found;
	struct cli_wait wait;
};

static void policy_input_on_policy(void *arg, enum err e, const struct policy_record *policy)
{
	struct policy_input_fetch *fetch = arg;

	if (e == E_OK) {
		fetch->found = *policy;
		fetch->found.made_by = NULL;
		fetch->found.document = NULL;
		if (!str_dup_opt(policy->made_by, &fetch->found.made_by) ||
		    !str_dup_opt(policy->document, &fetch->found.document))
			e = E_NOMEM;
	}
	cli_on_done(&fetch->wait, e);
}

enum err policy_input_fetch(struct cli *cli, const struct store_scope *scope, int64_t version,
			    struct policy_record *ret_policy)
{
	struct policy_input_fetch fetch = {.found = {.version = 0}};

	store_policy_get(cli->store, scope, version, policy_input_on_policy, &fetch);
	store_wait(cli->store, &fetch.wait.done);
	if (fetch.wait.e == E_OK)
		*ret_policy = fetch.found;
	else
		policy_record_release(&fetch.found);
	return fetch.wait.e;
}
