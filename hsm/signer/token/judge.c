/* SPDX-License-Identifier: Apache-2.0 */
/* The state of the token, and its repair. */
#include "hsm/signer/token/judge.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/signer/key/probe.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/object.h"
#include "hsm/signer/token/session.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPAIR_FIRST_MS 200         /* after a round that failed; doubles … */
#define REPAIR_MAX_MS 10000         /* … to here while nobody asks for work */
#define REPAIR_HURRY_MS 500         /* and this is the pace while somebody does */
#define FULL_AFTER_MS 30000         /* after that long without keys it will go on for a while: … */
#define REPAIR_FULL_MS 5000         /* … the pace while somebody asks */
#define RESTART_FULL_MS 60000       /* until the module is reinitialised for it once more; doubles … */
#define RESTART_FULL_MAX_MS 3600000 /* … to here */
#define ALONE_WITHIN_MAX_MS                                                                                  \
	16000        /* others get twice as long to leave after each try in vain, up to this …             \
		      */
#define ALONE_REST 9 /* … and then they are let in for that many times as long */
#define HOPELESS_AFTER_MS 60000
#define PROBE_AGAIN_MS 600000
#define PROBE_PAUSE_MS 500         /* after a probe that found no key that would do; doubles … */
#define PROBE_PAUSE_MAX_MS 60000   /* … to here, … */
#define PROBE_UNFIT_MAX_MS 3600000 /* … or here where it makes keys, which are work for the token */
#define UNPROVEN_MAX 3
#define UNPROVEN_WITHIN_MS 600000
#define RENEW_FIRST_MS 60000 /* between two times that the module is reinitialised for it … */
#define RENEW_MAX_MS 3600000 /* … doubles to here */
#define HIDDEN_FIRST_MS 1000 /* the same for what may be hidden: who asks waits for it */
#define HIDDEN_MAX_MS 60000
#define RENEW_BUSY_MS 500 /* somebody has been inside for too long to be waited for: looked at again */

/* Of something that is not to be done too often. */
struct pace {
	bool wanted;
	uint64_t at_ms; /* not before this */
	uint64_t every_ms;
};

struct judge {
	struct gate *gate;
	struct token *token;
	const struct login *login;

	pthread_mutex_t lock; /* the gate's may be taken under it */
	/* under the lock */
	bool said; /* that it is not up */
	uint64_t down_since_ms;
	uint64_t no_keys_since_ms;   /* or since a key was destroyed then */
	uint64_t restart_full_at_ms; /* the module is not reinitialised for want of keys before this */
	uint64_t restart_full_every_ms;
	bool exchanged; /* down because another token is there: a new process would help nobody */
	bool suspect;   /* somebody met trouble that was not judged yet */
	bool repairing;
	uint64_t repaired_ms; /* end of the last round */
	uint64_t repair_every_ms;
	bool doubt;                      /* the token is to be probed anew */
	uint64_t unproven[UNPROVEN_MAX]; /* when, the last ones in turn; since the module was renewed */
	size_t unproven_len;
	struct pace renew;        /* of initialising the module anew for those, … */
	struct pace hidden;       /* … and since a search may not have found what is there */
	bool renew_waits;         /* it was due, and others were inside */
	uint64_t renew_retry_ms;  /* then: when it is tried again */
	uint64_t alone_within_ms; /* that others get to leave for it */
	uint64_t probe_pause_ms;  /* the repairer's own: until the next probe, after one that failed */
	uint64_t probed_ms;       /* likewise: when a probe was made last; 0: never */
	uint64_t keep_alive_ms;
	uint64_t reached_ms; /* when an idle session searched last */
	CK_FLAGS token_flags;
	char capabilities[sizeof(((struct token *)0)->capabilities)]; /* read by others than the repairer */
};

enum err judge_new(struct gate *gate, struct token *token, const struct login *login, uint64_t keep_alive_ms,
		   struct judge **ret_judge)
{
	struct judge *j = calloc(1, sizeof(*j));

