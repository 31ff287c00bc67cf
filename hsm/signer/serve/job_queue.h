/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that wait for a thread, those that are done and wait to be taken by the
 * server, and how the done ones ended.  It knows no threads: whoever has it
 * keeps a lock around it.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_JOB_QUEUE_H
#define CSRD_HSM_SIGNER_SERVE_JOB_QUEUE_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/signer/serve/job.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job_queue {
	struct job_list waiting; /* in the order in which they are taken */
	struct job_list done;    /* in the order in which they ended */
	size_t waiting_len;
	uint64_t created; /* of those that were done */
	uint64_t destroyed;
	uint64_t failed;
};

typedef bool (*job_pick_fn)(const struct job *job, const void *arg);

void job_queue_init(struct job_queue *queue);
void job_queue_release(struct job_queue *queue);

/* Takes the job. */
void job_queue_put(struct job_queue *queue, struct job *job);
/* One that was taken and not begun: it is the next again. */
void job_queue_put_back(struct job_queue *queue, struct job *job);
/*
 * The next in line, or NULL; owned by the caller.  creates_only: no others.
 * no_lists: the first that is not a list.
 */
struct job *job_queue_take(struct job_queue *queue, bool creates_only, bool no_lists);

/* Takes the job.  True: nothing waited to be taken before, so whoever takes it is to be woken. */
MUST_USE bool job_queue_finish(struct job_queue *queue, struct job *job);
struct job *job_queue_take_done(struct job_queue *queue); /* owned by the caller; NULL: none */

/* Those for which `pick` says yes wait no more and are appended to `to`. */
void job_queue_move_if(struct job_queue *queue, job_pick_fn pick, const void *arg, struct job_list *to);
/* They fail.  True: as job_queue_finish. */
MUST_USE bool job_queue_fail_if(struct job_queue *queue, job_pick_fn pick, const void *arg, enum err e,
				const char *detail);

/* Whether a job on that subject (job_subject) waits that changes it: any but INSPECT_KEY, which is in
 * nobody's way. */
bool job_queue_changes(const struct job_queue *queue, const char *subject);
/* The first deadline of those that wait; UINT64_MAX: none. */
uint64_t job_queue_deadline_ms(const struct job_queue *queue);
/* Nothing waits, and nothing is to be taken. */
bool job_queue_is_empty(const struct job_queue *queue);

#endif
