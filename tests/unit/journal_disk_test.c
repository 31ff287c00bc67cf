/* SPDX-License-Identifier: Apache-2.0 */
/* The journal on a disk that fails, is full, or is cut off from its power; and with files that were changed.
 */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/journal_fixture.h"

#include "hsm/signer/journal/bundle.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the last entry of the bundle begins. */
static size_t last_entry_at(const struct buf *bundle)
{
	const uint8_t *text;
	size_t len, offset = 0, last = 0;

	for (size_t before = 0; bundle_next(bundle, &offset, &text, &len); before = offset)
		last = before;
	return last;
}

static ino_t inode_of(const struct fixture *f, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	fixture_path(f, name, path);
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static void unlink_file(const struct fixture *f, const char *name)
{
	char path[PATH_MAX];

	fixture_path(f, name, path);
	assert_int_equal(unlink(path), 0);
}

static void open_is_refused(struct fixture *f, size_t at);

/* ---- what a power cut leaves ---- */

/* With `bytes` as the tail all but the last of 4 entries is there, and appending goes on. */
static void tail_is_cut(struct fixture *f, const struct buf *bytes, size_t whole)
{
	file_write(f, "tail", bytes->data, bytes->len);
	fixture_open(f);
	assert_int_equal(f->report.entries, 3);
	assert_int_equal(f->report.cut_bytes, bytes->len - whole);
	assert_int_equal(chain_check(f), 3);
	assert_int_equal(log_count("are cut off"), bytes->len > whole);
	notes_append(f, 1);
	fixture_close(f, false);
	assert_int_equal(chain_check(f), 4);
	unlink_file(f, "live");
	log_forget();
}

static void the_last_entry_may_be_torn_at_each_byte(void **state)
{
	struct fixture *f = *state;
	struct buf tail, torn;
	size_t last;

	fixture_open(f);
	notes_append(f, 4);
	fixture_close(f, false);
	file_read(f, "tail", &tail);
	last = last_entry_at(&tail);
	buf_init(&torn, 1 << 16);
	for (size_t len = last; len < tail.len; len++) {
		buf_reset(&torn);
		buf_put(&torn, tail.data, len);
		tail_is_cut(f, &torn, last);
		/* the file had grown, but its end never reached the disk */
		while (torn.len < tail.len + 3)
			buf_put_u8(&torn, 0);
		tail_is_cut(f, &torn, last);
	}
	buf_release(&torn);
	buf_release(&tail);
}

/*
 * F445.  Sectors of one write reach the disk in any order: one that did not is a hole of zeros, and whole
 * entries may stand behind it.
 */
static void a_batch_may_be_torn_in_its_middle(void **state)
{
	enum { SECTOR = 512, KEPT = 2 };
	struct fixture *f = *state;
	struct buf tail, torn;
	size_t kept_len = 0;

	fixture_open(f);
	notes_append(f, KEPT);
	file_read(f, "tail", &tail);
	kept_len = tail.len;
	buf_release(&tail);
	notes_append(f, 10);
	fixture_close(f, false);
	file_read(f, "tail", &tail);
	buf_init(&torn, 1 << 16);
	for (size_t sector = kept_len / SECTOR; sector < tail.len / SECTOR; sector++) {
		size_t from = sector * SECTOR < kept_len ? kept_len : sector * SECTOR;

		buf_reset(&torn);
		buf_put(&torn, tail.data, tail.len);
		memset(torn.data + from, 0, (sector + 1) * SECTOR - from);
		file_write(f, "tail", torn.data, torn.len);
		if (file_exists(f, "live"))
			unlink_file(f, "live");
		log_forget();
		fixture_open(f);
		assert_true(f->report.entries >= KEPT && f->report.entries < KEPT + 10);
		assert_true(f->report.cut_bytes >= tail.len - (sector + 1) * SECTOR);
		assert_int_equal(log_count("are cut off"), 1);
		assert_int_equal(chain_check(f), f->report.entries);
		notes_append(f, 1);
		chain_check(f);
		fixture_close(f, false);
	}
	/* Of what a snapshot vouches for somebody was answered. */
	file_write(f, "tail", tail.data, tail.len);
	unlink_file(f, "live");
	fixture_open(f);
	fixture_close(f, true);
	buf_release(&torn);
	file_read(f, "tail", &torn);
	memset(torn.data + SECTOR, 0, SECTOR);
	file_write(f, "tail", torn.data, torn.len);
	open_is_refused(f, SECTOR);
	buf_release(&torn);
	buf_release(&tail);
}

/* The kernel may show what is not on the disk, and never will be. */
static void after_a_crash_the_tail_is_written_anew(void **state)
{
	struct fixture *f = *state;
	ino_t inode;

	fixture_open(f);
	notes_append(f, 5);
	inode = inode_of(f, "tail");
	fixture_close(f, false);
	fixture_open(f);
	assert_int_not_equal(inode_of(f, "tail"), inode);
	assert_int_equal(chain_check(f), 5);
	inode = inode_of(f, "tail");
	fixture_close(f, true);
	fixture_open(f);
	assert_int_equal(inode_of(f, "tail"), inode);
	notes_append(f, 1);
	assert_int_equal(chain_check(f), 7);
}

/* A bundle may have got its place, and the new tail not its name. */
static void a_bundle_may_be_the_end(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	notes_append(f, 255);
	fixture_close(f, true); /* its entry is the 256th */
	for (unsigned round = 0; round < 2; round++) {
		unlink_file(f, "tail");
		if (round)
			unlink_file(f, "live");
		fixture_open(f);
		assert_int_equal(f->report.entries, 256);
		assert_int_equal(f->report.clean, round == 0);
		fixture_close(f, false);
	}
	fixture_open(f);
	notes_append(f, 1);
	assert_int_equal(chain_check(f), 257);
}

/* ---- files that were changed ---- */

/* Nothing is cut, mended or written. */
static void open_is_refused(struct fixture *f, size_t at)
{
	struct buf before, after;

	file_read(f, "tail", &before);
	log_forget();
	if (fixture_try(f) != E_STORE)
		fail_msg("with byte %zu changed the journal opens, or fails in another way", at);
	f->j = NULL;
	assert_int_equal(log_count("is damaged: '"), 1);
	file_read(f, "tail", &after);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, before.len);
	buf_release(&before);
	buf_release(&after);
}