	if (!j)
		return E_NOMEM;
	j->gate = gate;
	j->token = token;
	j->login = login;
	j->keep_alive_ms = keep_alive_ms;
	j->alone_within_ms = GATE_ALONE_WITHIN_MS;
	j->repair_every_ms = REPAIR_FIRST_MS;
	j->renew.every_ms = RENEW_FIRST_MS;
	j->hidden.every_ms = HIDDEN_FIRST_MS;
	j->token_flags = token->flags;
	pthread_mutex_init(&j->lock, NULL);
	*ret_judge = j;
	return E_OK;
}

void judge_free(struct judge *j)
{
	if (!j)
		return;
	pthread_mutex_destroy(&j->lock);
	free(j);
}

/* ---- what threads met ---- */

void judge_suspect(struct judge *j)
{
	pthread_mutex_lock(&j->lock);
	j->suspect = true;
	pthread_mutex_unlock(&j->lock);
}

void judge_doubt(struct judge *j)
{
	pthread_mutex_lock(&j->lock);
	j->doubt = j->suspect = true;
	pthread_mutex_unlock(&j->lock);
}

void judge_unproven(struct judge *j)
{
	uint64_t now = clock_ms(), oldest;

	pthread_mutex_lock(&j->lock);
	if (j->unproven_len == UNPROVEN_MAX)
		memmove(j->unproven, j->unproven + 1, --j->unproven_len * sizeof(j->unproven[0]));
	j->unproven[j->unproven_len++] = now;
	oldest = j->unproven[0];
	if (j->unproven_len == UNPROVEN_MAX && now - oldest <= UNPROVEN_WITHIN_MS)
		j->renew.wanted = true;
	pthread_mutex_unlock(&j->lock);
}

void judge_hidden(struct judge *j)
{
	pthread_mutex_lock(&j->lock);
	j->hidden.wanted = true;
	pthread_mutex_unlock(&j->lock);
}

/* ---- state ---- */

static enum token_state judge_state(const struct judge *j)
{
	char reason[TOKEN_REASON_SIZE];

	return gate_state(j->gate, reason);
}

static void judge_set_state(struct judge *j, enum token_state state, const char *reason, const char *how)
{
	char reason_before[TOKEN_REASON_SIZE];
	enum token_state before;
	uint64_t now = clock_ms();

	pthread_mutex_lock(&j->lock);
	before = gate_state(j->gate, reason_before);
	if (state == TOKEN_UP && j->said)
		log_notice("the hsm is usable again: %s", how);
	else if (state == TOKEN_NO_KEYS && (before != TOKEN_NO_KEYS || !j->said))
		log_error("the hsm makes no keys, creates are refused: %s", reason);
	else if (state == TOKEN_DOWN && (before != TOKEN_DOWN || strcmp(reason_before, reason) != 0))
		log_error("the hsm is down: %s", reason);
	if (state == TOKEN_DOWN && before != TOKEN_DOWN)
		j->down_since_ms = now;
	if (state == TOKEN_NO_KEYS && (before != TOKEN_NO_KEYS || !j->said))
		j->no_keys_since_ms = now;
	if (state == TOKEN_UP)
		j->restart_full_at_ms = j->restart_full_every_ms = 0;
	j->said = state != TOKEN_UP;
	gate_set_state(j->gate, state, reason);
	pthread_mutex_unlock(&j->lock);
}

uint64_t judge_token_flags(struct judge *j)
{
	uint64_t flags;

	pthread_mutex_lock(&j->lock);
	flags = j->token_flags;
	pthread_mutex_unlock(&j->lock);
	return flags;
}

char *judge_capabilities(struct judge *j)
{
	char *text;

	pthread_mutex_lock(&j->lock);
	text = strdup(j->capabilities);
	pthread_mutex_unlock(&j->lock);
	return text;
}

bool judge_is_hopeless(struct judge *j, uint64_t now_ms)
{
	bool hopeless;

	pthread_mutex_lock(&j->lock);
	hopeless = judge_state(j) == TOKEN_DOWN && !j->exchanged && now_ms > j->down_since_ms &&
		   now_ms - j->down_since_ms >= HOPELESS_AFTER_MS;
	pthread_mutex_unlock(&j->lock);
	return hopeless;
}

