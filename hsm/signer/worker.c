/* A bounded queue of jobs and the threads that carry them to the token. */
#include "hsm/signer/worker.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "hsm/signer/operation.h"
#include "hsm/signer/session.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define PROBE_EVERY_MS 10000
#define PROBE_WHEN_DOWN_MS 1000
#define STUCK_AFTER_MS 60000

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
};

struct job_list {
	struct job *first;
	struct job **end;
};

struct worker_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool lock_made;
	int wake_fd;
	size_t queue_max;

	/* under the lock */
	struct job_list waiting;
	struct job_list done;
	size_t waiting_len;
	bool draining;
	bool stopping;
	bool probing;
	uint64_t probed_ms;
	bool usable;
	char why_not[256];
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

static void finish_locked(struct worker_pool *pool, struct job *job)
{
	list_put(&pool->done, job);
	if (job->result != E_OK)
		pool->failed++;
	else if (job->type == MESSAGE_CREATE_CSR)
		pool->created++;
	else if (job->destroyed)
		pool->destroyed++;
	wake_server(pool);
}

static void set_health_locked(struct worker_pool *pool, bool usable, const char *why_not)
{
	if (pool->usable != usable) {
		if (usable)
			log_notice("the token is usable again");
		else
			log_error("the token is not usable: %s", why_not);
	}
	pool->usable = usable;
	snprintf(pool->why_not, sizeof(pool->why_not), "%s", why_not);
}

static void work(struct worker *w, struct job *job)
{
	struct worker_pool *pool = w->pool;

	w->busy = true;
	w->type = job->type;
	w->since_ms = clock_ms();
	memcpy(w->csr_id, job->csr_id, sizeof(w->csr_id));
	pthread_mutex_unlock(&pool->lock);
	operation_run(&w->session, job);
	pthread_mutex_lock(&pool->lock);
	w->busy = false;
	w->csr_id[0] = '\0';
	if (job->result == E_OK)
		set_health_locked(pool, true, "");
	else if (w->session.handle == CK_INVALID_HANDLE)
		set_health_locked(pool, false, w->session.failure);
	finish_locked(pool, job);
}

static void probe(struct worker *w)
{
	struct worker_pool *pool = w->pool;
	enum err e;

	pool->probing = true;
	pthread_mutex_unlock(&pool->lock);
	e = session_probe(&w->session);
	if (e)
		session_close(&w->session);
	pthread_mutex_lock(&pool->lock);
	pool->probing = false;
	if (pool->draining)
		wake_server(pool); /* which waits for this one, too */
	pool->probed_ms = clock_ms();
	set_health_locked(pool, e == E_OK, e ? w->session.failure : "");
}

static uint64_t probe_interval(const struct worker_pool *pool)
{
	return pool->usable ? PROBE_EVERY_MS : PROBE_WHEN_DOWN_MS;
}

