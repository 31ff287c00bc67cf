/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the owner's thread and the database.
 *
 * An operation has one owner at any time: the caller's thread until it is
 * queued, a thread of the queue while it is in a batch, the caller's thread again
 * once it is on the list of finished ones.  The lock guards the lists and nothing
 * else, and is never held while the database or a callback runs.
 */
#include "store/queue.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "store/sql.h"
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH_MAX 256
#define DISPATCH_NS 5000000 /* callbacks of one queue_dispatch: the loop has others to serve */

STAILQ_HEAD(op_list, store_op);

/* What waits for the same threads. */
struct lane {
	struct op_list queued;
	unsigned len;
	unsigned idle; /* threads that wait for work */
	unsigned batch_max;
	pthread_cond_t work;
};

struct worker {
	struct queue *queue;
	struct lane *lane;
	struct sql *sql;
	pthread_t thread;
	uint64_t since_ms; /* under the lock: when it began what it does; 0: nothing */
};

struct queue {
	unsigned max;
	int wake_fd;                                  /* eventfd: readable while `finished` is not empty */
	struct worker workers[1 + QUEUE_READERS_MAX]; /* the first one writes */
	unsigned workers_len;                         /* that run */
	bool has_readers;
	bool write_failed; /* the last write did; the writing thread's */

	pthread_mutex_t lock; /* of these */
	struct lane writes;
	struct lane reads;
	struct op_list finished;
	bool closing;
	struct metric_times commits;

	void (*on_commit)(void *arg); /* owner's thread only, these too */
	void *on_commit_arg;
	struct metric_times read_times;
	struct metric_times write_times;
	uint64_t failed;
};

/* ---- to and from the threads ---- */

/* Hands operations back to the owner, who was told already when earlier ones wait for it. */
static void queue_finish_locked(struct queue *queue, struct op_list *done)
{
	bool told = !STAILQ_EMPTY(&queue->finished);
	uint64_t one = 1;
	ssize_t n = 0;

	STAILQ_CONCAT(&queue->finished, done);
	if (!told)
		n = write(queue->wake_fd, &one, sizeof(one));
	(void)n; /* cannot be full: queue_dispatch reads it when it empties `finished` */
}

/*
 * A thread is woken outside the lock, or it would wake only to wait for it; one
 * that works needs no waking.
 */
void queue_submit(struct queue *queue, struct store_op *op)
{
	struct lane *lane = op->kind == STORE_OP_READS && queue->has_readers ? &queue->reads : &queue->writes;
	struct op_list refused = STAILQ_HEAD_INITIALIZER(refused);
	uint64_t now_ns = clock_ns();
	bool wake = false;

	pthread_mutex_lock(&queue->lock);
	if (op->e == E_OK && queue->closing)
		op->e = E_UNAVAIL;
	if (op->e == E_OK && lane->len >= queue->max)
		op->e = E_BUSY;
	if (op->e == E_OK) {
		op->queued_ns = now_ns;
		STAILQ_INSERT_TAIL(&lane->queued, op, next);
		lane->len++;
		wake = lane->idle > 0;
	} else {
		STAILQ_INSERT_TAIL(&refused, op, next);
		queue_finish_locked(queue, &refused);
	}
	pthread_mutex_unlock(&queue->lock);
	if (wake)
		pthread_cond_signal(&lane->work);
}

int queue_fd(const struct queue *queue)
{
	return queue->wake_fd;
}

/* Whether the database is to blame, and not what was asked of it. */
static bool queue_is_outage(enum err e)
{
	switch (e) {
	case E_STORE:
	case E_BUSY:
	case E_UNAVAIL:
	case E_UNCERTAIN:
	case E_IO:
		return true;
	default:
		return false;
	}
}

static void queue_count(struct queue *queue, const struct store_op *op, uint64_t now_ns)
{
	if (queue_is_outage(op->e))
		queue->failed++;
	if (op->queued_ns == 0 || op->kind == STORE_OP_PROBES)
		return;
	metric_times_add(op->kind == STORE_OP_WRITES ? &queue->write_times : &queue->read_times,
			 now_ns - op->queued_ns);
}

