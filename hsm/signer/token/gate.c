/* SPDX-License-Identifier: Apache-2.0 */
/* In and out of the module, and the sessions. */
#include "hsm/signer/token/gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "hsm/signer/token/remains.h"
#include "hsm/signer/token/session.h"
#include "hsm/signer/token/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

LIST_HEAD(session_list, session);

struct gate {
	struct module *module;
	struct token *token;
	struct login *login;
	struct remains *remains;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	enum token_state state;
	char reason[TOKEN_REASON_SIZE];
	bool exclusive; /* nobody may enter */
	struct session_list inside;
	uint64_t entries; /* how often somebody came in */

	/*
	 * Opening and closing, one at a time: a closed handle may be given to the next who opens.  Held
	 * during calls into the module, so whoever takes it may wait for as long as those take.
	 */
	pthread_mutex_t sessions_lock;
	/* Under both to write, under either to read: who only asks does not wait for the module. */
	pthread_mutex_t list_lock;
	struct session_list sessions; /* those whose handle is valid */
	uint64_t module_epoch;
	bool opening; /* somebody is */
	atomic_uint_fast64_t epoch;
};

enum err gate_new(struct module *module, struct token *token, struct login *login, struct gate **ret_gate)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		return E_NOMEM;
	if (remains_new(&g->remains) != E_OK) {
		free(g);
		return E_NOMEM;
	}
	g->module = module;
	g->token = token;
	g->login = login;
	g->state = TOKEN_NO_KEYS;
	snprintf(g->reason, sizeof(g->reason), "it was not tried yet");
	LIST_INIT(&g->inside);
	LIST_INIT(&g->sessions);
	atomic_init(&g->epoch, 1);
	pthread_mutex_init(&g->lock, NULL);
	pthread_mutex_init(&g->sessions_lock, NULL);
	pthread_mutex_init(&g->list_lock, NULL);
	thread_cond_init(&g->changed);
	*ret_gate = g;
	return E_OK;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->list_lock);
	pthread_mutex_destroy(&g->sessions_lock);
	pthread_mutex_destroy(&g->lock);
	remains_free(g->remains);
	free(g);
}

/* ---- waiting for another thread, which is watched itself ---- */

static void gate_wait_locked(struct gate *g)
{
	watchdog_wait(true);
	pthread_cond_wait(&g->changed, &g->lock);
	watchdog_wait(false);
}

static bool gate_wait_until_locked(struct gate *g, uint64_t until_ms)
{
	bool in_time;

	watchdog_wait(true);
	in_time = thread_cond_wait_until(&g->changed, &g->lock, until_ms);
	watchdog_wait(false);
	return in_time;
}

static void gate_lock_sessions(struct gate *g)
{
	watchdog_wait(true);
	pthread_mutex_lock(&g->sessions_lock);
	watchdog_wait(false);
}

/* ---- sessions ---- */

uint64_t gate_epoch(const struct gate *g)
{
	return atomic_load(&g->epoch);
}

uint64_t gate_logins(const struct gate *g)
{
	return login_attempts(g->login);
}

static void gate_forget_locked(struct gate *g, struct session *s)
{
	if (s->handle == CK_INVALID_HANDLE)
		return;
	pthread_mutex_lock(&g->list_lock);
	LIST_REMOVE(s, open);
	pthread_mutex_unlock(&g->list_lock);
	s->handle = CK_INVALID_HANDLE;
}

static void gate_remember_locked(struct gate *g, struct session *s)
{
	pthread_mutex_lock(&g->list_lock);
	LIST_INSERT_HEAD(&g->sessions, s, open);
	s->epoch = gate_epoch(g);
	s->module_epoch = g->module_epoch;
	pthread_mutex_unlock(&g->list_lock);
}

static void gate_set_opening_locked(struct gate *g, bool opening)
{
	pthread_mutex_lock(&g->list_lock);
	g->opening = opening;
	pthread_mutex_unlock(&g->list_lock);
}

/* A handle may have died and been given to another session of ours; that one is not to be closed. */
static bool gate_is_of_another_locked(const struct gate *g, const struct session *s)
{
	const struct session *other;

	LIST_FOREACH (other, &g->sessions, open)
		if (other != s && other->handle == s->handle && other->module_epoch == s->module_epoch &&
		    other->epoch > s->epoch)
			return true;
	return false;
}

