/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators do to a whole database: copy it while csrd runs, put a copy
 * in its place while csrd does not, look for damage.  Blocking, on the
 * caller's thread and a connection of its own, beside the queue of store.h;
 * for command-line programs.
 *
 * Every error is logged where it is met.  Common errors: E_UNSUPPORTED (not of
 * this kind of database), E_STORE (damaged, not csrd's, or newer than this
 * program), E_TIMEOUT (go_on said no), E_BUSY (the database stayed locked),
 * E_NOTFOUND, E_DENIED, E_IO, E_NOMEM.
 */
#ifndef CSRD_STORE_UPKEEP_H
#define CSRD_STORE_UPKEEP_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"

#include <stdbool.h>
#include <stdint.h>

enum upkeep_phase {
	UPKEEP_COPY = 1, /* done and total are pages */
	UPKEEP_CHECK,    /* the progress is not known: both are 0 */
	UPKEEP_WRITE,    /* bytes */
};

/* Asked every few milliseconds; false ends the work, and nothing was done. */
struct upkeep_watch {
	bool (*go_on)(void *arg, enum upkeep_phase phase, uint64_t done, uint64_t total);
	void *arg;
};

/* What a database holds. */
struct upkeep_summary {
	int schema_version;
	uint64_t bytes; /* of the file */
	uint64_t accounts;
	uint64_t zones;
	uint64_t principals;
	uint64_t grants;
	uint64_t ending;               /* principals, not revoked, that end within two weeks */
	uint64_t csrs[CSR_FAILED + 1]; /* by state; [0] is not used */
	uint64_t audit_records;
	int64_t newest_us; /* of the last audit record: every change has one; 0: none */
	uint64_t future;   /* pending and deleting rows whose time is still to come: the clock went back */
	char future_id[CSR_ID_SIZE]; /* of one of them; "" */
};
uint64_t upkeep_csrs(const struct upkeep_summary *summary); /* of all states */

/*
 * Writes the whole database, as it is at one instant, into the open file fd
 * from its start, and flushes it.  Writers are not held up meanwhile.  The
 * copy has been checked completely (pages, constraints, references, row counts
 * against the original) and is one file, with nothing beside it.  Needs as much
 * space again beside the database.  E_EXISTS: another backup of it is under way.
 */
MUST_USE enum err upkeep_backup(const char *url, int fd, const struct upkeep_watch *watch,
				struct upkeep_summary *ret_summary);

/* Whether its folder can hold a database.  E_CONFIG: it is on a network or shared file system. */
MUST_USE enum err upkeep_check_place(const char *url);

/* Whether a csrd runs on it now. */
MUST_USE enum err upkeep_is_served(const char *url, bool *ret_served);

struct upkeep_restore {
	const char *url;
	int fd;           /* the copy, open for reading */
	const char *name; /* of the copy, for the log */
	struct audit_origin origin;
	struct upkeep_watch watch;
};
/*
 * Puts a copy in the place of the database: checks it as upkeep_backup does,
 * brings its schema up to date, sets its open rows aside (store.h), adds
 * "store.restore" to its audit trail, and swaps.  A crash at any instant leaves
 * the old or the new database whole.  *ret_kept (owned) is where the old one is
 * kept; NULL when there was none.  E_EXISTS: a csrd runs on it.  E_INVAL: the
 * copy is no database.
 */
MUST_USE enum err upkeep_restore(const struct upkeep_restore *in, struct upkeep_summary *ret_summary,
				 char **ret_kept);

/* object: what it is about, such as "table csrs" or an id. */
typedef void (*upkeep_problem_fn)(void *arg, const char *object, const char *text);

struct upkeep_check {
	const char *url;
	bool full; /* the indexes too */
	struct upkeep_watch watch;
	upkeep_problem_fn on_problem;
	void *arg; /* on_problem's */
};
/*
 * Reads the database as it is at one instant and reports everything that is not
 * as this program leaves it: pages (with `full` the indexes too), constraints,
 * references, the schema's own rules, counters, the audit trail's sequence,
 * states against the audit trail.  E_OK also with problems.
 */
MUST_USE enum err upkeep_check(const struct upkeep_check *in, struct upkeep_summary *ret_summary);

#endif
