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
 * Starts a thread with signals blocked: they are for the thread that handles
 * them.  Only those of a crash stay unblocked, so that their handlers run.
 * A program that it starts would inherit the blocked signals, so code that may
 * start one must get its thread elsewhere.  `name`, of 15 characters at most, is
 * what "ps -L" shows.  ret_thread: to be joined; NULL: detached.  E_IO, errno kept.
 */
typedef void *(*thread_fn)(void *arg);
MUST_USE enum err thread_start(const char *name, thread_fn run, void *arg, pthread_t *ret_thread);

/* A condition for thread_cond_wait_until; pthread_cond_destroy(3) ends it. */
void thread_cond_init(pthread_cond_t *cond);

/* pthread_cond_wait(3), but only until clock_ms() reaches until_ms.  False: it has. */
bool thread_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ms);

#endif
