/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start: everything is read and checked before anything is changed.  With a
 * snapshot that is the bundle in which it was taken, what came after it, and
 * the tail; without one it is all there is.
 */
#include "hsm/signer/journal/journal.h"

#include "base/buf.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "hsm/signer/journal/bundle.h"
#include "hsm/signer/journal/journal_private.h"
#include "hsm/signer/journal/live.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_NAME "lock"
#define BUNDLES_USUAL 2 /* more of them were read: a snapshot is due */

/* The state of a reading. */
struct replay {
	struct journal *j;
	struct journal_report *report;
	struct live live; /* zeros when there is none: then all entries count */
	bool has_live;
	uint64_t next;     /* index of the next entry */
	bool knows_head;   /* not before the first entry of a bundle in the middle */
	bool is_unread;    /* and that is no entry at all */
	const char *wrong; /* with the next entry */
};

/* ---- what is wrong ---- */

static enum err replay_say_damaged(const struct replay *r, const char *file, size_t offset, const char *what)
{
	log_error("journal '%s' is damaged: '%s', offset %zu, entry %" PRIu64
		  ": %s; nothing was changed: keep a copy of the folder, and move it away "
		  "to begin a new journal",
		  state_dir_path(r->j->dir), file, offset, r->next, what);
	return E_STORE;
}

static enum err replay_say_unread(const struct replay *r, const char *file, enum err e)
{
	log_error("cannot read '%s/%s': %s", state_dir_path(r->j->dir), file,
		  e == E_IO ? strerror(errno) : err_str(e));
	return e == E_NOMEM ? e : E_IO;
}

/* ---- entries ---- */

static enum err replay_find_wrong(struct replay *r, const char *what)
{
	r->wrong = what;
	return E_STORE;
}

static enum err replay_step(struct replay *r, const struct journal_entry *entry)
{
	enum err e = names_claim(r->j->names, entry);

	if (e == E_OK)
		names_take(r->j->names, entry, entry->index);
	else if (e != E_NOMEM)
		return replay_find_wrong(r, "its key cannot have taken that step");
	return e;
}

/* E_STORE: r->wrong says what is; E_NOMEM. */
static enum err replay_entry(struct replay *r, const uint8_t *text, size_t len)
{
	uint8_t *head = r->j->head;
	struct journal_entry entry;
	enum err e = entry_read(text, len, &entry);

	r->is_unread = e != E_OK;
	if (e != E_OK)
		return e == E_NOMEM ? e : replay_find_wrong(r, "this is no entry that this version knows");
	if (entry.index != r->next)
		return replay_find_wrong(r, "it has another index");
	if (r->knows_head && memcmp(entry.prev, head, JOURNAL_HASH_BYTES) != 0)
		return replay_find_wrong(r, "the entry before it is not the one that it follows");
	if ((e = entry_leaf_hash(text, len, head)) != E_OK)
		return e;
	r->knows_head = true;
	if (r->next + 1 == r->live.entries && memcmp(head, r->live.leaf, JOURNAL_HASH_BYTES) != 0)
		return replay_find_wrong(r, "it is not the one that 'live' was written after");
	if (r->next >= r->live.entries)
		e = replay_step(r, &entry);
	if (e == E_OK)
		r->next++;
	return e;
}

/*
 * A power cut leaves the beginning of what was written last, or some of its sectors and not those before.  In
 * both cases nobody was answered: entries behind the hole are of the same write, since the next one would
 * have waited for it.  Anything else is damage, and so is a hole among those that the snapshot vouches for.
 */
static bool replay_is_torn(const struct replay *r, const struct buf *bundle, size_t offset)
{
	return bundle == &r->j->tail.bytes && r->is_unread && r->next >= r->live.entries &&
	       bundle_has_hole(bundle, offset);
}

/*
 * The whole entries of a bundle, at most JOURNAL_BUNDLE_LEN, up to where it is torn.  *ret_offset: behind the
 * last of them.
 */
static enum err replay_bundle(struct replay *r, const char *file, const struct buf *bundle,
			      size_t *ret_offset)
{
	size_t len, before = 0, offset = 0;
	const uint8_t *text;

	for (size_t i = 0; i < JOURNAL_BUNDLE_LEN && bundle_next(bundle, &offset, &text, &len); i++) {
		enum err e = replay_entry(r, text, len);

		if (e == E_STORE && replay_is_torn(r, bundle, before))
			break;
		if (e != E_OK)
			return e == E_STORE ? replay_say_damaged(r, file, before, r->wrong) : e;
		before = offset;
	}
	*ret_offset = before;
	return E_OK;
}

