/*
 * What a database must do to be a store: one const table of blocking
 * functions.  The store thread (store.c) is their only caller once `open` has
 * returned, one call at a time, so a backend has no locks and no queue.
 *
 * The store thread runs
 *
 *	begin(writes)  { guard(SET)  one operation  guard(KEEP | UNDO) } …  end(commit)
 *
 * with a guard round each operation that may write, so that one that fails
 * leaves the others of its transaction alone.
 *
 * Errors of the operations: those named here, and always E_STORE, E_UNAVAIL,
 * E_BUSY and E_NOMEM.  A backend logs the foreign error, once, where it meets
 * it, and not the expected ones (E_NOTFOUND, E_EXISTS).  Results are owned by
 * the caller and written only with E_OK.
 */
#ifndef CSRD_STORE_STORE_BACKEND_H
#define CSRD_STORE_STORE_BACKEND_H

#include "base/attr.h"
#include "base/err.h"
#include "store/record.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum store_guard {
	STORE_GUARD_SET = 1,
	STORE_GUARD_KEEP, /* what was done since SET is part of the transaction */
	STORE_GUARD_UNDO, /* nothing of it is */
};

/* A change made by an operator, or by reconciliation. */
enum store_change_kind {
	STORE_CHANGE_ACCOUNT_ADD = 1,
	STORE_CHANGE_ZONE_ADD,
	STORE_CHANGE_PRINCIPAL_ADD,
	STORE_CHANGE_PRINCIPAL_REVOKE,
	STORE_CHANGE_SCOPE_SET,
	STORE_CHANGE_CSR_LEFTOVER,      /* nothing but its audit record, unless that is the last such */
	STORE_CHANGE_CSR_LEFTOVER_GONE, /* nothing but its audit record */
	STORE_CHANGE_BACKUP,            /* nothing but its audit record, of the object STORE_AUDIT_OBJECT */
	STORE_CHANGE_RESTORE,           /* likewise; sets aside all open rows, and takes the lineages */
};
#define STORE_AUDIT_OBJECT "store"
struct store_change {
	enum store_change_kind kind;
	const struct account_record *account; /* ACCOUNT_ADD: id, name, csr_quota are read */
	const struct zone_record *zone;       /* ZONE_ADD: id, account_id, name, csr_quota are read */
	const struct principal *principal; /* PRINCIPAL_ADD: all but the times created and revoked are read */
	enum principal_kind principal_kind; /* PRINCIPAL_REVOKE */
	const char *principal_id;           /* PRINCIPAL_REVOKE */
	const char *csr_id;                 /* CSR_LEFTOVER, CSR_LEFTOVER_GONE */
	struct store_scope_change scope_change; /* SCOPE_SET */
	struct audit_origin origin;
};

/* A whole table, or all of one thing in it. */
enum store_inventory_kind {
	STORE_INVENTORY_ACCOUNTS = 1, /* by id */
	STORE_INVENTORY_ZONES,        /* by id */
	STORE_INVENTORY_PRINCIPALS,   /* of one kind, oldest first */
	STORE_INVENTORY_AUDIT,        /* of one object, oldest first */
	STORE_INVENTORY_TRAIL,        /* what `trail` asks for, newest first */
};
struct store_inventory_query {
	enum store_inventory_kind kind;
	enum principal_kind principal_kind; /* PRINCIPALS */
	const char *object;                 /* AUDIT */
	struct store_audit_query trail;     /* TRAIL */
};
struct store_inventory {
	enum store_inventory_kind kind;
	union {
		struct account_record *accounts;
		struct zone_record *zones;
		struct principal *principals;
		struct audit_record *audit;
		void *any;
	} of;
	size_t len;
};
/* Room for one more, zeroed, at the end (of any of the kinds); NULL when memory is out. */
void *store_inventory_append(struct store_inventory *inventory);
void store_inventory_release(struct store_inventory *inventory); /* leaves it zeroed */
void store_csr_page_release(struct store_csr_page *page);        /* leaves it zeroed */

struct store_backend {
	const char *scheme; /* "sqlite": of the url, before the colon */

