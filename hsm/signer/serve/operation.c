/* SPDX-License-Identifier: Apache-2.0 */
/* Creates, destroys, finds and lists keys, and cleans up after what went wrong. */
#include "hsm/signer/serve/operation.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "hsm/signer/csr/csr_build.h"
#include "hsm/signer/csr/csr_check.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/key_inspect.h"
#include "hsm/signer/key/key_map.h"
#include "hsm/signer/key/public_key.h"
#include "hsm/signer/key/sign.h"
#include "hsm/signer/stock/stock_key.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRIES 2
#define DETAIL_SIZE 640
#define CLAIM_TRIES 4 /* keys of the stock that turn out to be gone, before one is made instead */

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
	struct spki *public_key; /* read from the token and checked; owned */
	struct stock *stock;     /* NULL: none, or not any more */
	bool touched;            /* something may be on the token */
	bool generated;          /* key has the handles of a new pair */
	bool misread;            /* what the token says of the pair is not what was asked for */
	/* its handles are of this session and this login */
	CK_SESSION_HANDLE handle;
	uint64_t epoch;
	uint64_t logins;
	bool claiming;   /* it may be under the label of the stock still */
	bool from_stock; /* id is that of a key of the stock */
};

static enum err sign_with_key(void *arg, const uint8_t *data, size_t len, struct buf *signature)
{
	const struct attempt *a = arg;

	return sign_bytes(a->session, &a->key, data, len, signature);
}

static void mark_handles(struct attempt *a)
{
	a->handle = a->session->handle;
	a->epoch = session_epoch(a->session);
	a->logins = session_logins(a->session);
}

static enum err operation_generate(struct attempt *a)
{
	struct session *s = a->session;
	enum err e;

	FAILPOINT("signer.create.before-keygen");
	if ((e = key_new_id(a->id)) != E_OK) {
		session_explain(s, "no random key id");
		return E_UNAVAIL;
	}
	a->touched = true;
	mark_handles(a);
	if ((e = key_generate(s, a->job->spec.key_type, a->label, a->id, &a->key)) != E_OK)
		return e;
	a->generated = true;
	FAILPOINT("signer.create.after-keygen");
	if ((e = key_read_back(s, a->label, &a->key)) == E_OK)
		e = public_key_read(s, &a->key, &a->public_key);
	a->misread = e == E_HSM && s->last == CKR_OK;
	return e;
}

/* Takes `ready`, which is out of the ledger.  E_NOTFOUND: it is not on the token any more. */
static enum err claim(struct attempt *a, struct stock_key *ready)
{
	struct session *s = a->session;
	char stock_name[STOCK_LABEL_SIZE];
	enum err e;

	stock_label(a->stock, ready->key.type, stock_name);
	memcpy(a->id, ready->key.id, KEY_ID_BYTES);
	a->claiming = a->from_stock = true;
	mark_handles(a);
	e = stock_key_claim(s, stock_name, a->label, ready, &a->touched);
	if (e != E_OK && e != E_NOTFOUND && !a->touched) {
		stock_give_back(a->stock, ready);
		return e;
	}
	a->key = ready->key;
	a->misread = a->touched && e == E_HSM && s->last == CKR_OK;
	if (e == E_OK) {
		a->claiming = false;
		a->public_key = ready->public_key;
		ready->public_key = NULL;
	}
	stock_key_free(ready);
	return e;
}

/*
 * A ready key, or else a new one.  The public key of a ready one was read from
 * the token when it was made; the self-signature of the CSR (I5) proves again
 * that the private key is its other half.
 */
static enum err operation_get_key(struct attempt *a)
{
	struct stock_key *ready;

	for (int tries = 0; tries < CLAIM_TRIES; tries++) {
		enum err e;

		ready = stock_take(a->stock, a->job->spec.key_type);
		if (!ready)
			break;
		e = claim(a, ready);
		if (e != E_NOTFOUND)
			return e;
		log_warn("a key of the pool is no longer on the token, or cannot be read");
		forget_failure(a->session);
	}
	a->claiming = a->from_stock = false;
	return operation_generate(a);
}

static enum err attempt_create(struct attempt *a)
{
	const struct csr_build_signer signer = {.sign = sign_with_key, .arg = a};
	struct session *s = a->session;
	const char *reason = NULL;
	enum err e;

