/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending for many threads: whoever finds nobody writing writes what all have
 * queued, with one write and one fdatasync; the others wait.
 */
#include "hsm/signer/journal/journal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "hsm/signer/journal/journal_private.h"
#include "hsm/signer/journal/live.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LATEST_US INT64_C(253402300799999999) /* the last one of the year 9999 */

struct append {
	STAILQ_ENTRY(append) next;
	const struct journal_entry *entry;
	struct entry_draft draft;
	uint64_t index;
	enum err result;
	bool done;
};

static uint64_t entries_of(const struct journal *j)
{
	return j->tail.first + j->tail.len;
}

/* ---- outages ---- */

void journal_say_down(struct journal *j, enum err e)
{
	if (j->is_down)
		return;
	j->is_down = true;
	log_error("journal '%s' cannot be written: %s; no key is made, used or destroyed until it can",
		  state_dir_path(j->dir), e == E_IO ? strerror(errno) : err_str(e));
}

static void journal_say_up(struct journal *j)
{
	if (!j->is_down)
		return;
	j->is_down = false;
	log_notice("journal '%s' can be written again", state_dir_path(j->dir));
}

bool journal_is_down(struct journal *j)
{
	bool is_down;

	pthread_mutex_lock(&j->lock);
	is_down = j->is_down;
	pthread_mutex_unlock(&j->lock);
	return is_down;
}

/* ---- the snapshot ---- */

void journal_keep_names(struct journal *j, bool clean)
{
	struct live live = {.clean = clean};
	struct buf text;
	enum err e;

	buf_init(&text, LIVE_BYTES_MAX);
	pthread_mutex_lock(&j->lock);
	live.entries = entries_of(j);
	memcpy(live.leaf, j->head, sizeof(live.leaf));
	e = live_write(&live, j->names, &text);
	pthread_mutex_unlock(&j->lock);
	if (e == E_OK)
		e = state_dir_write(j->dir, JOURNAL_LIVE_NAME, &text);
	if (e != E_OK)
		log_warn("cannot write '%s/%s' (%s): the next start reads more of the journal",
			 state_dir_path(j->dir), JOURNAL_LIVE_NAME, e == E_IO ? strerror(errno) : err_str(e));
	buf_release(&text);
}

/* ---- the one who writes ---- */

/* The snapshot may fail: without it the next start reads one bundle more. */
static enum err journal_end_bundle(struct journal *j)
{
	enum err e = tail_seal(&j->tail);

	if (e != E_OK)
		return e;
	pthread_mutex_lock(&j->lock);
	tail_restart(&j->tail);
	pthread_mutex_unlock(&j->lock);
	FAILPOINT("journal.before-live");
	journal_keep_names(j, false);
	return E_OK;
}

/* The file is as the memory, and has room.  Without the lock, as all that waits for the disk. */
static enum err journal_make_ready(struct journal *j)
{
	enum err e = E_OK;

	if (j->tail.broken)
		e = tail_repair(&j->tail);
	if (e == E_OK && tail_is_complete(&j->tail))
		e = journal_end_bundle(j);
	return e;
}

/* The first `max` of those who wait. */
static void journal_detach(struct journal *j, size_t max, struct append_list *to)
{
	struct append *a;

	while (max-- > 0 && (a = STAILQ_FIRST(&j->queue))) {
		STAILQ_REMOVE_HEAD(&j->queue, next);
		STAILQ_INSERT_TAIL(to, a, next);
	}
}

/* One write for the batch.  Without the lock.  `head`: in, the leaf hash of the last entry; out, that of the
 * new one. */
static enum err journal_write_batch(struct journal *j, const struct append_list *batch, struct buf *bytes,
				    uint8_t head[JOURNAL_HASH_BYTES])
{
	uint64_t index = entries_of(j);
	struct append *a;
	enum err e = E_OK;

	STAILQ_FOREACH (a, batch, next) {
		if (e != E_OK)
			break;
		a->index = index++;
		e = bundle_put(bytes, &a->draft, a->index, head, head);
	}
	return e == E_OK ? tail_write(&j->tail, bytes) : e;
}

/* Everyone of the batch hears what came of it; and of a pair that it cut in two the other half, if it failed.
 */
static void journal_settle(struct journal *j, struct append_list *batch, enum err e)
{
	struct append *a;

	while ((a = STAILQ_FIRST(batch))) { /* the waiter's stack may go as soon as the lock does */
		STAILQ_REMOVE_HEAD(batch, next);
		if (e != E_OK && a->entry->leads && STAILQ_EMPTY(batch))
			journal_detach(j, 1, batch);
		if (e == E_OK)
			names_take(j->names, a->entry, a->index);
		else
			names_release(j->names, a->entry);
		a->result = e == E_IO ? E_UNAVAIL : e;
		a->done = true;
	}
	pthread_cond_broadcast(&j->moved);
}

