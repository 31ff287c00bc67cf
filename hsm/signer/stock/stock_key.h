/* SPDX-License-Identifier: Apache-2.0 */
/* The token's side of the stock: makes a ready key, and looks at those of an earlier run. */
#ifndef CSRD_HSM_SIGNER_STOCK_STOCK_KEY_H
#define CSRD_HSM_SIGNER_STOCK_STOCK_KEY_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/key/inventory.h"
#include "hsm/signer/stock/stock.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What became of a key that could not be made ready. */
struct stock_key_rest {
	bool is_gone; /* proven: nothing of it is left */
	uint32_t destroyed;
};

/*
 * A new pair of that name, checked as any new key is (I4, weak keys).  *ret_rest is set after an error.  As
 * session_fail; E_HSM, E_NOMEM.
 */
MUST_USE enum err stock_key_make(struct session *s, const char *name, enum key_type type,
				 struct stock_key **ret_key, struct stock_key_rest *ret_rest);

enum stock_key_state {
	STOCK_KEY_READY,  /* a whole pair that passed every check of a new one */
	STOCK_KEY_GONE,   /* the token has nothing of that name */
	STOCK_KEY_BAD,    /* a half pair, or it did not pass */
	STOCK_KEY_UNREAD, /* the token could not report on it */
};
struct stock_key_look {
	enum stock_key_state state;
	struct stock_key *key; /* with STOCK_KEY_READY; owned */
};
/* inventory: of this session, just taken; NULL: it is searched for.  As session_fail; E_LIMIT, E_NOMEM. */
MUST_USE enum err stock_key_look_up(struct session *s, const struct inventory *inventory, const char *name,
				    enum key_type type, struct stock_key_look *ret_look);

/* As object_destroy: nothing of that name is left, under its label or its id. */
MUST_USE enum err stock_key_destroy(struct session *s, const char *name, uint32_t *ret_destroyed);

/*
 * Destroys every key under the label of a stock of csrd 0.1, and
 * proves that none is left.  *ret_destroyed: objects, also after an error.
 * Stops early as session_must_stop says.  As session_fail; E_LIMIT, E_NOMEM.
 */
MUST_USE enum err stock_key_destroy_0_1(struct session *s, const char *label, uint32_t *ret_destroyed);

/* Objects on the token, whoever they belong to.  E_LIMIT, E_NOMEM, as session_fail. */
MUST_USE enum err stock_key_count_objects(struct session *s, uint64_t *ret_objects);

#endif
