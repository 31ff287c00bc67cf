/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key objects on the token: searched for by class and label, distinguished by
 * CKA_ID, destroyed, and proven to be gone.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_OBJECT_H
#define CSRD_HSM_SIGNER_TOKEN_OBJECT_H

#include "base/attr.h"
#include "base/err.h"
#include "base/key.h"
#include "hsm/message.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which objects: all of a label, those of a label that have one CKA_ID, or all of a CKA_ID.  Of a label all
 * where the module chooses CKA_ID (token->ids_own).
 */
struct object_query {
	const char *label;     /* NULL: any, and key_id is set */
	const uint8_t *key_id; /* KEY_ID_BYTES, or NULL for any */
};

struct object_handles {
	CK_OBJECT_HANDLE *at;
	size_t len;
};

/*
 * Counts and the first CKA_ID found, cut or zero-padded to KEY_ID_BYTES; where the module chooses it, the
 * bytes of the key's name in its place.
 */
struct object_found {
	size_t private_keys;
	size_t public_keys;
	uint8_t key_id[KEY_ID_BYTES];
	bool ids_differ;
};

/*
 * As session_fail; E_HSM: it may be there without being found (remains.h), so
 * what was found is not all.
 */
MUST_USE enum err object_find(struct session *s, const struct object_query *query,
			      struct object_found *ret_found);

/*
 * Where the module chooses CKA_ID: the bytes of the name in its place.  Labels that are no names of keys,
 * such as that of the probe, leave it as the module has it.
 */
void object_name_id(const char *label, size_t len, uint8_t id[KEY_ID_BYTES]);

enum message_key_presence object_presence(const struct object_found *found);

/*
 * Destroys private keys first, then public keys, and searches again until a
 * fresh search finds none; the return value of C_DestroyObject is not trusted.  A public key
 * may be destroyed with its private key, and perhaps cannot be destroyed before it.
 * E_OK: there is none.  E_HSM: the token reports that they are destroyed and still
 * finds them, refuses, or may hide them (remains.h).  Else as session_fail.
 * *ret_destroyed, set in every case: those that were found and are gone.
 */
MUST_USE enum err object_destroy(struct session *s, const struct object_query *query,
				 uint32_t *ret_destroyed);

/*
 * The same for a pair that this process has just made and that failed, by its CKA_ID, whatever its label (by
 * the label where the module chooses ids): not broken off by the end of the process, since under another
 * label nobody would find it again.
 */
MUST_USE enum err object_destroy_new(struct session *s, const uint8_t key_id[KEY_ID_BYTES], const char *label,
				     uint32_t *ret_destroyed);

/*
 * Attributes of one object in one call, each with its buffer and the size of
 * it; ulValueLen becomes the length.  E_HSM when one is longer, missing or
 * unavailable; else as session_fail.
 */
#define OBJECT_READ_MAX 8
MUST_USE enum err object_read(struct session *s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
			      size_t len);

/*
 * Every handle that fits the template, at most max.  ret_handles->at is owned: free(3).
 * E_LIMIT, E_NOMEM, as session_fail; so when the user was logged out meanwhile,
 * since then private objects are not found.
 */
MUST_USE enum err object_search(struct session *s, CK_ATTRIBUTE *template, size_t template_len, size_t max,
				struct object_handles *ret_handles);

#endif
