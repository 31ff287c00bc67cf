/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timer of the event loop, in milliseconds.
 *
 * It fires once, from the loop, when clock_ms() has reached its time, and never
 * earlier.  libevent's own may, since they count from when the loop woke, by a
 * coarse clock.  If there is no memory to arm it, it fires in the next turn of the
 * loop: a time limit may then be too strict, but nothing is forgotten.
 */
#ifndef CSRD_LOOP_TIMER_H
#define CSRD_LOOP_TIMER_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct event_base;

/* May start its timer again, or free the memory that holds it. */
typedef void (*timer_fn)(void *arg);

/* To be embedded; its members are private to timer.c. */
struct timer {
	struct event event;
	timer_fn fire;
	void *arg;
	uint64_t due_ms;
};

/* Not while the timer runs. */
void timer_init(struct timer *timer, struct event_base *base, timer_fn fire, void *arg);

/* A timer that runs starts over. */
void timer_start(struct timer *timer, uint64_t in_ms);

/* Needed before its memory is freed.  Does nothing to a timer that does not run, or is all zero. */
void timer_stop(struct timer *timer);

bool timer_runs(const struct timer *timer);

#endif
