/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token's list of keys as reconciliation needs it: in the order of the CSRs'
 * ids, taken from the front.  Kept as sorted runs that are merged on the fly, so
 * that no step takes long however many there are.
 */
#ifndef CSRD_API_KEY_LIST_H
#define CSRD_API_KEY_LIST_H

#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"
#include "base/key.h"
#include "base/uuid.h"
#include "hsm/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_LIST_MAX (1024 * 1024)

struct key_list_key {
	uint8_t uuid[UUID_BYTES]; /* of the CSR */
	uint8_t key_id[KEY_ID_BYTES];
	uint8_t presence; /* enum message_key_presence */
};

struct key_list_run;
struct key_list {
	struct key_list_run **runs; /* the last is being filled; once sealed: a heap, smallest front first */
	size_t runs_len;
	size_t runs_capacity;
	size_t keys_len;
};
/* Zeroed, it is empty. */
void key_list_release(struct key_list *l);

/* E_LIMIT: KEY_LIST_MAX; E_NOMEM. */
MUST_USE enum err key_list_add(struct key_list *l, const struct key_list_key *key);
/* After the last one is in. */
void key_list_seal(struct key_list *l);

/* Once sealed: the smallest that is left, or NULL. */
const struct key_list_key *key_list_front(const struct key_list *l);
/* Takes it; what was added twice counts as ambiguous. */
struct key_list_key key_list_take(struct key_list *l);

#endif
