/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an SQLite database: found or made, recognised, migrated, checked. */
#include "store/sqlite/sqlite.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "store/migrate.h"
#include "store/sqlite/sqlite_place.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_KIB 16384
#define READER_CACHE_KIB 4096
#define WAL_KEPT_BYTES 67108864                   /* of its file between checkpoints */
#define FULL_CHECK_MAX_BYTES (1024 * 1024 * 1024) /* a second or two, four when not in memory */
#define CHECKPOINT_PAGES 4000                     /* of the log, 16 MiB */
#define RESTART_PAGES 16000                       /* of the log, 64 MiB */
#define RESTART_WAIT_MS 100

/* ---- opening: the file ---- */

/* E_NOTFOUND, not logged, when there is no such file. */
static enum err sqlite_open_check_file(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		int error = errno;

		if (error != ENOENT)
			log_error("store '%s' cannot be used: %s", path, strerror(error));
		return sqlite_place_error(error);
	}
	if (!S_ISREG(st.st_mode)) {
		log_error("store '%s' is not a regular file", path);
		return E_CONFIG;
	}
	if (st.st_size == 0) {
		log_error("store '%s' is empty, not a database: restore it from a backup, "
			  "or remove it to start with a new one",
			  path);
		return E_STORE;
	}
	enum err e = sqlite_place_check_names(path, &st);
	if (e != E_OK)
		return e;
	if ((st.st_mode & S_IWOTH) != 0) {
		log_error("store '%s' can be written by every user (mode %04o): chmod o-rwx", path,
			  (unsigned)st.st_mode & 07777);
		return E_DENIED;
	}
	if ((st.st_mode & S_IROTH) != 0)
		log_warn("store '%s' can be read by every user (mode %04o): chmod o-rwx", path,
			 (unsigned)st.st_mode & 07777);
	return E_OK;
}

/* ---- opening: the connection ---- */

static enum err setting_is(struct sqlite *s, const char *sql, const char *name, int64_t wanted)
{
	int64_t value = -1;

	enum err e = sqlite_read_int(s, sql, &value);
	if (e == E_OK && value != wanted) {
		log_error("store '%s': setting %s stays at %lld, %lld is needed", s->path, name,
			  (long long)value, (long long)wanted);
		e = E_STORE;
	}
	return e;
}

static enum err use_wal(struct sqlite *s)
{
	sqlite3_stmt *st = NULL;
	enum err e = E_OK;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA journal_mode = WAL", -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc != SQLITE_ROW) {
		e = sqlite_report(s, rc, "use a write-ahead log");
	} else if (strcmp((const char *)sqlite3_column_text(st, 0), "wal") != 0) {
		log_error("store '%s': journal mode stays at '%s', 'wal' is needed", s->path,
			  (const char *)sqlite3_column_text(st, 0));
		e = E_STORE;
	}
	sqlite3_finalize(st);
	return e;
}

#define STRING(x) #x
#define STRING_OF(x) STRING(x)

static enum err connect_to(struct sqlite *s, const char *path)
{
	int rc = sqlite3_open_v2(path, &s->db,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

	if (rc != SQLITE_OK) {
		enum err e = sqlite_report(s, rc, "open it");

		return (rc & 0xff) != SQLITE_CANTOPEN ? e : sqlite_place_error(sqlite3_system_errno(s->db));
	}
	if (sqlite3_db_readonly(s->db, "main") == 1) {
		log_error("store '%s' cannot be written: permission denied", s->path);
		return E_DENIED;
	}
	sqlite3_busy_timeout(s->db, SQLITE_BUSY_TIMEOUT_MS);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	return sqlite_execute(
	    s,
	    "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
	    "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
	    "PRAGMA cache_size = -" STRING_OF(CACHE_KIB),
	    "set it up");
}

/*
 * After each commit.  A checkpoint that waits for nobody moves the log into the
 * database, but the log is begun anew only at an instant when nobody reads it; with
 * readers that never pause that may not come.  So when it has grown large, new
 * readers are made to read past it, and the old ones are waited for, for a moment: a
 * backup, which reads for long, is not.
 */
static int checkpoint(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct sqlite *s = arg;

	if (pages < CHECKPOINT_PAGES)
		return SQLITE_OK;
	if (pages < s->restart_at) {
		(void)sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
		return SQLITE_OK;
	}
	sqlite3_busy_timeout(db, RESTART_WAIT_MS);
	int rc = sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
	sqlite3_busy_timeout(db, SQLITE_BUSY_TIMEOUT_MS);
	s->restart_at = rc == SQLITE_OK ? RESTART_PAGES : pages + RESTART_PAGES;
	return SQLITE_OK;
}

static enum err set_up(struct sqlite *s)
{
	enum err e = use_wal(s);

