/*
 * Long work: how far it is, on standard error when that is a terminal, and
 * whether the operator wants it ended (SIGINT, SIGTERM, SIGHUP).
 */
#ifndef CSRD_CLI_PROGRESS_H
#define CSRD_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* From here on the three signals are only remembered. */
void progress_begin(void);

bool progress_is_interrupted(void);

/* Shown at most some times a second.  total 0: how far is not known.  False when interrupted. */
bool progress_show(const char *what, uint64_t done, uint64_t total);

/* Clears the line; before anything else is said. */
void progress_clear(void);

#endif
