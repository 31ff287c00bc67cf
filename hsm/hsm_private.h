/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to hsm.c, hsm_call.c and hsm_link.c.
 *
 * The client's end of the link to one signer, in three parts: what each request
 * says and what its answer means (hsm.c), calls from when they are made until
 * their callback has run (hsm_call.c), and the socket (hsm_link.c).
 */
#ifndef CSRD_HSM_HSM_PRIVATE_H
#define CSRD_HSM_HSM_PRIVATE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "hsm/frame.h"
#include "hsm/hsm.h"
#include "hsm/message.h"
#include "loop/timer.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define HSM_SLOTS_MAX 65536
#define HSM_RESERVE_CALLS 16
#define HSM_REASON_SIZE 384
#define HSM_PEER_SIZE 512 /* its texts have at most 64 bytes each */

struct hsm_call;

/* What differs between the requests: hsm.c's. */
struct hsm_call_kind {
	enum message_type type;
	bool mutates;
	bool in_parts; /* more than one answer may come */
	bool early;    /* it is sent on a link that is not accepted yet, too */
	void (*fail)(const struct hsm_call *call, enum err e, const char *detail);
	/* Decodes an answer and hands it to the caller.  E_PROTO, E_NOMEM: the call is as it was. */
	enum err (*answer)(struct hsm_call *call, const struct frame *frame);
};

union hsm_call_done {
	hsm_create_csr_fn create_csr;
	hsm_destroy_key_fn destroy_key;
	hsm_find_key_fn find_key;
	hsm_inspect_key_fn inspect_key;
	hsm_list_keys_fn list_keys;
	hsm_list_pools_fn list_pools;
	hsm_note_store_fn note_store;
	hsm_confirm_fn confirm;
	hsm_unsettled_fn unsettled;
	hsm_status_fn status;
};

enum hsm_call_state {
	HSM_CALL_UNSENT,  /* in hsm->unsent */
	HSM_CALL_WRITING, /* its frame is partly in the socket: the signer cannot act on it yet */
	HSM_CALL_SENT,    /* waits for its answer */
	HSM_CALL_REFUSED, /* in hsm->refused: waits for the loop to tell the caller */
};

struct hsm_call {
	struct hsm *hsm;
	const struct hsm_call_kind *kind;
	struct buf payload;     /* until its frame is made */
	enum key_type key_type; /* asked for by create-csr */
	union hsm_call_done done;
	void *arg;

	/* hsm_call.c's own */
	TAILQ_ENTRY(hsm_call) next; /* in unsent or refused */
	enum hsm_call_state state;
	bool told; /* the deadline passed: the caller knows, the answer is only waited for to free the id */
	bool over; /* answered: out of all lists */
	bool is_reserve;
	uint64_t made_ns;
	uint32_t request_id;
	uint64_t deadline_ms;
	struct timer timer;
	enum err refusal;
};

enum hsm_link_state {
	HSM_LINK_DOWN,
	HSM_LINK_HELLO,
	HSM_LINK_GREETED, /* waits for hsm_accept or hsm_decline */
	HSM_LINK_UP,
	HSM_LINK_CLOSING,
};

struct hsm {
	struct event_base *base;
	char *token_name;
	char *socket_path;
	char *client_name;
	hsm_link_fn on_link;
	void (*on_hello)(void *arg, struct hsm *hsm);
	void *arg;
	uint32_t reconnect_min_ms;
	uint32_t reconnect_max_ms;
	bool tell_failures;
	uint32_t hello_timeout_ms;
	struct hsm_figures figures;

	/* Written by hsm_link.c alone. */
	enum hsm_link_state state;
	key_type_set key_types;
	struct message_store stores[MESSAGE_STORES_MAX]; /* of the last hello */
	size_t stores_len;
	char reason[HSM_REASON_SIZE]; /* "" when up */

	/* hsm_link.c's own */
	int fd;
	struct event read_event;
	struct event write_event;
	struct timer timer; /* HSM_LINK_DOWN: the next try; HSM_LINK_HELLO: how long the answer may take */
	uint32_t backoff_ms;
	uint64_t up_since_ms;
	bool answered; /* anything since the link came up */
	char peer[HSM_PEER_SIZE];
	char logged_reason[HSM_REASON_SIZE];
	struct log_gate still_down;
	uint8_t *in; /* FRAME_BYTES_MAX */
	size_t in_len;
	struct buf out; /* one frame */
	size_t out_sent;

	/* hsm_call.c's own */
	struct hsm_call **slots; /* by the low bits of the request id */
	uint32_t *free_slots;
	size_t free_len;
	size_t slots_len;
	uint16_t generation; /* the high bits */
	TAILQ_HEAD(hsm_call_list, hsm_call) unsent;
	struct hsm_call *writing; /* the one in HSM_CALL_WRITING, or NULL */
	struct hsm_call_list refused;
	struct timer refused_timer;
	unsigned owed;                              /* callers that have not been told yet */
	struct hsm_call reserve[HSM_RESERVE_CALLS]; /* to say "no memory" with, when there is none */
	unsigned reserve_used;                      /* bit set */
};

/* ---- hsm_call.c ---- */

/* For hsm_new.  E_NOMEM, and then hsm_calls_release is due all the same. */
MUST_USE enum err hsm_calls_init(struct hsm *hsm, unsigned in_flight_max);
/* Every call has ended. */
void hsm_calls_release(struct hsm *hsm);

/* Never NULL: its callback is owed.  To be filled in, and started. */
struct hsm_call *hsm_call_new(struct hsm *hsm, const struct hsm_call_kind *kind);
/* A payload that could not be made, and whatever else is in the way, is for the callback to tell. */
void hsm_call_start(struct hsm_call *call, uint64_t deadline_ms);
/* How long the signer may take: a little less than the time left, so that it gives up in time to say so. */
uint32_t hsm_call_timeout_ms(uint64_t deadline_ms);

/* For `answer`: the last answer has come, and it is good.  True when the caller is still to be told. */
bool hsm_call_over(struct hsm_call *call);
/* For `answer`: more will come.  Likewise. */
bool hsm_call_goes_on(const struct hsm_call *call);

/* Puts the frame of the next call to be sent into hsm->out; false when there is none. */
bool hsm_call_put_next(struct hsm *hsm);
/* All of that frame is in the socket. */
void hsm_call_was_put(struct hsm *hsm);
/* The one that the request was, if it waits for an answer; or NULL. */
struct hsm_call *hsm_call_find(struct hsm *hsm, uint32_t request_id);
/* Takes one answer of the signer's to it.  E_PROTO: it makes no sense, and the call is as it was. */
MUST_USE enum err hsm_call_take_answer(struct hsm_call *call, const struct frame *frame);
/* The link is lost: all that were to be sent, or were sent, end. */
void hsm_calls_fail(struct hsm *hsm, const char *why);
/* All that were refused end, and those that their callbacks make. */
void hsm_calls_end_refused(struct hsm *hsm);

/* ---- hsm_link.c ---- */

/* Tries to connect in the next turn of the loop.  E_NOMEM, and then hsm_link_release is due all the same. */
MUST_USE enum err hsm_link_init(struct hsm *hsm);
/* No callback runs, and it is not tried again. */
void hsm_link_close(struct hsm *hsm);
void hsm_link_release(struct hsm *hsm); /* after hsm_link_close, or if it never began */

/* What there is to be put is put once the socket takes it.  E_NOMEM. */
MUST_USE enum err hsm_link_want_write(struct hsm *hsm);

#endif