/* Under the lock, which is released while the disk works. */
static void journal_write_for_all(struct journal *j)
{
	uint8_t head[JOURNAL_HASH_BYTES];
	struct append_list batch = STAILQ_HEAD_INITIALIZER(batch);
	const struct append *a;
	struct buf bytes;
	size_t len = 0;
	enum err e;

	buf_init(&bytes, BUNDLE_BYTES_MAX);
	j->writing = true;
	pthread_mutex_unlock(&j->lock);
	e = journal_make_ready(j);
	pthread_mutex_lock(&j->lock);
	journal_detach(j, JOURNAL_BUNDLE_LEN - (e == E_OK ? j->tail.len : 0), &batch);
	if (e == E_OK) {
		memcpy(head, j->head, sizeof(head));
		pthread_mutex_unlock(&j->lock);
		e = journal_write_batch(j, &batch, &bytes, head);
		pthread_mutex_lock(&j->lock);
	}
	STAILQ_FOREACH (a, &batch, next)
		len++;
	if (e == E_OK) {
		tail_add(&j->tail, &bytes, len);
		memcpy(j->head, head, sizeof(head));
		journal_say_up(j);
	} else if (e == E_IO) {
		journal_say_down(j, e);
	}
	journal_settle(j, &batch, e);
	if (e == E_OK && tail_is_complete(&j->tail)) {
		pthread_mutex_unlock(&j->lock);
		e = journal_end_bundle(j); /* if it cannot be, the next append tries again, and says so */
		pthread_mutex_lock(&j->lock);
	}
	j->writing = false;
	pthread_cond_broadcast(&j->moved);
	buf_release(&bytes);
}

/* ---- those who wait ---- */

/* Under the lock. */
static void journal_wait(struct journal *j, struct append *a)
{
	STAILQ_INSERT_TAIL(&j->queue, a, next);
	while (!a->done) {
		if (j->writing)
			pthread_cond_wait(&j->moved, &j->lock);
		else
			journal_write_for_all(j);
	}
}

static int64_t journal_now(void)
{
	int64_t now_us = clock_wall_us();

	return now_us < 0 ? 0 : now_us > LATEST_US ? LATEST_US : now_us;
}

/* Under the lock.  Another thread may be at a step of the same name: what may follow depends on how that
 * ends. */
static enum err journal_claim(struct journal *j, struct append *a, struct journal_entry *entry)
{
	enum err e;

	while ((e = names_claim(j->names, entry)) == E_BUSY)
		pthread_cond_wait(&j->moved, &j->lock);
	if (e != E_OK)
		return e;
	entry->at_us = journal_now();
	e = entry_draft_write(entry, &a->draft);
	if (e != E_OK)
		names_release(j->names, entry);
	return e;
}

enum err journal_append_all(struct journal *j, struct journal_entry *entries, size_t len, uint64_t *ret_index)
{
	struct append appends[APPEND_MAX];
	size_t claimed = 0;
	enum err e = E_OK;

	assert(len >= 1 && len <= APPEND_MAX);
	for (size_t i = 0; i < len; i++) {
		appends[i] = (struct append){.entry = &entries[i]};
		entry_draft_init(&appends[i].draft);
		entries[i].node = j->node;
	}
	pthread_mutex_lock(&j->lock);
	while (claimed < len && (e = journal_claim(j, &appends[claimed], &entries[claimed])) == E_OK)
		claimed++;
	if (e != E_OK) {
		while (claimed > 0)
			names_release(j->names, &entries[--claimed]);
		pthread_cond_broadcast(&j->moved);
	} else {
		for (size_t i = 0; i + 1 < len; i++)
			STAILQ_INSERT_TAIL(&j->queue, &appends[i], next);
		journal_wait(j, &appends[len - 1]); /* which is behind the others */
		for (size_t i = 0; i < len && e == E_OK; i++)
			e = appends[i].result;
		if (e == E_OK && ret_index)
			*ret_index = appends[len - 1].index;
	}
	pthread_mutex_unlock(&j->lock);
	for (size_t i = 0; i < len; i++)
		entry_draft_release(&appends[i].draft);
	return e;
}

enum err journal_append(struct journal *j, struct journal_entry *entry, uint64_t *ret_index)
{
	return journal_append_all(j, entry, 1, ret_index);
}

/* Under the lock.  The name is reserved, and nobody is at it. */
static enum err journal_claim_both(struct journal *j, struct journal_entry *made, struct journal_entry *used)
{
	enum err e;

	made->leads = true;
	while ((e = names_claim(j->names, made)) == E_BUSY)
		pthread_cond_wait(&j->moved, &j->lock);
	if (e != E_OK)
		return e;
	e = names_claim_used_too(j->names, used);
	if (e != E_OK) {
		made->leads = false;
		names_release(j->names, made);
	}
	return e;
}

