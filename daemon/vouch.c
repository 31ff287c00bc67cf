/* SPDX-License-Identifier: Apache-2.0 */
/* Compares what the signers remember with the store, and tells them how it goes on. */
#include "daemon/vouch.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/random.h"
#include "hsm/hsm.h"
#include "loop/timer.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_AFTER_MS 1000 /* of a commit: many share one */
#define NOTE_TIMEOUT_MS 10000
#define FLUSH_WITHIN_MS 1000
#define NOTE_FAILED_EVERY_MS 60000

_Static_assert(STORE_LINEAGE_BYTES == MESSAGE_LINEAGE_BYTES, "one lineage");

/* One call to the store or the signer at a time for each token. */
struct token {
	struct vouch *v;
	struct hsm *hsm;
	bool busy;
	bool greeted; /* another hello came while busy: all that was asked before is of an old link */
	bool dirty;   /* something was committed while busy */
	bool known;   /* since this process vouches itself for the store under `lineage` */
	uint8_t lineage[STORE_LINEAGE_BYTES];
	uint8_t fresh[STORE_LINEAGE_BYTES]; /* while the open rows are being set aside */
	uint64_t remembered;                /* likewise: how far behind it the store is */
	bool went_back;
	bool denied;             /* the signer works for another store; ours was set aside already */
	uint64_t unsettled_from; /* likewise, of the signer: the next keys to be kept */
	bool unsettled_more;
	size_t keeping; /* keys that the signer is being told to keep */
	uint64_t kept;
	int64_t sequence; /* likewise, of the store; then what the signer is being told */
	int64_t noted;    /* what it has acknowledged on this link */
	struct log_gate failed_gate;
};

struct vouch {
	struct vouch_options options;
	struct timer timer;
	struct token *tokens; /* in the order of the hsms */
	void (*flushed)(void *arg);
	void *flushed_arg;
	bool stopped;
};

static void token_begin(struct token *t);
static void token_note(struct token *t);
static void token_set_aside(struct token *t);

static void flush_tell(struct vouch *v)
{
	void (*done)(void *arg) = v->flushed;

	v->flushed = NULL;
	if (done)
		done(v->flushed_arg);
}

static void flush_end(struct vouch *v)
{
	for (size_t i = 0; i < v->options.hsms_len; i++)
		if (v->tokens[i].busy)
			return;
	flush_tell(v);
}

/* The chain of this token is at its end; begins the next when one is due. */
static void token_end(struct token *t)
{
	t->busy = false;
	if (t->greeted) {
		token_begin(t);
	} else if (t->dirty && hsm_is_up(t->hsm)) {
		t->dirty = false;
		t->busy = true;
		token_note(t);
	}
	if (!t->busy)
		flush_end(t->v);
}

/* Whether what has just come is of no use any more. */
static bool token_is_overtaken(struct token *t)
{
	if (t->v->stopped)
		return true;
	if (!t->greeted)
		return false;
	token_end(t);
	return true;
}

/* Nothing is known of this store and this signer: the link is made again later, and it is asked again. */
static void token_decline_because(struct token *t, enum err e, const char *what)
{
	char why[128];

	snprintf(why, sizeof(why), "%s: %s", what, err_str(e));
	hsm_decline(t->hsm, why);
	token_end(t);
}

static void token_decline(struct token *t, enum err e)
{
	token_decline_because(t, e, "it cannot be compared with the store");
}

/* ---- telling the signer ---- */

static void on_noted(void *arg, enum err e, const char *detail)
{
	struct token *t = arg;
	const struct log_context context = {.token = hsm_token_name(t->hsm)};
	unsigned suppressed;

	if (token_is_overtaken(t))
		return;
	if (e == E_DENIED) { /* each would destroy the other's keys */
		t->denied = true;
		token_decline_because(t, e, detail);
		return;
	}
	if (t->denied) { /* the other one has gone, and may have left keys */
		t->denied = false;
		token_set_aside(t);
		return;
	}
	if (e == E_OK)
		t->noted = t->sequence;
	else if (e != E_UNAVAIL && log_gate_pass(&t->failed_gate, NOTE_FAILED_EVERY_MS, &suppressed))
		log_write(LOG_LEVEL_WARN, &context,
			  "signer '%s' cannot remember how far the store has come: %s (%u more not logged)",
			  hsm_token_name(t->hsm), detail, suppressed);
	/* Also when it cannot: what it does not remember makes us keep keys, not destroy them. */
	hsm_accept(t->hsm);
	token_end(t);
}

