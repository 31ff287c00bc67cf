/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HSM as csrd's handlers see it: asynchronous calls to one signer process
 * (csrd-hsm) over its unix socket.  One `struct hsm` is one token.
 *
 * All functions and callbacks run on the thread of the event base.  A callback
 * runs exactly once for each call, never from inside the call itself; results
 * are borrowed until the callback returns.  Errors:
 *
 *   E_OK          done
 *   E_UNAVAIL     no link to the signer, its token is down, or its journal cannot be written; nothing
 *                 was done, or nothing is left of it
 *   E_BUSY        too many calls in flight, the signer's queue is full, or it is working on that
 *                 id right now; nothing was done
 *   E_TIMEOUT     the deadline passed before the signer began; nothing was done
 *   E_UNSUPPORTED the token cannot make that key type; nothing was done
 *   E_INVAL       the signer refused the values, or they do not fit a message; nothing was done
 *   E_DENIED      the signer does not do that for this client; nothing was done
 *   E_HSM         the token failed or broke its promises; nothing is left on it
 *   E_UNCERTAIN   the link died, or the deadline passed, after the call was sent, or the
 *                 signer could not clean up: hsm_unsettled tells of a key that was used
 *   E_NOMEM, E_BUG
 *
 * find-key, inspect-key, list-keys, list-pools, unsettled and status change nothing, and note-store and
 * confirm may be repeated, so they are never uncertain: for them a lost link is E_UNAVAIL and a passed
 * deadline is E_TIMEOUT, sent or not.
 *
 * A call whose deadline passed stays counted against in_flight_max until the
 * signer answers it or the link ends, so a signer that hangs leads to E_BUSY.
 *
 * `detail` (never NULL) is text for the log, never for a client.
 */
#ifndef CSRD_HSM_HSM_H
#define CSRD_HSM_HSM_H

#include "base/attr.h"
#include "base/csr.h"
#include "base/err.h"
#include "base/metric.h"
#include "hsm/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Does the contract above say that a create which ended with this error left no object on the token? */
static inline bool hsm_left_nothing(enum err e)
{
	switch (e) {
	case E_UNAVAIL:
	case E_BUSY:
	case E_TIMEOUT:
	case E_UNSUPPORTED:
	case E_INVAL:
	case E_DENIED:
	case E_HSM:
		return true;
	default: /* what is not named there proves nothing */
		return false;
	}
}

struct event_base;
struct hsm;

struct hsm_options {
	const char *token_name;    /* copied */
	const char *socket_path;   /* copied */
	const char *client_name;   /* copied; sent in hello */
	unsigned in_flight_max;    /* calls; past it E_BUSY */
	uint32_t reconnect_min_ms; /* back-off doubles from here … */
	uint32_t reconnect_max_ms; /* … to here; from the start again once a link was usable */
	bool tell_failures;        /* call on_link also after a failed attempt to connect */
	uint32_t hello_timeout_ms; /* 0: 10 s; a signer started on demand answers once its token is ready */
	/* Hello was answered, and the link waits for hsm_accept or hsm_decline, neither of which is called
	   from inside it.  Meanwhile hsm_is_up is false, and only hsm_note_store, hsm_unsettled and
	   hsm_confirm are sent.  NULL: every signer that answers is accepted. */
	void (*on_hello)(void *arg, struct hsm *hsm);
};

/* Called when the link is up (hello answered), and when it is down again and its calls in flight ended. */
typedef void (*hsm_link_fn)(void *arg, struct hsm *hsm, bool up);

/* Connects at once, and reconnects until hsm_free.  E_NOMEM. */
MUST_USE enum err hsm_new(struct event_base *base, const struct hsm_options *options, hsm_link_fn on_link,
			  void *arg, struct hsm **ret_hsm);
/*
 * Calls in flight end with E_UNCERTAIN (sent) or E_UNAVAIL, from inside
 * hsm_free; on_link is not called.  Not from inside a callback.  NULL is fine.
 */
void hsm_free(struct hsm *hsm);

/* After on_hello: calls may be made from now on.  Does nothing if the link no longer waits for it. */
void hsm_accept(struct hsm *hsm);
/* After on_hello: ends the link, which is tried again later.  why: copied; see hsm_down_reason. */
void hsm_decline(struct hsm *hsm, const char *why);

const char *hsm_token_name(const struct hsm *hsm);
bool hsm_is_up(const struct hsm *hsm);
/* Of the last hello; 0 before the first. */
key_type_set hsm_key_types(const struct hsm *hsm);
/*
 * What the signer remembered of a store, by its lineage, when it answered the last hello.  False: nothing, or
 * it has worked for another store since, of whose keys this one knows nothing.
 */
