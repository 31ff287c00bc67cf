/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data objects (CKO_DATA) of CKA_APPLICATION "csrd": a few bytes each, which
 * the token keeps for us.  They are private objects and, where the token takes
 * that, cannot be changed: one is replaced by making another.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_DATA_OBJECT_H
#define CSRD_HSM_SIGNER_TOKEN_DATA_OBJECT_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "hsm/signer/token/object.h"
#include "hsm/signer/token/session.h"

#include <stdbool.h>
#include <stddef.h>

#define DATA_OBJECT_BYTES_MAX 131072

/* fixed: CKA_MODIFIABLE false.  As session_fail; after an error it may be there all the same. */
MUST_USE enum err data_object_make(struct session *s, const char *label, const struct buf *value, bool fixed,
				   CK_OBJECT_HANDLE *ret_object);

/* All of ours.  As object_search. */
MUST_USE enum err data_object_search(struct session *s, struct object_handles *ret_objects);

/* Appends the value.  E_HSM: the object has none, or one that is too long; E_NOMEM; else as session_fail. */
MUST_USE enum err data_object_read(struct session *s, CK_OBJECT_HANDLE object, struct buf *value);

/* Whether it has that label.  As object_read. */
MUST_USE enum err data_object_has_label(struct session *s, CK_OBJECT_HANDLE object, const char *label,
					bool *ret_has);

/* E_OK: it is gone, by the word of the token.  As session_fail. */
MUST_USE enum err data_object_destroy(struct session *s, CK_OBJECT_HANDLE object);

#endif
