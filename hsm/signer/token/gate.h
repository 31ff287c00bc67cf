/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is inside the module, and by which sessions.
 *
 * Every thread that uses the module reports it: gate_enter before, gate_leave
 * after a piece of work.  While the token is down the gate refuses at once; the
 * token's state is set by the judge (judge.h).  Whoever must have the module to
 * itself takes the gate: then nobody else can enter.
 *
 * Sessions and object handles have an epoch: they are void after a later
 * rebuild.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_GATE_H
#define CSRD_HSM_SIGNER_TOKEN_GATE_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/token/login.h"
#include "hsm/signer/token/module.h"
#include "hsm/signer/token/token.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_REASON_SIZE 256

struct gate;
struct remains;
struct session;

enum token_state {
	TOKEN_UP,
	TOKEN_NO_KEYS, /* sessions work, but it makes no keys: full, write-protected, … */
	TOKEN_DOWN,
};

/* All borrowed; the token's slot is written by gate_restart_module.  E_NOMEM. */
MUST_USE enum err gate_new(struct module *module, struct token *token, struct login *login,
			   struct gate **ret_gate);
void gate_free(struct gate *gate); /* no session may be open; NULL is fine */

/* ---- in and out ---- */

/*
 * E_OK: the module stays as it is until gate_leave.  E_UNAVAIL, with the
 * reason: the token is down, or makes no keys and `creating` is set.
 */
MUST_USE enum err gate_enter(struct gate *gate, struct session *session, bool creating,
			     char ret_reason[TOKEN_REASON_SIZE]);
void gate_leave(struct gate *gate, struct session *session);
/*
 * Whether somebody else is inside, or came in since the call that set *entries,
 * which is set anew.
 */
bool gate_is_shared(struct gate *gate, uint64_t *entries);

/* TOKEN_NO_KEYS until it is first judged. */
enum token_state gate_state(struct gate *gate, char ret_reason[TOKEN_REASON_SIZE]);
/* The judge's. */
void gate_set_state(struct gate *gate, enum token_state state, const char *reason);

/* ---- alone ---- */

#define GATE_ALONE_WITHIN_MS 1000 /* others usually get that long to leave */

/*
 * For callers outside: waits until nobody is inside, and keeps others out until
 * gate_end_alone.  False: they did not leave in time, or have been inside for
 * so long that there was no point in waiting (gate_is_held_up); then do not call gate_end_alone.
 */
bool gate_take(struct gate *gate, uint64_t within_ms);
/* Somebody has been inside for so long that waiting that long again would be in vain. */
bool gate_is_held_up(struct gate *gate, uint64_t within_ms);
/*
 * For callers inside, between two attempts at a piece of work that failed while
 * others used the module.  As gate_take.  Sessions and handles may be void
 * afterwards in either case.
 */
bool gate_begin_alone(struct gate *gate, struct session *session);
void gate_end_alone(struct gate *gate);

/* ---- the module ---- */

/*
 * Alone: logs out, closes all sessions, and has the module reinitialised
 * (module_restart); the session tells what failed.  All sessions and handles
 * are void.
 */
MUST_USE enum err gate_restart_module(struct gate *gate, struct session *session);
/* For the only session there is, between enter and leave: the same, and opens it again. */
MUST_USE enum err gate_renew(struct gate *gate, struct session *session);
/* What could not be destroyed since the module was last initialised. */
struct remains *gate_remains(struct gate *gate);

/* ---- sessions ---- */

/* As session_open and session_close say; lost: the session is gone, which begins an epoch, once for all. */
MUST_USE enum err gate_open_session(struct gate *gate, struct session *session, bool lost);
void gate_close_session(struct gate *gate, struct session *session);
/* Whether any session is open and not void, or just being opened: work can go on without the others.  Does
   not wait for the module. */
bool gate_has_sessions(struct gate *gate);
uint64_t gate_epoch(const struct gate *gate);
/* As login_attempts. */
uint64_t gate_logins(const struct gate *gate);

#endif
