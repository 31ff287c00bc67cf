/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store contract over SQLite, and what is SQLite's own: the file and where
 * it may lie, settings, damage, locks of other processes, full disks, failing
 * flushes, crashes, and that no statement of daily work reads a whole table.
 */
#include "tests/contract/store_contract.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "store/migrate.h"
#include "store/store.h"
#include "store/upkeep.h"
#include "tests/unit/cmocka_all.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_S 60

/* ---- a fresh folder for each test ---- */

static char folder[64];
static char database[128];
static char url[160];

static void use_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/csrd-store-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(database, sizeof(database), "%s/csrd.db", folder);
	snprintf(url, sizeof(url), "sqlite:%s", database);
}

static void remove_folder(void)
{
	static const char *const names[] = {"csrd.db",      "csrd.db-wal", "csrd.db-shm",
					    "csrd.db.lock", "copy.db",     "ballast"};
	char path[160];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(folder), 0); /* nothing else was left behind */
}

static unsigned readers; /* of every store that is opened */

static enum err open_with(bool sole_service, bool create, struct store **ret_store)
{
	struct store_options options = {.url = url,
					.queue_max = 4096,
					.readers = readers,
					.sole_service = sole_service,
					.create = create};

	return store_open(&options, ret_store);
}

static enum err open_service(struct store **ret_store)
{
	return open_with(true, true, ret_store);
}

static struct store *must_open(void)
{
	struct store *store = NULL;

	assert_int_equal(open_service(&store), E_OK);
	return store;
}

static struct store *must_make(void)
{
	struct store *store = must_open();

	contract_fill(store);
	return store;
}

static int set_up(void **state)
{
	(void)state;
	use_folder();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	remove_folder();
	return 0;
}

static enum err open_contract(struct store **ret_store)
{
	if (folder[0] == '\0')
		use_folder();
	return open_service(ret_store);
}

static void wipe_contract(void)
{
	remove_folder();
	folder[0] = '\0';
}

/* ---- another user of the same file ---- */

static sqlite3 *raw_open(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(database, &db), SQLITE_OK);
	return db;
}

static int raw_try(sqlite3 *db, const char *sql)
{
	sqlite3_exec(db, sql, NULL, NULL, NULL);
	return sqlite3_errcode(db);
}

