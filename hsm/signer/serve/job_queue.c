/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of jobs. */
#include "hsm/signer/serve/job_queue.h"

#include <string.h>

void job_queue_init(struct job_queue *queue)
{
	memset(queue, 0, sizeof(*queue));
	TAILQ_INIT(&queue->waiting);
	TAILQ_INIT(&queue->done);
}

void job_queue_release(struct job_queue *queue)
{
	job_list_free(&queue->waiting);
	job_list_free(&queue->done);
}

/* ---- waiting ---- */

void job_queue_put(struct job_queue *queue, struct job *job)
{
	TAILQ_INSERT_TAIL(&queue->waiting, job, next);
	queue->waiting_len++;
}

void job_queue_put_back(struct job_queue *queue, struct job *job)
{
	TAILQ_INSERT_HEAD(&queue->waiting, job, next);
	queue->waiting_len++;
}

static void job_queue_remove(struct job_queue *queue, struct job *job)
{
	TAILQ_REMOVE(&queue->waiting, job, next);
	queue->waiting_len--;
}

struct job *job_queue_take(struct job_queue *queue, bool creates_only, bool no_lists)
{
	struct job *job;

	TAILQ_FOREACH (job, &queue->waiting, next) {
		if (creates_only ? job->type != MESSAGE_CREATE_CSR : no_lists && job_is_list(job))
			continue;
		job_queue_remove(queue, job);
		return job;
	}
	return NULL;
}

void job_queue_move_if(struct job_queue *queue, job_pick_fn pick, const void *arg, struct job_list *to)
{
	struct job *job, *next;

	for (job = TAILQ_FIRST(&queue->waiting); job; job = next) {
		next = TAILQ_NEXT(job, next);
		if (!pick(job, arg))
			continue;
		job_queue_remove(queue, job);
		TAILQ_INSERT_TAIL(to, job, next);
	}
}

bool job_queue_fail_if(struct job_queue *queue, job_pick_fn pick, const void *arg, enum err e,
		       const char *detail)
{
	struct job_list failed = TAILQ_HEAD_INITIALIZER(failed);
	bool wake = false;
	struct job *job;

	job_queue_move_if(queue, pick, arg, &failed);
	while ((job = TAILQ_FIRST(&failed))) {
		TAILQ_REMOVE(&failed, job, next);
		job_fail(job, e, detail);
		wake |= job_queue_finish(queue, job);
	}
	return wake;
}

bool job_queue_changes(const struct job_queue *queue, const char *subject)
{
	const struct job *job;

	TAILQ_FOREACH (job, &queue->waiting, next)
		if (job->type != MESSAGE_INSPECT_KEY && strcmp(job_subject(job), subject) == 0)
			return true;
	return false;
}

uint64_t job_queue_deadline_ms(const struct job_queue *queue)
{
	uint64_t first = UINT64_MAX;
	const struct job *job;

	TAILQ_FOREACH (job, &queue->waiting, next)
		if (job->deadline_ms < first)
			first = job->deadline_ms;
	return first;
}

/* ---- done ---- */

bool job_queue_finish(struct job_queue *queue, struct job *job)
{
	bool first = TAILQ_EMPTY(&queue->done);

	TAILQ_INSERT_TAIL(&queue->done, job, next);
	if (job->result != E_OK)
		queue->failed++;
	else if (job->type == MESSAGE_CREATE_CSR)
		queue->created++;
	else if (job->type == MESSAGE_DESTROY_KEY && job->destroyed)
		queue->destroyed++;
	return first;
}

struct job *job_queue_take_done(struct job_queue *queue)
{
	struct job *job = TAILQ_FIRST(&queue->done);

	if (job)
		TAILQ_REMOVE(&queue->done, job, next);
	return job;
}

bool job_queue_is_empty(const struct job_queue *queue)
{
	return TAILQ_EMPTY(&queue->waiting) && TAILQ_EMPTY(&queue->done);
}
