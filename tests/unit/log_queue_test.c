/* SPDX-License-Identifier: Apache-2.0 */
/* The log's thread: nobody waits for whoever reads the log, and what was logged comes out (F127). */
#include "tests/unit/cmocka_all.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log_queue.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOOD 20000 /* lines: several times what fits */
#define PATIENCE_MS 60000
#define READ_BYTES_MAX (64 * 1024 * 1024)

/* A process that logs into a pipe of the test's, and says when it has. */
struct child {
	pid_t pid;
	int log;
	int done; /* a byte when it has logged */
	int go;   /* a byte lets it end */
};

static void make_pipe(int *ret_read, int *ret_write)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	*ret_read = ends[0];
	*ret_write = ends[1];
}

static struct child start(void (*body)(void), void (*end)(void), int log_flags)
{
	struct child c;
	int log, done, go;
	char byte = 0;

	make_pipe(&c.log, &log);
	make_pipe(&c.done, &done);
	make_pipe(&go, &c.go);
	assert_int_equal(fcntl(log, F_SETFL, fcntl(log, F_GETFL) | log_flags), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		unsetenv("JOURNAL_STREAM");
		dup2(log, STDERR_FILENO);
		close(log);
		close(c.go);
		log_open("test", LOG_LEVEL_INFO);
		if (log_start_thread() != E_OK)
			_exit(99);
		body();
		if (write(done, "", 1) != 1 || read(go, &byte, 1) < 0)
			_exit(98);
		end();
		_exit(97);
	}
	close(log);
	close(done);
	close(go);
	return c;
}

static void wait_done(const struct child *c)
{
	struct pollfd p = {.fd = c->done, .events = POLLIN};

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_true(p.revents & POLLIN);
}

static void read_until(const struct child *c, struct buf *said, const char *text)
{
	char block[65536];
	struct pollfd p = {.fd = c->log, .events = POLLIN};
	ssize_t got;

	buf_init(said, READ_BYTES_MAX);
	while (!text || !strstr(buf_text(said), text)) {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		got = read(c->log, block, sizeof(block));
		assert_true(got >= 0);
		if (got == 0)
			break;
		buf_put(said, block, (size_t)got);
	}
	assert_int_equal(buf_status(said), E_OK);
}

/* The status as of waitpid(2). */
static int finish(struct child *c)
{
	int status;

	close(c->go);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	close(c->log);
	close(c->done);
	return status;
}

static void end_in_order(void)
{
	exit(7);
}

static void end_at_once(void)
{
	log_flush(PATIENCE_MS);
	_exit(7);
}

/* ---- nobody waits ---- */

static void flood(void)
{
	for (int i = 0; i < FLOOD; i++)
		log_info("chatter %d", i);
	log_error("what matters");
	for (int i = 0; i < FLOOD; i++)
		log_info("chatter %d", FLOOD + i);
	log_error("lost so far: %llu", (unsigned long long)log_lost()); /* F340 */
}

static void count_lines(const char *at, unsigned *ret_kept, unsigned *ret_lost)
{
	unsigned kept = 0, lost = 0, n, last = 0;

	for (; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		const char *text = strstr(at, ": ");

		if (sscanf(text, ": chatter %u", &n) == 1) {
			assert_true(kept == 0 ? n == 0 : n > last);
			last = n;
			kept++;
		} else if (sscanf(text, ": %u lines of the log were lost", &n) == 1) {
			lost += n;
		}
	}
	*ret_kept = kept;
	*ret_lost = lost;
}

static void nobody_waits_and_the_lost_are_counted(void **state)
{
	struct child c = start(flood, end_in_order, 0);
	unsigned kept, lost;
	char lost_so_far[64];
	struct buf said;

	(void)state;
	wait_done(&c); /* though nobody has read a byte */
	read_until(&c, &said, "were lost");
	count_lines(buf_text(&said), &kept, &lost);
	assert_true(lost > 0 && kept > 0);
	assert_int_equal(kept + lost, 2 * FLOOD);
	assert_non_null(strstr(buf_text(&said), " test error: what matters\n"));
	snprintf(lost_so_far, sizeof(lost_so_far), " test error: lost so far: %u\n", lost);
	assert_non_null(strstr(buf_text(&said), lost_so_far));
	buf_release(&said);
	assert_int_equal(WEXITSTATUS(finish(&c)), 7);
}

/* The pipe stays full: the process ends all the same, in a second and not when somebody reads. */
static void the_end_waits_a_second_at_most(void **state)
{
	struct child c = start(flood, end_in_order, 0);

	(void)state;
	wait_done(&c);
	assert_int_equal(WEXITSTATUS(finish(&c)), 7);
}

/* As it is after somebody made the terminal, which we share, non-blocking. */
static void a_non_blocking_descriptor_is_waited_for(void **state)
{
	struct child c = start(flood, end_in_order, O_NONBLOCK);
	unsigned kept, lost;
	struct buf said;

	(void)state;
	wait_done(&c);
	read_until(&c, &said, "were lost");
	count_lines(buf_text(&said), &kept, &lost);
	assert_int_equal(kept + lost, 2 * FLOOD);
	buf_release(&said);
	assert_int_equal(WEXITSTATUS(finish(&c)), 7);
}

/* ---- what was logged comes out ---- */

static void say_little(void)
{
	for (int i = 0; i < 100; i++)
		log_info("chatter %d", i);
}

static void abort_now(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	log_error("last words");
	abort();
}

static void exit_now(void)
{
	log_error("last words");
	end_in_order();
}

static void flush_now(void)
{
	log_error("last words");
	end_at_once();
}

static int said_all(void (*end)(void))
{
	struct child c = start(say_little, end, 0);
	unsigned kept, lost;
	struct buf said;
	int status;

	wait_done(&c);
	close(c.go);
	c.go = -1;
	read_until(&c, &said, NULL);
	status = finish(&c);
	count_lines(buf_text(&said), &kept, &lost);
	assert_int_equal(kept, 100);
	assert_int_equal(lost, 0);
	assert_non_null(strstr(buf_text(&said), "chatter 99\n"));
	assert_non_null(strstr(strstr(buf_text(&said), "chatter 99\n"), " test error: last words\n"));
	buf_release(&said);
	return status;
}

static void the_last_lines_of_any_end_come_out(void **state)
{
	int status;

	(void)state;
	assert_int_equal(WEXITSTATUS(said_all(exit_now)), 7);
	assert_int_equal(WEXITSTATUS(said_all(flush_now)), 7);
	status = said_all(abort_now);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* A module may fork.  Its child has no thread of the log. */
static void fork_and_say(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		log_error("from the child");
		exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void a_forked_child_writes_by_itself(void **state)
{
	struct child c = start(fork_and_say, end_in_order, 0);
	struct buf said;

	(void)state;
	wait_done(&c);
	read_until(&c, &said, "from the child\n");
	buf_release(&said);
	assert_int_equal(WEXITSTATUS(finish(&c)), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nobody_waits_and_the_lost_are_counted),
	    cmocka_unit_test(the_end_waits_a_second_at_most),
	    cmocka_unit_test(a_non_blocking_descriptor_is_waited_for),
	    cmocka_unit_test(the_last_lines_of_any_end_come_out),
	    cmocka_unit_test(a_forked_child_writes_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
