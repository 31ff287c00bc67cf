/* SPDX-License-Identifier: Apache-2.0 */
/* Creates, destroys, finds and lists keys, and cleans up after what went wrong. */
#include "hsm/signer/serve/operation.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/random.h"
#include "hsm/signer/csr/csr_build.h"
#include "hsm/signer/csr/csr_check.h"
#include "hsm/signer/key/key.h"
#include "hsm/signer/key/key_inspect.h"
#include "hsm/signer/key/key_map.h"
#include "hsm/signer/key/public_key.h"
#include "hsm/signer/key/sign.h"
#include "hsm/signer/stock/stock_key.h"
#include "hsm/signer/stock/word.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/data_object.h"
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
	const char *label = job->label;
	unsigned suppressed = 0;

	if (e == E_UNAVAIL && !log_gate_pass(&s->down_gate, 1000, &suppressed))
		return;
	if (suppressed)
		log_error("%u more requests failed like this", suppressed);
	log_write(e == E_INVAL || e == E_UNSUPPORTED ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, &context,
		  "cannot %s%s%s%s: %s: %s", what, label[0] ? " '" : "", label, label[0] ? "'" : "", detail,
		  err_str(e));
}

/* ---- create ---- */

struct attempt {
	const struct job *job;
	struct book *book;
	struct session *session;
	char name[KEY_NAME_SIZE]; /* "": none yet */
	struct key key;
	struct spki *public_key; /* read from the token and checked; owned */
	struct buf *der;
	uint8_t tbs[JOURNAL_HASH_BYTES]; /* hash of what was signed */
	uint64_t journal_index;
	bool from_stock; /* the journal has it as made */
	bool touched;    /* something may be on the token */
	bool generated;  /* key has the handles of a new pair */
	bool misread;    /* what the token says of the pair is not what was asked for */
	bool is_lost;    /* a key of the stock that is not on the token any more */
	bool is_unused;  /* a key of the stock whose use could not be written down: no step was taken */
	bool without_stock;
	/* its handles are of this session and this login */
	CK_SESSION_HANDLE handle;
	uint64_t epoch;
	uint64_t logins;
};

static enum err sign_with_key(void *arg, const uint8_t *data, size_t len, struct buf *signature)
{
	struct attempt *a = arg;
	enum err e = journal_digest(data, len, a->tbs);

	if (e == E_OK)
		e = sign_bytes(a->session, &a->key, data, len, signature);
	FAILPOINT("signer.create.after-sign");
	a->is_lost = a->from_stock && e != E_OK && ckr_is_object_gone(a->session->last);
	return e;
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
	enum key_type type = a->job->spec.key_type;
	enum err e;

	if ((e = book_reserve(a->book, s, type, a->name)) != E_OK)
		return e;
	if (!key_name_parse(a->name, a->key.id))
		return E_BUG;
	FAILPOINT("signer.create.before-keygen");
	a->touched = true;
	mark_handles(a);
	if ((e = key_generate(s, type, a->name, a->key.id, &a->key)) != E_OK)
		return e;
	a->generated = true;
	FAILPOINT("signer.create.after-keygen");
	if ((e = key_read_back(s, a->name, &a->key)) == E_OK)
		e = public_key_read(s, &a->key, &a->public_key);
	a->misread = e == E_HSM && s->last == CKR_OK;
	FAILPOINT("signer.create.after-made");
	return e;
}

/* The handles are those of this session, or are found again.  E_NOTFOUND: it is not on the token any more. */
static enum err find_ready(struct session *s, struct stock_key *ready)
{
	struct stock_key_look look = {0};
	enum err e;

	if (ready->epoch == session_epoch(s))
		return E_OK;
	e = stock_key_look_up(s, NULL, ready->name, ready->key.type, &look);
	if (e != E_OK)
		return e;
	if (!look.key)
		return E_NOTFOUND;
	ready->key = look.key->key;
	stock_key_free(look.key);
	return E_OK;
}

/* Takes `ready`, which is out of the ledger. */
static enum err claim(struct attempt *a, struct stock_key *ready)
{
	struct stock_list back = TAILQ_HEAD_INITIALIZER(back);
	enum err e;

