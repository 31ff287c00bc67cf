/* The state of the token, and its repair. */
#include "hsm/signer/token/device.h"

#include "base/clock.h"
#include "base/log.h"
#include "hsm/signer/key/probe.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/object.h"
#include "hsm/signer/token/remains.h"
#include "hsm/signer/token/session.h"
#include "hsm/signer/token/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPAIR_FIRST_MS 200   /* after a round that failed; doubles … */
#define REPAIR_MAX_MS 10000   /* … to here while nobody asks for work */
#define REPAIR_HURRY_MS 500   /* and this is the pace while somebody does */
#define FULL_AFTER_MS 30000   /* after that long without keys it will go on for a while: … */
#define REPAIR_FULL_MS 5000   /* … the pace while somebody asks */
#define RESTART_FULL_MS 60000 /* until the module is reinitialised for it once more; doubles … */
#define RESTART_FULL_MAX_MS 3600000 /* … to here */
#define ALONE_WITHIN_MS 1000      /* others get that long to leave, while nobody comes in … */
#define ALONE_WITHIN_MAX_MS 16000 /* … for a renewal twice as long after each time in vain, up to this … */
#define ALONE_REST 9              /* … and then they are let in for that many times as long */
#define HOPELESS_AFTER_MS 60000
#define PROBE_AGAIN_MS 600000
#define PROBE_PAUSE_MS 500       /* after a probe that found no key that would do; doubles … */
#define PROBE_PAUSE_MAX_MS 60000 /* … to here, … */
#define PROBE_UNFIT_MAX_MS 3600000 /* … or here where it makes keys, which are work for the token */
#define UNPROVEN_MAX 3
#define UNPROVEN_WITHIN_MS 600000
#define RENEW_FIRST_MS 60000   /* between two times that the module is reinitialised for it … */
#define RENEW_MAX_MS 3600000   /* … doubles to here */
#define HIDDEN_FIRST_MS 1000   /* the same for what may be hidden: who asks waits for it */
#define HIDDEN_MAX_MS 60000
#define RENEW_BUSY_MS 500      /* somebody has been inside for too long to be waited for: looked at again */

/* Of something that is not to be done too often. */
struct pace {
	bool wanted;
	uint64_t at_ms; /* not before this */
	uint64_t every_ms;
};

struct device {
	struct module *module;
	struct token *token;
	struct login *login;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	enum device_state state;
	bool said; /* that it is not up */
	char reason[DEVICE_REASON_SIZE];
	uint64_t down_since_ms;
	uint64_t no_keys_since_ms;   /* or since a key was destroyed then */
	uint64_t restart_full_at_ms; /* the module is not reinitialised for want of keys before this */
	uint64_t restart_full_every_ms;
	bool exchanged;   /* down because another token is there: a new process would help nobody */
	bool suspect;     /* somebody met trouble that was not judged yet */
	bool repairing;
	bool exclusive;   /* nobody may enter */
	struct session *inside;
	uint64_t entries; /* how often somebody came in */
	uint64_t repaired_ms; /* end of the last round */
	uint64_t repair_every_ms;
	bool doubt;               /* the token is to be probed anew */
	uint64_t unproven[UNPROVEN_MAX]; /* when, the last ones in turn; since the module was renewed */
	size_t unproven_len;
	struct pace renew;        /* of initialising the module anew for those, … */
	struct pace hidden;       /* … and since a search may not have found what is there */
	bool renew_waits;         /* it was due, and others were inside */
	uint64_t renew_retry_ms;  /* then: when it is tried again */
	uint64_t alone_within_ms; /* that others get to leave for it */
	uint64_t probe_pause_ms;  /* the judge's own: until the next probe, after one that failed */
	uint64_t probed_ms;       /* the judge's own: when a probe was made last; 0: never */
	uint64_t keep_alive_ms;
	uint64_t reached_ms; /* when an idle session searched last */
	CK_FLAGS token_flags;
	char capabilities[sizeof(((struct token *)0)->capabilities)]; /* others than the judge read these */

	struct remains *remains;

