/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata store, asynchronous.  One thread writes: it takes what is queued
 * into one transaction (group commit), so a callback with E_OK means: durable.
 * Others read meanwhile, on connections of their own, and wait for no commit.
 *
 * Threads: every function is called on one thread, the owner's.  Callbacks run
 * on it too, from store_dispatch, exactly once for each call and never inside
 * the call itself.  Writes are done and reported in the order of the calls, except
 * those refused unqueued, which may be reported sooner.  A read may be reported
 * before a write that was called earlier, and has seen every write that had been
 * reported when it was called.  store_fd becomes readable when store_dispatch has work.
 * A callback may make new calls, but not store_dispatch, store_wait or store_close.
 *
 * Arguments are borrowed for the call (copied), unless it says *takes*.
 * Results are borrowed until the callback returns, unless it says *owned*.
 *
 * Common errors: E_BUSY (queue full, or the database stayed locked; nothing was
 * done), E_STORE (database error; logged; nothing was done), E_UNAVAIL (the
 * store cannot be reached, its file was removed or replaced, or it is being
 * closed; nothing was done), E_UNCERTAIN (the connection or the file was lost, or
 * the disk refused a flush, at commit: read before you act), E_NOMEM.  When a
 * commit fails, all that it would have made durable fails with it.  After a
 * refused flush every call is E_STORE until the store is opened again.
 */
#ifndef CSRD_STORE_STORE_H
#define CSRD_STORE_STORE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/metric.h"
#include "store/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct sql_engine;

#define STORE_LIST_MAX 1000 /* of one page */

struct store_options {
	const char *url;    /* "sqlite:/var/lib/csrd/csrd.db": the path is absolute */
	unsigned queue_max; /* operations waiting to write, and as many waiting to read; past it E_BUSY */
	unsigned readers;   /* threads that only read, ≤ 16; 0: the one thread reads, too */
	bool sole_service;  /* take the lock that only one csrd may hold (SQLite); else E_EXISTS */
	bool create;        /* make the database when it is missing */
};

/*
 * Opens, migrates to the newest schema, and starts the thread.  Blocks: for
 * start-up only.  Logs the cause.  E_CONFIG (url not understood, network file
 * system, a file with more than one name), E_NOTFOUND, E_EXISTS (another csrd has
 * it, or runs on it while its schema is to be changed), E_STORE (damaged, empty,
 * made by a newer program, or gone while its log is there), E_DENIED, E_LIMIT (no
 * room on the disk), E_BUSY (also: a restore replaces it), E_IO, E_NOMEM.  The sole service also has the
 * pages of a database that is not too large for that checked.
 */
MUST_USE enum err store_open(const struct store_options *options, struct store **ret_store);

/* As store_open over a given engine: for the tests' own. */
MUST_USE enum err store_open_engine(const struct sql_engine *engine, const struct store_options *options,
				    struct store **ret_store);

/* Runs what is queued to its end, calls the callbacks, stops the thread. NULL is fine.
   Calls that the callbacks make meanwhile are answered E_UNAVAIL. */
void store_close(struct store *store);

int store_fd(const struct store *store); /* borrowed; poll for reading */
void store_dispatch(struct store *store);

/* Waits and dispatches until `*done` is true: for command-line programs. */
void store_wait(struct store *store, const bool *done);

/* Operations that wait for a thread of the store; those in progress are not counted. */
unsigned store_queued(const struct store *store);

/*
 * What it has done since it was opened.  Times of operations run from when they are queued until their
 * result is delivered; those of commits are a whole transaction of the thread that writes.
 */
struct store_figures {
	struct metric_times reads;
	struct metric_times writes;
	struct metric_times commits;
	uint64_t failed; /* operations that ended because the database failed, or the queue was full */
};
void store_figures(const struct store *store, struct store_figures *ret_figures);

/* How long the slowest thread of the store has been busy with one operation; 0: all are idle. */
uint64_t store_at_work_ms(const struct store *store);

typedef void (*store_done_fn)(void *arg, enum err e);

/*
 * E_OK when the database is usable: it is read, and, if the last write failed,
 * written as well.  E_LIMIT (no room on the disk), E_DENIED and E_IO
 * (the system refuses to write) besides the common errors.
 */
void store_ping(struct store *store, store_done_fn done, void *arg);