/* ---- when to repair ---- */

/* When the module is to be reinitialised although all is well; UINT64_MAX: not at all. */
static uint64_t judge_renew_at_locked(const struct judge *j)
{
	uint64_t at_ms = j->renew.wanted ? j->renew.at_ms : UINT64_MAX;

	if (j->hidden.wanted && j->hidden.at_ms < at_ms)
		at_ms = j->hidden.at_ms;
	return at_ms < j->renew_retry_ms ? j->renew_retry_ms : at_ms;
}

static uint64_t judge_repair_in_locked(const struct judge *j, uint64_t now_ms)
{
	uint64_t at_ms = j->repaired_ms + j->repair_every_ms;

	if (j->repairing)
		return UINT64_MAX;
	if (j->suspect && judge_state(j) == TOKEN_UP)
		return 0;
	if (judge_state(j) == TOKEN_UP && (at_ms = judge_renew_at_locked(j)) == UINT64_MAX)
		return UINT64_MAX;
	return now_ms >= at_ms ? 0 : at_ms - now_ms;
}

bool judge_wants_repair(struct judge *j, uint64_t now_ms)
{
	return judge_repair_in_ms(j, now_ms) == 0;
}

uint64_t judge_repair_in_ms(struct judge *j, uint64_t now_ms)
{
	uint64_t ms;

	pthread_mutex_lock(&j->lock);
	ms = judge_repair_in_locked(j, now_ms);
	pthread_mutex_unlock(&j->lock);
	return ms;
}

void judge_hurry(struct judge *j)
{
	uint64_t every_ms = REPAIR_HURRY_MS;

	pthread_mutex_lock(&j->lock);
	/* Each look at a token that makes no keys asks it to make one. */
	if (judge_state(j) == TOKEN_NO_KEYS && clock_ms() - j->no_keys_since_ms > FULL_AFTER_MS)
		every_ms = REPAIR_FULL_MS;
	if (j->repair_every_ms > every_ms)
		j->repair_every_ms = every_ms;
	pthread_mutex_unlock(&j->lock);
}

void judge_made_room(struct judge *j)
{
	pthread_mutex_lock(&j->lock);
	if (judge_state(j) == TOKEN_NO_KEYS) {
		j->no_keys_since_ms = clock_ms();
		j->repaired_ms = 0;
		j->repair_every_ms = REPAIR_FIRST_MS;
	}
	pthread_mutex_unlock(&j->lock);
}

/* ---- a look ---- */

static bool judge_may_probe_again(const struct judge *j)
{
	return !j->probed_ms || clock_ms() - j->probed_ms >= PROBE_AGAIN_MS;
}

/* With nobody else inside: a generation that is under way reads what a probe tries. */
static enum err judge_probe_alone(struct judge *j, struct session *s)
{
	struct token *token = j->token;
	uint64_t pause_max_ms;
	enum err e;

	if (token->probed)
		log_notice("token '%s' no longer does what it did when it was probed: it is probed again",
			   token->label);
	j->probed_ms = clock_ms();
	e = probe_run(s, token);
	pause_max_ms = token->probe_made_unfit ? PROBE_UNFIT_MAX_MS : PROBE_PAUSE_MAX_MS;
	j->probe_pause_ms = e == E_OK ? 0 : j->probe_pause_ms ? 2 * j->probe_pause_ms : PROBE_PAUSE_MS;
	if (j->probe_pause_ms > pause_max_ms)
		j->probe_pause_ms = pause_max_ms;
	return e;
}

/*
 * By a throw-away key, or by a probe: the first time, unless an earlier process
 * made it; when it is in doubt; and when the token refuses the key that it took
 * then.
 */
static enum err judge_try_keys(struct judge *j, struct session *s, bool anew, bool alone)
{
	struct token *token = j->token;
	char reason[TOKEN_REASON_SIZE];
	bool taken = false;
	enum err e;

