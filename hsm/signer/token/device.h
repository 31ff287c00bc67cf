/*
 * Whether the token can be worked with, and the one way back when it cannot.
 *
 * Every thread that uses the module says so: device_enter before, device_leave
 * after a piece of work.  While the token is down device_enter refuses at once.
 * What a thread met is judged in one place, device_repair, by one thread at a
 * time: it opens a session, logs in and makes, uses and destroys a throw-away
 * key.  If that fails the whole module is finalised and initialised again, with
 * nobody inside it; if nothing helps for a while the process is to end and be
 * started again.
 *
 * Sessions and object handles have an epoch: they are void after a rebuild that
 * came after them.
 */
#ifndef CSRD_HSM_SIGNER_TOKEN_DEVICE_H
#define CSRD_HSM_SIGNER_TOKEN_DEVICE_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/token/login.h"
#include "hsm/signer/token/module.h"
#include "hsm/signer/token/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_REASON_SIZE 256

struct device;
struct remains;
struct session;

enum device_state {
	DEVICE_UP,
	DEVICE_NO_KEYS, /* sessions work, but it makes no keys: full, write-protected, … */
	DEVICE_DOWN,
};

/*
 * All borrowed; the token's slot is written by device_repair.  keep_alive_ms:
 * how often an idle token is to be reached.  E_NOMEM.
 */
MUST_USE enum err device_new(struct module *module, struct token *token, struct login *login,
			     uint64_t keep_alive_ms, struct device **ret_device);
void device_free(struct device *device); /* no session may be open; NULL is fine */

/* ---- for threads with work to do ---- */

/*
 * E_OK: the module stays as it is until device_leave.  E_UNAVAIL, with the
 * reason: the token is down, or makes no keys and `creating` is set.
 */
MUST_USE enum err device_enter(struct device *device, struct session *session, bool creating,
			       char ret_reason[DEVICE_REASON_SIZE]);
/*
 * Whether somebody else is inside, or came in since the call that set *entries,
 * which is set anew.
 */
bool device_is_shared(struct device *device, uint64_t *entries);
/* trouble: a call failed in a way that may mean more than this one request. */
void device_leave(struct device *device, struct session *session, bool trouble);

/*
 * Between the two.  The token refused what it took when it was probed: at the
 * next repair it is probed anew, with nobody else inside.  Not more often than
 * every ten minutes.
 */
void device_doubt(struct device *device);
/*
 * Likewise.  A search or a destroy came to no end that proves anything.  A
 * module that keeps a table of the objects may be wrong about it when other
 * processes write the same token: after three of these within ten minutes it
 * is reinitialised.  Where that does not help it is not done again for a
 * minute, then two, up to an hour.
 */
void device_unproven(struct device *device);
/*
 * Likewise.  A search found nothing where something may be hidden (remains.h):
 * the module is reinitialised at the next repair: within seconds, and where
 * it comes again and again once a minute.
 */
void device_hidden(struct device *device);
/* What would not be destroyed since the module was initialised last. */
struct remains *device_remains(struct device *device);

/*
 * Likewise, between two attempts of a piece of work that failed while others
 * used the module: waits until nobody else is inside, and keeps them out until
 * device_end_alone.  False: others did not get out in time, or have been inside
 * for so long that they were not waited for; nothing is to be ended.  Sessions
 * and handles may be void afterwards in either case.
 */
bool device_begin_alone(struct device *device, struct session *session);
void device_end_alone(struct device *device);

/* ---- for threads that are idle ---- */

/* Something is to be judged or repaired now, and nobody is at it. */
bool device_wants_repair(struct device *device, uint64_t now_ms);
/* Milliseconds until device_wants_repair may be true by itself; UINT64_MAX: not by itself. */
uint64_t device_repair_in_ms(struct device *device, uint64_t now_ms);
/* One round, with a session of the caller's, which is not between enter and leave.  Logs what changes. */
void device_repair(struct device *device, struct session *session);
/*
 * Asks by an idle session whether all is well; what is not leads to a repair.
 * One search for what is not there, by one of all sessions: many modules answer
 * everything else by themselves, and neither keep their connection alive that
 * way nor notice that it is lost.
 */
void device_keep_alive(struct device *device, struct session *session);
/* Tries to open a session that the token had none to spare for. */
void device_try_session(struct device *device, struct session *session);

/* ---- for everybody ---- */

enum device_state device_state(struct device *device, char ret_reason[DEVICE_REASON_SIZE]);
/* Somebody asks for work meanwhile: the next repair comes soon. */
void device_hurry(struct device *device);
/* The module is to be reinitialised, which waits for those inside: nothing is to begin that can wait. */
bool device_awaits_renewal(struct device *device);
/* A key was destroyed: a token that was full is looked at again at once. */
void device_made_room(struct device *device);
/* Whether any session is open that is not void, so that work goes on without the others. */
bool device_has_sessions(struct device *device);
/* It was down for so long that only a new process may help. */
bool device_is_hopeless(struct device *device, uint64_t now_ms);
/* CK_TOKEN_INFO flags as last seen. */
uint64_t device_token_flags(struct device *device);
/* What the probe found, in words; owned by the caller; NULL: out of memory. */
char *device_capabilities(struct device *device);
uint64_t device_epoch(const struct device *device);
/* As login_attempts. */
uint64_t device_logins(const struct device *device);

/* ---- for session.c ---- */

/* For the only session there is, between enter and leave: initialises the module anew and opens it again. */
MUST_USE enum err device_renew(struct device *device, struct session *session);

/* As session_open and session_close say; lost: the session is gone, which begins an epoch, once for all. */
MUST_USE enum err device_open_session(struct device *device, struct session *session, bool lost);
void device_close_session(struct device *device, struct session *session);

#endif
