/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the store's file lies and what becomes of it: no new database beside the
 * log of another (F113), none served that was removed or replaced (F114), one
 * lock whatever the name (F115), a refusal of the system is no damage (F112).
 */
#include "base/fd.h"
#include "base/log.h"
#include "store/store.h"
#include "store/upkeep.h"
#include "tests/contract/store_contract.h"
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[64];

/* "FOLDER/name", in one of some buffers. */
static const char *at(const char *name)
{
	static char paths[8][160];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, 160, "%s/%s", folder, name);
	return path;
}

static enum err open_at(const char *name, bool sole_service, bool create, struct store **ret_store)
{
	char url[200];
	struct store_options options = {
	    .url = url, .queue_max = 64, .sole_service = sole_service, .create = create};

	snprintf(url, sizeof(url), "sqlite:%s", at(name));
	return store_open(&options, ret_store);
}

static struct store *must_open(void)
{
	struct store *store;

	assert_int_equal(open_at("csrd.db", true, true, &store), E_OK);
	return store;
}

static void make(void)
{
	struct store *store = must_open();

	contract_fill(store);
	store_close(store);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/csrd-place-XXXXXX");
	assert_non_null(mkdtemp(folder));
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	(void)st;
	(void)kind;
	(void)walk;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_text(const char *name, const char *text)
{
	int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* ---- a disk that may not be written: this stands before libc's, for SQLite too ---- */

static int pwrite_errno;

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if (pwrite_errno != 0) {
		errno = pwrite_errno;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
	return pwrite(fd, data, len, offset);
}

/* Only what is wrong with the contents of the file is damage: E_STORE is not started again. */
static void F112_a_refusal_of_the_system_is_no_damage(void **state)
{
	static const struct {
		int refusal;
		enum err e;
	} refusals[] = {{EPERM, E_DENIED}, {EACCES, E_DENIED}, {EROFS, E_DENIED},
			{EIO, E_IO},       {ENOSPC, E_LIMIT},  {EDQUOT, E_LIMIT}};
	struct store *store;

	(void)state;
	for (int is_there = 0; is_there < 2; is_there++) {
		for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
			pwrite_errno = refusals[i].refusal;
			enum err e = open_at("csrd.db", true, true, &store);
			pwrite_errno = 0;
			if (e == E_OK) /* one that is there need not be written to be opened */
				store_close(store);
			else
				assert_int_equal(e, refusals[i].e);
			assert_true(e != E_OK || is_there);
		}
		store_close(must_open());
	}
}

/* ---- F113 ---- */

static void F113_no_database_is_made_beside_a_log(void **state)
{
	static const char *const logs[] = {"csrd.db-wal", "csrd.db-journal"};
	struct store *store;
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
		write_text(logs[i], "what is left of another");
		assert_int_equal(open_at("csrd.db", true, true, &store), E_STORE);
		assert_int_equal(open_at("csrd.db", false, true, &store), E_STORE);
		assert_int_equal(open_at("csrd.db", false, false, &store), E_STORE);
		assert_int_equal(access(at("csrd.db"), F_OK), -1);
		assert_int_equal(stat(at(logs[i]), &st), 0);
		assert_int_equal(st.st_size, strlen("what is left of another"));
		assert_int_equal(unlink(at(logs[i])), 0);
	}
	make();
}

/* By whichever name: the log is beside the file that a symbolic link leads to. */
static void F113_a_link_does_not_hide_the_log(void **state)
{
	struct store *store;

	(void)state;
	assert_int_equal(mkdir(at("real"), 0700), 0);
	assert_int_equal(symlink("real/csrd.db", at("csrd.db")), 0);
	write_text("real/csrd.db-wal", "x");
	assert_int_equal(open_at("csrd.db", true, true, &store), E_NOTFOUND);
	assert_int_equal(unlink(at("csrd.db")), 0);
	assert_int_equal(symlink("real", at("there")), 0);
	assert_int_equal(open_at("there/csrd.db", true, true, &store), E_STORE);
	assert_int_equal(access(at("real/csrd.db"), F_OK), -1);
}

/* ---- F114 ---- */

static void assert_unavailable(struct store *store)
{
	struct csr_record *r;

	assert_int_equal(contract_account_add(store, "nowhere", 1), E_UNAVAIL);
	assert_int_equal(contract_get(store, NULL, contract_id(1), &r), E_UNAVAIL);
	assert_int_equal(contract_ping(store), E_UNAVAIL);
}

