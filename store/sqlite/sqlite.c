/*
 * The embedded store: SQLite in WAL mode, every commit flushed.
 *
 * A commit whose flush fails may come back after a power cut, and what the
 * kernel still has of the file is not known any more; so such a database is
 * not used again until the program is restarted.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "store/migrate.h"
#include "store/sqlite/sqlite_place.h"
#include "store/store_backend.h"
#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 5000
#define LOG_EVERY_MS 10000
#define CACHE_KIB 16384
#define WAL_KEPT_BYTES 67108864                   /* of its file between checkpoints */
#define FULL_CHECK_MAX_BYTES (1024 * 1024 * 1024) /* a second or two, four when not in memory */
#define CHECKPOINT_PAGES 4000                     /* of the log, 16 MiB */
#define PURGE_MAX 8                               /* expired idempotency keys that one create removes */
#define PROBE_BYTES "65536"                       /* more than what one request writes */
#define SANS_BYTES_MAX (CSR_SANS_MAX * (CSR_SAN_BYTES_MAX + 8))

/* ---- statements ---- */

#define CSR_COLUMNS                                                                                          \
	"id, account_id, zone_id, token_name, principal_id, state, created_us, updated_us, key_type, "       \
	"country, province, locality, organization, organizational_unit, common_name, sans, name, "          \
	"description, pem, key_id, spki_sha256, protection, set_aside_us"

/* Active CSRs of one scope, straight along an index. */
#define LIST_ACTIVE(index, by)                                                                               \
	"SELECT " CSR_COLUMNS " FROM csrs INDEXED BY " index " WHERE state = 2"                              \
	" AND account_id = ?1 AND zone_id IS ?2 ORDER BY " by " LIMIT ?3 OFFSET ?4"
/* The same behind a row: ?4 what its order is by, ?5 its id. */
#define LIST_AFTER(index, where, by)                                                                         \
	"SELECT " CSR_COLUMNS " FROM csrs INDEXED BY " index " WHERE state = 2"                              \
	" AND account_id = ?1 AND zone_id IS ?2 AND " where " ORDER BY " by " LIMIT ?3"
/* ?1 states, ?2 account or NULL for all, ?3 zone or NULL, ?4 updated before or 0. */
#define ANY_WHERE                                                                                            \
	" WHERE (1 << state) & ?1 AND (?2 IS NULL OR (account_id = ?2 AND zone_id IS ?3))"                   \
	" AND (?4 = 0 OR updated_us < ?4)"
#define LIST_ANY(by) "SELECT " CSR_COLUMNS " FROM csrs" ANY_WHERE " ORDER BY " by " LIMIT ?5 OFFSET ?6"

/* Open rows of the token ?1, NULL for all, that are not set aside yet. */
#define ASIDE_WHERE(state)                                                                                   \
	" WHERE state = " #state " AND set_aside_us = 0 AND (?1 IS NULL OR token_name = ?1)"
/* ?2 the time, ?3 action, ?4 actor, ?5 detail. */
#define ASIDE_TELL(state)                                                                                    \
	"INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"                         \
	" SELECT ?2, ?3, id, ?4, '', '', ?5 FROM csrs" ASIDE_WHERE(state) " ORDER BY id"
/* Whether a text holds `what`, whatever the case of ASCII letters. */
#define IN_NAMES(what)                                                                                       \
	"(instr(lower(common_name), lower(" what ")) > 0"                                                    \
	" OR instr(lower(coalesce(name, '')), lower(" what ")) > 0)"
/* The lines of sans without their types. */
#define SAN_VALUES_OF(type, text) "replace(" text ", char(10) || '" type " ', char(10))"
#define SAN_VALUES                                                                                           \
	SAN_VALUES_OF("dns", SAN_VALUES_OF("ip", SAN_VALUES_OF("email", SAN_VALUES_OF("uri",                 \
		      "char(10) || lower(sans)"))))
#define IN_SANS(what) "instr(" SAN_VALUES ", lower(" what ")) > 0"
/* ANY_WHERE and what a store_csr_filter asks, in its order from ?5. */
#define FILTER_WHERE                                                                                         \
	ANY_WHERE " AND (?5 = 0 OR created_us >= ?5) AND (?6 = 0 OR created_us < ?6)"                        \
	" AND (?7 IS NULL OR substr(id, 1, length(?7)) = ?7) AND (?8 IS NULL OR token_name = ?8)"            \
	" AND (?9 IS NULL OR principal_id = ?9) AND (?10 = 0 OR key_type = ?10)"                             \
	" AND (?11 IS NULL OR key_id = ?11 OR spki_sha256 = ?11)"                                            \
	" AND (?12 IS NULL OR " IN_NAMES("?12") ") AND (?13 IS NULL OR " IN_SANS("?13") ")"                  \
	" AND (?14 IS NULL OR substr(id, 1, length(?14)) = lower(?14) OR " IN_NAMES("?14")                   \
	" OR " IN_SANS("?14") ")"
#define LIST_FILTERED(by)                                                                                    \
	"SELECT " CSR_COLUMNS " FROM csrs" FILTER_WHERE " ORDER BY " by " LIMIT ?15 OFFSET ?16"

enum statement {
	BEGIN_READ,
	BEGIN_WRITE,
	COMMIT,
	ROLLBACK,
	GUARD_SET,
	GUARD_KEEP,
	GUARD_UNDO,
	ACCOUNT_FIND,
	ZONE_FIND,
	ACCOUNT_ADD,
	ZONE_ADD,
	ACCOUNT_LIST,
	ZONE_LIST,
	PRINCIPAL_FIND,
	PRINCIPAL_LIST,
	PRINCIPAL_ADD,
	PRINCIPAL_STATE,
	PRINCIPAL_REVOKE,
	ACCOUNT_SET,
	ZONE_SET,
	GRANT_LIST,
	GRANT_ADD_ACCOUNT,
	GRANT_ADD_ZONE,
	IDEMPOTENCY_FIND,
	IDEMPOTENCY_REMOVE,
	IDEMPOTENCY_ADD,
	IDEMPOTENCY_PURGE,
	IDEMPOTENCY_FORGET,
	CSR_ADD,
	CSR_GET,
	CSR_MOVE,
	CSR_MOVE_ACTIVE,
	AUDIT_ADD,
	AUDIT_LIST,
	AUDIT_LAST,
	LEFTOVER_LAST,
	LINEAGE_FIND,
	LINEAGE_SET,
	LINEAGE_FORGET_ALL,
	ASIDE_TELL_PENDING,
	ASIDE_TELL_DELETING,
	ASIDE_FORGET,
	ASIDE_PENDING,
	ASIDE_DELETING,
	ACTIVE_TOTAL,
	ANY_TOTAL,
	PROBE_WRITE,
	AUDIT_SEARCH,
	FILTER_TOTAL,
	FILTER_OLDEST,
	FILTER_NEWEST,
	PASS_UNSETTLED,
	PASS_ANY,
	/* Two a store_order, ascending and descending, in its order. */
	LIST_ACTIVE_FIRST,
	LIST_ANY_FIRST = LIST_ACTIVE_FIRST + 6,
	LIST_AFTER_FIRST = LIST_ANY_FIRST + 6,
	/* Rows without a name, which come before all others: ascending, descending. */
	LIST_NAMELESS_FIRST = LIST_AFTER_FIRST + 6,
	STATEMENTS_LEN = LIST_NAMELESS_FIRST + 2
};