/* What such an error says about the store, such as "the disk is full".  Static text, for people. */
const char *store_ping_text(enum err e);

/* ---- principals ---- */

/* principal: owned by the callee, NULL unless E_OK. */
typedef void (*store_principal_fn)(void *arg, enum err e, struct principal *principal);
/* What a request shows of its sender. */
struct store_claim {
	enum principal_kind kind; /* of the secret; 0: there is none, and the peer counts */
	uint8_t secret_hash[STORE_HASH_BYTES];
	const struct peer *peer; /* NULL: nothing is known of it */
	bool needs_both;         /* a secret alone will not do: the peer is looked at, too */
};
/*
 * By hash of the secret, or of one that was replaced (secret_until_us), or else by the names of the peer,
 * which must all be of one principal as far as they are anybody's.  known_by says by which of them; with a
 * secret and needs_both, which of them is bound to the principal that has the secret.  Revoked and expired
 * ones are found too: the caller decides. E_NOTFOUND; E_EXISTS: two principals have names of that peer.
 */
void store_principal_find(struct store *store, const struct store_claim *claim, store_principal_fn done,
			  void *arg);

/* ---- CSRs ---- */

enum store_begin {
	STORE_BEGIN_NEW = 1,   /* the row is active and durable */
	STORE_BEGIN_REPLAY,    /* idempotency key seen with this request: record is the first result */
	STORE_BEGIN_IN_FLIGHT, /* idempotency key seen, its CSR is a pending one of csrd 0.1 that waits to be
				  settled */
	STORE_BEGIN_MISMATCH,  /* idempotency key seen with another request */
	STORE_BEGIN_GONE,      /* idempotency key seen, its CSR has been deleted since */
	STORE_BEGIN_QUOTA,     /* the scope's quota is used up */
	STORE_BEGIN_NO_SCOPE,  /* no such account or zone */
	STORE_BEGIN_POLICY,    /* the policies that it was judged by are not those in force */
};
struct store_csr_add {
	struct csr_record *record;   /* takes: id, scope, token_name, principal_id, spec, name, description,
					pem, key_label, key_id, spki_sha256, protection, account_policy and
					zone_policy are read;
					account_tag, state and the times are set */
	const char *idempotency_key; /* NULL: none */
	uint8_t request_hash[STORE_HASH_BYTES]; /* of scope and body; compared when the key was seen */
	int64_t idempotency_ttl_us;             /* keys older than this are forgotten */
	struct audit_origin origin;             /* of "csr.active" */
};
/*
 * A CSR whose key was made and used: its row, active from the start, with idempotency key, quota and audit
 * record, in one commit.
 * record: owned by the callee; set for NEW (complete), REPLAY and IN_FLIGHT, and for POLICY: the one that was
 * given, to be judged by `policies` and added again; else NULL.
 * policies: owned by the callee; for POLICY what is in force; else NULL.
 * The scope is looked at first, then the idempotency key, then the quota, then the policies.
 * E_EXISTS: the id is in use, or store_csr_failed has shut it; or label, key id or SPKI hash is, or was, that
 * of another CSR (I3).  E_INVAL: a SAN holds a newline.
 */
typedef void (*store_csr_add_fn)(void *arg, enum err e, enum store_begin outcome, struct csr_record *record,
				 struct store_policies *policies);
void store_csr_add(struct store *store, const struct store_csr_add *in, store_csr_add_fn done, void *arg);

/*
 * A create that came to nothing: "csr.failed" to the audit trail.  From here on store_csr_add refuses the id
 * (E_EXISTS).  E_EXISTS: a row of that id is there already.  Twice is once, E_OK.
 */
void store_csr_failed(struct store *store, const char *id, const struct audit_origin *origin,
		      store_done_fn done, void *arg);

/* What a create would meet, read together with who requests it. */
struct store_csr_look {
	struct store_claim claim; /* as for store_principal_find */
	struct store_scope scope;
	const char *idempotency_key; /* these three as for store_csr_add */
	uint8_t request_hash[STORE_HASH_BYTES];
	int64_t idempotency_ttl_us;
};
/*
 * caller: owned by the callee; E_NOTFOUND as for store_principal_find.  outcome and record (owned): what
 * store_csr_add by that caller would come to now, but never POLICY.  NEW is no promise: store_csr_add looks
 * again.  policies: what is in force, owned by the callee; NULL for NO_SCOPE and errors.
 */
