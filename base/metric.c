/* SPDX-License-Identifier: Apache-2.0 */
/* https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format". */
#include "base/metric.h"

#include <stddef.h>

/* One set for all: from an answer out of memory to a key that a slow token makes. */
static const struct {
	uint64_t ns;
	const char *seconds;
} bounds[METRIC_BOUNDS] = {
    {100000, "0.0001"},  {250000, "0.00025"}, {500000, "0.0005"},  {1000000, "0.001"},  {2500000, "0.0025"},
    {5000000, "0.005"},  {10000000, "0.01"},  {25000000, "0.025"}, {50000000, "0.05"},  {100000000, "0.1"},
    {250000000, "0.25"}, {500000000, "0.5"},  {1000000000, "1"},   {2500000000, "2.5"}, {5000000000, "5"},
    {10000000000, "10"}, {30000000000, "30"}, {60000000000, "60"},
};

void metric_times_add(struct metric_times *times, uint64_t ns)
{
	size_t i = 0;

	while (i < METRIC_BOUNDS && ns > bounds[i].ns)
		i++;
	times->counts[i]++;
	times->sum_ns += ns;
}

/* ---- text ---- */

static void metric_put_escaped(struct buf *b, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			buf_put_str(b, "\\n");
		else if (*text == '\\' || *text == '"')
			buf_printf(b, "\\%c", *text);
		else
			buf_put_u8(b, (uint8_t)*text);
	}
}

/* `le`: of a bucket, or NULL. */
static void metric_put_labels(struct buf *b, const struct metric_label *labels, const char *le)
{
	const char *before = "{";

	for (; labels && labels->name; labels++) {
		buf_printf(b, "%s%s=\"", before, labels->name);
		metric_put_escaped(b, labels->value);
		buf_put_u8(b, '"');
		before = ",";
	}
	if (le) {
		buf_printf(b, "%sle=\"%s\"", before, le);
		before = ",";
	}
	if (*before == ',')
		buf_put_u8(b, '}');
}

static void metric_put_sample(struct buf *b, const char *name, const char *suffix,
			      const struct metric_label *labels, uint64_t value)
{
	buf_printf(b, "%s%s", name, suffix);
	metric_put_labels(b, labels, NULL);
	buf_printf(b, " %llu\n", (unsigned long long)value);
}

void metric_put_head(struct buf *b, const char *name, enum metric_type type, const char *help)
{
	static const char *const types[] = {
	    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

void metric_put(struct buf *b, const char *name, const struct metric_label *labels, uint64_t value)
{
	metric_put_sample(b, name, "", labels, value);
}

void metric_put_seconds(struct buf *b, const char *name, const struct metric_label *labels, uint64_t us)
{
	buf_put_str(b, name);
	metric_put_labels(b, labels, NULL);
	buf_printf(b, " %llu.%06llu\n", (unsigned long long)us / 1000000, (unsigned long long)us % 1000000);
}

void metric_put_times(struct buf *b, const char *name, const struct metric_label *labels,
		      const struct metric_times *times)
{
	uint64_t count = 0;

	for (size_t i = 0; i <= METRIC_BOUNDS; i++) {
		count += times->counts[i];
		buf_printf(b, "%s_bucket", name);
		metric_put_labels(b, labels, i < METRIC_BOUNDS ? bounds[i].seconds : "+Inf");
		buf_printf(b, " %llu\n", (unsigned long long)count);
	}
	buf_printf(b, "%s_sum", name);
	metric_put_labels(b, labels, NULL);
	buf_printf(b, " %llu.%09llu\n", (unsigned long long)times->sum_ns / 1000000000,
		   (unsigned long long)times->sum_ns % 1000000000);
	metric_put_sample(b, name, "_count", labels, count);
}
