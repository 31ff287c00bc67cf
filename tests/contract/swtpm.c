/* SPDX-License-Identifier: Apache-2.0 */
/* Starts, asks and ends a TPM emulator. */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/swtpm.h"

#include "base/clock.h"
#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 20
#define START_MS 10000
#define ANSWER_S 10

/* TPM 2.0 Library Specification, part 2: tables 12, 19 and 28; part 3: TPM2_FlushContext. */
#define TPM_CC_FLUSH_CONTEXT 0x165u
#define TPM_HT_TRANSIENT 0x80000000u
#define TPM_HT_HMAC_SESSION 0x02000000u
#define TPM_HT_POLICY_SESSION 0x03000000u
#define HANDLES_OF_A_KIND 8u /* more than this emulator has room for */

/* ---- the network ---- */

static struct sockaddr_in local_address(unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

/* Bound to a port, 0 for any; -1 when it is taken. */
static int bind_port(unsigned port, unsigned *ret_port)
{
	struct sockaddr_in a = local_address(port);
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

/* The library finds the control channel at the next port after that of the TPM. */
static unsigned find_two_ports(void)
{
	for (int i = 0; i < 1000; i++) {
		unsigned port, next;
		int fd = bind_port(0, &port), fd_next = -1;

		assert_true(fd >= 0);
		if (port < UINT16_MAX)
			fd_next = bind_port(port + 1, &next);
		close(fd);
		if (fd_next >= 0) {
			close(fd_next);
			return port;
		}
	}
	fail_msg("there are no two free ports");
	return 0;
}

/* The response code of the command to forget a handle; -1: this is no TPM. */
static long flush_handle(const struct swtpm *t, uint32_t handle)
{
	const uint32_t words[] = {htonl(14), htonl(TPM_CC_FLUSH_CONTEXT), htonl(handle)};
	const struct timeval limit = {.tv_sec = ANSWER_S};
	struct sockaddr_in a = local_address(t->port);
	uint8_t command[14] = {0x80, 0x01}, answer[10];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t got = 0;
	ssize_t n = 0;

	assert_true(fd >= 0);
	memcpy(command + 2, words, sizeof(words));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    send(fd, command, sizeof(command), MSG_NOSIGNAL) == (ssize_t)sizeof(command))
		while (got < sizeof(answer) && (n = read(fd, answer + got, sizeof(answer) - got)) > 0)
			got += (size_t)n;
	close(fd);
	if (got != sizeof(answer) || answer[0] != 0x80 || answer[1] != 0x01)
		return -1;
	return (long)answer[6] << 24 | (long)answer[7] << 16 | (long)answer[8] << 8 | answer[9];
}

/* ---- the process ---- */

static void run_swtpm(unsigned port, const char *folder)
{
	char state[PATH_MAX], server[128], control[128], log[PATH_MAX];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(state, sizeof(state), "dir=%s/tpm", folder);
	snprintf(server, sizeof(server), "type=tcp,port=%u,bindaddr=127.0.0.1", port);
	snprintf(control, sizeof(control), "type=tcp,port=%u,bindaddr=127.0.0.1", port + 1);
	snprintf(log, sizeof(log), "%s/tpm.log", folder);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server, "--ctrl",
	       control, "--flags", "not-need-init,startup-clear", (char *)NULL);
	_exit(127);
}

/* False: it ended, most likely because somebody else took a port in between. */
static bool comes_up(struct swtpm *t)
{
	const struct timespec pause = {0, 2000000L};
	uint64_t deadline = clock_ms() + START_MS;
	int status;

	for (;;) {
		if (flush_handle(t, TPM_HT_TRANSIENT) >= 0 && waitpid(t->pid, &status, WNOHANG) == 0)
			return true;
		if (waitpid(t->pid, &status, WNOHANG) != 0)
			break;
		assert_true(clock_ms() < deadline);
		nanosleep(&pause, NULL);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		fail_msg("swtpm does not run: is it installed?");
	t->pid = 0;
	return false;
}

void swtpm_start(struct swtpm *t, const char *folder)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/tpm", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	for (int i = 0; i < START_TRIES; i++) {
		t->port = find_two_ports();
		t->pid = fork();
		assert_true(t->pid >= 0);
		if (t->pid == 0)
			run_swtpm(t->port, folder);
		if (comes_up(t))
			return;
	}
	fail_msg("swtpm does not start; see tpm.log");
}

void swtpm_stop(struct swtpm *t)
{
	if (t->pid) {
		kill(t->pid, SIGKILL);
		waitpid(t->pid, NULL, 0);
	}
	t->pid = 0;
}

void swtpm_flush(const struct swtpm *t)
{
	static const uint32_t kinds[] = {TPM_HT_TRANSIENT, TPM_HT_HMAC_SESSION, TPM_HT_POLICY_SESSION};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (uint32_t n = 0; n < HANDLES_OF_A_KIND; n++)
			assert_true(flush_handle(t, kinds[i] | n) >= 0);
}
