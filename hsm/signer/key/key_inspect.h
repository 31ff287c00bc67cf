/* SPDX-License-Identifier: Apache-2.0 */
/* What the token reports about the key pair of one CSR now.  Reads only. */
#ifndef CSRD_HSM_SIGNER_KEY_KEY_INSPECT_H
#define CSRD_HSM_SIGNER_KEY_KEY_INSPECT_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/message.h"
#include "hsm/signer/token/session.h"

/* E_NOMEM, as session_fail.  A key that is found and cannot be read is an answer: release *ret_reply. */
MUST_USE enum err key_inspect(struct session *s, const char *label,
			      struct message_inspect_key_reply *ret_reply);

#endif
