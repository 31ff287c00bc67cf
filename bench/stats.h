/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies of one run, and the line of JSON that the load programs print. */
#ifndef CSRD_BENCH_STATS_H
#define CSRD_BENCH_STATS_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

uint64_t stats_now_us(void); /* CLOCK_MONOTONIC */

struct stats {
	uint32_t *took_us;
	size_t len;
	size_t capacity;
};

void stats_add(struct stats *s, uint64_t took_us);        /* aborts when out of memory */
void stats_merge(struct stats *into, struct stats *from); /* empties `from` */
void stats_release(struct stats *s);

/*
 * "count":…,"seconds":…,"rate":…,"mean_us":…,"p50_us":…,"p90_us":…,"p99_us":…,
 * "max_us":…,"cpu_seconds":… without braces; cpu_seconds is this process's own.
 * Sorts the latencies.
 */
void stats_print(struct stats *s, double seconds, FILE *out);

/* A number above 0 from the command line, or exit status 64 naming the option. */
double stats_parse_number(const char *option, const char *text);

#endif
