/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the person at the terminal. */
#include "cli/ask.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* What would leave the terminal without its echo if it ended us there. */
static const int ending_signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
#define ENDING_SIGNALS (sizeof(ending_signals) / sizeof(ending_signals[0]))

static volatile sig_atomic_t caught; /* in ask_secret; 0: none */

bool ask_is_possible(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

/*
 * Unbuffered: what is read is nowhere but in the buffer, which scrubs itself.
 * wait_mask: the signals that stay blocked while it waits.  A signal that comes
 * just before is not lost when it is blocked until then.  NULL: as they are.
 */
static enum err ask_read_line(struct buf *line, const sigset_t *wait_mask)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};

	for (;;) {
		ssize_t n = -1;
		char c;

		if (ppoll(&in, 1, NULL, wait_mask) >= 0)
			n = read(STDIN_FILENO, &c, 1);
		if (n < 0 && errno == EINTR && !caught)
			continue;
		if (n < 0)
			return E_IO;
		if (n == 0)
			return E_UNAVAIL;
		if (c == '\n')
			return buf_status(line);
		buf_put(line, &c, 1);
	}
}

enum err ask_line(const char *question, const char *fallback, struct buf *ret_answer)
{
	for (;;) {
		const char *text;
		size_t len;
		enum err e;

		if (fallback)
			fprintf(stderr, "%s [%s]: ", question, fallback);
		else
			fprintf(stderr, "%s: ", question);
		fflush(stderr);
		buf_reset(ret_answer);
		e = ask_read_line(ret_answer, NULL);
		if (e != E_OK)
			return e;
		buf_consume(ret_answer, strspn(buf_text(ret_answer), " \t"));
		text = buf_text(ret_answer);
		for (len = strlen(text); len > 0 && strchr(" \t\r", text[len - 1]); len--)
			;
		if (len < ret_answer->len)
			ret_answer->data[len] = '\0';
		ret_answer->len = len;
		if (len > 0)
			return E_OK;
		if (fallback) {
			buf_put_str(ret_answer, fallback);
			return buf_status(ret_answer);
		}
	}
}

static enum err ask_silently(const char *question, const sigset_t *wait_mask, struct buf *ret_answer)
{
	struct termios before, silent;
	enum err e;

	if (tcgetattr(STDIN_FILENO, &before))
		return E_IO;
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent))
		return E_IO;
	fprintf(stderr, "%s: ", question);
	fflush(stderr);
	buf_reset(ret_answer);
	e = ask_read_line(ret_answer, wait_mask);
	fputc('\n', stderr);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) && e == E_OK)
		e = E_IO;
	return e;
}

static void ask_on_signal(int number)
{
	caught = number;
}

enum err ask_secret(const char *question, struct buf *ret_answer)
{
	struct sigaction stop, end = {.sa_handler = ask_on_signal}, before[ENDING_SIGNALS];
	sigset_t ending, mask;
	enum err e;

	caught = 0;
	sigemptyset(&end.sa_mask);
	sigemptyset(&ending);
	for (size_t i = 0; i < ENDING_SIGNALS; i++) {
		sigaddset(&ending, ending_signals[i]);
		sigaction(ending_signals[i], &end, &before[i]);
	}
	sigprocmask(SIG_BLOCK, &ending, &mask);
	sigaction(SIGTSTP, &(struct sigaction){.sa_handler = SIG_IGN}, &stop);
	e = ask_silently(question, &mask, ret_answer);
	sigaction(SIGTSTP, &stop, NULL);
	for (size_t i = 0; i < ENDING_SIGNALS; i++)
		sigaction(ending_signals[i], &before[i], NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (caught)
		raise(caught);
	return e;
}

static bool ask_for(const char *question, const char *fallback, const char *wanted)
{
	struct buf answer;
	bool given;

	buf_init(&answer, 256);
	given = ask_line(question, fallback, &answer) == E_OK && strcmp(buf_text(&answer), wanted) == 0;
	buf_release(&answer);
	return given;
}

bool ask_yes(const char *question)
{
	return ask_for(question, "y", "y");
}

bool ask_whole_yes(const char *question)
{
	return ask_for(question, "no", "yes");
}