static void gate_close_locked(struct gate *g, struct session *s)
{
	if (s->handle == CK_INVALID_HANDLE)
		return;
	if (s->module_epoch == g->module_epoch && !gate_is_of_another_locked(g, s))
		g->token->p11->C_CloseSession(s->handle); /* nothing can be done about a refusal */
	gate_forget_locked(g, s);
}

/* A session of an earlier epoch may be void. */
static bool gate_has_sessions_locked(const struct gate *g)
{
	const struct session *s;

	LIST_FOREACH (s, &g->sessions, open)
		if (s->module_epoch == g->module_epoch && s->epoch == gate_epoch(g))
			return true;
	return false;
}

bool gate_has_sessions(struct gate *g)
{
	bool has;

	pthread_mutex_lock(&g->list_lock);
	has = g->opening || gate_has_sessions_locked(g);
	pthread_mutex_unlock(&g->list_lock);
	return has;
}

static enum err gate_open_locked(struct gate *g, struct session *s)
{
	CK_RV rv;
	enum err e;

	rv = g->token->p11->C_OpenSession(g->token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
					  &s->handle);
	if (rv == CKR_OK && s->handle == CK_INVALID_HANDLE)
		rv = CKR_SESSION_HANDLE_INVALID; /* or it would be in the list as one that is not open */
	if (rv != CKR_OK) {
		s->handle = CK_INVALID_HANDLE;
		e = session_fail(s, "C_OpenSession", rv);
		s->trouble |= !gate_has_sessions_locked(g); /* nobody else's work frees one */
		return e;
	}
	gate_remember_locked(g, s);
	e = login_ensure(g->login, s->handle, &rv);
	if (e == E_OK)
		return E_OK;
	if (rv != CKR_OK && session_fail(s, "login", rv) == E_OK)
		e = E_BUG;
	else if (rv == CKR_OK)
		session_explain(s, "login: %s", err_str(e));
	s->trouble = true;
	gate_close_locked(g, s);
	return e;
}

enum err gate_open_session(struct gate *g, struct session *s, bool lost)
{
	enum err e;

	/* Others may open theirs first, one after the other, each in its time. */
	gate_lock_sessions(g);
	gate_set_opening_locked(g, true);
	/* The first who lost a session of this epoch ends it for all; they open theirs when in need. */
	if (lost && s->handle != CK_INVALID_HANDLE && s->epoch == gate_epoch(g)) {
		atomic_fetch_add(&g->epoch, 1);
		log_warn("a session was lost (%s): all sessions are reopened (epoch %llu)", s->failure,
			 (unsigned long long)gate_epoch(g));
	}
	gate_close_locked(g, s);
	e = gate_open_locked(g, s);
	gate_set_opening_locked(g, false);
	pthread_mutex_unlock(&g->sessions_lock);
	return e;
}

void gate_close_session(struct gate *g, struct session *s)
{
	gate_lock_sessions(g);
	gate_close_locked(g, s);
	pthread_mutex_unlock(&g->sessions_lock);
}

/* ---- in and out ---- */

static void gate_put_inside_locked(struct gate *g, struct session *s)
{
	s->inside_since_ms = clock_ms();
	LIST_INSERT_HEAD(&g->inside, s, inside);
}

/* Since when the one is inside who came first. */
static uint64_t gate_oldest_inside_locked(const struct gate *g)
{
	uint64_t since_ms = UINT64_MAX;
	const struct session *s;

	LIST_FOREACH (s, &g->inside, inside)
		if (s->inside_since_ms < since_ms)
			since_ms = s->inside_since_ms;
	return since_ms;
}

enum err gate_enter(struct gate *g, struct session *s, bool creating, char ret_reason[TOKEN_REASON_SIZE])
{
	enum err e = E_OK;

	pthread_mutex_lock(&g->lock);
	while (g->exclusive && (g->state == TOKEN_UP || (g->state == TOKEN_NO_KEYS && !creating)))
		gate_wait_locked(g);
	if (g->exclusive || g->state == TOKEN_DOWN || (creating && g->state == TOKEN_NO_KEYS)) {
		memcpy(ret_reason, g->reason, TOKEN_REASON_SIZE);
		e = E_UNAVAIL;
	} else {
		gate_put_inside_locked(g, s);
		g->entries++;
	}
	pthread_mutex_unlock(&g->lock);
	return e;
}

