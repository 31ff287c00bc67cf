/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal's tests share. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/journal_fixture.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

/* ---- the disk ---- */

/* Counts the call.  True: it is to fail, with errno set. */
static bool disk_refuses(enum disk_call call)
{
	unsigned total = atomic_fetch_add(&disk.total, 1) + 1;

	atomic_fetch_add(&disk.calls[call], 1);
	if (total == disk.die_at && call != DISK_PWRITE && call != DISK_WRITE)
		_exit(DISK_DIED);
	if (!(atomic_load(&disk.fails) & 1u << call))
		return false;
	if (atomic_load(&disk.times) > 0 && atomic_fetch_sub(&disk.times, 1) == 1)
		atomic_fetch_and(&disk.fails, ~(1u << call));
	errno = disk.error;
	return true;
}

/* Does this write, which was just counted, die in its midst? */
static bool disk_dies_writing(void)
{
	return disk.die_at && atomic_load(&disk.total) == disk.die_at;
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode)
{
	return disk_refuses(DISK_FCHMOD) ? -1 : __real_fchmod(fd, mode);
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	(void)fd;
	pthread_mutex_lock(&disk.lock);
	while (disk.stopped) {
		disk.waiting = true;
		pthread_cond_broadcast(&disk.moved);
		pthread_cond_wait(&disk.moved, &disk.lock);
	}
	disk.waiting = false;
	pthread_mutex_unlock(&disk.lock);
	if (disk.wait_us)
		usleep(disk.wait_us);
	return disk_refuses(DISK_FDATASYNC) ? -1 : 0;
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	(void)fd;
	return disk_refuses(DISK_FSYNC) ? -1 : 0;
}

int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len)
{
	return disk_refuses(DISK_FTRUNCATE) ? -1 : __real_ftruncate(fd, len);
}

int __real_mkdirat(int dir, const char *path, mode_t mode);
int __wrap_mkdirat(int dir, const char *path, mode_t mode);
int __wrap_mkdirat(int dir, const char *path, mode_t mode)
{
	return disk_refuses(DISK_MKDIRAT) ? -1 : __real_mkdirat(dir, path, mode);
}

int __real_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
	if (!(flags & O_CREAT))
		mode = 0;
	else if (disk_refuses(DISK_OPENAT))
		return -1;
	return __real_openat(dir, path, flags, mode);
}

ssize_t __real_pwrite(int fd, const void *bytes, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	bool refuses = disk_refuses(DISK_PWRITE);

	if (disk_dies_writing()) {
		if (__real_pwrite(fd, bytes, len / 2, offset) >= 0)
			_exit(DISK_DIED);
		abort();
	}
	return refuses ? -1 : __real_pwrite(fd, bytes, len, offset);
}

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return disk_refuses(DISK_RENAMEAT) ? -1 : __real_renameat(from_dir, from, to_dir, to);
}

ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
	bool refuses;

	if (fd <= STDERR_FILENO)
		return __real_write(fd, bytes, len);
	refuses = disk_refuses(DISK_WRITE);
	if (disk_dies_writing()) {
		if (__real_write(fd, bytes, len / 2) >= 0)
			_exit(DISK_DIED);
		abort();
	}
	return refuses ? -1 : __real_write(fd, bytes, len);
}

void disk_fail(enum disk_call call, int error)
{
	disk.error = error;
	atomic_fetch_or(&disk.fails, 1u << call);
}

void disk_heal(void)
{
	atomic_store(&disk.fails, 0);
	atomic_store(&disk.times, 0);
}

unsigned disk_count(enum disk_call call)
{
	return atomic_load(&disk.calls[call]);
}

void disk_reset(void)
{
	for (unsigned call = 0; call < DISK_CALLS; call++)
		atomic_store(&disk.calls[call], 0);
	atomic_store(&disk.total, 0);
}

void disk_stop(void)
{
	pthread_mutex_lock(&disk.lock);
	disk.stopped = true;
	pthread_mutex_unlock(&disk.lock);
}