enum err journal_append_both(struct journal *j, struct journal_entry *made, struct journal_entry *used,
			     uint64_t *ret_index)
{
	struct append a = {.entry = made}, b = {.entry = used};
	enum err e;

	entry_draft_init(&a.draft);
	entry_draft_init(&b.draft);
	made->node = used->node = j->node;
	pthread_mutex_lock(&j->lock);
	e = journal_claim_both(j, made, used);
	if (e != E_OK)
		goto out;
	made->at_us = used->at_us = journal_now();
	if ((e = entry_draft_write(made, &a.draft)) != E_OK ||
	    (e = entry_draft_write(used, &b.draft)) != E_OK) {
		names_release(j->names, made);
		names_release(j->names, used);
		goto out;
	}
	STAILQ_INSERT_TAIL(&j->queue, &a, next);
	journal_wait(j, &b); /* which is behind it */
	e = a.result != E_OK ? a.result : b.result;
	if (e == E_OK && ret_index)
		*ret_index = b.index;
out:
	pthread_mutex_unlock(&j->lock);
	entry_draft_release(&a.draft);
	entry_draft_release(&b.draft);
	return e;
}

/* ---- reading ---- */

uint64_t journal_size(struct journal *j)
{
	uint64_t size;

	pthread_mutex_lock(&j->lock);
	size = entries_of(j);
	pthread_mutex_unlock(&j->lock);
	return size;
}

/* Of a bundle whose first entry has that index.  Returns how many there were. */
static size_t journal_copy_entries(const struct buf *bundle, uint64_t skip, size_t max, struct buf *out)
{
	const uint8_t *text;
	size_t len, offset = 0, first = 0, copied = 0;

	while (skip > 0 && bundle_next(bundle, &offset, &text, &len))
		skip--;
	first = offset;
	while (copied < max && bundle_next(bundle, &offset, &text, &len))
		copied++;
	buf_put(out, bundle->data + first, offset - first);
	return copied;
}

static enum err journal_read_bundle(struct journal *j, uint64_t from, size_t max, struct buf *out,
				    size_t *ret_len)
{
	char path[BUNDLE_PATH_SIZE];
	struct buf bundle;
	enum err e;

	bundle_path(from / JOURNAL_BUNDLE_LEN, path);
	buf_init(&bundle, BUNDLE_BYTES_MAX);
	e = state_dir_read(j->dir, path, &bundle);
	if (e == E_OK) {
		*ret_len = journal_copy_entries(&bundle, from % JOURNAL_BUNDLE_LEN, max, out);
		e = *ret_len ? buf_status(out) : E_STORE;
	} else if (e != E_NOMEM) {
		e = E_IO;
	}
	if (e == E_IO || e == E_STORE)
		log_err(e, "cannot read '%s/%s'", state_dir_path(j->dir), path);
	buf_release(&bundle);
	return e;
}

enum err journal_read(struct journal *j, uint64_t from, size_t max, struct buf *out, size_t *ret_len)
{
	bool is_complete;

	pthread_mutex_lock(&j->lock);
	is_complete = from < j->tail.first;
	if (!is_complete)
		*ret_len = journal_copy_entries(&j->tail.bytes, from - j->tail.first, max, out);
	pthread_mutex_unlock(&j->lock);
	return is_complete ? journal_read_bundle(j, from, max, out, ret_len) : buf_status(out);
}

enum err journal_leaf(struct journal *j, uint64_t index, uint8_t ret_hash[JOURNAL_HASH_BYTES])
{
	const uint8_t *text;
	size_t count, len, offset = 0;
	struct buf entry;
	enum err e;

	buf_init(&entry, BUNDLE_LENGTH_BYTES + ENTRY_BYTES_MAX);
	e = journal_read(j, index, 1, &entry, &count);
	if (e == E_OK && !(count == 1 && bundle_next(&entry, &offset, &text, &len)))
		e = E_NOTFOUND;
	if (e == E_OK)
		e = entry_leaf_hash(text, len, ret_hash);
	buf_release(&entry);
	return e;
}

/* ---- the end ---- */

void journal_free(struct journal *j)
{
	if (!j)
		return;
	tail_release(&j->tail);
	names_free(j->names);
	state_dir_close(j->dir);
	fd_close(&j->lock_fd);
	pthread_cond_destroy(&j->moved);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

void journal_close(struct journal *j, bool clean)
{
	struct journal_entry stop = {.action = ENTRY_STOP};

	if (!j)
		return;
	/* What fails is logged; then the next start is one after a crash. */
	if (clean && journal_append(j, &stop, NULL) == E_OK)
		journal_keep_names(j, true);
	journal_free(j);
}