static void wait_for_work(struct worker_pool *pool)
{
	uint64_t ms = probe_interval(pool);
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_cond_timedwait(&pool->work, &pool->lock, &until);
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct worker_pool *pool = w->pool;

	pthread_mutex_lock(&pool->lock);
	while (!pool->stopping) {
		uint64_t now = clock_ms();
		struct job *job = list_take(&pool->waiting);

		if (job) {
			pool->waiting_len--;
			if (now > job->deadline_ms) {
				job_fail(job, E_TIMEOUT, "its time was up before a thread was free");
				finish_locked(pool, job);
			} else {
				work(w, job);
			}
		} else if (!pool->probing && now - pool->probed_ms >= probe_interval(pool)) {
			probe(w);
		} else {
			wait_for_work(pool);
		}
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* ---- life ---- */

static enum err init_locks(struct worker_pool *pool)
{
	pthread_condattr_t attributes;

	if (pthread_mutex_init(&pool->lock, NULL))
		return E_NOMEM;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	if (pthread_cond_init(&pool->work, &attributes)) {
		pthread_condattr_destroy(&attributes);
		pthread_mutex_destroy(&pool->lock);
		return E_NOMEM;
	}
	pthread_condattr_destroy(&attributes);
	pool->lock_made = true;
	return E_OK;
}

/* One after the other, and no further after the first that fails: a wrong PIN is tried once. */
static enum err open_sessions(struct worker_pool *pool, const struct worker_options *options)
{
	for (unsigned i = 0; i < pool->threads; i++) {
		struct worker *w = &pool->workers[i];
		enum err e;

		w->pool = pool;
		session_init(&w->session, options->token, options->login);
		e = session_open(&w->session);
		if (e) {
			log_error("cannot open session %u of %u on token '%s': %s", i + 1, pool->threads,
				  options->token->label, w->session.failure);
			pool->threads = i; /* the sessions that there are to close */
			return e;
		}
	}
	return E_OK;
}

enum err worker_pool_new(const struct worker_options *options, struct worker_pool **ret_pool)
{
	struct worker_pool *pool = calloc(1, sizeof(*pool) + options->threads * sizeof(pool->workers[0]));
	enum err e;

	if (!pool)
		return E_NOMEM;
	pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool->queue_max = options->queue_max;
	pool->threads = options->threads;
	pool->usable = true;
	pool->probed_ms = clock_ms();
	list_init(&pool->waiting);
	list_init(&pool->done);
	e = pool->wake_fd < 0 ? E_IO : init_locks(pool);
	if (e)
		pool->threads = 0;
	else
		e = open_sessions(pool, options);
	if (e) {
		worker_pool_free(pool);
		return e;
	}
	*ret_pool = pool;
	return E_OK;
}

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
	if (pool->lock_made) {
		pthread_mutex_lock(&pool->lock);
		pool->stopping = true;
		pthread_cond_broadcast(&pool->work);
		pthread_mutex_unlock(&pool->lock);
	}
	for (unsigned i = 0; i < pool->threads; i++) {
		if (pool->workers[i].started)
			pthread_join(pool->workers[i].thread, NULL);
		session_close(&pool->workers[i].session);
	}
	if (pool->lock_made) {
		pthread_cond_destroy(&pool->work);
		pthread_mutex_destroy(&pool->lock);
	}
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

static bool csr_is_taken_locked(const struct worker_pool *pool, const char *csr_id)
{
	if (!csr_id[0])
		return false;
	for (unsigned i = 0; i < pool->threads; i++)
		if (pool->workers[i].busy && strcmp(pool->workers[i].csr_id, csr_id) == 0)
			return true;
	for (const struct job *job = pool->waiting.first; job; job = job->next)
		if (strcmp(job->csr_id, csr_id) == 0)
			return true;
	return false;
}

enum err worker_pool_submit(struct worker_pool *pool, struct job *job, const char **ret_reason)
{
	enum err e = E_OK;

	pthread_mutex_lock(&pool->lock);
	if (pool->draining) {
		*ret_reason = "the signer is stopping";
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
		pthread_cond_signal(&pool->work);
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
	pthread_mutex_unlock(&pool->lock);
	free_list(&dropped);
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

static bool is_any(const struct job *job, uint64_t arg)
{
	(void)job;
	(void)arg;
	return true;
}

void worker_pool_drain(struct worker_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->draining = true;
	end_waiting_locked(pool, is_any, 0, E_UNAVAIL, "the signer is stopping");
	pthread_mutex_unlock(&pool->lock);
}

static unsigned busy_locked(const struct worker_pool *pool, uint64_t now_ms, uint64_t *ret_shortest_ms)
{
	uint64_t shortest = UINT64_MAX;
	unsigned busy = 0;

	for (unsigned i = 0; i < pool->threads; i++) {
		const struct worker *w = &pool->workers[i];
		uint64_t age = w->busy && now_ms > w->since_ms ? now_ms - w->since_ms : 0;

		busy += w->busy;
		if (age < shortest)
			shortest = age;
	}
	*ret_shortest_ms = shortest;
	return busy;
}

bool worker_pool_is_idle(struct worker_pool *pool)
{
	uint64_t shortest;
	bool idle;

	pthread_mutex_lock(&pool->lock);
	idle = !pool->waiting.first && !pool->done.first && !pool->probing &&
	       busy_locked(pool, 0, &shortest) == 0;
	pthread_mutex_unlock(&pool->lock);
	return idle;
}

void worker_pool_status(struct worker_pool *pool, uint64_t now_ms, struct message_status_reply *reply)
{
	uint64_t shortest;
	char stuck[128];
	const char *detail;

	pthread_mutex_lock(&pool->lock);
	reply->threads = pool->threads;
	reply->busy = busy_locked(pool, now_ms, &shortest);
	reply->queued = (uint32_t)pool->waiting_len;
	reply->created = pool->created;
	reply->destroyed = pool->destroyed;
	reply->failed = pool->failed;
	reply->usable = pool->usable && shortest < STUCK_AFTER_MS;
	detail = pool->why_not;
	if (pool->usable && !reply->usable) {
		snprintf(stuck, sizeof(stuck), "every thread waits for the token since %llu s or more",
			 (unsigned long long)shortest / 1000);
		detail = stuck;
	}
	reply->detail = strdup(detail);
	pthread_mutex_unlock(&pool->lock);
}
