/* SPDX-License-Identifier: Apache-2.0 */
/* The sessions that the caller holds: counted, and made invalid on order. */
#ifndef CSRD_TESTS_P11SHIM_SESSION_H
#define CSRD_TESTS_P11SHIM_SESSION_H

#include <p11-kit/pkcs11.h>

#include <stdbool.h>

/* Room for one more among `max` (0: no limit); then session_opened or session_not_opened follows. */
bool session_reserve(unsigned long max);
void session_opened(CK_SESSION_HANDLE session, CK_SLOT_ID slot);
void session_not_opened(void);

/* A call begins and ends to use it.  False when it was made invalid. */
bool session_enter(CK_SESSION_HANDLE session);
void session_leave(CK_SESSION_HANDLE session);

void session_closed(CK_SESSION_HANDLE session);
void session_closed_slot(CK_SLOT_ID slot);
void session_closed_all(void);

/*
 * All sessions that are open now end, in the module too, so that it forgets
 * the login with the last of them.  One that a call is using ends after it.
 */
void session_invalidate_all(void);

unsigned long session_count(void);

/* One that is open, for a call that has none; CK_INVALID_HANDLE: there is none. */
CK_SESSION_HANDLE session_any(void);

#endif
