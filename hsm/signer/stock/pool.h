/*
 * Keys made ahead of time: which of them are ready to be claimed, and when the
 * next one may be made.  This is the ledger alone; it calls no PKCS#11
 * (pool_key.h does) and logs nothing.
 *
 * A ready key is on the token under the label of the pool and in the
 * ledger, once in each.  Whoever takes it out of the ledger has it exclusively; what
 * makes the claim outlive the process is its new label on the token.
 *
 * Thread-safe.
 */
#ifndef CSRD_HSM_SIGNER_STOCK_POOL_H
#define CSRD_HSM_SIGNER_STOCK_POOL_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"
#include "base/node.h"
#include "hsm/message.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/spki.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_LABEL_PREFIX "csrd-pool:"
#define POOL_NODE_MAX NODE_NAME_MAX
#define POOL_LABEL_SIZE (sizeof(POOL_LABEL_PREFIX) + POOL_NODE_MAX + 16)

struct pool;
struct pool_options {
	const char *node;                  /* copied; "": the host name */
	uint64_t targets[KEY_TYPE_MAX + 1]; /* by key type; 0: none is made */
	uint64_t pause_ms;                 /* least time between two fills while callers are served */
	uint64_t quiet_ms;                 /* they count as served this long after the last one */
	uint64_t objects_max;              /* no fill while the token holds that many; 0: no limit */
	unsigned threads;                  /* workers */
	key_type_set key_types;            /* that the token makes; targets of others are not filled */
};

/* A key that passed every check of a new one. */
struct pool_key {
	struct pool_key *next; /* the ledger's */
	struct key key;        /* its handles may be out of date */
	uint64_t epoch;        /* session_epoch() of the handles */
	struct spki *public_key; /* as read from the token and checked; owned */
};

/* E_NOMEM. */
MUST_USE enum err pool_new(const struct pool_options *options, struct pool **ret_pool);
/* The token was found to make these, which need not be those of pool_new: targets of others are not filled.
 */
void pool_set_key_types(struct pool *pool, key_type_set key_types); /* NULL is fine */
void pool_free(struct pool *pool); /* NULL is fine; nothing may be in progress */

/* "csrd-pool:<node>:<type>": the label of both objects of a ready key. */
void pool_label(const struct pool *pool, enum key_type type, char label[POOL_LABEL_SIZE]);
void pool_label_of_node(const char *node, enum key_type type, char label[POOL_LABEL_SIZE]);
/* Whose keys these are; borrowed; "" for NULL. */
const char *pool_node(const struct pool *pool);

/* Any target: keys are made ahead. */
bool pool_is_wanted(const struct pool *pool);
/* The node is the host name, which looks like a container's: it will be different next time. */
bool pool_node_may_change(const struct pool *pool);
/* What other nodes have on the token, as it was seen just now: for the status.  Nothing for NULL. */
void pool_saw_others(struct pool *pool, uint32_t nodes, uint32_t keys);

/* Takes the public key; NULL when out of memory, and then it does not. */
struct pool_key *pool_key_alloc(const struct key *key, struct spki *public_key);
void pool_key_free(struct pool_key *key); /* NULL is fine */

/* ---- ready keys ---- */

/* The one that waited longest; owned; NULL when none is ready or the pool is NULL. */
struct pool_key *pool_take(struct pool *pool, enum key_type type);
/* Back to the front of the line: nothing was done with it. */
void pool_give_back(struct pool *pool, struct pool_key *key);
/* Whether pool_take would have one, a moment ago.  False for NULL. */
bool pool_has_ready(struct pool *pool, enum key_type type);
/* A new one, or one of an earlier run; takes it. */
void pool_put(struct pool *pool, struct pool_key *key);

/* ---- when to make more ---- */

/* Callers come first: work for them begins and ends. */
void pool_caller_begins(struct pool *pool);
void pool_caller_ends(struct pool *pool, uint64_t now_ms);

enum pool_work {
	POOL_NOTHING,
	POOL_TAKE_OVER, /* look for keys of an earlier run; once, and nothing beside it */
	POOL_COUNT,     /* count the objects on the token; nothing beside it */
	POOL_FILL,      /* make one */
};

/*
 * What an idle thread may do now.  Anything but POOL_NOTHING has begun with
 * that and must be ended by pool_end.  To be asked only when no caller waits.
 */
enum pool_work pool_begin(struct pool *pool, uint64_t now_ms, enum key_type *ret_type);
/* After an error the next attempt waits, each time longer, up to a minute. */
void pool_end(struct pool *pool, enum pool_work work, enum key_type type, enum err e, uint64_t now_ms);
/* How long pool_begin will keep returning POOL_NOTHING if nothing else happens; UINT64_MAX: forever. */
uint64_t pool_wait_ms(struct pool *pool, uint64_t now_ms);

/* POOL_TAKE_OVER has succeeded, or there is no pool. */
bool pool_is_taken_over(struct pool *pool);
/* POOL_TAKE_OVER goes type by type; a type is done once, whatever becomes of the others. */
bool pool_type_is_taken_over(struct pool *pool, enum key_type type);
void pool_type_taken_over(struct pool *pool, enum key_type type);

/* The result of POOL_COUNT, before its pool_end. */
void pool_counted(struct pool *pool, uint64_t objects, uint64_t now_ms);

/* From now on no key is made or given out; `why` is static text for the status. */
void pool_turn_off(struct pool *pool, const char *why);
bool pool_is_off(struct pool *pool);

/* It is not known yet whether this token relabels; until then one key is made at a time. */
bool pool_relabel_is_untried(struct pool *pool);
void pool_relabel_works(struct pool *pool);

/* Fills reply->pools and reply->pool_detail (owned by the caller); nothing when the pool is NULL. */
void pool_status(struct pool *pool, uint64_t now_ms, struct message_status_reply *reply);

#endif