void queue_dispatch(struct queue *queue)
{
	uint64_t started_ns = clock_ns(), now_ns;
	struct op_list finished = STAILQ_HEAD_INITIALIZER(finished);
	struct store_op *op;
	bool committed = false;
	uint64_t count;

	pthread_mutex_lock(&queue->lock);
	ssize_t n = read(queue->wake_fd, &count, sizeof(count));
	(void)n; /* EAGAIN: called without need */
	STAILQ_CONCAT(&finished, &queue->finished);
	pthread_mutex_unlock(&queue->lock);

	while ((op = STAILQ_FIRST(&finished)) && (now_ns = clock_ns()) - started_ns <= DISPATCH_NS) {
		STAILQ_REMOVE_HEAD(&finished, next);
		queue_count(queue, op, now_ns);
		committed = committed || (op->kind == STORE_OP_WRITES && op->e == E_OK);
		op->finish(op);
	}
	if (committed && queue->on_commit)
		queue->on_commit(queue->on_commit_arg);
	if (STAILQ_EMPTY(&finished))
		return;
	pthread_mutex_lock(&queue->lock);
	STAILQ_CONCAT(&finished, &queue->finished);
	queue_finish_locked(queue, &finished);
	pthread_mutex_unlock(&queue->lock);
}

void queue_on_commit(struct queue *queue, void (*on_commit)(void *arg), void *arg)
{
	queue->on_commit = on_commit;
	queue->on_commit_arg = arg;
}

unsigned queue_waiting(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	unsigned len = queue->writes.len + queue->reads.len;
	pthread_mutex_unlock(&queue->lock);
	return len;
}

void queue_figures(struct queue *queue, struct store_figures *ret_figures)
{
	ret_figures->reads = queue->read_times;
	ret_figures->writes = queue->write_times;
	ret_figures->failed = queue->failed;
	pthread_mutex_lock(&queue->lock);
	ret_figures->commits = queue->commits;
	pthread_mutex_unlock(&queue->lock);
}

uint64_t queue_at_work_ms(struct queue *queue)
{
	uint64_t now_ms = clock_ms(), longest = 0;

	pthread_mutex_lock(&queue->lock);
	for (unsigned i = 0; i < queue->workers_len; i++) {
		uint64_t since_ms = queue->workers[i].since_ms;

		if (since_ms != 0 && now_ms > since_ms && now_ms - since_ms > longest)
			longest = now_ms - since_ms;
	}
	pthread_mutex_unlock(&queue->lock);
	return longest;
}

/* ---- one batch ---- */

static enum err batch_run_guarded(struct sql *sql, struct store_op *op)
{
	enum err e = sql_guard(sql, SQL_GUARD_SET);
	if (e != E_OK)
		return e;
	op->e = op->run(op, sql);
	return sql_guard(sql, op->e == E_OK ? SQL_GUARD_KEEP : SQL_GUARD_UNDO);
}

/* What writes, or what does not, in one transaction. */
static enum err batch_run_transaction(struct sql *sql, const struct op_list *batch, bool writes)
{
	enum err e = sql_begin(sql, writes);
	struct store_op *op;

	if (e != E_OK)
		return e;
	STAILQ_FOREACH (op, batch, next) {
		if (e != E_OK)
			break;
		if ((op->kind == STORE_OP_WRITES) != writes)
			continue;
		if (writes)
			e = batch_run_guarded(sql, op);
		else
			op->e = op->run(op, sql);
	}
	if (e == E_OK)
		return sql_end(sql, true);
	enum err ignored = sql_end(sql, false);
	(void)ignored;
	return e;
}

/*
 * When a transaction cannot be had, or is lost, all that was to be done in it fails.  False: there was
 * nothing to do.
 */
static bool batch_run(struct sql *sql, const struct op_list *batch, bool writes)
{
	struct store_op *op;
	bool any = false;

	STAILQ_FOREACH (op, batch, next)
		any = any || (op->kind == STORE_OP_WRITES) == writes;
	enum err e = any ? batch_run_transaction(sql, batch, writes) : E_OK;
	if (e == E_OK)
		return any;
	STAILQ_FOREACH (op, batch, next) {
		if ((op->kind == STORE_OP_WRITES) == writes)
			op->e = e;
	}
	return any;
}

static void queue_note_writes(struct queue *queue, const struct op_list *batch)
{
	bool done = false, failed = false;
	const struct store_op *op;

	STAILQ_FOREACH (op, batch, next) {
		if (op->kind != STORE_OP_WRITES)
			continue;
		done = done || op->e == E_OK;
		failed = failed || queue_is_outage(op->e);
	}
	if (done || failed)
		queue->write_failed = failed;
}

/* After a write that failed a probe finds out whether that is over: nobody else may write for a long time. */
static void queue_settle_probes(struct queue *queue, struct sql *sql, const struct op_list *batch)
{
	struct store_op *op;

	STAILQ_FOREACH (op, batch, next) {
		if (op->kind != STORE_OP_PROBES || op->e != E_OK || !queue->write_failed)
			continue;
		op->e = sql_try_write(sql);
		if (op->e == E_OK)
			queue->write_failed = false;
	}
}

