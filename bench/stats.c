/* SPDX-License-Identifier: Apache-2.0 */
/* Collects latencies and says their percentiles. */
#include "bench/stats.h"

#include "base/exit_code.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

uint64_t stats_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void reserve(struct stats *s, size_t needed)
{
	size_t wanted = s->capacity ? s->capacity : 4096;

	while (wanted < needed)
		wanted *= 2;
	if (wanted == s->capacity)
		return;
	s->took_us = reallocarray(s->took_us, wanted, sizeof(*s->took_us));
	if (!s->took_us)
		abort();
	s->capacity = wanted;
}

void stats_add(struct stats *s, uint64_t took_us)
{
	reserve(s, s->len + 1);
	s->took_us[s->len++] = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
}

void stats_merge(struct stats *into, struct stats *from)
{
	if (from->len) {
		reserve(into, into->len + from->len);
		memcpy(into->took_us + into->len, from->took_us, from->len * sizeof(*from->took_us));
		into->len += from->len;
	}
	stats_release(from);
}

void stats_release(struct stats *s)
{
	free(s->took_us);
	memset(s, 0, sizeof(*s));
}

static int compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

/* The nearest-rank percentile of sorted latencies. */
static uint32_t percentile(const struct stats *s, unsigned percent)
{
	size_t rank = (s->len * percent + 99) / 100;

	return s->len ? s->took_us[rank ? rank - 1 : 0] : 0;
}

static double seconds_of(struct timeval tv)
{
	return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

void stats_print(struct stats *s, double seconds, FILE *out)
{
	struct rusage usage;
	double sum = 0;

	if (s->len)
		qsort(s->took_us, s->len, sizeof(*s->took_us), compare);
	for (size_t i = 0; i < s->len; i++)
		sum += s->took_us[i];
	getrusage(RUSAGE_SELF, &usage);
	fprintf(out, "\"count\":%zu,\"seconds\":%.6f,\"rate\":%.3f,\"mean_us\":%.1f,", s->len, seconds,
		seconds > 0 ? (double)s->len / seconds : 0, s->len ? sum / (double)s->len : 0);
	fprintf(out, "\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"cpu_seconds\":%.3f",
		percentile(s, 50), percentile(s, 90), percentile(s, 99), percentile(s, 100),
		seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
}

double stats_parse_number(const char *option, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value > 0) || value > 1e9) {
		fprintf(stderr, "%s: '%s' is no number above 0\n", option, text);
		exit(EXIT_CODE_USAGE);
	}
	return value;
}
