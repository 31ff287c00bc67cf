/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watchdog ends a process of its own in each test: its exit code and log line are looked at.
 * run: waits seconds=10
 */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/token/watchdog.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CSR_ID "0b54b6a4-3c1f-4b5e-9f0e-1a2b3c4d5e6f"
#define BOUND_MS 10000

static const struct watchdog_limits limits = {.ms = {[WATCHDOG_OTHER] = 1000,
						     [WATCHDOG_SIGN] = 1200,
						     [WATCHDOG_GENERATE] = 60000,
						     [WATCHDOG_GENERATE_LARGE] = 60000}};

/* The linker puts this in the place of clock_ms (tests.mk), so that time can pass at once. */
static uint64_t ahead_ms;
uint64_t __real_clock_ms(void);
uint64_t __wrap_clock_ms(void);
uint64_t __wrap_clock_ms(void)
{
	return __real_clock_ms() + ahead_ms;
}

static void pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

struct child {
	pid_t pid;
	int log; /* what it writes to stderr */
};

static struct child start(void (*body)(void))
{
	struct child c;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		dup2(fds[1], 2);
		log_open("test", LOG_LEVEL_DEBUG);
		if (watchdog_start(&limits) != E_OK)
			_exit(99);
		body();
		pause_ms(BOUND_MS);
		_exit(98);
	}
	close(fds[1]);
	c.log = fds[0];
	return c;
}

/* Its exit code; what it said is in `said`. */
static int end_of(struct child c, char said[4096])
{
	size_t len = 0;
	ssize_t got;
	int status;

	while ((got = read(c.log, said + len, 4095 - len)) > 0)
		len += (size_t)got;
	said[len] = '\0';
	close(c.log);
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void *hang_in_sign(void *arg)
{
	(void)arg;
	watchdog_set_csr(CSR_ID);
	watchdog_enter(WATCHDOG_SIGN, "C_Sign");
	pause_ms(BOUND_MS);
	return NULL;
}

static void one_thread_hangs(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, hang_in_sign, NULL);
	pause_ms(100);
	watchdog_enter(WATCHDOG_OTHER, "C_FindObjects"); /* began later, and has no more time */
}

static void *look_for_objects(void *arg)
{
	(void)arg;
	watchdog_enter(WATCHDOG_OTHER, "C_FindObjects");
	pause_ms(BOUND_MS);
	return NULL;
}

/* A module that does one thing at a time: the search waits for the generation, then for another search. */
static void one_thing_at_a_time(void)
{
	pthread_t thread;

	watchdog_enter(WATCHDOG_GENERATE, "C_GenerateKeyPair");
	pthread_create(&thread, NULL, look_for_objects, NULL);
	pause_ms(2500);
	if (write(2, "made\n", 5) != 5)
		_exit(97);
	watchdog_leave(); /* from here on the search hangs of itself */
}

/* No end while an earlier, longer call is within its limit; afterwards the later one has its own time. */
static void a_call_behind_another_is_not_hanging_F176(void **state)
{
	char said[4096];

	(void)state;
	assert_int_equal(end_of(start(one_thing_at_a_time), said), EXIT_CODE_TOKEN_FAILED);
	assert_memory_equal(said, "made\n", 5);
	assert_non_null(strstr(said, "C_FindObjects (call) has not come back for 1."));
}

static void a_call_that_hangs_ends_the_process(void **state)
{
	char said[4096];

	(void)state;
	assert_int_equal(end_of(start(one_thread_hangs), said), EXIT_CODE_TOKEN_FAILED);
	assert_non_null(strstr(said, "C_Sign (signature) has not come back for 1."));
	assert_non_null(strstr(said, "timeout_sign is 1.200 s"));
	assert_non_null(strstr(said, "csr=" CSR_ID));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
}

/* Each in its time, for longer in all than one may take. */
static void many_short_calls(void)
{
	for (int i = 0; i < 20; i++) {
		watchdog_enter(WATCHDOG_OTHER, "C_FindObjects");
		pause_ms(60);
		watchdog_leave();
	}
	_exit(0);
}

static void calls_in_time_are_left_alone(void **state)
{
	char said[4096];

	(void)state;
	assert_int_equal(end_of(start(many_short_calls), said), 0);
	assert_string_equal(said, "");
}

