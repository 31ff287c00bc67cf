/* SPDX-License-Identifier: Apache-2.0 */
/* A TPM 2.0 emulator (the program swtpm) of a test's own. */
#ifndef CSRD_TESTS_SWTPM_H
#define CSRD_TESTS_SWTPM_H

#include <sys/types.h>

struct swtpm {
	pid_t pid; /* 0: none runs */
	unsigned port;
};

/*
 * Starts one on 127.0.0.1, its state and its log in `folder`, and waits until
 * it answers.  It ends with this process at the latest.  Fails the running
 * test when it does not come up.
 */
void swtpm_start(struct swtpm *t, const char *folder);
void swtpm_stop(struct swtpm *t);

/*
 * Unloads all keys and sessions: what a resource manager does when the process
 * that loaded them is gone, and what a restart of the machine does.
 */
void swtpm_flush(const struct swtpm *t);

#endif