static void a_changed_byte_of_the_tail_is_seen(void **state)
{
	static const uint8_t changes[] = {0x01, 0x08, 0x80, 0xff};
	struct fixture *f = *state;
	char name[KEY_NAME_SIZE];
	struct buf tail;
	size_t last;

	fixture_open(f);
	name_reserve(f, name);
	name_make(f, name);
	notes_append(f, 1);
	fixture_close(f, false);
	file_read(f, "tail", &tail);
	last = last_entry_at(&tail);
	for (size_t at = 0; at < last; at++) {
		for (size_t i = 0; i < sizeof(changes); i++) {
			tail.data[at] ^= changes[i];
			file_write(f, "tail", tail.data, tail.len);
			open_is_refused(f, at);
			tail.data[at] ^= changes[i];
		}
	}
	file_write(f, "tail", tail.data, tail.len);
	fixture_open(f);
	buf_release(&tail);
}

/* After a clean stop the snapshot vouches for the last entry too. */
static void a_changed_last_entry_is_seen_after_a_clean_stop(void **state)
{
	struct fixture *f = *state;
	struct buf tail;
	size_t last;

	fixture_open(f);
	notes_append(f, 2);
	fixture_close(f, true);
	file_read(f, "tail", &tail);
	last = last_entry_at(&tail);
	for (size_t at = last; at < tail.len; at++) {
		tail.data[at] ^= 0x04;
		file_write(f, "tail", tail.data, tail.len);
		open_is_refused(f, at);
		tail.data[at] ^= 0x04;
	}
	buf_release(&tail);
}

static void a_changed_bundle_is_seen(void **state)
{
	struct fixture *f = *state;
	struct buf bundle;

	fixture_open(f);
	notes_append(f, 520);
	fixture_close(f, false);
	file_read(f, "tile/entries/001", &bundle);
	for (size_t at = 0; at < bundle.len; at += 97) {
		bundle.data[at] ^= 0x10;
		file_write(f, "tile/entries/001", bundle.data, bundle.len);
		open_is_refused(f, at);
		bundle.data[at] ^= 0x10;
	}
	file_write(f, "tile/entries/001", bundle.data, bundle.len - 1); /* no bundle has a torn end */
	open_is_refused(f, bundle.len - 1);
	buf_put_u8(&bundle, 0); /* nor anything behind it */
	file_write(f, "tile/entries/001", bundle.data, bundle.len);
	open_is_refused(f, bundle.len);
	unlink_file(f, "tile/entries/001");
	open_is_refused(f, 0);
	buf_release(&bundle);
}

