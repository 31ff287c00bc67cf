/* SPDX-License-Identifier: Apache-2.0 */
/* Logs in to the token, and sees to it that a wrong PIN is tried once. */
#include "hsm/signer/token/login.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/pin_guard.h"
#include "hsm/signer/token/token_info.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PIN_MAX_BYTES 255
#define ASK_AGAIN_MS 10000 /* whether an earlier process's pause is over: that takes an scrypt */

struct login {
	const struct token *token;
	const char *pin_file;
	const char *pin_name; /* for the log */
	const struct state_dir *state;
	pthread_mutex_t lock; /* held over C_Login: no second thread may try meanwhile */
	struct stat good;     /* of the PIN file when its PIN was last accepted; zeroed: not yet */
	struct stat failed;   /* … and when it was last not */
	atomic_bool refused;  /* read without the lock: C_Login may hang */
	atomic_uint_fast64_t attempts;
	uint64_t not_before_ms; /* of the next try, after a failure that was not explained; 0: now */
	CK_RV failed_rv;        /* that failure; CKR_OK: it was an earlier process's */
};

enum err login_new(const struct token *token, const char *pin_file, const char *pin_name,
		   const struct state_dir *state, struct login **ret_login)
{
	struct login *l = calloc(1, sizeof(*l));

	if (!l)
		return E_NOMEM;
	l->token = token;
	l->pin_file = pin_file;
	l->pin_name = pin_name;
	l->state = state;
	pthread_mutex_init(&l->lock, NULL);
	*ret_login = l;
	return E_OK;
}