static const char *const statement_sql[STATEMENTS_LEN] = {
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [GUARD_SET] = "SAVEPOINT guard",
    [GUARD_KEEP] = "RELEASE guard",
    [GUARD_UNDO] = "ROLLBACK TO guard",
    [ACCOUNT_FIND] = "SELECT id, csr_quota, csr_count, csr_active FROM accounts WHERE id = ?",
    [ZONE_FIND] = "SELECT account_id, csr_quota, csr_count, csr_active FROM zones WHERE id = ?",
    [ACCOUNT_ADD] = "INSERT INTO accounts (id, name, csr_quota, created_us) VALUES (?, ?, ?, ?)",
    [ZONE_ADD] = "INSERT INTO zones (id, account_id, name, csr_quota, created_us) VALUES (?, ?, ?, ?, ?)",
    [ACCOUNT_LIST] = "SELECT id, name, csr_quota, csr_count, created_us FROM accounts ORDER BY id",
    [ZONE_LIST] = "SELECT id, account_id, name, csr_quota, csr_count, created_us FROM zones ORDER BY id",
    [PRINCIPAL_FIND] = "SELECT id, kind, name, secret_hash, created_us, not_before_us, expires_us, revoked_us"
		       " FROM principals WHERE secret_hash = ?1 AND kind = ?2",
    [PRINCIPAL_LIST] = "SELECT id, kind, name, secret_hash, created_us, not_before_us, expires_us, revoked_us"
		       " FROM principals WHERE kind = ? ORDER BY created_us, rowid",
    [PRINCIPAL_ADD] =
	"INSERT INTO principals (id, kind, name, secret_hash, created_us, not_before_us, expires_us,"
	" revoked_us) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
    [PRINCIPAL_STATE] = "SELECT revoked_us FROM principals WHERE id = ? AND kind = ?",
    [PRINCIPAL_REVOKE] = "UPDATE principals SET revoked_us = ? WHERE id = ?",
    [ACCOUNT_SET] = "UPDATE accounts SET name = coalesce(?2, name), csr_quota = coalesce(?3, csr_quota)"
		    " WHERE id = ?1",
    [ZONE_SET] = "UPDATE zones SET name = coalesce(?2, name), csr_quota = coalesce(?3, csr_quota)"
		 " WHERE id = ?1",
    [GRANT_LIST] = "SELECT account_id, zone_id, permission FROM grants WHERE principal_id = ? ORDER BY rowid",
    [GRANT_ADD_ACCOUNT] = "INSERT INTO grants (principal_id, account_id, permission) VALUES (?, ?, ?)",
    [GRANT_ADD_ZONE] = "INSERT INTO grants (principal_id, zone_id, permission) VALUES (?, ?, ?)",
    [IDEMPOTENCY_FIND] = "SELECT created_us, request_hash, csr_id FROM idempotency"
			 " WHERE principal_id = ? AND scope_kind = ? AND scope_id = ? AND key = ?",
    [IDEMPOTENCY_REMOVE] = "DELETE FROM idempotency"
			   " WHERE principal_id = ? AND scope_kind = ? AND scope_id = ? AND key = ?",
    [IDEMPOTENCY_ADD] =
	"INSERT INTO idempotency (principal_id, scope_kind, scope_id, key, csr_id, request_hash,"
	" created_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
    [IDEMPOTENCY_PURGE] = "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency"
			  " WHERE created_us < ? ORDER BY created_us LIMIT ?)",
    [IDEMPOTENCY_FORGET] = "DELETE FROM idempotency WHERE csr_id = ?",
    [CSR_ADD] =
	"INSERT INTO csrs (id, account_id, zone_id, token_name, principal_id, state, created_us, updated_us,"
	" key_type, country, province, locality, organization, organizational_unit, common_name, sans, name,"
	" description) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [CSR_GET] = "SELECT " CSR_COLUMNS " FROM csrs WHERE id = ?",
    [CSR_MOVE] = "UPDATE csrs SET state = ?, updated_us = ? WHERE id = ? AND state = ?",
    [CSR_MOVE_ACTIVE] = "UPDATE csrs SET state = ?, updated_us = ?, pem = ?, key_id = ?, spki_sha256 = ?,"
			" protection = ? WHERE id = ? AND state = ?",
    [AUDIT_ADD] = "INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
		  " VALUES (?, ?, ?, ?, ?, ?, ?)",
    [AUDIT_LIST] = "SELECT sequence, at_us, action, object, actor, request_id, peer, detail FROM audit"
		   " WHERE object = ? ORDER BY sequence",
    [AUDIT_LAST] = "SELECT coalesce(max(sequence), 0) FROM audit",
    [LEFTOVER_LAST] = "SELECT action FROM audit WHERE object = ? AND action IN"
		      " ('csr.leftover', 'csr.leftover-destroyed') ORDER BY sequence DESC LIMIT 1",
    [LINEAGE_FIND] = "SELECT lineage FROM lineages WHERE token_name = ?",
    [LINEAGE_SET] = "INSERT INTO lineages (token_name, lineage) VALUES (?, ?)"
		    " ON CONFLICT (token_name) DO UPDATE SET lineage = excluded.lineage",
    [LINEAGE_FORGET_ALL] = "DELETE FROM lineages",
    [ASIDE_TELL_PENDING] = ASIDE_TELL(1),
    [ASIDE_TELL_DELETING] = ASIDE_TELL(3),
    [ASIDE_FORGET] = "DELETE FROM idempotency WHERE csr_id IN (SELECT id FROM csrs" ASIDE_WHERE(1) ")",
    [ASIDE_PENDING] = "UPDATE csrs SET state = 5, updated_us = ?2, set_aside_us = ?2" ASIDE_WHERE(1),
    [ASIDE_DELETING] = "UPDATE csrs SET set_aside_us = ?2" ASIDE_WHERE(3),
    [ACTIVE_TOTAL] = "SELECT coalesce((SELECT sum(csr_active) FROM accounts), 0)"
		     " + coalesce((SELECT sum(csr_active) FROM zones), 0)",
    [ANY_TOTAL] = "SELECT count(*) FROM csrs" ANY_WHERE,
    [PROBE_WRITE] = "UPDATE write_probe SET filling = randomblob(" PROBE_BYTES ")",
    [AUDIT_SEARCH] = "SELECT sequence, at_us, action, object, actor, request_id, peer, detail FROM audit"
		     " WHERE (?1 = 0 OR at_us >= ?1) AND (?2 = 0 OR at_us < ?2)"
		     " AND (?3 IS NULL OR actor = ?3) AND (?4 IS NULL OR object = ?4)"
		     " AND (?5 IS NULL OR action = ?5 OR substr(action, 1, length(?5) + 1) = ?5 || '.')"
		     " AND (?6 = 0 OR sequence < ?6) ORDER BY sequence DESC LIMIT ?7",
    [FILTER_TOTAL] = "SELECT count(*) FROM csrs" FILTER_WHERE,
    [FILTER_OLDEST] = LIST_FILTERED("created_us, id"),
    [FILTER_NEWEST] = LIST_FILTERED("created_us DESC, id DESC"),
    [PASS_UNSETTLED] = "SELECT " CSR_COLUMNS " FROM csrs INDEXED BY csrs_unsettled" ANY_WHERE
		       " AND state IN (1, 3) AND id > ?5 ORDER BY id LIMIT ?6",
    [PASS_ANY] = "SELECT " CSR_COLUMNS " FROM csrs" ANY_WHERE " AND id > ?5 ORDER BY id LIMIT ?6",
    [LIST_ACTIVE_FIRST + 0] = LIST_ACTIVE("csrs_active_created", "created_us, id"),
    [LIST_ACTIVE_FIRST + 1] = LIST_ACTIVE("csrs_active_created", "created_us DESC, id DESC"),
    [LIST_ACTIVE_FIRST + 2] = LIST_ACTIVE("csrs_active_name", "name, id"),
    [LIST_ACTIVE_FIRST + 3] = LIST_ACTIVE("csrs_active_name", "name DESC, id DESC"),
    [LIST_ACTIVE_FIRST + 4] = LIST_ACTIVE("csrs_active_id", "id"),
    [LIST_ACTIVE_FIRST + 5] = LIST_ACTIVE("csrs_active_id", "id DESC"),
    [LIST_ANY_FIRST + 0] = LIST_ANY("created_us, id"),
    [LIST_ANY_FIRST + 1] = LIST_ANY("created_us DESC, id DESC"),
    [LIST_ANY_FIRST + 2] = LIST_ANY("name, id"),
    [LIST_ANY_FIRST + 3] = LIST_ANY("name DESC, id DESC"),
    [LIST_ANY_FIRST + 4] = LIST_ANY("account_id, id"),
    [LIST_ANY_FIRST + 5] = LIST_ANY("account_id DESC, id DESC"),
    [LIST_AFTER_FIRST + 0] =
	LIST_AFTER("csrs_active_created", "(created_us, id) > (?4, ?5)", "created_us, id"),
    [LIST_AFTER_FIRST + 1] =
	LIST_AFTER("csrs_active_created", "(created_us, id) < (?4, ?5)", "created_us DESC, id DESC"),
    [LIST_AFTER_FIRST + 2] = LIST_AFTER("csrs_active_name", "(name, id) > (?4, ?5)", "name, id"),
    [LIST_AFTER_FIRST + 3] = LIST_AFTER("csrs_active_name", "(name, id) < (?4, ?5)", "name DESC, id DESC"),
    [LIST_AFTER_FIRST + 4] = LIST_AFTER("csrs_active_id", "id > ?5", "id"),
    [LIST_AFTER_FIRST + 5] = LIST_AFTER("csrs_active_id", "id < ?5", "id DESC"),
    [LIST_NAMELESS_FIRST + 0] = LIST_AFTER("csrs_active_name", "name IS NULL AND id > ?5", "id"),
    [LIST_NAMELESS_FIRST + 1] = LIST_AFTER("csrs_active_name", "name IS NULL AND id < ?5", "id DESC"),
};

/* What SQLite keeps beside the database and has open as long as that. */
enum beside { BESIDE_LOG, BESIDE_INDEX, BESIDE_LEN };
static const char *const beside_endings[BESIDE_LEN] = {"-wal", "-shm"};

struct sqlite {
	sqlite3 *db;
	char *path;  /* resolved */
	int lock_fd; /* sqlite_place_lock or sqlite_place_share */
	int file_fd; /* sqlite_place_lock_file */
	struct {
		char *path;
		ino_t inode;
	} beside[BESIDE_LEN];
	struct walk *walk;
	bool writes;     /* the transaction may */
	bool stopped;    /* a flush failed: see the top */
	enum err reason; /* of the last error: reason_of */
	struct log_gate gate;
	sqlite3_stmt *statements[STATEMENTS_LEN];
};

/* ---- errors ---- */

static enum err err_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return E_OK;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return E_BUSY;
	case SQLITE_NOMEM:
		return E_NOMEM;
	default:
		return E_STORE;
	}
}

