/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long work: its progress, on standard error when that is a terminal, and
 * whether the operator wants it ended (SIGINT, SIGTERM, SIGHUP).
 */
#ifndef CSRD_CLI_PROGRESS_H
#define CSRD_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* From here on the three signals are only remembered. */
void progress_begin(void);

bool progress_is_interrupted(void);

/*
 * Shows the progress, at most a few times a second, and after some seconds the
 * time left.  what: static text, a different one for each piece of work.  total 0:
 * the progress is not known.  False when interrupted.
 */
bool progress_show(const char *what, uint64_t done, uint64_t total);

/* "40 s", "3 min", "2 h": approximately. */
#define PROGRESS_SPAN_SIZE 32
void progress_format_span(uint64_t ms, char text[PROGRESS_SPAN_SIZE]);

/* Clears the line; before anything else is printed. */
void progress_clear(void);

#endif
