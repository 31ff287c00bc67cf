/* SPDX-License-Identifier: Apache-2.0 */
/* Threads, and waits on the monotonic clock. */
#ifndef CSRD_BASE_THREAD_H
#define CSRD_BASE_THREAD_H

#include "base/attr.h"
#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Starts a thread that takes no signals: they are for the thread that handles
 * them.  Only those of a crash are left to it, so that their handlers run.
 * Programs that it starts would begin like that, too: code that may do so gets
 * its thread elsewhere.  `name`, of 15 characters at most, is what "ps -L" shows.
 * ret_thread: to be joined; NULL: nobody will join it.  E_IO, errno kept.
 */
typedef void *(*thread_fn)(void *arg);
MUST_USE enum err thread_start(const char *name, thread_fn run, void *arg, pthread_t *ret_thread);

/* A condition for thread_cond_wait_until; pthread_cond_destroy(3) ends it. */
void thread_cond_init(pthread_cond_t *cond);

/* pthread_cond_wait(3), but no longer than until clock_ms() is until_ms.  False: it is. */
bool thread_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ms);

#endif