/* What E_STORE stands for where the system is to blame and not the file's contents; else E_STORE itself. */
static enum err reason_of(int rc, int os)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return E_LIMIT;
	case SQLITE_PERM:
	case SQLITE_READONLY:
		return E_DENIED;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (os == ENOSPC || os == EDQUOT)
			return E_LIMIT;
		return os == EACCES || os == EPERM || os == EROFS ? E_DENIED : E_IO;
	default:
		return E_STORE;
	}
}

/* Turns a result code into ours, and logs it, at most one line in LOG_EVERY_MS. */
static enum err report(struct sqlite *s, int rc, const char *what)
{
	bool known = s->db != NULL && sqlite3_extended_errcode(s->db) == rc;
	bool of_os = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;
	int os = known && of_os ? sqlite3_system_errno(s->db) : 0;
	unsigned suppressed = 0;

	s->reason = reason_of(rc, os);
	if (log_gate_pass(&s->gate, LOG_EVERY_MS, &suppressed)) {
		log_error("store '%s': cannot %s: %s%s%s (sqlite error %d, %u more not logged)", s->path,
			  what, known ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc), os == 0 ? "" : ": ",
			  os == 0 ? "" : strerror(os), rc, suppressed);
	}
	return err_of(rc);
}

/* ---- running one statement ---- */

/*
 * Parameters are bound in their order and borrowed until query_end.  The first
 * error sticks; query_step then does nothing but return it.
 */
struct query {
	struct sqlite *s;
	sqlite3_stmt *st;
	int bound;
	int rc;
};

static struct query query_of(struct sqlite *s, enum statement which)
{
	struct query q = {.s = s, .st = s->statements[which], .bound = 0, .rc = SQLITE_OK};

	return q;
}

static void bind_result(struct query *q, int rc)
{
	if (q->rc == SQLITE_OK)
		q->rc = rc;
}

static void bind_int(struct query *q, int64_t value)
{
	bind_result(q, sqlite3_bind_int64(q->st, ++q->bound, value));
}

static void bind_null(struct query *q)
{
	bind_result(q, sqlite3_bind_null(q->st, ++q->bound));
}

static void bind_text(struct query *q, const char *text) /* NULL for NULL */
{
	bind_result(q, sqlite3_bind_text(q->st, ++q->bound, text, -1, SQLITE_STATIC));
}

static void bind_blob(struct query *q, const uint8_t *data, size_t len) /* NULL for NULL */
{
	bind_result(q, sqlite3_bind_blob(q->st, ++q->bound, data, (int)len, SQLITE_STATIC));
}

/* SQLITE_ROW, SQLITE_DONE or an error. */
static int query_step(struct query *q)
{
	if (q->rc == SQLITE_OK || q->rc == SQLITE_ROW)
		q->rc = sqlite3_step(q->st);
	return q->rc;
}

static void query_end(struct query *q)
{
	sqlite3_reset(q->st);
	sqlite3_clear_bindings(q->st);
}

/* Steps to the end a statement that returns no rows.  The code is for those who expect an error. */
static int query_run(struct query *q)
{
	while (query_step(q) == SQLITE_ROW)
		;
	query_end(q);
	return q->rc == SQLITE_DONE ? SQLITE_OK : q->rc;
}

/*
 * Whether a row is in the way: by a constraint, or by a trigger of the schema
 * that guards the same keys and comes first.
 */
static bool is_taken(const struct sqlite *s, int rc)
{
	return rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_UNIQUE ||
	       (rc == SQLITE_CONSTRAINT_TRIGGER && strstr(sqlite3_errmsg(s->db), "exists already") != NULL);
}

/* The same where every error is a surprise. */
static enum err query_do(struct query *q, const char *what)
{
	int rc = query_run(q);

	return rc == SQLITE_OK ? E_OK : report(q->s, rc, what);
}

static enum err run_plain(struct sqlite *s, enum statement which, const char *what)
{
	struct query q = query_of(s, which);

	return query_do(&q, what);
}

/* How a read ended: E_OK when the last step gave SQLITE_DONE. */
static enum err query_finish(struct query *q, enum err e, const char *what)
{
	if (e == E_OK && q->rc != SQLITE_DONE)
		e = report(q->s, q->rc, what);
	query_end(q);
	return e;
}

static enum err column_text(struct query *q, int column, char **ret_text)
{
	const unsigned char *text = sqlite3_column_text(q->st, column);

	if (text == NULL && sqlite3_column_type(q->st, column) != SQLITE_NULL)
		return E_NOMEM;
	return str_dup_opt((const char *)text, ret_text) ? E_OK : E_NOMEM;
}

/* For text that must be there and fit; anything else is a damaged row. */
static enum err column_fixed(struct query *q, int column, char *dst, size_t dst_size)
{
	const unsigned char *text = sqlite3_column_text(q->st, column);

	if (text == NULL || str_copy(dst, dst_size, (const char *)text) != E_OK)
		return report(q->s, SQLITE_CORRUPT, "read a text column");
	return E_OK;
}

static enum err column_blob(struct query *q, int column, uint8_t *dst, size_t len)
{
	const void *data = sqlite3_column_blob(q->st, column);

	if (data == NULL || (size_t)sqlite3_column_bytes(q->st, column) != len)
		return report(q->s, SQLITE_CORRUPT, "read a binary column");
	memcpy(dst, data, len);
	return E_OK;
}

/* One integer by a statement of no parameters, given as text: for opening. */
static enum err read_int(struct sqlite *s, const char *sql, int64_t *ret_value)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret_value = sqlite3_column_int64(st, 0);
	enum err e = rc == SQLITE_ROW ? E_OK : report(s, rc, "read its settings");
	sqlite3_finalize(st);
	return e;
}

static enum err execute(struct sqlite *s, const char *sql, const char *what)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? E_OK : report(s, rc, what);
}

/* ---- opening: the file ---- */

/* E_NOTFOUND, not logged, when there is no such file. */
static enum err check_file(const char *path)
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

	enum err e = read_int(s, sql, &value);
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
		e = report(s, rc, "use a write-ahead log");
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
		enum err e = report(s, rc, "open it");

		return (rc & 0xff) != SQLITE_CANTOPEN ? e : sqlite_place_error(sqlite3_system_errno(s->db));
	}
	if (sqlite3_db_readonly(s->db, "main") == 1) {
		log_error("store '%s' cannot be written: permission denied", s->path);
		return E_DENIED;
	}
	sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	return execute(s,
		       "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
		       "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
		       "PRAGMA cache_size = -" STRING_OF(CACHE_KIB),
		       "set it up");
}

static enum err set_up(struct sqlite *s)
{
	enum err e = use_wal(s);

	if (e == E_OK)
		e = execute(s,
			    "PRAGMA wal_autocheckpoint = " STRING_OF(
				CHECKPOINT_PAGES) ";"
						  "PRAGMA journal_size_limit = " STRING_OF(WAL_KEPT_BYTES),
			    "limit its write-ahead log");
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

	enum err e = read_int(db, "PRAGMA user_version", &version);
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

	if (sql == NULL)
		return E_NOMEM;
	enum err e = execute(s, sql, "set its schema version");
	sqlite3_free(sql);
	return e;
}

static enum err apply_step(void *db, const struct migrate_step *step)
{
	struct sqlite *s = db;
	int version = 0;

	enum err e = execute(s, "BEGIN IMMEDIATE", "begin a schema step");
	if (e != E_OK)
		return e;
	e = read_version(s, &version);
	if (e == E_OK && version < step->version) {
		e = execute(s, step->sql, "run a schema step");
		if (e == E_OK)
			e = set_version(s, step);
	}
	if (e == E_OK)
		e = execute(s, "COMMIT", "commit a schema step");
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

	enum err e = read_int(s, "PRAGMA application_id", &id);
	if (e == E_OK && id != SQLITE_PLACE_APPLICATION_ID) {
		log_error("store '%s' is a database, but not one of csrd", s->path);
		e = E_STORE;
	}
	return e;
}

static enum err prepare_all(struct sqlite *s)
{
	for (int i = 0; i < STATEMENTS_LEN; i++) {
		int rc = sqlite3_prepare_v3(s->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
					    &s->statements[i], NULL);
		if (rc != SQLITE_OK)
			return report(s, rc, "prepare a statement: its schema is damaged");
	}
	return E_OK;
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
	if (answer == NULL) {
		e = report(s, rc, "check its pages");
	} else if (strcmp(answer, "ok") != 0) {
		const char *last_line = strrchr(answer, '\n');

		log_error("store '%s' is damaged: %s; restore it from a backup", s->path,
			  last_line == NULL ? answer : last_line + 1);
		e = E_STORE;
	}
	sqlite3_finalize(st);
	return e;
}

/* ---- opening and closing ---- */

static void disconnect(struct sqlite *s)
{
	for (int i = 0; i < STATEMENTS_LEN; i++) {
		sqlite3_finalize(s->statements[i]);
		s->statements[i] = NULL;
	}
	sqlite3_close_v2(s->db);
	s->db = NULL;
}

static void sqlite_close(void *db)
{
	struct sqlite *s = db;

	if (s == NULL)
		return;
	disconnect(s);
	fd_close(&s->file_fd); /* not before SQLite has closed it */
	fd_close(&s->lock_fd);
	for (int i = 0; i < BESIDE_LEN; i++)
		free(s->beside[i].path);
	walk_free(s->walk);
	free(s->path);
	free(s);
}

