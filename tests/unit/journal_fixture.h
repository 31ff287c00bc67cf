/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal in a fresh folder, a disk that fails, waits or ends the process on
 * order, and a reader of the files that shares nothing with the product's.
 *
 * The calls that write are wrapped by the linker (tests.mk).  Nothing is really
 * synchronised: what a test sees does not depend on it, and it is slow.
 */
#ifndef CSRD_TESTS_UNIT_JOURNAL_FIXTURE_H
#define CSRD_TESTS_UNIT_JOURNAL_FIXTURE_H

#include "base/buf.h"
#include "base/str.h"
#include "hsm/signer/journal/journal.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_1 "11111111-1111-4111-8111-111111111111"
#define UUID_2 "22222222-2222-4222-8222-222222222222"

struct fixture {
	char home[64];
	char folder[PATH_MAX]; /* the journal's, in it */
	struct journal *j;
	struct journal_report report;
};

int fixture_setup(void **state);
int fixture_teardown(void **state); /* closes a journal that is open */

void fixture_open(struct fixture *f);              /* which must work */
enum err fixture_try(struct fixture *f);           /* which may not */
void fixture_close(struct fixture *f, bool clean); /* nothing when it is not open */
void fixture_path(const struct fixture *f, const char *name, char path[PATH_MAX]);

/* Whole files. */
void file_read(const struct fixture *f, const char *name,
	       struct buf *b); /* inits it; empty when there is none */
void file_write(const struct fixture *f, const char *name, const void *bytes, size_t len);
bool file_exists(const struct fixture *f, const char *name);

/* Reserves one name, and brings it so far. */
void name_reserve(struct fixture *f, char name[KEY_NAME_SIZE]);
void name_make(struct fixture *f, const char *name);
enum err name_use(struct fixture *f, const char *name, const char *csr);
enum journal_state name_state(struct fixture *f, const char *name); /* 0: it is not known */
void notes_append(struct fixture *f, unsigned count);               /* entries that concern no name */

/*
 * Follows the chain through all files from the first entry on, as doc/journal.md
 * describes it, and fails where it breaks.  Returns the number of entries.
 */
uint64_t chain_check(const struct fixture *f);

/* ---- the disk ---- */

enum disk_call {
	DISK_FCHMOD,
	DISK_FDATASYNC,
	DISK_FSYNC,
	DISK_FTRUNCATE,
	DISK_MKDIRAT,
	DISK_OPENAT, /* that makes a file */
	DISK_PWRITE,
	DISK_RENAMEAT,
	DISK_WRITE,
};
#define DISK_CALLS (DISK_WRITE + 1)
#define DISK_DIED 99 /* exit status */

extern struct disk {
	atomic_uint calls[DISK_CALLS];
	atomic_uint total;
	unsigned die_at;   /* that call of them all ends the process instead; 0: none */
	atomic_uint fails; /* bits of calls that fail */
	atomic_uint times; /* … so often; 0: always */
	int error;
	unsigned wait_us; /* for each fdatasync */
	/* fdatasync stops here while `stopped` */
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool stopped;
	bool waiting; /* there is one that stopped */
} disk;

void disk_fail(enum disk_call call, int error);
void disk_heal(void);
unsigned disk_count(enum disk_call call); /* since the last disk_reset */
void disk_reset(void);
void disk_stop(void);       /* the next fdatasync waits … */
void disk_await_stop(void); /* … is there … */
void disk_go_on(void);      /* … and goes on */

/* ---- the clock and the log ---- */

#define CLOCK_TEXT "2026-11-27T10:00:00.123456Z" /* is what it always is */

/* How many lines with that text there were since the last log_forget. */
unsigned log_count(const char *text);
void log_forget(void);

#endif
