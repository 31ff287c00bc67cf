/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the token is usable, and the only way to recover when it is not.
 *
 * A failure that a thread met is judged in one place, judge_repair, by one thread at a
 * time: it opens a session, logs in and makes, uses and destroys a throw-away
 * key.  If that fails the whole module is finalised and initialised again, with
 * nobody inside it; if nothing helps for a while the process should end and be
 * started again.  The verdict is kept at the gate (gate_state).
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_JUDGE_H
#define CSRD_HSM_SIGNER_TOKEN_JUDGE_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/token/gate.h"
#include "hsm/signer/token/login.h"
#include "hsm/signer/token/token.h"

#include <stdbool.h>
#include <stdint.h>

struct judge;
struct session;

/* All borrowed.  keep_alive_ms: how often an idle token is to be reached.  E_NOMEM. */
MUST_USE enum err judge_new(struct gate *gate, struct token *token, const struct login *login,
			    uint64_t keep_alive_ms, struct judge **ret_judge);
void judge_free(struct judge *judge); /* NULL is fine */

/* ---- what threads met, each before it leaves the gate ---- */

/* A call failed in a way that may mean more than this one request. */
void judge_suspect(struct judge *judge);
/*
 * The token refused what it accepted when it was probed: at the next repair it is
 * probed again, with nobody else inside.  At most every ten minutes.
 */
void judge_doubt(struct judge *judge);
/*
 * A search or a destroy was inconclusive.  A module that keeps a table of the
 * objects may be wrong about it when other processes write the same token:
 * after three of these within ten minutes it is reinitialised.  Where that
 * does not help it is not repeated for a minute, then two, up to an hour.
 */
void judge_unproven(struct judge *judge);
/*
 * A search found nothing where something may be hidden (remains.h): the module
 * is reinitialised at the next repair: within seconds, or, if that happens
 * again and again, once a minute.
 */
void judge_hidden(struct judge *judge);

/* ---- for threads that are idle ---- */

/* Something is to be judged or repaired now, and nobody is doing it. */
bool judge_wants_repair(struct judge *judge, uint64_t now_ms);
/* Milliseconds until judge_wants_repair may be true by itself; UINT64_MAX: not by itself. */
uint64_t judge_repair_in_ms(struct judge *judge, uint64_t now_ms);
/* One round, with a session of the caller's, which is not between enter and leave.  Logs what changes. */
void judge_repair(struct judge *judge, struct session *session);
/*
 * Checks with an idle session whether all is well; a failure leads to a repair.
 * One search for an object that does not exist, by one of the sessions: many modules answer
 * everything else by themselves, and neither keep their connection alive that
 * way nor notice that it is lost.
 */
void judge_keep_alive(struct judge *judge, struct session *session);
/* Tries to open a session that the token did not grant before. */
void judge_try_session(struct judge *judge, struct session *session);

/* ---- for everybody ---- */

/* A request came meanwhile: the next repair comes soon. */
void judge_hurry(struct judge *judge);
/* The module is about to be reinitialised, which waits for those inside: begin nothing that can wait. */
bool judge_awaits_renewal(struct judge *judge);
/* A key was destroyed: a token that was full is tried again at once. */
void judge_made_room(struct judge *judge);
/* It has been down for so long that only a new process may help. */
bool judge_is_hopeless(struct judge *judge, uint64_t now_ms);
/* CK_TOKEN_INFO flags as last seen. */
uint64_t judge_token_flags(struct judge *judge);
/* What the probe found, in words; owned by the caller; NULL: out of memory. */
char *judge_capabilities(struct judge *judge);

#endif