static enum err fill_new(struct sqlite *s, const char *temporary)
{
	enum err e = connect_to(s, temporary);

	if (e == E_OK)
		e = use_wal(s);
	if (e == E_OK)
		e = execute(s, "PRAGMA application_id = " STRING_OF(SQLITE_PLACE_APPLICATION_ID), "mark it");
	if (e == E_OK)
		e = migrate(s);
	disconnect(s); /* moves the log into the file and flushes it */
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
		log_notice("store '%s' made", s->path);
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
		e = check_file(s->path);
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
	for (int i = 0; i < BESIDE_LEN; i++) {
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
		e = prepare_all(s);
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
	e = folder == NULL ? E_NOMEM : open_file(s, folder, options);
	free(folder);
	return e;
}

static enum err sqlite_open(const struct store_options *options, const char *location, void **ret_db)
{
	struct sqlite *s;
	enum err e;

	if (location[0] != '/' || location[strlen(location) - 1] == '/' ||
	    strlen(location) > SQLITE_PLACE_PATH_MAX - 16) {
		log_error("store url '%s' is not understood: 'sqlite:' and the absolute path of a file",
			  options->url);
		return E_CONFIG;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return E_NOMEM;
	s->lock_fd = -1;
	s->file_fd = -1;
	s->walk = walk_new();
	e = s->walk == NULL ? E_NOMEM : open_at(s, location, options);
	if (e != E_OK) {
		sqlite_close(s);
		return e;
	}
	memset(&s->gate, 0, sizeof(s->gate));
	*ret_db = s;
	return E_OK;
}

/* ---- transactions ---- */

static bool is_beside(const struct sqlite *s)
{
	for (int i = 0; i < BESIDE_LEN; i++) {
		struct stat st;

		if (stat(s->beside[i].path, &st) != 0 || st.st_ino != s->beside[i].inode)
			return false;
	}
	return true;
}

/* Whether the names still lead to what is open. */
static bool is_in_place(const struct sqlite *s)
{
	int moved = 0;

	return sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && !moved &&
	       is_beside(s);
}

/*
 * Whether what is open is what the next start will find: a file that was
 * removed or replaced takes what is written to it with it.
 */
static enum err check_in_place(struct sqlite *s)
{
	unsigned suppressed = 0;

	if (is_in_place(s))
		return E_OK;
	if (log_gate_pass(&s->gate, LOG_EVERY_MS, &suppressed))
		log_error("store '%s': its file, or the log beside it, was removed or replaced while it was "
			  "open: nothing is read or written any more; put it back, or stop, restore a "
			  "backup, start (%u more not logged)",
			  s->path, suppressed);
	return E_UNAVAIL;
}

static enum err sqlite_begin(void *db, bool writes)
{
	struct sqlite *s = db;

	if (s->stopped)
		return E_STORE;
	enum err e = check_in_place(s);
	if (e != E_OK)
		return e;
	s->writes = writes;
	return run_plain(s, writes ? BEGIN_WRITE : BEGIN_READ, "begin a transaction");
}

static void roll_back(struct sqlite *s)
{
	/* SQLite has ended it already after some errors. */
	if (sqlite3_get_autocommit(s->db) == 0) {
		enum err e = run_plain(s, ROLLBACK, "roll back");
		(void)e;
	}
}

static enum err sqlite_end(void *db, bool commit)
{
	struct sqlite *s = db;

	if (!commit) {
		roll_back(s);
		return E_OK;
	}
	struct query q = query_of(s, COMMIT);
	int rc = query_run(&q);
	if (rc == SQLITE_OK)
		return s->writes && check_in_place(s) != E_OK ? E_UNCERTAIN : E_OK;
	enum err e = report(s, rc, "commit");
	roll_back(s);
	if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC) {
		s->stopped = true;
		log_error("store '%s' is not used any more: the disk refused a flush; look at the disk, then "
			  "restart",
			  s->path);
		return E_UNCERTAIN;
	}
	return e;
}

static enum err sqlite_guard(void *db, enum store_guard step)
{
	struct sqlite *s = db;

	if (sqlite3_get_autocommit(s->db) != 0)
		return E_STORE; /* lost in the operation, which has logged why */
	if (step == STORE_GUARD_SET)
		return run_plain(s, GUARD_SET, "set a savepoint");
	if (step == STORE_GUARD_UNDO) {
		enum err e = run_plain(s, GUARD_UNDO, "roll back to a savepoint");
		if (e != E_OK)
			return e;
	}
	return run_plain(s, GUARD_KEEP, "release a savepoint");
}

static enum err write_probe(struct sqlite *s)
{
	enum err e = sqlite_begin(s, true);

	if (e != E_OK)
		return e;
	e = run_plain(s, PROBE_WRITE, "write to it once more");
	if (e == E_OK)
		return sqlite_end(s, true);
	roll_back(s);
	return e;
}

static enum err sqlite_try_write(void *db)
{
	struct sqlite *s = db;

	s->reason = E_OK;
	sqlite3_busy_timeout(s->db, 0);
	enum err e = write_probe(s);
	sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
	return e == E_STORE && s->reason != E_OK ? s->reason : e;
}

/* ---- rows ---- */

static enum err add_audit(struct sqlite *s, int64_t now_us, const char *action, const char *object,
			  const struct audit_origin *origin)
{
	struct query q = query_of(s, AUDIT_ADD);

	bind_int(&q, now_us);
	bind_text(&q, action);
	bind_text(&q, object);
	bind_text(&q, origin->actor == NULL ? "" : origin->actor);
	bind_text(&q, origin->request_id == NULL ? "" : origin->request_id);
	bind_text(&q, origin->peer == NULL ? "" : origin->peer);
	bind_text(&q, origin->detail == NULL ? "" : origin->detail);
	return query_do(&q, "write the audit trail");
}

/* One "type value" a line. */
static enum err format_sans(const struct csr_spec *spec, struct buf *b)
{
	for (size_t i = 0; i < spec->sans_len; i++) {
		if (strchr(spec->sans[i].value, '\n') != NULL)
			return E_INVAL;
		buf_printf(b, "%s %s\n", san_type_name(spec->sans[i].type), spec->sans[i].value);
	}
	return buf_status(b);
}

static enum err parse_san_line(char *line, struct csr_spec *spec)
{
	char *value = strchr(line, ' ');
	enum san_type type;

	if (value == NULL)
		return E_STORE;
	*value++ = '\0';
	if (san_type_parse(line, &type) != E_OK)
		return E_STORE;
	return csr_spec_add_san(spec, type, value);
}

static enum err parse_sans(struct query *q, int column, struct csr_spec *spec)
{
	char *lines, *line, *end;
	enum err e = column_text(q, column, &lines);

	for (line = lines; e == E_OK && line != NULL && *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		if (end == NULL) {
			e = E_STORE;
			break;
		}
		*end = '\0';
		e = parse_san_line(line, spec);
	}
	free(lines);
	return e == E_OK || e == E_NOMEM ? e : report(q->s, SQLITE_CORRUPT, "read the names of a CSR");
}

static enum err read_spec(struct query *q, struct csr_spec *spec)
{
	char **const texts[] = {
	    &spec->country,    &spec->state, &spec->locality, &spec->organization, &spec->organizational_unit,
	    &spec->common_name};
	const int first = 9;
	enum err e = E_OK;

	spec->key_type = (enum key_type)sqlite3_column_int(q->st, 8);
	for (int i = 0; e == E_OK && i < 6; i++)
		e = column_text(q, first + i, texts[i]);
	return e == E_OK ? parse_sans(q, first + 6, spec) : e;
}

static enum err read_key(struct query *q, struct csr_record *r)
{
	if (r->pem == NULL)
		return E_OK;
	r->protection = (uint32_t)sqlite3_column_int64(q->st, 21);
	enum err e = column_blob(q, 19, r->key_id, sizeof(r->key_id));
	return e == E_OK ? column_blob(q, 20, r->spki_sha256, sizeof(r->spki_sha256)) : e;
}

/* The columns CSR_COLUMNS of the row at hand.  The record is filled as far as it got, also after an error. */
static enum err read_csr(struct query *q, struct csr_record *r)
{
	bool in_zone = sqlite3_column_type(q->st, 2) != SQLITE_NULL;
	struct {
		int column;
		char *dst;
		size_t size;
	} fixed[] = {
	    {0, r->id, sizeof(r->id)},
	    {1, r->account_tag, sizeof(r->account_tag)},
	    {in_zone ? 2 : 1, r->scope.id, sizeof(r->scope.id)},
	    {3, r->token_name, sizeof(r->token_name)},
	    {4, r->principal_id, sizeof(r->principal_id)},
	};
	enum err e = E_OK;

