/* SPDX-License-Identifier: Apache-2.0 */
/* The trace: one line a call, and the loud end on a mistake in the set-up. */
#ifndef CSRD_TESTS_P11SHIM_TRACE_H
#define CSRD_TESTS_P11SHIM_TRACE_H

#include <stdint.h>

struct call;

/* NULL for no trace. */
void trace_open(const char *path);

/*
 * Writes the call's line.  `end` is NULL for a call that returns c->rv, else
 * the word for what becomes of it ("abort"); after "sleep" the call has one
 * more line, that of its return.  Never a PIN, a key or data.
 */
void trace_call(const struct call *c, const char *end);

/* CLOCK_MONOTONIC in microseconds. */
uint64_t trace_now_us(void);

/* A line on stderr, and in the trace; then abort(). */
_Noreturn void trace_fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
