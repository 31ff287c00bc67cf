/* SPDX-License-Identifier: Apache-2.0 */
/* A secret is asked for on a terminal: it is not shown, and the echo is back afterwards, however it ends. */
#include "tests/unit/cmocka_all.h"

#include "cli/ask.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define ROUNDS 200
#define QUESTION "The secret"
#define SECRET "s3cret"

struct fixture {
	int terminal; /* our end of it */
	int far_end;  /* open, so that its settings outlive the child */
	pid_t child;
	char shown[512];
	size_t shown_len;
};

/* In the background of a script, or under nohup, they are ignored. */
static void hear_interrupts(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
}

static void ask_and_exit(int far_end) __attribute__((noreturn));
static void ask_and_exit(int far_end)
{
	struct buf answer;
	enum err e;

	hear_interrupts();
	alarm(PATIENCE_MS / 1000);
	if (setsid() < 0 || ioctl(far_end, TIOCSCTTY, 0) || dup2(far_end, STDIN_FILENO) < 0 ||
	    dup2(far_end, STDERR_FILENO) < 0)
		_exit(100);
	buf_init(&answer, 64);
	e = ask_secret(QUESTION, &answer);
	_exit(e == E_OK && strcmp(buf_text(&answer), SECRET) == 0 ? 0 : 101);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(f->terminal >= 0);
	assert_int_equal(grantpt(f->terminal), 0);
	assert_int_equal(unlockpt(f->terminal), 0);
	f->far_end = open(ptsname(f->terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(f->far_end >= 0);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0)
		ask_and_exit(f->far_end);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->child > 0) {
		kill(f->child, SIGKILL);
		waitpid(f->child, NULL, 0);
	}
	fd_close(&f->far_end);
	fd_close(&f->terminal);
	free(f);
	return 0;
}

static void wait_shown(struct fixture *f, const char *text)
{
	struct pollfd fd = {.fd = f->terminal, .events = POLLIN};

	while (!strstr(f->shown, text)) {
		ssize_t n;

		assert_true(f->shown_len + 1 < sizeof(f->shown));
		assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
		n = read(f->terminal, f->shown + f->shown_len, sizeof(f->shown) - 1 - f->shown_len);
		assert_true(n > 0);
		f->shown_len += (size_t)n;
	}
}

static bool has_echo(const struct fixture *f)
{
	struct termios settings;

	assert_int_equal(tcgetattr(f->far_end, &settings), 0);
	return (settings.c_lflag & ECHO) != 0;
}

/* The question is there, and then the keys are pressed.  How the child ended. */
static int ask(struct fixture *f, const char *keys)
{
	int status;

	wait_shown(f, QUESTION);
	assert_false(has_echo(f));
	assert_int_equal(fd_write_all(f->terminal, keys, strlen(keys)), E_OK);
	while (waitpid(f->child, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	f->child = 0;
	return status;
}

static void a_secret_is_not_shown(void **state)
{
	struct fixture *f = *state;
	int status = ask(f, SECRET "\n");

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	wait_shown(f, "\n");
	assert_null(strstr(f->shown, SECRET));
	assert_true(has_echo(f));
}

static void an_interrupt_leaves_the_terminal_as_it_was(void **state)
{
	struct fixture *f = *state;
	int status = ask(f, "s3\003");

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);
	assert_true(has_echo(f));
}

/* F169: in the instant between the question and the wait for its answer, too. */
static void an_interrupt_is_heard_whenever_it_comes(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		int status = ask(*state, "\003");

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGINT);
		teardown(state);
		setup(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_secret_is_not_shown, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_interrupt_leaves_the_terminal_as_it_was, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_interrupt_is_heard_whenever_it_comes, setup, teardown),
	};

	return cmocka_run_group_tests_name("ask", tests, NULL, NULL);
}
