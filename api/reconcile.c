/*
 * One pass of reconciliation over the rows and keys of one token: a chain of
 * callbacks with one call to the store or the signer in flight at a time, so
 * that it never gets in the way of the requests of callers.
 *
 * Rows: pages of pending and deleting rows, each settled by itself.  Keys: the
 * signer's list is merged with all rows in the order of their ids.  The list is a
 * snapshot and creates and deletes go on meanwhile, so whatever looks wrong is
 * asked for again before it counts: key by key, or, when very many are missing,
 * by one more list.
 */
#include "api/reconcile.h"

#include "api/key_list.h"
#include "base/clock.h"
#include "base/csr.h"
#include "base/log.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_ROWS 100
#define ASK_MAX 16 /* missing keys that are asked for one by one; the others are listed once more */
#define DOUBTS_MAX (1024 * 1024) /* of one more list */
#define FAILURES_MAX 16 /* keys that the token cannot settle, before the pass gives up */
#define CALL_TIMEOUT_MS 30000
#define LIST_TIMEOUT_MS 3600000 /* the signer makes one at a time, and does the rest beside it */
#define UUID_BYTES KEY_LIST_UUID_BYTES
#define LABEL_PREFIX "csrd:"
#define LABEL_SIZE (sizeof(LABEL_PREFIX) + CSR_ID_SIZE)

/* What a pass needs of one row; the rest of the page is given back at once. */
struct row {
	char id[CSR_ID_SIZE];
	uint8_t uuid[UUID_BYTES];
	enum csr_state state;
	int64_t updated_us;
	bool set_aside;
	bool on_this_token;
	uint8_t key_id[KEY_ID_BYTES];
};

/* An active row whose key the list lacks, and what one more list says of it. */
struct doubt {
	uint8_t uuid[UUID_BYTES];
	uint8_t key_id[KEY_ID_BYTES]; /* the row's */
	uint8_t presence;
	bool same; /* the pair there is the row's */
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

	bool comparing; /* rows are settled; keys and rows are being compared */
	char after_id[CSR_ID_SIZE];
	struct row rows[PAGE_ROWS];
	size_t rows_len;
	size_t rows_at;
	bool rows_end; /* no page follows */

	struct key_list keys;
	enum err collect_error;

	unsigned asked;       /* for keys that the list lacks, one by one */
	struct doubt *doubts; /* in the order of their ids */
	size_t doubts_len;
	size_t doubts_capacity;
	size_t doubts_at; /* being told, once the list is there */
	bool telling_doubts;
	bool list_is_whole; /* the one more */

	/* What is being asked about right now. */
	struct row row;
	struct key_list_key key;
	enum message_key_presence presence;
};

static void next(struct reconcile *r);

const char *reconcile_finding_name(enum reconcile_finding finding)
{
	switch (finding) {
	case RECONCILE_PENDING:
		return "pending";
	case RECONCILE_DELETING:
		return "deleting";
	case RECONCILE_LEFTOVER:
		return "leftover";
	case RECONCILE_MISSING:
		return "missing";
	case RECONCILE_UNKNOWN:
		return "unknown";
	case RECONCILE_BUSY:
		return "busy";
	case RECONCILE_SET_ASIDE:
		return "set-aside";
	}
	return "?";
}

/* ---- ids ---- */

static void label_of(const char *csr_id, char label[LABEL_SIZE])
{
	memcpy(label, LABEL_PREFIX, sizeof(LABEL_PREFIX) - 1);
	memcpy(label + sizeof(LABEL_PREFIX) - 1, csr_id, strlen(csr_id) + 1);
}

/* ---- the pass as a whole ---- */

static void reconcile_free(struct reconcile *r)
{
	if (!r)
		return;
	key_list_release(&r->keys);
	free(r->doubts);
	free(r->actor);
	free(r->give_up);
	free(r->token_name);
	free(r);
}

static bool must_stop(const struct reconcile *r)
{
	return r->options.should_stop && r->options.should_stop(r->options.arg);
}

static void finish(struct reconcile *r, enum err e)
{
	r->done(r->options.arg, e, &r->report);
	reconcile_free(r);
}

