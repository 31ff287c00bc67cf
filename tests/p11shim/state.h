/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered over processes, in the folder of P11SHIM_STATE.
 *
 * A counter is a file whose size is the count: an append of one byte is
 * atomic between processes and survives kill -9, and any program can read it.
 * Without a folder nothing is counted.
 */
#ifndef CSRD_TESTS_P11SHIM_STATE_H
#define CSRD_TESTS_P11SHIM_STATE_H

#include <stdbool.h>

/* NULL for none.  The folder is made when it is missing. */
void state_open(const char *folder);

bool state_is_open(void);

void state_add(const char *counter);
unsigned long state_value(const char *counter); /* 0 for one that never counted */
void state_reset(const char *counter);

/* Makes the mark.  True for exactly one caller among all processes that share the folder. */
bool state_claim(const char *mark);

/* One holder among all threads and processes; -1 without a folder.  Given back with state_unlock. */
int state_lock(void);
void state_unlock(int lock);

#endif