	for (size_t i = 0; e == E_OK && i < sizeof(fixed) / sizeof(fixed[0]); i++)
		e = column_fixed(q, fixed[i].column, fixed[i].dst, fixed[i].size);
	r->scope.kind = in_zone ? STORE_ZONE : STORE_ACCOUNT;
	r->state = (enum csr_state)sqlite3_column_int(q->st, 5);
	r->created_us = sqlite3_column_int64(q->st, 6);
	r->updated_us = sqlite3_column_int64(q->st, 7);
	r->set_aside_us = sqlite3_column_int64(q->st, 22);
	if (e == E_OK)
		e = read_spec(q, &r->spec);
	if (e == E_OK)
		e = column_text(q, 16, &r->name);
	if (e == E_OK)
		e = column_text(q, 17, &r->description);
	if (e == E_OK)
		e = column_text(q, 18, &r->pem);
	return e == E_OK ? read_key(q, r) : e;
}

/* What a create or a list needs to know of an account or zone. */
struct scope_row {
	char account_id[STORE_TAG_SIZE];
	int64_t csr_quota;
	int64_t csr_count;
	int64_t csr_active;
};

static enum err find_scope(struct sqlite *s, const struct store_scope *scope, struct scope_row *ret_row)
{
	struct query q = query_of(s, scope->kind == STORE_ZONE ? ZONE_FIND : ACCOUNT_FIND);
	struct scope_row row;
	enum err e = E_OK;

	bind_text(&q, scope->id);
	int rc = query_step(&q);
	if (rc == SQLITE_ROW) {
		e = column_fixed(&q, 0, row.account_id, sizeof(row.account_id));
		row.csr_quota = sqlite3_column_int64(q.st, 1);
		row.csr_count = sqlite3_column_int64(q.st, 2);
		row.csr_active = sqlite3_column_int64(q.st, 3);
		if (e == E_OK)
			*ret_row = row;
	} else {
		e = rc == SQLITE_DONE ? E_NOTFOUND : report(s, rc, "find an account or zone");
	}
	query_end(&q);
	return e;
}

/* ---- principals ---- */

static enum err read_grants(struct sqlite *s, struct principal *p)
{
	struct query q = query_of(s, GRANT_LIST);
	enum err e = E_OK;

	bind_text(&q, p->id);
	while (e == E_OK && query_step(&q) == SQLITE_ROW) {
		struct grant *grown = reallocarray(p->grants, p->grants_len + 1, sizeof(*grown));
		if (grown == NULL) {
			e = E_NOMEM;
			break;
		}
		p->grants = grown;
		struct grant *g = &grown[p->grants_len++];
		bool on_zone = sqlite3_column_type(q.st, 1) != SQLITE_NULL;
		g->scope.kind = on_zone ? STORE_ZONE : STORE_ACCOUNT;
		g->permission = (enum grant_permission)sqlite3_column_int(q.st, 2);
		e = column_fixed(&q, on_zone ? 1 : 0, g->scope.id, sizeof(g->scope.id));
	}
	return query_finish(&q, e, "read the grants of a principal");
}

static enum err read_principal(struct query *q, struct principal *p)
{
	p->kind = (enum principal_kind)sqlite3_column_int(q->st, 1);
	p->created_us = sqlite3_column_int64(q->st, 4);
	p->not_before_us = sqlite3_column_int64(q->st, 5);
	p->expires_us = sqlite3_column_int64(q->st, 6);
	p->revoked_us = sqlite3_column_int64(q->st, 7);
	enum err e = column_fixed(q, 0, p->id, sizeof(p->id));
	if (e == E_OK)
		e = column_text(q, 2, &p->name);
	if (e == E_OK)
		e = column_blob(q, 3, p->secret_hash, sizeof(p->secret_hash));
	return e == E_OK ? read_grants(q->s, p) : e;
}

static enum err sqlite_principal_find(void *db, enum principal_kind kind,
				      const uint8_t secret_hash[STORE_HASH_BYTES],
				      struct principal *ret_principal)
{
	struct query q = query_of(db, PRINCIPAL_FIND);
	struct principal found = {0};
	enum err e;

	bind_blob(&q, secret_hash, STORE_HASH_BYTES);
	bind_int(&q, kind);
	int rc = query_step(&q);
	if (rc == SQLITE_ROW)
		e = read_principal(&q, &found);
	else
		e = rc == SQLITE_DONE ? E_NOTFOUND : report(db, rc, "find a principal");
	query_end(&q);
	if (e == E_OK)
		*ret_principal = found;
	else
		principal_release(&found);
	return e;
}

/* ---- CSRs: create ---- */

static void bind_idempotency_key(struct query *q, const struct store_csr_begin *in)
{
	bind_text(q, in->record->principal_id);
	bind_int(q, in->record->scope.kind);
	bind_text(q, in->record->scope.id);
	bind_text(q, in->idempotency_key);
}

static enum err sqlite_csr_get(void *db, const char *id, struct csr_record *ret_record);

/* What an idempotency key that was seen before makes of this create. */
static enum err judge_repeat(struct sqlite *s, const struct store_csr_begin *in, const uint8_t *hash,
			     const char *csr_id, enum store_begin *ret_outcome, struct csr_record *ret_replay)
{
	struct csr_record first;

	if (memcmp(hash, in->request_hash, STORE_HASH_BYTES) != 0) {
		*ret_outcome = STORE_BEGIN_MISMATCH;
		return E_OK;
	}
	enum err e = sqlite_csr_get(s, csr_id, &first);
	if (e != E_OK)
		return e == E_NOTFOUND ? E_STORE : e;
	if (first.state == CSR_ACTIVE || first.state == CSR_PENDING) {
		*ret_replay = first;
		*ret_outcome = first.state == CSR_ACTIVE ? STORE_BEGIN_REPLAY : STORE_BEGIN_IN_FLIGHT;
		return E_OK;
	}
	*ret_outcome = STORE_BEGIN_GONE;
	csr_record_release(&first);
	return E_OK;
}

/* Outcome NEW when the key is not known, or so old that it has been forgotten. */
static enum err check_idempotency(struct sqlite *s, const struct store_csr_begin *in, int64_t now_us,
				  enum store_begin *ret_outcome, struct csr_record *ret_replay)
{
	struct query q = query_of(s, IDEMPOTENCY_FIND);
	uint8_t hash[STORE_HASH_BYTES];
	char csr_id[CSR_ID_SIZE];
	enum err e = E_OK;

	bind_idempotency_key(&q, in);
	int rc = query_step(&q);
	if (rc == SQLITE_ROW && sqlite3_column_int64(q.st, 0) >= now_us - in->idempotency_ttl_us) {
		e = column_blob(&q, 1, hash, sizeof(hash));
		if (e == E_OK)
			e = column_fixed(&q, 2, csr_id, sizeof(csr_id));
		query_end(&q);
		return e == E_OK ? judge_repeat(s, in, hash, csr_id, ret_outcome, ret_replay) : e;
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		e = report(s, rc, "find an idempotency key");
	query_end(&q);
	if (e == E_OK && rc == SQLITE_ROW) {
		q = query_of(s, IDEMPOTENCY_REMOVE);
		bind_idempotency_key(&q, in);
		e = query_do(&q, "remove an idempotency key");
	}
	if (e == E_OK)
		*ret_outcome = STORE_BEGIN_NEW;
	return e;
}

static enum err purge_idempotency(struct sqlite *s, const struct store_csr_begin *in, int64_t now_us)
{
	struct query q = query_of(s, IDEMPOTENCY_PURGE);

	if (in->idempotency_ttl_us <= 0)
		return E_OK;
	bind_int(&q, now_us - in->idempotency_ttl_us);
	bind_int(&q, PURGE_MAX);
	return query_do(&q, "remove old idempotency keys");
}

static enum err add_csr(struct sqlite *s, const struct csr_record *r)
{
	const struct csr_spec *spec = &r->spec;
	struct query q = query_of(s, CSR_ADD);
	struct buf sans;

	buf_init(&sans, SANS_BYTES_MAX);
	enum err e = format_sans(spec, &sans);
	if (e != E_OK)
		goto out;
	bind_text(&q, r->id);
	bind_text(&q, r->account_tag);
	bind_text(&q, r->scope.kind == STORE_ZONE ? r->scope.id : NULL);
	bind_text(&q, r->token_name);
	bind_text(&q, r->principal_id);
	bind_int(&q, r->state);
	bind_int(&q, r->created_us);
	bind_int(&q, r->updated_us);
	bind_int(&q, spec->key_type);
	bind_text(&q, spec->country);
	bind_text(&q, spec->state);
	bind_text(&q, spec->locality);
	bind_text(&q, spec->organization);
	bind_text(&q, spec->organizational_unit);
	bind_text(&q, spec->common_name);
	bind_text(&q, buf_text(&sans));
	bind_text(&q, r->name);
	bind_text(&q, r->description);
	int rc = query_run(&q);
	if (is_taken(s, rc))
		e = E_EXISTS;
	else if (rc != SQLITE_OK)
		e = report(s, rc, "add a CSR");
out:
	buf_release(&sans);
	return e;
}

static enum err add_idempotency(struct sqlite *s, const struct store_csr_begin *in, int64_t now_us)
{
	struct query q = query_of(s, IDEMPOTENCY_ADD);

