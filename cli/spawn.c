/* SPDX-License-Identifier: Apache-2.0 */
/* Runs another program and waits for its end. */
#include "cli/spawn.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define ARGUMENTS_MAX 32
#define PATH_BYTES_MAX 4096

static const char *const folders[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
				      "/usr/bin",        "/sbin",          "/bin"};
#define FOLDERS (sizeof(folders) / sizeof(folders[0]))

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111) != 0;
}

static bool find_program(const char *name, char *path, size_t size)
{
	if (strchr(name, '/'))
		return str_copy(path, size, name) == E_OK && is_program(path);
	for (size_t i = 0; i < FOLDERS; i++) {
		snprintf(path, size, "%s/%s", folders[i], name);
		if (is_program(path))
			return true;
	}
	return false;
}

bool spawn_exists(const char *name)
{
	char path[PATH_BYTES_MAX];

	return find_program(name, path, sizeof(path));
}

/* With its slash. */
static enum err find_own_folder(char own[PATH_BYTES_MAX])
{
	ssize_t len = readlink("/proc/self/exe", own, PATH_BYTES_MAX - 1);

	if (len < 0)
		return E_IO;
	own[len] = '\0';
	*(strrchr(own, '/') + 1) = '\0';
	return E_OK;
}

enum err spawn_own_data(const char *name, struct buf *ret_path)
{
	char own[PATH_BYTES_MAX];
	enum err e = find_own_folder(own);

	if (e != E_OK)
		return e;
	buf_reset(ret_path);
	buf_printf(ret_path, "%s../share/csrd/%s", own, name);
	return buf_status(ret_path);
}

enum err spawn_own_program(const char *name, struct buf *ret_path)
{
	static const char *const places[] = {"", "../sbin/", "../bin/"};
	char own[PATH_BYTES_MAX];
	enum err e = find_own_folder(own);

	if (e != E_OK)
		return e;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		buf_reset(ret_path);
		buf_printf(ret_path, "%s%s%s", own, places[i], name);
		if (buf_status(ret_path) != E_OK)
			return buf_status(ret_path);
		if (is_program(buf_text(ret_path)))
			return E_OK;
	}
	return E_NOTFOUND;
}

/* ---- standard input ---- */

/* The whole input fits into the pipe, so nobody has to wait for a reader. */
static enum err input_by_pipe(const char *input, int *ret_fd)
{
	int ends[2];
	enum err e;

	if (pipe2(ends, O_CLOEXEC))
		return E_IO;
	e = fd_write_all(ends[1], input, strlen(input));
	fd_close(&ends[1]);
	if (e == E_OK)
		*ret_fd = ends[0];
	else
		fd_close(&ends[0]);
	return e;
}

/* The terminal holds the lines until the program asks.  *ret_master must stay open until it ends. */
static enum err input_by_terminal(const char *input, int *ret_fd, int *ret_master)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave = -1;
	struct termios settings;
	char name[64];
	enum err e = E_IO;

	if (master < 0 || grantpt(master) || unlockpt(master) || ptsname_r(master, name, sizeof(name)))
		goto out;
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &settings))
		goto out;
	settings.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(slave, TCSANOW, &settings))
		goto out;
	e = fd_write_all(master, input, strlen(input));
	if (e != E_OK)
		goto out;
	*ret_fd = slave;
	*ret_master = master;
	slave = -1;
	master = -1;
out:
	fd_close(&slave);
	fd_close(&master);
	return e;
}

static enum err open_input(const struct spawn *what, int *ret_fd, int *ret_master)
{
	if (what->input && strlen(what->input) > SPAWN_INPUT_MAX)
		return E_LIMIT;
	if (what->input && what->terminal)
		return input_by_terminal(what->input, ret_fd, ret_master);
	if (what->input)
		return input_by_pipe(what->input, ret_fd);
	*ret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? E_IO : E_OK;
}

/* ---- start and end ---- */

/* argv with setpriv before it when it is to run as somebody else. */
static enum err make_arguments(const struct spawn *what, const char *path, struct buf *users,
			       const char *ret_argv[ARGUMENTS_MAX])
{
	size_t n = 0, group;

	if (what->user) {
		buf_printf(users, "--reuid=%s", what->user);
		buf_put(users, "", 1);
		group = users->len;
		buf_printf(users, "--regid=%s", what->user);
		if (buf_status(users) != E_OK)
			return buf_status(users);
		ret_argv[n++] = "/usr/bin/setpriv";
		ret_argv[n++] = buf_text(users);
		ret_argv[n++] = buf_text(users) + group;
		ret_argv[n++] = "--init-groups";
		ret_argv[n++] = "--";
	}
	ret_argv[n++] = path;
	for (size_t i = 1; what->argv[i]; i++) {
		if (n == ARGUMENTS_MAX - 1)
			return E_LIMIT;
		ret_argv[n++] = what->argv[i];
	}
	ret_argv[n] = NULL;
	return E_OK;
}

