/* A bounded queue of jobs and the threads that carry them to the token. */
#include "hsm/signer/serve/worker.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "hsm/signer/serve/operation.h"
#include "hsm/signer/stock/pool_fill.h"
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
	struct worker_pool *pool;
	struct session session;
	pthread_t thread;
	bool started;

	/* under the pool's lock: what it is at, since when */
	bool busy;
	enum message_type type;
	char csr_id[CSR_ID_SIZE];
	uint64_t since_ms;
	uint64_t used_ms; /* when its session was last used */
	struct job *job;  /* NULL: none */
	bool sessionless; /* the token has no session to spare for it: it takes no jobs */
	uint64_t open_at_ms; /* then: when it tries again, … */
	uint64_t open_every_ms;
};

#define OPEN_FIRST_MS 1000 /* between tries to open a session that the token has not to spare; doubles … */
#define OPEN_MAX_MS 10000 /* … to here */

struct job_list {
	struct job *first;
	struct job **end;
};

struct worker_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	int wake_fd;
	size_t queue_max;
	struct gate *gate;
	struct judge *judge;
	uint64_t keep_alive_ms;
	char refusal[TOKEN_REASON_SIZE]; /* the server's: why the last job was refused */
	struct pool *keys; /* made ahead; NULL: none */

	/* under the lock */
	struct job_list waiting;
	struct job_list done;
	size_t waiting_len;
	bool draining;
	bool stopping;
	atomic_bool break_off; /* what no caller waits for; read without the lock */
	unsigned tending; /* threads that look after the token */
	uint64_t created;
	uint64_t destroyed;
	uint64_t failed;

	unsigned threads;
	struct worker workers[];
};

/* ---- lists ---- */

