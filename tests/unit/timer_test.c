/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of the loop: never early, and what becomes of them without memory. */
#include "tests/unit/cmocka_all.h"

#include "base/clock.h"
#include "loop/timer.h"

#include <event2/event.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define HOUR_MS 3600000
#define TURNS_MAX 1000

/* libevent's memory: none while this is set. */
static bool is_out_of_memory;

static void *take(size_t size)
{
	return is_out_of_memory ? NULL : malloc(size);
}

static void *take_more(void *memory, size_t size)
{
	return is_out_of_memory ? NULL : realloc(memory, size);
}

struct count {
	struct event_base *base;
	struct timer timer;
	unsigned fired;
	uint64_t fired_ms, due_ms;
	bool again;
	bool descriptor_served;
};

static void on_fire(void *arg)
{
	struct count *c = arg;

	c->fired++;
	c->fired_ms = clock_ms();
	if (c->again)
		timer_start(&c->timer, HOUR_MS);
	if (c->fired >= TURNS_MAX)
		event_base_loopbreak(c->base);
}

static int set_up(void **state)
{
	struct count *c = calloc(1, sizeof(*c));

	c->base = event_base_new();
	timer_init(&c->timer, c->base, on_fire, c);
	*state = c;
	return c->base ? 0 : -1;
}

static int tear_down(void **state)
{
	struct count *c = *state;

	is_out_of_memory = false;
	timer_stop(&c->timer);
	event_base_free(c->base);
	free(c);
	return 0;
}

static void one_that_was_started_again_fires_once(void **state)
{
	struct count *c = *state;

	assert_false(timer_runs(&c->timer));
	timer_start(&c->timer, HOUR_MS);
	timer_start(&c->timer, 1);
	assert_true(timer_runs(&c->timer));
	assert_int_equal(event_base_dispatch(c->base), 1); /* there is nothing more to wait for */
	assert_int_equal(c->fired, 1);
	assert_false(timer_runs(&c->timer));
}

static void one_that_was_stopped_does_not_fire(void **state)
{
	struct count *c = *state;
	struct timer zero = {.fire = NULL};

	timer_start(&c->timer, 0);
	timer_stop(&c->timer);
	timer_stop(&c->timer);
	timer_stop(&zero);
	assert_false(timer_runs(&c->timer) || timer_runs(&zero));
	assert_int_equal(event_base_dispatch(c->base), 1);
	assert_int_equal(c->fired, 0);
}

/* The loop's clock stands while a callback runs. */
static void start_late(evutil_socket_t fd, short what, void *arg)
{
	const struct timespec pause = {.tv_nsec = 30000000};
	struct count *c = arg;

	(void)fd, (void)what;
	nanosleep(&pause, NULL);
	c->due_ms = clock_ms() + 20;
	timer_start(&c->timer, 20);
}

static void none_fires_early(void **state)
{
	const struct timeval now = {0, 0};
	struct count *c = *state;

	assert_int_equal(event_base_once(c->base, -1, EV_TIMEOUT, start_late, c, &now), 0);
	assert_int_equal(event_base_dispatch(c->base), 1);
	assert_int_equal(c->fired, 1);
	assert_true(c->fired_ms >= c->due_ms);
}

static void without_memory_it_fires_at_once(void **state)
{
	struct count *c = *state;

	is_out_of_memory = true;
	timer_start(&c->timer, HOUR_MS);
	assert_int_equal(c->fired, 0); /* but not from inside */
	assert_true(event_base_loop(c->base, EVLOOP_NONBLOCK) >= 0);
	assert_int_equal(c->fired, 1);
	timer_start(&c->timer, HOUR_MS);
	timer_stop(&c->timer);
	assert_true(event_base_loop(c->base, EVLOOP_NONBLOCK) >= 0);
	assert_int_equal(c->fired, 1);
}

static void on_byte(evutil_socket_t fd, short what, void *arg)
{
	struct count *c = arg;

	(void)fd, (void)what;
	c->descriptor_served = true;
	event_base_loopbreak(c->base);
}

static void without_memory_the_loop_still_serves_others(void **state)
{
	struct count *c = *state;
	struct event *readable;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	readable = event_new(c->base, ends[0], EV_READ, on_byte, c);
	assert_int_equal(event_add(readable, NULL), 0);
	is_out_of_memory = true;
	c->again = true;
	timer_start(&c->timer, HOUR_MS);
	assert_int_equal(event_base_dispatch(c->base), 0);
	assert_true(c->descriptor_served);
	assert_in_range(c->fired, 1, TURNS_MAX - 1);
	event_free(readable);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(one_that_was_started_again_fires_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(one_that_was_stopped_does_not_fire, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(none_fires_early, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(without_memory_it_fires_at_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(without_memory_the_loop_still_serves_others, set_up, tear_down),
	};

	event_set_mem_functions(take, take_more, free);
	return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
