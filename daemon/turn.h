/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop, one turn after the other.  I8 says that it never blocks; a
 * build with failpoints, as the tests run it, measures the processor time of each
 * turn, and logs each new maximum at debug.
 */
#ifndef CSRD_DAEMON_TURN_H
#define CSRD_DAEMON_TURN_H

struct event_base;

/* Until event_base_loopbreak. */
void turn_loop(struct event_base *base);

#endif
