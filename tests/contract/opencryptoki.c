/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends openCryptoki's slot daemon. */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/opencryptoki.h"

#include "base/clock.h"
#include "tests/contract/own_places.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DAEMON "/usr/sbin/pkcsslotd"
#define CONFIG "/etc/opencryptoki/opencryptoki.conf"
#define START_MS 10000

/* Written last, by 3.8.1 and 3.23; who connects to its socket and leaves ends it by SIGPIPE. */
static const char *const pid_files[] = {"/run/pkcsslotd.pid", "/run/opencryptoki/pkcsslotd.pid"};

/* ---- its places ---- */

/* Of the daemon, whether it runs as root or, since 3.23, as a user of its own. */

static void make_folder(const char *path)
{
	const struct group *group = getgrnam("pkcs11");

	if (!group)
		fail_msg("there is no group pkcs11: is opencryptoki installed?");
	assert_true(mkdir(path, 0770) == 0 || errno == EEXIST);
	assert_int_equal(chown(path, 0, group->gr_gid), 0);
	assert_int_equal(chmod(path, 0770), 0); /* whatever the umask is */
}

static void write_config(const char *folder, char path[PATH_MAX])
{
	FILE *file;

	snprintf(path, PATH_MAX, "%s/opencryptoki.conf", folder);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs("version opencryptoki-3.1\n", file);
	for (int i = 0; i < OPENCRYPTOKI_SLOTS; i++)
		fprintf(file, "slot %d\n{\nstdll = libpkcs11_sw.so\ntokname = test%d\n}\n", i, i);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

static void make_places(const char *folder)
{
	static const char *const folders[] = {"/run", "/dev/shm", "/var/log", "/var/lib/opencryptoki"};
	char path[PATH_MAX];

	own_places_begin();
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		own_places_folder(folders[i]);
	assert_int_equal(chmod("/dev/shm", 01777), 0);
	assert_int_equal(mkdir("/run/lock", 0755), 0);
	make_folder("/run/lock/opencryptoki");
	make_folder("/var/log/opencryptoki");
	for (int i = 0; i < OPENCRYPTOKI_SLOTS; i++) {
		snprintf(path, sizeof(path), "/run/lock/opencryptoki/test%d", i);
		make_folder(path);
		snprintf(path, sizeof(path), "/var/lib/opencryptoki/test%d", i);
		make_folder(path);
		snprintf(path, sizeof(path), "/var/lib/opencryptoki/test%d/TOK_OBJ", i);
		make_folder(path);
	}
	write_config(folder, path);
	own_places_put(path, CONFIG);
}

/* ---- the process ---- */

static void run_daemon(const char *folder)
{
	char log[PATH_MAX];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(log, sizeof(log), "%s/pkcsslotd.log", folder);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execl(DAEMON, "pkcsslotd", "-f", (char *)NULL);
	_exit(127);
}

static bool is_serving(void)
{
	for (size_t i = 0; i < sizeof(pid_files) / sizeof(pid_files[0]); i++)
		if (access(pid_files[i], F_OK) == 0)
			return true;
	return false;
}

static bool is_loaded;

#ifdef __SANITIZE_ADDRESS__
/* It forgets memory in libraries that it unloads, so no suppression can name them.  Our own process only. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return is_loaded;
}
#endif

pid_t opencryptoki_start(const char *folder)
{
	const struct timespec pause = {0, 2000000L};
	uint64_t deadline = clock_ms() + START_MS;
	pid_t pid;

	/* libitm, which it brings, does not bear being unloaded and loaded again, as the tests do. */
	assert_non_null(dlopen(OPENCRYPTOKI_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE));
	is_loaded = true;
	make_places(folder);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_daemon(folder);
	while (!is_serving()) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			fail_msg("pkcsslotd does not run: is opencryptoki installed?");
		assert_true(clock_ms() < deadline);
		nanosleep(&pause, NULL);
	}
	return pid;
}

/* What it does not take away with it (shared memory) goes with the namespace. */
void opencryptoki_stop(pid_t pid)
{
	if (pid) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	own_places_end();
}