/*
 * For its terminal, to be killed with what it started, and so that a program
 * of another user cannot type into our terminal (TIOCSTI).
 */
static bool has_own_session(const struct spawn *what)
{
	return what->terminal || what->timeout_ms || what->user;
}

/* `out` and `err` are -1 for where ours go. */
static enum err spawn_start(const char *const *argv, const struct spawn *what, int in, int out, int err,
			    pid_t *ret_pid)
{
	static const char path_variable[] =
	    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	const char *clean[] = {path_variable, "LANG=C.UTF-8", what->variable, NULL};
	char *const *environment = what->keep_environment ? environ : (char *const *)(uintptr_t)clean;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int error;

	if (posix_spawn_file_actions_init(&actions))
		return E_NOMEM;
	if (posix_spawnattr_init(&attributes)) {
		posix_spawn_file_actions_destroy(&actions);
		return E_NOMEM;
	}
	error = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	if (!error && out >= 0)
		error = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (!error && err >= 0)
		error = posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
	if (!error && has_own_session(what))
		error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
	if (!error) /* neither strings nor tables are written to */
		error = posix_spawn(ret_pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv,
				    environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	errno = error;
	return error == ENOENT ? E_NOTFOUND : error ? E_IO : E_OK;
}

/* What finds no room is dropped, so that the program never waits for us.  False at the end of file. */
static bool spawn_take(int fd, struct buf *output)
{
	char block[4096];
	ssize_t n = read(fd, block, sizeof(block));

	if (n > 0)
		buf_put(output, block, (size_t)n);
	return n > 0 || (n < 0 && errno == EINTR);
}

/* Until the end of file of both (-1: none).  E_TIMEOUT. */
static enum err spawn_collect(int out, int err, const struct spawn *what, struct buf *output)
{
	const uint64_t end_ms = clock_ms() + what->timeout_ms;
	struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		uint64_t now_ms = clock_ms();
		int left_ms = !what->timeout_ms ? -1 : now_ms < end_ms ? (int)(end_ms - now_ms) : 0;
		int n = poll(fds, 2, left_ms);

		if (n == 0)
			return E_TIMEOUT;
		if (n < 0 && errno != EINTR)
			return E_IO;
		if (n > 0 && fds[0].revents && !spawn_take(out, output))
			fds[0].fd = -1;
		if (n > 0 && fds[1].revents && !spawn_take(err, what->errors))
			fds[1].fd = -1;
	}
	return E_OK;
}

static enum err wait_end(pid_t pid, int *ret_status)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return E_IO;
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return E_OK;
}

static enum err make_pipe(bool wanted, int ends[2])
{
	return wanted && pipe2(ends, O_CLOEXEC) ? E_IO : E_OK;
}

static enum err follow(pid_t pid, int out, int err, const struct spawn *what, struct buf *output,
		       int *ret_status)
{
	enum err collected = spawn_collect(out, err, what, output), e;

	if (collected != E_OK)
		kill(has_own_session(what) ? -pid : pid, SIGKILL);
	e = wait_end(pid, ret_status);
	return collected != E_OK ? collected : e;
}

enum err spawn_run(const struct spawn *what, struct buf *output, int *ret_status)
{
	const char *argv[ARGUMENTS_MAX];
	int in = -1, master = -1, out[2] = {-1, -1}, err[2] = {-1, -1};
	char path[PATH_BYTES_MAX];
	struct buf users;
	pid_t pid;
	enum err e;

	if (!find_program(what->argv[0], path, sizeof(path)))
		return E_NOTFOUND;
	buf_init(&users, 256);
	fflush(stdout);
	e = make_arguments(what, path, &users, argv);
	if (e == E_OK)
		e = open_input(what, &in, &master);
	if (make_pipe(output != NULL, out) != E_OK || make_pipe(what->errors != NULL, err) != E_OK)
		e = e != E_OK ? e : E_IO;
	if (e == E_OK)
		e = spawn_start(argv, what, in, out[1], what->errors ? err[1] : out[1], &pid);
	fd_close(&out[1]);
	fd_close(&err[1]);
	if (e == E_OK)
		e = follow(pid, out[0], err[0], what, output, ret_status);
	fd_close(&out[0]);
	fd_close(&err[0]);
	fd_close(&in);
	fd_close(&master);
	buf_release(&users);
	return e;
}
