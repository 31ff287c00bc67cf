/*
 * The queue and the threads that work on it, each with a session of its own.
 * All functions here are called from one thread, the server's.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_WORKER_H
#define CSRD_HSM_SIGNER_SERVE_WORKER_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/message.h"
#include "hsm/signer/serve/job.h"
#include "hsm/signer/stock/pool.h"
#include "hsm/signer/token/gate.h"
#include "hsm/signer/token/judge.h"
#include "hsm/signer/token/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKER_THREADS_MAX 64

struct worker_pool;
struct worker_options {
	const struct token *token; /* borrowed */
	struct gate *gate;         /* borrowed */
	struct judge *judge;       /* borrowed */
	uint64_t keep_alive_ms;    /* how often an idle session is used */
	struct pool *pool;         /* borrowed; NULL: no key pool */
	unsigned threads;          /* 1 … WORKER_THREADS_MAX */
	size_t queue_max;          /* jobs that wait */
};

/*
 * Opens all sessions, or as many as the token grants, which logs in, and
 * takes a first look at the token (judge_repair), which SIGTERM and SIGINT,
 * which are blocked, end early.  Logs what fails.  As session_open; E_IO, E_NOMEM.
 */
MUST_USE enum err worker_pool_new(const struct worker_options *options, struct worker_pool **ret_pool);

/* Starts the threads; signals must be blocked already.  E_IO. */
MUST_USE enum err worker_pool_start(struct worker_pool *pool);

/* Stops the threads and closes the sessions; nothing may be at work.  NULL is fine. */
void worker_pool_free(struct worker_pool *pool);

/* Readable when finished jobs wait to be taken. */
int worker_pool_fd(const struct worker_pool *pool);

/*
 * Takes the job on success.  E_BUSY: the queue is full, or a job of the same
 * CSR, other than INSPECT_KEY, waits or is at work; E_UNAVAIL: the pool is
 * draining, or the token is down.  *ret_reason is good until the next call.
 */
MUST_USE enum err worker_pool_submit(struct worker_pool *pool, struct job *job, const char **ret_reason);

/* Finished jobs in the order in which they ended; owned by the caller; NULL when there is none. */
struct job *worker_pool_take_done(struct worker_pool *pool);

/* Forgets the waiting jobs of a connection; those in progress go on, except a list. */
void worker_pool_drop_connection(struct worker_pool *pool, uint64_t connection);

/* Ends waiting jobs past their deadline with E_TIMEOUT; returns ms to the next deadline, -1 for none. */
int worker_pool_expire(struct worker_pool *pool, uint64_t now_ms);

/* Ends all waiting jobs with E_UNAVAIL and takes no more; work that no caller waits for is aborted. */
void worker_pool_drain(struct worker_pool *pool);

/* No job waits or is at work, and none is still to be taken. */
bool worker_pool_is_idle(struct worker_pool *pool);

/* As worker_pool_is_idle, but threads may be busy for themselves: a key pool, a check of the token. */
bool worker_pool_serves_nobody(struct worker_pool *pool);

/* Fills all but key_types; texts are owned by the caller. */
void worker_pool_status(struct worker_pool *pool, uint64_t now_ms, struct message_status_reply *reply);

#endif
