/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop, one turn after the other.  I8 says that it never blocks; a
 * build with failpoints, as the tests run it, measures what each turn takes of
 * the processor and logs every new worst one at debug.
 */
#ifndef CSRD_DAEMON_TURN_H
#define CSRD_DAEMON_TURN_H

struct event_base;

/* Until event_base_loopbreak. */
void turn_loop(struct event_base *base);

#endif
