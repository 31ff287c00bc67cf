/* SPDX-License-Identifier: Apache-2.0 */
/* openCryptoki's software token, with a slot daemon (the program pkcsslotd) of a test's own. */
#ifndef CSRD_TESTS_OPENCRYPTOKI_H
#define CSRD_TESTS_OPENCRYPTOKI_H

#include <sys/types.h>

#define OPENCRYPTOKI_MODULE "/usr/lib/x86_64-linux-gnu/pkcs11/libopencryptoki.so"
#define OPENCRYPTOKI_SO_PIN "87654321" /* of a token that was never initialised */
#define OPENCRYPTOKI_SLOTS 2

/*
 * Its paths are built in, so they are own_places, which this begins; what has
 * to be a file lies in `folder`.  Starts the daemon, which ends with this
 * process at the latest, and waits until it serves.  Returns its pid.
 */
pid_t opencryptoki_start(const char *folder);
void opencryptoki_stop(pid_t pid);

#endif