static bool is_half(enum message_key_presence presence)
{
	return presence == MESSAGE_KEY_PUBLIC_ONLY || presence == MESSAGE_KEY_PRIVATE_ONLY;
}

static void tell(struct reconcile *r, enum reconcile_finding finding, const char *csr_id, const char *label,
                 enum message_key_presence presence)
{
	uint64_t *counts[] = {
	    [RECONCILE_PENDING] = &r->report.pending,     [RECONCILE_DELETING] = &r->report.deleting,
	    [RECONCILE_LEFTOVER] = &r->report.leftover,   [RECONCILE_MISSING] = &r->report.missing,
	    [RECONCILE_UNKNOWN] = &r->report.unknown,     [RECONCILE_BUSY] = &r->report.busy,
	    [RECONCILE_SET_ASIDE] = &r->report.set_aside,
	};

	++*counts[finding];
	if (is_half(presence))
		r->report.half_pairs++;
	if (r->options.on_finding)
		r->options.on_finding(r->options.arg, finding, csr_id, label, presence);
}

static void tell_row(struct reconcile *r, enum reconcile_finding finding, enum message_key_presence presence)
{
	char label[LABEL_SIZE];

	label_of(r->row.id, label);
	tell(r, finding, r->row.id, label, presence);
}

/*
 * The signer did not do what the current row needs.  One bad object must not
 * keep the rows behind it from being settled; a signer that cannot be reached ends the pass.
 */
static void signer_failed(struct reconcile *r, enum err e, const char *detail, const char *what)
{
	const struct log_context context = {.csr_id = r->row.id};
	bool gone = must_stop(r) || e == E_UNAVAIL || e == E_TIMEOUT || e == E_NOMEM || e == E_PROTO ||
	            (e == E_UNCERTAIN && !hsm_is_up(r->options.hsm));

	if (e != E_BUSY) {
		log_write(LOG_LEVEL_WARN, &context, "reconciliation: cannot %s: %s: %s", what, err_str(e),
			  detail);
		if (r->first_error == E_OK)
			r->first_error = e;
		r->failures++;
	}
	if (r->row.state == CSR_FAILED || r->row.state == CSR_DESTROYED)
		r->report.compare_again = true;
	if (!gone)
		tell_row(r, RECONCILE_BUSY, MESSAGE_KEY_NONE);
	if (gone || r->failures >= FAILURES_MAX) {
		finish(r, e);
		return;
	}
	next(r);
}

static uint64_t deadline(void)
{
	return clock_ms() + CALL_TIMEOUT_MS;
}

static bool is_in_work(const struct reconcile *r, const struct row *row)
{
	return r->options.is_in_work && r->options.is_in_work(r->options.arg, row->id);
}

/* A time that is still to come says nothing but that the clock went back: such a row may be of any age. */
static bool must_wait(const struct reconcile *r, const struct row *row)
{
	int64_t age_us = r->options.min_age_us > 0 ? clock_wall_us() - row->updated_us : 0;

	return (age_us >= 0 && age_us < r->options.min_age_us) || is_in_work(r, row);
}

/* Whether a person has decided that the key of this row goes. */
static bool is_given_up(const struct reconcile *r, const struct row *row)
{
	const char *given_up = r->options.give_up;

	return r->options.apply && given_up &&
	       (!strcmp(given_up, RECONCILE_GIVE_UP_ALL) || !strcmp(given_up, row->id));
}

/* ---- settling one pending or deleting row ---- */

static void on_settled(void *arg, enum err e)
{
	struct reconcile *r = arg;

	/* Not in that state any more: somebody else settled it. */
	if (e != E_OK && e != E_NOTFOUND) {
		finish(r, e);
		return;
	}
	if (e == E_OK)
		tell_row(r, RECONCILE_DELETING, r->presence);
	next(r);
}

static const char *audit_detail(enum message_key_presence presence)
{
	switch (presence) {
	case MESSAGE_KEY_NONE:
		return "reconciliation: no key on the token";
	case MESSAGE_KEY_PAIR:
		return "reconciliation: key pair on the token destroyed";
	case MESSAGE_KEY_PUBLIC_ONLY:
	case MESSAGE_KEY_PRIVATE_ONLY:
		return "reconciliation: half a key pair on the token destroyed";
	case MESSAGE_KEY_AMBIGUOUS:
		break;
	}
	return "reconciliation: key objects on the token destroyed";
}

