/* Creates, destroys, finds and lists keys, and cleans up after what went wrong. */
#include "hsm/signer/operation.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "hsm/signer/ckr.h"
#include "hsm/signer/csr_build.h"
#include "hsm/signer/csr_check.h"
#include "hsm/signer/key.h"
#include "hsm/signer/object.h"
#include "hsm/signer/public_key.h"
#include "hsm/signer/sign.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define DETAIL_SIZE 640

static bool session_is_lost(const struct session *s)
{
	return ckr_is_session_lost(s->last) || ckr_is_device_lost(s->last);
}

/* An operation of ours is still active in it, and would be in the way of the next. */
static bool session_is_stuck(const struct session *s)
{
	return s->last == CKR_OPERATION_ACTIVE || s->last == CKR_BUFFER_TOO_SMALL;
}

static bool session_needs_reopening(const struct session *s)
{
	return session_is_lost(s) || session_is_stuck(s);
}

static void forget_failure(struct session *s)
{
	s->last = CKR_OK;
	s->failure[0] = '\0';
}

static void log_failure(struct session *s, const struct job *job, const char *what, enum err e,
			const char *detail)
{
	const struct log_context context = {.csr_id = job->csr_id[0] ? job->csr_id : NULL};
	unsigned suppressed = 0;

	if (e == E_UNAVAIL && !log_gate_pass(&s->down_gate, 1000, &suppressed))
		return;
	if (suppressed)
		log_error("%u more requests failed like this", suppressed);
	log_write(e == E_INVAL || e == E_UNSUPPORTED ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, &context,
		  "cannot %s: %s: %s", what, detail, err_str(e));
}

/* ---- create ---- */

struct attempt {
	const struct job *job;
	char label[OBJECT_LABEL_SIZE];
	uint8_t id[KEY_ID_BYTES];
	struct key key;
	struct session *session;
	struct buf *der;
	uint8_t spki_sha256[KEY_SPKI_HASH_BYTES];
};

static enum err sign_with_key(void *arg, const uint8_t *data, size_t len, struct buf *signature)
{
	const struct attempt *a = arg;

	return sign_bytes(a->session, &a->key, data, len, signature);
}

static enum err hash_spki(EVP_PKEY *public_key, uint8_t hash[KEY_SPKI_HASH_BYTES])
{
	unsigned char *spki = NULL;
	int len = i2d_PUBKEY(public_key, &spki);
	unsigned hash_len = 0;
	enum err e = E_NOMEM;

	if (len > 0 && EVP_Digest(spki, (size_t)len, hash, &hash_len, EVP_sha256(), NULL) == 1 &&
	    hash_len == KEY_SPKI_HASH_BYTES)
		e = E_OK;
	OPENSSL_free(spki);
	return e;
}

static enum err attempt_create(struct attempt *a)
{
	struct session *s = a->session;
	EVP_PKEY *public_key = NULL;
	const char *reason = NULL;
	enum err e;

	FAILPOINT("signer.create.before-keygen");
	if ((e = key_generate(s, a->job->spec.key_type, a->label, a->id, &a->key)))
		return e;
	FAILPOINT("signer.create.after-keygen");
	if ((e = key_read_back(s, a->label, &a->key)) || (e = public_key_read(s, &a->key, &public_key)))
		goto out;
	e = csr_build(&a->job->spec, public_key, sign_with_key, a, a->der, &reason);
	if (e && reason)
		session_explain(s, "csr: %s", reason);
	if (e || (e = hash_spki(public_key, a->spki_sha256)))
		goto out;
	FAILPOINT("signer.create.after-verify");
out:
	EVP_PKEY_free(public_key);
	return e;
}

/* Proves that nothing of this attempt is left, on a fresh session if the old one is in doubt. */
static enum err clean_up(struct session *s, const struct attempt *a)
{
	const struct object_query query = {a->label, a->id};
	uint32_t destroyed = 0;
	enum err e = E_OK;

	for (int round = 0; round < 2; round++) {
		if (session_needs_reopening(s) && (e = session_reopen(s)))
			return e;
		forget_failure(s);
		e = object_destroy(s, &query, &destroyed);
		if (e == E_OK || !session_needs_reopening(s))
			return e;
	}
	return e;
}

/* After a proven clean-up: what the client is to make of the error. */
static enum err nothing_left(enum err e)
{
	switch (e) {
	case E_UNAVAIL:
	case E_BUSY:
	case E_UNSUPPORTED:
	case E_NOMEM:
	case E_INVAL:
	case E_BUG:
		return e;
	case E_PIN:
	case E_PIN_LOCKED:
	case E_CONFIG:
		return E_UNAVAIL;
	default:
		return E_HSM;
	}
}

/*
 * One attempt, and a second one when the token had turned the first away for its session: that did
 * nothing, which the clean-up has proved besides.
 */
static enum err create_key(struct attempt *a, char detail[DETAIL_SIZE])
{
	struct session *s = a->session;
	enum err e = E_BUG, cleaned;

	for (int round = 0; round < 2; round++) {
		bool turned_away;

		forget_failure(s);
		buf_reset(a->der);
		if ((e = key_new_id(a->id))) {
			snprintf(detail, DETAIL_SIZE, "no random key id");
			return E_UNAVAIL;
		}
		if ((e = attempt_create(a)) == E_OK)
			return E_OK;
		turned_away = ckr_is_session_lost(s->last);
		snprintf(detail, DETAIL_SIZE, "%s", s->failure[0] ? s->failure : err_str(e));
		if ((cleaned = clean_up(s, a))) {
			size_t len = strlen(detail);

			snprintf(detail + len, DETAIL_SIZE - len, "; the clean-up failed too: %s",
				 s->failure);
			return E_UNCERTAIN;
		}
		if (!turned_away)
			break;
	}
	return nothing_left(e);
}