static void on_note_mark(void *arg, enum err e, const struct store_mark *mark)
{
	struct token *t = arg;
	struct message_store m;

	if (token_is_overtaken(t))
		return;
	if (e != E_OK) {
		token_decline(t, e);
		return;
	}
	if (t->noted == mark->sequence && hsm_is_up(t->hsm)) {
		token_end(t);
		return;
	}
	t->sequence = mark->sequence;
	memcpy(m.lineage, t->lineage, sizeof(m.lineage));
	m.sequence = (uint64_t)mark->sequence;
	hsm_note_store(t->hsm, &m, clock_ms() + NOTE_TIMEOUT_MS, on_noted, t);
}

static void token_note(struct token *t)
{
	store_mark_get(t->v->options.store, hsm_token_name(t->hsm), on_note_mark, t);
}

/* ---- comparing ---- */

static void say_set_aside(const struct token *t, uint64_t rows)
{
	const char *name = hsm_token_name(t->hsm);
	const struct log_context context = {.token = name};

	if (t->went_back)
		log_write(LOG_LEVEL_WARN, &context,
			  "the store went back: signer '%s' remembers its record %" PRIu64
			  ", and it had come "
			  "to %" PRId64 "; CSRs that were open are set aside and their keys kept (%" PRIu64
			  "): run 'csrctl verify --token %s'",
			  name, t->remembered, t->sequence, rows, name);
	else if (rows > 0)
		log_write(LOG_LEVEL_WARN, &context,
			  "signer '%s' does not remember this store: CSRs that were open are set aside and "
			  "their keys kept (%" PRIu64 "): run 'csrctl verify --token %s'",
			  name, rows, name);
	else if (hsm_remembers_any(t->hsm))
		log_write(
		    LOG_LEVEL_NOTICE, &context,
		    "signer '%s' remembered other stores, and from now on this one too; nothing was open",
		    name);
}

/* ---- keys whose CSRs may have rows in the store that was, and have none in this one ---- */

static void token_keep(struct token *t);

static void token_end_keeping(struct token *t)
{
	const char *name = hsm_token_name(t->hsm);
	const struct log_context context = {.token = name};

	if (t->kept > 0)
		log_write(LOG_LEVEL_WARN, &context,
			  "signer '%s' keeps the keys of CSRs of which it does not know whether they stand "
			  "(%" PRIu64 "), whatever this store says of them: run 'csrctl verify --token %s'",
			  name, t->kept, name);
	FAILPOINT("set-aside.kept");
	t->known = true;
	memcpy(t->lineage, t->fresh, sizeof(t->lineage));
	token_note(t);
}

static void token_go_on_keeping(struct token *t)
{
	if (t->unsettled_more)
		token_keep(t);
	else
		token_end_keeping(t);
}

static void vouch_on_kept(void *arg, enum err e, const char *detail UNUSED)
{
	struct token *t = arg;

	if (token_is_overtaken(t))
		return;
	if (e != E_OK) {
		token_decline_because(t, e, "it cannot be told to keep keys");
		return;
	}
	t->kept += t->keeping;
	token_go_on_keeping(t);
}

static void vouch_on_unsettled(void *arg, enum err e, const char *detail UNUSED,
			       const struct message_unsettled_reply *reply)
{
	struct token *t = arg;
	char labels[MESSAGE_UNSETTLED_MAX][KEY_LABEL_SIZE];
	struct message_confirm keep = {.kept = true, .labels = labels};

	if (token_is_overtaken(t))
		return;
	if (e != E_OK) {
		token_decline_because(t, e, "it does not tell which keys are unsettled");
		return;
	}
	t->unsettled_more = reply->more && reply->keys_len > 0;
	if (reply->keys_len == 0) {
		token_go_on_keeping(t);
		return;
	}
	for (; keep.labels_len < reply->keys_len; keep.labels_len++)
		memcpy(labels[keep.labels_len], reply->keys[keep.labels_len].label, KEY_LABEL_SIZE);
	t->unsettled_from = reply->keys[reply->keys_len - 1].journal_index + 1;
	t->keeping = reply->keys_len;
	hsm_confirm(t->hsm, &keep, clock_ms() + NOTE_TIMEOUT_MS, vouch_on_kept, t);
}

static void token_keep(struct token *t)
{
	hsm_unsettled(t->hsm, t->unsettled_from, clock_ms() + NOTE_TIMEOUT_MS, vouch_on_unsettled, t);
}

/* ---- rows that are open ---- */

static void on_set_aside(void *arg, enum err e, uint64_t rows)
{
	struct token *t = arg;

	if (t->v->stopped)
		return;
	FAILPOINT("set-aside.after");
	if (e == E_OK)
		say_set_aside(t, rows);
	if (token_is_overtaken(t))
		return;
	if (e != E_OK) {
		token_decline(t, e);
		return;
	}
	/* Before the signer learns the new lineage: after that it vouches for this store, and what is left
	   unsettled goes. */
	t->unsettled_from = t->kept = 0;
	token_keep(t);
}

