/*
 * One read/write session of one worker thread.  Object handles belong to the
 * session that found or made them and are never used after it was reopened.
 */
#ifndef CSRD_HSM_SIGNER_SESSION_H
#define CSRD_HSM_SIGNER_SESSION_H

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "hsm/signer/login.h"
#include "hsm/signer/token.h"

#include <stdbool.h>

struct session {
	const struct token *token;
	struct login *login;
	CK_SESSION_HANDLE handle;  /* CK_INVALID_HANDLE: not open */
	CK_RV last;                /* of the last call that failed */
	char failure[256];         /* why the last operation failed: for the log and the reply */
	struct log_gate down_gate; /* a token that is down fails every request alike */
};

void session_init(struct session *s, const struct token *token, struct login *login);

/* Opens and logs in.  E_OK when it is open already; else as ckr_err and login_ensure, and it is closed. */
MUST_USE enum err session_open(struct session *s);
void session_close(struct session *s);

/* Closes and opens: all object handles are void. */
MUST_USE enum err session_reopen(struct session *s);

/* Records what failed ("C_Sign") with its value; returns ckr_err(rv).  Not to be called with CKR_OK. */
MUST_USE enum err session_fail(struct session *s, const char *call, CK_RV rv);

/* Records a reason that is not a CK_RV. */
void session_explain(struct session *s, const char *format, ...) PRINTF_LIKE(2, 3);

/* Asks the token whether this session is alive and logged in. */
MUST_USE enum err session_probe(struct session *s);

#endif