static void says_that_it_is_in(void)
{
	watchdog_enter(WATCHDOG_OTHER, "C_GetTokenInfo");
	if (write(2, "in\n", 3) != 3)
		_exit(97);
	pause_ms(100);
	watchdog_leave();
	_exit(0);
}

/* A process that was stopped for longer than a call may take has not been hanging. */
static void time_stopped_is_not_counted(void **state)
{
	char said[4096], in[3];
	struct child c;

	(void)state;
	c = start(says_that_it_is_in);
	assert_int_equal(read(c.log, in, 3), 3);
	assert_int_equal(kill(c.pid, SIGSTOP), 0);
	pause_ms(4000); /* the time itself is what is tested */
	assert_int_equal(kill(c.pid, SIGCONT), 0);
	assert_int_equal(end_of(c, said), 0);
}

static void ends_slowly(void)
{
	watchdog_enter(WATCHDOG_GENERATE, "C_Finalize");
	watchdog_end_within(200, EXIT_CODE_NO_TOKEN);
}

static void the_end_has_a_bound_and_keeps_its_code(void **state)
{
	uint64_t before = clock_ms();
	char said[4096];

	(void)state;
	assert_int_equal(end_of(start(ends_slowly), said), EXIT_CODE_NO_TOKEN);
	assert_true(clock_ms() - before < BOUND_MS / 2);
}

/* ---- for who watches the watchdog: itself it does not run here, so its limits are 0 ---- */

static void a_call_far_past_its_limit_is_not_well(void **state)
{
	(void)state;
	assert_true(watchdog_is_well());
	watchdog_enter(WATCHDOG_SIGN, "C_Sign");
	ahead_ms += 9000; /* which the watchdog would see to */
	assert_true(watchdog_is_well());
	ahead_ms += 1100;
	assert_false(watchdog_is_well());
	watchdog_leave();
	assert_true(watchdog_is_well());
}

static void work_that_stands_still_is_not_well(void **state)
{
	(void)state;
	ahead_ms += WATCHDOG_STILL_MS * 2; /* nobody works */
	assert_true(watchdog_is_well());
	watchdog_set_csr(CSR_ID);
	ahead_ms += WATCHDOG_STILL_MS - 1000;
	assert_true(watchdog_is_well());
	watchdog_enter(WATCHDOG_OTHER, "C_FindObjects");
	watchdog_leave();
	ahead_ms += WATCHDOG_STILL_MS - 1000;
	assert_true(watchdog_is_well());
	ahead_ms += 1100;
	assert_false(watchdog_is_well());
	watchdog_wait(true); /* for another thread, which is watched itself */
	ahead_ms += WATCHDOG_STILL_MS * 2;
	assert_true(watchdog_is_well());
	watchdog_wait(false);
	ahead_ms += WATCHDOG_STILL_MS + 100;
	assert_false(watchdog_is_well());
	watchdog_set_csr("");
	assert_true(watchdog_is_well());
	watchdog_set_key("csrd-ftbesqcvgzcgaumu562kjswdg4");
	ahead_ms += WATCHDOG_STILL_MS + 100;
	assert_false(watchdog_is_well());
	watchdog_set_key("");
	assert_true(watchdog_is_well());
}

static void progress_is_calls_that_come_and_go(void **state)
{
	uint64_t moves = 0;

	(void)state;
	(void)watchdog_sees_progress(&moves);
	assert_false(watchdog_sees_progress(&moves));
	watchdog_enter(WATCHDOG_OTHER, "C_Initialize");
	assert_true(watchdog_sees_progress(&moves));
	assert_true(watchdog_sees_progress(&moves)); /* still inside */
	ahead_ms += 11000;
	assert_false(watchdog_sees_progress(&moves)); /* and for too long */
	watchdog_leave();
	assert_true(watchdog_sees_progress(&moves));
	assert_false(watchdog_sees_progress(&moves));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_call_that_hangs_ends_the_process),
	    cmocka_unit_test(a_call_behind_another_is_not_hanging_F176),
	    cmocka_unit_test(calls_in_time_are_left_alone),
	    cmocka_unit_test(time_stopped_is_not_counted),
	    cmocka_unit_test(the_end_has_a_bound_and_keeps_its_code),
	    cmocka_unit_test(a_call_far_past_its_limit_is_not_well),
	    cmocka_unit_test(work_that_stands_still_is_not_well),
	    cmocka_unit_test(progress_is_calls_that_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