	if (e == E_OK)
		e = sqlite_execute(s, "PRAGMA journal_size_limit = " STRING_OF(WAL_KEPT_BYTES),
				   "limit its write-ahead log");
	s->restart_at = RESTART_PAGES;
	sqlite3_wal_hook(s->db, checkpoint, s);
	if (e == E_OK)
		e = setting_is(s, "PRAGMA synchronous", "synchronous", 2);
	if (e == E_OK)
		e = setting_is(s, "PRAGMA foreign_keys", "foreign_keys", 1);
	if (e == E_OK)
		e = setting_is(s, "PRAGMA trusted_schema", "trusted_schema", 0);
	return e;
}

/* ---- opening: the schema ---- */

static enum err read_version(void *db, int *ret_version)
{
	int64_t version;

	enum err e = sqlite_read_int(db, "PRAGMA user_version", &version);
	if (e == E_OK)
		*ret_version = (int)version;
	return e;
}

static enum err set_version(struct sqlite *s, const struct migrate_step *step)
{
	char *sql = sqlite3_mprintf("INSERT INTO schema_history (version, name, program, applied_us)"
				    " VALUES (%d, %Q, %Q, %lld); PRAGMA user_version = %d",
				    step->version, step->name, "csrd " CSRD_VERSION,
				    (long long)clock_wall_us(), step->version);

	if (!sql)
		return E_NOMEM;
	enum err e = sqlite_execute(s, sql, "set its schema version");
	sqlite3_free(sql);
	return e;
}

static enum err apply_step(void *db, const struct migrate_step *step)
{
	struct sqlite *s = db;
	int version = 0;

	enum err e = sqlite_execute(s, "BEGIN IMMEDIATE", "begin a schema step");
	if (e != E_OK)
		return e;
	e = read_version(s, &version);
	if (e == E_OK && version < step->version) {
		e = sqlite_execute(s, step->sql, "run a schema step");
		if (e == E_OK)
			e = set_version(s, step);
	}
	if (e == E_OK)
		e = sqlite_execute(s, "COMMIT", "commit a schema step");
	if (e != E_OK && sqlite3_get_autocommit(s->db) == 0)
		(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return e;
}

static enum err migrate(struct sqlite *s)
{
	const struct migrate_driver driver = {
	    .db = s, .subject = s->path, .version = read_version, .apply = apply_step};
	size_t steps_len;
	const struct migrate_step *steps = migrate_steps(&steps_len);

	return migrate_run(&driver, steps, steps_len);
}

static enum err check_is_ours(struct sqlite *s)
{
	int64_t id;

	enum err e = sqlite_read_int(s, "PRAGMA application_id", &id);
	if (e == E_OK && id != SQLITE_PLACE_APPLICATION_ID) {
		log_error("store '%s' is a database, but not one of csrd", s->path);
		e = E_STORE;
	}
	return e;
}

/* Reads the whole file, so it is for the daemon's start and a size that it can afford. */
static enum err check_pages(struct sqlite *s)
{
	sqlite3_stmt *st = NULL;
	struct stat file;
	enum err e = E_OK;

	if (stat(s->path, &file) == 0 && file.st_size > FULL_CHECK_MAX_BYTES) {
		log_notice("store '%s' has %lld MiB: its pages are not all checked at start", s->path,
			   (long long)file.st_size / (1024 * 1024));
		return E_OK;
	}
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	const char *answer = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
	if (answer && sqlite_unread_page(answer) != SQLITE_OK)
		e = sqlite_report(s, sqlite_unread_page(answer), "check its pages");
	else if (!answer)
		e = sqlite_report(s, rc, "check its pages");
	else if (strcmp(answer, "ok") != 0) {
		const char *last_line = strrchr(answer, '\n');

		log_error("store '%s' is damaged: %s; restore it from a backup", s->path,
			  !last_line ? answer : last_line + 1);
		e = E_STORE;
	}
	sqlite3_finalize(st);
	return e;
}

/* ---- opening: all of it ---- */

static enum err fill_new(struct sqlite *s, const char *temporary)
{
	enum err e = connect_to(s, temporary);

