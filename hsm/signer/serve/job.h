/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on its way from a connection through the queue to a worker and
 * back.  It has one owner at a time: the server, the queue, a worker, the server.
 */
#ifndef CSRD_HSM_SIGNER_SERVE_JOB_H
#define CSRD_HSM_SIGNER_SERVE_JOB_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "hsm/message.h"
#include "hsm/signer/key/inventory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct job {
	TAILQ_ENTRY(job) next; /* of whoever owns it */

	uint64_t connection; /* its id: never used twice */
	uint32_t request_id;
	enum message_type type;          /* one that is for a worker (operation.c) or the clerk (clerk.c) */
	uint64_t deadline_ms;            /* clock_ms(); past it, it is not begun */
	char csr_id[CSR_ID_SIZE];        /* CREATE_CSR, else "" */
	char label[KEY_LABEL_SIZE];      /* of the key: DESTROY_KEY, FIND_KEY and INSPECT_KEY, else "" */
	char node[MESSAGE_NODE_MAX + 1]; /* DESTROY_POOL */
	struct csr_spec spec;            /* CREATE_CSR */
	struct message_confirm confirm;  /* CONFIRM */
	struct message_store store;      /* NOTE_STORE */
	atomic_bool gone; /* its connection is gone: set by the server, read by whoever works on it */

	/* the answer */
	enum err result;
	struct buf reply;           /* payload; empty for a list that succeeded */
	struct inventory inventory; /* LIST_KEYS */
	size_t inventory_at;
	uint32_t destroyed; /* objects, DESTROY_KEY and DESTROY_POOL */
};
TAILQ_HEAD(job_list, job);

/* Goes over the whole token: one at a time, and no longer than its client waits. */
static inline bool job_is_list(const struct job *job)
{
	return job->type == MESSAGE_LIST_KEYS || job->type == MESSAGE_LIST_POOLS;
}

/* What it is about, and no other job at the same time: its CSR, or its key; "": neither. */
static inline const char *job_subject(const struct job *job)
{
	return job->label[0] ? job->label : job->csr_id;
}

struct job *job_new(uint64_t connection, uint32_t request_id,
		    enum message_type type); /* NULL: out of memory */
void job_free(struct job *job);              /* NULL is fine */
void job_list_free(struct job_list *list);   /* with the jobs in it */

/* Makes the reply an error; code is one of those of struct message_error. */
void job_fail(struct job *job, enum err code, const char *detail);

#endif
