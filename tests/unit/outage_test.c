/* SPDX-License-Identifier: Apache-2.0 */
/* The pauses while the HSM is away: how long they are, what ends them, and when they begin anew. */
#include "tests/unit/cmocka_all.h"

#include "hsm/signer/serve/outage.h"

#include "base/buf.h"
#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SECOND INT64_C(1000000)
#define SLACK_MS 1000 /* of a machine that is busy */

struct fixture {
	char folder[64];
	struct state_dir *dir;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->folder, sizeof(f->folder), "/tmp/csrd-outage-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(state_dir_open(f->folder, &f->dir), E_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	outage_over(f->dir);
	state_dir_close(f->dir);
	assert_int_equal(rmdir(f->folder), 0); /* nothing else is left in it */
	free(f);
	return 0;
}

static void put_text(const struct fixture *f, const char *text)
{
	struct buf b;

	buf_init(&b, 128);
	buf_put_str(&b, text);
	assert_int_equal(state_dir_write(f->dir, OUTAGE_NAME, &b), E_OK);
	buf_release(&b);
}

/* The first start that failed was that long ago. */
static void put_since(const struct fixture *f, int64_t ago_us)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(clock_wall_us() - ago_us, text);
	put_text(f, text);
}

static void assert_pause(const struct fixture *f, uint64_t wanted_ms)
{
	assert_in_range(outage_pause_ms(f->dir), wanted_ms, wanted_ms + SLACK_MS / 8);
}

static void first_start_does_not_pause(void **state)
{
	assert_int_equal(outage_pause_ms(((struct fixture *)*state)->dir), 0);
	assert_pause(*state, 0); /* nor does the next one, right after it */
}

static void pauses_grow_with_the_outage(void **state)
{
	put_since(*state, 8 * SECOND);
	assert_pause(*state, 1000);
	assert_pause(*state, 1000); /* a start that fails begins no new outage */
	put_since(*state, 40 * SECOND);
	assert_pause(*state, 5000);
	put_since(*state, 30 * 86400 * SECOND);
	assert_int_equal(outage_pause_ms(((struct fixture *)*state)->dir), OUTAGE_PAUSE_MAX_MS);
}

static void over_means_from_the_start(void **state)
{
	put_since(*state, 80 * SECOND);
	outage_over(((struct fixture *)*state)->dir);
	assert_pause(*state, 0);
}

/* Neither a clock that was set back nor half a file holds anything up. */
static void nonsense_is_begun_anew(void **state)
{
	static const char *const texts[] = {"", "\n", "yesterday\n", "2026-13-01T00:00:00Z\n"};

	put_since(*state, -3600 * SECOND);
	assert_pause(*state, 0);
	assert_pause(*state, 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put_text(*state, texts[i]);
		assert_pause(*state, 0);
	}
}

static int take_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	assert_true(fd >= 0);
	return fd;
}

static void sleeps_unless_it_is_told_to_end(void **state)
{
	uint64_t began_ms = clock_ms();
	int fd = take_signals();

	(void)state;
	raise(SIGHUP); /* says nothing here */
	assert_false(outage_sleep(50, fd));
	assert_true(clock_ms() - began_ms >= 50);
	raise(SIGTERM);
	began_ms = clock_ms();
	assert_true(outage_sleep(60000, fd));
	assert_true(clock_ms() - began_ms < 30000);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(first_start_does_not_pause, setup, teardown),
	    cmocka_unit_test_setup_teardown(pauses_grow_with_the_outage, setup, teardown),
	    cmocka_unit_test_setup_teardown(over_means_from_the_start, setup, teardown),
	    cmocka_unit_test_setup_teardown(nonsense_is_begun_anew, setup, teardown),
	    cmocka_unit_test(sleeps_unless_it_is_told_to_end),
	};

	return cmocka_run_group_tests_name("outage", tests, NULL, NULL);
}