	if (e == E_OK)
		e = use_wal(s);
	if (e == E_OK)
		e = sqlite_execute(s, "PRAGMA application_id = " STRING_OF(SQLITE_PLACE_APPLICATION_ID),
				   "mark it");
	if (e == E_OK)
		e = migrate(s);
	sqlite_disconnect(s); /* moves the log into the file and flushes it */
	return e;
}

/*
 * Makes the database under another name and links it into place when it is
 * whole, so that a crash never leaves half of one, and of two programs that
 * make it at once only one does.
 */
static enum err make_new(struct sqlite *s, const char *folder)
{
	struct buf name;
	enum err e;
	int fd = -1;
	bool made = false;

	buf_init(&name, SQLITE_PLACE_PATH_MAX);
	buf_printf(&name, "%s.new.XXXXXX", s->path);
	e = buf_status(&name);
	if (e != E_OK)
		goto out;
	char *temporary = (char *)name.data;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0 || sqlite_place_give(folder, fd) != E_OK) {
		e = sqlite_place_error(errno);
		log_error("store '%s' cannot be made: %s", s->path, strerror(errno));
		made = fd >= 0;
		goto out;
	}
	made = true;
	e = fill_new(s, temporary);
	if (e != E_OK)
		goto out;
	if (link(temporary, s->path) == 0) {
		sqlite_place_sync(folder);
		log_notice("store '%s' created", s->path);
	} else if (errno != EEXIST) {
		e = sqlite_place_error(errno);
		log_error("store '%s' cannot be made: %s", s->path, strerror(errno));
	}
out:
	fd_close(&fd);
	if (made) {
		unlink((const char *)name.data);
		buf_put_str(&name, "-wal");
		unlink(buf_text(&name));
		memcpy(name.data + name.len - 3, "shm", 3);
		unlink(buf_text(&name));
	}
	buf_release(&name);
	return e;
}

/*
 * A schema is not changed under a csrd that runs: whoever is not the service
 * takes the service's lock for as long as that takes.
 */
static enum err migrate_alone(struct sqlite *s, const char *folder, bool is_service)
{
	size_t newest;
	int version, lock_fd = -1;

	(void)migrate_steps(&newest);
	enum err e = read_version(s, &version);
	if (e != E_OK)
		return e;
	if (is_service || version >= (int)newest)
		return migrate(s);
	e = sqlite_place_lock(s->path, folder, &lock_fd);
	if (e == E_EXISTS)
		log_error(
		    "store '%s' is at schema version %d and must be brought to %zu: stop that csrd first",
		    s->path, version, newest);
	if (e == E_OK)
		e = migrate(s);
	fd_close(&lock_fd);
	return e;
}

/*
 * The file is there, and may be opened: made if need be, and no restore puts
 * another in its place as long as s->lock_fd is open.
 */
static enum err find_or_make(struct sqlite *s, const char *folder, const struct store_options *options)
{
	enum err e = E_OK;

	if (!options->create && access(s->path, F_OK) != 0 && errno == ENOENT) {
		e = sqlite_place_is_free(s->path);
		if (e != E_OK)
			return e;
		log_error("store '%s' does not exist", s->path);
		return E_NOTFOUND;
	}
	e = options->sole_service ? sqlite_place_lock(s->path, folder, &s->lock_fd)
				  : sqlite_place_share(s->path, folder, &s->lock_fd);
	if (e == E_OK)
		e = sqlite_open_check_file(s->path);
	if (e == E_NOTFOUND && options->create) {
		e = sqlite_place_is_free(s->path);
		if (e == E_OK)
			e = make_new(s, folder);
	}
	if (e == E_OK && options->sole_service)
		e = sqlite_place_lock_file(s->path, &s->file_fd);
	return e;
}

/* What lies beside the database from its first read on. */
static enum err remember_beside(struct sqlite *s)
{
	static const char *const beside_endings[SQLITE_BESIDE_LEN] = {"-wal", "-shm"};