typedef void (*store_csr_look_fn)(void *arg, enum err e, struct principal *caller, enum store_begin outcome,
				  struct csr_record *record, struct store_policies *policies);
void store_csr_look(struct store *store, const struct store_csr_look *in, store_csr_look_fn done, void *arg);

/*
 * One legal move of state, with its audit record in the same transaction.
 * → failed (of a pending row, which csrd 0.1 made) forgets the idempotency key, so that
 * the caller may try again.  E_NOTFOUND: no such CSR, or it is not in state
 * `from` any more.  E_INVAL: not a legal move.
 */
struct store_csr_move {
	const char *id;
	enum csr_state from;
	enum csr_state to;
	struct audit_origin origin;
};
void store_csr_move(struct store *store, const struct store_csr_move *in, store_done_fn done, void *arg);

/* → deleting, by scope (NULL: any) and id as a client names it.  E_NOTFOUND unless there is such a CSR and it
   is active, or deleting already: then nothing is changed. */
typedef void (*store_csr_fn)(void *arg, enum err e, struct csr_record *record /* owned by the callee */);
void store_csr_delete_begin(struct store *store, const struct store_scope *scope, const char *id,
			    const struct audit_origin *origin, store_csr_fn done, void *arg);

/* Records in the audit trail a key of a failed or destroyed CSR that should no longer exist: "csr.leftover"
   before it is destroyed, unless the trail has said so since the last such key was destroyed; with `gone`,
   "csr.leftover-destroyed" afterwards. */
void store_csr_leftover(struct store *store, const char *id, bool gone, const struct audit_origin *origin,
			store_done_fn done, void *arg);

/* In any state; scope NULL: any (operators).  E_NOTFOUND. */
void store_csr_get(struct store *store, const struct store_scope *scope, const char *id, store_csr_fn done,
		   void *arg);

/* A CSR, read together with who asks for it. */
struct store_csr_ask {
	struct store_claim claim; /* as for store_principal_find */
	struct store_scope scope; /* these two as for store_csr_get */
	const char *id;
};
/* caller and e: as for store_principal_find.  record and record_e: as for store_csr_get, by whoever asks. */
typedef void (*store_csr_ask_fn)(void *arg, enum err e, struct principal *caller, enum err record_e,
				 struct csr_record *record);
void store_csr_ask(struct store *store, const struct store_csr_ask *in, store_csr_ask_fn done, void *arg);

enum store_order { STORE_ORDER_CREATED_AT = 1, STORE_ORDER_NAME, STORE_ORDER_ACCOUNT_TAG };
#define CSR_STATE_BIT(state) (1u << (unsigned)(state))
/*
 * What an operator looks for: all conditions must hold; NULL and 0 stand for any.
 * `name`, `san` and `word` are found anywhere in a text, whatever the case of
 * ASCII letters.
 */
struct store_csr_filter {
	int64_t since_us;         /* made then or later */
	int64_t until_us;         /* made before then */
	const char *id_prefix;    /* in lower case */
	const char *token_name;   /* the whole name */
	const char *principal_id; /* the whole id */
	enum key_type key_type;
	const uint8_t *key; /* key id or SPKI hash, by its length: found by an index */
	size_t key_len;
	const char *name; /* in the common name, or in the name that the caller gave */
	const char *san;  /* in one of the SANs */
	const char *word; /* in one of those, or at the start of the id */
};
struct store_csr_query {
	const struct store_scope *scope;       /* NULL: all */
	unsigned states;                       /* CSR_STATE_BIT set */
	const struct store_csr_filter *filter; /* NULL: none.  May read all rows; only in the order of
						  creation, with neither after_id nor updated_before_us */
	const char *after_id;      /* for passes over everything: ids > this, ordered by id; else NULL */
	int64_t updated_before_us; /* 0: any; only rows whose state is older than this */
	enum store_order order;    /* ignored with after_id; ties by id in the same direction */
	bool descending;
	uint64_t offset;
	unsigned limit; /* 1 … STORE_LIST_MAX */
	/*
	 * Who walks through the pages of a list (a principal's id); NULL: nobody.  With a
	 * scope and only ACTIVE, a page next to one that the same reader got in the last
	 * minutes starts where that ended, or ends where that began, whatever came or went
	 * since: `offset` then says which page it is, not how many rows lie before it.
	 * No row is shown twice in one walk (store/walk.h), so a page may have fewer rows.
	 */
	const char *reader;
};
struct store_csr_page {
	struct csr_record *records;
	size_t records_len;
	uint64_t total; /* of scope, states and filter, counted without a scan where scope is set and states
			   is ACTIVE alone; 0 with after_id */
};
typedef void (*store_csr_page_fn)(void *arg, enum err e, const struct store_csr_page *page);
/* A row with no name sorts before every name.  A scope that does not exist is an empty page.  E_INVAL: limit,
   order or offset (≤ INT64_MAX) out of range.  Lists of one scope and ACTIVE alone, and passes by after_id,
   go along an index; others may read and sort all rows. */