	memcpy(a->name, ready->name, sizeof(a->name));
	a->from_stock = a->touched = true;
	mark_handles(a);
	e = find_ready(a->session, ready);
	if (e != E_OK && e != E_NOTFOUND) { /* nothing was done with it: it stays open */
		a->name[0] = '\0';
		a->from_stock = a->touched = false;
		TAILQ_INSERT_TAIL(&back, ready, next);
		stock_put_open(book_stock(a->book), &back);
		return e;
	}
	a->is_lost = e == E_NOTFOUND;
	a->key = ready->key;
	a->public_key = ready->public_key;
	ready->public_key = NULL;
	stock_key_free(ready);
	return e;
}

/* NULL: there is none, or its block cannot be opened now, which the create need not hear of. */
static enum err take_ready(struct attempt *a, struct stock_key **ret_ready)
{
	struct session *s = a->session;
	enum key_type type = a->job->spec.key_type;
	struct stock *stock = book_stock(a->book);
	enum err e = E_OK;

	*ret_ready = a->without_stock ? NULL : stock_take(stock, type);
	if (*ret_ready || a->without_stock || !stock_needs_opening(stock, type))
		return E_OK;
	e = book_open_block(a->book, s, type, false);
	if (e == E_OK) {
		*ret_ready = stock_take(stock, type);
		return E_OK;
	}
	if (session_needs_reopening(s) || journal_is_down(book_journal(a->book)))
		return e;
	log_warn("no block of ready keys can be opened, making a key: %s", s->failure);
	forget_failure(s);
	return E_OK;
}

/*
 * A ready key, or else a new one.  The public key of a ready one was read from
 * the token when it was made; the self-signature of the CSR (I5) proves again
 * that the private key is its other half.
 */
static enum err operation_get_key(struct attempt *a)
{
	struct stock_key *ready = NULL;
	enum err e = take_ready(a, &ready);

	if (e != E_OK)
		return e;
	return ready ? claim(a, ready) : operation_generate(a);
}

/* Durable before the CSR leaves: from here on no other CSR gets this key (I3). */
static enum err write_used(struct attempt *a)
{
	struct journal *journal = book_journal(a->book);
	uint8_t digest[JOURNAL_HASH_BYTES];
	const struct journal_used used = {
	    .name = a->name, .csr = a->job->csr_id, .digest = digest, .tbs = a->tbs};
	struct journal_made made;
	struct buf attributes;
	enum err e = journal_digest(a->der->data, a->der->len, digest);

	if (e != E_OK)
		return e;
	if (a->from_stock) {
		e = journal_used(journal, &used, &a->journal_index);
		a->is_unused = e == E_UNAVAIL;
	} else {
		buf_init(&attributes, 1024);
		book_describe_made(a->name, &a->key, a->public_key, &attributes, &made);
		e = journal_made_and_used(journal, &made, &used, &a->journal_index);
		buf_release(&attributes);
	}
	if (e != E_OK)
		session_explain(a->session, "the journal cannot be written: %s", err_str(e));
	return e;
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
	e = write_used(a);
	FAILPOINT("signer.create.after-used");
	return e;
}

/*
 * The CSR did not leave, and the journal has the key as ready: so does the ledger again.  False: it has no
 * room.  Until the journal has written something else nobody takes it (operation_create).
 */
static bool give_back_unused(struct attempt *a)
{
	struct stock_list back = TAILQ_HEAD_INITIALIZER(back);
	struct stock_key *ready = stock_key_alloc(a->name, &a->key, a->public_key);

	if (!ready)
		return false;
	ready->epoch = a->epoch;
	a->public_key = NULL;
	a->name[0] = '\0';
	a->touched = a->from_stock = false;
	TAILQ_INSERT_TAIL(&back, ready, next);
	stock_put_open(book_stock(a->book), &back);
	return true;
}

/* Handles end with their session, and those of private objects with the login: then they prove nothing. */
static enum err destroy_by_handles(struct session *s, const struct attempt *a)
{
	bool valid = s->handle == a->handle && session_epoch(s) == a->epoch;
	enum err e;

	if (valid && (e = key_destroy_handles(s, &a->key, a->name)) != E_OK)
		return e;
	if ((valid && session_check_login(s, a->logins) == E_OK) || !a->misread)
		return E_OK;
	session_explain(s, "the token did not keep what a key is found by, and its handles are void");
	return E_HSM;
}

/*
 * By the CKA_ID alone, which nobody else has: that the token did not keep the
 * label may be why the attempt failed.  And if it did not keep the id either,
 * by the handles that it gave.
 */
static enum err destroy_attempt(struct session *s, const struct attempt *a, uint32_t *ret_destroyed)
{
	enum err e = object_destroy_new(s, a->key.id, a->name, ret_destroyed);

