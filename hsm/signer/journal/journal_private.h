/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's inside.  Private to journal.c, journal_open.c and journal_steps.c. */
#ifndef CSRD_HSM_SIGNER_JOURNAL_JOURNAL_PRIVATE_H
#define CSRD_HSM_SIGNER_JOURNAL_JOURNAL_PRIVATE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/node.h"
#include "hsm/signer/journal/entry.h"
#include "hsm/signer/journal/journal.h"
#include "hsm/signer/journal/names.h"
#include "hsm/signer/journal/tail.h"
#include "hsm/signer/token/state_dir.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define JOURNAL_LIVE_NAME "live"

struct append; /* a call that waits */
STAILQ_HEAD(append_list, append);

struct journal {
	char node[NODE_NAME_MAX + 1];
	struct state_dir *dir;
	int lock_fd;

	/*
	 * `writing` marks the one thread that is about to write for all.  The
	 * tail and the head are changed by it alone, and only under the lock;
	 * without the lock it works on the tail's file.
	 */
	pthread_mutex_t lock;
	pthread_cond_t moved; /* an append is done, or nobody is writing any more */
	struct append_list queue;
	bool writing;
	struct tail tail;
	uint8_t head[JOURNAL_HASH_BYTES]; /* leaf hash of the last entry */
	struct names *names;
	bool is_down; /* and it was logged */
};

/* Writes the snapshot for what there is; no thread may be writing but the caller.  Logs what fails. */
void journal_keep_names(struct journal *j, bool clean);

/* Checks the step, gives the entry node, time and place, and returns when it is durable: see journal.h. */
MUST_USE enum err journal_append(struct journal *j, struct journal_entry *entry, uint64_t *ret_index);
/*
 * The same for up to APPEND_MAX entries, whose names all differ: none is claimed unless all are, and they are
 * queued together.  They may be written by two writes, of which the second may fail.  ret_index: the last
 * one's.
 */
#define APPEND_MAX 4
MUST_USE enum err journal_append_all(struct journal *j, struct journal_entry *entries, size_t len,
				     uint64_t *ret_index);

/*
 * For an entry `made` and the entry `used` of the same name, which are queued together.  They may still be
 * written by two writes, of which the second may fail.
 */
MUST_USE enum err journal_append_both(struct journal *j, struct journal_entry *made,
				      struct journal_entry *used, uint64_t *ret_index);

/* It cannot be written, and errno says why: once for each outage. */
void journal_say_down(struct journal *j, enum err e);

/* Everything but the files' content; no lock is held. */
void journal_free(struct journal *j);

#endif