	/*
	 * Opens the database, brings its schema up to date and checks it as far
	 * as can be afforded at each start.  location is the url after the
	 * colon.  Called on the owner's thread, before any other.  Errors as
	 * store_open says.
	 */
	enum err (*open)(const struct store_options *options, const char *location, void **ret_db);

	/* Ends a transaction that is under way as if by end(false), and gives everything back. */
	void (*close)(void *db);

	/*
	 * Starts a transaction in which all operations see one state of the
	 * database; with `writes` none of them can meet another writer's change
	 * any more.  After an error there is no transaction.
	 */
	enum err (*begin)(void *db, bool writes);

	/*
	 * Ends the transaction, whatever it returns.  With commit: E_OK means
	 * durable, E_UNCERTAIN that it may be or not, everything else that
	 * nothing was done.  Without: nothing was done.
	 */
	enum err (*end)(void *db, bool commit);

	/* See enum store_guard.  An error means that the whole transaction is lost: end(false) follows. */
	enum err (*guard)(void *db, enum store_guard step);

	/*
	 * One durable write, outside of a transaction, that changes nothing and waits
	 * for nobody's lock: E_OK when writes are taken again.  As much as an
	 * operation writes, so that a disk with room for less does not seem well.
	 * Errors as store_ping says.
	 */
	enum err (*try_write)(void *db);

	/* By kind and hash of the secret, with its grants.  E_NOTFOUND. */
	enum err (*principal_find)(void *db, enum principal_kind kind,
				   const uint8_t secret_hash[STORE_HASH_BYTES],
				   struct principal *ret_principal);

	/*
	 * Settles what becomes of a create, in this order: the scope exists, the
	 * idempotency key, the quota.  For NEW it adds the row, the idempotency
	 * key, "csr.pending" to the audit trail, and fills in->record
	 * (account_tag, state, times); also forgets a few expired idempotency
	 * keys.  For REPLAY and IN_FLIGHT it fills *ret_replay.  E_EXISTS: the id is in use.
	 * E_INVAL: a SAN holds a newline.
	 */
	enum err (*csr_begin)(void *db, const struct store_csr_begin *in, int64_t now_us,
			      enum store_begin *ret_outcome, struct csr_record *ret_replay);

	/*
	 * One move of state with its audit record.  The move is known to be
	 * legal, and the result to be there if and only if it goes to active.
	 * E_NOTFOUND, E_EXISTS as store_csr_move says.
	 */
	enum err (*csr_move)(void *db, const struct store_csr_move *in, int64_t now_us);

	/* By id, in any scope and state.  E_NOTFOUND. */
	enum err (*csr_get)(void *db, const char *id, struct csr_record *ret_record);

	/* The query is known to be in range. */
	enum err (*csr_list)(void *db, const struct store_csr_query *query, struct store_csr_page *ret_page);

	/* An operator's change with its audit record.  Errors as the calls of store.h say. */
	enum err (*change)(void *db, const struct store_change *in, int64_t now_us);

	/* As store_mark_get and store_set_aside of store.h say. */
	enum err (*mark)(void *db, const char *token_name, struct store_mark *ret_mark);
	enum err (*set_aside)(void *db, const struct store_set_aside *in, int64_t now_us, uint64_t *ret_rows);

	enum err (*inventory)(void *db, const struct store_inventory_query *query,
			      struct store_inventory *ret_inventory);
};

/* The words of the audit trail. */
const char *store_audit_action_of_state(enum csr_state state); /* "csr.pending", … */
const char *
store_audit_action_of_change(const struct store_change *in); /* "account.add", …; token or user by kind */
#define STORE_AUDIT_ROLLED_BACK "store.rolled-back"
#define STORE_AUDIT_SET_ASIDE "csr.set-aside" /* of a row that stays deleting */
#define STORE_AUDIT_KEPT_PENDING "set aside: it was pending when the store went back; its key is kept"
#define STORE_AUDIT_KEPT_DELETING "set aside: it was being deleted when the store went back; its key is kept"

extern const struct store_backend store_sqlite_backend;

#endif
