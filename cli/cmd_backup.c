/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csrctl backup: a copy of the store while csrd runs.
 *
 * Two processes: one reads the store as the user that it belongs to, for good;
 * the other keeps the rights of the caller for the folder that the backup goes
 * to, and never opens a file in a folder of that user.
 */
#include "base/clock.h"
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
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AUDIT_PATH_MAX 1024

struct backup {
	struct cli *cli;
	bool force;
	bool to_stdout;
	char path[PATH_MAX];
	char folder[PATH_MAX];
	char temporary[PATH_MAX + 16]; /* "": there is none */
	int fd;
	uint64_t started_ms;
};

/* What the reading process tells the other one. */
struct result {
	struct upkeep_summary summary;
	char sha256[DIGEST_TEXT_SIZE];
};

static bool cmd_backup_go_on(void *arg, enum upkeep_phase phase, uint64_t done, uint64_t total)
{
	(void)arg;
	return progress_show(summary_phase_name(phase), done, total);
}

/* ---- the reading process ---- */

/* Before the backup gets its name: one that the audit trail does not know must not be there. */
static enum exit_code note(struct backup *b, const struct result *result)
{
	char detail[AUDIT_PATH_MAX + 200];
	struct cli_wait wait = {0};
	enum exit_code code = cli_open_store(b->cli, false);

	if (code != EXIT_CODE_OK)
		return code;
	snprintf(detail, sizeof(detail), "%" PRIu64 " bytes, sha256 %s, to '%.*s'", result->summary.bytes,
		 result->sha256, AUDIT_PATH_MAX, b->path);
	b->cli->origin.detail = detail;
	store_note_backup(b->cli->store, &b->cli->origin, cli_on_done, &wait);
	store_wait(b->cli->store, &wait.done);
	b->cli->origin.detail = NULL;
	if (wait.e != E_OK)
		return cli_fail(wait.e, "cannot write the audit trail: %s", err_str(wait.e));
	return EXIT_CODE_OK;
}

static enum exit_code read_store(struct backup *b, struct result *result)
{
	const struct upkeep_watch watch = {.go_on = cmd_backup_go_on};
	enum exit_code code = cli_become_store_owner(b->cli);
	enum err e;

	if (code != EXIT_CODE_OK)
		return code;
	e = upkeep_backup(b->cli->config->store.url, b->fd, &watch, &result->summary);
	progress_clear();
	if (progress_is_interrupted())
		return cli_fail(E_DENIED, "interrupted: no backup was made");
	if (e != E_OK)
		return cli_store_failed(b->cli, e, "back up");
	e = digest_of_file(b->fd, result->sha256);
	if (e != E_OK)
		return cli_fail(e, "cannot read the backup: %s", strerror(errno));
	return note(b, result);
}

static enum exit_code run_reader(struct backup *b, int pipe_fd)
{
	struct result result;
	enum exit_code code;

	memset(&result, 0, sizeof(result));
	code = read_store(b, &result);
	if (code == EXIT_CODE_OK && fd_write_all(pipe_fd, &result, sizeof(result)) != E_OK)
		code = EXIT_CODE_SYSTEM;
	store_close(b->cli->store);
	b->cli->store = NULL;
	return code;
}

/* ---- the other process ---- */

static volatile pid_t reader_pid; /* 0: it ended */

static void hand_on(int number)
{
	if (reader_pid > 0)
		kill(reader_pid, number);
}

/* Signals from the terminal reach both; one that comes to us alone is handed on.  We end when it does. */
static void hand_signals_on(pid_t reader)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = hand_on, .sa_flags = SA_RESTART};

	reader_pid = reader;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	if (progress_is_interrupted()) /* before that */
		kill(reader, SIGTERM);
}

static enum exit_code cmd_backup_wait_for(pid_t reader)
{
	int status;

	while (waitpid(reader, &status, 0) < 0)
		if (errno != EINTR)
			return cli_fail(E_IO, "cannot wait for the reading process: %s", strerror(errno));
	reader_pid = 0;
	if (WIFEXITED(status))
		return (enum exit_code)WEXITSTATUS(status);
	return cli_fail(E_BUG, "the reading process was ended by signal %d", WTERMSIG(status));
}

