/* SPDX-License-Identifier: Apache-2.0 */
/* A request and its answer. */
#include "hsm/signer/serve/job.h"

#include "hsm/frame.h"

#include <stdlib.h>

struct job *job_new(uint64_t connection, uint32_t request_id, enum message_type type)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->connection = connection;
	job->request_id = request_id;
	job->type = type;
	buf_init(&job->reply, FRAME_PAYLOAD_MAX);
	return job;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	csr_spec_release(&job->spec);
	message_confirm_release(&job->confirm);
	buf_release(&job->reply);
	inventory_release(&job->inventory);
	free(job);
}

void job_list_free(struct job_list *list)
{
	struct job *job;

	while ((job = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, job, next);
		job_free(job);
	}
}

void job_fail(struct job *job, enum err code, const char *detail)
{
	/* The encoder only reads it. */
	struct message_error m = {.code = code, .detail = (char *)(uintptr_t)detail};

	job->result = code;
	buf_reset(&job->reply);
	message_error_encode(&job->reply, &m);
}
