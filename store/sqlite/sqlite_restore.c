/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a copy in the place of the database.
 *
 * The copy is made ready under a name of its own beside the database, and one
 * rename puts it in place.  Before that the old database gets a second name,
 * and its write-ahead log must be out of the way: a log that lies beside a
 * database that it is not of would be played into it.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "store/lineage.h"
#include "store/sqlite/sqlite.h"
#include "store/sqlite/sqlite_file.h"
#include "store/sqlite/sqlite_place.h"
#include "store/sqlite/sqlite_upkeep.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEPT_NAMES_MAX 9 /* restores within one second */

struct restore {
	const struct upkeep_restore *in;
	char *path; /* resolved */
	char *folder;
	struct sqlite_file old; /* nobody else writes it until its place is taken */
	int old_fd;
	char staging[SQLITE_PLACE_PATH_MAX];
	char kept[SQLITE_PLACE_PATH_MAX]; /* "": there was none */
};

static enum err sqlite_restore_failed(const char *what, const char *name)
{
	int error = errno;

	log_error("cannot %s '%s': %s", what, name, strerror(error));
	return sqlite_place_error(error);
}

static bool sqlite_restore_put_name(char name[SQLITE_PLACE_PATH_MAX], const char *path, const char *ending)
{
	return snprintf(name, SQLITE_PLACE_PATH_MAX, "%s%s", path, ending) < SQLITE_PLACE_PATH_MAX;
}

/* ---- the copy ---- */

static enum err take_bytes(const struct restore *r)
{
	struct sqlite_file_copy bytes = {
	    .from = r->in->fd, .from_name = r->in->name, .to_name = r->staging, .watch = &r->in->watch};
	uint64_t len = 0;
	enum err e;

	sqlite_file_remove(r->staging); /* what a killed restore left */
	bytes.to = open(r->staging, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (bytes.to < 0)
		return sqlite_restore_failed("make", r->staging);
	e = sqlite_place_give(r->folder, bytes.to) == E_OK ? E_OK
							   : sqlite_restore_failed("give away", r->staging);
	if (e == E_OK)
		e = sqlite_file_copy(&bytes, &len);
	fd_close(&bytes.to);
	if (e == E_OK && len == 0) {
		log_error("'%s' is empty, not a database", r->in->name);
		e = E_INVAL;
	}
	return e;
}

static enum err sqlite_restore_prove(const struct restore *r, struct upkeep_summary *ret_summary)
{
	struct sqlite_file f;
	enum err e = sqlite_file_open(&f, r->staging, SQLITE_OPEN_READWRITE, r->in->name, &r->in->watch);

	if (e == E_OK)
		e = sqlite_file_prove(&f, ret_summary);
	sqlite_file_close(&f);
	return e;
}

/* Opened by the store itself: its schema is brought up to date, and its audit trail says where it is from. */
static enum err enlist(const struct restore *r)
{
	const struct store_options options = {.url = r->in->url, .queue_max = 1};
	char lock[SQLITE_PLACE_PATH_MAX];
	struct sql *sql = NULL;
	enum err e = sqlite_engine.open(&options, r->staging, &sql);

	if (e == E_OK)
		e = sql_begin(sql, true);
	if (e == E_OK) {
		e = lineage_restore(sql, &r->in->origin);
		enum err ended = sql_end(sql, e == E_OK);
		e = e == E_OK ? ended : e;
	}
	sql_close(sql); /* the last to close it: its log goes into the file */
	if (sqlite_restore_put_name(lock, r->staging, ".lock"))
		unlink(lock); /* of a schema that was changed */
	return e;
}

/* Everything of it in the one file, and that on the disk. */
static enum err sqlite_restore_settle(const struct restore *r)
{
	char wal[SQLITE_PLACE_PATH_MAX];
	enum err e = E_OK;
	int fd;

