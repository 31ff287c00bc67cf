/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys made ahead of time, which users know as the key pool: which of them are
 * ready to be claimed, and when the next one may be made.  This is the ledger
 * alone; it calls no PKCS#11 (stock_key.h does) and logs nothing.
 *
 * A ready key is on the token under the label of the stock and in the
 * ledger, once in each.  Whoever takes it out of the ledger has it exclusively; what
 * makes the claim outlive the process is its new label on the token.
 *
 * Thread-safe.
 */
#ifndef CSRD_HSM_SIGNER_STOCK_STOCK_H
#define CSRD_HSM_SIGNER_STOCK_STOCK_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"
#include "base/node.h"
#include "hsm/message.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/spki.h"
#include "hsm/signer/token/object.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STOCK_LABEL_SIZE (sizeof(OBJECT_LABEL_PREFIX_STOCK) + NODE_NAME_MAX + 16)

struct stock;
struct stock_options {
	const char *node;                   /* copied; "": the host name */
	uint64_t targets[KEY_TYPE_MAX + 1]; /* by key type; 0: none is made */
	uint64_t pause_ms;                  /* least time between two fills while callers are served */
	uint64_t quiet_ms;                  /* they count as served this long after the last one */
	uint64_t objects_max;               /* no fill while the token holds that many; 0: no limit */
	unsigned threads;                   /* workers */
	key_type_set key_types;             /* that the token makes; targets of others are not filled */
};

/* A key that passed every check of a new one. */
struct stock_key {
	struct stock_key *next;  /* the ledger's */
	struct key key;          /* its handles may be out of date */
	uint64_t epoch;          /* session_epoch() of the handles */
	struct spki *public_key; /* as read from the token and checked; owned */
};

/* E_NOMEM. */
MUST_USE enum err stock_new(const struct stock_options *options, struct stock **ret_stock);
/*
 * The token was found to make these, which need not be those of stock_new:
 * targets of others are not filled.
 */
void stock_set_key_types(struct stock *stock, key_type_set key_types); /* NULL is fine */
void stock_free(struct stock *stock); /* NULL is fine; nothing may be in progress */

/* "csrd-pool:<node>:<type>": the label of both objects of a ready key. */
void stock_label(const struct stock *stock, enum key_type type, char label[STOCK_LABEL_SIZE]);
void stock_label_of_node(const char *node, enum key_type type, char label[STOCK_LABEL_SIZE]);
/* Whose keys these are; borrowed; "" for NULL. */
const char *stock_node(const struct stock *stock);

/* There is a target: keys are made ahead. */
bool stock_is_wanted(const struct stock *stock);
/* The node is the host name, which looks like a container's: it will be different next time. */
bool stock_node_may_change(const struct stock *stock);
/* What other nodes have on the token, as it was seen just now: for the status.  Nothing for NULL. */
void stock_saw_others(struct stock *stock, uint32_t nodes, uint32_t keys);

/* Takes the public key; NULL when out of memory, and then it does not. */
struct stock_key *stock_key_alloc(const struct key *key, struct spki *public_key);
void stock_key_free(struct stock_key *key); /* NULL is fine */

/* ---- ready keys ---- */

/* The one that waited longest; owned; NULL when none is ready or the stock is NULL. */
struct stock_key *stock_take(struct stock *stock, enum key_type type);
/* Back to the front of the line: nothing was done with it. */
void stock_give_back(struct stock *stock, struct stock_key *key);
/* Whether stock_take would have one, a moment ago.  False for NULL. */
bool stock_has_ready(struct stock *stock, enum key_type type);
/* A new one, or one of an earlier run; takes it. */
void stock_put(struct stock *stock, struct stock_key *key);

/* ---- when to make more ---- */

/* Callers come first: work for them begins and ends. */
void stock_caller_begins(struct stock *stock);
void stock_caller_ends(struct stock *stock, uint64_t now_ms);

enum stock_work {
	STOCK_NOTHING,
	STOCK_TAKE_OVER, /* look for keys of an earlier run; once, and nothing beside it */
	STOCK_COUNT,     /* count the objects on the token; nothing beside it */
	STOCK_FILL,      /* make one */
};

/*
 * What an idle thread may do now.  Anything but STOCK_NOTHING has thereby begun,
 * and must be ended by stock_end.  To be called only when no caller waits.
 */
enum stock_work stock_begin(struct stock *stock, uint64_t now_ms, enum key_type *ret_type);
/* After an error the next attempt waits, each time longer, up to a minute. */
void stock_end(struct stock *stock, enum stock_work work, enum key_type type, enum err e, uint64_t now_ms);
/* How long stock_begin will keep returning STOCK_NOTHING if nothing else happens; UINT64_MAX: forever. */
uint64_t stock_wait_ms(struct stock *stock, uint64_t now_ms);

/* STOCK_TAKE_OVER has succeeded, or there is no stock. */
bool stock_is_taken_over(struct stock *stock);
/* STOCK_TAKE_OVER goes type by type; a type is done once, whatever becomes of the others. */
bool stock_type_is_taken_over(struct stock *stock, enum key_type type);
void stock_type_taken_over(struct stock *stock, enum key_type type);

/* The result of STOCK_COUNT, before its stock_end. */
void stock_counted(struct stock *stock, uint64_t objects, uint64_t now_ms);

/* From now on no key is made or given out; `why` is static text for the status. */
void stock_turn_off(struct stock *stock, const char *why);
bool stock_is_off(struct stock *stock);

/* It is not known yet whether this token relabels; until then one key is made at a time. */
bool stock_relabel_is_untried(struct stock *stock);
void stock_relabel_works(struct stock *stock);

/* Fills reply->pools and reply->pool_detail (owned by the caller); nothing when the stock is NULL. */
void stock_status(struct stock *stock, uint64_t now_ms, struct message_status_reply *reply);

#endif