	/* Opening and closing, one at a time: a closed handle may be given to the next who opens. */
	pthread_mutex_t sessions_lock;
	struct session *sessions;
	uint64_t module_epoch;
	atomic_uint_fast64_t epoch;
};

enum err device_new(struct module *module, struct token *token, struct login *login, uint64_t keep_alive_ms,
		    struct device **ret_device)
{
	struct device *d = calloc(1, sizeof(*d));
	pthread_condattr_t attributes;

	if (!d)
		return E_NOMEM;
	if (remains_new(&d->remains)) {
		free(d);
		return E_NOMEM;
	}
	d->module = module;
	d->token = token;
	d->login = login;
	d->keep_alive_ms = keep_alive_ms;
	d->alone_within_ms = ALONE_WITHIN_MS;
	d->state = DEVICE_NO_KEYS;
	snprintf(d->reason, sizeof(d->reason), "it was not tried yet");
	d->repair_every_ms = REPAIR_FIRST_MS;
	d->renew.every_ms = RENEW_FIRST_MS;
	d->hidden.every_ms = HIDDEN_FIRST_MS;
	d->token_flags = token->flags;
	atomic_init(&d->epoch, 1);
	pthread_mutex_init(&d->lock, NULL);
	pthread_mutex_init(&d->sessions_lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&d->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	*ret_device = d;
	return E_OK;
}

void device_free(struct device *d)
{
	if (!d)
		return;
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->sessions_lock);
	pthread_mutex_destroy(&d->lock);
	remains_free(d->remains);
	free(d);
}

/* ---- sessions ---- */

uint64_t device_epoch(const struct device *d)
{
	return atomic_load(&d->epoch);
}

uint64_t device_logins(const struct device *d)
{
	return login_attempts(d->login);
}

static void forget_locked(struct device *d, struct session *s)
{
	for (struct session **at = &d->sessions; *at; at = &(*at)->next) {
		if (*at != s)
			continue;
		*at = s->next;
		break;
	}
	s->handle = CK_INVALID_HANDLE;
	s->next = NULL;
}

/* A handle may have died and been given to another session of ours; that one is not to be closed. */
static bool is_of_another_locked(const struct device *d, const struct session *s)
{
	for (const struct session *other = d->sessions; other; other = other->next)
		if (other != s && other->handle == s->handle && other->module_epoch == s->module_epoch &&
		    other->epoch > s->epoch)
			return true;
	return false;
}

static void close_locked(struct device *d, struct session *s)
{
	if (s->handle == CK_INVALID_HANDLE)
		return;
	if (s->module_epoch == d->module_epoch && !is_of_another_locked(d, s))
		d->token->p11->C_CloseSession(s->handle); /* nothing can be done about a refusal */
	forget_locked(d, s);
}

/* A session of an earlier epoch may be void. */
static bool has_sessions_locked(const struct device *d)
{
	for (const struct session *s = d->sessions; s; s = s->next)
		if (s->module_epoch == d->module_epoch && s->epoch == device_epoch(d))
			return true;
	return false;
}

bool device_has_sessions(struct device *d)
{
	bool has;

	pthread_mutex_lock(&d->sessions_lock);
	has = has_sessions_locked(d);
	pthread_mutex_unlock(&d->sessions_lock);
	return has;
}

static enum err open_locked(struct device *d, struct session *s)
{
	CK_RV rv;
	enum err e;

	rv = d->token->p11->C_OpenSession(d->token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
					  &s->handle);
	if (rv != CKR_OK) {
		s->handle = CK_INVALID_HANDLE;
		e = session_fail(s, "C_OpenSession", rv);
		s->trouble |= !has_sessions_locked(d); /* nobody else's work frees one */
		return e;
	}
	s->next = d->sessions;
	d->sessions = s;
	s->epoch = device_epoch(d);
	s->module_epoch = d->module_epoch;
	e = login_ensure(d->login, s->handle, &rv);
	if (e == E_OK)
		return E_OK;
	if (rv != CKR_OK && session_fail(s, "login", rv) == E_OK)
		e = E_BUG;
	else if (rv == CKR_OK)
		session_explain(s, "login: %s", err_str(e));
	s->trouble = true;
	close_locked(d, s);
	return e;
}