void disk_await_stop(void)
{
	pthread_mutex_lock(&disk.lock);
	while (!disk.waiting)
		pthread_cond_wait(&disk.moved, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

void disk_go_on(void)
{
	pthread_mutex_lock(&disk.lock);
	disk.stopped = false;
	pthread_cond_broadcast(&disk.moved);
	pthread_mutex_unlock(&disk.lock);
}

/* ---- the clock and the log ---- */

int64_t __wrap_clock_wall_us(void);
int64_t __wrap_clock_wall_us(void)
{
	return INT64_C(1795773600123456);
}

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[64 * 1024];

static bool log_take(const struct log_event *event)
{
	size_t len;

	pthread_mutex_lock(&log_lock);
	len = strlen(log_text);
	snprintf(log_text + len, sizeof(log_text) - len, "%s\n", event->message);
	pthread_mutex_unlock(&log_lock);
	return true;
}

unsigned log_count(const char *text)
{
	unsigned count = 0;

	pthread_mutex_lock(&log_lock);
	for (const char *at = log_text; (at = strstr(at, text)); at++)
		count++;
	pthread_mutex_unlock(&log_lock);
	return count;
}

void log_forget(void)
{
	pthread_mutex_lock(&log_lock);
	log_text[0] = '\0';
	pthread_mutex_unlock(&log_lock);
}

/* ---- life ---- */

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_open("journal_test", LOG_LEVEL_INFO);
	log_set_sink(log_take);
	log_forget();
	disk_heal();
	disk_reset();
	snprintf(f->home, sizeof(f->home), "/tmp/csrd-journal-XXXXXX");
	assert_non_null(mkdtemp(f->home));
	snprintf(f->folder, sizeof(f->folder), "%s/journal", f->home);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	disk.die_at = 0;
	disk.wait_us = 0;
	disk_heal();
	fixture_close(f, false);
	assert_int_equal(nftw(f->home, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(f);
	return 0;
}

enum err fixture_try(struct fixture *f)
{
	const struct journal_options options = {.folder = f->folder, .node = "a"};

	return journal_open(&options, &f->j, &f->report);
}

void fixture_open(struct fixture *f)
{
	enum err e = fixture_try(f);

	if (e != E_OK)
		fail_msg("the journal does not open: %s\n%s", err_str(e), log_text);
}

void fixture_close(struct fixture *f, bool clean)
{
	journal_close(f->j, clean);
	f->j = NULL;
}

void fixture_path(const struct fixture *f, const char *name, char path[PATH_MAX])
{
	assert_true((size_t)snprintf(path, PATH_MAX, "%s/%s", f->folder, name) < PATH_MAX);
}

/* ---- files ---- */

void file_read(const struct fixture *f, const char *name, struct buf *b)
{
	char path[PATH_MAX];
	enum err e;

	fixture_path(f, name, path);
	buf_init(b, (size_t)64 << 20);
	e = fd_read_file(path, b);
	assert_true(e == E_OK || e == E_NOTFOUND);
}

void file_write(const struct fixture *f, const char *name, const void *bytes, size_t len)
{
	char path[PATH_MAX];
	int fd;

	fixture_path(f, name, path);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(__real_write(fd, bytes, len), len);
	close(fd);
}

bool file_exists(const struct fixture *f, const char *name)
{
	char path[PATH_MAX];

	fixture_path(f, name, path);
	return access(path, F_OK) == 0;
}

/* ---- names ---- */

void name_reserve(struct fixture *f, char name[KEY_NAME_SIZE])
{
	char names[1][KEY_NAME_SIZE];

	assert_int_equal(journal_reserve(f->j, KEY_P256V1, 1, names, NULL), E_OK);
	memcpy(name, names[0], KEY_NAME_SIZE);
}

void name_make(struct fixture *f, const char *name)
{
	static const uint8_t id[] = {1, 2}, spki[JOURNAL_HASH_BYTES] = {3};
	const struct journal_made made = {.name = name,
					  .type = KEY_P256V1,
					  .id = id,
					  .id_len = sizeof(id),
					  .spki = spki,
					  .attributes = "token"};

	assert_int_equal(journal_made(f->j, &made, NULL), E_OK);
}

enum err name_use(struct fixture *f, const char *name, const char *csr)
{
	static const uint8_t digest[JOURNAL_HASH_BYTES] = {4}, tbs[JOURNAL_HASH_BYTES] = {5};
	const struct journal_used used = {.name = name, .csr = csr, .digest = digest, .tbs = tbs};

	return journal_used(f->j, &used, NULL);
}

enum journal_state name_state(struct fixture *f, const char *name)
{
	struct journal_key key;

	return journal_find(f->j, name, &key) == E_OK ? key.state : 0;
}

void notes_append(struct fixture *f, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(journal_probe(f->j, "a note", NULL), E_OK);
}

/* ---- the reader ---- */

struct chain {
	uint64_t next;
	char prev[2 * SHA256_DIGEST_LENGTH + 1];
};

static void chain_follow(struct chain *chain, const uint8_t *text, size_t len)
{
	uint8_t leaf[1 + 65535] = {0}, hash[SHA256_DIGEST_LENGTH];
	char entry[65536], expected[128];

	memcpy(entry, text, len);
	entry[len] = '\0';
	assert_int_equal(strlen(entry), len);
	snprintf(expected, sizeof(expected), "\"index\":%llu,", (unsigned long long)chain->next);
	if (!strstr(entry, expected))
		fail_msg("entry %llu has another index: %s", (unsigned long long)chain->next, entry);
	snprintf(expected, sizeof(expected), "\"prev\":\"%s\"", chain->prev);
	if (!strstr(entry, expected))
		fail_msg("entry %llu does not follow the one before: %s", (unsigned long long)chain->next,
			 entry);
	memcpy(leaf + 1, text, len);
	SHA256(leaf, 1 + len, hash);
	str_hex(chain->prev, hash, sizeof(hash));
	chain->next++;
}

/* False: there is no such file. */
static bool chain_file(const struct fixture *f, const char *name, struct chain *chain)
{
	struct buf b;
	bool is_there = file_exists(f, name);

	file_read(f, name, &b);
	for (size_t at = 0; at < b.len;) {
		size_t len;

		assert_true(b.len - at >= 2);
		len = (size_t)(b.data[at] << 8 | b.data[at + 1]);
		assert_true(len > 0 && len <= b.len - at - 2);
		chain_follow(chain, b.data + at + 2, len);
		at += 2 + len;
	}
	buf_release(&b);
	return is_there;
}

uint64_t chain_check(const struct fixture *f)
{
	struct chain chain = {0};
	char path[64];

	memset(chain.prev, '0', sizeof(chain.prev) - 1);
	for (unsigned number = 0;; number++) {
		if (number < 1000)
			snprintf(path, sizeof(path), "tile/entries/%03u", number);
		else
			snprintf(path, sizeof(path), "tile/entries/x%03u/%03u", number / 1000, number % 1000);
		if (!chain_file(f, path, &chain))
			break;
		assert_int_equal(chain.next, (uint64_t)256 * (number + 1));
	}
	chain_file(f, "tail", &chain);
	return chain.next;
}