static void raw_run(const char *sql)
{
	sqlite3 *db = raw_open();

	if (raw_try(db, sql) != SQLITE_OK)
		fail_msg("'%s': %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

static int64_t raw_int(const char *sql)
{
	sqlite3 *db = raw_open();
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	int64_t value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return value;
}

/* The guard of today's program is away while the row of another time comes. */
static void add_pending(unsigned n, const struct store_scope *scope, const char *key, unsigned hash)
{
	bool of_zone = scope->kind == STORE_ZONE;
	uint8_t request_hash[STORE_HASH_BYTES] = {0};
	char *guard, *sql;
	char hash_text[2 * STORE_HASH_BYTES + 1];
	sqlite3 *db = raw_open();
	sqlite3_stmt *st;

	memcpy(request_hash, &hash, sizeof(hash));
	str_hex(hash_text, request_hash, sizeof(request_hash));
	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT sql FROM sqlite_schema WHERE name = 'csrs_start_active'",
					    -1, &st, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	guard = strdup((const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	sql = sqlite3_mprintf(
	    "BEGIN IMMEDIATE; DROP TRIGGER csrs_start_active;"
	    "INSERT INTO csrs (id, account_id, zone_id, token_name, principal_id, state, created_us, "
	    "updated_us,"
	    " key_type, country, province, locality, organization, common_name, sans) VALUES (%Q, %Q, %Q,"
	    " 'default', '11111111-1111-4111-8111-111111111111', 1, %lld, %lld, 2, 'DE', 'Bavaria', 'Munich',"
	    " 'Example GmbH', 'www.example.com', 'dns www.example.com' || char(10));"
	    "UPDATE %s SET csr_active = csr_active - 1 WHERE id = %Q;"
	    "INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
	    " VALUES (%lld, 'csr.pending', %Q, 'tester', '', '', '');"
	    "INSERT INTO idempotency SELECT '11111111-1111-4111-8111-111111111111', %d, %Q, %Q, %Q, x'%s', "
	    "%lld"
	    " WHERE %Q IS NOT NULL; %s; COMMIT",
	    contract_id(n), CONTRACT_ACCOUNT, of_zone ? scope->id : NULL, (long long)clock_wall_us(),
	    (long long)clock_wall_us(), of_zone ? "zones" : "accounts", scope->id, (long long)clock_wall_us(),
	    contract_id(n), scope->kind, scope->id, key, contract_id(n), hash_text,
	    (long long)clock_wall_us(), key, guard);
	if (raw_try(db, sql) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	sqlite3_free(sql);
	free(guard);
	sqlite3_close(db);
}

static void assert_sound(const char *path)
{
	sqlite3 *db;
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA foreign_key_check", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	sqlite3_close(db);
}

/* Each child lives in a process of its own, is waited for, and is killed with us. */
static pid_t start_child(void (*run)(int out, int in), int *ret_from, int *ret_to)
{
	int from[2], to[2];

	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(from[0]);
		close(to[1]); /* so that `in` ends when the parent does */
		alarm(DEADLINE_S);
		run(from[1], to[0]);
		_exit(0);
	}
	close(from[1]);
	close(to[0]);
	*ret_from = from[0];
	*ret_to = to[1];
	return pid;
}

/* ---- faults of the disk: these stand before libc's, for SQLite too ---- */

static volatile int flushes_to_fail;
static volatile long statfs_type;

static int flush_or_fail(const char *name, int fd)
{
	int (*real)(int) = (int (*)(int))(uintptr_t)dlsym(RTLD_NEXT, name);

	if (flushes_to_fail > 0) {
		flushes_to_fail--;
		errno = EIO;
		return -1;
	}
	return real(fd);
}

int fsync(int fd)
{
	return flush_or_fail("fsync", fd);
}

int fdatasync(int fd)
{
	return flush_or_fail("fdatasync", fd);
}

int statfs(const char *path, struct statfs *fs)
{
	int (*real)(const char *, struct statfs *) =
	    (int (*)(const char *, struct statfs *))(uintptr_t)dlsym(RTLD_NEXT, "statfs");
	int rc = real(path, fs);

	if (rc == 0 && statfs_type != 0)
		fs->f_type = (__fsword_t)statfs_type;
	return rc;
}

/* ---- the file ---- */

static void file_is_private_and_ours(void **state)
{
	struct stat st;
	char path[160];

	(void)state;
	umask(0);
	struct store *store = must_make();
	for (int i = 0; i < 4; i++) {
		static const char *const suffix[] = {"", "-wal", "-shm", ".lock"};

		snprintf(path, sizeof(path), "%s%s", database, suffix[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	umask(022);
	store_close(store);
	assert_int_equal(raw_int("PRAGMA application_id"), 0x63737264);
	assert_int_equal(raw_int("SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
	assert_int_equal(raw_int("PRAGMA user_version"), raw_int("SELECT max(version) FROM schema_history"));
}

/* The folder's owner is the service; a root that makes the file gives it to him. */
static void root_gives_the_file_to_the_folders_owner(void **state)
{
	struct stat st;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(folder, 65534, 65534), 0);
	store_close(must_make());
	assert_int_equal(stat(database, &st), 0);
	assert_int_equal(st.st_uid, 65534);
	assert_int_equal(st.st_gid, 65534);
}

static void missing_file_is_made_only_when_asked(void **state)
{
	struct store *store;

	(void)state;
	assert_int_equal(open_with(false, false, &store), E_NOTFOUND);
	snprintf(url, sizeof(url), "sqlite:%s/no/such.db", folder);
	assert_int_equal(open_with(false, true, &store), E_NOTFOUND);
}

static void wrong_urls_are_refused(void **state)
{
	static const char *const wrong[] = {"",
					    "sqlite",
					    "sqlite:",
					    "sqlite:relative.db",
					    "sqlite::memory:",
					    "sqlite3:/a",
					    "sqlite:file:/a?vfs=x",
					    "/a",
					    "sqlite:/tmp/",
					    "SQLITE:/a"};
	struct store *store;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct store_options options = {.url = wrong[i], .queue_max = 1, .create = true};

		assert_int_equal(store_open(&options, &store), E_CONFIG);
	}
}

static void network_file_systems_are_refused(void **state)
{
	static const long types[] = {NFS_SUPER_MAGIC, (long)0xff534d42, (long)0xfe534d42, V9FS_MAGIC,
				     FUSE_SUPER_MAGIC};
	struct store *store;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		statfs_type = types[i];
		assert_int_equal(open_service(&store), E_CONFIG);
	}
	statfs_type = 0;
	assert_int_equal(access(database, F_OK), -1);
	store_close(must_open());
}

static void second_service_is_refused(void **state)
{
	struct store *first, *second;

	(void)state;
	first = must_make();
	assert_int_equal(open_with(true, true, &second), E_EXISTS);
	assert_int_equal(open_with(false, false, &second), E_OK); /* an operator's tool is welcome */
	assert_int_equal(contract_account_add(second, "from-the-tool", 1), E_OK);
	assert_int_equal(contract_account_add(first, "from-the-tool", 1), E_EXISTS);
	store_close(second);
	store_close(first);
	store_close(must_open());
}

static void file_that_others_may_write_is_refused(void **state)
{
	struct store *store;

	(void)state;
	store_close(must_make());
	assert_int_equal(chmod(database, 0666), 0);
	assert_int_equal(open_service(&store), E_DENIED);
	assert_int_equal(chmod(database, 0640), 0);
	store_close(must_open());
}

static void open_without_rights(int out, int in)
{
	struct store *store;
	char answer;

	(void)in;
	if (setgid(65534) != 0 || setuid(65534) != 0)
		_exit(1);
	answer = (char)open_with(false, false, &store);
	if (write(out, &answer, 1) != 1)
		_exit(1);
}

static void file_without_rights_is_said(void **state)
{
	char answer = 0;
	int from, to;

	(void)state;
	if (geteuid() != 0)
		skip();
	store_close(must_make());
	assert_int_equal(chmod(folder, 0755), 0);
	for (int readable = 0; readable < 2; readable++) {
		assert_int_equal(chmod(database, readable ? 0644 : 0600), 0);
		pid_t pid = start_child(open_without_rights, &from, &to);
		assert_int_equal(read(from, &answer, 1), 1);
		assert_int_equal(answer, E_DENIED);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		close(from);
		close(to);
	}
}

/* ---- F82: damage ---- */

static void write_file(const void *data, size_t len, off_t at)
{
	int fd = open(database, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, at), len);
	close(fd);
}

static void empty_file_is_refused(void **state)
{
	struct store *store;

	(void)state;
	write_file("", 0, 0);
	assert_int_equal(open_service(&store), E_STORE);
	assert_int_equal(truncate(database, 0), 0); /* still there, still empty */
}

static void file_of_another_kind_is_refused(void **state)
{
	char noise[8192];
	struct store *store;

	(void)state;
	memset(noise, 'x', sizeof(noise));
	write_file(noise, sizeof(noise), 0);
	assert_int_equal(open_service(&store), E_STORE);
	assert_int_equal(unlink(database), 0);
	raw_run("CREATE TABLE t (x)");
	assert_int_equal(open_service(&store), E_STORE);
	assert_int_equal(raw_int("SELECT count(*) FROM sqlite_schema"), 1);
	assert_int_equal(raw_int("SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
}

static void newer_schema_is_refused(void **state)
{
	struct store *store;
	size_t len;
	char sql[64];

	(void)state;
	store_close(must_make());
	migrate_steps(&len);
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %zu", len + 1);
	raw_run(sql);
	assert_int_equal(open_service(&store), E_STORE);
	assert_int_equal(open_with(false, false, &store), E_STORE);
	assert_int_equal(raw_int("PRAGMA user_version"), len + 1);
}

/* A step that fails half way leaves nothing of itself. */
static void schema_step_is_whole_or_not_at_all(void **state)
{
	struct store *store;

	(void)state;
	raw_run("PRAGMA journal_mode = WAL; PRAGMA application_id = 0x63737264; CREATE TABLE audit (x)");
	assert_int_equal(open_service(&store), E_STORE);
	assert_int_equal(raw_int("SELECT count(*) FROM sqlite_schema"), 1);
	assert_int_equal(raw_int("PRAGMA user_version"), 0);
	raw_run("DROP TABLE audit");
	store_close(must_open());
}

static void schema_is_not_changed_under_a_service(void **state)
{
	struct store *store;
	char lock[160];
	int fd = -1;

	(void)state;
	raw_run("PRAGMA journal_mode = WAL; PRAGMA application_id = 0x63737264"); /* a schema of version 0 */
	snprintf(lock, sizeof(lock), "%s.lock", database);
	assert_int_equal(fd_lock_file(lock, &fd), E_OK);
	assert_int_equal(open_with(false, false, &store), E_EXISTS);
	assert_int_equal(raw_int("PRAGMA user_version"), 0);
	fd_close(&fd);
	assert_int_equal(open_with(false, false, &store), E_OK);
	struct store *service = must_open(); /* the tool has given the lock back */
	store_close(service);
	store_close(store);
}

/* Steps of the schema up to that of csrd 0.1, with one CSR in each state and one that was set aside. */
static void make_as_0_1(void)
{
	static const char *const moves[] = {
	    "active",
	    "UPDATE csrs SET state = 2, pem = 'x', protection = 1, key_id = randomblob(16), spki_sha256 ="
	    " randomblob(32) WHERE id NOT LIKE '%1' AND id NOT LIKE '%5'",
	    "deleting",
	    "UPDATE csrs SET state = 3 WHERE id LIKE '%3' OR id LIKE '%4' OR id LIKE '%6'",
	    "destroyed",
	    "UPDATE csrs SET state = 4 WHERE id LIKE '%4'",
	    "failed",
	    "UPDATE csrs SET state = 5 WHERE id LIKE '%5'",
	    "deleting",
	    "UPDATE csrs SET set_aside_us = 7 WHERE id LIKE '%6'",
	};
	size_t len;
	const struct migrate_step *steps = migrate_steps(&len);
	sqlite3 *db = raw_open();

	assert_int_equal(raw_try(db, "PRAGMA journal_mode = WAL; PRAGMA application_id = 0x63737264"),
			 SQLITE_OK);
	for (size_t i = 0; i < len && steps[i].version <= 3; i++) {
		char *note = sqlite3_mprintf("INSERT INTO schema_history VALUES (%d, %Q, '0.1', 1);"
					     " PRAGMA user_version = %d",
					     steps[i].version, steps[i].name, steps[i].version);

		if (raw_try(db, steps[i].sql) != SQLITE_OK || raw_try(db, note) != SQLITE_OK)
			fail_msg("step %d: %s", steps[i].version, sqlite3_errmsg(db));
		sqlite3_free(note);
	}
	assert_int_equal(raw_try(db, "INSERT INTO accounts (id, name, csr_quota, created_us)"
				     " VALUES ('account-1', '', -1, 1)"),
			 SQLITE_OK);
	for (unsigned n = 1; n <= 6; n++) {
		char *sql = sqlite3_mprintf(
		    "INSERT INTO csrs (id, account_id, token_name, principal_id, state, created_us, "
		    "updated_us,"
		    " key_type, country, province, locality, organization, common_name, sans)"
		    " VALUES (%Q, 'account-1', 'default', '11111111-1111-4111-8111-111111111111', 1, 1, 1, 2,"
		    " 'DE', 'B', 'M', 'E', 'c', 'dns c' || char(10));"
		    "INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail)"
		    " VALUES (1, 'csr.pending', %Q, '', '', '', '')",
		    contract_id(n), contract_id(n));

		if (raw_try(db, sql) != SQLITE_OK)
			fail_msg("%s", sqlite3_errmsg(db));
		sqlite3_free(sql);
	}
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i += 2) {
		char *tell = sqlite3_mprintf(
		    "INSERT INTO audit (at_us, action, object, actor, request_id, peer, detail) SELECT 1,"
		    " 'csr.%s', id, '', '', '', '' FROM csrs WHERE (SELECT action FROM audit WHERE object = "
		    "id"
		    " ORDER BY sequence DESC LIMIT 1) <> CASE state WHEN 1 THEN 'csr.pending' WHEN 2 THEN"
		    " 'csr.active' WHEN 3 THEN 'csr.deleting' WHEN 4 THEN 'csr.destroyed' ELSE 'csr.failed' "
		    "END",
		    moves[i]);

		if (raw_try(db, moves[i + 1]) != SQLITE_OK || raw_try(db, tell) != SQLITE_OK)
			fail_msg("%s: %s", moves[i + 1], sqlite3_errmsg(db));
		sqlite3_free(tell);
	}
	sqlite3_close(db);
}

static void problem_fails(void *arg, const char *object, const char *text)
{
	(void)arg;
	fail_msg("%s: %s", object, text);
}

/* Every state of csrd 0.1 is taken over, its keys under the labels that they have. */
static void store_of_0_1_is_taken_over(void **state)
{
	static const enum csr_state states[] = {CSR_PENDING,   CSR_ACTIVE, CSR_DELETING,
						CSR_DESTROYED, CSR_FAILED, CSR_DELETING};
	const struct upkeep_check check = {.url = url, .full = true, .on_problem = problem_fails};
	struct upkeep_summary summary;
	struct csr_record *r;

	(void)state;
	make_as_0_1();
	struct store *store = must_open();
	for (unsigned n = 1; n <= 6; n++) {
		char label[KEY_LABEL_SIZE] = "";
		bool has_key = states[n - 1] != CSR_PENDING && states[n - 1] != CSR_FAILED;

		if (has_key)
			key_label_of_csr(label, contract_id(n));
		assert_int_equal(contract_get(store, NULL, contract_id(n), &r), E_OK);
		assert_int_equal(r->state, states[n - 1]);
		assert_string_equal(r->key_label, label);
		assert_true((r->set_aside_us != 0) == (n == 6));
		assert_int_equal(r->account_policy, 0); /* F390 */
		assert_int_equal(r->zone_policy, 0);
		csr_record_free(r);
	}
	/* They go on from where they are, and new ones are as today. */
	assert_int_equal(contract_move(store, 1, CSR_PENDING, CSR_FAILED), E_OK);
	assert_int_equal(contract_delete_begin(store, 2, &contract_account), E_OK);
	assert_int_equal(contract_move(store, 3, CSR_DELETING, CSR_DESTROYED), E_OK);
	contract_make_active(store, 7, &contract_account);
	store_close(store);
	assert_int_equal(upkeep_check(&check, &summary), E_OK);
}

static void missing_table_is_refused(void **state)
{
	struct store *store;

	(void)state;
	store_close(must_make());
	raw_run("DROP TABLE idempotency");
	assert_int_equal(open_with(false, false, &store), E_STORE);
}

/* Every page is hit in turn; the service does not start on any of them but those that hold nothing. */
static void damaged_page_is_found_at_start(void **state)
{
	unsigned char noise[512], *saved;
	struct store *store;
	unsigned refused = 0;

	(void)state;
	store = must_make();
	for (unsigned i = 1; i <= 60; i++)
		contract_make_active(store, i, &contract_account);
	store_close(store);
	int64_t pages = raw_int("PRAGMA page_count"), page_size = raw_int("PRAGMA page_size");
	memset(noise, 0xa5, sizeof(noise));
	saved = malloc((size_t)page_size);
	assert_non_null(saved);
	for (int64_t page = 0; page < pages; page++) {
		int fd = open(database, O_RDWR | O_CLOEXEC);

		assert_int_equal(pread(fd, saved, (size_t)page_size, page * page_size), page_size);
		/* The start of a page tells its kind and its cells. */
		write_file(noise, sizeof(noise), page * page_size);
		enum err e = open_service(&store);
		refused += e == E_STORE;
		if (e == E_OK)
			store_close(store);
		else
			assert_int_equal(e, E_STORE);
		write_file(saved, (size_t)page_size, page * page_size);
		close(fd);
	}
	free(saved);
	assert_int_equal(refused, pages);
	store_close(must_open());
	assert_sound(database);
}

static void cut_file_is_refused(void **state)
{
	struct store *store;
	struct stat st;

	(void)state;
	store = must_make();
	for (unsigned i = 1; i <= 60; i++)
		contract_make_active(store, i, &contract_account);
	store_close(store);
	assert_int_equal(stat(database, &st), 0);
	assert_int_equal(truncate(database, st.st_size / 2), 0);
	assert_int_equal(open_service(&store), E_STORE);
}

/* ---- rules that SQL keeps whoever writes ---- */

/* A row of csrs as a replacement would have it: pending, or it would not get past the first trigger. */
#define ROW_COLUMNS                                                                                          \
	"id, account_id, zone_id, token_name, principal_id, state, created_us, updated_us, key_type,"        \
	" country, province, locality, organization, common_name, sans, pem, protection, key_label, key_id," \
	" spki_sha256"
#define ROW_OF_ITS_KEY "account_id, zone_id, '', '', 2, 0, 0, 1, '', '', '', '', '', '', 'x', 1, "
#define NEW_KEY "'x', randomblob(16), randomblob(32)"

/* A user who was revoked, one of the same name who is not, with a grant. */
static void add_users(void)
{
	raw_run(
	    "INSERT INTO principals VALUES ('gone', 2, 'a@example.com', zeroblob(32), 0, 0, 0, 1, '', 0);"
	    "INSERT INTO replaced_secrets VALUES (randomblob(32), 'gone', 5);"
	    "INSERT INTO principals VALUES ('here', 2, 'a@example.com', randomblob(32), 0, 0, 0, 0, '', 0);"
	    "INSERT INTO grants SELECT 'here', NULL, id, 1 FROM zones;"
	    "INSERT INTO principals VALUES ('peer', 3, 'peer', NULL, 0, 0, 0, 0, '', 0);"
	    "INSERT INTO identities VALUES (1, 5, '1000', 'peer', 0, 0);"
	    "INSERT INTO identities VALUES (2, 5, '1001', 'peer', 0, 1)");
}

static const char *const forbidden_sql[] = {
    "UPDATE csrs SET state = 1",
    "UPDATE csrs SET state = 2",
    "UPDATE csrs SET state = 4",
    "UPDATE csrs SET state = 5",
    "UPDATE csrs SET state = 9",
    "UPDATE csrs SET created_us = 1",
    "UPDATE csrs SET id = 'x'",
    "UPDATE csrs SET zone_id = NULL",
    "UPDATE csrs SET common_name = 'x'",
    "UPDATE csrs SET key_id = randomblob(16)",
    "UPDATE csrs SET pem = 'x'",
    "UPDATE csrs SET set_aside_us = 1",
    "INSERT INTO csrs (id, account_id, token_name, principal_id, state, created_us, updated_us, "
    "key_type, country,"
    " province, locality, organization, common_name, sans, set_aside_us) VALUES ('x', 'account-1', "
    "'', "
    "'', 1, 0, 0, 1, '', '', '', '', '', '', 1)",
    "INSERT INTO lineages VALUES ('default', x'00')",
    "DELETE FROM csrs",
    "INSERT INTO csrs (id, account_id, token_name, principal_id, state, created_us, updated_us, "
    "key_type, country,"
    " province, locality, organization, common_name, sans) VALUES ('x', 'account-1', '', '', 4, 0, "
    "0, 1, '', '',"
    " '', '', '', '')",
    "UPDATE audit SET at_us = 1",
    "DELETE FROM audit",
    "DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)",
    "INSERT INTO audit VALUES (99, 0, '', '', '', '', '', '')",
    "INSERT INTO audit VALUES (0, 0, '', '', '', '', '', '')",
    /* F117: nobody takes the place of a row, by whichever of its keys. */
    "INSERT OR REPLACE INTO audit VALUES (2, 0, '', '', '', '', '', '')",
    "REPLACE INTO audit SELECT * FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)",
    "INSERT OR IGNORE INTO audit VALUES (2, 0, '', '', '', '', '', '')",
    "UPDATE OR REPLACE audit SET sequence = 2 WHERE sequence = 1",
    "INSERT OR REPLACE INTO csrs (" ROW_COLUMNS ") SELECT id, " ROW_OF_ITS_KEY NEW_KEY
    " FROM csrs WHERE state = 2",
    "INSERT OR REPLACE INTO csrs (rowid, " ROW_COLUMNS ") SELECT rowid, 'x', " ROW_OF_ITS_KEY NEW_KEY
    " FROM csrs WHERE state = 2",
    "INSERT INTO csrs (rowid, " ROW_COLUMNS ") SELECT -1, 'x', " ROW_OF_ITS_KEY NEW_KEY " FROM csrs LIMIT 1",
    "INSERT OR REPLACE INTO csrs (" ROW_COLUMNS ") SELECT 'x', " ROW_OF_ITS_KEY
    "key_label, randomblob(16), randomblob(32) FROM csrs WHERE state = 2",
    "INSERT OR REPLACE INTO csrs (" ROW_COLUMNS ") SELECT 'x', " ROW_OF_ITS_KEY
    "'x', key_id, randomblob(32) FROM csrs WHERE state = 2",
    "INSERT OR REPLACE INTO csrs (" ROW_COLUMNS ") SELECT 'x', " ROW_OF_ITS_KEY
    "'x', randomblob(16), spki_sha256 FROM csrs WHERE state = 2",
    "INSERT INTO csrs (" ROW_COLUMNS ") SELECT 'x', " ROW_OF_ITS_KEY
    "NULL, randomblob(16), randomblob(32) FROM csrs WHERE state = 2",
    "UPDATE csrs SET key_label = 'x'",
    "UPDATE csrs SET key_label = NULL",
    "UPDATE csrs SET state = 2, pem = 'x', key_label = 'x', protection = 1, spki_sha256 = randomblob(32),"
    " key_id = randomblob(16) WHERE state = 1",
    "UPDATE csrs SET state = 2 WHERE state = 1",
    "UPDATE OR REPLACE csrs SET rowid = (SELECT rowid FROM csrs WHERE state = 2) WHERE state = 1",
    "REPLACE INTO accounts (id, name, csr_quota, created_us) SELECT id, 'x', 9, 0 FROM accounts",
    "REPLACE INTO accounts (rowid, id, name, csr_quota, created_us) SELECT rowid, 'x', 'x',"
    " 9, 0 FROM accounts",
    "UPDATE accounts SET id = 'x'",
    "UPDATE accounts SET rowid = 77",
    "DELETE FROM accounts",
    "REPLACE INTO zones (id, account_id, name, csr_quota, created_us) SELECT id, account_id,"
    " 'x', 9, 0"
    " FROM zones",
    "UPDATE zones SET account_id = 'x'",
    "DELETE FROM zones",
    "REPLACE INTO principals SELECT id, 1, 'x', randomblob(32), 0, 0, 0, 0, '', 0 FROM principals",
    "REPLACE INTO principals SELECT 'x', 1, 'x', secret_hash, 0, 0, 0, 0, '', 0 FROM principals"
    " WHERE kind = 2",
    "REPLACE INTO principals SELECT 'x', 2, upper(name), randomblob(32), 0, 0, 0, 0, '', 0 FROM principals"
    " WHERE kind = 2 AND revoked_us = 0",
    "REPLACE INTO principals (rowid, id, kind, name, secret_hash, created_us, not_before_us,"
    " expires_us,"
    " revoked_us) SELECT rowid, 'x', 1, 'x', randomblob(32), 0, 0, 0, 0 FROM principals",
    "UPDATE OR REPLACE principals SET revoked_us = 0 WHERE revoked_us <> 0",
    "UPDATE principals SET secret_hash = randomblob(32)",
    "UPDATE principals SET name = 'x'",
    "DELETE FROM principals",
    "UPDATE principals SET networks = '10.0.0.0/8'",
    "UPDATE principals SET last_used_us = -1",
    "INSERT INTO principals SELECT 'x', 1, 'x', secret_hash, 0, 0, 0, 0, '', 0 FROM replaced_secrets",
    "UPDATE replaced_secrets SET until_us = until_us + 1",
    "UPDATE replaced_secrets SET principal_id = 'here'",
    "REPLACE INTO replaced_secrets SELECT secret_hash, principal_id, 9 FROM replaced_secrets",
    "DELETE FROM replaced_secrets",
    "REPLACE INTO grants SELECT principal_id, account_id, zone_id, 2 FROM grants",
    "UPDATE grants SET permission = 2",
    "DELETE FROM grants",
    "INSERT INTO principals VALUES ('x', 3, 'x', randomblob(32), 0, 0, 0, 0, '', 0)",
    "INSERT INTO principals VALUES ('x', 1, 'x', NULL, 0, 0, 0, 0, '', 0)",
    "REPLACE INTO principals SELECT 'x', 1, 'x', secret_hash, 0, 0, 0, 0, '', 0 FROM principals WHERE kind = "
    "2",
    "UPDATE principals SET secret_hash = randomblob(32) WHERE kind = 3",
    "UPDATE principals SET secret_hash = NULL, kind = 3 WHERE id = 'here'",
    "REPLACE INTO identities SELECT 1, kind, '7', 'here', 0, 0 FROM identities",
    "REPLACE INTO identities SELECT 7, kind, value, 'here', 0, 0 FROM identities WHERE removed_us = 0",
    "INSERT INTO identities VALUES (7, 5, '7', 'gone', 0, 0)",
    "INSERT INTO identities VALUES (7, 5, '7', 'nobody', 0, 0)",
    "INSERT INTO identities VALUES (7, 6, '7', 'here', 0, 0)",
    "INSERT INTO identities VALUES (-1, 5, '7', 'here', 0, 0)",
    "UPDATE identities SET principal_id = 'here'",
    "UPDATE identities SET value = '7'",
    "UPDATE identities SET removed_us = 0",
    "UPDATE OR REPLACE identities SET removed_us = 0 WHERE removed_us <> 0",
    "DELETE FROM identities",
    "REPLACE INTO idempotency SELECT principal_id, scope_kind, scope_id, key, csr_id,"
    " randomblob(32), 0"
    " FROM idempotency",
    "UPDATE idempotency SET csr_id = (SELECT id FROM csrs WHERE state = 2)",
    "UPDATE csrs SET account_policy = 9",
    "UPDATE csrs SET zone_policy = 0",
    "REPLACE INTO policies SELECT account_id, zone_id, version, 0, 'x', '{}' FROM policies",
    "REPLACE INTO policies (rowid, account_id, version, made_us, made_by, document)"
    " SELECT rowid, account_id, 2, 0, 'x', '{}' FROM policies",
    "INSERT INTO policies (account_id, version, made_us, made_by, document)"
    " VALUES ('account-1', 3, 0, '', '')",
    "INSERT INTO policies (account_id, zone_id, version, made_us, made_by, document)"
    " VALUES ('account-1', 'zone-1', 2, 0, '', '')",
    "UPDATE policies SET document = 'x'",
    "DELETE FROM policies",
    /* A CSR under a policy that is not in force; all else about it is right. */
    "INSERT INTO csrs (" ROW_COLUMNS ") SELECT 'x', " ROW_OF_ITS_KEY NEW_KEY " FROM csrs WHERE state = 2",
    "REPLACE INTO schema_history VALUES (1, 'x', 'x', 0)",
    "UPDATE schema_history SET program = 'x'",
    "DELETE FROM schema_history",
};

static void sql_keeps_the_rules(void **state)
{
	struct store *store = must_make();

	(void)state;
	contract_make_active(store, 1, &contract_zone);
	add_pending(2, &contract_zone, "key", 1);
	add_users();
	sqlite3 *db = raw_open();
	raw_run("INSERT INTO policies (account_id, version, made_us, made_by, document)"
		" VALUES ('account-1', 1, 0, '', '{}')");
	for (size_t i = 0; i < sizeof(forbidden_sql) / sizeof(forbidden_sql[0]); i++) {
		if (raw_try(db, forbidden_sql[i]) != SQLITE_CONSTRAINT)
			fail_msg("'%s': %s", forbidden_sql[i], sqlite3_errmsg(db));
	}
	assert_int_equal(raw_try(db, "UPDATE csrs SET state = 3 WHERE state = 2"), SQLITE_OK); /* legal */
	/* Set aside once, and for good. */
	assert_int_equal(raw_try(db, "UPDATE csrs SET set_aside_us = -1 WHERE state = 3"), SQLITE_CONSTRAINT);
	assert_int_equal(raw_try(db, "UPDATE csrs SET set_aside_us = 1 WHERE state = 3"), SQLITE_OK);
	assert_int_equal(raw_try(db, "UPDATE csrs SET set_aside_us = 0 WHERE state = 3"), SQLITE_CONSTRAINT);
	assert_int_equal(raw_try(db, "UPDATE csrs SET set_aside_us = 2 WHERE state = 3"), SQLITE_CONSTRAINT);
	assert_int_equal(raw_try(db, "UPDATE csrs SET state = 4 WHERE state = 3"), SQLITE_OK);
	sqlite3_close(db);
	store_close(store);
}

/* The counters are what counting gives, after every kind of move. */
static void counters_are_right(void **state)
{
	struct store *store = must_make();

	(void)state;
	for (unsigned i = 1; i <= 30; i++) {
		const struct store_scope *scope = i % 3 ? &contract_account : &contract_zone;

		if (i % 5 <= 1)
			add_pending(i, scope, NULL, 0);
		else
			contract_make_active(store, i, scope);
		if (i % 5 == 0)
			assert_int_equal(contract_move(store, i, CSR_PENDING, CSR_FAILED), E_OK);
		if (i % 5 >= 3)
			assert_int_equal(contract_delete_begin(store, i, scope), E_OK);
		if (i % 5 == 4)
			assert_int_equal(contract_move(store, i, CSR_DELETING, CSR_DESTROYED), E_OK);
	}
	store_close(store);
	assert_int_equal(
	    raw_int("SELECT csr_count - (SELECT count(*) FROM csrs WHERE zone_id IS NULL AND state < 4)"
		    " FROM accounts"),
	    0);
	assert_int_equal(
	    raw_int("SELECT csr_active - (SELECT count(*) FROM csrs WHERE zone_id IS NULL AND state = 2)"
		    " FROM accounts"),
	    0);
	assert_int_equal(
	    raw_int("SELECT csr_count - (SELECT count(*) FROM csrs WHERE zone_id IS NOT NULL AND state < 4)"
		    " FROM zones"),
	    0);
	assert_int_equal(
	    raw_int("SELECT csr_active - (SELECT count(*) FROM csrs WHERE zone_id IS NOT NULL AND state = 2)"
		    " FROM zones"),
	    0);
	assert_int_equal(raw_int("SELECT csr_active FROM zones"), 2);
	assert_int_equal(raw_int("SELECT count(*) - max(sequence) FROM audit"), 0);
}

static void old_idempotency_keys_are_removed_in_small_bites(void **state)
{
	struct store *store = must_make();

	(void)state;
	for (unsigned i = 1; i <= 20; i++) {
		struct contract_begin b =
		    contract_begin(store, contract_record(i, &contract_zone), contract_id(i), 0);

		contract_begin_release(&b);
	}
	raw_run("UPDATE idempotency SET created_us = rowid WHERE rowid <= 19");
	for (unsigned i = 21; i <= 22; i++) {
		struct contract_begin b = contract_begin(store, contract_record(i, &contract_zone), NULL, 0);

		contract_begin_release(&b);
		assert_int_equal(raw_int("SELECT count(*) FROM idempotency"), i == 21 ? 12 : 4);
	}
	store_close(store);
}

/* ---- no daily statement reads a whole table ---- */

#define SEEN_MAX 64
static char *seen[SEEN_MAX];
static unsigned seen_len;
static bool watching;

/* Runs on the store thread while the test waits for its answer. */
static int see_statement(unsigned what, void *arg, void *statement, void *sql)
{
	(void)what;
	(void)arg;
	(void)sql;
	const char *text = sqlite3_sql(statement);
	for (unsigned i = 0; i < seen_len; i++) {
		if (strcmp(seen[i], text) == 0)
			return 0;
	}
	if (watching && text && seen_len < SEEN_MAX)
		seen[seen_len++] = strdup(text);
	return 0;
}

static int watch_connection(sqlite3 *db, const char **error, const void *api)
{
	(void)error;
	(void)api;
	sqlite3_trace_v2(db, SQLITE_TRACE_STMT, see_statement, NULL);
	return SQLITE_OK;
}

static void assert_plan_is_direct(sqlite3 *db, const char *sql)
{
	char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
	sqlite3_stmt *st;

	assert_non_null(explain);
	assert_int_equal(sqlite3_prepare_v2(db, explain, -1, &st, NULL), SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW) {
		const char *step = (const char *)sqlite3_column_text(st, 3);

		if (strstr(step, "SCAN") == step || strstr(step, "USE TEMP B-TREE") == step)
			fail_msg("%s: %s", sql, step);
	}
	sqlite3_finalize(st);
	sqlite3_free(explain);
}

static void do_daily_work(struct store *store)
{
	struct store_csr_query q = {.states = CSR_STATE_BIT(CSR_ACTIVE), .limit = 50};
	struct csr_record *r;
	char list[64];

	contract_make_active(store, 3, &contract_zone);
	contract_make_active(store, 4, &contract_account);
	for (int i = 0; i < 12; i++) {
		q.scope = i % 2 ? &contract_account : &contract_zone;
		q.descending = i / 2 % 2;
		q.order = (enum store_order)(STORE_ORDER_CREATED_AT + i / 4);
		/* The first page, and the one behind it, which goes on where that ended. */
		q.reader = "reader";
		for (q.limit = 1, q.offset = 0; q.offset < 2; q.offset++)
			assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_OK);
	}
	contract_make_active(store, 1, &contract_zone);
	for (int i = 0; i < 2; i++) {
		struct contract_begin b = contract_begin(store, contract_record(2, &contract_zone), "k", 1);
		contract_begin_release(&b);
	}
	assert_int_equal(contract_failed(store, 8), E_OK);
	assert_int_equal(contract_move(store, 8, CSR_PENDING, CSR_FAILED), E_NOTFOUND);
	assert_int_equal(contract_delete_begin(store, 1, &contract_zone), E_OK);
	assert_int_equal(contract_move(store, 1, CSR_DELETING, CSR_DESTROYED), E_OK);
	assert_int_equal(contract_get(store, &contract_zone, contract_id(1), &r), E_OK);
	csr_record_free(r);
	q = (struct store_csr_query){
	    .states = CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_DELETING), .after_id = "", .limit = 100};
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_OK);
	q.states = ~0u;
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_OK);
	struct csr_record *key = contract_record(3, &contract_zone);
	struct store_csr_filter by_key = {.key = key->spki_sha256, .key_len = sizeof(key->spki_sha256)};
	q = (struct store_csr_query){
	    .states = ~0u, .filter = &by_key, .order = STORE_ORDER_CREATED_AT, .limit = 100};
	assert_int_equal(contract_list(store, &q, list, sizeof(list)), E_OK);
	assert_string_equal(list, "3 /1");
	csr_record_free(key);
	int64_t last;
	assert_int_equal(contract_audit(store, contract_id(9), list, sizeof(list), &last), E_OK);
	assert_int_equal(contract_ping(store), E_OK);
}

static void principal_ignored(void *arg, enum err e, struct principal *principal)
{
	(void)e;
	principal_free(principal);
	*(bool *)arg = true;
}

static void daily_statements_go_by_index(void **state)
{
	static const struct store_claim claim = {.kind = PRINCIPAL_TOKEN};
	bool done = false;

	(void)state;
	sqlite3_auto_extension((void (*)(void))(uintptr_t)watch_connection);
	struct store *store = must_make();
	watching = true;
	do_daily_work(store);
	store_principal_find(store, &claim, principal_ignored, &done);
	store_wait(store, &done);
	watching = false;
	sqlite3_cancel_auto_extension((void (*)(void))(uintptr_t)watch_connection);
	store_close(store);
	assert_in_range(seen_len, 20, SEEN_MAX - 1);
	sqlite3 *db = raw_open();
	for (unsigned i = 0; i < seen_len; i++) {
		if (strstr(seen[i], "FROM ") || strncmp(seen[i], "UPDATE", 6) == 0)
			assert_plan_is_direct(db, seen[i]);
		free(seen[i]);
	}
	sqlite3_close(db);
	seen_len = 0;
}

/* ---- F81: somebody else holds the lock ---- */

static void hold_lock(int out, int in)
{
	sqlite3 *db;
	char byte;

	if (sqlite3_open(database, &db) != SQLITE_OK || raw_try(db, "BEGIN EXCLUSIVE") != SQLITE_OK ||
	    write(out, "", 1) != 1)
		_exit(1);
	if (read(in, &byte, 1) != 0)
		_exit(1);
	_exit(0);
}

static void lock_of_another_process_is_waited_for_and_no_longer(void **state)
{
	struct store *store = must_make();
	struct contract_begin b;
	struct csr_record *r;
	char byte;
	int from, to;

	(void)state;
	contract_make_active(store, 1, &contract_zone);
	pid_t pid = start_child(hold_lock, &from, &to);
	assert_int_equal(read(from, &byte, 1), 1);
	uint64_t start_ms = clock_ms();
	contract_begin_ask(store, contract_record(2, &contract_zone), "k", 1, &b);
	/* F270: what reads does not wait for what waits to write. */
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_OK);
	assert_false(b.done);
	csr_record_free(r);
	store_wait(store, &b.done);
	uint64_t waited_ms = clock_ms() - start_ms;
	assert_int_equal(b.e, E_BUSY);
	assert_in_range(waited_ms, 4000, 15000);
	start_ms = clock_ms();
	assert_int_equal(contract_ping(store), E_BUSY);  /* F116: no write would succeed */
	assert_in_range(clock_ms() - start_ms, 0, 4000); /* and nobody waits to hear so */
	close(to);                                       /* lets go */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(from);
	assert_int_equal(contract_ping(store), E_OK);
	b = contract_begin(store, contract_record(2, &contract_zone), "k", 1);
	assert_int_equal(b.outcome, STORE_BEGIN_NEW);
	contract_begin_release(&b);
	store_close(store);
}

/* ---- what reads beside what writes ---- */

/* F271: whichever reader it meets. */
static void F271_what_was_told_is_read(void **state)
{
	struct store *store = must_make();
	struct csr_record *r;

	(void)state;
	for (unsigned n = 1; n <= 200; n++) {
		contract_make_active(store, n, &contract_account);
		assert_int_equal(contract_get(store, &contract_account, contract_id(n), &r), E_OK);
		assert_int_equal(r->state, CSR_ACTIVE);
		csr_record_free(r);
	}
	store_close(store);
}

/* ---- F75: no space ---- */

static void full_disk_refuses_and_recovers(void **state)
{
	char ballast[160];
	struct csr_record *r;
	unsigned n = 1;
	enum err e;

	(void)state;
	/* A mount of our own, gone with this process whatever happens. */
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", folder, "tmpfs", 0, "size=1m,mode=0700") != 0) {
		print_message("skipped: no right to mount a tmpfs (%s)\n", strerror(errno));
		skip();
	}
	struct store *store = must_make();
	snprintf(ballast, sizeof(ballast), "%s/ballast", folder);
	int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(posix_fallocate(fd, 0, 256 * 1024), 0);
	close(fd);
	do {
		struct contract_begin b = contract_begin(store, contract_record(n, &contract_zone), NULL, 0);
		e = b.e;
		contract_begin_release(&b);
	} while (e == E_OK && ++n < 5000);
	assert_int_equal(e, E_STORE);
	assert_int_equal(contract_get(store, NULL, contract_id(n), &r), E_NOTFOUND);
	assert_int_equal(contract_get(store, NULL, contract_id(n - 1), &r), E_OK);
	csr_record_free(r);
	/* F116: not usable as long as nothing can be written, and by itself again afterwards. */
	assert_int_equal(contract_ping(store), E_LIMIT);
	assert_int_equal(contract_ping(store), E_LIMIT);
	/* An account needs fewer pages than a CSR: a few may still fit. */
	for (unsigned i = 0; e == E_OK || i == 0; i++) {
		char id[STORE_TAG_SIZE];

		assert_true(i < 1000);
		snprintf(id, sizeof(id), "while-full-%u", i);
		e = contract_account_add(store, id, 1);
	}
	assert_int_equal(e, E_STORE);
	assert_int_equal(unlink(ballast), 0);
	assert_int_equal(contract_ping(store), E_OK);
	assert_int_equal(contract_account_add(store, "after-full", 1), E_OK);
	store_close(store);
	assert_sound(database);
	assert_int_equal(raw_int("SELECT count(*) FROM csrs"), n - 1);
	assert_int_equal(raw_int("SELECT count(*) - max(sequence) FROM audit"), 0);
	assert_int_equal(umount2(folder, MNT_DETACH), 0);
}

