/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue and the threads that work on it, each with a session of its own, and the clerk (clerk.h).
 * All functions here are called from one thread, the server's.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_WORKERS_H
#define CSRD_HSM_SIGNER_SERVE_WORKERS_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/message.h"
#include "hsm/signer/serve/job.h"
#include "hsm/signer/serve/stores.h"
#include "hsm/signer/stock/book.h"
#include "hsm/signer/token/gate.h"
#include "hsm/signer/token/judge.h"
#include "hsm/signer/token/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKER_THREADS_MAX 64

struct workers;
struct worker_options {
	const struct token *token; /* borrowed */
	struct gate *gate;         /* borrowed */
	struct judge *judge;       /* borrowed */
	uint64_t keep_alive_ms;    /* how often an idle session is used */
	struct book *book;         /* borrowed */
	struct stores *stores;     /* borrowed; ready when the first job is submitted */
	unsigned threads;          /* 1 … WORKER_THREADS_MAX */
	size_t queue_max;          /* jobs that wait */
};

/*
 * Opens all sessions, or as many as the token grants, which logs in, and
 * takes a first look at the token (judge_repair), which SIGTERM and SIGINT,
 * which are blocked, end early.  Logs what fails.  As session_open; E_IO, E_NOMEM.
 */
MUST_USE enum err workers_new(const struct worker_options *options, struct workers **ret_workers);

/* Starts the threads; signals must be blocked already.  E_IO. */
MUST_USE enum err workers_start(struct workers *workers);

/* Stops the threads and closes the sessions; nothing may be at work.  NULL is fine. */
void workers_free(struct workers *workers);

/* Readable when finished jobs wait to be taken. */
int workers_fd(const struct workers *workers);

/*
 * Takes the job on success.  E_BUSY: the queue is full, or a job of the same
 * CSR or key, other than INSPECT_KEY, waits or is at work; E_UNAVAIL: the workers are
 * draining, or the token is down and the job is not for the clerk.  *ret_reason is good until the next call.
 */
MUST_USE enum err workers_submit(struct workers *workers, struct job *job, const char **ret_reason);

/* Finished jobs in the order in which they ended; owned by the caller; NULL when there is none. */
struct job *workers_take_done(struct workers *workers);

/* Forgets the waiting jobs of a connection; those in progress go on, except a list. */
void workers_drop_connection(struct workers *workers, uint64_t connection);

/* Ends waiting jobs past their deadline with E_TIMEOUT; returns ms to the next deadline, -1 for none. */
int workers_expire(struct workers *workers, uint64_t now_ms);

/* Ends all waiting jobs with E_UNAVAIL and takes no more; work that no caller waits for is aborted. */
void workers_drain(struct workers *workers);

/* After the drain, when nobody is at work: the token is told which keys are ready.  Logs what fails. */
void workers_end_stock(struct workers *workers);

/* No job waits or is at work, and none is still to be taken. */
bool workers_is_idle(struct workers *workers);

/* As workers_is_idle, but that threads may be at work for themselves: the stock, a look at the token. */
bool workers_serves_nobody(struct workers *workers);

/* Fills all but key_types; texts are owned by the caller. */
void workers_status(struct workers *workers, uint64_t now_ms, struct message_status_reply *reply);

#endif