	if (!token->probed)
		probe_recall(token);
	if (!token->probed && j->probe_pause_ms && clock_ms() - j->probed_ms < j->probe_pause_ms) {
		(void)gate_state(j->gate, reason);
		session_explain(s, "%s", reason); /* as it was then */
		return E_HSM;
	}
	if (token->probed && !(anew && judge_may_probe_again(j))) {
		e = probe_self_test(s, token);
		if (e == E_OK || !ckr_is_refusal(s->last) || judge_state(j) == TOKEN_UP ||
		    !judge_may_probe_again(j))
			return e;
	}
	if (!alone && !(taken = gate_take(j->gate, GATE_ALONE_WITHIN_MS))) { /* at the next look */
		if (!token->probed)
			session_explain(s, "it was not tried yet: earlier calls have not come back");
		return E_HSM;
	}
	e = judge_probe_alone(j, s);
	if (taken)
		gate_end_alone(j->gate);
	return e;
}

/* anew: it is to be probed.  The state that it is in as far as one session and a throw-away key can tell. */
static enum token_state judge_examine(struct judge *j, struct session *s, bool anew, bool alone)
{
	CK_FLAGS flags = 0;
	enum err e = session_probe(s, &flags);

	if (e != E_OK && (ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last)) &&
	    session_reopen(s) == E_OK)
		e = session_probe(s, &flags);
	if (s->last == CKR_SESSION_COUNT && gate_has_sessions(j->gate)) /* those who have one can tell */
		return judge_state(j);
	if (e != E_OK) {
		pthread_mutex_lock(&j->lock);
		j->exchanged = e == E_NOTFOUND;
		pthread_mutex_unlock(&j->lock);
		return TOKEN_DOWN;
	}
	pthread_mutex_lock(&j->lock);
	j->token_flags = flags;
	j->exchanged = false;
	pthread_mutex_unlock(&j->lock);
	e = judge_try_keys(j, s, anew, alone);
	pthread_mutex_lock(&j->lock);
	memcpy(j->capabilities, j->token->capabilities, sizeof(j->capabilities));
	pthread_mutex_unlock(&j->lock);
	if (e == E_OK)
		return TOKEN_UP;
	return ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last) ? TOKEN_DOWN : TOKEN_NO_KEYS;
}

/* ---- the module reinitialised ---- */

/* Where sessions work and only keys are not made: once, and then more and more seldom. */
static bool judge_may_restart_full(struct judge *j)
{
	uint64_t now = clock_ms();
	bool may;

	pthread_mutex_lock(&j->lock);
	may = now >= j->restart_full_at_ms;
	if (may) {
		j->restart_full_every_ms =
		    j->restart_full_every_ms ? 2 * j->restart_full_every_ms : RESTART_FULL_MS;
		if (j->restart_full_every_ms > RESTART_FULL_MAX_MS)
			j->restart_full_every_ms = RESTART_FULL_MAX_MS;
		j->restart_full_at_ms = now + j->restart_full_every_ms;
	}
	pthread_mutex_unlock(&j->lock);
	return may;
}

/* What cannot be helped by the module being reinitialised is not tried. */
static bool judge_module_may_help(struct judge *j, const struct session *s, enum token_state state)
{
	if (login_is_refused(j->login) || s->last == CKR_DEVICE_MEMORY ||
	    s->last == CKR_TOKEN_WRITE_PROTECTED ||
	    (s->last == CKR_SESSION_COUNT && gate_has_sessions(j->gate)))
		return false;
	return state != TOKEN_NO_KEYS || judge_may_restart_full(j);
}

/* Alone. */
static enum err judge_restart_module(struct judge *j, struct session *s)
{
	enum err e = gate_restart_module(j->gate, s);

	pthread_mutex_lock(&j->lock);
	j->exchanged = e == E_NOTFOUND;
	pthread_mutex_unlock(&j->lock);
	return e;
}

static void pace_next(struct pace *pace, uint64_t now, uint64_t first_ms, uint64_t max_ms)
{
	if (now > pace->at_ms && now - pace->at_ms > max_ms) /* the last time is long ago */
		pace->every_ms = first_ms;
	pace->at_ms = now + pace->every_ms;
	pace->every_ms = 2 * pace->every_ms < max_ms ? 2 * pace->every_ms : max_ms;
}

