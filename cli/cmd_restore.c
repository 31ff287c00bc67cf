/* SPDX-License-Identifier: Apache-2.0 */
/* csrctl restore: puts a backup in the place of the store while no csrd runs on it. */
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/digest.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/summary.h"
#include "store/upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AUDIT_PATH_MAX 1024

static const char next_steps[] = "start the signer, run 'csrctl verify --full', then start csrd";

static bool cmd_restore_go_on(void *arg, enum upkeep_phase phase, uint64_t done, uint64_t total)
{
	(void)arg;
	return progress_show(summary_phase_name(phase), done, total);
}

/* A database that somebody writes is more than its one file. */
static bool cmd_restore_has_log(const char *path)
{
	char log[PATH_MAX];
	struct stat st;

	return snprintf(log, sizeof(log), "%s-wal", path) < (int)sizeof(log) && stat(log, &st) == 0 &&
	       st.st_size > 0;
}

/* With the rights of the caller: the user of the service need not be able to read it. */
static enum exit_code open_copy(const char *path, int *ret_fd)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0) {
		enum exit_code code = cli_fail(E_NOTFOUND, "cannot open '%s': %s", path, strerror(errno));

		fd_close(&fd);
		return code;
	}
	if (!S_ISREG(st.st_mode) || cmd_restore_has_log(path)) {
		fd_close(&fd);
		return cli_fail(E_INVAL, "'%s' is %s", path,
				S_ISREG(st.st_mode) ? "a database in use, with a log beside it: take a copy "
						      "by 'csrctl backup'"
						    : "not a regular file");
	}
	*ret_fd = fd;
	return EXIT_CODE_OK;
}

/* What nobody may take for settled: the backup does not know how they ended. */
static void print_open(uint64_t open)
{
	char text[160];

	if (open == 0)
		return;
	snprintf(text, sizeof(text),
		 "%llu CSRs were being made or deleted at the time of the backup; their keys are kept, and "
		 "'csrctl verify' names them",
		 (unsigned long long)open);
	output_fact("set aside", text);
}

static enum exit_code cmd_restore_print(const struct cli *cli, const char *from, const char *sha256,
					const char *kept, const struct upkeep_summary *summary)
{
	uint64_t open = summary->csrs[CSR_PENDING] + summary->csrs[CSR_DELETING];
	struct output_json j;

	if (cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "store", cli_store_name(cli));
		json_put_text_member(&j.w, "file", from);
		json_put_text_member(&j.w, "sha256", sha256);
		output_json_text_opt(&j.w, "kept", kept);
		json_put_int_member(&j.w, "bytes", (int64_t)summary->bytes);
		summary_put_json(&j.w, summary);
		json_put_int_member(&j.w, "set_aside", (int64_t)open);
		json_put_text_member(&j.w, "next", next_steps);
		return output_json_end(&j);
	}
	output_fact("store", cli_store_name(cli));
	output_fact("restored from", from);
	output_fact("sha256", sha256);
	output_fact("old store kept", kept ? kept : "there was none");
	summary_print(summary);
	print_open(open);
	output_fact("next", next_steps);
	return EXIT_CODE_OK;
}

static enum exit_code cmd_restore_failed(const struct cli *cli, const char *path, enum err e)
{
	const char *url = cli_store_name(cli);

	if (progress_is_interrupted() && e == E_TIMEOUT)
		return cli_fail(E_DENIED, "interrupted: nothing was changed");
	switch (e) {
	case E_EXISTS:
		cli_note("a csrd runs on the store at '%s': stop it first (systemctl stop csrd)", url);
		return EXIT_CODE_IN_USE;
	case E_INVAL:
	case E_STORE:
		return cli_fail(E_STORE, "'%s' cannot be restored: the store was not changed", path);
	default:
		return cli_fail(e, "cannot restore '%s' to '%s': %s", path, url, err_str(e));
	}
}

static enum exit_code restore(struct cli *cli, const char *path, int fd)
{
	struct upkeep_restore in = {.url = cli->config->store.url,
				    .fd = fd,
				    .name = path,
				    .origin = cli->origin,
				    .watch = {.go_on = cmd_restore_go_on}};
	struct upkeep_summary summary = {0};
	char sha256[DIGEST_TEXT_SIZE], detail[AUDIT_PATH_MAX + 100];
	char *kept = NULL;
	enum exit_code code;
	enum err e = digest_of_file(fd, sha256);

	if (e != E_OK)
		return cli_fail(e, "cannot read '%s': %s", path, strerror(errno));
	snprintf(detail, sizeof(detail), "sha256 %s, from '%.*s'", sha256, AUDIT_PATH_MAX, path);
	in.origin.detail = detail;
	code = cli_become_store_owner(cli);
	if (code != EXIT_CODE_OK)
		return code;
	e = upkeep_restore(&in, &summary, &kept);
	progress_clear();
	code = e == E_OK ? cmd_restore_print(cli, path, sha256, kept, &summary)
			 : cmd_restore_failed(cli, path, e);
	free(kept);
	return code;
}

enum exit_code cmd_restore(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_OPTIONS};
	enum exit_code code;
	int fd;

	if (cli_getopt(cli, argc, argv, CLI_SHORT_OPTIONS, options) != -1)
		return EXIT_CODE_USAGE;
	code = cli_arguments(cli, argc, argv, 1, 1);
	if (code == EXIT_CODE_OK)
		code = cli_open_config(cli);
	if (code != EXIT_CODE_OK)
		return code;
	code = open_copy(argv[optind], &fd);
	if (code != EXIT_CODE_OK)
		return code;
	progress_begin();
	code = restore(cli, argv[optind], fd);
	fd_close(&fd);
	return code;
}
