/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stores that csrd noted (note-store), the last one first: how far each had
 * come.  Kept in the file `stores` of state_dir, so that a store which went back
 * in time is noticed, even when csrd and this process are restarted.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_STORES_H
#define CSRD_HSM_SIGNER_SERVE_STORES_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/message.h"
#include "hsm/signer/token/state_dir.h"

#include <pthread.h>
#include <stddef.h>

#define STORES_NAME "stores"

struct stores {
	const struct state_dir *dir; /* borrowed */
	pthread_mutex_t lock;        /* not held while the disk works */
	struct stores_list {
		size_t len;
		struct message_store at[MESSAGE_STORES_MAX];
	} list; /* under the lock; changed by stores_note alone */
};

/* A damaged file is reported, and counts as none: then csrd keeps each key that it is not sure of. */
void stores_read(struct stores *s, const struct state_dir *dir);

/* Returns how many. */
size_t stores_copy(struct stores *s, struct message_store ret_stores[MESSAGE_STORES_MAX]);

/* By one thread at a time, beside others that copy.  Durable with E_OK; a sequence below the one remembered
 * changes nothing.  E_IO (see errno), E_NOMEM. */
MUST_USE enum err stores_note(struct stores *s, const struct message_store *store);

#endif