/* For a renewal: others are kept out for a tenth of the time at most. */
static bool judge_take_gate_to_renew(struct judge *j)
{
	uint64_t within_ms;
	bool held_up, taken;

	pthread_mutex_lock(&j->lock);
	within_ms = j->alone_within_ms;
	j->renew_waits = true;
	pthread_mutex_unlock(&j->lock);
	held_up = gate_is_held_up(j->gate, within_ms);
	taken = !held_up && gate_take(j->gate, within_ms);
	pthread_mutex_lock(&j->lock);
	if (held_up) {
		j->renew_retry_ms = clock_ms() + RENEW_BUSY_MS;
	} else if (taken) {
		j->alone_within_ms = GATE_ALONE_WITHIN_MS;
	} else {
		j->renew_retry_ms = clock_ms() + ALONE_REST * within_ms;
		j->alone_within_ms =
		    2 * within_ms < ALONE_WITHIN_MAX_MS ? 2 * within_ms : ALONE_WITHIN_MAX_MS;
	}
	pthread_mutex_unlock(&j->lock);
	return taken;
}

/* It is being done: whatever wanted it. */
static void judge_begin_renewal(struct judge *j)
{
	uint64_t now = clock_ms();

	pthread_mutex_lock(&j->lock);
	if (j->hidden.wanted)
		pace_next(&j->hidden, now, HIDDEN_FIRST_MS, HIDDEN_MAX_MS);
	if (j->renew.wanted)
		pace_next(&j->renew, now, RENEW_FIRST_MS, RENEW_MAX_MS);
	j->hidden.wanted = j->renew.wanted = j->renew_waits = false;
	j->unproven_len = 0;
	pthread_mutex_unlock(&j->lock);
}

bool judge_awaits_renewal(struct judge *j)
{
	bool awaits;

	pthread_mutex_lock(&j->lock);
	awaits = j->renew_waits;
	pthread_mutex_unlock(&j->lock);
	return awaits;
}

/* ---- a round ---- */

/* What there is to do besides looking. */
struct round {
	bool probe;   /* anew */
	bool renew;   /* the module, whatever it looks like */
	bool hidden;  /* … since something may be hidden */
	bool suspect; /* or something else is wrong */
};

static bool judge_begin_round(struct judge *j, struct round *ret_round)
{
	uint64_t now = clock_ms();
	bool mine;

	pthread_mutex_lock(&j->lock);
	mine = !j->repairing;
	if (mine) {
		ret_round->probe = j->doubt;
		ret_round->renew = now >= judge_renew_at_locked(j);
		ret_round->hidden = j->hidden.wanted;
		ret_round->suspect = j->suspect || judge_state(j) != TOKEN_UP;
		j->repairing = true;
		j->suspect = j->doubt = false;
	}
	pthread_mutex_unlock(&j->lock);
	return mine;
}

static void judge_end_round(struct judge *j)
{
	pthread_mutex_lock(&j->lock);
	j->repairing = false;
	j->repaired_ms = clock_ms();
	if (judge_state(j) == TOKEN_UP)
		j->repair_every_ms = REPAIR_FIRST_MS;
	else if (j->repair_every_ms < REPAIR_MAX_MS)
		j->repair_every_ms *= 2;
	pthread_mutex_unlock(&j->lock);
}

/* A look with nobody else inside, after the module was reinitialised if need be. */
static enum token_state judge_examine_alone(struct judge *j, struct session *s, const struct round *round)
{
	enum token_state state;

	if (!(round->renew ? judge_take_gate_to_renew(j) : gate_take(j->gate, GATE_ALONE_WITHIN_MS)))
		return round->suspect ? judge_examine(j, s, false, false) : judge_state(j);
	if (round->renew) {
		if (round->hidden)
			log_notice("an object that could not be destroyed is no longer found: the module "
				   "is reinitialised");
		else
			log_notice("%d searches or destroys were inconclusive: the module is reinitialised",
				   UNPROVEN_MAX);
		judge_begin_renewal(j);
	}
	if (round->renew && judge_restart_module(j, s) != E_OK)
		state = TOKEN_DOWN;
	else
		state = judge_examine(j, s, round->probe, true);
	gate_end_alone(j->gate);
	return state;
}