static bool take_result(int fd, struct result *result)
{
	size_t len = 0;

	while (len < sizeof(*result)) {
		ssize_t n = read(fd, (char *)result + len, sizeof(*result) - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		len += (size_t)n;
	}
	return true;
}

static enum exit_code read_apart(struct backup *b, struct result *ret_result)
{
	int ends[2];
	enum exit_code code;
	pid_t reader;
	bool taken;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return cli_fail(E_IO, "cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	reader = fork();
	if (reader == 0) {
		fd_close(&ends[0]);
		_exit((int)run_reader(b, ends[1]));
	}
	fd_close(&ends[1]);
	if (reader < 0) {
		fd_close(&ends[0]);
		return cli_fail(E_IO, "cannot start a process: %s", strerror(errno));
	}
	hand_signals_on(reader);
	taken = take_result(ends[0], ret_result);
	fd_close(&ends[0]);
	code = cmd_backup_wait_for(reader);
	if (code == EXIT_CODE_OK && !taken)
		return cli_fail(E_BUG, "the reading process sent nothing");
	return code;
}

#define TO_STDOUT "standard output"
#define COPY_BYTES 65536

/* A file without a name, so that nothing is sent before all of it was checked. */
static enum exit_code make_unnamed(struct backup *b)
{
	const char *folder = getenv("TMPDIR");

	if (isatty(STDOUT_FILENO))
		return cli_usage(b->cli, "backup -: standard output is a terminal");
	if (!folder || folder[0] != '/')
		folder = "/var/tmp";
	snprintf(b->path, sizeof(b->path), TO_STDOUT);
	b->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (b->fd >= 0)
		return EXIT_CODE_OK;
	return cli_fail(E_IO, "cannot make a file in '%s': %s (set TMPDIR=FOLDER to use another one)", folder,
			strerror(errno));
}

static enum exit_code send_it(const struct backup *b)
{
	char block[COPY_BYTES];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(b->fd, block, sizeof(block), at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(E_IO, "cannot read the backup: %s", strerror(errno));
		if (progress_is_interrupted() || fd_write_all(STDOUT_FILENO, block, (size_t)n) != E_OK)
			return cli_fail(E_IO, "the backup was cut short on its way to standard output: %s",
					progress_is_interrupted() ? "interrupted" : strerror(errno));
		at += n;
	}
	return EXIT_CODE_OK;
}

/* FILE, or a name of the moment in DIR. */
static enum exit_code find_place(struct backup *b, const char *argument)
{
	time_t now = (time_t)(clock_wall_us() / 1000000);
	char stamp[40] = "";
	struct stat st;
	struct tm utc;
	char *slash;
	int len;

	if (stat(argument, &st) == 0 && S_ISDIR(st.st_mode) && gmtime_r(&now, &utc))
		strftime(stamp, sizeof(stamp), "/csrd-%Y%m%dT%H%M%SZ.db", &utc);
	len = snprintf(b->path, sizeof(b->path), "%s%s", argument,
		       stamp + (stamp[0] && argument[strlen(argument) - 1] == '/'));
	if (len < 1 || (size_t)len >= sizeof(b->path) || b->path[len - 1] == '/')
		return cli_fail(E_INVAL, "'%s' is neither a folder nor the name of a file", argument);
	memcpy(b->folder, b->path, sizeof(b->folder));
	slash = strrchr(b->folder, '/');
	if (slash)
		slash[slash == b->folder] = '\0';
	else
		memcpy(b->folder, ".", 2);
	if (!b->force && lstat(b->path, &st) == 0)
		return cli_fail(E_EXISTS, "'%s' exists already: --force replaces it", b->path);
	return EXIT_CODE_OK;
}

static enum exit_code make_temporary(struct backup *b)
{
	snprintf(b->temporary, sizeof(b->temporary), "%s.XXXXXX", b->path);
	b->fd = mkostemp(b->temporary, O_CLOEXEC);
	if (b->fd >= 0)
		return EXIT_CODE_OK;
	b->temporary[0] = '\0';
	if (errno == ENOENT)
		return cli_fail(E_IO, "there is no folder '%s': install -d -m 0700 %s", b->folder, b->folder);
	return cli_fail(E_IO, "cannot make a file in '%s': %s", b->folder, strerror(errno));
}

static int take_name(const struct backup *b)
{
	if (b->force)
		return rename(b->temporary, b->path);
	if (renameat2(AT_FDCWD, b->temporary, AT_FDCWD, b->path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS) /* a kernel or file system that cannot do that */
		return -1;
	return link(b->temporary, b->path) == 0 ? unlink(b->temporary) : -1;
}

static enum exit_code put_in_place(struct backup *b)
{
	int folder = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum exit_code code = EXIT_CODE_OK;

	if (folder < 0 || fsync(b->fd) != 0 || take_name(b) != 0)
		code = cli_fail(errno == EEXIST ? E_EXISTS : E_IO, "cannot put the backup at '%s': %s",
				b->path, strerror(errno));
	else
		b->temporary[0] = '\0';
	if (code == EXIT_CODE_OK && fsync(folder) != 0)
		code = cli_fail(E_IO, "cannot flush '%s': %s", b->folder, strerror(errno));
	fd_close(&folder);
	return code;
}

static enum exit_code cmd_backup_print(const struct backup *b, const struct result *result)
{
	uint64_t took_ms = clock_ms() - b->started_ms;
	struct output_json j;
	char text[64];

	if (b->cli->json) {
		output_json_begin(&j);
		json_put_text_member(&j.w, "file", b->path);
		json_put_int_member(&j.w, "bytes", (int64_t)result->summary.bytes);
		json_put_text_member(&j.w, "sha256", result->sha256);
		summary_put_json(&j.w, &result->summary);
		json_put_int_member(&j.w, "duration_ms", (int64_t)took_ms);
		return output_json_end(&j);
	}
	if (b->to_stdout) {
		cli_note("%" PRIu64 " bytes to standard output, sha256 %s", result->summary.bytes,
			 result->sha256);
		return EXIT_CODE_OK;
	}
	output_fact("backup", b->path);
	snprintf(text, sizeof(text), "%" PRIu64 " bytes", result->summary.bytes);
	output_fact("size", text);
	output_fact("sha256", result->sha256);
	summary_print(&result->summary);
	snprintf(text, sizeof(text), "%.1f s", (double)took_ms / 1000.0);
	output_fact("took", text);
	return EXIT_CODE_OK;
}

static enum exit_code cmd_backup_run(struct backup *b, const char *argument)
{
	struct result result;
	enum exit_code code;

	memset(&result, 0, sizeof(result));
	b->to_stdout = !strcmp(argument, "-");
	code = b->to_stdout ? make_unnamed(b) : find_place(b, argument);
	if (code == EXIT_CODE_OK && !b->to_stdout)
		code = make_temporary(b);
	if (code == EXIT_CODE_OK)
		code = read_apart(b, &result);
	if (code == EXIT_CODE_OK)
		code = b->to_stdout ? send_it(b) : put_in_place(b);
	if (code == EXIT_CODE_OK)
		code = cmd_backup_print(b, &result);
	if (b->temporary[0])
		unlink(b->temporary);
	fd_close(&b->fd);
	return code;
}

static enum exit_code cmd_backup_read_options(struct backup *b, int argc, char **argv)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'}, CLI_OPTIONS};
	int c;

	while ((c = cli_getopt(b->cli, argc, argv, CLI_SHORT_OPTIONS, options)) != -1) {
		if (c != 'f')
			return EXIT_CODE_USAGE;
		b->force = true;
	}
	if (optind < argc && !strcmp(argv[optind], "-") && b->cli->json)
		return cli_usage(b->cli, "backup -: standard output is the backup, so there is no --json");
	return cli_arguments(b->cli, argc, argv, 1, 1);
}

enum exit_code cmd_backup(struct cli *cli, int argc, char **argv)
{
	struct backup *b = calloc(1, sizeof(*b));
	enum exit_code code;

	if (!b)
		return cli_fail(E_NOMEM, "%s", err_str(E_NOMEM));
	b->cli = cli;
	b->fd = -1;
	b->started_ms = clock_ms();
	code = cmd_backup_read_options(b, argc, argv);
	if (code == EXIT_CODE_OK)
		code = cli_open_config(cli);
	if (code == EXIT_CODE_OK) {
		progress_begin();
		code = cmd_backup_run(b, argv[optind]);
	}
	free(b);
	return code;
}