	for (int i = 0; i < SQLITE_BESIDE_LEN; i++) {
		struct stat st;
		struct buf name;

		buf_init(&name, SQLITE_PLACE_PATH_MAX);
		buf_printf(&name, "%s%s", s->path, beside_endings[i]);
		enum err e = buf_status(&name);
		if (e == E_OK && !str_dup_opt(buf_text(&name), &s->beside[i].path))
			e = E_NOMEM;
		buf_release(&name);
		if (e != E_OK)
			return e;
		if (stat(s->beside[i].path, &st) != 0) {
			e = sqlite_place_error(errno);
			log_error("store '%s' cannot be used: '%s': %s", s->path, s->beside[i].path,
				  strerror(errno));
			return e;
		}
		s->beside[i].inode = st.st_ino;
	}
	return E_OK;
}

static enum err open_file(struct sqlite *s, const char *folder, const struct store_options *options)
{
	enum err e = sqlite_place_check(folder);

	if (e == E_OK)
		e = find_or_make(s, folder, options);
	if (e == E_OK)
		e = connect_to(s, s->path);
	if (e == E_OK)
		e = check_is_ours(s);
	if (e == E_OK)
		e = set_up(s);
	if (e == E_OK)
		e = migrate_alone(s, folder, options->sole_service);
	if (e == E_OK && options->sole_service)
		e = check_pages(s);
	if (e == E_OK)
		e = sqlite_prepare_all(s);
	if (e == E_OK)
		e = remember_beside(s);
	return e == E_STORE && s->reason != E_OK ? s->reason : e;
}

static enum err open_at(struct sqlite *s, const char *location, const struct store_options *options)
{
	enum err e = sqlite_place_resolve(location, &s->path);
	char *folder;

	if (e != E_OK)
		return e;
	folder = str_dup_len(s->path, (size_t)(strrchr(s->path, '/') - s->path) + 1);
	e = !folder ? E_NOMEM : open_file(s, folder, options);
	free(folder);
	return e;
}

static enum err sqlite_open(const struct store_options *options, const char *location, struct sql **ret_sql)
{
	struct sqlite *s;

	if (location[0] != '/' || location[strlen(location) - 1] == '/' ||
	    strlen(location) > SQLITE_PLACE_PATH_MAX - 16) {
		log_error("store url is not understood: 'sqlite:' and the absolute path of a file");
		return E_CONFIG;
	}
	s = sqlite_new();
	if (!s)
		return E_NOMEM;
	enum err e = open_at(s, location, options);
	if (e != E_OK) {
		sqlite_free(s);
		return e;
	}
	memset(&s->gate, 0, sizeof(s->gate));
	*ret_sql = &s->sql;
	return E_OK;
}

enum err sqlite_open_memory(struct sql **ret_sql)
{
	struct sqlite *s = sqlite_new();
	enum err e = E_NOMEM;

	if (s && str_dup_opt("a database in memory", &s->path))
		e = connect_to(s, ":memory:");
	if (e == E_OK)
		e = migrate(s);
	if (e == E_OK)
		e = sqlite_prepare_all(s);
	if (e != E_OK) {
		sqlite_free(s);
		return e;
	}
	*ret_sql = &s->sql;
	return E_OK;
}

/* ---- one that only reads ---- */

static enum err connect_reader(struct sqlite *s)
{
	int rc = sqlite3_open_v2(s->path, &s->db,
				 SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

	if (rc != SQLITE_OK)
		return sqlite_report(s, rc, "open it for reading");
	sqlite3_busy_timeout(s->db, SQLITE_BUSY_TIMEOUT_MS);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	return sqlite_execute(s,
			      "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
			      "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -" STRING_OF(READER_CACHE_KIB),
			      "set it up for reading");
}

static enum err sqlite_open_reader(struct sql *writer, struct sql **ret_reader)
{
	const struct sqlite *of = (struct sqlite *)writer;
	struct sqlite *s = sqlite_new();
	enum err e = E_NOMEM;

	if (s && str_dup_opt(of->path, &s->path))
		e = connect_reader(s);
	if (e == E_OK)
		e = sqlite_prepare_all(s);
	if (e == E_OK)
		e = remember_beside(s);
	if (e != E_OK) {
		sqlite_free(s);
		return e;
	}
	s->writer = of;
	memset(&s->gate, 0, sizeof(s->gate));
	*ret_reader = &s->sql;
	return E_OK;
}

const struct sql_engine sqlite_engine = {
    .scheme = "sqlite", .open = sqlite_open, .open_reader = sqlite_open_reader};
