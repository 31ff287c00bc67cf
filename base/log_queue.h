/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines on their way to the log's thread.  Only that thread waits for the
 * reader of the log (a pipe that nobody empties, a journald that is stuck), so
 * that the others never do.  For base/log.c alone; see log_start_thread.
 */
#ifndef CSRD_BASE_LOG_QUEUE_H
#define CSRD_BASE_LOG_QUEUE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>

/* Of all waiting lines, including their bookkeeping. */
#define LOG_QUEUE_BYTES (1024 * 1024)

/* Writes one event; may block.  Called on the log's thread alone. */
typedef void (*log_queue_fn)(const struct log_event *event);

/* Starts the thread.  E_IO (errno set). */
MUST_USE enum err log_queue_start(log_queue_fn write);

/*
 * Copies the event.  False: there is no thread, so the caller writes it.
 *
 * A full queue drops the new line, because the first lines of an incident say
 * most about it, and counts it.  Info and debug lines get three quarters of the
 * queue, so that a flood of them keeps no error out; once one is dropped, so
 * are all that follow, until half of the queue is free.  Then one warning says
 * how many are missing.
 */
MUST_USE bool log_queue_put(const struct log_event *event);

#endif