	if (e != E_OK || !a->generated || s->token->quirks.one_session)
		return e;
	return destroy_by_handles(s, a);
}

/* Proves that nothing of this attempt is left, on a fresh session if the old one is in doubt. */
static enum err clean_up(struct session *s, const struct attempt *a, uint32_t *destroyed)
{
	enum err e = E_OK;

	for (int round = 0; round < 2; round++) {
		uint32_t more = 0;

		if (session_needs_reopening(s) && (e = session_reopen(s)) != E_OK)
			return e;
		forget_failure(s);
		if (!a->touched)
			return E_OK;
		e = destroy_attempt(s, a, &more);
		*destroyed += more;
		if (e == E_OK || !session_needs_reopening(s))
			return e;
	}
	return e;
}

/* What becomes of the name of an attempt that failed. */
static void write_failed(const struct attempt *a, bool is_gone, uint32_t destroyed, const char *why)
{
	if (!a->name[0])
		return;
	if (!a->touched)
		book_give_back(a->book, a->job->spec.key_type, a->name);
	else if (is_gone)
		book_is_gone(a->book, a->name, destroyed, why);
	else
		book_doom(a->book, a->name, why);
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
	case E_IO: /* no marker of the pin can be written */
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
	a->key = (struct key){.type = a->job->spec.key_type};
	a->name[0] = '\0';
	a->touched = a->from_stock = a->generated = a->misread = a->is_lost = a->is_unused = false;
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
 * the stock that is no longer on the token is one attempt more, and after a few of them a key is made.
 */
static enum err operation_create_key(struct attempt *a, char detail[DETAIL_SIZE])
{
	struct session *s = a->session;
	int again = -1; /* -1: there was no reason yet */
	unsigned lost = 0;
	bool alone = false;
	enum err e = E_BUG;

	for (;;) {
		bool turned_away, in_order, disturbed, refused, shared = session_is_shared(s);
		uint64_t epoch = session_epoch(s);
		uint32_t destroyed = 0;

		forget_failure(s);
		if ((e = attempt_anew(a, alone)) == E_OK)
			return E_OK;
		if (e == E_UNSUPPORTED && (s->token->proved_types & KEY_TYPE_BIT(a->job->spec.key_type)))
			e = E_HSM; /* it made such a key before */
		refused = ckr_is_refusal(s->last);
		turned_away = ckr_is_session_lost(s->last);
		shared |= session_is_shared(s);
		disturbed = e == E_HSM && shared && (a->misread || ckr_may_pass(s->last));
		in_order = !session_needs_reopening(s); /* the session, by this failure */
		snprintf(detail, DETAIL_SIZE, "%s", s->failure[0] ? s->failure : err_str(e));
		if (a->is_unused && give_back_unused(a))
			break;
		if (clean_up(s, a, &destroyed) != E_OK) {
			size_t len = strlen(detail);

			if (!a->touched)
				break;
			write_failed(a, false, 0, detail);
			s->trouble |= e == E_HSM;
			s->doubt |= e == E_HSM && refused;
			s->unproven |= !session_needs_reopening(s);
			snprintf(detail + len, DETAIL_SIZE - len, "; the clean-up failed too: %s",
				 s->failure);
			return E_UNCERTAIN;
		}
		write_failed(a, true, destroyed, detail);
		turned_away |= in_order && session_epoch(s) != epoch;
		/* Whatever the module said: a whole key is two objects. */
		a->is_lost |= a->from_stock && e == E_HSM && in_order && destroyed < 2;
		if (a->is_lost) {
			s->trouble = s->doubt = false; /* about the key, and the token is well */
			log_warn("a key of the pool is no longer on the token, or cannot be used: %s",
				 detail);
			a->without_stock = ++lost >= CLAIM_TRIES;
			continue;
		}
		s->trouble |= e == E_HSM;
		s->doubt |= e == E_HSM && refused;
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
	    .der_len = a->der->len,
	    .journal_index = a->journal_index};

	memcpy(reply.key.label, a->name, sizeof(a->name));
	memcpy(reply.key.key_id, a->key.id, KEY_ID_BYTES);
	memcpy(reply.key.spki_sha256, a->public_key->sha256, KEY_SPKI_HASH_BYTES);
	message_create_csr_reply_encode(&job->reply, &reply);
}

static void operation_create(struct session *s, struct book *book, struct job *job)
{
	struct attempt a = {.job = job, .session = s, .book = book};
	struct journal_key known;
	char detail[DETAIL_SIZE] = "";
	const char *reason = "";
	struct buf der;
	enum err e;

	buf_init(&der, MESSAGE_DER_MAX);
	a.der = &der;
	if ((e = csr_check(&job->spec, &reason)) != E_OK) {
		snprintf(detail, sizeof(detail), "%s", reason);
	} else if (journal_find_csr(book_journal(book), job->csr_id, &known) == E_OK) {
		snprintf(detail, sizeof(detail), "key '%s' was used for it already", known.name);
		e = E_INVAL;
	} else if ((e = journal_check(book_journal(book))) != E_OK) { /* before a key or a name is taken */
		snprintf(detail, sizeof(detail), "the journal cannot be written: %s", err_str(e));
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

/* E_DENIED: it is the stock's, or about to be used; E_UNAVAIL: what becomes of it could not be written down.
 */
static enum err may_destroy(struct session *s, struct book *book, const char *label, bool *ret_is_written)
{
	struct journal_key key;
	enum err e = journal_find(book_journal(book), label, &key);

	*ret_is_written = e == E_OK;
	if (e == E_OK && key.state != JOURNAL_USED) {
		session_explain(s, "key '%s' was used for no csr: it is this signer's own", label);
		return E_DENIED;
	}
	if ((e = journal_check(book_journal(book))) != E_OK)
		session_explain(s, "the journal cannot be written: %s", err_str(e));
	return e;
}

/* Destroying again what is gone does no harm, so a lost session is opened again and asked once more. */
static enum err destroy_label(struct session *s, const char *label, uint32_t *destroyed)
{
	const struct object_query query = {label, NULL};
	enum err e = E_OK;

	for (int round = 0; round < 2; round++) {
		uint32_t more = 0;

		forget_failure(s);
		e = object_destroy(s, &query, &more);
		*destroyed += more;
		if (e == E_OK || !session_needs_reopening(s) || session_reopen(s) != E_OK)
			break;
	}
	return e;
}

static void fail_destroy(struct session *s, struct job *job, enum err e)
{
	log_failure(s, job, "destroy key", e, s->failure);
	job_fail(job, e, s->failure);
}

static void destroy(struct session *s, struct book *book, struct job *job)
{
	struct message_destroy_key_reply reply = {0};
	bool is_written = false;
	enum err e = may_destroy(s, book, job->label, &is_written);

	if (e != E_OK) {
		fail_destroy(s, job, e == E_DENIED ? E_DENIED : E_UNAVAIL);
		return;
	}
	FAILPOINT("signer.destroy.before");
	if (destroy_label(s, job->label, &reply.destroyed) != E_OK) {
		/* What was found and would not go, or was not searched for to the end, may be there still. */
		s->unproven |= !session_needs_reopening(s) && !ckr_is_refusal(s->last);
		fail_destroy(s, job, E_UNCERTAIN);
		return;
	}
	FAILPOINT("signer.destroy.before-journal");
	if (is_written || reply.destroyed)
		e = journal_destroyed(book_journal(book), job->label, reply.destroyed, "on request", NULL);
	if (e != E_OK && e != E_NOTFOUND) {
		session_explain(s, "destroyed, but the journal cannot be written: %s", err_str(e));
		fail_destroy(s, job, E_UNCERTAIN); /* to be asked again: it is then written */
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

static enum err operation_find_once(struct session *s, struct book *book, struct job *job)
{
	struct message_find_key_reply reply = {0};
	struct object_found found;
	const struct object_query query = {job->label, NULL};
	enum err e;

	(void)book;
	if ((e = object_find(s, &query, &found)) != E_OK) {
		s->unproven |= !session_needs_reopening(s);
		return e;
	}
	reply.presence = object_presence(&found);
	memcpy(reply.key_id, found.key_id, KEY_ID_BYTES);
	message_find_key_reply_encode(&job->reply, &reply);
	return E_OK;
}

static enum err inspect_once(struct session *s, struct book *book, struct job *job)
{
	struct message_inspect_key_reply reply;
	enum err e = key_inspect(s, job->label, &reply);

	(void)book;
	if (e != E_OK)
		return e;
	message_inspect_key_reply_encode(&job->reply, &reply);
	message_inspect_key_reply_release(&reply);
	return E_OK;
}

static void ask(struct session *s, struct book *book, struct job *job, const char *what,
		enum err (*once)(struct session *, struct book *, struct job *))
{
	enum err e;

	forget_failure(s);
	e = once(s, book, job);
	if (e != E_OK && session_needs_reopening(s) && session_reopen(s) == E_OK) {
		forget_failure(s);
		e = once(s, book, job);
	}
	if (e != E_OK)
		fail_question(s, job, what, e);
}

/* ---- lives, and ready keys of other nodes ---- */

struct lives {
	struct journal *journal;
	struct word_list words; /* of all nodes */
	const char *own;
};

static enum message_key_life life_of(void *arg, const char *label)
{
	const struct lives *lives = arg;
	struct journal_key key;
	uint8_t bytes[KEY_NAME_BYTES];

	if (!key_name_parse(label, bytes))
		return MESSAGE_LIFE_NONE;
	if (journal_find(lives->journal, label, &key) == E_OK)
		return key.state == JOURNAL_USED ? MESSAGE_LIFE_USED : MESSAGE_LIFE_READY;
	for (size_t i = 0; i < lives->words.len; i++)
		if (strcmp(lives->words.at[i].word.node, lives->own) != 0 &&
		    key_name_is_of_node(bytes, lives->words.at[i].word.node))
			return MESSAGE_LIFE_OTHER;
	return MESSAGE_LIFE_NONE;
}

static enum err count_word(struct inventory *inventory, const struct word *word)
{
	for (size_t i = 0; i < word->names_len; i++) {
		char name[KEY_NAME_SIZE];
		enum err e;

		key_name_format(name, word->names[i]);
		if ((e = inventory_count_ready(inventory, word->node, name)) != E_OK)
			return e;
	}
	return E_OK;
}

static enum err list_once(struct session *s, struct book *book, struct job *job)
{
	struct lives lives = {.journal = book_journal(book), .own = stock_node(book_stock(book))};
	enum err e = inventory_take(s, &job->inventory);

	if (e == E_OK && s->token->data != TOKEN_DATA_NONE && (e = word_read_all(s, &lives.words)) != E_OK)
		inventory_release(&job->inventory);
	if (e != E_OK)
		return e;
	inventory_tell_lives(&job->inventory, life_of, &lives);
	for (size_t i = 0; i < lives.words.len && e == E_OK; i++)
		if (strcmp(lives.words.at[i].word.node, lives.own) != 0)
			e = count_word(&job->inventory, &lives.words.at[i].word);
	word_list_release(&lives.words);
	if (e != E_OK)
		inventory_release(&job->inventory);
	else if (job->inventory.unread)
		log_error("%lu key objects on the token cannot be read: a list of its keys may lack some",
			  (unsigned long)job->inventory.unread);
	return e;
}

static void list(struct session *s, struct book *book, struct job *job)
{
	struct stock *stock = book_stock(book);
	const char *own = stock_node(stock);
	uint32_t nodes, keys;
	enum err e;

	ask(s, book, job, "list keys", list_once);
	if (job->result)
		return;
	inventory_count_nodes(&job->inventory, own, &nodes, &keys);
	stock_saw_others(stock, nodes, keys);
	if (job->type == MESSAGE_LIST_POOLS &&
	    (e = inventory_encode_nodes(&job->inventory, own, &job->reply)) != E_OK)
		job_fail(job, e, err_str(e));
}

static enum err operation_destroy_stock_0_1(struct session *s, struct job *job)
{
	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++) {
		char label[sizeof(STOCK_LABEL_PREFIX_0_1) + MESSAGE_NODE_MAX + 16];
		uint32_t destroyed;
		enum err e;

		snprintf(label, sizeof(label), "%s%s:%s", STOCK_LABEL_PREFIX_0_1, job->node,
			 key_type_name((enum key_type)type));
		e = stock_key_destroy_0_1(s, label, &destroyed);
		job->destroyed += destroyed;
		if (e != E_OK)
			return e;
	}
	return E_OK;
}

/* In the place of a word, a copy that its node did not write.  The copy goes last of all: what is broken off
 * is gone on with. */
static enum err replace_word(struct session *s, struct word_object *object)
{
	CK_OBJECT_HANDLE copy;
	enum err e = random_fill(object->word.run, sizeof(object->word.run));

	if (e == E_OK)
		e = word_make(s, &object->word, &copy);
	if (e == E_OK)
		e = data_object_destroy(s, object->object);
	if (e == E_OK)
		object->object = copy;
	return e;
}

static bool is_among(const struct word_list *words, const struct word *word)
{
	for (size_t i = 0; i < words->len; i++)
		if (word_is_same(&words->at[i].word, word))
			return true;
	return false;
}

/*
 * A node that is at work after all uses none of its closed keys from here on: it opens no block before it has
 * found its word as it wrote it.  Unless it was just about to: then there is a word that is not among these.
 */
static enum err replace_words(struct session *s, const char *node, struct word_list *words)
{
	struct word_list now = {0};
	enum err e = E_OK;

	for (size_t i = 0; i < words->len && e == E_OK; i++)
		if (strcmp(words->at[i].word.node, node) == 0)
			e = replace_word(s, &words->at[i]);
	if (e == E_OK)
		e = word_read_all(s, &now);
	for (size_t i = 0; i < now.len && e == E_OK; i++) {
		if (strcmp(now.at[i].word.node, node) != 0 || is_among(words, &now.at[i].word))
			continue;
		session_explain(s, "node '%s' is at work: stop its signer first", node);
		e = E_UNAVAIL;
	}
	word_list_release(&now);
	return e;
}

static enum err destroy_word(struct session *s, struct job *job, const struct word_object *object)
{
	enum err e = E_OK;

	for (size_t i = 0; i < object->word.names_len && e == E_OK; i++) {
		char name[KEY_NAME_SIZE];
		uint32_t destroyed = 0;

		key_name_format(name, object->word.names[i]);
		e = session_must_stop(s) ? session_break_off(s) : stock_key_destroy(s, name, &destroyed);
		job->destroyed += destroyed;
	}
	return e == E_OK ? data_object_destroy(s, object->object) : e;
}

static enum err destroy_stock_once(struct session *s, struct book *book, struct job *job)
{
	struct word_list words = {0};
	enum err e = operation_destroy_stock_0_1(s, job);

	(void)book;
	if (e == E_OK && s->token->data != TOKEN_DATA_NONE)
		e = word_read_all(s, &words);
	if (e == E_OK)
		e = replace_words(s, job->node, &words);
	for (size_t i = 0; i < words.len && e == E_OK; i++)
		if (strcmp(words.at[i].word.node, job->node) == 0)
			e = destroy_word(s, job, &words.at[i]);
	word_list_release(&words);
	return e;
}

/* Doing it again does no harm, and goes on where it was broken off. */
static void destroy_stock(struct session *s, struct book *book, struct job *job)
{
	struct message_destroy_key_reply reply;

	if (strcmp(job->node, stock_node(book_stock(book))) == 0) {
		job_fail(job, E_DENIED, "this signer's own keys are not destroyed: set pool_… to 0");
		return;
	}
	ask(s, book, job, "destroy the ready keys of a node", destroy_stock_once);
	if (job->destroyed)
		log_notice("pool: %lu objects of node '%s' were destroyed on request",
			   (unsigned long)job->destroyed, job->node);
	if (job->result)
		return;
	reply.destroyed = job->destroyed;
	message_destroy_key_reply_encode(&job->reply, &reply);
}

/* ---- all ---- */

static void operation_dispatch(struct session *s, struct book *book, struct job *job)
{
	if (job->type != MESSAGE_INSPECT_KEY)
		key_map_drop(s);
	switch (job->type) {
	case MESSAGE_CREATE_CSR:
		operation_create(s, book, job);
		return;
	case MESSAGE_DESTROY_KEY:
		destroy(s, book, job);
		return;
	case MESSAGE_FIND_KEY:
		ask(s, book, job, "find key", operation_find_once);
		return;
	case MESSAGE_INSPECT_KEY:
		ask(s, book, job, "inspect key", inspect_once);
		return;
	case MESSAGE_LIST_KEYS:
	case MESSAGE_LIST_POOLS:
		list(s, book, job);
		return;
	case MESSAGE_DESTROY_POOL:
		destroy_stock(s, book, job);
		return;
	default:
		job_fail(job, E_BUG, "not a request for a worker");
	}
}

bool operation_run(struct session *s, struct book *book, struct job *job)
{
	enum err e;

	forget_failure(s);
	if ((e = session_open(s)) != E_OK) {
		if (s->last == CKR_SESSION_COUNT && gate_has_sessions(s->gate))
			return false;
		fail_question(s, job, "reach the token", e);
		return true;
	}
	operation_dispatch(s, book, job);
	if (job->result == E_OK && buf_status(&job->reply) != E_OK)
		job_fail(job, E_UNCERTAIN, "the answer cannot be encoded");
	if (job->result != E_OK && session_needs_reopening(s))
		session_close(s);
	else if ((job->type == MESSAGE_CREATE_CSR || s->stale) && session_refresh(s) != E_OK)
		log_error("cannot open a new session: %s", s->failure);
	return true;
}