	if (in->idempotency_key == NULL)
		return E_OK;
	bind_idempotency_key(&q, in);
	bind_text(&q, in->record->id);
	bind_blob(&q, in->request_hash, STORE_HASH_BYTES);
	bind_int(&q, now_us);
	return query_do(&q, "add an idempotency key");
}

static enum err begin_new(struct sqlite *s, const struct store_csr_begin *in, const char *account_tag,
			  int64_t now_us)
{
	struct csr_record *r = in->record;

	enum err e = str_copy(r->account_tag, sizeof(r->account_tag), account_tag);
	if (e != E_OK)
		return e;
	r->state = CSR_PENDING;
	r->created_us = now_us;
	r->updated_us = now_us;
	e = add_csr(s, r);
	if (e == E_OK)
		e = add_idempotency(s, in, now_us);
	if (e == E_OK)
		e = purge_idempotency(s, in, now_us);
	if (e == E_OK)
		e = add_audit(s, now_us, store_audit_action_of_state(CSR_PENDING), r->id, &in->origin);
	return e;
}

static enum err sqlite_csr_begin(void *db, const struct store_csr_begin *in, int64_t now_us,
				 enum store_begin *ret_outcome, struct csr_record *ret_replay)
{
	enum store_begin outcome = STORE_BEGIN_NEW;
	struct scope_row scope;

	enum err e = find_scope(db, &in->record->scope, &scope);
	if (e == E_NOTFOUND) {
		*ret_outcome = STORE_BEGIN_NO_SCOPE;
		return E_OK;
	}
	if (e == E_OK && in->idempotency_key != NULL)
		e = check_idempotency(db, in, now_us, &outcome, ret_replay);
	if (e == E_OK && outcome == STORE_BEGIN_NEW) {
		if (scope.csr_quota != STORE_NO_LIMIT && scope.csr_count >= scope.csr_quota)
			outcome = STORE_BEGIN_QUOTA;
		else
			e = begin_new(db, in, scope.account_id, now_us);
	}
	if (e == E_OK)
		*ret_outcome = outcome;
	return e;
}

/* ---- CSRs: the rest ---- */

static int run_move(struct sqlite *s, const struct store_csr_move *in, int64_t now_us)
{
	struct query q = query_of(s, in->result == NULL ? CSR_MOVE : CSR_MOVE_ACTIVE);

	bind_int(&q, in->to);
	bind_int(&q, now_us);
	if (in->result != NULL) {
		bind_text(&q, in->result->pem);
		bind_blob(&q, in->result->key_id, sizeof(in->result->key_id));
		bind_blob(&q, in->result->spki_sha256, sizeof(in->result->spki_sha256));
		bind_int(&q, in->result->protection);
	}
	bind_text(&q, in->id);
	bind_int(&q, in->from);
	return query_run(&q);
}

static enum err sqlite_csr_move(void *db, const struct store_csr_move *in, int64_t now_us)
{
	struct sqlite *s = db;
	enum err e = E_OK;

	int rc = run_move(s, in, now_us);
	if (is_taken(s, rc))
		return E_EXISTS;
	if (rc != SQLITE_OK)
		return report(s, rc, "change the state of a CSR");
	if (sqlite3_changes(s->db) == 0)
		return E_NOTFOUND;
	if (in->to == CSR_FAILED) {
		struct query q = query_of(s, IDEMPOTENCY_FORGET);

		bind_text(&q, in->id);
		e = query_do(&q, "remove an idempotency key");
	}
	return e == E_OK ? add_audit(s, now_us, store_audit_action_of_state(in->to), in->id, &in->origin) : e;
}

static enum err sqlite_csr_get(void *db, const char *id, struct csr_record *ret_record)
{
	struct query q = query_of(db, CSR_GET);
	struct csr_record found = {0};
	enum err e;

	bind_text(&q, id);
	int rc = query_step(&q);
	if (rc == SQLITE_ROW)
		e = read_csr(&q, &found);
	else
		e = rc == SQLITE_DONE ? E_NOTFOUND : report(db, rc, "read a CSR");
	query_end(&q);
	if (e == E_OK)
		*ret_record = found;
	else
		csr_record_release(&found);
	return e;
}

/* Appends to the page, which has room for `limit`. */
static enum err read_page(struct query *q, unsigned limit, struct store_csr_page *page)
{
	enum err e = E_OK;

	while (e == E_OK && query_step(q) == SQLITE_ROW && page->records_len < limit)
		e = read_csr(q, &page->records[page->records_len++]);
	return query_finish(q, e, "list CSRs");
}

#define ONLY_ACTIVE CSR_STATE_BIT(CSR_ACTIVE)
#define UNSETTLED (CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_DELETING))

/* The four parameters of ANY_WHERE. */
static void bind_any(struct query *q, const struct store_csr_query *query, const char *account_id)
{
	bool in_zone = query->scope != NULL && query->scope->kind == STORE_ZONE;

	bind_int(q, query->states);
	bind_text(q, account_id);
	bind_text(q, in_zone ? query->scope->id : NULL);
	bind_int(q, query->updated_before_us);
}

/* Which of six statements. */
static int list_way(const struct store_csr_query *query)
{
	return 2 * ((int)query->order - STORE_ORDER_CREATED_AT) + (query->descending ? 1 : 0);
}

static bool is_active_list(const struct store_csr_query *query)
{
	return query->after_id == NULL && query->filter == NULL && query->scope != NULL &&
	       query->states == ONLY_ACTIVE &&
	       query->updated_before_us == 0;
}

static void bind_filter(struct query *q, const struct store_csr_filter *filter)
{
	bind_int(q, filter->since_us);
	bind_int(q, filter->until_us);
	bind_text(q, filter->id_prefix);
	bind_text(q, filter->token_name);
	bind_text(q, filter->principal_id);
	bind_int(q, filter->key_type);
	bind_blob(q, filter->key, filter->key_len);
	bind_text(q, filter->name);
	bind_text(q, filter->san);
	bind_text(q, filter->word);
}

static struct query list_query(struct sqlite *s, const struct store_csr_query *query, const char *account_id)
{
	int way = list_way(query);
	bool in_zone = query->scope != NULL && query->scope->kind == STORE_ZONE;
	struct query q;

	if (query->filter != NULL) {
		q = query_of(s, query->descending ? FILTER_NEWEST : FILTER_OLDEST);
		bind_any(&q, query, account_id);
		bind_filter(&q, query->filter);
		bind_int(&q, query->limit);
		bind_int(&q, (int64_t)query->offset);
		return q;
	}
	if (query->after_id != NULL) {
		q = query_of(s, (query->states & ~UNSETTLED) == 0 ? PASS_UNSETTLED : PASS_ANY);
		bind_any(&q, query, account_id);
		bind_text(&q, query->after_id);
		bind_int(&q, query->limit);
		return q;
	}
	if (is_active_list(query)) {
		q = query_of(s, (enum statement)(LIST_ACTIVE_FIRST + way));
		bind_text(&q, account_id);
		bind_text(&q, in_zone ? query->scope->id : NULL);
	} else {
		q = query_of(s, (enum statement)(LIST_ANY_FIRST + way));
		bind_any(&q, query, account_id);
	}
	bind_int(&q, query->limit);
	bind_int(&q, (int64_t)query->offset);
	return q;
}

static enum err read_total(struct sqlite *s, const struct store_csr_query *query,
			   const struct scope_row *scope, uint64_t *ret_total)
{
	bool active = query->states == ONLY_ACTIVE && query->filter == NULL;
	struct query q;

	if (query->after_id != NULL) {
		*ret_total = 0;
		return E_OK;
	}
	if (active && query->scope != NULL) {
		*ret_total = (uint64_t)scope->csr_active;
		return E_OK;
	}
	q = query_of(s, active ? ACTIVE_TOTAL : query->filter != NULL ? FILTER_TOTAL : ANY_TOTAL);
	if (!active) {
		struct store_csr_query of_any_age = *query;

		of_any_age.updated_before_us = 0;
		bind_any(&q, &of_any_age, query->scope == NULL ? NULL : scope->account_id);
	}
	if (query->filter != NULL)
		bind_filter(&q, query->filter);
	if (query_step(&q) != SQLITE_ROW) {
		query_end(&q);
		return report(s, q.rc, "count CSRs");
	}
	*ret_total = (uint64_t)sqlite3_column_int64(q.st, 0);
	query_end(&q);
	return E_OK;
}

/* What is left of the page, by one statement of LIST_AFTER: behind the row of that name or time, and id. */
static enum err read_after(struct sqlite *s, const struct store_csr_query *query, const char *account_id,
			   enum statement which, const struct walk_mark *mark, struct store_csr_page *page)
{
	struct query q = query_of(s, which);

	if (page->records_len >= query->limit)
		return E_OK;
	bind_text(&q, account_id);
	bind_text(&q, query->scope->kind == STORE_ZONE ? query->scope->id : NULL);
	bind_int(&q, query->limit - (int64_t)page->records_len);
	if (query->order == STORE_ORDER_NAME)
		bind_text(&q, mark->name);
	else
		bind_int(&q, mark->created_us);
	bind_text(&q, mark->id);
	return read_page(&q, query->limit, page);
}

/* The page behind a row.  Rows without a name are a range of their own, before all that have one. */
static enum err read_behind(struct sqlite *s, const struct store_csr_query *query, const char *account_id,
			    const struct walk_mark *mark, struct store_csr_page *page)
{
	static char no_name[] = "";
	const struct walk_mark first_named = {.name = no_name}, last_nameless = {.id = "~"};
	enum statement list = (enum statement)(LIST_AFTER_FIRST + list_way(query));
	enum statement nameless = (enum statement)(LIST_NAMELESS_FIRST + query->descending);
	bool is_nameless = query->order == STORE_ORDER_NAME && mark->name == NULL;
	enum err e;

	e = read_after(s, query, account_id, is_nameless ? nameless : list, mark, page);
	if (e != E_OK || query->order != STORE_ORDER_NAME || is_nameless == query->descending)
		return e;
	if (is_nameless)
		return read_after(s, query, account_id, list, &first_named, page);
	return read_after(s, query, account_id, nameless, &last_nameless, page);
}

/* A page that nothing is known of is counted to, from the nearer end of the list. */
static enum err read_counted(struct sqlite *s, const struct store_csr_query *query, const char *account_id,
			     struct store_csr_page *page)
{
	struct store_csr_query near = *query;