bool hsm_remembers(const struct hsm *hsm, const uint8_t lineage[MESSAGE_LINEAGE_BYTES],
		   uint64_t *ret_sequence);
/* The same for any store. */
bool hsm_remembers_any(const struct hsm *hsm);
/* Why the link is down, for logs and /readyz; "" when it is up. Borrowed until the loop runs. */
const char *hsm_down_reason(const struct hsm *hsm);
/* Calls whose callback has not run yet. */
unsigned hsm_in_flight(const struct hsm *hsm);

/*
 * What became of the calls so far.  The times are those of calls that succeeded, from when they were made
 * until their callback runs: what they wait in the signer's queue is part of them.
 */
struct hsm_figures {
	uint64_t ended[MESSAGE_REQUESTS_LEN][ERR_LEN]; /* by enum message_type and enum err */
	struct metric_times creates[KEY_TYPE_MAX + 1]; /* by key type */
	struct metric_times destroys;
	uint64_t links; /* that came up */
};
const struct hsm_figures *hsm_figures(const struct hsm *hsm); /* borrowed */

typedef void (*hsm_create_csr_fn)(void *arg, enum err e, const char *detail,
				  const struct message_create_csr_reply *reply);
/* deadline_ms: clock_ms() time. csr_id and spec are read before the call returns. */
void hsm_create_csr(struct hsm *hsm, const char *csr_id, const struct csr_spec *spec, uint64_t deadline_ms,
		    hsm_create_csr_fn done, void *arg);

typedef void (*hsm_destroy_key_fn)(void *arg, enum err e, const char *detail, uint32_t destroyed);
/* Success means that a fresh search found no object of that label, and that the signer's journal, where it
 * still knows the key, says so. */
void hsm_destroy_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_destroy_key_fn done,
		     void *arg);

typedef void (*hsm_find_key_fn)(void *arg, enum err e, const char *detail,
				const struct message_find_key_reply *reply);
void hsm_find_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_find_key_fn done, void *arg);

typedef void (*hsm_inspect_key_fn)(void *arg, enum err e, const char *detail,
				   const struct message_inspect_key_reply *reply);
/* As find-key; and of a pair, what the token reports about it now. */
void hsm_inspect_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_inspect_key_fn done,
		     void *arg);

/* Called once for each part; the call is over at `part->last` or at the first error (part is then NULL). */
typedef void (*hsm_list_keys_fn)(void *arg, enum err e, const char *detail,
				 const struct message_list_keys_part *part);
void hsm_list_keys(struct hsm *hsm, uint64_t deadline_ms, hsm_list_keys_fn done, void *arg);

/* Success means that the signer remembers it durably, or something later of that lineage. */
typedef void (*hsm_note_store_fn)(void *arg, enum err e, const char *detail);
void hsm_note_store(struct hsm *hsm, const struct message_store *store, uint64_t deadline_ms,
		    hsm_note_store_fn done, void *arg);

/* Success means that the signer knows it durably.  May be repeated.  labels: key_label_is_valid, ≤
 * MESSAGE_CONFIRM_MAX. */
typedef void (*hsm_confirm_fn)(void *arg, enum err e, const char *detail);
void hsm_confirm(struct hsm *hsm, const struct message_confirm *confirm, uint64_t deadline_ms,
		 hsm_confirm_fn done, void *arg);

typedef void (*hsm_unsettled_fn)(void *arg, enum err e, const char *detail,
				 const struct message_unsettled_reply *reply);
/* Keys that were used for a CSR and neither confirmed nor destroyed since. */
void hsm_unsettled(struct hsm *hsm, uint64_t from, uint64_t deadline_ms, hsm_unsettled_fn done, void *arg);

typedef void (*hsm_list_pools_fn)(void *arg, enum err e, const char *detail,
				  const struct message_list_pools_reply *reply);
/* Ready keys on the token that are not of this signer's node. */
void hsm_list_pools(struct hsm *hsm, uint64_t deadline_ms, hsm_list_pools_fn done, void *arg);

/* Destroys those of one node.  What is not done in time can be requested again. */
void hsm_destroy_pool(struct hsm *hsm, const char *node, uint64_t deadline_ms, hsm_destroy_key_fn done,
		      void *arg);

typedef void (*hsm_status_fn)(void *arg, enum err e, const char *detail,
			      const struct message_status_reply *reply);
void hsm_status(struct hsm *hsm, uint64_t deadline_ms, hsm_status_fn done, void *arg);

#endif
