/* SPDX-License-Identifier: Apache-2.0 */
/* Timers over libevent's. */
#include "loop/timer.h"

#include "base/clock.h"

#include <event2/event.h>

static void timer_arm(struct timer *timer, uint64_t ms)
{
	const struct timeval in = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	if (event_add(&timer->event, &in) == 0)
		return;
	timer->due_ms = 0;
	event_active(&timer->event, EV_TIMEOUT, 0);
	/* One that starts itself again and again would be all that this turn ever does. */
	event_base_loopcontinue(event_get_base(&timer->event));
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct timer *timer = arg;
	uint64_t now_ms = clock_ms();

	(void)fd, (void)what;
	if (now_ms < timer->due_ms)
		timer_arm(timer, timer->due_ms - now_ms);
	else
		timer->fire(timer->arg);
}

void timer_init(struct timer *timer, struct event_base *base, timer_fn fire, void *arg)
{
	timer->fire = fire;
	timer->arg = arg;
	timer->due_ms = 0;
	evtimer_assign(&timer->event, base, on_due, timer);
}

void timer_start(struct timer *timer, uint64_t in_ms)
{
	timer->due_ms = clock_ms() + in_ms;
	timer_arm(timer, in_ms);
}

void timer_stop(struct timer *timer)
{
	if (event_initialized(&timer->event))
		event_del(&timer->event);
}

bool timer_runs(const struct timer *timer)
{
	return event_initialized(&timer->event) && event_pending(&timer->event, EV_TIMEOUT, NULL);
}