	if (!sqlite_restore_put_name(wal, r->staging, "-wal"))
		return E_LIMIT;
	if (access(wal, F_OK) == 0) {
		log_error("'%s' still has a write-ahead log", r->staging);
		return E_STORE;
	}
	fd = open(r->staging, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fd_sync(fd) != E_OK)
		e = sqlite_restore_failed("flush", r->staging);
	fd_close(&fd);
	return e;
}

/* ---- the old database ---- */

static enum err keep_as(const struct restore *r, const char *ending)
{
	char from[SQLITE_PLACE_PATH_MAX], to[SQLITE_PLACE_PATH_MAX];

	if (!sqlite_restore_put_name(from, r->path, ending) || !sqlite_restore_put_name(to, r->kept, ending))
		return E_LIMIT;
	if (link(from, to) == 0 || (errno == ENOENT && *ending))
		return E_OK;
	return errno == EEXIST ? E_EXISTS : sqlite_restore_failed("keep the old database as", to);
}

/* Finds a name that is free, and gives it to what `path` with `first` at its end is. */
static enum err keep_under_new_name(struct restore *r, const char *first)
{
	char stamp[32];
	time_t now = (time_t)(clock_wall_us() / 1000000);
	struct tm utc;
	enum err e = E_EXISTS;

	if (!gmtime_r(&now, &utc) || strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc) == 0)
		return E_BUG;
	for (int i = 0; e == E_EXISTS && i < KEPT_NAMES_MAX; i++) {
		char ending[64], more[8] = "";

		if (i > 0)
			snprintf(more, sizeof(more), ".%d", i);
		snprintf(ending, sizeof(ending), SQLITE_PLACE_KEPT "%s%s", stamp, more);
		if (!sqlite_restore_put_name(r->kept, r->path, ending))
			return E_LIMIT;
		e = keep_as(r, first);
	}
	return e;
}

/* A second name, so that the first is never without a database. */
static enum err keep_old(struct restore *r)
{
	enum err e = keep_under_new_name(r, "");

	return e == E_OK ? keep_as(r, "-wal") : e;
}

/* The log of a database that is gone may hold what was never in the file. */
static enum err keep_lost_log(struct restore *r)
{
	char log[SQLITE_PLACE_PATH_MAX];
	enum err e = E_OK;

	if (!sqlite_restore_put_name(log, r->path, "-wal"))
		return E_LIMIT;
	if (access(log, F_OK) == 0)
		e = keep_under_new_name(r, "-wal");
	if (e == E_OK && r->kept[0] != '\0' && sqlite_restore_put_name(log, r->kept, "-wal"))
		log_notice("the log of a store that is gone is kept as '%s'", log);
	r->kept[0] = '\0';
	return e;
}

/*
 * Moves its log into it, which needs it for oneself, and keeps it so: what
 * anybody wrote from here on would be lost.  A damaged database may not let that
 * be done: then its log is kept with it.
 */
static enum err close_old(struct restore *r)
{
	char log[SQLITE_PLACE_PATH_MAX];
	enum err e = sqlite_file_open(&r->old, r->path, SQLITE_OPEN_READWRITE, r->path, NULL);

	if (e == E_OK)
		e = sqlite_file_run(&r->old,
				    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE;"
				    "BEGIN EXCLUSIVE",
				    "close its write-ahead log");
	if (!sqlite_restore_put_name(log, r->kept, "-wal"))
		return E_LIMIT;
	if (e == E_OK || e == E_BUSY)
		unlink(log);
	if (e == E_BUSY) {
		unlink(r->kept);
		log_error("store '%s' is in use by another program", r->path);
		return E_BUSY;
	}
	if (e != E_OK)
		log_warn("store '%s' cannot be closed cleanly: it is kept as it is, with its log", r->path);
	return E_OK;
}

static enum err put_old_aside(struct restore *r)
{
	struct stat st;
	enum err e;