enum err device_open_session(struct device *d, struct session *s, bool lost)
{
	enum err e;

	/* Others may open theirs first, one after the other, each in its time. */
	watchdog_wait(true);
	pthread_mutex_lock(&d->sessions_lock);
	watchdog_wait(false);
	/* The first who lost a session of this epoch ends it for all; they open theirs when in need. */
	if (lost && s->handle != CK_INVALID_HANDLE && s->epoch == device_epoch(d)) {
		atomic_fetch_add(&d->epoch, 1);
		log_warn("a session was lost (%s): all sessions are reopened (epoch %llu)",
			 s->failure, (unsigned long long)device_epoch(d));
	}
	close_locked(d, s);
	e = open_locked(d, s);
	pthread_mutex_unlock(&d->sessions_lock);
	return e;
}

void device_close_session(struct device *d, struct session *s)
{
	pthread_mutex_lock(&d->sessions_lock);
	close_locked(d, s);
	pthread_mutex_unlock(&d->sessions_lock);
}

/* ---- who is inside ---- */

static void put_inside_locked(struct device *d, struct session *s)
{
	s->inside_since_ms = clock_ms();
	s->next_inside = d->inside;
	d->inside = s;
}

static void take_inside_locked(struct device *d, struct session *s)
{
	struct session **at = &d->inside;

	while (*at != s)
		at = &(*at)->next_inside;
	*at = s->next_inside;
	s->next_inside = NULL;
}

/* Since when the one is inside who came first. */
static uint64_t oldest_inside_locked(const struct device *d)
{
	uint64_t since_ms = UINT64_MAX;

	for (const struct session *s = d->inside; s; s = s->next_inside)
		if (s->inside_since_ms < since_ms)
			since_ms = s->inside_since_ms;
	return since_ms;
}

enum err device_enter(struct device *d, struct session *s, bool creating, char ret_reason[DEVICE_REASON_SIZE])
{
	enum err e = E_OK;

	pthread_mutex_lock(&d->lock);
	while (d->exclusive && (d->state == DEVICE_UP || (d->state == DEVICE_NO_KEYS && !creating)))
		pthread_cond_wait(&d->changed, &d->lock);
	if (d->exclusive || d->state == DEVICE_DOWN || (creating && d->state == DEVICE_NO_KEYS)) {
		memcpy(ret_reason, d->reason, DEVICE_REASON_SIZE);
		e = E_UNAVAIL;
	} else {
		put_inside_locked(d, s);
		d->entries++;
	}
	pthread_mutex_unlock(&d->lock);
	return e;
}

bool device_is_shared(struct device *d, uint64_t *entries)
{
	bool shared;

	pthread_mutex_lock(&d->lock);
	shared = (d->inside && d->inside->next_inside) || d->entries != *entries;
	*entries = d->entries;
	pthread_mutex_unlock(&d->lock);
	return shared;
}

