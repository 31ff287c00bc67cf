/* SPDX-License-Identifier: Apache-2.0 */
/* Times.  Names in `_ms` and `_ns` mean the monotonic clock, those in `_us` UTC since 1970. */
#ifndef CSRD_BASE_CLOCK_H
#define CSRD_BASE_CLOCK_H

#include "base/attr.h"
#include "base/err.h"

#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds.  The same for all processes of one boot. */
uint64_t clock_ms(void);

/* The same clock, in nanoseconds. */
uint64_t clock_ns(void);

/* CLOCK_REALTIME in microseconds since 1970-01-01 UTC. */
int64_t clock_wall_us(void);

/* "2026-11-23T14:25:01.123456Z" and its NUL. */
#define CLOCK_RFC3339_SIZE 28
void clock_format_rfc3339(int64_t wall_us, char text[CLOCK_RFC3339_SIZE]);

/*
 * RFC 3339 date-time with "Z" or "+hh:mm", seconds required, fraction up to
 * 9 digits (cut to 6), or a bare date "YYYY-MM-DD" (midnight UTC).
 * Years 1970–9999.  E_INVAL.
 */
MUST_USE enum err clock_parse_rfc3339(const char *text, int64_t *ret_wall_us);

/* "250ms", "30s", "5m", "24h", "7d" → milliseconds; E_INVAL.  A unit is required, except for "0". */
MUST_USE enum err clock_parse_duration(const char *text, uint64_t *ret_ms);

#endif
