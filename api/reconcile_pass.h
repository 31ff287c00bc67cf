/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass of reconciliation, as its files know it.  Private to reconcile.c and
 * reconcile_*.c.
 */
#ifndef CSRD_API_RECONCILE_PASS_H
#define CSRD_API_RECONCILE_PASS_H

#include "api/key_list.h"
#include "api/reconcile.h"
#include "api/settle.h"
#include "base/csr.h"
#include "base/key_label.h"
#include "base/uuid.h"

#define RECONCILE_PAGE_ROWS 100
#define RECONCILE_KEY_ROWS_MAX 4          /* of one key id; the schema permits one */
#define RECONCILE_LIST_TIMEOUT_MS 3600000 /* the signer makes one at a time, and does the rest beside it */

/* In this order, but for DOUBTS, which come before, and after, more of KEYS. */
enum reconcile_phase {
	RECONCILE_UNSETTLED, /* keys of which the signer does not know whether their CSRs stand */
	RECONCILE_ROWS,      /* that are open */
	RECONCILE_KEYS,      /* the token's keys are compared with all rows */
	RECONCILE_DOUBTS,    /* keys that the list lacks are looked for in one more */
};

/* What a pass needs of one row; the rest of the page is given back at once. */
struct reconcile_row {
	char id[CSR_ID_SIZE];
	enum csr_state state;
	bool is_none; /* there is no row of that id: only id and key_label say something */
	int64_t updated_us;
	bool set_aside;
	bool on_this_token;
	char key_label[KEY_LABEL_SIZE];
	uint8_t key_id[KEY_ID_BYTES];
};

struct reconcile {
	struct reconcile_options options;
	char *actor;
	char *give_up;
	char *token_name;
	reconcile_done_fn done;
	struct reconcile_report report;
	enum err first_error;
	unsigned failures;

	enum reconcile_phase phase;

	struct message_unsettled_key unsettled[MESSAGE_UNSETTLED_MAX];
	size_t unsettled_len;
	size_t unsettled_at;
	uint64_t unsettled_from; /* the next ones */
	bool unsettled_more;
	char confirmed[MESSAGE_CONFIRM_MAX][KEY_LABEL_SIZE]; /* to the signer, once these are through */
	size_t confirmed_len;

	char after_id[CSR_ID_SIZE];
	struct reconcile_row rows[RECONCILE_PAGE_ROWS];
	size_t rows_len;
	size_t rows_at;
	bool rows_end; /* no page follows */

	struct key_list keys; /* marked: a row has it */
	size_t keys_at;       /* of those that no row has */
	enum err collect_error;

	unsigned asked; /* for keys that the list lacks, one by one */
	/* Such keys, of active rows; marked: one more list has it, with the row's key id. */
	struct key_list doubts;
	uint8_t (*doubt_ids)[UUID_BYTES]; /* of those rows */
	size_t doubt_ids_capacity;
	size_t doubts_at;   /* being told, once the list is there */
	bool list_is_whole; /* the one more */

	/* What the signer or the store is being asked about right now. */
	struct reconcile_row row;
	const struct key_list_key *key;
	enum message_key_presence presence;
	struct settle settle;
};

/* ---- reconcile.c: the pass as a whole ---- */

/* Goes on with the next step.  Each function below that advances the pass ends with this call, or ends the
   pass. */
void reconcile_next(struct reconcile *r);
/* Ends the pass, and frees r. */
void reconcile_finish(struct reconcile *r, enum err e);

void reconcile_tell(struct reconcile *r, enum reconcile_finding finding, const char *csr_id,
		    const char *label, enum message_key_presence presence);
/* Of the current row. */
void reconcile_tell_row(struct reconcile *r, enum reconcile_finding finding,
			enum message_key_presence presence);

/*
 * The signer did not do what the current row needs.  One bad object must not keep the rows behind it from
 * being settled; a signer that cannot be reached ends the pass.
 */
void reconcile_signer_failed(struct reconcile *r, enum err e, const char *detail, const char *what);
/* The signer did not list its keys: ends the pass. */
void reconcile_list_failed(struct reconcile *r, enum err e, const char *detail);
/* The deadline of a call about one key that is made now. */
uint64_t reconcile_deadline_ms(void);

bool reconcile_is_in_work(const struct reconcile *r, const struct reconcile_row *row);
/* It is being worked on, or too young. */
bool reconcile_must_wait(const struct reconcile *r, const struct reconcile_row *row);
/* Whether an operator has given up the key of this row. */
bool reconcile_is_given_up(const struct reconcile *r, const struct reconcile_row *row);

void reconcile_fetch_page(struct reconcile *r);

/* ---- reconcile_unsettled.c: what the signer does not know the end of ---- */

void reconcile_unsettled_fetch(struct reconcile *r);
void reconcile_unsettled_next(struct reconcile *r);

/* ---- reconcile_settle.c ---- */

/* The current row, or the CSR that has none, with what was found of its key (presence). */
void reconcile_settle_row(struct reconcile *r);

/* ---- reconcile_compare.c: keys and rows ---- */

void reconcile_compare_begin(struct reconcile *r);
/* One page of rows at most; then the loop has its turn. */
void reconcile_compare_next(struct reconcile *r);
/* The current row was active and its key was not found: is it still active? */
void reconcile_compare_reread_missing(struct reconcile *r);

/* ---- reconcile_doubt.c: many keys that the list lacks: one more list answers for them ---- */

/* The current row. */
MUST_USE enum err reconcile_doubt_add(struct reconcile *r);
bool reconcile_doubt_is_full(const struct reconcile *r);
void reconcile_doubt_list(struct reconcile *r);
/* One doubt after the other; the row is read again, since a delete may have come meanwhile. */
void reconcile_doubt_tell(struct reconcile *r);

#endif
