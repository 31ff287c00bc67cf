/* SPDX-License-Identifier: Apache-2.0 */
/* How threads are started, and how they wait. */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

enum err thread_start(const char *name, thread_fn run, void *arg, pthread_t *ret_thread)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
	sigset_t blocked, before;
	pthread_t thread;
	int rc;

	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigdelset(&blocked, crashes[i]);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	rc = pthread_create(&thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc) {
		errno = rc;
		return E_IO;
	}
	pthread_setname_np(thread, name);
	if (ret_thread)
		*ret_thread = thread;
	else
		pthread_detach(thread);
	return E_OK;
}

void thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

bool thread_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ms)
{
	const struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000L};

	return pthread_cond_timedwait(cond, lock, &until) == 0;
}