	if ((e = operation_get_key(a)) != E_OK)
		return e;
	e = csr_build(&a->job->spec, a->public_key, &signer, a->der, &reason);
	if (e != E_OK && reason)
		session_explain(s, "csr: %s", reason);
	if (e != E_OK)
		return e;
	FAILPOINT("signer.create.after-verify");
	return E_OK;
}

/* Handles end with their session, and those of private objects with the login: then they prove nothing. */
static enum err destroy_by_handles(struct session *s, const struct attempt *a,
				   enum err (*destroy)(struct session *, const struct key *, const char *))
{
	bool valid = s->handle == a->handle && session_epoch(s) == a->epoch;
	enum err e;

	if (valid && (e = destroy(s, &a->key, a->label)) != E_OK)
		return e;
	if ((valid && session_check_login(s, a->logins) == E_OK) || !a->misread)
		return E_OK;
	session_explain(s, "the token did not keep what a key is found by, and its handles are void");
	return E_HSM;
}

/* Of a key of the stock: under one of two labels, or a half under each; or what the token kept of the new. */
static enum err destroy_claimed(struct session *s, const struct attempt *a)
{
	const struct object_query query = {a->label, a->id};
	char stock_name[STOCK_LABEL_SIZE];
	uint32_t destroyed = 0;
	enum err e = object_destroy(s, &query, &destroyed);

	if (e != E_OK || !a->claiming)
		return e;
	stock_label(a->stock, a->key.type, stock_name);
	e = stock_key_destroy(s, stock_name, &a->key);
	if (e != E_OK || !a->misread || s->token->quirks.one_session)
		return e;
	return destroy_by_handles(s, a, key_destroy_cut);
}

/*
 * By the CKA_ID alone, which nobody else has: that the token did not keep the
 * label may be why the attempt failed.  And if it did not keep the id either,
 * by the handles that it gave.
 */
static enum err destroy_generated(struct session *s, const struct attempt *a)
{
	enum err e = object_destroy_new(s, a->id);

	if (e != E_OK || !a->generated || s->token->quirks.one_session)
		return e;
	return destroy_by_handles(s, a, key_destroy_handles);
}

static enum err destroy_attempt(struct session *s, const struct attempt *a)
{
	return a->from_stock ? destroy_claimed(s, a) : destroy_generated(s, a);
}

/* Proves that nothing of this attempt is left, on a fresh session if the old one is in doubt. */
static enum err clean_up(struct session *s, const struct attempt *a)
{
	enum err e = E_OK;

