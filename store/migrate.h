/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema migrations: numbered SQL files (store/schema/NNN_name.sql) embedded
 * at build.  An engine says which version its database has and applies one
 * step at a time; which steps, and whether at all, is decided here.
 */
#ifndef CSRD_STORE_MIGRATE_H
#define CSRD_STORE_MIGRATE_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

struct migrate_step {
	int version; /* 1, 2, … without gaps */
	const char *name;
	const char *sql;
};

/* The embedded steps, oldest first. */
const struct migrate_step *migrate_steps(size_t *ret_len);

struct migrate_driver {
	void *db;
	const char *subject; /* names the database in the log */
	/* 0 for a database without a schema. */
	enum err (*version)(void *db, int *ret_version);
	/* Runs one step and sets the version, in one transaction; does nothing if the version is that
	 * high already. */
	enum err (*apply)(void *db, const struct migrate_step *step);
};

/*
 * Applies every step that the database lacks, in order, and stops at the first
 * error; the steps before it stay.  A database newer than the last step is
 * left alone: E_STORE, and a line in the log that names both versions.
 */
MUST_USE enum err migrate_run(const struct migrate_driver *driver, const struct migrate_step *steps,
			      size_t steps_len);

#endif