static const char *leftover_detail(enum message_key_presence presence)
{
	switch (presence) {
	case MESSAGE_KEY_PAIR:
		return "reconciliation: destroys a key pair that was left on the token";
	case MESSAGE_KEY_PUBLIC_ONLY:
	case MESSAGE_KEY_PRIVATE_ONLY:
		return "reconciliation: destroys half a key pair that was left on the token";
	case MESSAGE_KEY_NONE:
	case MESSAGE_KEY_AMBIGUOUS:
		break;
	}
	return "reconciliation: destroys key objects that were left on the token";
}

static void move_row(struct reconcile *r, enum csr_state to, store_done_fn done)
{
	struct store_csr_move move = {
		.id = r->row.id,
		.from = r->row.state,
		.to = to,
		.origin = {.actor = r->actor, .detail = audit_detail(r->presence)},
	};

	store_csr_move(r->options.store, &move, done, r);
}

static void on_deleting_destroyed(void *arg, enum err e, const char *detail, uint32_t destroyed UNUSED)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		signer_failed(r, e, detail, "destroy the key of a deleted CSR");
		return;
	}
	move_row(r, CSR_DESTROYED, on_settled);
}

static void on_pending_destroyed(void *arg, enum err e, const char *detail, uint32_t destroyed UNUSED)
{
	struct reconcile *r = arg;

	tell_row(r, RECONCILE_PENDING, r->presence);
	if (e != E_OK) {
		signer_failed(r, e, detail, "destroy the key of a failed CSR");
		return;
	}
	next(r);
}

/*
 * The row goes first: a create that still lives somewhere can then no longer
 * answer 201 for a key that is about to be destroyed.  A crash in between
 * leaves the key of a failed row, which the comparison finds.
 */
static void on_pending_failed(void *arg, enum err e)
{
	struct reconcile *r = arg;

	if (e != E_OK && e != E_NOTFOUND) {
		finish(r, e);
		return;
	}
	if (e == E_NOTFOUND || r->presence == MESSAGE_KEY_NONE) {
		if (e == E_OK)
			tell_row(r, RECONCILE_PENDING, r->presence);
		next(r);
		return;
	}
	if (must_stop(r)) {
		finish(r, E_UNAVAIL); /* the next comparison finds the key */
		return;
	}
	r->row.state = CSR_FAILED;
	hsm_destroy_key(r->options.hsm, r->row.id, deadline(), on_pending_destroyed, r);
}

static void on_row_key(void *arg, enum err e, const char *detail, const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		signer_failed(r, e, detail, "look for the key of a CSR");
		return;
	}
	r->presence = reply->presence;
	if (!r->options.vouched && r->presence != MESSAGE_KEY_NONE) {
		tell_row(r, RECONCILE_SET_ASIDE, r->presence);
		next(r);
	} else if (!r->options.apply) {
		tell_row(r, r->row.state == CSR_PENDING ? RECONCILE_PENDING : RECONCILE_DELETING,
			 r->presence);
		next(r);
	} else if (r->row.state == CSR_PENDING) {
		move_row(r, CSR_FAILED, on_pending_failed);
	} else if (r->presence == MESSAGE_KEY_NONE) {
		move_row(r, CSR_DESTROYED, on_settled);
	} else {
		hsm_destroy_key(r->options.hsm, r->row.id, deadline(), on_deleting_destroyed, r);
	}
}

/* ---- pages of rows ---- */

static void take_row(struct reconcile *r, const struct csr_record *record)
{
	struct row *row = &r->rows[r->rows_len];

	if (!key_list_uuid_from_text(record->id, row->uuid)) {
		log_warn("reconciliation: the store holds a CSR whose id '%s' is not a UUID; left alone",
			 record->id);
		return;
	}
	memcpy(row->id, record->id, sizeof(row->id));
	row->state = record->state;
	row->updated_us = record->updated_us;
	row->set_aside = record->set_aside_us != 0;
	row->on_this_token = !strcmp(record->token_name, r->token_name);
	memcpy(row->key_id, record->key_id, sizeof(row->key_id));
	r->rows_len++;
}

