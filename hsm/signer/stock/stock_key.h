/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token's side of the stock: makes a ready key, finds those of an earlier
 * run, and hands one over to a CSR by giving it the CSR's label.
 */
#ifndef CSRD_HSM_SIGNER_STOCK_STOCK_KEY_H
#define CSRD_HSM_SIGNER_STOCK_STOCK_KEY_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/stock/stock.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A new pair under the label of the stock, checked as any new key is (I4, weak
 * keys).  After an error nothing is left, or what is left is settled by
 * stock_key_take_over in the next run.  As session_fail; E_HSM, E_IO, E_NOMEM.
 */
MUST_USE enum err stock_key_make(struct session *s, const char *label, enum key_type type,
				 struct stock_key **ret_key);

/*
 * Destroys a pair that stock_key_make has just made in this session: whatever its label and id are now,
 * nothing of it is left.  As object_destroy and key_destroy_handles.
 */
MUST_USE enum err stock_key_unmake(struct session *s, const char *label, const struct key *key);

/* Proves that no object of that key is left under the label of the stock. */
MUST_USE enum err stock_key_destroy(struct session *s, const char *label, const struct key *key);

/*
 * Whether this token allows the label of a key to be written: writes the one that
 * it has.  E_UNSUPPORTED: it refuses.  Else as session_fail.
 */
MUST_USE enum err stock_key_try_relabel(struct session *s, const char *label, const struct key *key);

/*
 * Gives the key to a CSR: writes `label` over `old_label`, on the private
 * object first, then on the public one, and reads all of it back
 * (key_read_back).  Handles that are out of date are found again by CKA_ID.
 *
 * *ret_touched is set in every case: false when the token was not asked to
 * change anything.  E_NOTFOUND (untouched): the pair is not under old_label, or
 * the token does not let it be read: it is lost to the stock, and what is left
 * of it under old_label was destroyed if that could be done.
 * Any other error after a touch leaves objects under both labels or either.
 */
MUST_USE enum err stock_key_claim(struct session *s, const char *old_label, const char *label,
				  struct stock_key *ready, bool *ret_touched);

/* What an earlier run left under the label of the stock. */
struct stock_key_found {
	struct stock_key *first; /* whole pairs that passed every check; owned */
	size_t pairs;
	size_t half_pairs; /* destroyed */
	size_t bad;        /* did not pass; destroyed */
	size_t unread;     /* the token could not report on them; left alone */
};
/*
 * To be called before any key of that type is made or claimed in this run.
 * Half pairs are what a crash left of a generation, or of a claim whose
 * private key is under its CSR's label already and is reconciled there.
 * As session_fail; E_LIMIT, E_NOMEM; then nothing is to be released.
 */
MUST_USE enum err stock_key_take_over(struct session *s, const char *label, enum key_type type,
				      struct stock_key_found *ret_found);

/*
 * Destroys every key under the label of a stock that is no longer used, and
 * proves that none is left.  *ret_destroyed: objects, also after an error.
 * Stops early as session_must_stop says.  As session_fail; E_LIMIT, E_NOMEM.
 */
MUST_USE enum err stock_key_destroy_all(struct session *s, const char *label, uint32_t *ret_destroyed);

/* Objects on the token, whoever they belong to.  E_LIMIT, E_NOMEM, as session_fail. */
MUST_USE enum err stock_key_count_objects(struct session *s, uint64_t *ret_objects);

#endif