void judge_repair(struct judge *j, struct session *s)
{
	const char *how = "a new session";
	struct round round = {0};
	enum token_state state;

	if (!judge_begin_round(j, &round))
		return;
	s->last = CKR_OK;
	s->failure[0] = '\0';
	state = round.renew || (round.probe && judge_may_probe_again(j)) ? judge_examine_alone(j, s, &round)
									 : judge_examine(j, s, false, false);
	if (session_must_stop(s)) {
		judge_end_round(j);
		return;
	}
	if (state != TOKEN_UP) {
		judge_set_state(j, state, s->failure, "");
		if (judge_module_may_help(j, s, state) && gate_take(j->gate, GATE_ALONE_WITHIN_MS)) {
			state = TOKEN_DOWN;
			if (judge_restart_module(j, s) == E_OK) {
				how = "the module was reinitialised";
				state = judge_examine(j, s, false, true);
			}
			gate_end_alone(j->gate);
		}
	}
	judge_set_state(j, state, state == TOKEN_UP ? "" : s->failure, how);
	judge_end_round(j);
}

/* ---- a sign of life ---- */

/* Whether this one is to do it, for all. */
static bool judge_begin_reaching(struct judge *j)
{
	uint64_t now = clock_ms();
	bool mine;

	pthread_mutex_lock(&j->lock);
	mine = now - j->reached_ms >= j->keep_alive_ms / 2;
	if (mine)
		j->reached_ms = now;
	pthread_mutex_unlock(&j->lock);
	return mine;
}

static enum err judge_reach_token(struct session *s)
{
	enum { SOME_OBJECTS = 1000 };
	static const char label[] = "csrd-keep-alive"; /* no object has it */
	CK_ATTRIBUTE template = {CKA_LABEL, (void *)(uintptr_t)label, sizeof(label) - 1};
	struct object_handles found = {0};
	enum err e = object_search(s, &template, 1, SOME_OBJECTS, &found);

	free(found.at);
	return e;
}

static enum err judge_look_after(struct judge *j, struct session *s, CK_FLAGS *ret_flags)
{
	enum err e = session_probe(s, ret_flags);

	return e != E_OK || !judge_begin_reaching(j) ? e : judge_reach_token(s);
}

void judge_keep_alive(struct judge *j, struct session *s)
{
	char reason[TOKEN_REASON_SIZE];
	CK_FLAGS flags = 0;
	bool warn = false;

	if (gate_enter(j->gate, s, false, reason) != E_OK)
		return;
	s->trouble = false;
	if (judge_look_after(j, s, &flags) == E_OK) {
		pthread_mutex_lock(&j->lock);
		warn = flags & ~j->token_flags &
		       (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
		j->token_flags = flags;
		pthread_mutex_unlock(&j->lock);
	} else if (s->last != CKR_SESSION_COUNT || !gate_has_sessions(j->gate)) {
		log_info("an idle session failed: %s", s->failure);
		s->trouble = true;
	}
	if (s->trouble)
		judge_suspect(j);
	gate_leave(j->gate, s);
	if (warn)
		log_warn("token '%s': %s", j->token->label,
			 flags & CKF_USER_PIN_LOCKED      ? "the user pin is locked"
			 : flags & CKF_USER_PIN_FINAL_TRY ? "one more wrong pin locks it"
							  : "somebody gave it a wrong pin");
}

void judge_try_session(struct judge *j, struct session *s)
{
	char reason[TOKEN_REASON_SIZE];

	if (gate_enter(j->gate, s, false, reason) != E_OK)
		return;
	s->trouble = false;
	s->last = CKR_OK;
	(void)!session_open(s); /* whether it is open is all that counts */
	if (s->trouble)
		judge_suspect(j);
	gate_leave(j->gate, s);
}