static void on_page(void *arg, enum err e, const struct store_csr_page *page)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		finish(r, e);
		return;
	}
	r->rows_len = r->rows_at = 0;
	r->rows_end = page->records_len < PAGE_ROWS;
	for (size_t i = 0; i < page->records_len && i < PAGE_ROWS; i++)
		take_row(r, &page->records[i]);
	if (page->records_len > 0)
		memcpy(r->after_id, page->records[page->records_len - 1].id, sizeof(r->after_id));
	next(r);
}

static void fetch_page(struct reconcile *r)
{
	const unsigned unsettled = CSR_STATE_BIT(CSR_PENDING) | CSR_STATE_BIT(CSR_DELETING);
	const unsigned settled =
		CSR_STATE_BIT(CSR_ACTIVE) | CSR_STATE_BIT(CSR_FAILED) | CSR_STATE_BIT(CSR_DESTROYED);
	struct store_csr_query query = {
		.states = r->comparing ? unsettled | settled : unsettled,
		.after_id = r->after_id,
		.order = STORE_ORDER_CREATED_AT,
		.limit = PAGE_ROWS,
	};

	store_csr_list(r->options.store, &query, on_page, r);
}

/* ---- the token's list of keys ---- */

static enum err collect(struct reconcile *r, const struct message_listed_key *listed)
{
	struct key_list_key key = {.presence = (uint8_t)listed->presence};

	r->report.checked++;
	if (!str_starts_with(listed->label, LABEL_PREFIX) ||
	    !key_list_uuid_from_text(listed->label + sizeof(LABEL_PREFIX) - 1, key.uuid)) {
		tell(r, RECONCILE_UNKNOWN, "", listed->label, listed->presence);
		return E_OK;
	}
	memcpy(key.key_id, listed->key_id, sizeof(key.key_id));
	return key_list_add(&r->keys, &key);
}

static void list_failed(struct reconcile *r, enum err e, const char *detail)
{
	log_warn("reconciliation: cannot list the keys of token '%s': %s: %s", r->token_name, err_str(e),
		 detail);
	finish(r, e);
}

static void on_keys(void *arg, enum err e, const char *detail, const struct message_list_keys_part *part)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		list_failed(r, e, detail);
		return;
	}
	r->report.unread = part->unread;
	for (size_t i = 0; i < part->keys_len && r->collect_error == E_OK; i++)
		r->collect_error = collect(r, &part->keys[i]);
	if (!part->last)
		return;
	if (r->collect_error != E_OK) {
		log_warn("reconciliation: cannot hold the list of keys of token '%s': %s (at most %d keys)",
			 r->token_name, err_str(r->collect_error), KEY_LIST_MAX);
		finish(r, r->collect_error);
		return;
	}
	if (r->report.unread)
		log_warn("reconciliation: %llu key objects on token '%s' cannot be read: the list of its "
			 "keys may lack some",
			 (unsigned long long)r->report.unread, r->token_name);
	key_list_seal(&r->keys);
	r->after_id[0] = '\0';
	fetch_page(r);
}

/* ---- comparing keys and rows ---- */

static void on_leftover_gone(void *arg, enum err e)
{
	struct reconcile *r = arg;

	if (e == E_OK)
		next(r);
	else
		finish(r, e);
}

static void on_leftover_destroyed(void *arg, enum err e, const char *detail, uint32_t destroyed)
{
	struct reconcile *r = arg;
	struct audit_origin origin = {.actor = r->actor};
	char objects[48];

	if (e != E_OK) {
		signer_failed(r, e, detail, "destroy the key of a failed or deleted CSR");
		return;
	}
	if (destroyed > 0)
		tell_row(r, RECONCILE_LEFTOVER, r->presence);
	snprintf(objects, sizeof(objects), "%u objects destroyed", (unsigned)destroyed);
	origin.detail = objects;
	store_csr_leftover(r->options.store, r->row.id, true, &origin, on_leftover_gone, r);
}

/* The audit trail knows of it: now the key goes. */
static void on_leftover_told(void *arg, enum err e)
{
	struct reconcile *r = arg;

	if (e != E_OK || must_stop(r)) {
		finish(r, e != E_OK ? e : E_UNAVAIL);
		return;
	}
	hsm_destroy_key(r->options.hsm, r->row.id, deadline(), on_leftover_destroyed, r);
}

