/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to worker.c, workers.c and clerk.c.
 *
 * The threads as each of them (worker.c) and all of them together (workers.c)
 * see them.  _locked: the lock of the workers is held.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_WORKERS_PRIVATE_H
#define CSRD_HSM_SIGNER_SERVE_WORKERS_PRIVATE_H

#include "base/log.h"
#include "hsm/signer/serve/job_queue.h"
#include "hsm/signer/serve/workers.h"
#include "hsm/signer/token/session.h"

#include <pthread.h>
#include <stdatomic.h>

struct worker {
	struct workers *workers;
	struct session session;
	pthread_t thread;
	bool started;

	/* under the lock of the workers: what it is at, since when */
	bool busy;
	enum message_type type;
	char subject[KEY_LABEL_SIZE]; /* job_subject */
	uint64_t since_ms;
	uint64_t used_ms;    /* when its session was last used */
	struct job *job;     /* NULL: none */
	bool sessionless;    /* the token has no session to spare for it: it takes no jobs */
	uint64_t open_at_ms; /* then: when it tries again, … */
	uint64_t open_every_ms;
};

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t work;
	int wake_fd;
	size_t queue_max;
	struct gate *gate;
	struct judge *judge;
	uint64_t keep_alive_ms;
	char refusal[TOKEN_REASON_SIZE]; /* the server's: why the last job was refused */
	struct book *book;
	struct stock *stock; /* the book's: made ahead */

	/* under the lock */
	struct job_queue queue;
	bool draining;
	bool stopping;
	atomic_bool break_off;  /* what no caller waits for; read without the lock */
	unsigned tending;       /* threads that look after the token, or the journal */
	uint64_t journal_at_ms; /* no try to write it before, while it is down */

	struct job_list errands; /* of the clerk's, that wait */
	size_t errands_len;      /* with the one that it is at */
	bool on_errand;

	pthread_cond_t errand;
	pthread_t clerk;
	bool has_clerk;
	struct stores *stores;     /* the clerk's to write */
	struct log_gate note_gate; /* the clerk's */

	unsigned threads;
	struct worker each[];
};

/* ---- worker.c ---- */

void *worker_run(void *worker); /* its thread */
/* Before its thread runs: the token has no session for it, which is tried again later. */
void worker_begin_sessionless(struct worker *w);

/* ---- workers.c ---- */

void workers_wake_server(struct workers *workers);
/* Wakes one who may take what has come to wait. */
void workers_wake_locked(struct workers *workers);
/* How many threads have a session. */
unsigned workers_able_locked(const struct workers *workers);
/* Whether it needs a new key: a ready one can be claimed of a token that makes none, because it is full. */
bool workers_makes_key(const struct workers *workers, const struct job *job);

/* NULL: nothing waits that another may take now. */
struct job *workers_take_job_locked(struct workers *workers);
/* Takes the job. */
void workers_finish_locked(struct workers *workers, struct job *job);
/* What waits and cannot be done fails at once. */
void workers_end_refused_locked(struct workers *workers);

#endif