/* ---- F77: a flush fails once ---- */

static void failed_flush_stops_the_store(void **state)
{
	struct store *store = must_make();
	struct csr_record *r;

	(void)state;
	contract_make_active(store, 1, &contract_zone);
	flushes_to_fail = 1;
	assert_int_equal(contract_account_add(store, "unsure", 1), E_UNCERTAIN);
	assert_int_equal(flushes_to_fail, 0);
	/* The next would succeed, and prove nothing. */
	assert_int_equal(contract_account_add(store, "later", 1), E_STORE);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_STORE);
	assert_int_equal(contract_ping(store), E_STORE);
	store_close(store);
	store = must_open();
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_OK);
	csr_record_free(r);
	assert_int_equal(contract_account_add(store, "later", 1), E_OK);
	store_close(store);
	assert_sound(database);
}

/* ---- every commit is flushed ---- */

static void each_commit_is_flushed(void **state)
{
	struct store *store = must_make();

	(void)state;
	/* A commit that flushed nothing would not notice. */
	flushes_to_fail = 1000;
	assert_int_equal(contract_account_add(store, "a", 1), E_UNCERTAIN);
	assert_true(flushes_to_fail < 1000);
	flushes_to_fail = 0;
	store_close(store);
}

/* ---- kill -9 ---- */

