/* SPDX-License-Identifier: Apache-2.0 */
/* Processor time, not time by the clock: on a busy machine the latter measures the neighbours. */
#include "daemon/turn.h"

#include <event2/event.h>

#ifdef CSRD_FAILPOINTS

#include "base/log.h"

#include <stdint.h>
#include <time.h>

#define WORTH_A_LINE_US 1000

static uint64_t thread_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void turn_loop(struct event_base *base)
{
	uint64_t worst = WORTH_A_LINE_US, before = thread_us(), now;

	while (!event_base_got_break(base) && event_base_loop(base, EVLOOP_ONCE) == 0) {
		now = thread_us();
		if (now - before > worst) {
			worst = now - before;
			log_debug("the worst turn of the loop so far took %llu us",
				  (unsigned long long)worst);
		}
		before = thread_us();
	}
}

#else

void turn_loop(struct event_base *base)
{
	(void)event_base_dispatch(base);
}

#endif