static void destroy_leftover(struct reconcile *r)
{
	struct audit_origin origin = {
	    .actor = r->actor,
	    .detail = r->row.set_aside ? "destroys a key that was set aside: an operator has decided so"
				       : leftover_detail(r->presence),
	};

	store_csr_leftover(r->options.store, r->row.id, false, &origin, on_leftover_told, r);
}

/* The key of a failed or destroyed row was listed: is it still there? */
static void on_leftover_key(void *arg, enum err e, const char *detail,
			    const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		signer_failed(r, e, detail, "look for the key of a failed or deleted CSR");
		return;
	}
	r->presence = reply->presence;
	if (r->presence == MESSAGE_KEY_NONE) {
		next(r);
	} else if (!r->options.apply) {
		tell_row(r, RECONCILE_LEFTOVER, r->presence);
		next(r);
	} else {
		destroy_leftover(r);
	}
}

/* The key went missing before this read: a delete would have changed the row before that. */
static void on_missing_row(void *arg, enum err e, struct csr_record *record)
{
	struct reconcile *r = arg;
	bool active = e == E_OK && record->state == CSR_ACTIVE;

	csr_record_free(record);
	if (e != E_OK && e != E_NOTFOUND) {
		finish(r, e);
		return;
	}
	if (active)
		tell_row(r, RECONCILE_MISSING, r->presence);
	next(r);
}

/* An active row had no whole pair in the list: has it one now, and the one that the row names? */
static void on_missing_key(void *arg, enum err e, const char *detail,
			   const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		signer_failed(r, e, detail, "look for the key of an active CSR");
		return;
	}
	r->presence = reply->presence;
	if (reply->presence == MESSAGE_KEY_PAIR && !memcmp(reply->key_id, r->row.key_id, KEY_ID_BYTES)) {
		next(r);
		return;
	}
	store_csr_get(r->options.store, NULL, r->row.id, on_missing_row, r);
}

static void tell_unknown(struct reconcile *r, const struct key_list_key *key)
{
	char id[CSR_ID_SIZE], label[LABEL_SIZE];

	str_uuid(id, key->uuid);
	label_of(id, label);
	tell(r, RECONCILE_UNKNOWN, id, label, (enum message_key_presence)key->presence);
}

static void on_unknown_row(void *arg, enum err e, struct csr_record *record)
{
	struct reconcile *r = arg;

	csr_record_free(record);
	if (e != E_OK && e != E_NOTFOUND) {
		finish(r, e);
		return;
	}
	if (e == E_NOTFOUND)
		tell_unknown(r, &r->key);
	next(r);
}

/* ---- keys that the list lacks: more than a few are looked for in one more list ---- */

static int doubt_compare(const void *key, const void *member)
{
	return memcmp(key, ((const struct doubt *)member)->uuid, UUID_BYTES);
}

static enum err doubt_add(struct reconcile *r, const struct row *row)
{
	struct doubt *doubt;

	if (r->doubts_len == r->doubts_capacity) {
		size_t capacity = r->doubts_capacity ? 2 * r->doubts_capacity : 1024;
		struct doubt *doubts = reallocarray(r->doubts, capacity, sizeof(*doubts));

		if (!doubts)
			return E_NOMEM;
		r->doubts = doubts;
		r->doubts_capacity = capacity;
	}
	doubt = &r->doubts[r->doubts_len++];
	memset(doubt, 0, sizeof(*doubt));
	memcpy(doubt->uuid, row->uuid, sizeof(doubt->uuid));
	memcpy(doubt->key_id, row->key_id, sizeof(doubt->key_id));
	return E_OK;
}

static void doubt_see(struct reconcile *r, const struct message_listed_key *listed)
{
	uint8_t uuid[UUID_BYTES];
	struct doubt *doubt;

	if (!str_starts_with(listed->label, LABEL_PREFIX) ||
	    !key_list_uuid_from_text(listed->label + sizeof(LABEL_PREFIX) - 1, uuid))
		return;
	doubt = bsearch(uuid, r->doubts, r->doubts_len, sizeof(*doubt), doubt_compare);
	if (!doubt)
		return;
	if (doubt->presence == MESSAGE_KEY_NONE)
		doubt->presence = (uint8_t)listed->presence;
	else
		doubt->presence = MESSAGE_KEY_AMBIGUOUS;
	doubt->same =
	    doubt->presence == MESSAGE_KEY_PAIR && !memcmp(doubt->key_id, listed->key_id, KEY_ID_BYTES);
}

