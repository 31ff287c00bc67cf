/* SPDX-License-Identifier: Apache-2.0 */
/* One thread with its session: jobs, keys made ahead, and looking after the token. */
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "hsm/signer/serve/operation.h"
#include "hsm/signer/serve/workers_private.h"
#include "hsm/signer/stock/stock_fill.h"
#include "hsm/signer/token/watchdog.h"

#include <stdio.h>
#include <string.h>

#define OPEN_FIRST_MS 1000 /* between tries to open a session that the token has not to spare; doubles … */
#define OPEN_MAX_MS 10000  /* … to here */

#define JOURNAL_AGAIN_MS 2000 /* between tries to write a journal that is down, while nobody asks for it */

/* ---- without a session ---- */

void worker_begin_sessionless(struct worker *w)
{
	w->sessionless = true;
	w->open_every_ms = OPEN_MAX_MS;
	w->open_at_ms = w->used_ms + OPEN_MAX_MS;
}

/* The token has no session for it, while others have theirs: it leaves the work to those. */
static void set_sessionless_locked(struct worker *w)
{
	struct workers *workers = w->workers;
	bool first = !w->sessionless;

	w->sessionless = true;
	w->open_every_ms = first ? OPEN_FIRST_MS : 2 * w->open_every_ms;
	if (w->open_every_ms > OPEN_MAX_MS)
		w->open_every_ms = OPEN_MAX_MS;
	w->open_at_ms = clock_ms() + w->open_every_ms;
	if (first)
		log_warn("the token has no more sessions to spare: %u of %u threads work",
			 workers_able_locked(workers), workers->threads);
	pthread_cond_broadcast(&workers->work);
}

/* After any use of its session. */
static void look_at_session_locked(struct worker *w)
{
	struct workers *workers = w->workers;
	bool open = w->session.handle != CK_INVALID_HANDLE;

	if (!open && w->session.last == CKR_SESSION_COUNT && gate_has_sessions(workers->gate)) {
		set_sessionless_locked(w);
	} else if (open && w->sessionless) {
		w->sessionless = false;
		log_notice("the token has a session again: %u of %u threads work",
			   workers_able_locked(workers), workers->threads);
	}
}

/* Where nobody has one this thread is as good as any: it finds out, and has the token judged. */
static bool is_able_locked(struct worker *w)
{
	if (w->sessionless && !gate_has_sessions(w->workers->gate))
		w->sessionless = false;
	return !w->sessionless;
}

/* ---- work ---- */

/* After work, without the lock: whoever met trouble has it judged before anybody hears of the failure. */
static void have_judged(struct worker *w)
{
	struct judge *judge = w->workers->judge;

	if (w->session.trouble && judge_wants_repair(judge, clock_ms()))
		judge_repair(judge, &w->session);
}

/* False: as operation_run. */
static bool carry_out(struct worker *w, struct job *job)
{
	struct session *s = &w->session;
	bool done;

	if (session_begin(s, workers_makes_key(w->workers, job)) != E_OK) {
		job_fail(job, E_UNAVAIL, s->failure);
		return true;
	}
	if (clock_ms() > job->deadline_ms) { /* it may have waited for the module */
		session_end(s);
		job_fail(job, E_TIMEOUT, "its time was up before the token was free");
		return true;
	}
	if (job_is_list(job) || job->type == MESSAGE_DESTROY_POOL) {
		s->stop = &job->gone;
		s->stop_at_ms = job->deadline_ms;
	}
	if (job->label[0])
		watchdog_set_key(job->label);
	else
		watchdog_set_csr(job->csr_id);
	done = operation_run(s, w->workers->book, job);
	watchdog_set_csr("");
	s->stop = NULL;
	s->stop_at_ms = 0;
	session_end(s);
	if (done)
		have_judged(w);
	return done;
}

