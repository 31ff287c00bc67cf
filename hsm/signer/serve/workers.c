/* SPDX-License-Identifier: Apache-2.0 */
/* All threads together: what they share, and what the server asks of them. */
#include "hsm/signer/serve/workers.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "hsm/signer/serve/clerk.h"
#include "hsm/signer/serve/workers_private.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- for the threads ---- */

void workers_wake_server(struct workers *workers)
{
	uint64_t one = 1;

	/* Full means that it is awake already. */
	if (write(workers->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("cannot wake the server: %s", strerror(errno));
}

void workers_finish_locked(struct workers *workers, struct job *job)
{
	if (job_queue_finish(&workers->queue, job))
		workers_wake_server(workers);
}

static void workers_fail_waiting_locked(struct workers *workers, job_pick_fn pick, const void *arg,
					enum err e, const char *detail)
{
	if (job_queue_fail_if(&workers->queue, pick, arg, e, detail))
		workers_wake_server(workers);
}

static bool is_any(const struct job *job, const void *arg)
{
	(void)job;
	(void)arg;
	return true;
}

bool workers_makes_key(const struct workers *workers, const struct job *job)
{
	return job->type == MESSAGE_CREATE_CSR && !stock_has_ready(workers->stock, job->spec.key_type);
}

static bool makes_key_of(const struct job *job, const void *workers)
{
	return workers_makes_key(workers, job);
}

void workers_end_refused_locked(struct workers *workers)
{
	char reason[TOKEN_REASON_SIZE];

	switch (gate_state(workers->gate, reason)) {
	case TOKEN_UP:
		break;
	case TOKEN_NO_KEYS:
		workers_fail_waiting_locked(workers, makes_key_of, workers, E_UNAVAIL, reason);
		break;
	case TOKEN_DOWN:
		workers_fail_waiting_locked(workers, is_any, NULL, E_UNAVAIL, reason);
		break;
	}
}

unsigned workers_able_locked(const struct workers *workers)
{
	unsigned able = 0;

	for (unsigned i = 0; i < workers->threads; i++)
		able += !workers->each[i].sessionless;
	return able;
}

/* Not every thread may take every job. */
void workers_wake_locked(struct workers *workers)
{
	if (workers_able_locked(workers) < workers->threads)
		pthread_cond_broadcast(&workers->work);
	else
		pthread_cond_signal(&workers->work);
}

/*
 * The next in line.  But one thread is kept for creates: a search or a destroy
 * takes a full token a long time, and several must not keep a create waiting.
 * And there is one list at a time, which takes longest of all.
 */
struct job *workers_take_job_locked(struct workers *workers)
{
	unsigned others = 0, able = workers_able_locked(workers);
	bool listing = false;

	for (unsigned i = 0; i < workers->threads; i++) {
		const struct worker *w = &workers->each[i];

		others += w->busy && w->type && w->type != MESSAGE_CREATE_CSR;
		listing |= w->job && job_is_list(w->job);
	}
	return job_queue_take(&workers->queue, able > 1 && others >= able - 1, listing);
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
			worker_begin_sessionless(w);
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
			 workers_able_locked(workers), workers->threads);
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
	workers->book = options->book;
	workers->stock = book_stock(options->book);
	workers->gate = options->gate;
	workers->judge = options->judge;
	workers->keep_alive_ms = options->keep_alive_ms;
	workers->threads = options->threads;
	workers->stores = options->stores;
	job_queue_init(&workers->queue);
	TAILQ_INIT(&workers->errands);
	pthread_cond_init(&workers->errand, NULL);
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
	int rc;

	for (unsigned i = 0; i < workers->threads; i++) {
		struct worker *w = &workers->each[i];

		rc = pthread_create(&w->thread, NULL, worker_run, w);
		if (rc) {
			log_error("cannot start thread %u: %s", i + 1, strerror(rc));
			return E_IO;
		}
		w->started = true;
	}
	rc = pthread_create(&workers->clerk, NULL, clerk_run, workers);
	if (rc) {
		log_error("cannot start the clerk's thread: %s", strerror(rc));
		return E_IO;
	}
	workers->has_clerk = true;
	return E_OK;
}

void workers_free(struct workers *workers)
{
	if (!workers)
		return;
	pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	pthread_cond_broadcast(&workers->work);
	pthread_cond_signal(&workers->errand);
	pthread_mutex_unlock(&workers->lock);
	if (workers->has_clerk)
		pthread_join(workers->clerk, NULL);
	for (unsigned i = 0; i < workers->threads; i++) {
		if (workers->each[i].started)
			pthread_join(workers->each[i].thread, NULL);
		session_close(&workers->each[i].session);
	}
	pthread_cond_destroy(&workers->errand);
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
static bool subject_is_taken_locked(const struct workers *workers, const char *subject)
{
	if (!subject[0])
		return false;
	for (unsigned i = 0; i < workers->threads; i++)
		if (workers->each[i].busy && workers->each[i].type != MESSAGE_INSPECT_KEY &&
		    strcmp(workers->each[i].subject, subject) == 0)
			return true;
	return job_queue_changes(&workers->queue, subject);
}

/* The reason is in workers->refusal. */
static bool is_refused_locked(struct workers *workers, const struct job *job)
{
	enum token_state state = gate_state(workers->gate, workers->refusal);

	if (state == TOKEN_UP || (state == TOKEN_NO_KEYS && !workers_makes_key(workers, job)))
		return false;
	judge_hurry(workers->judge);
	workers_wake_locked(workers);
	return true;
}

static enum err workers_send_clerk_locked(struct workers *workers, struct job *job, const char **ret_reason)
{
	if (workers->errands_len >= workers->queue_max) {
		*ret_reason = "the queue is full";
		return E_BUSY;
	}
	TAILQ_INSERT_TAIL(&workers->errands, job, next);
	workers->errands_len++;
	pthread_cond_signal(&workers->errand);
	return E_OK;
}

enum err workers_submit(struct workers *workers, struct job *job, const char **ret_reason)
{
	enum err e = E_OK;

	pthread_mutex_lock(&workers->lock);
	if (workers->draining) {
		*ret_reason = "the signer is stopping";
		e = E_UNAVAIL;
	} else if (clerk_does(job->type)) {
		e = workers_send_clerk_locked(workers, job, ret_reason);
	} else if (is_refused_locked(workers, job)) {
		*ret_reason = workers->refusal;
		e = E_UNAVAIL;
	} else if (subject_is_taken_locked(workers, job_subject(job))) {
		*ret_reason = "another request for the same csr or key is at work";
		e = E_BUSY;
	} else if (workers->queue.waiting_len >= workers->queue_max) {
		*ret_reason = "the queue is full";
		e = E_BUSY;
	} else {
		job_queue_put(&workers->queue, job);
		workers_wake_locked(workers);
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
	workers_fail_waiting_locked(workers, is_past, &now_ms, E_TIMEOUT,
				    "its time was up before a thread was free");
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
	workers_fail_waiting_locked(workers, is_any, NULL, E_UNAVAIL, "the signer is stopping");
	pthread_mutex_unlock(&workers->lock);
}

void workers_end_stock(struct workers *workers)
{
	struct session *s = &workers->each[0].session;
	enum err e = session_begin(s, false);

	if (e == E_OK) {
		if ((e = session_open(s)) == E_OK && stock_is_taken_over(workers->stock) &&
		    !stock_is_off(workers->stock))
			e = book_tell(workers->book, s, true);
		session_end(s);
	}
	if (e != E_OK)
		log_info("the token was not told at the end which keys are ready: %s", s->failure);
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
	idle = job_queue_is_empty(&workers->queue) && !workers->errands_len && !workers->tending &&
	       busy_locked(workers) == 0;
	pthread_mutex_unlock(&workers->lock);
	return idle;
}

bool workers_serves_nobody(struct workers *workers)
{
	bool nobody;

	pthread_mutex_lock(&workers->lock);
	nobody = job_queue_is_empty(&workers->queue) && !workers->errands_len;
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
	if (reply->usable && journal_is_down(book_journal(workers->book)))
		snprintf(reason, sizeof(reason), MESSAGE_STATUS_JOURNAL_DOWN);
	else if (reply->usable && workers_able_locked(workers) < workers->threads)
		snprintf(reason, sizeof(reason), "%u of %u sessions: the token has no more to spare",
			 workers_able_locked(workers), workers->threads);
	reply->detail = strdup(reason);
	reply->token_flags = judge_token_flags(workers->judge);
	reply->capabilities = judge_capabilities(workers->judge);
	stock_status(workers->stock, now_ms, reply);
	pthread_mutex_unlock(&workers->lock);
}