	if (query->offset >= page->total) /* past the end: not looked for along the whole index */
		return E_OK;
	bool backwards = query->offset > page->total / 2;
	if (backwards) {
		if (near.limit > page->total - query->offset)
			near.limit = (unsigned)(page->total - query->offset);
		near.offset = page->total - query->offset - near.limit;
		near.descending = !query->descending;
	}
	struct query q = list_query(s, &near, account_id);
	enum err e = read_page(&q, near.limit, page);
	for (size_t i = 0; backwards && i < page->records_len / 2; i++) {
		struct csr_record *a = &page->records[i], *b = &page->records[page->records_len - 1 - i];
		struct csr_record swapped = *a;

		*a = *b;
		*b = swapped;
	}
	return e;
}

/* A page of a list along an index, and where it ended. */
static enum err read_active(struct sqlite *s, const struct store_csr_query *query, const char *account_id,
			    struct store_csr_page *page)
{
	const struct walk_mark *mark = query->reader == NULL ? NULL : walk_find(s->walk, query);
	enum err e = mark != NULL ? read_behind(s, query, account_id, mark, page)
				  : read_counted(s, query, account_id, page);

	if (e == E_OK && query->reader != NULL && page->records_len > 0)
		walk_keep(s->walk, query, &page->records[page->records_len - 1]);
	return e;
}

static enum err read_any(struct sqlite *s, const struct store_csr_query *query, const char *account_id,
			 struct store_csr_page *page)
{
	if (query->after_id == NULL && query->offset >= page->total)
		return E_OK;
	struct query q = list_query(s, query, account_id);

	return read_page(&q, query->limit, page);
}

static enum err sqlite_csr_list(void *db, const struct store_csr_query *query,
				struct store_csr_page *ret_page)
{
	struct store_csr_page page = {0};
	struct scope_row scope;
	enum err e = E_OK;

	if (query->scope != NULL)
		e = find_scope(db, query->scope, &scope);
	if (e == E_NOTFOUND) {
		*ret_page = page;
		return E_OK;
	}
	if (e == E_OK)
		e = read_total(db, query, &scope, &page.total);
	if (e == E_OK) {
		page.records = calloc(query->limit, sizeof(*page.records));
		e = page.records == NULL ? E_NOMEM : E_OK;
	}
	if (e == E_OK && is_active_list(query))
		e = read_active(db, query, scope.account_id, &page);
	else if (e == E_OK)
		e = read_any(db, query, query->scope == NULL ? NULL : scope.account_id, &page);
	if (e == E_OK)
		*ret_page = page;
	else
		store_csr_page_release(&page);
	return e;
}

/* ---- operators ---- */

/* An insert by an operator: what is in the way already, and what is missing, are answers and not faults. */
static enum err run_insert(struct query *q, const char *what)
{
	int rc = query_run(q);

	if (rc == SQLITE_OK)
		return E_OK;
	if (is_taken(q->s, rc))
		return E_EXISTS;
	return rc == SQLITE_CONSTRAINT_FOREIGNKEY ? E_NOTFOUND : report(q->s, rc, what);
}

static const char *text_or_empty(const char *text)
{
	return text == NULL ? "" : text;
}

static enum err add_account(struct sqlite *s, const struct account_record *account, int64_t now_us)
{
	struct query q = query_of(s, ACCOUNT_ADD);

	bind_text(&q, account->id);
	bind_text(&q, text_or_empty(account->name));
	bind_int(&q, account->csr_quota);
	bind_int(&q, now_us);
	return run_insert(&q, "add an account");
}

static enum err add_zone(struct sqlite *s, const struct zone_record *zone, int64_t now_us)
{
	struct query q = query_of(s, ZONE_ADD);

	bind_text(&q, zone->id);
	bind_text(&q, zone->account_id);
	bind_text(&q, text_or_empty(zone->name));
	bind_int(&q, zone->csr_quota);
	bind_int(&q, now_us);
	return run_insert(&q, "add a zone");
}

/* The strongest of the grants on the same thing; 0 when an earlier one stands for it. */
static enum grant_permission permission_of(const struct principal *p, size_t which)
{
	enum grant_permission strongest = p->grants[which].permission;

	for (size_t i = 0; i < p->grants_len; i++) {
		if (!store_scope_equal(&p->grants[i].scope, &p->grants[which].scope))
			continue;
		if (i < which)
			return 0;
		if (p->grants[i].permission > strongest)
			strongest = p->grants[i].permission;
	}
	return strongest;
}

static enum err add_grant(struct sqlite *s, const struct principal *p, size_t which)
{
	const struct store_scope *scope = &p->grants[which].scope;
	enum grant_permission permission = permission_of(p, which);
	struct query q = query_of(s, scope->kind == STORE_ZONE ? GRANT_ADD_ZONE : GRANT_ADD_ACCOUNT);

	if (permission == 0)
		return E_OK;
	bind_text(&q, p->id);
	bind_text(&q, scope->id);
	bind_int(&q, permission);
	return run_insert(&q, "add a grant");
}

static enum err add_principal(struct sqlite *s, const struct principal *p, int64_t now_us)
{
	struct query q = query_of(s, PRINCIPAL_ADD);

	bind_text(&q, p->id);
	bind_int(&q, p->kind);
	bind_text(&q, text_or_empty(p->name));
	bind_blob(&q, p->secret_hash, sizeof(p->secret_hash));
	bind_int(&q, now_us);
	bind_int(&q, p->not_before_us);
	bind_int(&q, p->expires_us);
	enum err e = run_insert(&q, "add a principal");
	for (size_t i = 0; e == E_OK && i < p->grants_len; i++)
		e = add_grant(s, p, i);
	return e;
}

/* *ret_changed: false when it was revoked before. */
static enum err revoke_principal(struct sqlite *s, const struct store_change *in, int64_t now_us,
				 bool *ret_changed)
{
	struct query q = query_of(s, PRINCIPAL_STATE);

	bind_text(&q, in->principal_id);
	bind_int(&q, in->principal_kind);
	int rc = query_step(&q);
	int64_t revoked_us = rc == SQLITE_ROW ? sqlite3_column_int64(q.st, 0) : 0;
	query_end(&q);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? E_NOTFOUND : report(s, rc, "find a principal");
	*ret_changed = revoked_us == 0;
	if (revoked_us != 0)
		return E_OK;
	q = query_of(s, PRINCIPAL_REVOKE);
	bind_int(&q, now_us);
	bind_text(&q, in->principal_id);
	return query_do(&q, "revoke a principal");
}

/* ---- a store that went back ---- */

static enum err sqlite_mark(void *db, const char *token_name, struct store_mark *ret_mark)
{
	struct store_mark mark = {0};
	struct query q = query_of(db, LINEAGE_FIND);
	enum err e = E_OK;

	bind_text(&q, token_name);
	int rc = query_step(&q);
	if (rc == SQLITE_ROW) {
		mark.has_lineage = true;
		e = column_blob(&q, 0, mark.lineage, sizeof(mark.lineage));
	} else if (rc != SQLITE_DONE) {
		e = report(db, rc, "find the lineage of a token");
	}
	query_end(&q);
	if (e != E_OK)
		return e;
	q = query_of(db, AUDIT_LAST);
	rc = query_step(&q);
	if (rc == SQLITE_ROW)
		mark.sequence = sqlite3_column_int64(q.st, 0);
	else
		e = report(db, rc, "read the end of the audit trail");
	query_end(&q);
	if (e == E_OK)
		*ret_mark = mark;
	return e;
}

static enum err tell_aside(struct sqlite *s, enum statement which, const char *token_name, int64_t now_us,
			   const char *actor)
{
	bool pending = which == ASIDE_TELL_PENDING;
	struct query q = query_of(s, which);

	bind_text(&q, token_name);
	bind_int(&q, now_us);
	bind_text(&q, pending ? store_audit_action_of_state(CSR_FAILED) : STORE_AUDIT_SET_ASIDE);
	bind_text(&q, actor == NULL ? "" : actor);
	bind_text(&q, pending ? STORE_AUDIT_KEPT_PENDING : STORE_AUDIT_KEPT_DELETING);
	return query_do(&q, "write the audit trail");
}

static enum err move_aside(struct sqlite *s, enum statement which, const char *token_name, int64_t now_us,
			   uint64_t *rows)
{
	struct query q = query_of(s, which);

	bind_text(&q, token_name);
	if (which != ASIDE_FORGET)
		bind_int(&q, now_us);
	enum err e = query_do(&q, "set open rows aside");
	if (e == E_OK && which != ASIDE_FORGET)
		*rows += (uint64_t)sqlite3_changes(s->db);
	return e;
}

/* The open rows of a token, NULL for all.  What is told and forgotten comes first: it goes by the state. */
static enum err set_rows_aside(struct sqlite *s, const char *token_name, int64_t now_us, const char *actor,
			       uint64_t *ret_rows)
{
	uint64_t rows = 0;
	enum err e = tell_aside(s, ASIDE_TELL_PENDING, token_name, now_us, actor);

	if (e == E_OK)
		e = tell_aside(s, ASIDE_TELL_DELETING, token_name, now_us, actor);
	if (e == E_OK)
		e = move_aside(s, ASIDE_FORGET, token_name, now_us, &rows);
	if (e == E_OK)
		e = move_aside(s, ASIDE_PENDING, token_name, now_us, &rows);
	if (e == E_OK)
		e = move_aside(s, ASIDE_DELETING, token_name, now_us, &rows);
	if (e == E_OK)
		*ret_rows = rows;
	return e;
}

static enum err sqlite_set_aside(void *db, const struct store_set_aside *in, int64_t now_us,
				 uint64_t *ret_rows)
{
	struct query q = query_of(db, LINEAGE_SET);
	uint64_t rows = 0;

	bind_text(&q, in->token_name);
	bind_blob(&q, in->lineage, sizeof(in->lineage));
	enum err e = query_do(&q, "set the lineage of a token");
	if (e == E_OK)
		e = set_rows_aside(db, in->token_name, now_us, in->origin.actor, &rows);
	if (e == E_OK && (rows > 0 || in->went_back))
		e = add_audit(db, now_us, STORE_AUDIT_ROLLED_BACK, STORE_AUDIT_OBJECT, &in->origin);
	if (e == E_OK)
		*ret_rows = rows;
	return e;
}

/* The lineages go: whoever meets this store next has not seen it. */
static enum err restored(struct sqlite *s, int64_t now_us, const struct audit_origin *origin)
{
	uint64_t rows;
	enum err e = set_rows_aside(s, NULL, now_us, origin->actor, &rows);