/* Nothing was done for it: to the front of the queue, unless it would not be in there any more. */
static void give_back_locked(struct workers *workers, struct job *job)
{
	if (atomic_load(&job->gone)) {
		job_free(job);
	} else if (workers->draining) {
		job_fail(job, E_UNAVAIL, "the signer is stopping");
		workers_finish_locked(workers, job);
	} else {
		job_queue_put_back(&workers->queue, job);
		workers_wake_locked(workers);
	}
}

static void work(struct worker *w, struct job *job)
{
	struct workers *workers = w->workers;
	bool done;

	w->busy = true;
	w->job = job;
	w->type = job->type;
	w->since_ms = clock_ms();
	snprintf(w->subject, sizeof(w->subject), "%s", job_subject(job));
	stock_caller_begins(workers->stock);
	pthread_mutex_unlock(&workers->lock);
	done = carry_out(w, job);
	pthread_mutex_lock(&workers->lock);
	stock_caller_ends(workers->stock, clock_ms());
	w->busy = false;
	w->job = NULL;
	w->used_ms = clock_ms();
	w->subject[0] = '\0';
	look_at_session_locked(w);
	if (!done) {
		give_back_locked(workers, job);
		return;
	}
	if (job->destroyed)
		judge_made_room(workers->judge);
	if (job_is_list(job))
		workers_wake_locked(workers); /* for the next list */
	workers_end_refused_locked(workers);
	if (!job_queue_finish(&workers->queue, job))
		return;
	/* Woken with the lock held it would go to sleep again at once, on that. */
	pthread_mutex_unlock(&workers->lock);
	workers_wake_server(workers);
	pthread_mutex_lock(&workers->lock);
}

/* Begun by stock_begin.  A thread at it is at work like any other: nothing is closed under it. */
static void fill_stock(struct worker *w, enum stock_work what, enum key_type type)
{
	struct workers *workers = w->workers;
	enum err e;

	w->busy = true;
	w->type = 0;
	w->since_ms = clock_ms();
	pthread_mutex_unlock(&workers->lock);
	w->session.stop = &workers->break_off;
	e = session_begin(&w->session, what == STOCK_FILL);
	if (e == E_OK) {
		e = stock_fill_run(&w->session, workers->book, what, type);
		session_end(&w->session);
		have_judged(w);
	}
	w->session.stop = NULL;
	pthread_mutex_lock(&workers->lock);
	w->busy = false;
	w->used_ms = clock_ms();
	stock_end(workers->stock, what, type, e, clock_ms());
	look_at_session_locked(w);
	workers_end_refused_locked(workers);
	/* Other threads may fill now; the server may wait for us. */
	if (what != STOCK_FILL || workers->draining)
		pthread_cond_broadcast(&workers->work);
	if (workers->draining)
		workers_wake_server(workers);
}

/* Looks after the token with this thread's session: a repair, or a sign of life. */
static void tend(struct worker *w, void (*how)(struct judge *, struct session *))
{
	struct workers *workers = w->workers;

	workers->tending++;
	pthread_mutex_unlock(&workers->lock);
	w->session.stop = &workers->break_off;
	how(workers->judge, &w->session);
	w->session.stop = NULL;
	pthread_mutex_lock(&workers->lock);
	workers->tending--;
	w->used_ms = clock_ms();
	look_at_session_locked(w);
	workers_end_refused_locked(workers);
	if (workers->draining || judge_is_hopeless(workers->judge, w->used_ms))
		workers_wake_server(workers); /* which waits for this one, too, or is to end */
}

/* So that an outage ends, and the status says so, before the next caller finds out. */
static void try_journal(struct worker *w)
{
	struct workers *workers = w->workers;

	workers->journal_at_ms = clock_ms() + JOURNAL_AGAIN_MS;
	workers->tending++;
	pthread_mutex_unlock(&workers->lock);
	if (journal_check(book_journal(workers->book)) != E_OK) /* which was said when it began */
		log_debug("the journal cannot be written yet");
	pthread_mutex_lock(&workers->lock);
	workers->tending--;
	if (workers->draining)
		workers_wake_server(workers);
}