void login_free(struct login *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- the login ---- */

/* Asked afresh: another process may have used up tries meanwhile. */
static enum err check_flags(const struct login *l, CK_RV *ret_rv)
{
	CK_TOKEN_INFO info;
	CK_RV rv = token_info_read(l->token->p11, l->token->slot, l->token, &info);

	if (rv != CKR_OK) {
		*ret_rv = rv;
		return ckr_err(rv);
	}
	if (!token_info_is_of(l->token, &info)) {
		log_error("another token is in the place of '%s' with serial '%s': no login", l->token->label,
			  l->token->serial);
		return E_UNAVAIL;
	}
	if (info.flags & CKF_USER_PIN_LOCKED) {
		log_error("the user pin of token '%s' is locked", l->token->label);
		return E_PIN_LOCKED;
	}
	if (info.flags & CKF_USER_PIN_FINAL_TRY) {
		log_error(
		    "one more wrong pin locks token '%s': no attempt made; log in once with another tool",
		    l->token->label);
		return E_PIN_LOCKED;
	}
	if (!(info.flags & CKF_USER_PIN_INITIALIZED)) {
		log_error("token '%s' has no user pin yet", l->token->label);
		return E_PIN;
	}
	if (info.flags & CKF_USER_PIN_COUNT_LOW)
		log_warn("somebody gave token '%s' a wrong pin since the last login; one attempt is made now",
			 l->token->label);
	return E_OK;
}

static enum err login_read_pin(const struct login *l, struct secret **ret_pin)
{
	size_t max = l->token->max_pin_len && l->token->max_pin_len < PIN_MAX_BYTES ? l->token->max_pin_len
										    : PIN_MAX_BYTES;
	enum err e = secret_read_file(l->pin_file, max, ret_pin);

	switch (e) {
	case E_OK:
		return E_OK;
	case E_NOTFOUND:
		log_error("pin file '%s' does not exist", l->pin_name);
		return E_CONFIG;
	case E_DENIED:
		log_error("pin file '%s' is not readable, or is open to others (expected: mode 0600 or 0640)",
			  l->pin_name);
		return E_CONFIG;
	case E_LIMIT:
		log_error("pin file '%s' is longer than the %zu bytes of a pin", l->pin_name, max);
		return E_CONFIG;
	case E_INVAL:
		log_error("pin file '%s' is empty or not a regular file", l->pin_name);
		return E_CONFIG;
	case E_UNAVAIL:
		log_error("pin file '%s': cannot lock the pin in memory: %s (LimitMEMLOCK= of the unit, or a "
			  "system call filter without mlock)",
			  l->pin_name, strerror(errno));
		return E_IO;
	default:
		log_err(e, "pin file '%s'", l->pin_name);
		return e;
	}
}

/* The PIN file is there and as it was. */
static bool is_same_file(const struct stat *st, const struct stat *then)
{
	return st->st_ino && st->st_dev == then->st_dev && st->st_ino == then->st_ino &&
	       st->st_size == then->st_size && st->st_ctim.tv_sec == then->st_ctim.tv_sec &&
	       st->st_ctim.tv_nsec == then->st_ctim.tv_nsec;
}

static CK_RV ask_token(struct login *l, CK_SESSION_HANDLE session, const struct secret *pin)
{
	atomic_fetch_add(&l->attempts, 1);
	/* Cryptoki's prototype lacks a const; the PIN is not changed. */
	return l->token->p11->C_Login(session, CKU_USER, (unsigned char *)(uintptr_t)secret_bytes(pin),
				      (CK_ULONG)secret_len(pin));
}

/* `failures`: how many there have been with this PIN before. */
static enum err note_failure(struct login *l, const struct secret *pin, unsigned failures, CK_RV rv,
			     enum err e)
{
	failures++;
	l->not_before_ms = clock_ms() + PIN_GUARD_PAUSE_MS;
	l->failed_rv = rv;
	memset(&l->good, 0, sizeof(l->good));
	if (pin_guard_count(l->state, l->token->serial, pin, failures) != E_OK)
		log_error("do not start csrd-hsm again with the same pin");
	if (failures >= PIN_GUARD_TRIES) {
		log_error(
		    "token '%s' failed the login with the pin of '%s' once more: %s (0x%lx); that may be "
		    "its way of reporting a wrong pin, so it is not tried again",
		    l->token->label, l->pin_name, CKR_ARGS(rv));
		return E_PIN;
	}
	log_warn(
	    "token '%s' failed the login with the pin of '%s': %s (0x%lx); one more try is made, in %d s at "
	    "the earliest",
	    l->token->label, l->pin_name, CKR_ARGS(rv), PIN_GUARD_PAUSE_MS / 1000);
	return e;
}

/* The token was not reached: the marker is as it was before. */
static void take_back(const struct login *l, const struct secret *pin, unsigned failures)
{
	if (!failures)
		pin_guard_disarm(l->state);
	else if (pin_guard_count(l->state, l->token->serial, pin, failures) != E_OK)
		log_error("do not start csrd-hsm again with the same pin");
}

static bool is_users(CK_STATE state)
{
	return state == CKS_RW_USER_FUNCTIONS || state == CKS_RO_USER_FUNCTIONS;
}

/* "Already logged in" is no failure where it is so; else it is an answer like any other. */
static enum err judge_answer(const struct login *l, CK_SESSION_HANDLE session, CK_RV rv)
{
	CK_SESSION_INFO info;

	if (rv == CKR_USER_ALREADY_LOGGED_IN && l->token->p11->C_GetSessionInfo(session, &info) == CKR_OK &&
	    is_users(info.state))
		return E_OK;
	return ckr_err(rv);
}

/*
 * With the marker standing, which goes when the token has taken the PIN.  One
 * that was accepted before in this process is spared that (some tokens need a
 * login for every key): the marker is then made when the login fails after all.
 */
static enum err try_pin(struct login *l, CK_SESSION_HANDLE session, const struct secret *pin, bool proven,
			unsigned failures, CK_RV *ret_rv)
{
	const char *serial = l->token->serial;
	enum err e;
	CK_RV rv;

	if (!proven && (e = pin_guard_arm(l->state, serial, pin)) != E_OK)
		return e;
	rv = ask_token(l, session, pin);
	*ret_rv = rv;
	e = judge_answer(l, session, rv);
	if (e == E_PIN || e == E_PIN_LOCKED) {
		log_error("token '%s' refused the pin of '%s': %s (0x%lx)", l->token->label, l->pin_name,
			  CKR_ARGS(rv));
		if (proven && pin_guard_arm(l->state, serial, pin) != E_OK)
			log_error("do not start csrd-hsm again with the same pin");
		return e;
	}
	if (e != E_OK && !ckr_is_unreached(rv))
		return note_failure(l, pin, failures, rv, e);
	if (e != E_OK && !proven)
		take_back(l, pin, failures);
	else if (!proven)
		pin_guard_disarm(l->state);
	return e;
}

static enum err login_once(struct login *l, CK_SESSION_HANDLE session, CK_RV *ret_rv)
{
	struct secret *pin = NULL;
	unsigned failures = 0;
	struct stat st;
	bool proven;
	enum err e;

	if (stat(l->pin_file, &st))
		memset(&st, 0, sizeof(st));
	if (clock_ms() < l->not_before_ms && is_same_file(&st, &l->failed)) {
		*ret_rv = l->failed_rv;
		return l->failed_rv == CKR_OK ? E_UNAVAIL : ckr_err(l->failed_rv);
	}
	if ((e = check_flags(l, ret_rv)) != E_OK || (e = login_read_pin(l, &pin)) != E_OK)
		return e;
	proven = is_same_file(&st, &l->good);
	if (!proven && (e = pin_guard_check(l->state, l->token->serial, l->pin_name, pin, &failures)) == E_IO)
		e = E_CONFIG;
	if (e == E_OK)
		e = try_pin(l, session, pin, proven, failures, ret_rv);
	if (e == E_BUSY) {
		l->not_before_ms = clock_ms() + ASK_AGAIN_MS;
		l->failed_rv = CKR_OK;
		e = E_UNAVAIL;
	}
	if (e == E_OK) {
		l->good = st;
		l->not_before_ms = 0;
	} else {
		l->failed = st;
	}
	secret_free(pin);
	return e;
}

enum err login_ensure(struct login *l, CK_SESSION_HANDLE session, CK_RV *ret_rv)
{
	CK_SESSION_INFO info;
	enum err e;
	CK_RV rv;

	*ret_rv = CKR_OK;
	pthread_mutex_lock(&l->lock);
	if (atomic_load(&l->refused)) {
		e = E_PIN;
	} else if (!token_has_login(l->token)) {
		e = E_OK;
	} else if ((rv = l->token->p11->C_GetSessionInfo(session, &info)) != CKR_OK) {
		*ret_rv = rv;
		e = ckr_err(rv);
	} else if (is_users(info.state)) {
		e = E_OK;
	} else {
		e = login_once(l, session, ret_rv);
		atomic_store(&l->refused, e == E_PIN || e == E_PIN_LOCKED);
	}
	pthread_mutex_unlock(&l->lock);
	return e;
}

bool login_is_refused(const struct login *l)
{
	return atomic_load(&l->refused);
}

uint64_t login_attempts(const struct login *l)
{
	return atomic_load(&l->attempts);
}