static void list_init(struct job_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_put(struct job_list *list, struct job *job)
{
	job->next = NULL;
	*list->end = job;
	list->end = &job->next;
}

static void list_put_first(struct job_list *list, struct job *job)
{
	job->next = list->first;
	list->first = job;
	if (!job->next)
		list->end = &job->next;
}

static struct job *list_take(struct job_list *list)
{
	struct job *job = list->first;

	if (!job)
		return NULL;
	list->first = job->next;
	if (!list->first)
		list->end = &list->first;
	job->next = NULL;
	return job;
}

/* The one behind `before`, which is in the list and not its last. */
static struct job *list_take_after(struct job_list *list, struct job *before)
{
	struct job *job = before->next;

	before->next = job->next;
	if (!before->next)
		list->end = &before->next;
	job->next = NULL;
	return job;
}

/* Those for which `pick` says yes, out of `from` into `to`, in their order. */
static size_t list_move_if(struct job_list *from, struct job_list *to,
			   bool (*pick)(const struct job *, uint64_t), uint64_t arg)
{
	struct job_list kept;
	struct job *job;
	size_t moved = 0;

	list_init(&kept);
	while ((job = list_take(from))) {
		bool picked = pick(job, arg);

		moved += picked;
		list_put(picked ? to : &kept, job);
	}
	while ((job = list_take(&kept)))
		list_put(from, job);
	return moved;
}

/* ---- the threads ---- */

static void wake_server(struct worker_pool *pool)
{
	uint64_t one = 1;

	/* Full means that it is awake already. */
	if (write(pool->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("cannot wake the server: %s", strerror(errno));
}

/* Says whether the server is to be woken: it takes all that is there when it is awake. */
static bool put_done_locked(struct worker_pool *pool, struct job *job)
{
	bool first = !pool->done.first;

	list_put(&pool->done, job);
	if (job->result != E_OK)
		pool->failed++;
	else if (job->type == MESSAGE_CREATE_CSR)
		pool->created++;
	else if (job->type == MESSAGE_DESTROY_KEY && job->destroyed)
		pool->destroyed++;
	return first;
}

static void finish_locked(struct worker_pool *pool, struct job *job)
{
	if (put_done_locked(pool, job))
		wake_server(pool);
}

static void end_waiting_locked(struct worker_pool *pool, bool (*pick)(const struct job *, uint64_t),
			       uint64_t arg, enum err e, const char *detail)
{
	struct job_list ended;
	struct job *job;

	list_init(&ended);
	pool->waiting_len -= list_move_if(&pool->waiting, &ended, pick, arg);
	while ((job = list_take(&ended))) {
		job_fail(job, e, detail);
		finish_locked(pool, job);
	}
}

static bool is_any(const struct job *job, uint64_t arg)
{
	(void)job;
	(void)arg;
	return true;
}

/* It needs a new key: a ready one can be claimed of a token that makes none, because it is full. */
static bool makes_key(const struct worker_pool *pool, const struct job *job)
{
	return job->type == MESSAGE_CREATE_CSR && !pool_has_ready(pool->keys, job->spec.key_type);
}

static bool makes_key_of(const struct job *job, uint64_t pool)
{
	return makes_key((const struct worker_pool *)(uintptr_t)pool, job);
}

/* What waits and cannot be done is told so at once. */
static void end_refused_locked(struct worker_pool *pool)
{
	char reason[TOKEN_REASON_SIZE];

	switch (gate_state(pool->gate, reason)) {
	case TOKEN_UP:
		break;
	case TOKEN_NO_KEYS:
		end_waiting_locked(pool, makes_key_of, (uintptr_t)pool, E_UNAVAIL, reason);
		break;
	case TOKEN_DOWN:
		end_waiting_locked(pool, is_any, 0, E_UNAVAIL, reason);
		break;
	}
}

/* After work, without the lock: whoever met trouble has it judged before anybody hears of the failure. */
static void have_judged(struct worker *w)
{
	struct judge *judge = w->pool->judge;

	if (w->session.trouble && judge_wants_repair(judge, clock_ms()))
		judge_repair(judge, &w->session);
}

/* ---- threads without a session ---- */

static unsigned able_locked(const struct worker_pool *pool)
{
	unsigned able = 0;

	for (unsigned i = 0; i < pool->threads; i++)
		able += !pool->workers[i].sessionless;
	return able;
}

/* Not every thread may take every job. */
static void wake_locked(struct worker_pool *pool)
{
	if (able_locked(pool) < pool->threads)
		pthread_cond_broadcast(&pool->work);
	else
		pthread_cond_signal(&pool->work);
}

/* The token has no session for it, while others have theirs: it leaves the work to those. */
static void set_sessionless_locked(struct worker *w)
{
	struct worker_pool *pool = w->pool;
	bool first = !w->sessionless;

	w->sessionless = true;
	w->open_every_ms = first ? OPEN_FIRST_MS : 2 * w->open_every_ms;
	if (w->open_every_ms > OPEN_MAX_MS)
		w->open_every_ms = OPEN_MAX_MS;
	w->open_at_ms = clock_ms() + w->open_every_ms;
	if (first)
		log_warn("the token has no more sessions to spare: %u of %u threads work", able_locked(pool),
			 pool->threads);
	pthread_cond_broadcast(&pool->work);
}

/* After any use of its session. */
static void look_at_session_locked(struct worker *w)
{
	struct worker_pool *pool = w->pool;
	bool open = w->session.handle != CK_INVALID_HANDLE;

	if (!open && w->session.last == CKR_SESSION_COUNT && gate_has_sessions(pool->gate)) {
		set_sessionless_locked(w);
	} else if (open && w->sessionless) {
		w->sessionless = false;
		log_notice("the token has a session again: %u of %u threads work", able_locked(pool),
			   pool->threads);
	}
}

/* Where nobody has one this thread is as good as any: it finds out, and has the token judged. */
static bool is_able_locked(struct worker *w)
{
	if (w->sessionless && !gate_has_sessions(w->pool->gate))
		w->sessionless = false;
	return !w->sessionless;
}

/* ---- work ---- */

/* False: as operation_run. */
static bool carry_out(struct worker *w, struct job *job)
{
	struct session *s = &w->session;
	bool done;

	if (session_begin(s, makes_key(w->pool, job))) {
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
	done = operation_run(s, w->pool->keys, job);
	watchdog_set_csr("");
	s->stop = NULL;
	s->stop_at_ms = 0;
	session_end(s);
	if (done)
		have_judged(w);
	return done;
}

/* Nothing was done for it: to the front of the queue, unless it would not be in there any more. */
static void give_back_locked(struct worker_pool *pool, struct job *job)
{
	if (atomic_load(&job->gone)) {
		job_free(job);
	} else if (pool->draining) {
		job_fail(job, E_UNAVAIL, "the signer is stopping");
		finish_locked(pool, job);
	} else {
		list_put_first(&pool->waiting, job);
		pool->waiting_len++;
		wake_locked(pool);
	}
}

static void work(struct worker *w, struct job *job)
{
	struct worker_pool *pool = w->pool;
	bool done;

	w->busy = true;
	w->job = job;
	w->type = job->type;
	w->since_ms = clock_ms();
	memcpy(w->csr_id, job->csr_id, sizeof(w->csr_id));
	pool_caller_begins(pool->keys);
	pthread_mutex_unlock(&pool->lock);
	done = carry_out(w, job);
	pthread_mutex_lock(&pool->lock);
	pool_caller_ends(pool->keys, clock_ms());
	w->busy = false;
	w->job = NULL;
	w->used_ms = clock_ms();
	w->csr_id[0] = '\0';
	look_at_session_locked(w);
	if (!done) {
		give_back_locked(pool, job);
		return;
	}
	if (job->destroyed)
		judge_made_room(pool->judge);
	if (job_is_list(job))
		wake_locked(pool); /* for the next list */
	end_refused_locked(pool);
	if (!put_done_locked(pool, job))
		return;
	/* Woken with the lock held it would go to sleep again at once, on that. */
	pthread_mutex_unlock(&pool->lock);
	wake_server(pool);
	pthread_mutex_lock(&pool->lock);
}

/* Begun by pool_begin.  A thread at it is at work like any other: nothing is closed under it. */
static void fill_pool(struct worker *w, enum pool_work what, enum key_type type)
{
	struct worker_pool *pool = w->pool;
	enum err e;

	w->busy = true;
	w->type = 0;
	w->since_ms = clock_ms();
	pthread_mutex_unlock(&pool->lock);
	w->session.stop = &pool->break_off;
	e = session_begin(&w->session, what == POOL_FILL);
	if (e == E_OK) {
		e = pool_fill_run(&w->session, pool->keys, what, type);
		session_end(&w->session);
		have_judged(w);
	}
	w->session.stop = NULL;
	pthread_mutex_lock(&pool->lock);
	w->busy = false;
	w->used_ms = clock_ms();
	pool_end(pool->keys, what, type, e, clock_ms());
	look_at_session_locked(w);
	end_refused_locked(pool);
	if (what != POOL_FILL || pool->draining) /* other threads may fill now; the server may wait for us */
		pthread_cond_broadcast(&pool->work);
	if (pool->draining)
		wake_server(pool);
}

/* Looks after the token with this thread's session: a repair, or a sign of life. */
static void tend(struct worker *w, void (*how)(struct judge *, struct session *))
{
	struct worker_pool *pool = w->pool;

	pool->tending++;
	pthread_mutex_unlock(&pool->lock);
	w->session.stop = &pool->break_off;
	how(pool->judge, &w->session);
	w->session.stop = NULL;
	pthread_mutex_lock(&pool->lock);
	pool->tending--;
	w->used_ms = clock_ms();
	look_at_session_locked(w);
	end_refused_locked(pool);
	if (pool->draining || judge_is_hopeless(pool->judge, w->used_ms))
		wake_server(pool); /* which waits for this one, too, or is to end */
}

static uint64_t keep_alive_in_ms(const struct worker *w, uint64_t now_ms)
{
	uint64_t at_ms = w->used_ms + w->pool->keep_alive_ms;

	return now_ms >= at_ms ? 0 : at_ms - now_ms;
}

static bool is_usable(struct worker_pool *pool)
{
	char reason[TOKEN_REASON_SIZE];

	return gate_state(pool->gate, reason) == TOKEN_UP;
}

/* What an earlier run left is taken over even of a token that makes no keys. */
static bool may_fill(struct worker_pool *pool)
{
	char reason[TOKEN_REASON_SIZE];

	switch (gate_state(pool->gate, reason)) {
	case TOKEN_UP:
		return !judge_awaits_renewal(pool->judge);
	case TOKEN_NO_KEYS:
		return !pool_is_taken_over(pool->keys);
	case TOKEN_DOWN:
		break;
	}
	return false;
}

static void wait_for_work(struct worker *w, uint64_t now_ms)
{
	struct worker_pool *pool = w->pool;
	uint64_t ms = keep_alive_in_ms(w, now_ms), repair_ms = judge_repair_in_ms(pool->judge, now_ms);
	uint64_t pool_ms = pool_wait_ms(pool->keys, now_ms);

	if (!ms) /* not now: the token is down */
		ms = pool->keep_alive_ms;
	if (w->sessionless)
		ms = now_ms < w->open_at_ms ? w->open_at_ms - now_ms : OPEN_FIRST_MS;
	if (repair_ms < ms && !pool->draining && !w->sessionless)
		ms = repair_ms ? repair_ms : 1;
	if (pool_ms < ms && !pool->draining && !w->sessionless && may_fill(pool))
		ms = pool_ms ? pool_ms : 1;
	(void)thread_cond_wait_until(&pool->work, &pool->lock, clock_ms() + ms);
}

/* For an idle thread. */
static enum pool_work begin_fill_locked(struct worker_pool *pool, uint64_t now_ms, enum key_type *ret_type)
{
	if (pool->draining || !may_fill(pool))
		return POOL_NOTHING;
	pool_set_key_types(pool->keys, token_makes(pool->workers[0].session.token));
	return pool_begin(pool->keys, now_ms, ret_type);
}

/*
 * The next in line.  But one thread is kept for creates: a search or a destroy
 * takes a full token a long time, and several must not keep a create waiting.
 * And there is one list at a time, which takes longest of all.
 */
static struct job *take_job_locked(struct worker_pool *pool)
{
	struct job *job = pool->waiting.first, *before = NULL;
	unsigned others = 0, able = able_locked(pool);
	bool creates_only, listing = false;

	for (unsigned i = 0; i < pool->threads; i++) {
		const struct worker *w = &pool->workers[i];

		others += w->busy && w->type && w->type != MESSAGE_CREATE_CSR;
		listing |= w->job && job_is_list(w->job);
	}
	creates_only = able > 1 && others >= able - 1;
	while (job && job->type != MESSAGE_CREATE_CSR &&
	       (creates_only || (listing && job_is_list(job)))) {
		before = job;
		job = job->next;
	}
	if (!job)
		return NULL;
	return before ? list_take_after(&pool->waiting, before) : list_take(&pool->waiting);
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct worker_pool *pool = w->pool;

	pthread_mutex_lock(&pool->lock);
	while (!pool->stopping) {
		uint64_t now = clock_ms();
		enum key_type type = KEY_TYPE_MAX;
		enum pool_work what;
		struct job *job;

		if (!is_able_locked(w)) { /* those who are do the rest */
			if (now >= w->open_at_ms && is_usable(pool))
				tend(w, judge_try_session);
			else
				wait_for_work(w, now);
			continue;
		}
		if (!pool->draining && judge_wants_repair(pool->judge, now)) {
			tend(w, judge_repair);
			continue;
		}
		job = take_job_locked(pool);
		if (job) {
			pool->waiting_len--;
			if (now > job->deadline_ms) {
				job_fail(job, E_TIMEOUT, "its time was up before a thread was free");
				finish_locked(pool, job);
			} else {
				work(w, job);
			}
		} else if (!pool->draining && keep_alive_in_ms(w, now) == 0 && is_usable(pool)) {
			tend(w, judge_keep_alive);
		} else if ((what = begin_fill_locked(pool, now, &type)) != POOL_NOTHING) {
			fill_pool(w, what, type);
		} else {
			wait_for_work(w, now);
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* ---- life ---- */

/*
 * One after the other, and no further after the first that fails: a wrong PIN
 * is tried once.  With fewer sessions than threads those work that have one.
 */
static enum err open_sessions(struct worker_pool *pool, const struct worker_options *options)
{
	bool more = true;

	for (unsigned i = 0; i < pool->threads; i++) {
		struct worker *w = &pool->workers[i];
		enum err e;

		w->pool = pool;
		session_init(&w->session, options->gate, options->judge, options->token);
		w->used_ms = clock_ms();
		e = more ? session_open(&w->session) : E_BUSY;
		if (e && i > 0 && (!more || w->session.last == CKR_SESSION_COUNT)) {
			w->sessionless = true;
			w->open_every_ms = OPEN_MAX_MS;
			w->open_at_ms = w->used_ms + OPEN_MAX_MS;
			more = false;
		} else if (e) {
			log_error("cannot open session %u of %u on token '%s': %s", i + 1, pool->threads,
				  options->token->label, w->session.failure);
			pool->threads = i; /* the sessions that there are to close */
			return e;
		}
	}
	if (!more)
		log_warn("the token has no more sessions to spare: %u of %u threads work", able_locked(pool),
			 pool->threads);
	return E_OK;
}

/* The first look at the token, which may take long: a signal ends it. */
static void look_first(struct worker_pool *pool)
{
	struct session *s = &pool->workers[0].session;

	s->heeds_signals = true;
	judge_repair(pool->judge, s);
	s->heeds_signals = false;
}

enum err worker_pool_new(const struct worker_options *options, struct worker_pool **ret_pool)
{
	struct worker_pool *pool = calloc(1, sizeof(*pool) + options->threads * sizeof(pool->workers[0]));
	enum err e;

	if (!pool)
		return E_NOMEM;
	pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool->queue_max = options->queue_max;
	pool->keys = options->pool;
	pool->gate = options->gate;
	pool->judge = options->judge;
	pool->keep_alive_ms = options->keep_alive_ms;
	pool->threads = options->threads;
	list_init(&pool->waiting);
	list_init(&pool->done);
	if (pool->wake_fd < 0)
		log_error("cannot make an eventfd for the threads: %s", strerror(errno));
	pthread_mutex_init(&pool->lock, NULL);
	thread_cond_init(&pool->work);
	if (pool->wake_fd < 0) {
		pool->threads = 0;
		e = E_IO;
	} else {
		e = open_sessions(pool, options);
	}
	if (e == E_OK)
		look_first(pool);
	if (e) {
		worker_pool_free(pool);
		return e;
	}
	*ret_pool = pool;
	return E_OK;
}

/* Not by thread_start: what a module starts from such a thread would begin with its signals blocked. */
enum err worker_pool_start(struct worker_pool *pool)
{
	for (unsigned i = 0; i < pool->threads; i++) {
		struct worker *w = &pool->workers[i];
		int rc = pthread_create(&w->thread, NULL, run, w);

		if (rc) {
			log_error("cannot start thread %u: %s", i + 1, strerror(rc));
			return E_IO;
		}
		w->started = true;
	}
	return E_OK;
}

static void free_list(struct job_list *list)
{
	struct job *job;

	while ((job = list_take(list)))
		job_free(job);
}

void worker_pool_free(struct worker_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads; i++) {
		if (pool->workers[i].started)
			pthread_join(pool->workers[i].thread, NULL);
		session_close(&pool->workers[i].session);
	}
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free_list(&pool->waiting);
	free_list(&pool->done);
	fd_close(&pool->wake_fd);
	free(pool);
}

/* ---- for the server ---- */

int worker_pool_fd(const struct worker_pool *pool)
{
	return pool->wake_fd;
}

/* By what a look at a key (INSPECT_KEY) is not: it is in nobody's way. */
static bool csr_is_taken_locked(const struct worker_pool *pool, const char *csr_id)
{
	if (!csr_id[0])
		return false;
	for (unsigned i = 0; i < pool->threads; i++)
		if (pool->workers[i].busy && pool->workers[i].type != MESSAGE_INSPECT_KEY &&
		    strcmp(pool->workers[i].csr_id, csr_id) == 0)
			return true;
	for (const struct job *job = pool->waiting.first; job; job = job->next)
		if (job->type != MESSAGE_INSPECT_KEY && strcmp(job->csr_id, csr_id) == 0)
			return true;
	return false;
}

/* The reason is in pool->refusal. */
static bool is_refused_locked(struct worker_pool *pool, const struct job *job)
{
	enum token_state state = gate_state(pool->gate, pool->refusal);

	if (state == TOKEN_UP || (state == TOKEN_NO_KEYS && !makes_key(pool, job)))
		return false;
	judge_hurry(pool->judge);
	wake_locked(pool);
	return true;
}

enum err worker_pool_submit(struct worker_pool *pool, struct job *job, const char **ret_reason)
{
	enum err e = E_OK;

	pthread_mutex_lock(&pool->lock);
	if (pool->draining) {
		*ret_reason = "the signer is stopping";
		e = E_UNAVAIL;
	} else if (is_refused_locked(pool, job)) {
		*ret_reason = pool->refusal;
		e = E_UNAVAIL;
	} else if (csr_is_taken_locked(pool, job->csr_id)) {
		*ret_reason = "another request for the same csr is at work";
		e = E_BUSY;
	} else if (pool->waiting_len >= pool->queue_max) {
		*ret_reason = "the queue is full";
		e = E_BUSY;
	} else {
		list_put(&pool->waiting, job);
		pool->waiting_len++;
		wake_locked(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	return e;
}

struct job *worker_pool_take_done(struct worker_pool *pool)
{
	struct job *job;
	uint64_t count;

	pthread_mutex_lock(&pool->lock);
	job = list_take(&pool->done);
	/* The descriptor is emptied with the list, under the lock: no wake-up is lost. */
	if (!job && read(pool->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("cannot read the wake-up descriptor: %s", strerror(errno));
	pthread_mutex_unlock(&pool->lock);
	return job;
}

static bool is_of_connection(const struct job *job, uint64_t connection)
{
	return job->connection == connection;
}

void worker_pool_drop_connection(struct worker_pool *pool, uint64_t connection)
{
	struct job_list dropped;

	list_init(&dropped);
	pthread_mutex_lock(&pool->lock);
	pool->waiting_len -= list_move_if(&pool->waiting, &dropped, is_of_connection, connection);
	for (unsigned i = 0; i < pool->threads; i++)
		if (pool->workers[i].job && is_of_connection(pool->workers[i].job, connection))
			atomic_store(&pool->workers[i].job->gone, true);
	pthread_mutex_unlock(&pool->lock);
	free_list(&dropped);
}

static bool is_past(const struct job *job, uint64_t now_ms)
{
	return now_ms > job->deadline_ms;
}

int worker_pool_expire(struct worker_pool *pool, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;
	bool any_past = false;

	pthread_mutex_lock(&pool->lock);
	for (const struct job *job = pool->waiting.first; job; job = job->next) {
		any_past |= is_past(job, now_ms);
		if (!is_past(job, now_ms) && job->deadline_ms < next)
			next = job->deadline_ms;
	}
	if (any_past)
		end_waiting_locked(pool, is_past, now_ms, E_TIMEOUT,
				   "its time was up before a thread was free");
	pthread_mutex_unlock(&pool->lock);
	if (next == UINT64_MAX)
		return -1;
	return next - now_ms >= INT_MAX ? INT_MAX : (int)(next - now_ms) + 1;
}

void worker_pool_drain(struct worker_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->draining = true;
	atomic_store(&pool->break_off, true);
	end_waiting_locked(pool, is_any, 0, E_UNAVAIL, "the signer is stopping");
	pthread_mutex_unlock(&pool->lock);
}

static unsigned busy_locked(const struct worker_pool *pool)
{
	unsigned busy = 0;

	for (unsigned i = 0; i < pool->threads; i++)
		busy += pool->workers[i].busy;
	return busy;
}

bool worker_pool_is_idle(struct worker_pool *pool)
{
	bool idle;

	pthread_mutex_lock(&pool->lock);
	idle = !pool->waiting.first && !pool->done.first && !pool->tending &&
	       busy_locked(pool) == 0;
	pthread_mutex_unlock(&pool->lock);
	return idle;
}

bool worker_pool_serves_nobody(struct worker_pool *pool)
{
	bool nobody;

	pthread_mutex_lock(&pool->lock);
	nobody = !pool->waiting.first && !pool->done.first;
	for (unsigned i = 0; i < pool->threads; i++)
		nobody &= !pool->workers[i].busy || !pool->workers[i].type;
	pthread_mutex_unlock(&pool->lock);
	return nobody;
}

void worker_pool_status(struct worker_pool *pool, uint64_t now_ms, struct message_status_reply *reply)
{
	char reason[TOKEN_REASON_SIZE];

	pthread_mutex_lock(&pool->lock);
	reply->threads = pool->threads;
	reply->busy = busy_locked(pool);
	reply->queued = (uint32_t)pool->waiting_len;
	reply->created = pool->created;
	reply->destroyed = pool->destroyed;
	reply->failed = pool->failed;
	reply->usable = gate_state(pool->gate, reason) == TOKEN_UP;
	if (reply->usable && able_locked(pool) < pool->threads)
		snprintf(reason, sizeof(reason), "%u of %u sessions: the token has no more to spare",
			 able_locked(pool), pool->threads);
	reply->detail = strdup(reason);
	reply->token_flags = judge_token_flags(pool->judge);
	reply->capabilities = judge_capabilities(pool->judge);
	pool_status(pool->keys, now_ms, reply);
	pthread_mutex_unlock(&pool->lock);
}
