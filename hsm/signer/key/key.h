/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new key pair in the token, and what the token reports about it afterwards
 * (invariant I4: nothing in a template counts until it is read back).
 */
#ifndef CSRD_HSM_SIGNER_KEY_KEY_H
#define CSRD_HSM_SIGNER_KEY_KEY_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"
#include "hsm/signer/token/session.h"
#include "hsm/signer/token/template.h"

#include <stddef.h>
#include <stdint.h>

#define KEY_HELD_ID_MAX 64

/* Handles are of the session that made the pair. */
struct key {
	enum key_type type;
	uint8_t id[KEY_ID_BYTES]; /* CKA_ID of both objects, unless the module chooses it */
	CK_OBJECT_HANDLE private_key;
	CK_OBJECT_HANDLE public_key;
	/* of the private key, as read back */
	uint8_t held_id[KEY_HELD_ID_MAX]; /* CKA_ID, or the beginning of it */
	size_t held_id_len;
	uint32_t protection;
};

/* A fresh random CKA_ID; E_IO when the kernel gives no random bytes. */
MUST_USE enum err key_new_id(uint8_t ret_id[KEY_ID_BYTES]);

/*
 * Makes a pair for signing and nothing else, both objects with that label and
 * id.  After an error objects may have been left behind.
 */
MUST_USE enum err key_generate(struct session *s, enum key_type type, const char *label,
			       const uint8_t id[KEY_ID_BYTES], struct key *ret_key);

/*
 * Reads both objects back: label, id (unless the module chooses it) and key type are those asked for, and the
 * private key has all of KEY_PROT_REQUIRED and none of KEY_PROT_FORBIDDEN except
 * what the token's allow_usage tolerates.  Sets key->protection and key->held_id.  E_HSM when
 * something differs or is not answered; else as session_fail.
 */
MUST_USE enum err key_read_back(struct session *s, const char *label, struct key *key);

/*
 * Destroys a new pair that is not found by its CKA_ID: by the handles that the
 * token returned, in the session that made it.  E_OK: they no longer refer to
 * anything.  E_HSM: they refer to objects that do not prove to be ours, or the
 * token refuses.  Else as session_fail.
 */
MUST_USE enum err key_destroy_handles(struct session *s, const struct key *key, const char *label);

/* What the token reports about any private key now: enum key_protection bits.  As session_fail. */
MUST_USE enum err key_protection_read(struct session *s, CK_OBJECT_HANDLE private_key,
				      uint32_t *ret_protection);

#endif