static void a_changed_snapshot_is_of_no_use(void **state)
{
	struct fixture *f = *state;
	char names[3][KEY_NAME_SIZE];
	struct buf live;

	fixture_open(f);
	assert_int_equal(journal_reserve(f->j, KEY_P256V1, 3, names, NULL), E_OK);
	name_make(f, names[1]);
	name_make(f, names[2]);
	assert_int_equal(name_use(f, names[2], UUID_1), E_OK);
	fixture_close(f, true);
	file_read(f, "live", &live);
	for (size_t at = 0; at <= live.len; at++) {
		if (at < live.len) {
			live.data[at] ^= 0x01;
			file_write(f, "live", live.data, live.len);
			live.data[at] ^= 0x01;
		} else {
			file_write(f, "live", live.data, live.len - 1);
		}
		log_forget();
		fixture_open(f);
		assert_true(f->report.rebuilt);
		assert_false(f->report.clean);
		assert_int_equal(log_count("it is damaged"), 1);
		assert_int_equal(name_state(f, names[0]), JOURNAL_RESERVED);
		assert_int_equal(name_state(f, names[1]), JOURNAL_MADE);
		assert_int_equal(name_state(f, names[2]), JOURNAL_USED);
		fixture_close(f, false);
	}
	file_write(f, "live", live.data, live.len);
	fixture_open(f);
	assert_true(f->report.clean);
	buf_release(&live);
}

/* The snapshot knows of entries that are not there. */
static void missing_entries_are_told(void **state)
{
	struct fixture *f = *state;
	char early[KEY_NAME_SIZE], late[KEY_NAME_SIZE];
	struct buf old, live;

	fixture_open(f);
	notes_append(f, 299);
	name_reserve(f, early);
	file_read(f, "tail", &old);
	name_reserve(f, late);
	notes_append(f, 10);
	fixture_close(f, true);
	file_read(f, "live", &live);
	file_write(f, "tail", old.data, old.len); /* a copy of before */
	fixture_open(f);
	assert_int_equal(f->report.entries, 300);
	assert_int_equal(f->report.missing, 12);
	assert_false(f->report.clean || f->report.created);
	assert_int_equal(log_count("entries are missing"), 1);
	assert_int_equal(name_state(f, early), JOURNAL_RESERVED);
	assert_int_equal(name_state(f, late), 0);
	fixture_close(f, false);
	file_write(f, "live", live.data, live.len);
	unlink_file(f, "tail"); /* no tail at all */
	fixture_open(f);
	assert_int_equal(f->report.missing, 56);
	assert_int_equal(chain_check(f), 256);
	notes_append(f, 1);
	assert_int_equal(chain_check(f), 257);
	buf_release(&live);
	buf_release(&old);
}

/* ---- a disk that fails ---- */

static void nothing_is_appended(struct fixture *f, const char *name, uint64_t size)
{
	struct journal_key key;

	assert_int_equal(name_use(f, name, UUID_1), E_UNAVAIL);
	assert_int_equal(journal_size(f->j), size);
	assert_int_equal(journal_find(f->j, name, &key), E_OK);
	assert_int_equal(key.state, JOURNAL_MADE);
	assert_int_equal(journal_find_csr(f->j, UUID_1, &key), E_NOTFOUND);
	assert_int_equal(chain_check(f), size);
}

