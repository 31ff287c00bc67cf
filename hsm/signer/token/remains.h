/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that the token was asked to destroy and said that it did not.  Some
 * modules forget such an object all the same (SoftHSM 2.6.1 drops it from its
 * memory, and it stays in the folder of the token), and then no search of this
 * process finds it.  So what is in here is not taken for gone because it is not
 * found, until it was destroyed after all or the module was reinitialised.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_REMAINS_H
#define CSRD_HSM_SIGNER_TOKEN_REMAINS_H

#include "base/attr.h"
#include "base/err.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct remains;

/* What the object says of itself; either text may be empty. */
struct remains_object {
	CK_OBJECT_CLASS class;
	uint8_t label[96];
	size_t label_len; /* cut to what there is room for */
	uint8_t id[64];
	size_t id_len;
};

/* Thread-safe, all of them.  E_NOMEM. */
MUST_USE enum err remains_new(struct remains **ret_remains);
void remains_free(struct remains *remains); /* NULL is fine */

void remains_put(struct remains *remains, const struct remains_object *object);
/* It was destroyed after all. */
void remains_drop(struct remains *remains, const struct remains_object *object);
/* The module was reinitialised: what is there is found. */
void remains_clear(struct remains *remains);

/* Whether one of that label and id may be there without being found; either may be NULL, for any. */
bool remains_may_hide(struct remains *remains, const char *label, const uint8_t *id, size_t id_len);
/* How many there may be. */
size_t remains_count(struct remains *remains);

#endif
