/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that take no signals, and waits with an end. */
#include "tests/unit/cmocka_all.h"

#include "base/clock.h"
#include "base/thread.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000

static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

static bool is_crash(int number)
{
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		if (crashes[i] == number)
			return true;
	return false;
}

static void *look(void *arg)
{
	pthread_sigmask(SIG_BLOCK, NULL, arg);
	return NULL;
}

static void a_thread_takes_no_signals_but_those_of_a_crash(void **state)
{
	sigset_t blocked, before, after;
	pthread_t thread;

	(void)state;
	pthread_sigmask(SIG_BLOCK, NULL, &before);
	assert_int_equal(thread_start("looks", look, &blocked, &thread), E_OK);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (int number = 1; number <= SIGSYS; number++)
		if (number != SIGKILL && number != SIGSTOP)
			assert_int_equal(sigismember(&blocked, number), !is_crash(number));
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	for (int number = 1; number <= SIGSYS; number++)
		assert_int_equal(sigismember(&before, number), sigismember(&after, number));
}

/* A mutex that the test holds until it has asked for the name. */
static void *wait_for_lock(void *arg)
{
	pthread_mutex_lock(arg);
	pthread_mutex_unlock(arg);
	return NULL;
}

static void a_thread_has_its_name(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_t thread;
	char name[16];

	(void)state;
	pthread_mutex_lock(&lock);
	assert_int_equal(thread_start("has-this-name", wait_for_lock, &lock, &thread), E_OK);
	assert_int_equal(pthread_getname_np(thread, name, sizeof(name)), 0);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
	assert_string_equal(name, "has-this-name");
}

static void on_crash(int number)
{
	(void)number;
	_exit(3);
}

static void *crash(void *arg)
{
	(void)arg;
	raise(SIGSEGV);
	_exit(4); /* it was blocked */
}

/* Or the log would lose its last lines (base/log_queue.c). */
static void the_handler_of_a_crash_runs(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, on_crash);
		if (thread_start("crashes", crash, NULL, NULL) != E_OK)
			_exit(5);
		for (;;)
			pause();
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
}

struct shared {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done;
};

static void *finish(void *arg)
{
	struct shared *s = arg;

	pthread_mutex_lock(&s->lock);
	s->done = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void a_wait_ends_when_it_is_time_or_when_it_is_woken(void **state)
{
	struct shared s = {.lock = PTHREAD_MUTEX_INITIALIZER};
	uint64_t until_ms = clock_ms() + 30;
	pthread_t thread;

	(void)state;
	thread_cond_init(&s.changed);
	pthread_mutex_lock(&s.lock);
	while (thread_cond_wait_until(&s.changed, &s.lock, until_ms))
		;
	assert_true(clock_ms() >= until_ms);
	assert_false(thread_cond_wait_until(&s.changed, &s.lock, 0)); /* long ago */

	until_ms = clock_ms() + PATIENCE_MS;
	assert_int_equal(thread_start("wakes", finish, &s, &thread), E_OK);
	while (!s.done)
		assert_true(thread_cond_wait_until(&s.changed, &s.lock, until_ms));
	pthread_mutex_unlock(&s.lock);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&s.changed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_thread_takes_no_signals_but_those_of_a_crash),
	    cmocka_unit_test(a_thread_has_its_name),
	    cmocka_unit_test(the_handler_of_a_crash_runs),
	    cmocka_unit_test(a_wait_ends_when_it_is_time_or_when_it_is_woken),
	};

	return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
