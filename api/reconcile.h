/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reconciliation: settles what came to no end, by what signer and store say of it,
 * and compares the token with the store.
 *
 *   the signer used a key, and does not know what became of it:
 *     its row is there                 → the signer is told (confirm)
 *     no row of that CSR               → "csr.failed", then objects destroyed (counted as pending)
 *     a row that says another key      → reported: unknown; never destroyed
 *   row pending,  any key            → row failed, then objects destroyed (rows of csrd 0.1 alone)
 *   row pending,  no key             → row failed
 *   row deleting, any key            → objects destroyed, row destroyed
 *   row deleting, no key             → row destroyed
 *   row failed or destroyed, but key → objects destroyed (nobody ever got that CSR, or it was deleted)
 *   row active,   no key or half,
 *                 or another key     → reported: missing
 *   no row, or a row that says another token, but a key under a label of ours
 *                                    → reported: unknown; never destroyed
 *   a key of the stock, or of another node's
 *                                    → counted: ready, others
 *   row set aside, any key           → reported: set aside; destroyed only when given up (below)
 *   row deleting and set aside,
 *                 no key             → row destroyed
 *
 * Where the signer does not vouch for the store (the store may have gone back:
 * daemon/vouch.h), open rows with a key are reported as if set aside, used keys whose CSRs
 * have no row as unknown, and nothing is changed at all.
 *
 * The order in which row and key end is that of api/settle.h.
 *
 * A key of a failed or destroyed row is destroyed once an audit record of it is
 * durable ("csr.leftover"): one record, however often it is tried.  Another says
 * when the key is gone ("csr.leftover-destroyed").
 *
 * Where objects on the token cannot be read the list of its keys may lack some:
 * leftover and unknown keys among them are not found in that pass, which says
 * so (unread).  The first few keys that a list lacks are asked for by their
 * labels, and a key that cannot be read then is an error; where there are more,
 * one more list answers for them.  If that one may lack keys too, nothing is
 * concluded from what it does not show: those rows are only counted (unclear).
 * A wrong key that it shows is a finding all the same.
 *
 * A pass that cannot reach the store or the signer ends early with its error;
 * what it did until then stays.  A key that the token does not destroy is counted
 * as busy; the pass goes on, and ends with that error.
 */
#ifndef CSRD_API_RECONCILE_H
#define CSRD_API_RECONCILE_H

#include "base/attr.h"
#include "base/err.h"
#include "hsm/hsm.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reconcile_finding {
	RECONCILE_PENDING = 1, /* a create that came to no end: settled to failed */
	RECONCILE_DELETING,    /* settled to destroyed */
	RECONCILE_LEFTOVER,    /* key of a failed or destroyed row */
	RECONCILE_MISSING,     /* active row without a whole key pair */
	RECONCILE_UNKNOWN,     /* key with a label of ours and no row */
	RECONCILE_BUSY,        /* being worked on, or too young: left for the next pass */
	RECONCILE_SET_ASIDE,   /* key of a row that was open when the store went back */
};
const char *reconcile_finding_name(enum reconcile_finding finding);

struct reconcile_report {
	uint64_t checked; /* rows and keys checked */
	uint64_t pending; /* the findings above, counted */
	uint64_t deleting;
	uint64_t leftover;
	uint64_t missing;
	uint64_t unknown;
	uint64_t busy;
	uint64_t set_aside;
	uint64_t ready;      /* keys of the stock that were used for nothing yet: no finding */
	uint64_t others;     /* keys of other nodes that share the token: no finding */
	uint64_t half_pairs; /* keys found with one of their two objects only */
	uint64_t unread;     /* key objects that the signer could not read: keys may have been overlooked */
	uint64_t unclear;    /* active rows whose keys may be among those, or may be missing */
	bool compared;       /* the comparison came to its end: the findings are all there are */
	bool compare_again;  /* a key of a failed or destroyed row is left: only a comparison shows it */
};

#define RECONCILE_GIVE_UP_ALL "all"

struct reconcile_options {
	struct store *store;
	struct hsm *hsm;
	bool vouched;         /* the signer vouches for the store */
	bool apply;           /* false: only look and count */
	bool compare_keys;    /* list all keys of the token and compare; else settle rows only */
	int64_t min_age_us;   /* rows whose state is younger are left alone (RECONCILE_BUSY); 0: none */
	bool leave_open;      /* so are all pending and deleting rows: another process settles them */
	bool leave_unsettled; /* so are keys of CSRs without a row: another process may make it */
	const char *give_up;  /* set-aside CSR whose key may go, or RECONCILE_GIVE_UP_ALL; NULL: none */
	const char *actor;    /* for the audit record: "system" or "operator:NAME" */
	/* Called for each finding; label is the key's, csr_id "" when it is not known.  NULL is fine. */
	void (*on_finding)(void *arg, enum reconcile_finding finding, const char *csr_id, const char *label,
			   enum message_key_presence presence);
	/* True for a CSR that this process works on right now.  NULL is fine. */
	bool (*is_in_work)(void *arg, const char *csr_id);
	/* Called between steps; true ends the pass with E_UNAVAIL, and hsm is not touched. NULL is fine. */
	bool (*should_stop)(void *arg);
	void *arg;
};

typedef void (*reconcile_done_fn)(void *arg, enum err e, const struct reconcile_report *report);

/*
 * Starts one pass over the rows and keys of one token.  done is called once,
 * with options->arg, not from inside.  options is copied; the store and the hsm
 * must live until done, or, with should_stop answering true, the store alone.
 * E_NOMEM.
 */
MUST_USE enum err reconcile_start(const struct reconcile_options *options, reconcile_done_fn done);

#endif
