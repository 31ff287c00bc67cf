/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends p11-kit's server, and writes its configuration. */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/p11kit.h"

#include "base/clock.h"
#include "tests/contract/own_places.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 10000
#define SYSTEM_MODULES "/usr/share/p11-kit/modules"

static void pause_until(uint64_t deadline)
{
	const struct timespec pause = {0, 2000000L};

	assert_true(clock_ms() < deadline);
	nanosleep(&pause, NULL);
}

/* ---- the server ---- */

static void run_server(const char *folder, const char *module, const char *path)
{
	char log[PATH_MAX];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	snprintf(log, sizeof(log), "%s/p11kit.log", folder);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execlp("p11-kit", "p11-kit", "server", "-f", "--provider", module, "-n", path,
	       "pkcs11:", (char *)NULL);
	_exit(127);
}

static bool is_served(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool served;

	assert_true(fd >= 0);
	assert_true(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path));
	served = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	close(fd);
	return served;
}

pid_t p11kit_serve(const char *folder, const char *module)
{
	uint64_t deadline = clock_ms() + WAIT_MS;
	char path[PATH_MAX], address[PATH_MAX + 16];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/p11kit.sock", folder);
	snprintf(address, sizeof(address), "unix:path=%s", path);
	unlink(path);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_server(folder, module, path);
	while (!is_served(path)) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			fail_msg("p11-kit server does not run: is p11-kit installed?");
		pause_until(deadline);
	}
	setenv("P11_KIT_SERVER_ADDRESS", address, 1);
	return pid;
}

static bool has_children(pid_t pid)
{
	char path[64], text[64];
	FILE *file;
	bool has;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	has = fgets(text, sizeof(text), file) != NULL;
	fclose(file);
	return has;
}

void p11kit_wait_for_leavers(pid_t pid)
{
	uint64_t deadline = clock_ms() + WAIT_MS;

	while (has_children(pid))
		pause_until(deadline);
}

void p11kit_stop(pid_t pid)
{
	if (pid) {
		kill(-pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	unsetenv("P11_KIT_SERVER_ADDRESS");
}

/* ---- the proxy ---- */

void p11kit_let_proxy(const char *folder, const char *module)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/modules", folder);
	assert_int_equal(mkdir(path, 0755), 0);
	own_places_begin();
	own_places_put(path, SYSTEM_MODULES);
	file = fopen(SYSTEM_MODULES "/test.module", "we");
	assert_non_null(file);
	fprintf(file, "module: %s\n", module);
	assert_int_equal(fclose(file), 0);
}
