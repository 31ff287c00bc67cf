/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys made ahead of time, which users know as the key pool: which of them are
 * ready, which of those are open, and when the next one may be made.  This is
 * the ledger alone; it calls no PKCS#11 and knows no journal (book.h does), and
 * logs nothing.
 *
 * A ready key is on the token under its name and was used for nothing.  It is
 * closed until the block to which it belongs is opened; only open keys are taken.
 * Whoever takes one out of the ledger has it exclusively.
 *
 * Thread-safe.
 */
#ifndef CSRD_HSM_SIGNER_STOCK_STOCK_H
#define CSRD_HSM_SIGNER_STOCK_STOCK_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"
#include "base/key_name.h"
#include "base/node.h"
#include "hsm/message.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/spki.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define STOCK_BLOCK 16   /* keys of a type that are open, at most: what a crash may cost */
#define STOCK_OPEN_LOW 2 /* open keys at which the next block is opened ahead */

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
	TAILQ_ENTRY(stock_key) next; /* of whoever has it */
	char name[KEY_NAME_SIZE];
	struct key key;          /* its handles may be out of date */
	uint64_t epoch;          /* session_epoch() of the handles */
	bool is_moving;          /* the ledger's: it is being opened, and still counts */
	struct spki *public_key; /* as read from the token and checked; owned */
};
TAILQ_HEAD(stock_list, stock_key);

/* E_NOMEM. */
MUST_USE enum err stock_new(const struct stock_options *options, struct stock **ret_stock);
/*
 * The token was found to make these, which need not be those of stock_new:
 * targets of others are not filled.
 */
void stock_set_key_types(struct stock *stock, key_type_set key_types); /* NULL is fine */
void stock_free(struct stock *stock); /* NULL is fine; nothing may be in progress */

/* Whose keys these are; borrowed; "" for NULL. */
const char *stock_node(const struct stock *stock);

/* There is a target: keys are made ahead. */
bool stock_is_wanted(const struct stock *stock);
/* The node is the host name, which looks like a container's: it will be different next time. */
bool stock_node_may_change(const struct stock *stock);
/* What other nodes have on the token, as it was seen just now: for the status.  Nothing for NULL. */
void stock_saw_others(struct stock *stock, uint32_t nodes, uint32_t keys);

/* Takes the public key; NULL when out of memory, and then it does not. */
struct stock_key *stock_key_alloc(const char *name, const struct key *key, struct spki *public_key);
void stock_key_free(struct stock_key *key); /* NULL is fine */
void stock_list_free(struct stock_list *keys);

/* ---- ready keys ---- */

/* The open one that waited longest; owned; NULL when none is open. */
struct stock_key *stock_take(struct stock *stock, enum key_type type);
/* Whether there was a ready one, open or closed, a moment ago. */
bool stock_has_ready(struct stock *stock, enum key_type type);
/* Whether none is open and some are closed. */
bool stock_needs_opening(struct stock *stock, enum key_type type);
/* A new one, or one of an earlier run, which is closed; takes it. */
void stock_put(struct stock *stock, struct stock_key *key);

/*
 * Appends closed keys to `to`, as many as may be opened now (≤ STOCK_BLOCK), the oldest first.  Keys that are
 * open from here on are given to stock_put_open, others to stock_give_back; both empty the list.
 */
void stock_take_closed(struct stock *stock, enum key_type type, struct stock_list *to);
void stock_put_open(struct stock *stock, struct stock_list *keys);
void stock_give_back(struct stock *stock, struct stock_list *keys);

/* Names of all that are closed; with all: of the open ones, too.  *ret_names is owned.  E_NOMEM. */
MUST_USE enum err stock_names(struct stock *stock, bool all, char (**ret_names)[KEY_NAME_SIZE],
			      size_t *ret_len);

/* ---- when to make more ---- */

/* Callers come first: work for them begins and ends. */
void stock_caller_begins(struct stock *stock);
void stock_caller_ends(struct stock *stock, uint64_t now_ms);

enum stock_work {
	STOCK_NOTHING,
	STOCK_TAKE_OVER, /* settle what an earlier run left; once, and nothing beside it */
	STOCK_TIDY,      /* destroy what could not be destroyed; nothing beside it */
	STOCK_OPEN,      /* open a block ahead */
	STOCK_COUNT,     /* count the objects on the token; nothing beside it */
	STOCK_FILL,      /* make one */
	STOCK_TELL,      /* tell the token which are ready; nothing beside it */
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

/* STOCK_TAKE_OVER has succeeded. */
bool stock_is_taken_over(struct stock *stock);

/* There is something to tidy, or no more. */
void stock_set_untidy(struct stock *stock, bool untidy);

/* What the token was told last is what is closed now. */
void stock_is_told(struct stock *stock, uint64_t now_ms);

/* The result of STOCK_COUNT, before its stock_end. */
void stock_counted(struct stock *stock, uint64_t objects, uint64_t now_ms);

/* From now on no key is made or given out; `why` is static text for the status. */
void stock_turn_off(struct stock *stock, const char *why);
bool stock_is_off(struct stock *stock);

/* Something was wrong at the start that people are to know; static text for the status. */
void stock_warn(struct stock *stock, const char *what);

/* Fills reply->pools and reply->pool_detail (owned by the caller); nothing when the stock is NULL. */
void stock_status(struct stock *stock, uint64_t now_ms, struct message_status_reply *reply);

#endif
