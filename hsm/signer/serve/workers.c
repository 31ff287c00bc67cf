/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue of jobs and the threads that carry them to the token. */
#include "hsm/signer/serve/workers.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "hsm/signer/serve/job_queue.h"
#include "hsm/signer/serve/operation.h"
#include "hsm/signer/stock/stock_fill.h"
#include "hsm/signer/token/session.h"
#include "hsm/signer/token/watchdog.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct worker {
	struct workers *workers;
	struct session session;
	pthread_t thread;
	bool started;

	/* under the lock of the workers: what it is at, since when */
	bool busy;
	enum message_type type;
	char csr_id[CSR_ID_SIZE];
	uint64_t since_ms;
	uint64_t used_ms;    /* when its session was last used */
	struct job *job;     /* NULL: none */
	bool sessionless;    /* the token has no session to spare for it: it takes no jobs */
	uint64_t open_at_ms; /* then: when it tries again, … */
	uint64_t open_every_ms;
};

#define OPEN_FIRST_MS 1000 /* between tries to open a session that the token has not to spare; doubles … */
#define OPEN_MAX_MS 10000  /* … to here */

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t work;
	int wake_fd;
	size_t queue_max;
	struct gate *gate;
	struct judge *judge;
	uint64_t keep_alive_ms;
	char refusal[TOKEN_REASON_SIZE]; /* the server's: why the last job was refused */
	struct stock *stock;             /* made ahead; NULL: none */

	/* under the lock */
	struct job_queue queue;
	bool draining;
	bool stopping;
	atomic_bool break_off; /* what no caller waits for; read without the lock */
	unsigned tending;      /* threads that look after the token */

	unsigned threads;
	struct worker each[];
};

/* ---- the threads ---- */