static void a_failing_call_costs_nothing(void **state)
{
	static const struct {
		enum disk_call first; /* fails, while the entry is written */
		enum disk_call then;  /* fails, while the file is written anew */
		int error;
	} outages[] = {
	    {DISK_PWRITE, DISK_OPENAT, ENOSPC},     {DISK_PWRITE, DISK_WRITE, ENOSPC},
	    {DISK_PWRITE, DISK_FSYNC, EIO},         {DISK_PWRITE, DISK_RENAMEAT, EROFS},
	    {DISK_FDATASYNC, DISK_OPENAT, EIO},     {DISK_FDATASYNC, DISK_WRITE, EIO},
	    {DISK_FDATASYNC, DISK_RENAMEAT, EROFS}, {DISK_FDATASYNC, DISK_FSYNC, EIO},
	};
	struct fixture *f = *state;

	fixture_open(f);
	for (size_t i = 0; i < sizeof(outages) / sizeof(outages[0]); i++) {
		char name[KEY_NAME_SIZE];
		uint64_t size;
		ino_t inode;

		name_reserve(f, name);
		name_make(f, name);
		size = journal_size(f->j);
		inode = inode_of(f, "tail");
		log_forget();
		disk_fail(outages[i].first, outages[i].error);
		nothing_is_appended(f, name, size);
		disk_fail(outages[i].then, outages[i].error);
		for (unsigned again = 0; again < 3; again++)
			nothing_is_appended(f, name, size);
		assert_int_equal(log_count("cannot be written: "), 1);
		assert_int_equal(log_count(strerror(outages[i].error)), 1);
		disk_heal();
		/* A call that failed is not simply made again: there is another file. */
		assert_int_equal(name_use(f, name, UUID_1), E_OK);
		assert_int_not_equal(inode_of(f, "tail"), inode);
		assert_int_equal(log_count("can be written again"), 1);
		assert_int_equal(chain_check(f), size + 1);
		assert_int_equal(journal_destroyed(f->j, name, 2, "the test", NULL), E_OK);
	}
	fixture_close(f, false);
	fixture_open(f);
	assert_int_equal(f->report.cut_bytes, 0);
}

/* A failed sync may have written the entry, and the process ends: the next start may see it, and the chain
 * holds. */
static void an_end_in_an_outage_is_no_damage(void **state)
{
	struct fixture *f = *state;
	char name[KEY_NAME_SIZE];

	fixture_open(f);
	name_reserve(f, name);
	name_make(f, name);
	disk_fail(DISK_FDATASYNC, EIO);
	disk_fail(DISK_FTRUNCATE, EIO);
	assert_int_equal(name_use(f, name, UUID_1), E_UNAVAIL);
	fixture_close(f, false);
	disk_heal();
	fixture_open(f);
	assert_int_equal(f->report.entries, 3);
	assert_int_equal(name_state(f, name), JOURNAL_USED);
	assert_int_equal(journal_destroyed(f->j, name, 2, "settled", NULL), E_OK);
	name_reserve(f, name);
	name_make(f, name);
	disk_fail(DISK_FDATASYNC, EIO);
	assert_int_equal(name_use(f, name, UUID_1), E_UNAVAIL);
	fixture_close(f, true); /* it cannot be a clean one */
	disk_heal();
	fixture_open(f);
	assert_false(f->report.clean);
	assert_int_equal(name_state(f, name), JOURNAL_MADE);
	chain_check(f);
}

/* A real short write: the file may not grow as far as the entry needs. */
static void a_full_disk_is_survived(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, limit;
	struct buf tail;
	uint64_t size;

	fixture_open(f);
	notes_append(f, 10);
	file_read(f, "tail", &tail);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = tail.len + 10;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	size = journal_size(f->j);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(journal_probe(f->j, "too long", NULL), E_UNAVAIL);
	assert_int_equal(journal_size(f->j), size);
	assert_int_equal(chain_check(f), size);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	notes_append(f, 1);
	assert_int_equal(chain_check(f), size + 1);
	buf_release(&tail);
}

/* The bundle's last entry is durable, so it counts; then nothing more until the bundle has its place. */
static void a_bundle_waits_for_the_disk(void **state)
{
	static const enum disk_call calls[] = {DISK_FCHMOD, DISK_FSYNC, DISK_MKDIRAT, DISK_RENAMEAT,
					       DISK_OPENAT};
	struct fixture *f = *state;

	fixture_open(f);
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		uint64_t complete = 256 * (i + 1);
		char path[BUNDLE_PATH_SIZE];
		ino_t inode;

		bundle_path(i, path);
		while (journal_size(f->j) < complete - 1)
			notes_append(f, 1);
		log_forget();
		inode = inode_of(f, "tail");
		disk_fail(calls[i], EROFS);
		notes_append(f, 1);
		assert_int_equal(journal_probe(f->j, "no", NULL), E_UNAVAIL);
		assert_int_equal(journal_probe(f->j, "no", NULL), E_UNAVAIL);
		assert_int_equal(log_count("cannot be written: "), 1);
		assert_int_equal(journal_size(f->j), complete);
		disk_heal();
		notes_append(f, 1);
		assert_int_equal(log_count("can be written again"), 1);
		assert_int_equal(chain_check(f), complete + 1);
		if (calls[i] == DISK_FSYNC) /* nobody knows what is on the disk of the file that was there */
			assert_int_not_equal(inode_of(f, path), inode);
		fixture_close(f, false);
		fixture_open(f);
		assert_int_equal(f->report.entries, complete + 1);
		assert_true(f->report.bundles <= 2);
	}
}

