/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signer's journal: what became of each key that it made.  Append-only,
 * each entry chained to the one before by SHA-256; doc/journal.md has its form.
 *
 * A key has a name, which the journal gives out, and the name has a life:
 *
 *	reserved ──▶ made ──▶ used ──▶ bound | kept
 *	   └──────────┴─────────┴────▶ destroyed
 *
 * No other step is taken, whatever the caller says, so no name is used for two
 * CSRs (invariant I3).  A step is taken when its entry is durable: until then,
 * and if it cannot be written, the name is where it was.  Names that are bound,
 * kept or destroyed are settled and forgotten; memory holds those that are not.
 *
 * The calls that append return when the entry is durable, or with:
 *   E_UNAVAIL   it cannot be written (disk full, an I/O error): no step was taken,
 *               and the next call tries again.  Logged once for each outage.  If
 *               the process ends before the disk works again, the entry may be there
 *               at the next start;
 *   E_NOTFOUND  there is no such name, or it is settled;
 *   E_BUG       the name is in another state: the step is not one of its life;
 *   E_EXISTS    the CSR has a key already;
 *   E_INVAL, E_LIMIT  a text is not UTF-8, a value is none, there are too many names, or the entry
 *               would be too long;
 *   E_IO (no random bytes), E_NOMEM.
 * ret_index, the entry's, may be NULL.  All threads that wait share one write and
 * one fdatasync(2).
 *
 * Thread-safe but for open and close.
 */
#ifndef CSRD_HSM_SIGNER_JOURNAL_JOURNAL_H
#define CSRD_HSM_SIGNER_JOURNAL_JOURNAL_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/key.h"
#include "base/key_name.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_HASH_BYTES 32
#define JOURNAL_NAMES_MAX 64   /* of one entry */
#define JOURNAL_ID_MAX 64      /* bytes of a CKA_ID: a module may choose it */
#define JOURNAL_BUNDLE_LEN 256 /* entries */

/* ---- life ---- */

struct journal;
struct journal_options {
	const char *folder; /* made if it is missing, with its parent if need be */
	const char *node;   /* stands in each entry; copied */
};

/* What was found at the start. */
struct journal_report {
	uint64_t entries; /* that there are */
	uint64_t missing; /* the snapshot knew of so many more; told once, then it is replaced */
	size_t cut_bytes; /* of a last entry that was half written */
	unsigned bundles; /* that were read, the tail not counted */
	bool created;     /* there was no journal: the caller knows whether that is an alarm */
	bool clean;       /* the last run ended by journal_close(j, true), and nothing is missing */
	bool rebuilt;     /* the snapshot was of no use, so all entries were read */
};

/*
 * Reads the snapshot and the entries behind it, whatever the journal's size; all of them only without a
 * snapshot.  Takes a lock for the life of the process.  Logs what fails.
 * One that can be read and not written opens, and is down (journal_is_down) until an append succeeds.
 * E_EXISTS: another process has the journal; E_STORE: it is damaged, and nothing was changed;
 * E_CONFIG: the folder is not fit; E_IO: it cannot be read, or is new and cannot be made; E_NOMEM.
 */
MUST_USE enum err journal_open(const struct journal_options *options, struct journal **ret_journal,
			       struct journal_report *ret_report);

/* clean: with an entry `stop` and a snapshot; if they cannot be written it is logged.  NULL is fine. */
void journal_close(struct journal *j, bool clean);

/* ---- the life of a name ---- */

/* Gives out `count` new names, which are reserved then, in one entry; 1 … JOURNAL_NAMES_MAX. */
MUST_USE enum err journal_reserve(struct journal *j, enum key_type type, size_t count,
				  char (*ret_names)[KEY_NAME_SIZE], uint64_t *ret_index);

struct journal_made {
	const char *name;
	enum key_type type;     /* the one that it was reserved for */
	const uint8_t *id;      /* CKA_ID as the token has it */
	size_t id_len;          /* 1 … JOURNAL_ID_MAX */
	const uint8_t *spki;    /* its SHA-256 */
	const char *attributes; /* as read back, for people */
};
MUST_USE enum err journal_made(struct journal *j, const struct journal_made *made, uint64_t *ret_index);

/*
 * The block to which these keys belong is opened: from here on each may be used at any time.  opens: more
 * than journal_opens(); no names: only the number is kept.
 */
MUST_USE enum err journal_opened(struct journal *j, uint64_t opens, const char *const *names, size_t count,
				 uint64_t *ret_index);

struct journal_used {
	const char *name;
	const char *csr;       /* UUID in its canonical form */
	const uint8_t *digest; /* SHA-256 of the CSR's DER */
	const uint8_t *tbs;    /* SHA-256 of its CertificationRequestInfo */
};
MUST_USE enum err journal_used(struct journal *j, const struct journal_used *used, uint64_t *ret_index);