static void on_doubts_listed(void *arg, enum err e, const char *detail,
			     const struct message_list_keys_part *part)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		list_failed(r, e, detail);
		return;
	}
	for (size_t i = 0; i < part->keys_len; i++)
		doubt_see(r, &part->keys[i]);
	if (!part->last)
		return;
	r->list_is_whole = part->unread == 0;
	r->doubts_at = 0;
	r->telling_doubts = true;
	next(r);
}

/* One doubt after the other; the row is read again, since a delete may have come meanwhile. */
static void tell_doubts(struct reconcile *r)
{
	while (r->doubts_at < r->doubts_len) {
		const struct doubt *doubt = &r->doubts[r->doubts_at++];

		if (doubt->same)
			continue;
		memset(&r->row, 0, sizeof(r->row));
		r->row.state = CSR_ACTIVE;
		str_uuid(r->row.id, doubt->uuid);
		memcpy(r->row.key_id, doubt->key_id, sizeof(r->row.key_id));
		r->presence = (enum message_key_presence)doubt->presence;
		if (r->list_is_whole)
			store_csr_get(r->options.store, NULL, r->row.id, on_missing_row, r);
		else
			hsm_find_key(r->options.hsm, r->row.id, deadline(), on_missing_key, r);
		return;
	}
	r->doubts_len = 0;
	r->telling_doubts = false;
	next(r);
}

static void list_doubts(struct reconcile *r)
{
	hsm_list_keys(r->options.hsm, clock_ms() + LIST_TIMEOUT_MS, on_doubts_listed, r);
}

/* ---- rows that were set aside ---- */

static void on_aside_key(void *arg, enum err e, const char *detail,
			 const struct message_find_key_reply *reply)
{
	struct reconcile *r = arg;

	if (e != E_OK) {
		signer_failed(r, e, detail, "look for the key of a CSR that was set aside");
		return;
	}
	r->presence = reply->presence;
	if (r->presence == MESSAGE_KEY_NONE && r->options.apply) {
		move_row(r, CSR_DESTROYED, on_settled);
	} else if (r->presence == MESSAGE_KEY_NONE) {
		tell_row(r, RECONCILE_DELETING, r->presence);
		next(r);
	} else if (is_given_up(r, &r->row)) {
		hsm_destroy_key(r->options.hsm, r->row.id, deadline(), on_deleting_destroyed, r);
	} else {
		tell_row(r, RECONCILE_SET_ASIDE, r->presence);
		next(r);
	}
}

/* As compare_row. */
static bool compare_set_aside(struct reconcile *r, const struct key_list_key *key)
{
	if (r->row.state == CSR_DELETING) {
		if (is_in_work(r, &r->row))
			return true; /* a caller deletes it anew */
		hsm_find_key(r->options.hsm, r->row.id, deadline(), on_aside_key, r);
		return false;
	}
	if (!key)
		return true;
	if (is_given_up(r, &r->row)) {
		hsm_find_key(r->options.hsm, r->row.id, deadline(), on_leftover_key, r);
		return false;
	}
	tell_row(r, RECONCILE_SET_ASIDE, (enum message_key_presence)key->presence);
	return true;
}

/* ---- comparing row by row ---- */

/* The list has no whole pair of it.  As compare_row. */
static bool compare_lacking(struct reconcile *r)
{
	enum err e;

	if (r->asked < ASK_MAX || r->report.unread > 0) {
		r->asked++;
		hsm_find_key(r->options.hsm, r->row.id, deadline(), on_missing_key, r);
		return false;
	}
	e = doubt_add(r, &r->row);
	if (e != E_OK) {
		finish(r, e);
		return false;
	}
	if (r->doubts_len < DOUBTS_MAX)
		return true;
	list_doubts(r);
	return false;
}