static void a_bundle_is_never_replaced(void **state)
{
	struct fixture *f = *state;
	struct buf bundle;

	fixture_open(f);
	notes_append(f, 300);
	file_write(f, "tile/entries/001", "precious", 8);
	notes_append(f, 212);
	assert_int_equal(journal_probe(f->j, "no", NULL), E_UNAVAIL);
	file_read(f, "tile/entries/001", &bundle);
	assert_string_equal(buf_text(&bundle), "precious");
	unlink_file(f, "tile/entries/001");
	notes_append(f, 1);
	assert_int_equal(chain_check(f), 513);
	buf_release(&bundle);
}

/* A snapshot that cannot be written makes the next start slower, and nothing else. */
static void without_a_snapshot_all_goes_on(void **state)
{
	struct fixture *f = *state;
	char path[PATH_MAX];

	fixture_open(f);
	fixture_path(f, "live.new", path);
	assert_int_equal(mkdir(path, 0700), 0);
	notes_append(f, 600);
	assert_int_equal(log_count("the next start reads more of the journal"), 2);
	assert_int_equal(rmdir(path), 0);
	fixture_close(f, false);
	fixture_open(f);
	assert_true(f->report.rebuilt);
	assert_int_equal(f->report.entries, 600);
}

/* F446.  What there is is known; nothing is written until it can be. */
static void a_start_on_a_disk_that_fails(void **state)
{
	static const struct {
		enum disk_call call;
		int error;
		bool clean; /* the file is then gone on with, and not written anew */
	} outages[] = {{DISK_OPENAT, EROFS, false}, {DISK_OPENAT, ENOSPC, true},
		       {DISK_WRITE, ENOSPC, false}, {DISK_FSYNC, EIO, true},
		       {DISK_FSYNC, EIO, false},    {DISK_RENAMEAT, EDQUOT, false}};
	struct fixture *f = *state;
	char name[KEY_NAME_SIZE];
	uint64_t size;

	fixture_open(f);
	name_reserve(f, name);
	name_make(f, name);
	size = journal_size(f->j);
	for (size_t i = 0; i < sizeof(outages) / sizeof(outages[0]); i++) {
		bool clean = outages[i].clean;
		struct buf tail;

		fixture_close(f, clean);
		size += clean;
		if (!clean) { /* half of an entry */
			file_read(f, "tail", &tail);
			buf_put(&tail, "\1", 1);
			file_write(f, "tail", tail.data, tail.len);
			buf_release(&tail);
		}
		log_forget();
		disk_fail(outages[i].call, outages[i].error);
		fixture_open(f);
		assert_int_equal(f->report.entries, size);
		assert_int_equal(name_state(f, name), JOURNAL_MADE);
		assert_true(journal_is_down(f->j));
		for (unsigned again = 0; again < 2; again++)
			assert_int_equal(journal_probe(f->j, "no", NULL), E_UNAVAIL);
		assert_int_equal(log_count("cannot be written: "), 1);
		assert_int_equal(log_count(strerror(outages[i].error)), 1);
		disk_heal();
		notes_append(f, 1);
		size++;
		assert_false(journal_is_down(f->j));
		assert_int_equal(log_count("can be written again"), 1);
		assert_int_equal(chain_check(f), size);
	}
}

/* A bundle that got its place a moment before the end: nothing follows before its folders are durable. */
static void a_start_behind_a_bundle_on_a_disk_that_fails_F446(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	notes_append(f, 256);
	fixture_close(f, false);
	disk_fail(DISK_FSYNC, EIO);
	fixture_open(f);
	assert_int_equal(f->report.entries, 256);
	assert_int_equal(journal_probe(f->j, "no", NULL), E_UNAVAIL);
	disk_heal();
	disk_reset();
	notes_append(f, 1);
	assert_true(disk_count(DISK_FSYNC) >= 5); /* the file, its folder, the one above, two of the bundle */
	assert_int_equal(chain_check(f), 257);
}

