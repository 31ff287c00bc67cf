/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named points at which a test can kill the process, as a power cut would.
 *
 * They exist only in builds with FAILPOINTS=1 (the test builds); elsewhere the
 * macro expands to nothing.  In such a build the environment variable
 * CSRD_FAILPOINT_FILE names a file; when its content is the name of a point
 * that is reached, the file is unlinked and the process sends itself SIGKILL.
 * "NAME sleep" instead of "NAME" makes it hang there forever.
 */
#ifndef CSRD_BASE_FAILPOINT_H
#define CSRD_BASE_FAILPOINT_H

#ifdef CSRD_FAILPOINTS
#include <stdbool.h>

void failpoint_hit(const char *name);
/* Whether FAILPOINT(name) would kill here: for a point that must first set up the state it dies in. */
bool failpoint_is_armed(const char *name);
#define FAILPOINT(name) failpoint_hit(name)
#define FAILPOINT_ARMED(name) failpoint_is_armed(name)
#else
#define FAILPOINT(name) ((void)0)
#define FAILPOINT_ARMED(name) 0
#endif

#endif
