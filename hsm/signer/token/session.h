/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One read/write session of one worker thread.  Object handles belong to the
 * session that found or made them and are never used after it was reopened.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_SESSION_H
#define CSRD_HSM_SIGNER_TOKEN_SESSION_H

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "hsm/signer/token/gate.h"
#include "hsm/signer/token/judge.h"
#include "hsm/signer/token/token.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct session {
	struct gate *gate;
	struct judge *judge;
	const struct token *token;
	CK_SESSION_HANDLE handle;  /* CK_INVALID_HANDLE: not open */
	CK_RV last;                /* of the last call that failed */
	char failure[256];         /* why the last operation failed: for the log and the reply */
	bool trouble;              /* since session_begin a call failed that a healthy token would not fail */
	bool doubt;                /* … and the token refused what it took when it was probed */
	bool unproven;             /* … and nobody knows whether an object is there */
	bool hidden;               /* … and something may be there that no search finds */
	bool stale;                /* objects were destroyed; see session_refresh */
	const atomic_bool *stop;   /* borrowed; see session_must_stop */
	uint64_t stop_at_ms;       /* likewise, clock_ms(); 0: never */
	bool heeds_signals;        /* likewise: see session_is_told_to_end */
	struct log_gate down_gate; /* a token that is down fails every request alike */

	uint64_t entries; /* see gate_is_shared */

	struct key_map *map;                    /* key_map.c's own, … */
	void (*map_release)(struct session *s); /* … and how it goes when the session is closed */

	/* gate.c's own */
	uint64_t epoch;
	uint64_t module_epoch;
	LIST_ENTRY(session) open;
	LIST_ENTRY(session) inside; /* of those inside the module, */
	uint64_t inside_since_ms;   /* … which it came into then */
};

void session_init(struct session *s, struct gate *gate, struct judge *judge, const struct token *token);

/*
 * Around each piece of work: between the two the module is not
 * reinitialised.  E_UNAVAIL, with the reason in `failure`, while the token is down;
 * `creating`: also while it makes no keys.  Then nothing is to be ended.
 */
MUST_USE enum err session_begin(struct session *s, bool creating);
void session_end(struct session *s);
/* Whether another thread uses the module, or did since the last call of this or since session_begin. */
bool session_is_shared(struct session *s);

/* Opens and logs in.  E_OK when it is open already; else as ckr_err and login_ensure, and it is closed. */
MUST_USE enum err session_open(struct session *s);
void session_close(struct session *s);

/* Closes and opens: all object handles are void. */
MUST_USE enum err session_reopen(struct session *s);

/*
 * What the quirks of the module ask for (quirks.h: one_session), else nothing:
 * a new session after a key was made or used and before one is destroyed, and
 * the module reinitialised after one was destroyed.  All handles are void.
 * object_destroy and key_generate do so before they begin.
 */
MUST_USE enum err session_refresh(struct session *s);

/* Of the handles that this session finds or makes; changes with every rebuild. */
uint64_t session_epoch(const struct session *s);

/* Records what failed ("C_Sign") with its value; returns ckr_err(rv).  Not to be called with CKR_OK. */
MUST_USE enum err session_fail(struct session *s, const char *call, CK_RV rv);

/* Records a reason that is not a CK_RV. */
void session_explain(struct session *s, const char *format, ...) PRINTF_LIKE(2, 3);

/*
 * Around a search whose result is to be believed: a session that is not the
 * user's any more finds no private object, and its search ends with CKR_OK.
 * session_check_login fails (CKR_USER_NOT_LOGGED_IN, or as session_fail) when
 * the user may not have been logged in all the time since session_logins.
 */
uint64_t session_logins(const struct session *s);
MUST_USE enum err session_check_login(struct session *s, uint64_t logins);

/*
 * Work that nobody waits for (the stock, a probe) asks this between any two
 * calls of the module, and when it is true breaks off: the process is to end,
 * or the caller has left or waits no longer (a list of keys, which takes long).
 * Never true for other work of callers.
 */
bool session_must_stop(const struct session *s);
/* SIGTERM or SIGINT, which are blocked, waits to be taken by the server, which does not run yet. */
bool session_is_told_to_end(void);
/* E_UNAVAIL, or E_TIMEOUT past stop_at_ms, with the reason in `failure`. */
MUST_USE enum err session_break_off(struct session *s);

/* Asks the token whether this session is alive and logged in, and whether it is still the same token. */
MUST_USE enum err session_probe(struct session *s, CK_FLAGS *ret_token_flags);

#endif
