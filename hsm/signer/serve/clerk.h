/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread for requests that wait for the disk and need no token: CONFIRM and
 * NOTE_STORE.  They come in the order in which they were sent.  Private to workers.c
 * and clerk.c.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_CLERK_H
#define CSRD_HSM_SIGNER_SERVE_CLERK_H

#include "hsm/message.h"

#include <stdbool.h>

/* Such a request is for this thread. */
bool clerk_does(enum message_type type);

void *clerk_run(void *workers); /* its thread */

#endif
