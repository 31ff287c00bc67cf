/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on a database, run by the queue's own threads.  It knows nothing more
 * about an operation than is declared here.
 *
 * One thread writes: pending operations are collected into one transaction (group
 * commit), so an operation that writes and ends with E_OK is durable.  The others
 * read, each on a connection of its own, one operation a transaction, so that no
 * read waits for a commit.  A read sees every write that was finished before it
 * was submitted.  Without readers the one thread reads, too.
 */
#ifndef CSRD_STORE_QUEUE_H
#define CSRD_STORE_QUEUE_H

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct queue;
struct sql;
struct store_figures;

enum store_op_kind {
	STORE_OP_READS = 1,
	STORE_OP_WRITES,
	STORE_OP_PROBES, /* reads, on the connection that writes; if its last write failed, that one tries
			    to write, too */
};

/*
 * Owned by the caller until it is submitted, then by the queue until `finish`, which
 * is called once, on the owner's thread, and takes it.  If `e` is set before it is
 * submitted, it ends with that error and is not run.  If it ends with an error,
 * nothing that `run` wrote was done, whatever `run` itself returned.
 */
struct store_op {
	STAILQ_ENTRY(store_op) next; /* the queue's */
	enum store_op_kind kind;
	enum err e;
	enum err (*run)(struct store_op *op, struct sql *sql); /* on a thread of the queue */
	void (*finish)(struct store_op *op);
	uint64_t queued_ns; /* the queue's: when it was; 0: it was refused */
};

#define QUEUE_READERS_MAX 16
struct queue_options {
	struct sql *writer; /* all connections are borrowed until queue_free */
	struct sql *const *readers;
	unsigned readers_len; /* ≤ QUEUE_READERS_MAX */
	unsigned max;         /* operations waiting to write, and as many waiting to read; past it E_BUSY */
};
/* E_IO (logged), E_NOMEM. */
MUST_USE enum err queue_new(const struct queue_options *options, struct queue **ret_queue);

/* Runs what is queued to its end and finishes it; what is submitted meanwhile ends with E_UNAVAIL. */
void queue_free(struct queue *queue);

void queue_submit(struct queue *queue, struct store_op *op);

int queue_fd(const struct queue *queue); /* borrowed; readable while queue_dispatch has work */
void queue_dispatch(struct queue *queue);
/* Called from queue_dispatch whenever something was committed.  Only one can be set; NULL: none. */
void queue_on_commit(struct queue *queue, void (*on_commit)(void *arg), void *arg);

unsigned queue_waiting(struct queue *queue); /* not those that are being run */
void queue_figures(struct queue *queue, struct store_figures *ret_figures);
uint64_t queue_at_work_ms(struct queue *queue); /* how long the slowest thread has been at its operation */

#endif