	if (lstat(r->path, &st) != 0 && errno != ENOENT)
		return sqlite_restore_failed("use", r->path);
	if (lstat(r->path, &st) != 0)
		return keep_lost_log(r);
	if (!S_ISREG(st.st_mode)) {
		log_error("store '%s' is not a regular file", r->path);
		return E_CONFIG;
	}
	e = sqlite_place_check_names(r->path, &st);
	if (e == E_OK)
		e = sqlite_place_lock_file(r->path, &r->old_fd);
	if (e == E_OK)
		e = keep_old(r); /* first: whatever SQLite finds wrong with a log, it removes */
	if (e == E_OK)
		e = close_old(r);
	if (e == E_OK)
		sqlite_place_sync(r->folder);
	return e;
}

static enum err remove_old_log(const struct restore *r)
{
	static const char *const endings[] = {"-wal", "-shm", "-journal"};

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		char name[SQLITE_PLACE_PATH_MAX];

		if (!sqlite_restore_put_name(name, r->path, endings[i]))
			return E_LIMIT;
		if (unlink(name) != 0 && errno != ENOENT)
			return sqlite_restore_failed("remove", name);
	}
	sqlite_place_sync(r->folder);
	return E_OK;
}

static enum err swap(struct restore *r)
{
	enum err e = put_old_aside(r);

	FAILPOINT("restore.kept");
	if (e == E_OK)
		e = remove_old_log(r);
	FAILPOINT("restore.before-swap");
	if (e == E_OK && rename(r->staging, r->path) != 0)
		e = sqlite_restore_failed("replace", r->path);
	FAILPOINT("restore.swapped");
	if (e == E_OK)
		sqlite_place_sync(r->folder);
	return e;
}

/* ---- all of it ---- */

/* Under `lock`, the one of the service. */
static enum err sqlite_restore_run(struct restore *r, int lock, struct upkeep_summary *ret_summary)
{
	enum err e = take_bytes(r);

	if (e == E_OK)
		e = sqlite_restore_prove(r, ret_summary);
	FAILPOINT("restore.proven");
	if (e == E_OK)
		e = enlist(r);
	if (e == E_OK)
		e = sqlite_restore_settle(r);
	if (e == E_OK)
		e = sqlite_place_seize(r->path, lock);
	if (e == E_OK)
		e = swap(r);
	sqlite_file_close(&r->old);
	fd_close(&r->old_fd);
	if (e != E_OK)
		sqlite_file_remove(r->staging);
	return e;
}

static enum err run_locked(struct restore *r, struct upkeep_summary *ret_summary)
{
	struct upkeep_summary summary = {0};
	int lock = -1;
	enum err e = sqlite_place_check(r->folder);

	if (e == E_OK)
		e = sqlite_place_lock(r->path, r->folder, &lock);
	if (e == E_OK)
		e = sqlite_restore_run(r, lock, &summary);
	fd_close(&lock);
	if (e == E_OK)
		*ret_summary = summary;
	return e;
}

enum err sqlite_restore(const char *path, const struct upkeep_restore *in, struct upkeep_summary *ret_summary,
			char **ret_kept)
{
	struct restore *r = calloc(1, sizeof(*r));
	char *kept = NULL;
	enum err e = E_NOMEM;

	if (!r)
		return E_NOMEM;
	r->in = in;
	r->old_fd = -1;
	e = sqlite_place_resolve(path, &r->path);
	if (e != E_OK)
		goto out;
	r->folder = str_dup_len(r->path, (size_t)(strrchr(r->path, '/') - r->path) + 1);
	e = !r->folder ? E_NOMEM : E_OK;
	if (e == E_OK)
		e = sqlite_restore_put_name(r->staging, r->path, ".restore-staging") ? E_OK : E_LIMIT;
	if (e == E_OK)
		e = run_locked(r, ret_summary);
	if (e == E_OK && r->kept[0] && !(kept = strdup(r->kept)))
		e = E_NOMEM;
	if (e == E_OK)
		*ret_kept = kept;
out:
	free(r->folder);
	free(r->path);
	free(r);
	return e;
}