	for (int round = 0; round < 2; round++) {
		if (session_needs_reopening(s) && (e = session_reopen(s)) != E_OK)
			return e;
		forget_failure(s);
		if (!a->touched)
			return E_OK;
		e = destroy_attempt(s, a);
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
	case E_TIMEOUT:
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
 * Alone: with nobody else in the module, if they get out in time.  The session
 * may be void then, or the token be down.
 */
static enum err attempt_anew(struct attempt *a, bool alone)
{
	struct session *s = a->session;
	enum err e;

	buf_reset(a->der);
	spki_free(a->public_key);
	a->public_key = NULL;
	a->touched = a->claiming = a->from_stock = a->generated = a->misread = false;
	alone = alone && gate_begin_alone(s->gate, s);
	e = session_open(s);
	if (e == E_OK && clock_ms() > a->job->deadline_ms) { /* it may have waited for the others, twice */
		session_explain(s, "its time was up before it could be tried");
		e = E_TIMEOUT;
	}
	if (e == E_OK)
		e = attempt_create(a);
	if (alone)
		gate_end_alone(s->gate);
	return e;
}

/*
 * One attempt, and at most two more, each after a clean-up that has proved that nothing is left: when the
 * first ended with its session (the token said so, or something else while the session died under the
 * call), or when it failed while other threads were at work on the token, as SoftHSM's calls do: the next
 * attempt then has the token for itself.  A key of
 * the stock that could not be claimed is one attempt more, with a new key.
 */
static enum err operation_create_key(struct attempt *a, char detail[DETAIL_SIZE])
{
	struct session *s = a->session;
	int again = -1; /* -1: there was no reason yet */
	bool alone = false;
	enum err e = E_BUG;

	for (;;) {
		bool turned_away, in_order, claim_failed, disturbed, shared = session_is_shared(s);
		uint64_t epoch = session_epoch(s);

		forget_failure(s);
		if ((e = attempt_anew(a, alone)) == E_OK)
			return E_OK;
		if (e == E_UNSUPPORTED && (s->token->proved_types & KEY_TYPE_BIT(a->job->spec.key_type)))
			e = E_HSM; /* it made such a key before */
		s->trouble |= e == E_HSM;
		s->doubt |= e == E_HSM && ckr_is_refusal(s->last);
		turned_away = ckr_is_session_lost(s->last);
		shared |= session_is_shared(s);
		disturbed = e == E_HSM && shared && (a->misread || ckr_may_pass(s->last));
		in_order = !session_needs_reopening(s); /* the session, by this failure */
		claim_failed = a->claiming && in_order;
		snprintf(detail, DETAIL_SIZE, "%s", s->failure[0] ? s->failure : err_str(e));
		if (clean_up(s, a) != E_OK) {
			size_t len = strlen(detail);

			if (!a->touched)
				break;
			s->unproven |= !session_needs_reopening(s);
			snprintf(detail + len, DETAIL_SIZE - len, "; the clean-up failed too: %s",
				 s->failure);
			return E_UNCERTAIN;
		}
		turned_away |= in_order && session_epoch(s) != epoch;
		if (claim_failed) {
			log_warn("a key of the pool could not be claimed, making one: %s", detail);
			a->stock = NULL;
			continue;
		}
		if ((turned_away || disturbed) && again < 0)
			again = RETRIES;
		if (again-- <= 0)
			break;
		if (disturbed) {
			log_info("a create failed while other threads used the token, tried again: %s",
				 detail);
			s->trouble = s->doubt = false;
			alone = true;
		}
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
	memcpy(reply.key.spki_sha256, a->public_key->sha256, KEY_SPKI_HASH_BYTES);
	message_create_csr_reply_encode(&job->reply, &reply);
}

static void operation_create(struct session *s, struct stock *stock, struct job *job)
{
	struct attempt a = {.job = job, .session = s, .stock = stock};
	char detail[DETAIL_SIZE] = "";
	const char *reason = "";
	struct buf der;
	enum err e;

	buf_init(&der, MESSAGE_DER_MAX);
	a.der = &der;
	object_label(a.label, job->csr_id);
	if ((e = csr_check(&job->spec, &reason)) != E_OK) {
		snprintf(detail, sizeof(detail), "%s", reason);
	} else if (!(token_makes(s->token) & KEY_TYPE_BIT(job->spec.key_type))) {
		snprintf(detail, sizeof(detail), "the token makes no %s keys",
			 key_type_name(job->spec.key_type));
		e = E_UNSUPPORTED;
	} else {
		e = operation_create_key(&a, detail);
	}
	if (e != E_OK) {
		log_failure(s, job, "create csr", e, detail);
		job_fail(job, e, detail);
	} else {
		reply_created(job, &a);
	}
	spki_free(a.public_key);
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
	if (e != E_OK) {
		/* What was found and would not go, or was not searched for to the end, may be there still. */
		e = E_UNCERTAIN;
		s->unproven |= !session_needs_reopening(s) && !ckr_is_refusal(s->last);
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

	e = e == E_NOMEM || e == E_TIMEOUT ? e : E_UNAVAIL;
	log_failure(s, job, what, e, detail);
	job_fail(job, e, detail);
}

static enum err operation_find_once(struct session *s, struct job *job)
{
	struct message_find_key_reply reply = {0};
	struct object_found found;
	char label[OBJECT_LABEL_SIZE];
	const struct object_query query = {label, NULL};
	enum err e;

	object_label(label, job->csr_id);
	if ((e = object_find(s, &query, &found)) != E_OK) {
		s->unproven |= !session_needs_reopening(s);
		return e;
	}
	reply.presence = object_presence(&found);
	memcpy(reply.key_id, found.key_id, KEY_ID_BYTES);
	message_find_key_reply_encode(&job->reply, &reply);
	return E_OK;
}

static enum err inspect_once(struct session *s, struct job *job)
{
	struct message_inspect_key_reply reply;
	enum err e = key_inspect(s, job->csr_id, &reply);

	if (e != E_OK)
		return e;
	message_inspect_key_reply_encode(&job->reply, &reply);
	message_inspect_key_reply_release(&reply);
	return E_OK;
}

static enum err list_once(struct session *s, struct job *job)
{
	enum err e = inventory_take(s, &job->inventory);

	if (e == E_OK && job->inventory.unread)
		log_error("%lu key objects on the token cannot be read: a list of its keys may lack some",
			  (unsigned long)job->inventory.unread);
	return e;
}

static void ask(struct session *s, struct job *job, const char *what,
		enum err (*once)(struct session *, struct job *))
{
	enum err e;

	forget_failure(s);
	e = once(s, job);
	if (e != E_OK && session_needs_reopening(s) && session_reopen(s) == E_OK) {
		forget_failure(s);
		e = once(s, job);
	}
	if (e != E_OK)
		fail_question(s, job, what, e);
}

static void list(struct session *s, struct stock *stock, struct job *job)
{
	const char *own = stock_node(stock);
	uint32_t nodes, keys;
	enum err e;

	ask(s, job, "list keys", list_once);
	if (job->result)
		return;
	inventory_count_nodes(&job->inventory, own, &nodes, &keys);
	stock_saw_others(stock, nodes, keys);
	if (job->type == MESSAGE_LIST_POOLS &&
	    (e = inventory_encode_nodes(&job->inventory, own, &job->reply)) != E_OK)
		job_fail(job, e, err_str(e));
}

/* ---- ready keys of another node ---- */

static enum err destroy_stock_once(struct session *s, struct job *job)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		char label[STOCK_LABEL_SIZE];
		uint32_t destroyed;
		enum err e;

		stock_label_of_node(job->node, (enum key_type)type, label);
		e = stock_key_destroy_all(s, label, &destroyed);
		job->destroyed += destroyed;
		if (e != E_OK)
			return e;
	}
	return E_OK;
}

/* Doing it again does no harm, and goes on where it was broken off. */
static void destroy_stock(struct session *s, struct stock *stock, struct job *job)
{
	struct message_destroy_key_reply reply;

	if (strcmp(job->node, stock_node(stock)) == 0) {
		job_fail(job, E_DENIED, "this signer's own keys are not destroyed: set pool_… to 0");
		return;
	}
	ask(s, job, "destroy the ready keys of a node", destroy_stock_once);
	if (job->destroyed)
		log_notice("pool: %lu objects of node '%s' were destroyed on request",
			   (unsigned long)job->destroyed, job->node);
	if (job->result)
		return;
	reply.destroyed = job->destroyed;
	message_destroy_key_reply_encode(&job->reply, &reply);
}

/* ---- all ---- */

static void operation_dispatch(struct session *s, struct stock *stock, struct job *job)
{
	if (job->type != MESSAGE_INSPECT_KEY)
		key_map_drop(s);
	switch (job->type) {
	case MESSAGE_CREATE_CSR:
		operation_create(s, stock, job);
		return;
	case MESSAGE_DESTROY_KEY:
		destroy(s, job);
		return;
	case MESSAGE_FIND_KEY:
		ask(s, job, "find key", operation_find_once);
		return;
	case MESSAGE_INSPECT_KEY:
		ask(s, job, "inspect key", inspect_once);
		return;
	case MESSAGE_LIST_KEYS:
	case MESSAGE_LIST_POOLS:
		list(s, stock, job);
		return;
	case MESSAGE_DESTROY_POOL:
		destroy_stock(s, stock, job);
		return;
	default:
		job_fail(job, E_BUG, "not a request for a worker");
	}
}

bool operation_run(struct session *s, struct stock *stock, struct job *job)
{
	enum err e;

	forget_failure(s);
	if ((e = session_open(s)) != E_OK) {
		if (s->last == CKR_SESSION_COUNT && gate_has_sessions(s->gate))
			return false;
		fail_question(s, job, "reach the token", e);
		return true;
	}
	operation_dispatch(s, stock, job);
	if (job->result == E_OK && buf_status(&job->reply) != E_OK)
		job_fail(job, E_UNCERTAIN, "the answer cannot be encoded");
	if (job->result != E_OK && session_needs_reopening(s))
		session_close(s);
	else if ((job->type == MESSAGE_CREATE_CSR || s->stale) && session_refresh(s) != E_OK)
		log_error("cannot open a new session: %s", s->failure);
	return true;
}