void gate_leave(struct gate *g, struct session *s)
{
	pthread_mutex_lock(&g->lock);
	LIST_REMOVE(s, inside);
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

bool gate_is_shared(struct gate *g, uint64_t *entries)
{
	bool shared;

	pthread_mutex_lock(&g->lock);
	shared =
	    (!LIST_EMPTY(&g->inside) && LIST_NEXT(LIST_FIRST(&g->inside), inside)) || g->entries != *entries;
	*entries = g->entries;
	pthread_mutex_unlock(&g->lock);
	return shared;
}

enum token_state gate_state(struct gate *g, char ret_reason[TOKEN_REASON_SIZE])
{
	enum token_state state;

	pthread_mutex_lock(&g->lock);
	state = g->state;
	memcpy(ret_reason, g->reason, TOKEN_REASON_SIZE);
	pthread_mutex_unlock(&g->lock);
	return state;
}

void gate_set_state(struct gate *g, enum token_state state, const char *reason)
{
	pthread_mutex_lock(&g->lock);
	g->state = state;
	snprintf(g->reason, sizeof(g->reason), "%s", reason);
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

/* ---- alone ---- */

static bool gate_is_held_up_locked(const struct gate *g, uint64_t within_ms)
{
	return !LIST_EMPTY(&g->inside) && clock_ms() - gate_oldest_inside_locked(g) >= within_ms;
}

bool gate_is_held_up(struct gate *g, uint64_t within_ms)
{
	bool held_up;

	pthread_mutex_lock(&g->lock);
	held_up = gate_is_held_up_locked(g, within_ms);
	pthread_mutex_unlock(&g->lock);
	return held_up;
}

/* While it waits nobody comes in either, so it is not tried where it would be in vain. */
static bool gate_take_locked(struct gate *g, uint64_t within_ms)
{
	uint64_t until_ms = clock_ms() + within_ms;
	bool in_time = true;

	while (g->exclusive && in_time)
		in_time = gate_wait_until_locked(g, until_ms);
	if (g->exclusive || gate_is_held_up_locked(g, within_ms))
		return false;
	g->exclusive = true;
	while (!LIST_EMPTY(&g->inside) && in_time)
		in_time = gate_wait_until_locked(g, until_ms);
	if (!LIST_EMPTY(&g->inside)) {
		g->exclusive = false;
		pthread_cond_broadcast(&g->changed);
		return false;
	}
	return true;
}

bool gate_take(struct gate *g, uint64_t within_ms)
{
	bool taken;

	pthread_mutex_lock(&g->lock);
	taken = gate_take_locked(g, within_ms);
	pthread_mutex_unlock(&g->lock);
	return taken;
}

/* Out of the module first, so that two who want it for themselves do not wait for each other. */
bool gate_begin_alone(struct gate *g, struct session *s)
{
	bool taken;

	pthread_mutex_lock(&g->lock);
	LIST_REMOVE(s, inside);
	pthread_cond_broadcast(&g->changed);
	taken = gate_take_locked(g, GATE_ALONE_WITHIN_MS);
	while (!taken && g->exclusive)
		gate_wait_locked(g);
	gate_put_inside_locked(g, s);
	g->entries += !taken;
	pthread_mutex_unlock(&g->lock);
	return taken;
}

void gate_end_alone(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->exclusive = false;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

/* ---- the module ---- */

enum err gate_restart_module(struct gate *g, struct session *s)
{
	char reason[TOKEN_REASON_SIZE] = "";
	enum err e;

	gate_lock_sessions(g);
	if (s->handle != CK_INVALID_HANDLE)
		g->token->p11->C_Logout(s->handle);
	g->token->p11->C_CloseAllSessions(g->token->slot);
	pthread_mutex_lock(&g->list_lock);
	g->module_epoch++;
	atomic_fetch_add(&g->epoch, 1);
	pthread_mutex_unlock(&g->list_lock);
	gate_forget_locked(g, s);
	e = module_restart(g->module, g->token, reason);
	if (e == E_OK)
		remains_clear(g->remains);
	pthread_mutex_unlock(&g->sessions_lock);
	if (e != E_OK)
		session_explain(s, "%s", reason);
	return e;
}

enum err gate_renew(struct gate *g, struct session *s)
{
	enum err e = gate_restart_module(g, s);

	if (e != E_OK) {
		s->trouble = true;
		return e;
	}
	s->stale = false;
	return gate_open_session(g, s, false);
}

struct remains *gate_remains(struct gate *g)
{
	return g->remains;
}