static void token_set_aside(struct token *t)
{
	struct store_set_aside in = {
	    .token_name = hsm_token_name(t->hsm),
	    .went_back = t->went_back,
	    .origin = {.actor = "system"},
	};
	char detail[160];

	if (random_fill(t->fresh, sizeof(t->fresh)) != E_OK) {
		token_decline(t, E_IO);
		return;
	}
	if (t->went_back)
		snprintf(detail, sizeof(detail),
			 "signer '%s' remembers record %" PRIu64 ", and the store had come to %" PRId64,
			 in.token_name, t->remembered, t->sequence);
	else
		snprintf(detail, sizeof(detail),
			 "signer '%s' does not remember this store, which had come to %" PRId64,
			 in.token_name, t->sequence);
	in.origin.detail = detail;
	memcpy(in.lineage, t->fresh, sizeof(in.lineage));
	FAILPOINT("set-aside.before");
	store_set_aside(t->v->options.store, &in, on_set_aside, t);
}

/*
 * A signer that has forgotten the store while this process ran proves nothing:
 * the store has been in our hands all the while.  One that knows more of it than
 * we do does: somebody else goes on with a copy.  So does one that worked for
 * another store last: what is unsettled may be that one's.
 */
static void vouch_on_mark(void *arg, enum err e, const struct store_mark *mark)
{
	struct token *t = arg;
	bool remembers, same;

	if (token_is_overtaken(t))
		return;
	if (e != E_OK) {
		token_decline(t, e);
		return;
	}
	t->sequence = mark->sequence;
	remembers = mark->has_lineage && hsm_remembers(t->hsm, mark->lineage, &t->remembered);
	same = t->known && !hsm_remembers_any(t->hsm) && mark->has_lineage &&
	       memcmp(mark->lineage, t->lineage, sizeof(t->lineage)) == 0;
	t->went_back = remembers && t->remembered > (uint64_t)mark->sequence;
	if (t->denied && !t->went_back) {
		token_note(t);
		return;
	}
	if (t->went_back || (!remembers && !same)) {
		token_set_aside(t);
		return;
	}
	if (!remembers)
		log_notice("signer '%s' forgot this store while csrd ran, and is notified again",
			   hsm_token_name(t->hsm));
	t->known = true;
	memcpy(t->lineage, mark->lineage, sizeof(t->lineage));
	token_note(t);
}

static void token_begin(struct token *t)
{
	t->busy = true;
	t->greeted = false;
	t->dirty = false;
	t->noted = -1;
	store_mark_get(t->v->options.store, hsm_token_name(t->hsm), vouch_on_mark, t);
}

void vouch_hello(struct vouch *v, struct hsm *hsm)
{
	for (size_t i = 0; i < v->options.hsms_len && !v->stopped; i++) {
		struct token *t = &v->tokens[i];

		if (v->options.hsms[i] != hsm)
			continue;
		t->hsm = hsm;
		t->greeted = true;
		if (!t->busy)
			token_begin(t);
	}
}

/* ---- as the store goes on ---- */

static void note_all(struct vouch *v)
{
	for (size_t i = 0; i < v->options.hsms_len; i++) {
		struct token *t = &v->tokens[i];

		if (!t->hsm)
			continue; /* never met */
		t->dirty = true;
		if (!t->busy)
			token_end(t);
	}
}

static void vouch_on_timer(void *arg)
{
	struct vouch *v = arg;

	if (v->flushed)
		flush_tell(v); /* a signer that hangs keeps nobody from ending */
	else
		note_all(v);
}

static void on_commit(void *arg)
{
	struct vouch *v = arg;

	if (!v->stopped && !timer_runs(&v->timer))
		timer_start(&v->timer, NOTE_AFTER_MS);
}

void vouch_flush(struct vouch *v, void (*done)(void *arg), void *arg)
{
	timer_stop(&v->timer);
	note_all(v);
	v->flushed = done;
	v->flushed_arg = arg;
	timer_start(&v->timer, FLUSH_WITHIN_MS);
	flush_end(v);
}

/* ---- life ---- */

enum err vouch_new(const struct vouch_options *options, struct vouch **ret_vouch)
{
	struct vouch *v = calloc(1, sizeof(*v));

	if (!v)
		return E_NOMEM;
	v->options = *options;
	v->tokens = calloc(options->hsms_len, sizeof(*v->tokens));
	timer_init(&v->timer, options->base, vouch_on_timer, v);
	if (!v->tokens) {
		vouch_free(v);
		return E_NOMEM;
	}
	for (size_t i = 0; i < options->hsms_len; i++)
		v->tokens[i].v = v;
	store_on_commit(options->store, on_commit, v);
	*ret_vouch = v;
	return E_OK;
}

void vouch_stop(struct vouch *v)
{
	v->stopped = true;
	timer_stop(&v->timer);
}

void vouch_free(struct vouch *v)
{
	if (!v)
		return;
	timer_stop(&v->timer);
	free(v->tokens);
	free(v);
}
