/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends the process when a call into the PKCS#11 module does not return.
 * Foreign code that hangs cannot be interrupted in any other reliable way;
 * whoever supervises the process starts it again (EXIT_CODE_TOKEN_FAILED).
 *
 * There is one watchdog in a process, because the module's functions carry no
 * context: a thread announces each call, and the watchdog's own thread looks at
 * all of them.  Time for which the whole process stood still (SIGSTOP, a paused
 * machine) is not counted.
 *
 * Nor is time in which a call may have had to wait for another: many modules do
 * one thing at a time.  While a call that began earlier, and has as much time or
 * more, is within its own limit, the clocks of the later ones stand still.  So
 * the earliest call always runs against its limit, except that a lock need not
 * be fair: one that began later and has more time stops the clock too, in all for
 * as long as that one may take.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_WATCHDOG_H
#define CSRD_HSM_SIGNER_TOKEN_WATCHDOG_H

#include "base/attr.h"
#include "base/err.h"
#include "base/exit_code.h"

#include <stdbool.h>
#include <stdint.h>

/* What a call does, and so how long it may take. */
enum watchdog_kind {
	WATCHDOG_OTHER,          /* [token] timeout_other */
	WATCHDOG_SIGN,           /* timeout_sign */
	WATCHDOG_GENERATE,       /* timeout_generate */
	WATCHDOG_GENERATE_LARGE, /* timeout_generate_large */
};
#define WATCHDOG_KINDS 4

struct watchdog_limits {
	uint64_t ms[WATCHDOG_KINDS];
};

/* A thread that works for one CSR or key this long without entering or leaving the module is stuck. */
#define WATCHDOG_STILL_MS 60000

/* Starts the thread; signals must be blocked already.  Calls announced before are not watched.  E_IO. */
MUST_USE enum err watchdog_start(const struct watchdog_limits *limits);

/* Brackets one call of `function` (static text) into the module: enter before, leave after.  Not nested. */
void watchdog_enter(enum watchdog_kind kind, const char *function);
/* One call that does the work of that many, made by a library in one go.  0 counts as 1. */
void watchdog_enter_many(enum watchdog_kind kind, const char *function, uint64_t calls);
void watchdog_leave(void);

/* What this thread works for: for the log line, and for watchdog_is_well.  Either ends the other; "" for
 * nothing. */
void watchdog_set_csr(const char *csr_id);
void watchdog_set_key(const char *label);

/* This thread waits for another that is about to call the module, and is not stuck meanwhile. */
void watchdog_wait(bool waiting);

/*
 * For whoever watches the watchdog: no call is further past its limit
 * than the watchdog itself lets it go, and no thread that works for a CSR has
 * stood still outside of the module.
 */
bool watchdog_is_well(void);

/*
 * Whether a thread is inside the module, or was since the last time that this
 * was asked with the same *moves (0 at first).  False as well unless watchdog_is_well.
 */
bool watchdog_sees_progress(uint64_t *moves);

/* From now on: at the latest in `within_ms` the process ends with `code`, wherever its threads are. */
void watchdog_end_within(uint64_t within_ms, enum exit_code code);

#endif