/* Both, one behind the other, with one write.  After an error the name is reserved or, less often, made. */
MUST_USE enum err journal_made_and_used(struct journal *j, const struct journal_made *made,
					const struct journal_used *used, uint64_t *ret_index);

/*
 * The rows of these CSRs are there.  1 … JOURNAL_END_MAX names, none twice (E_INVAL), in as many entries as
 * they need, with one write: all are bound or none, but that of two entries the second may fail (E_UNAVAIL).
 */
#define JOURNAL_END_MAX 256
MUST_USE enum err journal_bound(struct journal *j, const char *const *names, size_t count,
				uint64_t *ret_index);
/* The same for keys that are kept although no row vouches for them. */
MUST_USE enum err journal_kept(struct journal *j, const char *const *names, size_t count,
			       uint64_t *ret_index);

/*
 * `objects` of the token are gone; 0 also where a name is only given up, whatever the token has of it (why
 * says so).  why: whatever somebody said; what is no UTF-8 becomes '?', and a long one is cut.
 */
MUST_USE enum err journal_destroyed(struct journal *j, const char *name, uint64_t objects, const char *why,
				    uint64_t *ret_index);

/* ---- what is only told ---- */

/* Something about a key was refused; the name need not be one of ours. */
MUST_USE enum err journal_refuse(struct journal *j, const char *name, const char *why, uint64_t *ret_index);

MUST_USE enum err journal_probe(struct journal *j, const char *text, uint64_t *ret_index);

MUST_USE enum err journal_login(struct journal *j, const char *outcome, uint64_t *ret_index);

struct journal_start {
	const char *version; /* of csrd-hsm */
	const char *module;
	const char *serial; /* of the token */
	bool clean;         /* the run before: of journal_report */
};
MUST_USE enum err journal_start(struct journal *j, const struct journal_start *start, uint64_t *ret_index);

/* ---- names that are not settled ---- */

/* The last append failed; the next one that succeeds ends it. */
bool journal_is_down(struct journal *j);

enum journal_state {
	JOURNAL_RESERVED = 1 << 0,
	JOURNAL_MADE = 1 << 1,
	JOURNAL_USED = 1 << 2,
};
/* "reserved", "made", "used" */
const char *journal_state_name(enum journal_state state);

struct journal_key {
	char name[KEY_NAME_SIZE];
	enum journal_state state;
	enum key_type type;
	bool opened;    /* made, and its block was opened since; a clean end closes it */
	uint64_t index; /* of the entry that brought it there */
	/* since it is made */
	uint8_t id[JOURNAL_ID_MAX];
	size_t id_len;
	uint8_t spki[JOURNAL_HASH_BYTES];
	/* since it is used */
	char csr[UUID_SIZE];
};

/* E_NOTFOUND. */
MUST_USE enum err journal_find(struct journal *j, const char *name, struct journal_key *ret_key);
/* The key that was used for a CSR.  E_NOTFOUND. */
MUST_USE enum err journal_find_csr(struct journal *j, const char *csr, struct journal_key *ret_key);
/* Those in any of the states (a mask), sorted by name.  *ret_keys is the caller's, to be freed; NULL for
 * none.  E_NOMEM. */
MUST_USE enum err journal_list(struct journal *j, unsigned states, struct journal_key **ret_keys,
			       size_t *ret_len);

/*
 * Of the used ones those whose `used` has that index or a later one, in that order, at most max.  Returns how
 * many; ret_more: there are others.
 */
size_t journal_list_used(struct journal *j, uint64_t from, struct journal_key *keys, size_t max,
			 bool *ret_more);

/* ---- reading it back ---- */

/* How often blocks were opened. */
uint64_t journal_opens(struct journal *j);

/* E_OK: it can be written; after an outage that is tried.  As the calls that append. */
MUST_USE enum err journal_check(struct journal *j);

/* Number of durable entries. */
uint64_t journal_size(struct journal *j);

/*
 * Appends durable entries from `from` on, each as two bytes of length, big-endian, and its text, up to the
 * end of its bundle and at most `max`.  *ret_len, of entries, is 0 at the end.  E_STORE (damaged), E_IO
 * (logged); E_LIMIT (out's ceiling), E_NOMEM.
 */
MUST_USE enum err journal_read(struct journal *j, uint64_t from, size_t max, struct buf *out,
			       size_t *ret_len);

/* SHA-256, for an entry `used`.  E_NOMEM. */
MUST_USE enum err journal_digest(const uint8_t *data, size_t len, uint8_t ret_hash[JOURNAL_HASH_BYTES]);

/* The leaf hash of one entry.  E_NOTFOUND; as journal_read. */
MUST_USE enum err journal_leaf(struct journal *j, uint64_t index, uint8_t ret_hash[JOURNAL_HASH_BYTES]);

#endif
