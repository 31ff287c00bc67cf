/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines on their way to the log's thread.  Only that thread waits for whoever
 * reads the log (a pipe that nobody empties, a journald that stands still), so
 * the others never do.  For base/log.c alone; see log_start_thread.
 */
#ifndef CSRD_BASE_LOG_QUEUE_H
#define CSRD_BASE_LOG_QUEUE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>

/* Of all lines that wait, with what it takes to keep them. */
#define LOG_QUEUE_BYTES (1024 * 1024)

/* Writes one event; may block.  Called on the log's thread alone. */
typedef void (*log_queue_fn)(const struct log_event *event);

/* Starts the thread.  E_IO (errno set). */
MUST_USE enum err log_queue_start(log_queue_fn write);

/*
 * Copies the event.  False: there is no thread, so the caller writes it.
 *
 * A full queue drops the new line, because the first lines of a trouble say
 * most about it, and counts it.  Info and debug lines get three quarters of the
 * queue, so that a flood of them does not keep an error out; once one was
 * dropped, all are until half of the queue is free.  Then one warning says how
 * many are missing.
 */
MUST_USE bool log_queue_put(const struct log_event *event);

#endif
