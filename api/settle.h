/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a CSR: its key destroyed, and what became of it recorded in the store.
 * No other code of csrd or csrctl destroys the key of a CSR or makes its row
 * failed or destroyed (`make lint` checks it).  There is one order:
 *
 *   1. shut   from here on nobody can make a row of it, or make the row active
 *   2. key    destroyed, and a fresh search on the token finds nothing of it
 *   3. say    what became of it, durable with its audit record
 *
 *                        1 shut                    2 key       3 say
 *   SETTLE_NO_ROW        "csr.failed"              destroyed   (said by 1)
 *   SETTLE_PENDING       row failed                destroyed   (said by 1)
 *   SETTLE_DELETING      it is                     destroyed   row destroyed
 *   SETTLE_LEFTOVER      it is; "csr.leftover"     destroyed   "csr.leftover-destroyed"
 *
 * Without 1 a key could be destroyed under a create that is about to be answered
 * 201.  A crash between two steps leaves what reconciliation finds: a key that the
 * signer says is unsettled, an open row, or the key of a row that is shut.
 */
#ifndef CSRD_API_SETTLE_H
#define CSRD_API_SETTLE_H

#include "hsm/hsm.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

enum settle_kind {
	SETTLE_NO_ROW = 1, /* a key was, or may have been, used for it, and there is no row */
	SETTLE_PENDING,    /* row pending, of csrd 0.1 */
	SETTLE_DELETING,   /* row deleting */
	SETTLE_LEFTOVER,   /* row failed or destroyed, but a key of it is still on the token */
};

enum settle_step {
	SETTLE_DONE,
	SETTLE_ROW,     /* the store refused; E_NOTFOUND: somebody else has moved the row meanwhile; E_EXISTS,
			   of SETTLE_NO_ROW: there is a row after all, and the key is its */
	SETTLE_KEY,     /* the signer did not do it, or does not know whether it did: see hsm.h */
	SETTLE_STOPPED, /* should_stop said so; the hsm was not touched */
};

#define SETTLE_KEY_OBJECTS 2 /* of a whole key: a private and a public one */

/* Set by the caller, who keeps it, and everything that it points to, until done is called. */
struct settle {
	enum settle_kind kind;
	struct store *store;
	struct hsm *hsm;
	const char *csr_id;
	const char *key_label; /* may be NULL with key_is_gone */
	bool key_is_gone;      /* known already, from hsm_left_nothing or a search: the token is not used */
	uint64_t deadline_ms;  /* of the call to the HSM; clock_ms() time */
	/*
	 * Of the row's move or of "csr.leftover".  If detail is NULL and the key
	 * goes first, the record says what was destroyed.
	 */
	struct audit_origin origin;
	bool (*should_stop)(void *arg); /* asked before the hsm is called after the store; NULL is fine */
	void *should_stop_arg;

	uint32_t objects; /* for the caller, set at the end: how many objects the signer destroyed */

	/* settle's own */
	void (*done)(void *arg, enum err e, enum settle_step step, const char *detail);
	void *arg;
	char objects_text[96];
};

/* E_OK and SETTLE_DONE, or an error and the step that failed.  detail: the signer's, for the log; or "". */
typedef void (*settle_done_fn)(void *arg, enum err e, enum settle_step step, const char *detail);

/* done is called once, not from inside; it may free the settle. */
void settle_start(struct settle *settle, settle_done_fn done, void *arg);

#endif
