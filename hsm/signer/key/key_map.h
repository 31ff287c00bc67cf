/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles of key pairs by their labels, for looking up one pair after the other,
 * as csrctl verify --full does.  In some modules a search by label reads every
 * object of the token, so that n lookups would cost n times n; one list of all
 * objects costs as much as one search.
 *
 * A map belongs to a session and is made after a few lookups in quick succession.
 * It is never trusted: for what it names, the token is asked for class, label and
 * CKA_ID each time, and what it does not name is searched for.
 */
#ifndef CSRD_HSM_SIGNER_KEY_KEY_MAP_H
#define CSRD_HSM_SIGNER_KEY_KEY_MAP_H

#include "base/key.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>

struct key_map_pair {
	CK_OBJECT_HANDLE private_key;
	CK_OBJECT_HANDLE public_key;
	uint8_t key_id[KEY_ID_BYTES];
};

/* True: the token has just confirmed that this is the pair under the label.  False: search for it. */
bool key_map_find(struct session *s, const char *label, struct key_map_pair *ret_pair);

/* Releases what it holds; does nothing for a session without a map. */
void key_map_drop(struct session *s);

#endif