void device_leave(struct device *d, struct session *s, bool trouble)
{
	pthread_mutex_lock(&d->lock);
	take_inside_locked(d, s);
	d->suspect |= trouble;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

void device_doubt(struct device *d)
{
	pthread_mutex_lock(&d->lock);
	d->doubt = d->suspect = true;
	pthread_mutex_unlock(&d->lock);
}

void device_unproven(struct device *d)
{
	uint64_t now = clock_ms(), oldest;

	pthread_mutex_lock(&d->lock);
	if (d->unproven_len == UNPROVEN_MAX)
		memmove(d->unproven, d->unproven + 1, --d->unproven_len * sizeof(d->unproven[0]));
	d->unproven[d->unproven_len++] = now;
	oldest = d->unproven[0];
	if (d->unproven_len == UNPROVEN_MAX && now - oldest <= UNPROVEN_WITHIN_MS)
		d->renew.wanted = true;
	pthread_mutex_unlock(&d->lock);
}

void device_hidden(struct device *d)
{
	pthread_mutex_lock(&d->lock);
	d->hidden.wanted = true;
	pthread_mutex_unlock(&d->lock);
}

struct remains *device_remains(struct device *d)
{
	return d->remains;
}

/* Somebody is inside who has been there for so long that it would be in vain to wait so long again. */
static bool is_held_up_locked(const struct device *d, uint64_t within_ms)
{
	return d->inside && clock_ms() - oldest_inside_locked(d) >= within_ms;
}

/*
 * Waits a while until nobody is inside; from then on nobody comes in.  Meanwhile
 * nobody comes in either, so it is not tried where it would be in vain.
 */
static bool take_exclusive_locked(struct device *d, uint64_t within_ms)
{
	uint64_t until_ms = clock_ms() + within_ms;
	struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000L};
	bool in_time = true;

	while (d->exclusive && in_time)
		in_time = pthread_cond_timedwait(&d->changed, &d->lock, &until) == 0;
	if (d->exclusive || is_held_up_locked(d, within_ms))
		return false;
	d->exclusive = true;
	while (d->inside && in_time)
		in_time = pthread_cond_timedwait(&d->changed, &d->lock, &until) == 0;
	if (d->inside) {
		d->exclusive = false;
		pthread_cond_broadcast(&d->changed);
		return false;
	}
	return true;
}

static bool take_exclusive(struct device *d)
{
	bool taken;

	pthread_mutex_lock(&d->lock);
	taken = take_exclusive_locked(d, ALONE_WITHIN_MS);
	pthread_mutex_unlock(&d->lock);
	return taken;
}