static void wake_server(struct workers *workers)
{
	uint64_t one = 1;

	/* Full means that it is awake already. */
	if (write(workers->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("cannot wake the server: %s", strerror(errno));
}

static void finish_locked(struct workers *workers, struct job *job)
{
	if (job_queue_finish(&workers->queue, job))
		wake_server(workers);
}

static void fail_waiting_locked(struct workers *workers, job_pick_fn pick, const void *arg, enum err e,
				const char *detail)
{
	if (job_queue_fail_if(&workers->queue, pick, arg, e, detail))
		wake_server(workers);
}

static bool is_any(const struct job *job, const void *arg)
{
	(void)job;
	(void)arg;
	return true;
}

/* It needs a new key: a ready one can be claimed of a token that makes none, because it is full. */
static bool makes_key(const struct workers *workers, const struct job *job)
{
	return job->type == MESSAGE_CREATE_CSR && !stock_has_ready(workers->stock, job->spec.key_type);
}

static bool makes_key_of(const struct job *job, const void *workers)
{
	return makes_key(workers, job);
}

/* What waits and cannot be done is told so at once. */
static void end_refused_locked(struct workers *workers)
{
	char reason[TOKEN_REASON_SIZE];

	switch (gate_state(workers->gate, reason)) {
	case TOKEN_UP:
		break;
	case TOKEN_NO_KEYS:
		fail_waiting_locked(workers, makes_key_of, workers, E_UNAVAIL, reason);
		break;
	case TOKEN_DOWN:
		fail_waiting_locked(workers, is_any, NULL, E_UNAVAIL, reason);
		break;
	}
}

/* After work, without the lock: whoever met trouble has it judged before anybody hears of the failure. */
static void have_judged(struct worker *w)
{
	struct judge *judge = w->workers->judge;

	if (w->session.trouble && judge_wants_repair(judge, clock_ms()))
		judge_repair(judge, &w->session);
}

/* ---- threads without a session ---- */

static unsigned able_locked(const struct workers *workers)
{
	unsigned able = 0;

	for (unsigned i = 0; i < workers->threads; i++)
		able += !workers->each[i].sessionless;
	return able;
}

/* Not every thread may take every job. */
static void wake_locked(struct workers *workers)
{
	if (able_locked(workers) < workers->threads)
		pthread_cond_broadcast(&workers->work);
	else
		pthread_cond_signal(&workers->work);
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
			 able_locked(workers), workers->threads);
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
		log_notice("the token has a session again: %u of %u threads work", able_locked(workers),
			   workers->threads);
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

/* False: as operation_run. */
static bool carry_out(struct worker *w, struct job *job)
{
	struct session *s = &w->session;
	bool done;

	if (session_begin(s, makes_key(w->workers, job)) != E_OK) {
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
	watchdog_set_csr(job->csr_id);
	done = operation_run(s, w->workers->stock, job);
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
		finish_locked(workers, job);
	} else {
		job_queue_put_back(&workers->queue, job);
		wake_locked(workers);
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
	memcpy(w->csr_id, job->csr_id, sizeof(w->csr_id));
	stock_caller_begins(workers->stock);
	pthread_mutex_unlock(&workers->lock);
	done = carry_out(w, job);
	pthread_mutex_lock(&workers->lock);
	stock_caller_ends(workers->stock, clock_ms());
	w->busy = false;
	w->job = NULL;
	w->used_ms = clock_ms();
	w->csr_id[0] = '\0';
	look_at_session_locked(w);
	if (!done) {
		give_back_locked(workers, job);
		return;
	}
	if (job->destroyed)
		judge_made_room(workers->judge);
	if (job_is_list(job))
		wake_locked(workers); /* for the next list */
	end_refused_locked(workers);
	if (!job_queue_finish(&workers->queue, job))
		return;
	/* Woken with the lock held it would go to sleep again at once, on that. */
	pthread_mutex_unlock(&workers->lock);
	wake_server(workers);
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
		e = stock_fill_run(&w->session, workers->stock, what, type);
		session_end(&w->session);
		have_judged(w);
	}
	w->session.stop = NULL;
	pthread_mutex_lock(&workers->lock);
	w->busy = false;
	w->used_ms = clock_ms();
	stock_end(workers->stock, what, type, e, clock_ms());
	look_at_session_locked(w);
	end_refused_locked(workers);
	/* Other threads may fill now; the server may wait for us. */
	if (what != STOCK_FILL || workers->draining)
		pthread_cond_broadcast(&workers->work);
	if (workers->draining)
		wake_server(workers);
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
	end_refused_locked(workers);
	if (workers->draining || judge_is_hopeless(workers->judge, w->used_ms))
		wake_server(workers); /* which waits for this one, too, or is to end */
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

/* What an earlier run left is taken over even of a token that makes no keys. */
static bool may_fill(struct workers *workers)
{
	char reason[TOKEN_REASON_SIZE];

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

	if (!ms) /* not now: the token is down */
		ms = workers->keep_alive_ms;
	if (w->sessionless)
		ms = now_ms < w->open_at_ms ? w->open_at_ms - now_ms : OPEN_FIRST_MS;
	if (repair_ms < ms && !workers->draining && !w->sessionless)
		ms = repair_ms ? repair_ms : 1;
	if (stock_ms < ms && !workers->draining && !w->sessionless && may_fill(workers))
		ms = stock_ms ? stock_ms : 1;
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

/*
 * The next in line.  But one thread is kept for creates: a search or a destroy
 * takes a full token a long time, and several must not keep a create waiting.
 * And there is one list at a time, which takes longest of all.
 */
static struct job *take_job_locked(struct workers *workers)
{
	unsigned others = 0, able = able_locked(workers);
	bool listing = false;

	for (unsigned i = 0; i < workers->threads; i++) {
		const struct worker *w = &workers->each[i];

		others += w->busy && w->type && w->type != MESSAGE_CREATE_CSR;
		listing |= w->job && job_is_list(w->job);
	}
	return job_queue_take(&workers->queue, able > 1 && others >= able - 1, listing);
}

static void *workers_run(void *arg)
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
		job = take_job_locked(workers);
		if (job) {
			if (now > job->deadline_ms) {
				job_fail(job, E_TIMEOUT, "its time was up before a thread was free");
				finish_locked(workers, job);
			} else {
				work(w, job);
			}
		} else if (!workers->draining && keep_alive_in_ms(w, now) == 0 && is_usable(workers)) {
			tend(w, judge_keep_alive);
		} else if ((what = begin_fill_locked(workers, now, &type)) != STOCK_NOTHING) {
			fill_stock(w, what, type);
		} else {
			wait_for_work(w, now);
		}
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}

/* ---- life ---- */

/*
 * One after the other, and no further after the first that fails: a wrong PIN
 * is tried once.  With fewer sessions than threads those work that have one.
 */
static enum err workers_open_sessions(struct workers *workers, const struct worker_options *options)
{
	bool more = true;

	for (unsigned i = 0; i < workers->threads; i++) {
		struct worker *w = &workers->each[i];
		enum err e;

		w->workers = workers;
		session_init(&w->session, options->gate, options->judge, options->token);
		w->used_ms = clock_ms();
		e = more ? session_open(&w->session) : E_BUSY;
		if (e != E_OK && i > 0 && (!more || w->session.last == CKR_SESSION_COUNT)) {
			w->sessionless = true;
			w->open_every_ms = OPEN_MAX_MS;
			w->open_at_ms = w->used_ms + OPEN_MAX_MS;
			more = false;
		} else if (e != E_OK) {
			log_error("cannot open session %u of %u on token '%s': %s", i + 1, workers->threads,
				  options->token->label, w->session.failure);
			workers->threads = i; /* the sessions that there are to close */
			return e;
		}
	}
	if (!more)
		log_warn("the token has no more sessions to spare: %u of %u threads work",
			 able_locked(workers), workers->threads);
	return E_OK;
}

/* The first look at the token, which may take long: a signal ends it. */
static void look_first(struct workers *workers)
{
	struct session *s = &workers->each[0].session;

	s->heeds_signals = true;
	judge_repair(workers->judge, s);
	s->heeds_signals = false;
}

enum err workers_new(const struct worker_options *options, struct workers **ret_workers)
{
	struct workers *workers = calloc(1, sizeof(*workers) + options->threads * sizeof(workers->each[0]));
	enum err e;

	if (!workers)
		return E_NOMEM;
	workers->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	workers->queue_max = options->queue_max;
	workers->stock = options->stock;
	workers->gate = options->gate;
	workers->judge = options->judge;
	workers->keep_alive_ms = options->keep_alive_ms;
	workers->threads = options->threads;
	job_queue_init(&workers->queue);
	if (workers->wake_fd < 0)
		log_error("cannot make an eventfd for the threads: %s", strerror(errno));
	pthread_mutex_init(&workers->lock, NULL);
	thread_cond_init(&workers->work);
	if (workers->wake_fd < 0) {
		workers->threads = 0;
		e = E_IO;
	} else {
		e = workers_open_sessions(workers, options);
	}
	if (e == E_OK)
		look_first(workers);
	if (e != E_OK) {
		workers_free(workers);
		return e;
	}
	*ret_workers = workers;
	return E_OK;
}

/* Not by thread_start: what a module starts from such a thread would begin with its signals blocked. */
enum err workers_start(struct workers *workers)
{
	for (unsigned i = 0; i < workers->threads; i++) {
		struct worker *w = &workers->each[i];
		int rc = pthread_create(&w->thread, NULL, workers_run, w);

		if (rc) {
			log_error("cannot start thread %u: %s", i + 1, strerror(rc));
			return E_IO;
		}
		w->started = true;
	}
	return E_OK;
}

void workers_free(struct workers *workers)
{
	if (!workers)
		return;
	pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	pthread_cond_broadcast(&workers->work);
	pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->threads; i++) {
		if (workers->each[i].started)
			pthread_join(workers->each[i].thread, NULL);
		session_close(&workers->each[i].session);
	}
	pthread_cond_destroy(&workers->work);
	pthread_mutex_destroy(&workers->lock);
	job_queue_release(&workers->queue);
	fd_close(&workers->wake_fd);
	free(workers);
}

/* ---- for the server ---- */

int workers_fd(const struct workers *workers)
{
	return workers->wake_fd;
}

/* By what a look at a key (INSPECT_KEY) is not: it is in nobody's way. */
static bool csr_is_taken_locked(const struct workers *workers, const char *csr_id)
{
	if (!csr_id[0])
		return false;
	for (unsigned i = 0; i < workers->threads; i++)
		if (workers->each[i].busy && workers->each[i].type != MESSAGE_INSPECT_KEY &&
		    strcmp(workers->each[i].csr_id, csr_id) == 0)
			return true;
	return job_queue_changes(&workers->queue, csr_id);
}

/* The reason is in workers->refusal. */
static bool is_refused_locked(struct workers *workers, const struct job *job)
{
	enum token_state state = gate_state(workers->gate, workers->refusal);

	if (state == TOKEN_UP || (state == TOKEN_NO_KEYS && !makes_key(workers, job)))
		return false;
	judge_hurry(workers->judge);
	wake_locked(workers);
	return true;
}

enum err workers_submit(struct workers *workers, struct job *job, const char **ret_reason)
{
	enum err e = E_OK;

	pthread_mutex_lock(&workers->lock);
	if (workers->draining) {
		*ret_reason = "the signer is stopping";
		e = E_UNAVAIL;
	} else if (is_refused_locked(workers, job)) {
		*ret_reason = workers->refusal;
		e = E_UNAVAIL;
	} else if (csr_is_taken_locked(workers, job->csr_id)) {
		*ret_reason = "another request for the same csr is at work";
		e = E_BUSY;
	} else if (workers->queue.waiting_len >= workers->queue_max) {
		*ret_reason = "the queue is full";
		e = E_BUSY;
	} else {
		job_queue_put(&workers->queue, job);
		wake_locked(workers);
	}
	pthread_mutex_unlock(&workers->lock);
	return e;
}

struct job *workers_take_done(struct workers *workers)
{
	struct job *job;
	uint64_t count;

	pthread_mutex_lock(&workers->lock);
	job = job_queue_take_done(&workers->queue);
	/* The descriptor is emptied with the list, under the lock: no wake-up is lost. */
	if (!job && read(workers->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("cannot read the wake-up descriptor: %s", strerror(errno));
	pthread_mutex_unlock(&workers->lock);
	return job;
}

static bool is_of_connection(const struct job *job, const void *connection)
{
	return job->connection == *(const uint64_t *)connection;
}

void workers_drop_connection(struct workers *workers, uint64_t connection)
{
	struct job_list dropped = TAILQ_HEAD_INITIALIZER(dropped);

	pthread_mutex_lock(&workers->lock);
	job_queue_move_if(&workers->queue, is_of_connection, &connection, &dropped);
	for (unsigned i = 0; i < workers->threads; i++)
		if (workers->each[i].job && is_of_connection(workers->each[i].job, &connection))
			atomic_store(&workers->each[i].job->gone, true);
	pthread_mutex_unlock(&workers->lock);
	job_list_free(&dropped);
}

static bool is_past(const struct job *job, const void *now_ms)
{
	return *(const uint64_t *)now_ms > job->deadline_ms;
}

int workers_expire(struct workers *workers, uint64_t now_ms)
{
	uint64_t next;

	pthread_mutex_lock(&workers->lock);
	fail_waiting_locked(workers, is_past, &now_ms, E_TIMEOUT, "its time was up before a thread was free");
	next = job_queue_deadline_ms(&workers->queue);
	pthread_mutex_unlock(&workers->lock);
	if (next == UINT64_MAX)
		return -1;
	return next - now_ms >= INT_MAX ? INT_MAX : (int)(next - now_ms) + 1;
}

void workers_drain(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	workers->draining = true;
	atomic_store(&workers->break_off, true);
	fail_waiting_locked(workers, is_any, NULL, E_UNAVAIL, "the signer is stopping");
	pthread_mutex_unlock(&workers->lock);
}

static unsigned busy_locked(const struct workers *workers)
{
	unsigned busy = 0;

	for (unsigned i = 0; i < workers->threads; i++)
		busy += workers->each[i].busy;
	return busy;
}

bool workers_is_idle(struct workers *workers)
{
	bool idle;

	pthread_mutex_lock(&workers->lock);
	idle = job_queue_is_empty(&workers->queue) && !workers->tending && busy_locked(workers) == 0;
	pthread_mutex_unlock(&workers->lock);
	return idle;
}

bool workers_serves_nobody(struct workers *workers)
{
	bool nobody;

	pthread_mutex_lock(&workers->lock);
	nobody = job_queue_is_empty(&workers->queue);
	for (unsigned i = 0; i < workers->threads; i++)
		nobody &= !workers->each[i].busy || !workers->each[i].type;
	pthread_mutex_unlock(&workers->lock);
	return nobody;
}

void workers_status(struct workers *workers, uint64_t now_ms, struct message_status_reply *reply)
{
	char reason[TOKEN_REASON_SIZE];

	pthread_mutex_lock(&workers->lock);
	reply->threads = workers->threads;
	reply->busy = busy_locked(workers);
	reply->queued = (uint32_t)workers->queue.waiting_len;
	reply->created = workers->queue.created;
	reply->destroyed = workers->queue.destroyed;
	reply->failed = workers->queue.failed;
	reply->usable = gate_state(workers->gate, reason) == TOKEN_UP;
	if (reply->usable && able_locked(workers) < workers->threads)
		snprintf(reason, sizeof(reason), "%u of %u sessions: the token has no more to spare",
			 able_locked(workers), workers->threads);
	reply->detail = strdup(reason);
	reply->token_flags = judge_token_flags(workers->judge);
	reply->capabilities = judge_capabilities(workers->judge);
	stock_status(workers->stock, now_ms, reply);
	pthread_mutex_unlock(&workers->lock);
}