	return e == E_OK ? run_plain(s, LINEAGE_FORGET_ALL, "forget the lineages") : e;
}

/* Whether the trail tells already of a leftover key that has not gone since. */
static enum err leftover_is_told(struct sqlite *s, const char *csr_id, bool *ret_told)
{
	struct query q = query_of(s, LEFTOVER_LAST);
	enum err e = E_OK;

	bind_text(&q, csr_id);
	int rc = query_step(&q);
	if (rc == SQLITE_ROW)
		*ret_told = strcmp((const char *)sqlite3_column_text(q.st, 0), "csr.leftover") == 0;
	else if (rc == SQLITE_DONE)
		*ret_told = false;
	else
		e = report(s, rc, "read the audit trail");
	query_end(&q);
	return e;
}

static enum err set_scope(struct sqlite *s, const struct store_scope_change *in)
{
	struct query q = query_of(s, in->scope.kind == STORE_ZONE ? ZONE_SET : ACCOUNT_SET);

	bind_text(&q, in->scope.id);
	bind_text(&q, in->name);
	if (in->sets_quota)
		bind_int(&q, in->csr_quota);
	else
		bind_null(&q);
	enum err e = query_do(&q, "change an account or zone");
	return e == E_OK && sqlite3_changes(s->db) == 0 ? E_NOTFOUND : e;
}

static enum err sqlite_change(void *db, const struct store_change *in, int64_t now_us)
{
	const char *object = NULL;
	bool changed = true;
	enum err e = E_BUG;

	switch (in->kind) {
	case STORE_CHANGE_ACCOUNT_ADD:
		object = in->account->id;
		e = add_account(db, in->account, now_us);
		break;
	case STORE_CHANGE_ZONE_ADD:
		object = in->zone->id;
		e = add_zone(db, in->zone, now_us);
		break;
	case STORE_CHANGE_PRINCIPAL_ADD:
		object = in->principal->id;
		e = add_principal(db, in->principal, now_us);
		break;
	case STORE_CHANGE_PRINCIPAL_REVOKE:
		object = in->principal_id;
		e = revoke_principal(db, in, now_us, &changed);
		break;
	case STORE_CHANGE_SCOPE_SET:
		object = in->scope_change.scope.id;
		e = set_scope(db, &in->scope_change);
		break;
	case STORE_CHANGE_CSR_LEFTOVER: {
		bool told = false;

		object = in->csr_id;
		e = leftover_is_told(db, in->csr_id, &told);
		changed = !told;
		break;
	}
	case STORE_CHANGE_CSR_LEFTOVER_GONE:
		object = in->csr_id;
		e = E_OK;
		break;
	case STORE_CHANGE_BACKUP:
		object = STORE_AUDIT_OBJECT;
		e = E_OK;
		break;
	case STORE_CHANGE_RESTORE:
		object = STORE_AUDIT_OBJECT;
		e = restored(db, now_us, &in->origin);
		break;
	}
	if (e != E_OK || !changed)
		return e;
	return add_audit(db, now_us, store_audit_action_of_change(in), object, &in->origin);
}

static enum err read_account(struct query *q, struct account_record *a)
{
	a->csr_quota = sqlite3_column_int64(q->st, 2);
	a->csr_count = sqlite3_column_int64(q->st, 3);
	a->created_us = sqlite3_column_int64(q->st, 4);
	enum err e = column_fixed(q, 0, a->id, sizeof(a->id));
	return e == E_OK ? column_text(q, 1, &a->name) : e;
}

static enum err read_zone(struct query *q, struct zone_record *z)
{
	z->csr_quota = sqlite3_column_int64(q->st, 3);
	z->csr_count = sqlite3_column_int64(q->st, 4);
	z->created_us = sqlite3_column_int64(q->st, 5);
	enum err e = column_fixed(q, 0, z->id, sizeof(z->id));
	if (e == E_OK)
		e = column_fixed(q, 1, z->account_id, sizeof(z->account_id));
	return e == E_OK ? column_text(q, 2, &z->name) : e;
}

static enum err read_audit(struct query *q, struct audit_record *a)
{
	char **const texts[] = {&a->action, &a->object, &a->actor, &a->request_id, &a->peer, &a->detail};
	enum err e = E_OK;

	a->sequence = sqlite3_column_int64(q->st, 0);
	a->at_us = sqlite3_column_int64(q->st, 1);
	for (int i = 0; e == E_OK && i < 6; i++)
		e = column_text(q, 2 + i, texts[i]);
	return e;
}

static enum err read_item(struct query *q, enum store_inventory_kind kind, void *item)
{
	switch (kind) {
	case STORE_INVENTORY_ACCOUNTS:
		return read_account(q, item);
	case STORE_INVENTORY_ZONES:
		return read_zone(q, item);
	case STORE_INVENTORY_PRINCIPALS:
		return read_principal(q, item);
	case STORE_INVENTORY_AUDIT:
	case STORE_INVENTORY_TRAIL:
		return read_audit(q, item);
	}
	return E_BUG;
}

static void bind_trail(struct query *q, const struct store_audit_query *trail)
{
	bind_int(q, trail->since_us);
	bind_int(q, trail->until_us);
	bind_text(q, trail->actor);
	bind_text(q, trail->object);
	bind_text(q, trail->action);
	bind_int(q, trail->below_sequence);
	bind_int(q, trail->limit);
}

static struct query inventory_query(struct sqlite *s, const struct store_inventory_query *query)
{
	static const enum statement statement_of[] = {
	    [STORE_INVENTORY_ACCOUNTS] = ACCOUNT_LIST,
	    [STORE_INVENTORY_ZONES] = ZONE_LIST,
	    [STORE_INVENTORY_PRINCIPALS] = PRINCIPAL_LIST,
	    [STORE_INVENTORY_AUDIT] = AUDIT_LIST,
	    [STORE_INVENTORY_TRAIL] = AUDIT_SEARCH,
	};
	struct query q = query_of(s, statement_of[query->kind]);

	if (query->kind == STORE_INVENTORY_PRINCIPALS)
		bind_int(&q, query->principal_kind);
	if (query->kind == STORE_INVENTORY_AUDIT)
		bind_text(&q, query->object);
	if (query->kind == STORE_INVENTORY_TRAIL)
		bind_trail(&q, &query->trail);
	return q;
}

static enum err sqlite_inventory(void *db, const struct store_inventory_query *query,
				 struct store_inventory *ret_inventory)
{
	struct store_inventory found = {.kind = query->kind};
	struct query q = inventory_query(db, query);
	enum err e = E_OK;

	while (e == E_OK && query_step(&q) == SQLITE_ROW) {
		void *item = store_inventory_append(&found);
		e = item == NULL ? E_NOMEM : read_item(&q, query->kind, item);
	}
	e = query_finish(&q, e, "read a list");
	if (e == E_OK)
		*ret_inventory = found;
	else
		store_inventory_release(&found);
	return e;
}

const struct store_backend store_sqlite_backend = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .begin = sqlite_begin,
    .end = sqlite_end,
    .guard = sqlite_guard,
    .try_write = sqlite_try_write,
    .principal_find = sqlite_principal_find,
    .csr_begin = sqlite_csr_begin,
    .csr_move = sqlite_csr_move,
    .csr_get = sqlite_csr_get,
    .csr_list = sqlite_csr_list,
    .change = sqlite_change,
    .mark = sqlite_mark,
    .set_aside = sqlite_set_aside,
    .inventory = sqlite_inventory,
};
