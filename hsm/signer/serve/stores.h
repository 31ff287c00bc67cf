/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stores that csrd noted (note-store), the last one first: how far each had
 * come.  Kept in the file `stores` of state_dir, so that a store which went back
 * in time is noticed, even when csrd and this process start anew.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_STORES_H
#define CSRD_HSM_SIGNER_SERVE_STORES_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/message.h"
#include "hsm/signer/token/state_dir.h"

#include <stddef.h>

#define STORES_NAME "stores"

struct stores {
	const struct state_dir *dir; /* borrowed */
	size_t len;
	struct message_store at[MESSAGE_STORES_MAX];
};

/* A damaged file is said to be one, and counts as none: then csrd keeps each key that it is not sure of. */
void stores_read(struct stores *s, const struct state_dir *dir);

/* Durable with E_OK; a sequence below the one remembered changes nothing.  E_IO (see errno), E_NOMEM. */
MUST_USE enum err stores_note(struct stores *s, const struct message_store *store);

#endif