void store_csr_list(struct store *store, const struct store_csr_query *query, store_csr_page_fn done,
		    void *arg);

/* ---- a store that went back ---- */

/* What a signer remembers of a store, to notice one that went back in time. */
struct store_mark {
	bool has_lineage; /* false: no signer of that token has seen this store yet */
	uint8_t lineage[STORE_LINEAGE_BYTES];
	int64_t sequence; /* of the last audit record; 0: none */
};
typedef void (*store_mark_fn)(void *arg, enum err e, const struct store_mark *mark);
void store_mark_get(struct store *store, const char *token_name, store_mark_fn done, void *arg);

struct store_set_aside {
	const char *token_name;
	uint8_t lineage[STORE_LINEAGE_BYTES]; /* the new one: random */
	bool went_back;                       /* record "store.rolled-back" even when no row is open */
	struct audit_origin origin;           /* detail: why */
};
/*
 * Gives the store a new lineage for one token, and sets its open rows aside, all in one transaction: pending
 * rows become failed (as by store_csr_move), deleting ones stay, each with an audit record; if there are
 * any, "store.rolled-back" is recorded, too.  rows: how many there were.
 */
typedef void (*store_set_aside_fn)(void *arg, enum err e, uint64_t rows);
void store_set_aside(struct store *store, const struct store_set_aside *in, store_set_aside_fn done,
		     void *arg);

/* Called from store_dispatch whenever something was committed.  Only one can be set; NULL: none. */
void store_on_commit(struct store *store, void (*on_commit)(void *arg), void *arg);

/* ---- operators: accounts, zones, principals, audit ---- */

/* E_EXISTS; the zone's account must exist (E_NOTFOUND).  The store sets counts and the time of creation. */
void store_account_add(struct store *store, const struct account_record *account,
		       const struct audit_origin *origin, store_done_fn done, void *arg);
void store_zone_add(struct store *store, const struct zone_record *zone, const struct audit_origin *origin,
		    store_done_fn done, void *arg);
/* What an operator may change of an account or zone.  E_NOTFOUND. */
struct store_scope_change {
	struct store_scope scope;
	const char *name; /* NULL: as it is */
	bool sets_quota;
	int64_t csr_quota; /* may be below the current count: then none is made until the count is lower */
};
void store_scope_set(struct store *store, const struct store_scope_change *in,
		     const struct audit_origin *origin, store_done_fn done, void *arg);
/*
 * A new version of the policy of an account or zone.  version: the new one; with E_EXISTS the one in force.
 * E_NOTFOUND: no such account or zone.  The document is not read here.
 */
struct store_policy_set {
	struct store_scope scope;
	const char *document;
	int64_t after; /* only if this version is in force (0: none), else E_EXISTS; -1: whichever is */
	struct audit_origin origin;
};
typedef void (*store_policy_set_fn)(void *arg, enum err e, int64_t version);
void store_policy_set(struct store *store, const struct store_policy_set *in, store_policy_set_fn done,
		      void *arg);
/* version 0: the one in force.  E_NOTFOUND.  policy: NULL unless E_OK. */
typedef void (*store_policy_fn)(void *arg, enum err e, const struct policy_record *policy);
void store_policy_get(struct store *store, const struct store_scope *scope, int64_t version,
		      store_policy_fn done, void *arg);
/* Grants must name what exists (E_NOTFOUND); the id, the hash, a user's e-mail address among users not
   revoked (in whatever case), and each identity among those in force must be new (E_EXISTS).  Identities are
   in the form in which they are compared.  Of two grants on one scope the stronger counts.  The
   store sets the times of creation and revocation. */
