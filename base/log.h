/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operational log, to standard error: one line per event, lower case, no full
 * stop, what failed first.  Where standard error is a stream to the journal
 * (JOURNAL_STREAM names its device and inode) each line starts with the "<N>"
 * priority that journald reads; elsewhere with a UTC time, the program and the
 * level.  Control characters in a message are escaped as \xNN, so one event is
 * one line whatever a client sent.  A sink may take the events instead.
 *
 * The caller writes the line itself and waits until it is accepted, except in a
 * process that called log_start_thread.
 *
 * Thread-safe.  A secret (PIN, API token, key material) is never an argument.
 * Audit is not logging: see the store.
 */
#ifndef CSRD_BASE_LOG_H
#define CSRD_BASE_LOG_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Values are those of syslog(3), which journald reads. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARN = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* program is borrowed forever.  Lines above `level` are dropped. */
void log_open(const char *program, enum log_level level);
void log_set_level(enum log_level level);

/*
 * From now on a separate log thread writes the lines, in their order, and
 * callers never wait.  Past LOG_QUEUE_BYTES (base/log_queue.h) lines are
 * dropped, and one says how many.  After log_open and log_set_sink; not for
 * short-lived tools, which may wait.  E_IO; logs the cause.
 */
MUST_USE enum err log_start_thread(void);

/*
 * Waits until every line is written, for within_ms at most: before _exit(2).
 * exit(3) and a crash do it by themselves.  Async-signal-safe.
 */
#define LOG_FLUSH_MS 1000
void log_flush(uint64_t within_ms);

/* "error", "warning", "notice", "info", "debug"; E_INVAL for anything else. */
MUST_USE enum err log_level_parse(const char *text, enum log_level *ret_level);

/* Lines that were dropped since the start of the process, those included of which no line says so yet. */
uint64_t log_lost(void);

/* What an event belongs to; NULL: left out.  Adds " req=… csr=…" to the message; only a sink uses token. */
struct log_context {
	const char *request_id;
	const char *csr_id;
	const char *token; /* [token NAME]; the message names it, too */
};

void log_write(enum log_level level, const struct log_context *context, const char *format, ...)
    PRINTF_LIKE(3, 4);

#define log_error(...) log_write(LOG_LEVEL_ERROR, 0, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, 0, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, 0, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, 0, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, 0, __VA_ARGS__)

/* log_error with ": <text of e>" after the message. */
void log_err(enum err e, const char *format, ...) PRINTF_LIKE(2, 3);

/* Whether standard error was a stream to the journal at log_open. */
bool log_is_to_journal(void);

/*
 * Another destination for the events, in place of standard error: journald's own protocol.
 * The message is escaped and at most LOG_MESSAGE_MAX_BYTES long; the whole event is borrowed.
 * False: the sink could not take it, and it goes to standard error.  Called on any thread, by several
 * at a time; after log_start_thread only on the log's thread, where it may block.
 */
#define LOG_MESSAGE_MAX_BYTES 16384
struct log_event {
	enum log_level level;
	int64_t wall_us;                   /* when it was logged */
	const struct log_context *context; /* NULL: none */
	const char *message;               /* with what the context adds */
};
typedef bool (*log_sink_fn)(const struct log_event *event);
void log_set_sink(log_sink_fn sink); /* before the first thread; NULL: none */

/*
 * A gate for an event that may repeat quickly: lets one pass in `every_ms`.
 * *ret_suppressed is how many were held back since the last one that passed.
 * Zero-initialise it.  Not thread-safe: each thread has its own.
 */
struct log_gate {
	uint64_t last_ms;
	unsigned suppressed;
};
bool log_gate_pass(struct log_gate *gate, uint64_t every_ms, unsigned *ret_suppressed);

#endif
