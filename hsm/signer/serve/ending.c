/* SPDX-License-Identifier: Apache-2.0 */
/* The end of the process in spite of the module. */
#include "hsm/signer/serve/ending.h"

#include "base/log.h"
#include "hsm/signer/token/watchdog.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLOSE_WITHIN_MS 5000
#define STACK_BYTES 65536 /* for the handler: a crash may be an exhausted stack */

enum phase { RUNNING, CLOSING, CLOSED };

static atomic_int phase = RUNNING;
static atomic_int final_code = EXIT_CODE_TOKEN_FAILED;

/* Async-signal-safe.  Nobody may be reading the log, so nothing is waited for without a bound. */
static void NORETURN end_with(const char *text, size_t len)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	log_flush(LOG_FLUSH_MS);
	if (poll(&p, 1, LOG_FLUSH_MS) == 1 && write(STDERR_FILENO, text, len) < 0)
		_exit(atomic_load(&final_code));
	_exit(atomic_load(&final_code));
}

/* exit(3) by somebody else than us. */
static void on_exit_call(void)
{
	static const char text[] = "csrd-hsm: the pkcs#11 module called exit(3)\n";

	if (atomic_load(&phase) != CLOSED)
		end_with(text, sizeof(text) - 1);
}

static void on_crash(int signal_number)
{
	static const char text[] = "csrd-hsm: the pkcs#11 module crashed while it was closed\n";

	(void)signal_number;
	end_with(text, sizeof(text) - 1);
}

enum err ending_prepare(void)
{
	if (atexit(on_exit_call)) {
		log_error("cannot register an exit handler");
		return E_IO;
	}
	return E_OK;
}

/* While it runs, a crash is a crash: the supervisor and the kernel's log tell it. */
static void ending_catch_crashes(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
	static unsigned char stack[STACK_BYTES];
	const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = on_crash};

	if (sigaltstack(&alternate, NULL) == 0)
		action.sa_flags = SA_ONSTACK;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

void ending_begin(enum exit_code code)
{
	atomic_store(&final_code, (int)code);
	atomic_store(&phase, CLOSING);
#ifndef CSRD_INSTRUMENTED /* a sanitizer's report comes before the exit code */
	ending_catch_crashes();
#else
	(void)ending_catch_crashes;
#endif
	watchdog_end_within(CLOSE_WITHIN_MS, code);
}

/*
 * All is closed in order before, so there is nothing left to do for the
 * destructors of a vendor's module.  Instrumented builds need exit(3) for their reports.
 */
void ending_leave(enum exit_code code)
{
	fflush(NULL);
	log_flush(LOG_FLUSH_MS);
#ifdef CSRD_INSTRUMENTED
	atomic_store(&phase, CLOSED);
	exit(code);
#else
	_exit(code);
#endif
}