static void give_exclusive(struct device *d)
{
	pthread_mutex_lock(&d->lock);
	d->exclusive = false;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

/* Out of the module first, so that two who want it for themselves do not wait for each other. */
bool device_begin_alone(struct device *d, struct session *s)
{
	bool taken;

	pthread_mutex_lock(&d->lock);
	take_inside_locked(d, s);
	pthread_cond_broadcast(&d->changed);
	taken = take_exclusive_locked(d, ALONE_WITHIN_MS);
	while (!taken && d->exclusive)
		pthread_cond_wait(&d->changed, &d->lock);
	put_inside_locked(d, s);
	d->entries += !taken;
	pthread_mutex_unlock(&d->lock);
	return taken;
}

void device_end_alone(struct device *d)
{
	give_exclusive(d);
}

/* ---- state ---- */

static void set_state(struct device *d, enum device_state state, const char *reason, const char *how)
{
	uint64_t now = clock_ms();

	pthread_mutex_lock(&d->lock);
	if (state == DEVICE_UP && d->said)
		log_notice("the hsm is usable again: %s", how);
	else if (state == DEVICE_NO_KEYS && (d->state != DEVICE_NO_KEYS || !d->said))
		log_error("the hsm makes no keys, creates are refused: %s", reason);
	else if (state == DEVICE_DOWN && (d->state != DEVICE_DOWN || strcmp(d->reason, reason) != 0))
		log_error("the hsm is down: %s", reason);
	if (state == DEVICE_DOWN && d->state != DEVICE_DOWN)
		d->down_since_ms = now;
	if (state == DEVICE_NO_KEYS && (d->state != DEVICE_NO_KEYS || !d->said))
		d->no_keys_since_ms = now;
	if (state == DEVICE_UP)
		d->restart_full_at_ms = d->restart_full_every_ms = 0;
	d->state = state;
	d->said = state != DEVICE_UP;
	snprintf(d->reason, sizeof(d->reason), "%s", reason);
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

enum device_state device_state(struct device *d, char ret_reason[DEVICE_REASON_SIZE])
{
	enum device_state state;

	pthread_mutex_lock(&d->lock);
	state = d->state;
	memcpy(ret_reason, d->reason, DEVICE_REASON_SIZE);
	pthread_mutex_unlock(&d->lock);
	return state;
}

uint64_t device_token_flags(struct device *d)
{
	uint64_t flags;

	pthread_mutex_lock(&d->lock);
	flags = d->token_flags;
	pthread_mutex_unlock(&d->lock);
	return flags;
}

char *device_capabilities(struct device *d)
{
	char *text;

	pthread_mutex_lock(&d->lock);
	text = strdup(d->capabilities);
	pthread_mutex_unlock(&d->lock);
	return text;
}

bool device_is_hopeless(struct device *d, uint64_t now_ms)
{
	bool hopeless;

	pthread_mutex_lock(&d->lock);
	hopeless = d->state == DEVICE_DOWN && !d->exchanged && now_ms > d->down_since_ms &&
		   now_ms - d->down_since_ms >= HOPELESS_AFTER_MS;
	pthread_mutex_unlock(&d->lock);
	return hopeless;
}

/* ---- when to repair ---- */

/* When the module is to be reinitialised although all is well; UINT64_MAX: not at all. */
static uint64_t renew_at_locked(const struct device *d)
{
	uint64_t at_ms = d->renew.wanted ? d->renew.at_ms : UINT64_MAX;

	if (d->hidden.wanted && d->hidden.at_ms < at_ms)
		at_ms = d->hidden.at_ms;
	return at_ms < d->renew_retry_ms ? d->renew_retry_ms : at_ms;
}

static uint64_t repair_in_locked(const struct device *d, uint64_t now_ms)
{
	uint64_t at_ms = d->repaired_ms + d->repair_every_ms;

	if (d->repairing)
		return UINT64_MAX;
	if (d->suspect && d->state == DEVICE_UP)
		return 0;
	if (d->state == DEVICE_UP && (at_ms = renew_at_locked(d)) == UINT64_MAX)
		return UINT64_MAX;
	return now_ms >= at_ms ? 0 : at_ms - now_ms;
}

bool device_wants_repair(struct device *d, uint64_t now_ms)
{
	return device_repair_in_ms(d, now_ms) == 0;
}

uint64_t device_repair_in_ms(struct device *d, uint64_t now_ms)
{
	uint64_t ms;

	pthread_mutex_lock(&d->lock);
	ms = repair_in_locked(d, now_ms);
	pthread_mutex_unlock(&d->lock);
	return ms;
}

void device_hurry(struct device *d)
{
	uint64_t every_ms = REPAIR_HURRY_MS;

	pthread_mutex_lock(&d->lock);
	/* Each look at a token that makes no keys asks it to make one. */
	if (d->state == DEVICE_NO_KEYS && clock_ms() - d->no_keys_since_ms > FULL_AFTER_MS)
		every_ms = REPAIR_FULL_MS;
	if (d->repair_every_ms > every_ms)
		d->repair_every_ms = every_ms;
	pthread_mutex_unlock(&d->lock);
}

void device_made_room(struct device *d)
{
	pthread_mutex_lock(&d->lock);
	if (d->state == DEVICE_NO_KEYS) {
		d->no_keys_since_ms = clock_ms();
		d->repaired_ms = 0;
		d->repair_every_ms = REPAIR_FIRST_MS;
	}
	pthread_mutex_unlock(&d->lock);
}

/* ---- a round ---- */

/* What there is to do besides looking. */
struct round {
	bool probe; /* anew */
	bool renew; /* the module, whatever it looks like */
	bool hidden; /* … since something may be hidden */
	bool suspect; /* or something else is wrong */
};

static bool begin_round(struct device *d, struct round *ret_round)
{
	uint64_t now = clock_ms();
	bool mine;

	pthread_mutex_lock(&d->lock);
	mine = !d->repairing;
	if (mine) {
		ret_round->probe = d->doubt;
		ret_round->renew = now >= renew_at_locked(d);
		ret_round->hidden = d->hidden.wanted;
		ret_round->suspect = d->suspect || d->state != DEVICE_UP;
		d->repairing = true;
		d->suspect = d->doubt = false;
	}
	pthread_mutex_unlock(&d->lock);
	return mine;
}

static void end_round(struct device *d)
{
	pthread_mutex_lock(&d->lock);
	d->repairing = false;
	d->repaired_ms = clock_ms();
	if (d->state == DEVICE_UP)
		d->repair_every_ms = REPAIR_FIRST_MS;
	else if (d->repair_every_ms < REPAIR_MAX_MS)
		d->repair_every_ms *= 2;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

static bool may_probe_again(const struct device *d)
{
	return !d->probed_ms || clock_ms() - d->probed_ms >= PROBE_AGAIN_MS;
}

/* With nobody else inside: a generation that is under way reads what a probe tries. */
static enum err probe_alone(struct device *d, struct session *s)
{
	struct token *token = d->token;
	uint64_t pause_max_ms;
	enum err e;

	if (token->probed)
		log_notice("token '%s' no longer does what it did when it was probed: it is probed again",
			   token->label);
	d->probed_ms = clock_ms();
	e = probe_run(s, token);
	pause_max_ms = token->probe_made_unfit ? PROBE_UNFIT_MAX_MS : PROBE_PAUSE_MAX_MS;
	d->probe_pause_ms = !e ? 0 : d->probe_pause_ms ? 2 * d->probe_pause_ms : PROBE_PAUSE_MS;
	if (d->probe_pause_ms > pause_max_ms)
		d->probe_pause_ms = pause_max_ms;
	return e;
}

/*
 * By a throw-away key, or by a probe: the first time, unless an earlier process
 * made it; when it is in doubt; and when the token refuses the key that it took
 * then.
 */
static enum err try_keys(struct device *d, struct session *s, bool anew, bool alone)
{
	struct token *token = d->token;
	bool taken = false;
	enum err e;

	if (!token->probed)
		probe_recall(token);
	if (!token->probed && d->probe_pause_ms && clock_ms() - d->probed_ms < d->probe_pause_ms) {
		pthread_mutex_lock(&d->lock);
		session_explain(s, "%s", d->reason); /* as it was then */
		pthread_mutex_unlock(&d->lock);
		return E_HSM;
	}
	if (token->probed && !(anew && may_probe_again(d))) {
		e = probe_self_test(s, token);
		if (e == E_OK || !ckr_is_refusal(s->last) || d->state == DEVICE_UP || !may_probe_again(d))
			return e;
	}
	if (!alone && !(taken = take_exclusive(d))) { /* at the next look */
		if (!token->probed)
			session_explain(s, "it was not tried yet: earlier calls have not come back");
		return E_HSM;
	}
	e = probe_alone(d, s);
	if (taken)
		give_exclusive(d);
	return e;
}

/* anew: it is to be probed.  The state that it is in as far as one session and a throw-away key can tell. */
static enum device_state examine(struct device *d, struct session *s, bool anew, bool alone)
{
	CK_FLAGS flags = 0;
	enum err e = session_probe(s, &flags);

	if (e && (ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last)) &&
	    session_reopen(s) == E_OK)
		e = session_probe(s, &flags);
	if (s->last == CKR_SESSION_COUNT && device_has_sessions(d)) /* those who have one can tell */
		return d->state;
	if (e) {
		pthread_mutex_lock(&d->lock);
		d->exchanged = e == E_NOTFOUND;
		pthread_mutex_unlock(&d->lock);
		return DEVICE_DOWN;
	}
	pthread_mutex_lock(&d->lock);
	d->token_flags = flags;
	d->exchanged = false;
	pthread_mutex_unlock(&d->lock);
	e = try_keys(d, s, anew, alone);
	pthread_mutex_lock(&d->lock);
	memcpy(d->capabilities, d->token->capabilities, sizeof(d->capabilities));
	pthread_mutex_unlock(&d->lock);
	if (e == E_OK)
		return DEVICE_UP;
	return ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last) ? DEVICE_DOWN : DEVICE_NO_KEYS;
}

/* Where sessions work and only keys are not made: once, and then more and more seldom. */
static bool may_restart_full(struct device *d)
{
	uint64_t now = clock_ms();
	bool may;

	pthread_mutex_lock(&d->lock);
	may = now >= d->restart_full_at_ms;
	if (may) {
		d->restart_full_every_ms =
		    d->restart_full_every_ms ? 2 * d->restart_full_every_ms : RESTART_FULL_MS;
		if (d->restart_full_every_ms > RESTART_FULL_MAX_MS)
			d->restart_full_every_ms = RESTART_FULL_MAX_MS;
		d->restart_full_at_ms = now + d->restart_full_every_ms;
	}
	pthread_mutex_unlock(&d->lock);
	return may;
}

/* What cannot be helped by the module being reinitialised is not tried. */
static bool module_may_help(struct device *d, const struct session *s, enum device_state state)
{
	if (login_is_refused(d->login) || s->last == CKR_DEVICE_MEMORY ||
	    s->last == CKR_TOKEN_WRITE_PROTECTED || (s->last == CKR_SESSION_COUNT && device_has_sessions(d)))
		return false;
	return state != DEVICE_NO_KEYS || may_restart_full(d);
}

/* Logout, close, finalise, initialise; with nobody else inside. */
static enum err restart_module(struct device *d, struct session *s)
{
	char reason[DEVICE_REASON_SIZE] = "";
	enum err e;

	pthread_mutex_lock(&d->sessions_lock);
	if (s->handle != CK_INVALID_HANDLE)
		d->token->p11->C_Logout(s->handle);
	d->token->p11->C_CloseAllSessions(d->token->slot);
	d->module_epoch++;
	atomic_fetch_add(&d->epoch, 1);
	forget_locked(d, s);
	e = module_restart(d->module, d->token, reason);
	if (e == E_OK)
		remains_clear(d->remains);
	pthread_mutex_unlock(&d->sessions_lock);
	pthread_mutex_lock(&d->lock);
	d->exchanged = e == E_NOTFOUND;
	pthread_mutex_unlock(&d->lock);
	if (e)
		session_explain(s, "%s", reason);
	return e;
}

enum err device_renew(struct device *d, struct session *s)
{
	enum err e = restart_module(d, s);

	if (e) {
		s->trouble = true;
		return e;
	}
	s->stale = false;
	return device_open_session(d, s, false);
}

static void pace_next(struct pace *pace, uint64_t now, uint64_t first_ms, uint64_t max_ms)
{
	if (now > pace->at_ms && now - pace->at_ms > max_ms) /* the last time is long ago */
		pace->every_ms = first_ms;
	pace->at_ms = now + pace->every_ms;
	pace->every_ms = 2 * pace->every_ms < max_ms ? 2 * pace->every_ms : max_ms;
}

/* For a renewal: others are kept out for a tenth of the time at most. */
static bool take_exclusive_to_renew(struct device *d)
{
	uint64_t within_ms;
	bool taken = false;

	pthread_mutex_lock(&d->lock);
	within_ms = d->alone_within_ms;
	d->renew_waits = true;
	if (is_held_up_locked(d, within_ms)) {
		d->renew_retry_ms = clock_ms() + RENEW_BUSY_MS;
	} else if ((taken = take_exclusive_locked(d, within_ms))) {
		d->alone_within_ms = ALONE_WITHIN_MS;
	} else {
		d->renew_retry_ms = clock_ms() + ALONE_REST * within_ms;
		d->alone_within_ms =
		    2 * within_ms < ALONE_WITHIN_MAX_MS ? 2 * within_ms : ALONE_WITHIN_MAX_MS;
	}
	pthread_mutex_unlock(&d->lock);
	return taken;
}

/* It is being done: whatever wanted it. */
static void renewal_begins(struct device *d)
{
	uint64_t now = clock_ms();

	pthread_mutex_lock(&d->lock);
	if (d->hidden.wanted)
		pace_next(&d->hidden, now, HIDDEN_FIRST_MS, HIDDEN_MAX_MS);
	if (d->renew.wanted)
		pace_next(&d->renew, now, RENEW_FIRST_MS, RENEW_MAX_MS);
	d->hidden.wanted = d->renew.wanted = d->renew_waits = false;
	d->unproven_len = 0;
	pthread_mutex_unlock(&d->lock);
}

bool device_awaits_renewal(struct device *d)
{
	bool awaits;

	pthread_mutex_lock(&d->lock);
	awaits = d->renew_waits;
	pthread_mutex_unlock(&d->lock);
	return awaits;
}

/* A look with nobody else inside, after the module was reinitialised if need be. */
static enum device_state examine_alone(struct device *d, struct session *s, const struct round *round)
{
	enum device_state state;

	if (!(round->renew ? take_exclusive_to_renew(d) : take_exclusive(d)))
		return round->suspect ? examine(d, s, false, false) : d->state;
	if (round->renew) {
		if (round->hidden)
			log_notice("an object that could not be destroyed is no longer found: the module "
				   "is reinitialised");
		else
			log_notice("%d searches or destroys were inconclusive: the module is reinitialised",
				   UNPROVEN_MAX);
		renewal_begins(d);
	}
	if (round->renew && restart_module(d, s) != E_OK)
		state = DEVICE_DOWN;
	else
		state = examine(d, s, round->probe, true);
	give_exclusive(d);
	return state;
}

void device_repair(struct device *d, struct session *s)
{
	const char *how = "a new session";
	struct round round = {0};
	enum device_state state;

	if (!begin_round(d, &round))
		return;
	s->last = CKR_OK;
	s->failure[0] = '\0';
	state = round.renew || (round.probe && may_probe_again(d)) ? examine_alone(d, s, &round)
								   : examine(d, s, false, false);
	if (session_must_stop(s)) {
		end_round(d);
		return;
	}
	if (state != DEVICE_UP) {
		set_state(d, state, s->failure, "");
		if (module_may_help(d, s, state) && take_exclusive(d)) {
			state = DEVICE_DOWN;
			if (restart_module(d, s) == E_OK) {
				how = "the module was reinitialised";
				state = examine(d, s, false, true);
			}
			give_exclusive(d);
		}
	}
	set_state(d, state, state == DEVICE_UP ? "" : s->failure, how);
	end_round(d);
}

/* Whether this one is to do it, for all. */
static bool begin_reaching(struct device *d)
{
	uint64_t now = clock_ms();
	bool mine;

	pthread_mutex_lock(&d->lock);
	mine = now - d->reached_ms >= d->keep_alive_ms / 2;
	if (mine)
		d->reached_ms = now;
	pthread_mutex_unlock(&d->lock);
	return mine;
}

static enum err reach_token(struct session *s)
{
	enum { SOME_OBJECTS = 1000 };
	static const char label[] = "csrd-keep-alive"; /* no object has it */
	CK_ATTRIBUTE template = {CKA_LABEL, (void *)(uintptr_t)label, sizeof(label) - 1};
	CK_OBJECT_HANDLE *handles = NULL;
	size_t len = 0;
	enum err e = object_search(s, &template, 1, SOME_OBJECTS, &handles, &len);

	free(handles);
	return e;
}

static enum err look_after(struct device *d, struct session *s, CK_FLAGS *ret_flags)
{
	enum err e = session_probe(s, ret_flags);

	return e || !begin_reaching(d) ? e : reach_token(s);
}

void device_keep_alive(struct device *d, struct session *s)
{
	char reason[DEVICE_REASON_SIZE];
	CK_FLAGS flags = 0;
	bool warn = false;

	if (device_enter(d, s, false, reason))
		return;
	s->trouble = false;
	if (look_after(d, s, &flags) == E_OK) {
		pthread_mutex_lock(&d->lock);
		warn = flags & ~d->token_flags &
		       (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
		d->token_flags = flags;
		pthread_mutex_unlock(&d->lock);
	} else if (s->last != CKR_SESSION_COUNT || !device_has_sessions(d)) {
		log_info("an idle session failed: %s", s->failure);
		s->trouble = true;
	}
	device_leave(d, s, s->trouble);
	if (warn)
		log_warn("token '%s': %s", d->token->label,
			 flags & CKF_USER_PIN_LOCKED      ? "the user pin is locked"
			 : flags & CKF_USER_PIN_FINAL_TRY ? "one more wrong pin locks it"
							  : "somebody gave it a wrong pin");
}

void device_try_session(struct device *d, struct session *s)
{
	char reason[DEVICE_REASON_SIZE];

	if (device_enter(d, s, false, reason))
		return;
	s->trouble = false;
	s->last = CKR_OK;
	(void)!session_open(s); /* whether it is open is all that counts */
	device_leave(d, s, s->trouble);
}
