/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every store must do, whichever its engine and its threads, as test cases, and
 * blocking forms of store.h's calls for tests.
 */
#ifndef CSRD_TESTS_CONTRACT_STORE_CONTRACT_H
#define CSRD_TESTS_CONTRACT_STORE_CONTRACT_H

#include "base/err.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

struct store_contract_target {
	const char *name;
	/* Opens the one database of this target, made when it is missing. */
	enum err (*open)(struct store **ret_store);
	/* As csrd 0.1 left one: a pending row, and its idempotency key unless that is NULL.  The store is
	 * open. */
	void (*add_pending)(unsigned n, const struct store_scope *scope, const char *key, unsigned hash);
	/* Removes the database; the store is closed. */
	void (*wipe)(void);
};

/* Runs all cases, each on a fresh database.  Returns the number of those that failed. */
int store_contract_run(const struct store_contract_target *target);

/* ---- what tests ask a store, waiting for the answer ---- */

#define CONTRACT_ACCOUNT "account-1" /* made by contract_fill, without limit */
#define CONTRACT_ZONE "zone-1"       /* of that account, without limit */
#define CONTRACT_TTL_US ((int64_t)3600 * 1000000)

extern const struct audit_origin contract_origin;
extern const struct store_scope contract_account, contract_zone;

/* The account and the zone above. */
void contract_fill(struct store *store);

/* "00000000-0000-4000-8000-" and 12 digits; static, of the last 8 calls. */
const char *contract_id(unsigned n);
/* A whole record of that id and scope, with a key made of n, for store_csr_add to take. */
struct csr_record *contract_record(unsigned n, const struct store_scope *scope);
/* Label, key id and hash made of n, and a text for the CSR. */
void contract_set_key(struct csr_record *r, unsigned n);

struct contract_begin {
	bool done;
	enum err e;
	enum store_begin outcome;
	struct csr_record *record;       /* these two are freed by contract_begin_release */
	struct store_policies *policies; /* of an outcome of POLICY, else NULL */
};
void contract_begin_release(struct contract_begin *b);
/* Asks and does not wait: contract_begin_done is the callback. */
void contract_begin_ask(struct store *store, struct csr_record *record, const char *key, unsigned hash,
			struct contract_begin *b);
struct contract_begin contract_begin(struct store *store, struct csr_record *record, const char *key,
				     unsigned hash);

struct contract_done {
	bool done;
	enum err e;
};
void contract_done_fn(void *arg, enum err e);
enum err contract_move(struct store *store, unsigned n, enum csr_state from, enum csr_state to);
enum err contract_failed(struct store *store, unsigned n);
/* Asserts that it went well. */
void contract_make_active(struct store *store, unsigned n, const struct store_scope *scope);
enum err contract_delete_begin(struct store *store, unsigned n, const struct store_scope *scope);
/* *ret_record is the caller's; NULL unless E_OK. */
enum err contract_get(struct store *store, const struct store_scope *scope, const char *id,
		      struct csr_record **ret_record);
enum err contract_account_add(struct store *store, const char *id, int64_t quota);
enum err contract_zone_add(struct store *store, const char *id, const char *account_id, int64_t quota);
enum err contract_ping(struct store *store);
/* A list as text: the numbers of the ids, each followed by a space, then "/" and the total. */
enum err contract_list(struct store *store, const struct store_csr_query *query, char *text,
		       size_t text_size);
/* The trail of one object as text: "action@actor " …; *ret_last is the last sequence. */
enum err contract_audit(struct store *store, const char *object, char *text, size_t text_size,
			int64_t *ret_last);

#endif
