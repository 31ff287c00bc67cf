/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel that gives no random bytes: include it once in a test program, whose
 * getrandom(2) then stands before libc's.
 */
#ifndef CSRD_TESTS_FAKES_NO_RANDOM_H
#define CSRD_TESTS_FAKES_NO_RANDOM_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

static int no_random_errno;   /* 0: it gives what it has */
static bool no_random_short;  /* one byte at a time, and EINTR between any two */
static bool no_random_waited; /* somebody asked in a way that waits */

ssize_t getrandom(void *data, size_t len, unsigned flags)
{
	static bool interrupt;

	no_random_waited = no_random_waited || !(flags & GRND_NONBLOCK);
	if (no_random_errno != 0) {
		errno = no_random_errno;
		return -1;
	}
	if (no_random_short && (interrupt = !interrupt)) {
		errno = EINTR;
		return -1;
	}
	return syscall(SYS_getrandom, data, no_random_short && len > 1 ? 1 : len, flags);
}

#endif