/* False when a call was begun that goes on with next(), or the pass is over. */
static bool compare_row(struct reconcile *r, const struct row *row, const struct key_list_key *key)
{
	if (!row->on_this_token) {
		/* Its row says that the key lives on another token: not ours to destroy here. */
		if (key)
			tell_unknown(r, key);
		return true;
	}
	if (!row->set_aside && (row->state == CSR_PENDING || row->state == CSR_DELETING))
		return true; /* settled, or left alone, before */
	r->row = *row;
	r->report.checked++;
	if (row->set_aside)
		return compare_set_aside(r, key);
	if (row->state == CSR_ACTIVE) {
		if (key && key->presence == MESSAGE_KEY_PAIR && !memcmp(key->key_id, row->key_id,
									KEY_ID_BYTES))
			return true;
		return compare_lacking(r);
	}
	if (!key)
		return true;
	if (must_wait(r, row)) {
		r->report.compare_again = true;
		tell_row(r, RECONCILE_BUSY, (enum message_key_presence)key->presence);
		return true;
	}
	hsm_find_key(r->options.hsm, row->id, deadline(), on_leftover_key, r);
	return false;
}

/* All rows and keys were met. */
static void compare_end(struct reconcile *r)
{
	if (r->doubts_len > 0) {
		list_doubts(r);
		return;
	}
	r->report.compared = true;
	finish(r, r->first_error);
}

/* One page of rows at most; then the loop has its turn. */
static void compare(struct reconcile *r)
{
	for (;;) {
		const struct row *row = r->rows_at < r->rows_len ? &r->rows[r->rows_at] : NULL;
		const struct key_list_key *front = key_list_front(&r->keys);
		int order;

		if (!row && !r->rows_end) {
			fetch_page(r);
			return;
		}
		if (!row && !front) {
			compare_end(r);
			return;
		}
		order = !row ? -1 : !front ? 1 : memcmp(front->uuid, row->uuid, UUID_BYTES);
		if (order < 0) {
			char id[CSR_ID_SIZE];

			r->key = key_list_take(&r->keys);
			str_uuid(id, r->key.uuid);
			store_csr_get(r->options.store, NULL, id, on_unknown_row, r);
			return;
		}
		r->rows_at++;
		if (order == 0)
			r->key = key_list_take(&r->keys);
		if (!compare_row(r, row, order == 0 ? &r->key : NULL))
			return;
	}
}

/* ---- the chain ---- */

static void next_row(struct reconcile *r)
{
	while (r->rows_at < r->rows_len) {
		r->row = r->rows[r->rows_at++];
		if (!r->row.on_this_token || r->row.set_aside)
			continue;
		r->report.checked++;
		if (r->options.leave_open || (r->options.vouched && must_wait(r, &r->row))) {
			tell_row(r, RECONCILE_BUSY, MESSAGE_KEY_NONE);
			continue;
		}
		hsm_find_key(r->options.hsm, r->row.id, deadline(), on_row_key, r);
		return;
	}
	if (!r->rows_end) {
		fetch_page(r);
	} else if (r->options.compare_keys) {
		r->comparing = true;
		r->rows_len = r->rows_at = 0;
		r->rows_end = false;
		hsm_list_keys(r->options.hsm, clock_ms() + LIST_TIMEOUT_MS, on_keys, r);
	} else {
		finish(r, r->first_error);
	}
}

static void next(struct reconcile *r)
{
	if (must_stop(r))
		finish(r, E_UNAVAIL);
	else if (r->telling_doubts)
		tell_doubts(r);
	else if (r->comparing)
		compare(r);
	else
		next_row(r);
}

enum err reconcile_start(const struct reconcile_options *options, reconcile_done_fn done)
{
	struct reconcile *r = calloc(1, sizeof(*r));

	if (!r)
		return E_NOMEM;
	r->options = *options;
	r->done = done;
	if (!str_dup_opt(options->actor ? options->actor : "system", &r->actor) ||
	    !str_dup_opt(options->give_up, &r->give_up) ||
	    !str_dup_opt(hsm_token_name(options->hsm), &r->token_name)) {
		reconcile_free(r);
		return E_NOMEM;
	}
	r->options.actor = r->actor;
	r->options.give_up = r->give_up;
	r->options.apply = options->apply && options->vouched;
	fetch_page(r);
	return E_OK;
}
