/*
 * Ends the process when a call into the PKCS#11 module does not come back.
 * Foreign code that hangs cannot be interrupted in any other dependable way;
 * whoever supervises the process starts it again (EXIT_CODE_TOKEN_FAILED).
 *
 * There is one watchdog in a process, because the module's functions carry no
 * context: a thread announces each call, and the watchdog's own thread looks at
 * all of them.  Time for which the whole process stood still (SIGSTOP, a paused
 * machine) is not counted.
 */
#ifndef CSRD_HSM_SIGNER_WATCHDOG_H
#define CSRD_HSM_SIGNER_WATCHDOG_H

#include "base/attr.h"
#include "base/err.h"
#include "base/exit_code.h"

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

/* Starts the thread; signals must be blocked already.  Calls announced before are not watched.  E_IO. */
MUST_USE enum err watchdog_start(const struct watchdog_limits *limits);

/* This thread is about to call `function` (static text), and back from it.  Not nested. */
void watchdog_enter(enum watchdog_kind kind, const char *function);
void watchdog_leave(void);

/* Whom this thread works for, for the log line; "" for nobody. */
void watchdog_set_csr(const char *csr_id);

/* From now on: at the latest in `within_ms` the process ends with `code`, wherever its threads are. */
void watchdog_end_within(uint64_t within_ms, enum exit_code code);

#endif