void store_principal_add(struct store *store, const struct principal *principal,
			 const struct audit_origin *origin, store_done_fn done, void *arg);
/* E_NOTFOUND; revoking twice keeps the first time and is E_OK. */
void store_principal_revoke(struct store *store, enum principal_kind kind, const char *id,
			    const struct audit_origin *origin, store_done_fn done, void *arg);

/* Adds an identity to a principal (E_EXISTS: it is one already, of this or another principal; E_INVAL: the
   principal is revoked), or takes it away (E_NOTFOUND: it has none such).  E_NOTFOUND: no such principal. */
struct store_identity_change {
	const char *principal_id;
	enum identity_kind kind;
	const char *value; /* in the form in which it is compared */
	bool removes;
};
void store_identity_change(struct store *store, const struct store_identity_change *in,
			   const struct audit_origin *origin, store_done_fn done, void *arg);
/*
 * A new secret in place of the one before, which is valid beside it for grace_us more; those that were
 * replaced earlier end now.  E_NOTFOUND: no such principal, or it is revoked.  E_EXISTS: that secret was one
 * before.
 */
struct store_roll {
	enum principal_kind kind;
	const char *id;
	uint8_t secret_hash[STORE_HASH_BYTES];
	int64_t grace_us;
};
void store_principal_roll(struct store *store, const struct store_roll *in, const struct audit_origin *origin,
			  store_done_fn done, void *arg);

/* That a principal was used then; an earlier time than the one that is noted changes nothing. */
void store_principal_used(struct store *store, const char *id, int64_t at_us, store_done_fn done, void *arg);

/* That a backup was made (store/upkeep.h): "store.backup" in the audit trail, under the object "store". */
void store_note_backup(struct store *store, const struct audit_origin *origin, store_done_fn done, void *arg);

/*
 * The lists below come a page at a time: `limit` rows (1 … STORE_LIST_MAX, else E_INVAL) behind the last
 * one of the page before, however many came or went since.  A page with fewer rows is the last.
 */

/* By id.  after_id NULL: from the first. */
typedef void (*store_accounts_fn)(void *arg, enum err e, const struct account_record *accounts, size_t len);
void store_account_list(struct store *store, const char *after_id, unsigned limit, store_accounts_fn done,
			void *arg);
typedef void (*store_zones_fn)(void *arg, enum err e, const struct zone_record *zones, size_t len);
void store_zone_list(struct store *store, const char *after_id, unsigned limit, store_zones_fn done,
		     void *arg);

/* The versions of one policy, the oldest first. */
struct store_policy_query {
	struct store_scope scope;
	int64_t after_version; /* 0: from the first */
	unsigned limit;
};
typedef void (*store_policies_fn)(void *arg, enum err e, const struct policy_record *policies, size_t len);
void store_policy_list(struct store *store, const struct store_policy_query *query, store_policies_fn done,
		       void *arg);

/* In the order in which they were made. */
struct store_principal_query {
	enum principal_kind kind;
	int64_t after_created_us; /* these two are of one principal; 0 and NULL: from the first */
	const char *after_id;
	unsigned limit;
};
typedef void (*store_principals_fn)(void *arg, enum err e, const struct principal *principals, size_t len);
void store_principal_list(struct store *store, const struct store_principal_query *query,
			  store_principals_fn done, void *arg);

/* What happened to one CSR, account, zone or principal, oldest first. */
struct store_trail_query {
	const char *object;     /* its id */
	int64_t after_sequence; /* 0: from the first */
	unsigned limit;
};
typedef void (*store_audit_fn)(void *arg, enum err e, const struct audit_record *records, size_t len);
void store_audit_list(struct store *store, const struct store_trail_query *query, store_audit_fn done,
		      void *arg);

/* The whole trail, newest first.  All of it must hold; NULL and 0 stand for any. */
struct store_audit_query {
	int64_t since_us;       /* then or later */
	int64_t until_us;       /* before then */
	const char *actor;      /* the whole actor */
	const char *object;     /* the whole id */
	const char *action;     /* "csr.active", or "csr" for all of its kind */
	int64_t below_sequence; /* of the last record of the page before; 0: from the newest */
	unsigned limit;
};
void store_audit_search(struct store *store, const struct store_audit_query *query, store_audit_fn done,
			void *arg);

#endif