static void reply_created(struct job *job, const struct attempt *a)
{
	struct message_create_csr_reply reply = {
	    .key = {.key_type = a->key.type, .protection = a->key.protection},
	    .der = a->der->data,
	    .der_len = a->der->len};

	memcpy(reply.key.key_id, a->id, KEY_ID_BYTES);
	memcpy(reply.key.spki_sha256, a->spki_sha256, KEY_SPKI_HASH_BYTES);
	message_create_csr_reply_encode(&job->reply, &reply);
}

static void create(struct session *s, struct job *job)
{
	struct attempt a = {.job = job, .session = s};
	char detail[DETAIL_SIZE] = "";
	const char *reason = "";
	struct buf der;
	enum err e;

	buf_init(&der, MESSAGE_DER_MAX);
	a.der = &der;
	object_label(a.label, job->csr_id);
	if ((e = csr_check(&job->spec, &reason))) {
		snprintf(detail, sizeof(detail), "%s", reason);
	} else if (!(s->token->key_types & KEY_TYPE_BIT(job->spec.key_type))) {
		snprintf(detail, sizeof(detail), "the token makes no %s keys",
			 key_type_name(job->spec.key_type));
		e = E_UNSUPPORTED;
	} else {
		e = create_key(&a, detail);
	}
	if (e) {
		log_failure(s, job, "create csr", e, detail);
		job_fail(job, e, detail);
	} else {
		reply_created(job, &a);
	}
	buf_release(&der);
}

/* ---- destroy ---- */

/* Destroying again what is gone does no harm, so a lost session is opened again and asked once more. */
static void destroy(struct session *s, struct job *job)
{
	struct message_destroy_key_reply reply = {0};
	char label[OBJECT_LABEL_SIZE];
	const struct object_query query = {label, NULL};
	enum err e = E_OK;

	object_label(label, job->csr_id);
	FAILPOINT("signer.destroy.before");
	for (int round = 0; round < 2; round++) {
		uint32_t destroyed = 0;

		forget_failure(s);
		e = object_destroy(s, &query, &destroyed);
		reply.destroyed += destroyed;
		if (e == E_OK || !session_needs_reopening(s) || session_reopen(s) != E_OK)
			break;
	}
	if (e) {
		/* What was found and would not go, or was not searched for to the end, may be there still. */
		e = E_UNCERTAIN;
		log_failure(s, job, "destroy key", e, s->failure);
		job_fail(job, e, s->failure);
		return;
	}
	FAILPOINT("signer.destroy.before-reply");
	message_destroy_key_reply_encode(&job->reply, &reply);
	job->destroyed = reply.destroyed;
}

/* ---- find, list ---- */

/* A question that was not answered: whatever the reason, nothing is known and nothing was done. */
static void fail_question(struct session *s, struct job *job, const char *what, enum err e)
{
	const char *detail = s->failure[0] ? s->failure : err_str(e);

	e = e == E_NOMEM ? E_NOMEM : E_UNAVAIL;
	log_failure(s, job, what, e, detail);
	job_fail(job, e, detail);
}

static enum err find_once(struct session *s, struct job *job)
{
	struct message_find_key_reply reply = {0};
	struct object_found found;
	char label[OBJECT_LABEL_SIZE];
	const struct object_query query = {label, NULL};
	enum err e;

	object_label(label, job->csr_id);
	if ((e = object_find(s, &query, &found)))
		return e;
	reply.presence = object_presence(&found);
	memcpy(reply.key_id, found.key_id, KEY_ID_BYTES);
	message_find_key_reply_encode(&job->reply, &reply);
	return E_OK;
}

static enum err list_once(struct session *s, struct job *job)
{
	return inventory_take(s, &job->inventory);
}

static void ask(struct session *s, struct job *job, const char *what,
		enum err (*once)(struct session *, struct job *))
{
	enum err e;

	forget_failure(s);
	e = once(s, job);
	if (e && session_needs_reopening(s) && session_reopen(s) == E_OK) {
		forget_failure(s);
		e = once(s, job);
	}
	if (e)
		fail_question(s, job, what, e);
}

/* ---- all ---- */

static void run(struct session *s, struct job *job)
{
	switch (job->type) {
	case MESSAGE_CREATE_CSR:
		create(s, job);
		return;
	case MESSAGE_DESTROY_KEY:
		destroy(s, job);
		return;
	case MESSAGE_FIND_KEY:
		ask(s, job, "find key", find_once);
		return;
	case MESSAGE_LIST_KEYS:
		ask(s, job, "list keys", list_once);
		return;
	default:
		job_fail(job, E_BUG, "not a request for a worker");
	}
}

void operation_run(struct session *s, struct job *job)
{
	enum err e;

	forget_failure(s);
	if ((e = session_open(s))) {
		fail_question(s, job, "reach the token", e);
		return;
	}
	run(s, job);
	if (job->result == E_OK && buf_status(&job->reply) != E_OK)
		job_fail(job, E_UNCERTAIN, "the answer cannot be encoded");
	if (job->result != E_OK && session_needs_reopening(s))
		session_close(s);
}