/* Writes each number when its CSR is acknowledged, until it is killed. */
static void write_for_ever(int out, int in)
{
	struct store *store;
	unsigned n;

	if (read(in, &n, sizeof(n)) != sizeof(n) || open_service(&store) != E_OK)
		_exit(1);
	for (;; n++) {
		struct contract_begin b[4];

		for (unsigned i = 0; i < 4; i++)
			contract_begin_ask(store, contract_record(4 * n + i, &contract_zone), NULL, 0, &b[i]);
		for (unsigned i = 0; i < 4; i++) {
			store_wait(store, &b[i].done);
			contract_begin_release(&b[i]);
			if (b[i].e != E_OK)
				_exit(1);
		}
		if (contract_delete_begin(store, 4 * n, &contract_zone) != E_OK ||
		    write(out, &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

static void assert_acknowledged(struct store *store, unsigned first, unsigned last)
{
	struct csr_record *r;

	for (unsigned n = first; n <= last; n++) {
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(contract_get(store, NULL, contract_id(4 * n + i), &r), E_OK);
			assert_int_equal(r->state, i == 0 ? CSR_DELETING : CSR_ACTIVE);
			csr_record_free(r);
		}
	}
}

static void killed_writer_loses_nothing_acknowledged(void **state)
{
	unsigned next = 1;

	(void)state;
	store_close(must_make());
	for (unsigned round = 0; round < 12; round++) {
		unsigned first = next, last = 0, n;
		int from, to;
		pid_t pid = start_child(write_for_ever, &from, &to);

		assert_int_equal(write(to, &first, sizeof(first)), sizeof(first));
		for (unsigned i = 0; i <= round * 7; i++)
			assert_int_equal(read(from, &last, sizeof(last)), sizeof(last));
		assert_int_equal(kill(pid, SIGKILL), 0);
		while (read(from, &n, sizeof(n)) == sizeof(n))
			last = n;
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		close(from);
		close(to);
		struct store *store = must_open();
		assert_acknowledged(store, first, last);
		store_close(store);
		next = last + 2; /* the one after may be there or not */
	}
	assert_sound(database);
	assert_int_equal(raw_int("SELECT count(*) - max(sequence) FROM audit"), 0);
	assert_int_equal(raw_int("SELECT (SELECT csr_count FROM zones) - (SELECT count(*) FROM csrs)"), 0);
}

/* ---- F84: a backup while it is written ---- */

/* Says no at the given phase. */
static bool go_on_until(void *arg, enum upkeep_phase phase, uint64_t done, uint64_t total)
{
	const enum upkeep_phase *end = arg;

	assert_true(done <= total);
	return phase != *end;
}

static enum err back_up(const char *path, enum upkeep_phase end, struct upkeep_summary *ret_summary)
{
	const struct upkeep_watch watch = {.go_on = go_on_until, .arg = &end};
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	enum err e;

	assert_true(fd >= 0);
	e = upkeep_backup(url, fd, &watch, ret_summary);
	close(fd);
	return e;
}

static void backup_under_load_is_whole(void **state)
{
	char copy[160];
	struct store *store = must_make();
	struct contract_begin b[500];
	struct upkeep_summary summary;

	(void)state;
	snprintf(copy, sizeof(copy), "%s/copy.db", folder);
	for (unsigned i = 0; i < 500; i++)
		contract_begin_ask(store, contract_record(i + 1, &contract_zone), NULL, 0, &b[i]);
	assert_int_equal(back_up(copy, 0, &summary), E_OK);
	for (unsigned i = 0; i < 500; i++) {
		store_wait(store, &b[i].done);
		assert_int_equal(b[i].e, E_OK);
		contract_begin_release(&b[i]);
	}
	store_close(store);
	assert_sound(copy);
	/* What is in it belongs together, and a service starts on it. */
	assert_int_equal(unlink(database), 0);
	assert_int_equal(rename(copy, database), 0);
	assert_int_equal(raw_int("SELECT (SELECT csr_count FROM zones) - (SELECT count(*) FROM csrs)"), 0);
	assert_int_equal(
	    raw_int("SELECT (SELECT max(sequence) FROM audit) - 2 - (SELECT count(*) FROM csrs)"), 0);
	assert_int_equal(raw_int("SELECT count(*) FROM csrs"), upkeep_csrs(&summary));
	assert_int_equal(raw_int("SELECT count(*) FROM audit"), summary.audit_records);
	store_close(must_open());
}

/* Told to end, it ends, and leaves nothing beside the database (tear_down looks). */
static void backup_ends_when_it_is_told(void **state)
{
	struct store *store = must_make();
	char copy[160];
	struct upkeep_summary summary;

	(void)state;
	snprintf(copy, sizeof(copy), "%s/copy.db", folder);
	raw_run("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) INSERT INTO"
		" audit (at_us, action, object, actor, request_id, peer, detail) SELECT 1, 'x', 'x', 'x', '',"
		" '', hex(zeroblob(90)) FROM n");
	assert_int_equal(back_up(copy, UPKEEP_COPY, &summary), E_TIMEOUT);
	assert_int_equal(back_up(copy, UPKEEP_CHECK, &summary), E_TIMEOUT);
	assert_int_equal(back_up(copy, UPKEEP_WRITE, &summary), E_TIMEOUT);
	assert_int_equal(back_up(copy, 0, &summary), E_OK);
	assert_int_equal(summary.audit_records, 9000 + 2);
	store_close(store);
	assert_sound(copy);
}

/* Of two at once one is refused: they would write into one file. */
static void backups_at_once_are_refused(void **state)
{
	struct store *store = must_make();
	char copy[160], staging[160];
	struct upkeep_summary summary;
	int lock = -1;

	(void)state;
	snprintf(copy, sizeof(copy), "%s/copy.db", folder);
	snprintf(staging, sizeof(staging), "%s.backup-staging", database);
	assert_int_equal(fd_lock_file(staging, &lock), E_OK);
	assert_int_equal(back_up(copy, 0, &summary), E_EXISTS);
	fd_close(&lock);
	assert_int_equal(back_up(copy, 0, &summary), E_OK);
	store_close(store);
}

static void upkeep_of_other_databases_is_refused(void **state)
{
	const struct upkeep_watch watch = {.go_on = go_on_until};
	const struct upkeep_restore restore = {.url = "postgresql://user@host/csrd", .fd = -1, .name = "x"};
	const struct upkeep_check check = {.url = restore.url, .full = true, .watch = watch};
	struct upkeep_summary summary;
	char *kept;

	(void)state;
	assert_int_equal(upkeep_backup(restore.url, -1, &watch, &summary), E_UNSUPPORTED);
	assert_int_equal(upkeep_restore(&restore, &summary, &kept), E_UNSUPPORTED);
	assert_int_equal(upkeep_check(&check, &summary), E_UNSUPPORTED);
}

int main(void)
{
	static const struct store_contract_target alone = {.name = "store contract: one thread",
							   .open = open_contract,
							   .add_pending = add_pending,
							   .wipe = wipe_contract},
						  target = {.name = "store contract: readers",
							    .open = open_contract,
							    .add_pending = add_pending,
							    .wipe = wipe_contract};
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest cases[] = {
	    CASE(file_is_private_and_ours),
	    CASE(root_gives_the_file_to_the_folders_owner),
	    CASE(missing_file_is_made_only_when_asked),
	    CASE(wrong_urls_are_refused),
	    CASE(network_file_systems_are_refused),
	    CASE(second_service_is_refused),
	    CASE(file_that_others_may_write_is_refused),
	    CASE(file_without_rights_is_said),
	    CASE(empty_file_is_refused),
	    CASE(file_of_another_kind_is_refused),
	    CASE(newer_schema_is_refused),
	    CASE(schema_step_is_whole_or_not_at_all),
	    CASE(schema_is_not_changed_under_a_service),
	    CASE(store_of_0_1_is_taken_over),
	    CASE(missing_table_is_refused),
	    CASE(damaged_page_is_found_at_start),
	    CASE(cut_file_is_refused),
	    CASE(sql_keeps_the_rules),
	    CASE(counters_are_right),
	    CASE(old_idempotency_keys_are_removed_in_small_bites),
	    CASE(daily_statements_go_by_index),
	    CASE(F271_what_was_told_is_read),
	    CASE(lock_of_another_process_is_waited_for_and_no_longer),
	    CASE(full_disk_refuses_and_recovers),
	    CASE(failed_flush_stops_the_store),
	    CASE(each_commit_is_flushed),
	    CASE(killed_writer_loses_nothing_acknowledged),
	    CASE(backup_under_load_is_whole),
	    CASE(backup_ends_when_it_is_told),
	    CASE(backups_at_once_are_refused),
	    CASE(upkeep_of_other_databases_is_refused),
	};

	log_open("store_sqlite_test", LOG_LEVEL_WARN);
	int failed = store_contract_run(&alone);
	readers = 2;
	failed += store_contract_run(&target);
	failed += cmocka_run_group_tests_name("store: sqlite alone", cases, NULL, NULL);
	return failed;
}
