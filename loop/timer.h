/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timer of the event loop, in milliseconds.
 *
 * It fires from the loop and once, when clock_ms() has reached its time: never
 * before, as libevent's own do, which count from when the loop woke, by a coarse
 * clock.  When there is no memory to keep it by, it fires at the next turn of the loop:
 * a limit may be kept too strictly, and what is to be done is not forgotten.
 */
#ifndef CSRD_LOOP_TIMER_H
#define CSRD_LOOP_TIMER_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;

/* It may start its timer again, and free the memory that it is in. */
typedef void (*timer_fn)(void *arg);

/* To be embedded; what is in it is timer.c's. */
struct timer {
	struct event event;
	timer_fn fire;
	void *arg;
	uint64_t due_ms;
};

/* Not while it runs. */
void timer_init(struct timer *timer, struct event_base *base, timer_fn fire, void *arg);

/* One that runs begins anew. */
void timer_start(struct timer *timer, uint64_t in_ms);

/* Before its memory is freed.  Nothing for one that does not run, or is all zero. */
void timer_stop(struct timer *timer);

bool timer_runs(const struct timer *timer);

#endif