/* E_NOTFOUND: there is no such bundle. */
static enum err replay_complete(struct replay *r, uint64_t number)
{
	char path[BUNDLE_PATH_SIZE];
	struct buf bundle;
	size_t offset = 0;
	enum err e;

	bundle_path(number, path);
	buf_init(&bundle, BUNDLE_BYTES_MAX);
	e = state_dir_read(r->j->dir, path, &bundle);
	if (e == E_OK) {
		r->report->bundles++;
		e = replay_bundle(r, path, &bundle, &offset);
		if (e == E_OK && (offset != bundle.len || r->next != (number + 1) * JOURNAL_BUNDLE_LEN))
			e = replay_say_damaged(r, path, offset,
					       "it has not the 256 entries of a complete bundle");
	} else if (e != E_NOTFOUND) {
		e = replay_say_unread(r, path, e);
	}
	buf_release(&bundle);
	return e;
}

/* What a crash left behind the last whole entry is cut off, in memory. */
static enum err replay_cut(struct replay *r, size_t offset, size_t file_len)
{
	struct buf *bytes = &r->j->tail.bytes;

	r->is_unread = true;
	if (offset < bytes->len &&
	    (r->j->tail.len == JOURNAL_BUNDLE_LEN ||
	     !(bundle_is_cut_short(bytes, offset) || replay_is_torn(r, bytes, offset))))
		return replay_say_damaged(r, TAIL_NAME, offset,
					  "this is neither an entry nor the beginning of one");
	r->report->cut_bytes = file_len - offset;
	bytes->len = offset;
	return E_OK;
}

static enum err replay_tail(struct replay *r)
{
	struct tail *t = &r->j->tail;
	size_t file_len, offset = 0;
	enum err e = tail_load(t);

	if (e != E_OK && e != E_NOTFOUND)
		return replay_say_unread(r, TAIL_NAME, e);
	t->first = r->next;
	file_len = t->bytes.len;
	/* Of a file that had grown, but got no content before a power cut.  No entry ends so. */
	while (t->bytes.len > 0 && t->bytes.data[t->bytes.len - 1] == 0)
		t->bytes.len--;
	e = replay_bundle(r, TAIL_NAME, &t->bytes, &offset);
	if (e != E_OK)
		return e;
	t->len = (size_t)(r->next - t->first);
	return replay_cut(r, offset, file_len);
}

/* From the bundle with the last entry that the snapshot knows. */
static enum err replay_all(struct replay *r)
{
	uint64_t number = r->live.entries ? (r->live.entries - 1) / JOURNAL_BUNDLE_LEN : 0;
	enum err e;

	r->next = number * JOURNAL_BUNDLE_LEN;
	r->knows_head = number == 0;
	memset(r->j->head, 0, sizeof(r->j->head));
	while ((e = replay_complete(r, number)) == E_OK)
		number++;
	return e == E_NOTFOUND ? replay_tail(r) : e;
}

/* ---- the snapshot ---- */

/* Nothing but the names is kept of it when it is of no use. */
static enum err replay_read_live(struct replay *r)
{
	struct journal *j = r->j;
	struct buf text;
	enum err e;

	buf_init(&text, LIVE_BYTES_MAX);
	e = state_dir_read(j->dir, JOURNAL_LIVE_NAME, &text);
	if (e == E_OK)
		e = live_read(&text, &r->live, j->names);
	buf_release(&text);
	r->has_live = e == E_OK;
	if (e == E_OK || e == E_NOTFOUND || e == E_NOMEM)
		return e == E_NOTFOUND ? E_OK : e;
	log_warn("'%s/%s' cannot be used (%s): the whole journal is read", state_dir_path(j->dir),
		 JOURNAL_LIVE_NAME,
		 e == E_PROTO ? "it is damaged"
		 : e == E_IO  ? strerror(errno)
			      : err_str(e));
	return E_OK;
}

/* Once more without it. */
static enum err replay_without_live(struct replay *r)
{
	struct journal *j = r->j;

