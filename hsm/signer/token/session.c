/* SPDX-License-Identifier: Apache-2.0 */
/* A session's life: open, log in, fail, open again. */
#include "hsm/signer/token/session.h"

#include "base/clock.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/token_info.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void session_init(struct session *s, struct gate *gate, struct judge *judge, const struct token *token)
{
	memset(s, 0, sizeof(*s));
	s->gate = gate;
	s->judge = judge;
	s->token = token;
	s->handle = CK_INVALID_HANDLE;
}

enum err session_begin(struct session *s, bool creating)
{
	enum err e;

	s->trouble = s->doubt = s->unproven = s->hidden = false;
	s->last = CKR_OK;
	e = gate_enter(s->gate, s, creating, s->failure);
	if (e == E_OK)
		(void)session_is_shared(s); /* from here on */
	return e;
}

bool session_is_shared(struct session *s)
{
	return gate_is_shared(s->gate, &s->entries);
}

void session_end(struct session *s)
{
	if (s->doubt)
		judge_doubt(s->judge);
	if (s->hidden)
		judge_hidden(s->judge);
	else if (s->unproven)
		judge_unproven(s->judge);
	if (s->trouble)
		judge_suspect(s->judge);
	gate_leave(s->gate, s);
}

enum err session_fail(struct session *s, const char *call, CK_RV rv)
{
	s->last = rv;
	s->trouble |= ckr_is_trouble(rv);
	snprintf(s->failure, sizeof(s->failure), "%s: %s (0x%lx)", call, CKR_ARGS(rv));
	return rv == CKR_OK ? E_BUG : ckr_err(rv);
}

void session_explain(struct session *s, const char *format, ...)
{
	va_list args;

	s->last = CKR_OK;
	va_start(args, format);
	vsnprintf(s->failure, sizeof(s->failure), format, args);
	va_end(args);
}

bool session_is_told_to_end(void)
{
	sigset_t waiting;

	return sigpending(&waiting) == 0 &&
	       (sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1);
}

bool session_must_stop(const struct session *s)
{
	return (s->stop && atomic_load(s->stop)) || (s->stop_at_ms && clock_ms() >= s->stop_at_ms) ||
	       (s->heeds_signals && session_is_told_to_end());
}

enum err session_break_off(struct session *s)
{
	bool late = s->stop_at_ms && clock_ms() >= s->stop_at_ms;

	session_explain(s, late ? "broken off: its time was up" : "broken off: nobody waits for it any more");
	return late ? E_TIMEOUT : E_UNAVAIL;
}

enum err session_open(struct session *s)
{
	if (s->handle != CK_INVALID_HANDLE && s->epoch == gate_epoch(s->gate))
		return E_OK;
	return gate_open_session(s->gate, s, false);
}

void session_close(struct session *s)
{
	if (s->map)
		s->map_release(s);
	if (s->handle != CK_INVALID_HANDLE)
		gate_close_session(s->gate, s);
}

enum err session_reopen(struct session *s)
{
	return gate_open_session(s->gate, s, ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last));
}

enum err session_refresh(struct session *s)
{
	if (!s->token->quirks.one_session)
		return E_OK;
	return s->stale ? gate_renew(s->gate, s) : session_reopen(s);
}

uint64_t session_epoch(const struct session *s)
{
	return s->epoch;
}

/* Is it the token that we serve? */
static enum err session_check_token(struct session *s, CK_FLAGS *ret_token_flags)
{
	CK_TOKEN_INFO info;
	CK_RV rv = token_info_read(s->token->p11, s->token->slot, s->token, &info);

	if (rv != CKR_OK)
		return session_fail(s, "C_GetTokenInfo", rv);
	if (token_info_is_of(s->token, &info)) {
		*ret_token_flags = info.flags;
		return E_OK;
	}
	session_explain(s, "another token is in the place of '%s' with serial '%s'", s->token->label,
			s->token->serial);
	s->trouble = true;
	return E_NOTFOUND;
}

uint64_t session_logins(const struct session *s)
{
	return gate_logins(s->gate);
}

/* The state first: a login that makes it the user's again was counted before. */
enum err session_check_login(struct session *s, uint64_t logins)
{
	CK_SESSION_INFO info;
	CK_RV rv = s->token->p11->C_GetSessionInfo(s->handle, &info);

	if (rv != CKR_OK)
		return session_fail(s, "C_GetSessionInfo", rv);
	if (token_has_login(s->token) && (info.state != CKS_RW_USER_FUNCTIONS || session_logins(s) != logins))
		return session_fail(s, "C_GetSessionInfo", CKR_USER_NOT_LOGGED_IN);
	return E_OK;
}

enum err session_probe(struct session *s, CK_FLAGS *ret_token_flags)
{
	enum err e = session_open(s);

	if (e != E_OK || (e = session_check_login(s, session_logins(s))) != E_OK)
		return e;
	return session_check_token(s, ret_token_flags);
}
