/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of this process, under the names that all Prometheus clients give them. */
#ifndef CSRD_DAEMON_PROCESS_H
#define CSRD_DAEMON_PROCESS_H

#include <stdint.h>

struct buf;

/* started_us: clock_wall_us().  What the kernel does not tell is left out. */
void process_put(struct buf *b, int64_t started_us);

#endif