	r->live = (struct live){0};
	r->has_live = false;
	buf_reset(&j->tail.bytes);
	names_free(j->names);
	j->names = NULL;
	if (names_new(&j->names) != E_OK)
		return E_NOMEM;
	return replay_all(r);
}

static enum err replay_journal(struct replay *r)
{
	struct journal_report *report = r->report;
	enum err e = replay_read_live(r);

	if (e == E_OK && !r->has_live)
		e = replay_without_live(r);
	else if (e == E_OK)
		e = replay_all(r);
	if (e == E_OK && r->next < r->live.entries) {
		report->missing = r->live.entries - r->next;
		log_error(
		    "journal '%s' has %" PRIu64 " entries, but had %" PRIu64
		    " when 'live' was written: entries are missing; was an old copy of the folder restored?",
		    state_dir_path(r->j->dir), r->next, r->live.entries);
		e = replay_without_live(r);
	}
	if (e != E_OK)
		return e;
	report->entries = r->next;
	report->rebuilt = !r->has_live && r->next > 0;
	report->created = !r->has_live && r->next == 0 && report->missing == 0;
	report->clean = r->has_live && r->live.clean && r->live.entries == r->next && !report->cut_bytes;
	return E_OK;
}

/* ---- opening ---- */

/*
 * Now the files may be changed.  Where they cannot be, the first append that can write does it: until then
 * the journal is down, and all that only reads goes on.
 */
static enum err journal_settle_files(struct journal *j, const struct journal_report *report)
{
	enum err e = tail_start(&j->tail, report->clean);

	if (e == E_OK && tail_is_complete(&j->tail)) {
		e = tail_seal(&j->tail);
		if (e == E_OK)
			tail_restart(&j->tail);
	}
	if (e == E_IO)
		journal_say_down(j, e);
	else if (e != E_OK)
		return e;
	if (report->cut_bytes)
		log_notice("journal '%s': the last %zu bytes were half written, and are cut off",
			   state_dir_path(j->dir), report->cut_bytes);
	if (report->rebuilt)
		log_notice("journal '%s': read whole, %" PRIu64 " entries", state_dir_path(j->dir),
			   report->entries);
	if (e == E_OK && (report->rebuilt || report->bundles > BUNDLES_USUAL))
		journal_keep_names(j, false);
	return E_OK;
}

static enum err journal_lock(struct journal *j)
{
	char path[PATH_MAX];
	enum err e = E_IO;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", state_dir_path(j->dir), LOCK_NAME) < sizeof(path))
		e = fd_lock_file(path, &j->lock_fd);
	if (e == E_EXISTS)
		log_error("journal '%s' is in use by another process", state_dir_path(j->dir));
	else if (e != E_OK)
		log_error("cannot lock '%s/%s': %s", state_dir_path(j->dir), LOCK_NAME, strerror(errno));
	return e == E_OK || e == E_EXISTS ? e : E_IO;
}

static enum err journal_new(const struct journal_options *options, struct journal **ret_journal)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		return E_NOMEM;
	j->lock_fd = -1;
	STAILQ_INIT(&j->queue);
	tail_init(&j->tail);
	node_name(options->node, j->node);
	pthread_mutex_init(&j->lock, NULL);
	thread_cond_init(&j->moved);
	*ret_journal = j;
	return E_OK;
}

enum err journal_open(const struct journal_options *options, struct journal **ret_journal,
		      struct journal_report *ret_report)
{
	struct journal_report report = {0};
	struct replay r = {.report = &report};
	struct journal *j = NULL;
	enum err e = journal_new(options, &j);

	if (e == E_OK)
		e = state_dir_open(options->folder, &j->dir);
	if (e == E_OK)
		e = journal_lock(j);
	if (e != E_OK)
		goto out;
	r.j = j;
	e = tail_open(&j->tail, j->dir);
	if (e == E_IO)
		log_error("cannot open journal '%s': %s", options->folder, strerror(errno));
	if (e == E_OK)
		e = names_new(&j->names);
	if (e == E_OK)
		e = replay_journal(&r);
	if (e == E_OK)
		e = journal_settle_files(j, &report);
	if (e != E_OK)
		goto out;
	*ret_report = report;
	*ret_journal = j;
	j = NULL;
out:
	if (e == E_NOMEM)
		log_error("out of memory");
	journal_free(j);
	return e;
}
