/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a database in use, by SQLite's backup interface.
 *
 * The source is read in one read transaction from begin to end, so the copy is
 * of one instant and is never started over because somebody wrote; in WAL mode
 * that transaction holds up no writer, only the log grows until it ends.  The
 * copy is made beside the database, under a name of its own, where the user of
 * the service may write; whoever asked for it gets its bytes through an open
 * file and may be somebody else.
 */
#include "base/buf.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "store/sqlite/sqlite_file.h"
#include "store/sqlite/sqlite_place.h"
#include "store/sqlite/sqlite_upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define STEP_PAGES 256
#define BUSY_TRIES 100
#define BUSY_PAUSE_MS 50

/* Pages of the source's transaction; each step is short, so that a signal is heard. */
static enum err copy_pages(struct sqlite_file *from, struct sqlite_file *to, const struct upkeep_watch *watch)
{
	sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", from->db, "main");
	unsigned tries = 0;
	int rc = SQLITE_OK;

	if (!backup)
		return sqlite_file_report(to, sqlite3_extended_errcode(to->db), "start a backup");
	while (rc == SQLITE_OK) {
		uint64_t total, left;

		rc = sqlite3_backup_step(backup, STEP_PAGES);
		if (((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED) && ++tries <= BUSY_TRIES) {
			sqlite3_sleep(BUSY_PAUSE_MS);
			rc = SQLITE_OK;
		}
		total = (uint64_t)sqlite3_backup_pagecount(backup);
		left = (uint64_t)sqlite3_backup_remaining(backup);
		if (rc == SQLITE_OK && !watch->go_on(watch->arg, UPKEEP_COPY, total - left, total))
			rc = SQLITE_INTERRUPT;
	}
	sqlite3_backup_finish(backup);
	return rc == SQLITE_DONE ? E_OK : sqlite_file_report(to, rc, "copy its pages");
}

/* The copy as SQLite makes it says that it has a write-ahead log; a backup is one file. */
static enum err make_single(const char *staging, const struct upkeep_watch *watch)
{
	struct sqlite_file f;
	enum err e = sqlite_file_open(&f, staging, SQLITE_OPEN_READWRITE, staging, watch);

	if (e == E_OK)
		e = sqlite_file_run(&f, "PRAGMA synchronous = OFF; PRAGMA journal_mode = DELETE",
				    "make one file of it");
	sqlite_file_close(&f);
	return e;
}

static enum err copy_to(const char *path, const char *staging, const struct upkeep_watch *watch,
			struct upkeep_summary *ret_original)
{
	struct sqlite_file from = {0}, to = {0};
	enum err e = sqlite_file_open(&from, path, SQLITE_OPEN_READWRITE, path, NULL);

	if (e == E_OK)
		e = sqlite_file_recognise(&from, &ret_original->schema_version);
	if (e == E_OK)
		e = sqlite_file_run(&from, "BEGIN", "begin a transaction");
	if (e == E_OK)
		e = sqlite_file_count(&from, ret_original); /* from here on its transaction sees one state */
	if (e == E_OK)
		e = sqlite_file_open(&to, staging, SQLITE_OPEN_READWRITE, staging, NULL);
	if (e == E_OK)
		e = sqlite_file_run(&to, "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", "set it up");
	if (e == E_OK)
		e = copy_pages(&from, &to, watch);
	sqlite_file_close(&to);
	sqlite_file_close(&from);
	return e;
}

static bool same_counts(const struct upkeep_summary *a, const struct upkeep_summary *b)
{
	return a->schema_version == b->schema_version && a->accounts == b->accounts && a->zones == b->zones &&
	       a->principals == b->principals && a->grants == b->grants &&
	       memcmp(a->csrs, b->csrs, sizeof(a->csrs)) == 0 && a->audit_records == b->audit_records;
}

static enum err sqlite_backup_prove(const char *staging, const struct upkeep_watch *watch,
				    const struct upkeep_summary *original, struct upkeep_summary *ret_summary)
{
	struct sqlite_file f;
	enum err e = sqlite_file_open(&f, staging, SQLITE_OPEN_READONLY, staging, watch);

	if (e == E_OK)
		e = sqlite_file_prove(&f, ret_summary);
	sqlite_file_close(&f);
	if (e == E_OK && !same_counts(original, ret_summary)) {
		log_error("the copy does not hold as many rows as the store: not used");
		e = E_STORE;
	}
	return e;
}

/* The staged copy, held by `lock` so that no two backups use one. */
static enum err stage(const char *path, const char *staging, int lock, int fd,
		      const struct upkeep_watch *watch, struct upkeep_summary *ret_summary)
{
	struct upkeep_summary original = {0}, copy = {0};
	uint64_t written = 0;
	struct sqlite_file_copy bytes = {
	    .from = lock, .to = fd, .from_name = staging, .to_name = "the backup file", .watch = watch};
	enum err e;

	if (ftruncate(lock, 0) != 0) { /* what a killed one left */
		log_error("cannot write '%s': %s", staging, strerror(errno));
		return E_IO;
	}
	e = copy_to(path, staging, watch, &original);
	if (e == E_OK)
		e = make_single(staging, watch);
	if (e == E_OK)
		e = sqlite_backup_prove(staging, watch, &original, &copy);
	FAILPOINT("backup.proven");
	if (e == E_OK)
		e = sqlite_file_copy(&bytes, &written);
	if (e == E_OK && written != copy.bytes) {
		log_error("'%s' has another size than the copy that was checked: not used", staging);
		e = E_STORE;
	}
	if (e == E_OK)
		*ret_summary = copy;
	return e;
}

enum err sqlite_backup(const char *path, int fd, const struct upkeep_watch *watch,
		       struct upkeep_summary *ret_summary)
{
	struct buf staging;
	int lock = -1;
	enum err e;

	buf_init(&staging, SQLITE_PLACE_PATH_MAX);
	buf_printf(&staging, "%s.backup-staging", path);
	e = buf_status(&staging);
	if (e == E_OK && access(path, F_OK) != 0) {
		log_error("store '%s' cannot be used: %s", path, strerror(errno));
		e = sqlite_place_error(errno);
	}
	if (e != E_OK)
		goto out;
	e = fd_lock_file(buf_text(&staging), &lock);
	if (e == E_EXISTS)
		log_error("another backup of '%s' is under way", path);
	else if (e != E_OK)
		log_err(e, "cannot make '%s' (%s)", buf_text(&staging), strerror(errno));
	if (e != E_OK)
		goto out;
	e = stage(path, buf_text(&staging), lock, fd, watch, ret_summary);
	sqlite_file_remove(buf_text(&staging));
out:
	fd_close(&lock);
	buf_release(&staging);
	return e;
}