static uint64_t journal_in_ms(const struct workers *workers, uint64_t now_ms)
{
	if (workers->draining || !journal_is_down(book_journal(workers->book)))
		return UINT64_MAX;
	return now_ms >= workers->journal_at_ms ? 0 : workers->journal_at_ms - now_ms;
}

static uint64_t keep_alive_in_ms(const struct worker *w, uint64_t now_ms)
{
	uint64_t at_ms = w->used_ms + w->workers->keep_alive_ms;

	return now_ms >= at_ms ? 0 : at_ms - now_ms;
}

static bool is_usable(struct workers *workers)
{
	char reason[TOKEN_REASON_SIZE];

	return gate_state(workers->gate, reason) == TOKEN_UP;
}

/*
 * What an earlier run left is taken over even of a token that makes no keys.  Nothing is done of which the
 * journal cannot tell.
 */
static bool may_fill(struct workers *workers)
{
	char reason[TOKEN_REASON_SIZE];

	if (journal_is_down(book_journal(workers->book)))
		return false;
	switch (gate_state(workers->gate, reason)) {
	case TOKEN_UP:
		return !judge_awaits_renewal(workers->judge);
	case TOKEN_NO_KEYS:
		return !stock_is_taken_over(workers->stock);
	case TOKEN_DOWN:
		break;
	}
	return false;
}

static void wait_for_work(struct worker *w, uint64_t now_ms)
{
	struct workers *workers = w->workers;
	uint64_t ms = keep_alive_in_ms(w, now_ms), repair_ms = judge_repair_in_ms(workers->judge, now_ms);
	uint64_t stock_ms = stock_wait_ms(workers->stock, now_ms);
	uint64_t journal_ms = journal_in_ms(workers, now_ms);

	if (!ms) /* not now: the token is down */
		ms = workers->keep_alive_ms;
	if (w->sessionless)
		ms = now_ms < w->open_at_ms ? w->open_at_ms - now_ms : OPEN_FIRST_MS;
	if (repair_ms < ms && !workers->draining && !w->sessionless)
		ms = repair_ms ? repair_ms : 1;
	if (stock_ms < ms && !workers->draining && !w->sessionless && may_fill(workers))
		ms = stock_ms ? stock_ms : 1;
	if (journal_ms < ms && !w->sessionless)
		ms = journal_ms ? journal_ms : 1;
	(void)thread_cond_wait_until(&workers->work, &workers->lock, clock_ms() + ms);
}

/* For an idle thread. */
static enum stock_work begin_fill_locked(struct workers *workers, uint64_t now_ms, enum key_type *ret_type)
{
	if (workers->draining || !may_fill(workers))
		return STOCK_NOTHING;
	stock_set_key_types(workers->stock, token_makes(workers->each[0].session.token));
	return stock_begin(workers->stock, now_ms, ret_type);
}

void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct workers *workers = w->workers;

	pthread_mutex_lock(&workers->lock);
	while (!workers->stopping) {
		uint64_t now = clock_ms();
		enum key_type type = KEY_TYPE_MAX;
		enum stock_work what;
		struct job *job;

		if (!is_able_locked(w)) { /* those who are do the rest */
			if (now >= w->open_at_ms && is_usable(workers))
				tend(w, judge_try_session);
			else
				wait_for_work(w, now);
			continue;
		}
		if (!workers->draining && judge_wants_repair(workers->judge, now)) {
			tend(w, judge_repair);
			continue;
		}
		job = workers_take_job_locked(workers);
		if (job) {
			if (now > job->deadline_ms) {
				job_fail(job, E_TIMEOUT, "its time was up before a thread was free");
				workers_finish_locked(workers, job);
			} else {
				work(w, job);
			}
		} else if (!workers->draining && keep_alive_in_ms(w, now) == 0 && is_usable(workers)) {
			tend(w, judge_keep_alive);
		} else if (journal_in_ms(workers, now) == 0) {
			try_journal(w);
		} else if ((what = begin_fill_locked(workers, now, &type)) != STOCK_NOTHING) {
			fill_stock(w, what, type);
		} else {
			wait_for_work(w, now);
		}
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}
