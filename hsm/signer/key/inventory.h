/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything on the token whose label begins as that of a key does ("csrd-", or "csrd:" of csrd 0.1), as
 * one look at it saw it; and of ready keys of other nodes how many there are.
 *
 * A generation that was killed half-way can leave objects of three kinds: with
 * a label and without a partner (listed, as a half pair), with a label and
 * without key material (listed likewise, and destroyed like any other), and
 * without either.  The last are not keys, cannot be distinguished from objects
 * that other programs are making, and are left alone.
 */
#ifndef CSRD_HSM_SIGNER_KEY_INVENTORY_H
#define CSRD_HSM_SIGNER_KEY_INVENTORY_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/key.h"
#include "hsm/message.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STOCK_LABEL_PREFIX_0_1 "csrd-pool:" /* of the ready keys of csrd 0.1: <node>:<type> */
#define INVENTORY_OBJECTS_MAX 4000000       /* of each class on the token, ours or not */

struct inventory_object;
struct inventory_node; /* one that has ready keys on the token */
struct inventory {
	char *labels; /* one after the other, each with its NUL */
	size_t labels_len;
	size_t labels_capacity;
	struct inventory_object *objects; /* sorted by label */
	size_t len;
	size_t capacity;
	struct inventory_node *nodes; /* sorted by name */
	size_t nodes_len;
	size_t nodes_capacity;
	uint32_t unread; /* objects that were found twice and could not be read */
};

/* Objects that come or go meanwhile may be in it or not.  E_LIMIT, E_NOMEM, as session_fail. */
MUST_USE enum err inventory_take(struct session *s, struct inventory *ret_inventory);
void inventory_release(struct inventory *inventory); /* leaves it zeroed */

/* The handles, for the session that took it, if there is exactly one pair with that label. */
bool inventory_find_pair(const struct inventory *inventory, const char *label, CK_OBJECT_HANDLE *ret_private,
			 CK_OBJECT_HANDLE *ret_public, uint8_t ret_key_id[KEY_ID_BYTES]);

/* Sets what LIST_KEYS says of each, MESSAGE_LIFE_NONE before. */
typedef enum message_key_life (*inventory_life_fn)(void *arg, const char *label);
void inventory_tell_lives(struct inventory *inventory, inventory_life_fn life, void *arg);

/* A key of that label is a ready one of that node: counted, if it is there.  E_NOMEM. */
MUST_USE enum err inventory_count_ready(struct inventory *inventory, const char *node, const char *label);

/* Whether there is any object of that label. */
bool inventory_has(const struct inventory *inventory, const char *label);

/* How many nodes besides `own` have ready keys, and how many keys. */
void inventory_count_nodes(const struct inventory *inventory, const char *own, uint32_t *ret_nodes,
			   uint32_t *ret_keys);
/* Appends the payload of a LIST_POOLS reply.  E_NOMEM. */
MUST_USE enum err inventory_encode_nodes(const struct inventory *inventory, const char *own,
					 struct buf *payload);

/*
 * Appends the payload of one LIST_KEYS part and moves *at, which starts at 0.
 * True when that was the last part; an empty inventory has one empty part.
 */
bool inventory_encode_part(const struct inventory *inventory, size_t *at, struct buf *payload);

#endif