#ifdef CSRD_FAILPOINTS
/* As the tests of the whole program fill the disk. */
static void failpoints_make_an_outage(void **state)
{
	static const char *const points[] = {"journal.write", "journal.sync", "journal.rename"};
	struct fixture *f = *state;
	char path[PATH_MAX];

	fixture_open(f);
	notes_append(f, 255);
	snprintf(path, sizeof(path), "%s/armed", f->home);
	setenv("CSRD_FAILPOINT_FILE", path, 1);
	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		uint64_t size = journal_size(f->j);

		if (strcmp(points[i], "journal.rename") == 0) /* comes when the bundle is complete */
			size = 256;
		file_write(f, "../armed", points[i], strlen(points[i]));
		if (size == 256)
			notes_append(f, 1);
		assert_int_equal(journal_probe(f->j, "no", NULL), E_UNAVAIL);
		assert_int_equal(journal_probe(f->j, "no", NULL), E_UNAVAIL);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(journal_size(f->j), size);
		if (size == 256)
			notes_append(f, 1);
	}
	unsetenv("CSRD_FAILPOINT_FILE");
	assert_int_equal(chain_check(f), 257);
}
#endif

/* ---- a process that ends ---- */

#define BEFORE 250u /* entries, when the calls begin to count */
#define NOTES 12u   /* over the bundle's end */

/* A process that appends, and ends instead of its n-th call that writes.  *acked: how many appends came back.
 */
static int child_status(struct fixture *f, unsigned die_at, atomic_uint *acked)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		fixture_open(f);
		notes_append(f, BEFORE);
		disk_reset();
		disk.die_at = die_at;
		for (unsigned i = 0; i < NOTES; i++) {
			notes_append(f, 1);
			atomic_fetch_add(acked, 1);
		}
		fixture_close(f, true);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* At each call: the next start finds what was answered, at most one entry more, and goes on. */
static void a_process_may_end_at_each_call(void **state)
{
	atomic_uint *acked =
	    mmap(NULL, sizeof(*acked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned die_at = 0;
	int status;

	assert_true(acked != MAP_FAILED);
	do {
		void *one = NULL;
		struct fixture *f;
		uint64_t least;

		assert_int_equal(fixture_setup(&one), 0);
		f = one;
		atomic_store(acked, 0);
		status = child_status(f, ++die_at, acked);
		assert_true(status == DISK_DIED || status == 0);
		least = BEFORE + atomic_load(acked);
		fixture_open(f);
		if (f->report.entries < least || f->report.entries > least + 1)
			fail_msg("call %u: %llu entries, of which %llu were answered", die_at,
				 (unsigned long long)f->report.entries, (unsigned long long)least);
		assert_true(f->report.bundles <= 2 && !f->report.missing);
		assert_true(f->report.clean || status != 0);
		assert_int_equal(chain_check(f), f->report.entries);
		notes_append(f, 300);
		fixture_close(f, true);
		fixture_open(f);
		assert_true(f->report.clean);
		assert_false(file_exists(f, "tail.new") || file_exists(f, "live.new"));
		assert_int_equal(fixture_teardown(&one), 0);
	} while (status == DISK_DIED);
	assert_true(die_at > 2 * NOTES + 10);
	munmap(acked, sizeof(*acked));
	(void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_last_entry_may_be_torn_at_each_byte),
	    TEST(a_batch_may_be_torn_in_its_middle),
	    TEST(after_a_crash_the_tail_is_written_anew),
	    TEST(a_bundle_may_be_the_end),
	    TEST(a_changed_byte_of_the_tail_is_seen),
	    TEST(a_changed_last_entry_is_seen_after_a_clean_stop),
	    TEST(a_changed_bundle_is_seen),
	    TEST(a_changed_snapshot_is_of_no_use),
	    TEST(missing_entries_are_told),
	    TEST(a_failing_call_costs_nothing),
	    TEST(an_end_in_an_outage_is_no_damage),
	    TEST(a_full_disk_is_survived),
	    TEST(a_bundle_waits_for_the_disk),
	    TEST(a_bundle_is_never_replaced),
	    TEST(without_a_snapshot_all_goes_on),
	    TEST(a_start_on_a_disk_that_fails),
	    TEST(a_start_behind_a_bundle_on_a_disk_that_fails_F446),
#ifdef CSRD_FAILPOINTS
	    TEST(failpoints_make_an_outage),
#endif
	    cmocka_unit_test(a_process_may_end_at_each_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