static void F114_nothing_goes_into_a_file_without_a_name(void **state)
{
	static const char *const names[] = {"csrd.db", "csrd.db-wal", "csrd.db-shm"};
	struct store *store;

	(void)state;
	make();
	store = must_open();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		/* Moved away, replaced by another, and back. */
		assert_int_equal(rename(at(names[i]), at("elsewhere")), 0);
		assert_unavailable(store);
		write_text(names[i], "another");
		assert_unavailable(store);
		assert_int_equal(rename(at("elsewhere"), at(names[i])), 0);
		assert_int_equal(contract_ping(store), E_OK);
		assert_int_equal(contract_account_add(store, names[i], 1), E_OK);
	}
	assert_int_equal(unlink(at("csrd.db")), 0);
	assert_unavailable(store);
	store_close(store);
	/* What was not in the file yet is not thrown away with it. */
	assert_int_equal(access(at("csrd.db-wal"), F_OK), 0);
	assert_int_equal(open_at("csrd.db", true, true, &store), E_STORE);
}

/* What was in the log alone is still open: an orderly end puts it where it belongs. */
static void F114_a_log_that_was_removed_is_written_at_the_end(void **state)
{
	struct store *store;

	(void)state;
	make();
	store = must_open();
	assert_int_equal(contract_account_add(store, "in-the-log", 1), E_OK);
	assert_int_equal(unlink(at("csrd.db-wal")), 0);
	assert_unavailable(store);
	store_close(store);
	store = must_open();
	assert_int_equal(contract_account_add(store, "in-the-log", 1), E_EXISTS);
	store_close(store);
}

/* ---- F115 ---- */

static void F115_a_symbolic_link_leads_to_the_same_lock(void **state)
{
	struct store *first, *second;

	(void)state;
	make();
	assert_int_equal(symlink("csrd.db", at("link.db")), 0);
	assert_int_equal(symlink(".", at("there")), 0);
	first = must_open();
	assert_int_equal(open_at("link.db", true, true, &second), E_EXISTS);
	assert_int_equal(open_at("there/csrd.db", true, true, &second), E_EXISTS);
	store_close(first);
	assert_int_equal(open_at("link.db", true, true, &first), E_OK);
	assert_int_equal(open_at("csrd.db", true, true, &second), E_EXISTS);
	store_close(first);
	assert_int_equal(access(at("link.db.lock"), F_OK), -1);
}

static void F115_a_second_name_is_refused(void **state)
{
	struct store *store;

	(void)state;
	make();
	assert_int_equal(link(at("csrd.db"), at("other.db")), 0);
	for (int service = 0; service < 2; service++) {
		assert_int_equal(open_at("csrd.db", service, true, &store), E_CONFIG);
		assert_int_equal(open_at("other.db", service, true, &store), E_CONFIG);
	}
	/* But for those of a restore that was cut off: nobody opens them. */
	assert_int_equal(rename(at("other.db"), at("csrd.db.before-restore-20270131T000000Z")), 0);
	store_close(must_open());
}

/* A mount gives the file a second name that no link count tells of. */
static void F115_a_mount_leads_to_the_same_lock(void **state)
{
	struct store *first, *second;

	(void)state;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		print_message("skipped: no right to mount (%s)\n", strerror(errno));
		skip();
	}
	make();
	write_text("mounted.db", "");
	assert_int_equal(mount(at("csrd.db"), at("mounted.db"), NULL, MS_BIND, NULL), 0);
	first = must_open();
	assert_int_equal(open_at("mounted.db", true, true, &second), E_EXISTS);
	store_close(first);
	assert_int_equal(umount2(at("mounted.db"), MNT_DETACH), 0);
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest cases[] = {
	    CASE(F112_a_refusal_of_the_system_is_no_damage),
	    CASE(F113_no_database_is_made_beside_a_log),
	    CASE(F113_a_link_does_not_hide_the_log),
	    CASE(F114_nothing_goes_into_a_file_without_a_name),
	    CASE(F114_a_log_that_was_removed_is_written_at_the_end),
	    CASE(F115_a_symbolic_link_leads_to_the_same_lock),
	    CASE(F115_a_second_name_is_refused),
	    CASE(F115_a_mount_leads_to_the_same_lock),
	};

	log_open("store_place_test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("store: place", cases, NULL, NULL);
}
