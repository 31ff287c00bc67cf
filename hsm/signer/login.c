/* Logs in to the token, and sees to it that a wrong PIN is tried once. */
#include "hsm/signer/login.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/secret.h"
#include "hsm/signer/ckr.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIN_MAX_BYTES 255

struct login {
	const struct token *token;
	const char *pin_file;
	char *marker_path;
	pthread_mutex_t lock; /* held over C_Login: no second thread may try meanwhile */
	atomic_bool refused;  /* read without the lock: C_Login may hang */
};

enum err login_new(const struct token *token, const char *pin_file, const char *socket,
		   struct login **ret_login)
{
	struct login *l = calloc(1, sizeof(*l));

	if (!l)
		return E_NOMEM;
	if (asprintf(&l->marker_path, "%s.pin-refused", socket) < 0) {
		free(l);
		return E_NOMEM;
	}
	l->token = token;
	l->pin_file = pin_file;
	pthread_mutex_init(&l->lock, NULL);
	*ret_login = l;
	return E_OK;
}

void login_free(struct login *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l->marker_path);
	free(l);
}

/* ---- the marker ---- */

/* Which PIN file it was, without a word about what is in it. */
static void describe_attempt(const struct login *l, struct buf *b)
{
	struct stat st;

	if (stat(l->pin_file, &st))
		memset(&st, 0, sizeof(st));
	buf_printf(b,
		   "The token refused the PIN, and csrd-hsm does not try it again.\n"
		   "Put the right PIN into the PIN file, or remove this file, and start csrd-hsm.\n"
		   "token-serial %s\npin-file %llu:%llu size %lld changed %lld.%09ld\n",
		   l->token->serial, (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		   (long long)st.st_size, (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

static bool was_refused_before(const struct login *l)
{
	struct buf now, then;
	bool same;

	buf_init(&now, 4096);
	buf_init(&then, 4096);
	describe_attempt(l, &now);
	same = buf_status(&now) == E_OK && fd_read_file(l->marker_path, &then) == E_OK &&
	       strcmp(buf_text(&now), buf_text(&then)) == 0;
	buf_release(&now);
	buf_release(&then);
	return same;
}

static void remember_refusal(const struct login *l)
{
	struct buf b;
	int fd;

	buf_init(&b, 4096);
	describe_attempt(l, &b);
	fd = open(l->marker_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || buf_status(&b) != E_OK || fd_write_all(fd, b.data, b.len) != E_OK || fsync(fd))
		log_error("cannot write '%s': %s; do not start csrd-hsm again with the same pin",
			  l->marker_path, strerror(errno));
	fd_close(&fd);
	buf_release(&b);
}

/* ---- the login ---- */

/* Asked afresh: another process may have used up tries meanwhile. */
static enum err check_flags(const struct login *l, CK_RV *ret_rv)
{
	CK_TOKEN_INFO info;
	CK_RV rv = l->token->p11->C_GetTokenInfo(l->token->slot, &info);

	if (rv != CKR_OK) {
		*ret_rv = rv;
		return ckr_err(rv);
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
		log_warn("somebody gave token '%s' a wrong pin since the last login", l->token->label);
	return E_OK;
}

static enum err read_pin(const struct login *l, struct secret **ret_pin)
{
	size_t max = l->token->max_pin_len && l->token->max_pin_len < PIN_MAX_BYTES ? l->token->max_pin_len
										    : PIN_MAX_BYTES;
	enum err e = secret_read_file(l->pin_file, max, ret_pin);

	switch (e) {
	case E_OK:
		return E_OK;
	case E_NOTFOUND:
		log_error("pin file '%s' does not exist", l->pin_file);
		return E_CONFIG;
	case E_DENIED:
		log_error("pin file '%s' is not readable, or is open to others (wanted: mode 0600 or 0640)",
			  l->pin_file);
		return E_CONFIG;
	case E_LIMIT:
		log_error("pin file '%s' is longer than the %zu bytes of a pin", l->pin_file, max);
		return E_CONFIG;
	case E_INVAL:
		log_error("pin file '%s' is empty or not a regular file", l->pin_file);
		return E_CONFIG;
	default:
		log_err(e, "pin file '%s'", l->pin_file);
		return e;
	}
}

static enum err try_pin(struct login *l, CK_SESSION_HANDLE session, CK_RV *ret_rv)
{
	struct secret *pin = NULL;
	enum err e = read_pin(l, &pin);
	CK_RV rv;

	if (e)
		return e;
	/* Cryptoki's prototype lacks a const; the PIN is not changed. */
	rv = l->token->p11->C_Login(session, CKU_USER, (unsigned char *)(uintptr_t)secret_bytes(pin),
				    (CK_ULONG)secret_len(pin));
	secret_free(pin);
	*ret_rv = rv;
	if (rv == CKR_USER_ALREADY_LOGGED_IN)
		rv = CKR_OK;
	e = ckr_err(rv);
	if (e == E_PIN || e == E_PIN_LOCKED) {
		log_error("token '%s' refused the pin of '%s': %s (0x%lx)", l->token->label, l->pin_file,
			  CKR_ARGS(rv));
		remember_refusal(l);
	}
	return e;
}

static enum err login_once(struct login *l, CK_SESSION_HANDLE session, CK_RV *ret_rv)
{
	enum err e = check_flags(l, ret_rv);

	if (e)
		return e;
	if (was_refused_before(l)) {
		log_error("the pin of '%s' was refused before and has not changed since: not tried again "
			  "(see '%s')",
			  l->pin_file, l->marker_path);
		return E_PIN;
	}
	if ((e = try_pin(l, session, ret_rv)) == E_OK && unlink(l->marker_path) && errno != ENOENT)
		log_warn("cannot remove '%s': %s", l->marker_path, strerror(errno));
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
	} else if ((rv = l->token->p11->C_GetSessionInfo(session, &info)) != CKR_OK) {
		*ret_rv = rv;
		e = ckr_err(rv);
	} else if (info.state == CKS_RW_USER_FUNCTIONS || info.state == CKS_RO_USER_FUNCTIONS) {
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
