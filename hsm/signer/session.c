/* A session's life: open, log in, fail, open again. */
#include "hsm/signer/session.h"

#include "hsm/signer/ckr.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void session_init(struct session *s, const struct token *token, struct login *login)
{
	memset(s, 0, sizeof(*s));
	s->token = token;
	s->login = login;
	s->handle = CK_INVALID_HANDLE;
}

enum err session_fail(struct session *s, const char *call, CK_RV rv)
{
	s->last = rv;
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

enum err session_open(struct session *s)
{
	CK_RV rv;
	enum err e;

	if (s->handle != CK_INVALID_HANDLE)
		return E_OK;
	rv = s->token->p11->C_OpenSession(s->token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
					  &s->handle);
	if (rv != CKR_OK) {
		s->handle = CK_INVALID_HANDLE;
		return session_fail(s, "C_OpenSession", rv);
	}
	e = login_ensure(s->login, s->handle, &rv);
	if (e == E_OK)
		return E_OK;
	if (rv != CKR_OK)
		e = session_fail(s, "login", rv);
	else
		session_explain(s, "login: %s", err_str(e));
	session_close(s);
	return e;
}

void session_close(struct session *s)
{
	if (s->handle != CK_INVALID_HANDLE)
		s->token->p11->C_CloseSession(s->handle); /* nothing can be done about a refusal */
	s->handle = CK_INVALID_HANDLE;
}

enum err session_reopen(struct session *s)
{
	session_close(s);
	return session_open(s);
}

enum err session_probe(struct session *s)
{
	CK_SESSION_INFO info;
	CK_TOKEN_INFO token;
	CK_RV rv;
	enum err e = session_open(s);

	if (e)
		return e;
	if ((rv = s->token->p11->C_GetSessionInfo(s->handle, &info)) != CKR_OK)
		return session_fail(s, "C_GetSessionInfo", rv);
	if (info.state != CKS_RW_USER_FUNCTIONS)
		return session_fail(s, "C_GetSessionInfo", CKR_USER_NOT_LOGGED_IN);
	if ((rv = s->token->p11->C_GetTokenInfo(s->token->slot, &token)) != CKR_OK)
		return session_fail(s, "C_GetTokenInfo", rv);
	return E_OK;
}
