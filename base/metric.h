/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures for monitoring: histograms of times, and the text format of
 * Prometheus, version 0.0.4.  A histogram belongs to one thread, or to whoever
 * holds its owner's lock.
 *
 * What is put goes into a buffer, to be checked with buf_status once all is there.
 */
#ifndef CSRD_BASE_METRIC_H
#define CSRD_BASE_METRIC_H

#include "base/buf.h"

#include <stdint.h>

#define METRIC_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRIC_BOUNDS 18 /* from 0.1 ms to 60 s (metric.c) */

struct metric_times {
	uint64_t
	    counts[METRIC_BOUNDS + 1]; /* by bucket, each without those below it; the last has no bound */
	uint64_t sum_ns;
};
void metric_times_add(struct metric_times *times, uint64_t ns);

enum metric_type { METRIC_COUNTER = 1, METRIC_GAUGE, METRIC_HISTOGRAM };

/* A list of labels ends with one that has no name; NULL: no labels.  Values may hold any UTF-8. */
struct metric_label {
	const char *name;
	const char *value;
};

/* The lines that stand before the first sample of a metric. */
void metric_put_head(struct buf *b, const char *name, enum metric_type type, const char *help);
/* One sample. */
void metric_put(struct buf *b, const char *name, const struct metric_label *labels, uint64_t value);
void metric_put_seconds(struct buf *b, const char *name, const struct metric_label *labels, uint64_t us);
/* All samples of one histogram, in seconds. */
void metric_put_times(struct buf *b, const char *name, const struct metric_label *labels,
		      const struct metric_times *times);

#endif