static void worker_write(struct worker *worker, const struct op_list *batch)
{
	struct queue *queue = worker->queue;
	uint64_t began_ns = clock_ns();

	FAILPOINT("store.batch");
	if (!batch_run(worker->sql, batch, true))
		return;
	pthread_mutex_lock(&queue->lock);
	metric_times_add(&queue->commits, clock_ns() - began_ns);
	pthread_mutex_unlock(&queue->lock);
	queue_note_writes(queue, batch);
}

static void worker_run(struct worker *worker, const struct op_list *batch)
{
	if (worker->lane == &worker->queue->writes)
		worker_write(worker, batch);
	(void)batch_run(worker->sql, batch, false);
	if (worker->lane == &worker->queue->writes)
		queue_settle_probes(worker->queue, worker->sql, batch);
}

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;
	struct queue *queue = worker->queue;
	struct lane *lane = worker->lane;
	struct op_list batch = STAILQ_HEAD_INITIALIZER(batch);

	pthread_mutex_lock(&queue->lock);
	for (;;) {
		while (lane->len == 0 && !queue->closing) {
			lane->idle++;
			pthread_cond_wait(&lane->work, &queue->lock);
			lane->idle--;
		}
		if (lane->len == 0)
			break;
		for (unsigned i = 0; lane->len > 0 && i < lane->batch_max; i++) {
			struct store_op *op = STAILQ_FIRST(&lane->queued);

			STAILQ_REMOVE_HEAD(&lane->queued, next);
			STAILQ_INSERT_TAIL(&batch, op, next);
			lane->len--;
		}
		worker->since_ms = clock_ms();
		pthread_mutex_unlock(&queue->lock);

		worker_run(worker, &batch);

		pthread_mutex_lock(&queue->lock);
		worker->since_ms = 0;
		queue_finish_locked(queue, &batch);
	}
	pthread_mutex_unlock(&queue->lock);
	return NULL;
}

/* ---- the whole of it ---- */

static void lane_init(struct lane *lane, unsigned batch_max)
{
	STAILQ_INIT(&lane->queued);
	lane->batch_max = batch_max;
	pthread_cond_init(&lane->work, NULL);
}

static enum err queue_start_worker(struct queue *queue, struct lane *lane, struct sql *sql, const char *name)
{
	struct worker *worker = &queue->workers[queue->workers_len];

	worker->queue = queue;
	worker->lane = lane;
	worker->sql = sql;
	enum err e = thread_start(name, worker_thread, worker, &worker->thread);
	if (e != E_OK) {
		log_error("cannot start the store thread: %s", strerror(errno));
		return e;
	}
	pthread_mutex_lock(&queue->lock);
	queue->workers_len++;
	pthread_mutex_unlock(&queue->lock);
	return E_OK;
}

enum err queue_new(const struct queue_options *options, struct queue **ret_queue)
{
	struct queue *queue = calloc(1, sizeof(*queue));
	enum err e = E_OK;

	if (!queue)
		return E_NOMEM;
	queue->max = options->max;
	queue->has_readers = options->readers_len > 0;
	STAILQ_INIT(&queue->finished);
	lane_init(&queue->writes, BATCH_MAX);
	lane_init(&queue->reads,
		  1); /* or what is quick would wait for what is long, beside a thread that is idle */
	pthread_mutex_init(&queue->lock, NULL);
	queue->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->wake_fd < 0) {
		log_error("cannot make an eventfd for the store: %s", strerror(errno));
		e = E_IO;
	}
	if (e == E_OK)
		e = queue_start_worker(queue, &queue->writes, options->writer, "store");
	for (unsigned i = 0; e == E_OK && i < options->readers_len; i++)
		e = queue_start_worker(queue, &queue->reads, options->readers[i], "store-read");
	if (e == E_OK)
		*ret_queue = queue;
	else
		queue_free(queue);
	return e;
}

void queue_free(struct queue *queue)
{
	bool more = true;

	if (!queue)
		return;
	pthread_mutex_lock(&queue->lock);
	queue->closing = true;
	pthread_cond_broadcast(&queue->writes.work);
	pthread_cond_broadcast(&queue->reads.work);
	pthread_mutex_unlock(&queue->lock);
	for (unsigned i = 0; i < queue->workers_len; i++)
		pthread_join(queue->workers[i].thread, NULL);
	while (more) {
		queue_dispatch(queue);
		pthread_mutex_lock(&queue->lock);
		more = !STAILQ_EMPTY(&queue->finished);
		pthread_mutex_unlock(&queue->lock);
	}
	fd_close(&queue->wake_fd);
	pthread_cond_destroy(&queue->writes.work);
	pthread_cond_destroy(&queue->reads.work);
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}
