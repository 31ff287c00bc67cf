/* SPDX-License-Identifier: Apache-2.0 */
/* The thread for requests that wait for the disk and need no token: what csrd has to say. */
#include "hsm/signer/serve/clerk.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "hsm/signer/serve/workers_private.h"

#include <errno.h>
#include <string.h>

#define NOTE_FAILED_EVERY_MS 60000

_Static_assert(MESSAGE_CONFIRM_MAX <= JOURNAL_END_MAX, "one write for a CONFIRM");

bool clerk_does(enum message_type type)
{
	return type == MESSAGE_CONFIRM || type == MESSAGE_NOTE_STORE;
}

/* ---- confirm ---- */

static int clerk_compare_labels(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those that are names of used keys, each once. */
static size_t clerk_find_used(struct journal *journal, const struct message_confirm *m,
			      const char *names[MESSAGE_CONFIRM_MAX])
{
	size_t len = 0, all = 0;

	for (size_t i = 0; i < m->labels_len; i++)
		names[all++] = m->labels[i];
	qsort(names, all, sizeof(names[0]), clerk_compare_labels);
	for (size_t i = 0; i < all; i++) {
		struct journal_key key;

		if (len && strcmp(names[len - 1], names[i]) == 0)
			continue;
		if (journal_find(journal, names[i], &key) == E_OK && key.state == JOURNAL_USED)
			names[len++] = names[i];
	}
	return len;
}

/* Somebody may destroy one meanwhile, and then none of them is bound: asked again it is passed over. */
static enum err clerk_end_names(struct journal *journal, const struct message_confirm *m)
{
	const char *names[MESSAGE_CONFIRM_MAX];
	enum err e;

	do {
		size_t len = clerk_find_used(journal, m, names);

		e = !len      ? E_OK
		    : m->kept ? journal_kept(journal, names, len, NULL)
			      : journal_bound(journal, names, len, NULL);
	} while (e == E_NOTFOUND);
	return e;
}

static void clerk_confirm(struct workers *workers, struct job *job)
{
	enum err e;

	FAILPOINT("signer.confirm.before-journal");
	e = clerk_end_names(book_journal(workers->book), &job->confirm);
	FAILPOINT("signer.confirm.before-reply");
	if (e != E_OK)
		job_fail(job, E_UNAVAIL, "the journal cannot be written");
	else if (job->confirm.kept)
		log_notice(
		    "%zu keys are kept for csrs that the store does not have: csrd says that it went back",
		    job->confirm.labels_len);
}

/* ---- note-store ---- */

static void clerk_note_store(struct workers *workers, struct job *job)
{
	enum err e = stores_note(workers->stores, &job->store);
	unsigned suppressed;

	if (e == E_OK)
		return;
	if (log_gate_pass(&workers->note_gate, NOTE_FAILED_EVERY_MS, &suppressed))
		log_error("cannot write '%s/%s': %s (%u more not logged)",
			  state_dir_path(workers->stores->dir), STORES_NAME,
			  e == E_IO ? strerror(errno) : err_str(e), suppressed);
	job_fail(job, E_HSM, "it cannot write its state_dir (see its log)");
}

/* ---- the thread ---- */

void *clerk_run(void *arg)
{
	struct workers *workers = arg;
	struct job *job;

	pthread_mutex_lock(&workers->lock);
	for (;;) {
		while (!(job = TAILQ_FIRST(&workers->errands)) && !workers->stopping)
			pthread_cond_wait(&workers->errand, &workers->lock);
		if (!job)
			break;
		TAILQ_REMOVE(&workers->errands, job, next);
		workers->on_errand = true;
		pthread_mutex_unlock(&workers->lock);
		if (job->type == MESSAGE_CONFIRM)
			clerk_confirm(workers, job);
		else
			clerk_note_store(workers, job);
		pthread_mutex_lock(&workers->lock);
		workers->on_errand = false;
		workers->errands_len--;
		workers_finish_locked(workers, job);
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}
