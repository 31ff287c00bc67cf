/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of the link to one signer: a unix socket, calls in flight
 * by request id, one deadline for each, and a link that is made again whenever
 * it is lost.  What the signer sends is not trusted: anything that does not
 * fit what was asked ends the link.
 */
#include "hsm/hsm.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "hsm/frame.h"
#include "loop/timer.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS_MAX 65536
#define HELLO_REQUEST_ID 0 /* no call has it: their ids start at SLOTS_MAX */
#define HELLO_TIMEOUT_MS 10000
#define STILL_DOWN_EVERY_MS 60000
#define REASON_SIZE 384
#define PEER_SIZE 512 /* its texts have at most 64 bytes each */
#define RESERVE_CALLS 16

enum call_state {
	CALL_UNSENT,  /* in hsm->unsent */
	CALL_WRITING, /* its frame is partly in the socket: the signer cannot act on it yet */
	CALL_SENT,    /* waits for its answer */
	CALL_REFUSED, /* in hsm->refused: waits for the loop to tell the caller */
};

union call_done {
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

struct call {
	TAILQ_ENTRY(call) next; /* in unsent or refused */
	struct hsm *hsm;
	const struct call_kind *kind;
	enum call_state state;
	bool told; /* the deadline passed: the caller knows, the answer is only waited for to free the id */
	bool over; /* answered: out of all lists */
	bool is_reserve;
	uint32_t request_id;
	uint64_t deadline_ms;
	struct timer timer;
	struct buf payload;     /* until its frame is made */
	enum key_type key_type; /* asked for by create-csr */
	enum err refusal;
	union call_done done;
	void *arg;
};
TAILQ_HEAD(call_list, call);

/* What differs between the requests. */
struct call_kind {
	enum message_type type;
	bool mutates;
	void (*fail)(const struct call *call, enum err e, const char *detail);
	/* Decodes an answer and hands it to the caller.  E_PROTO, E_NOMEM: the call is as it was. */
	enum err (*answer)(struct call *call, const struct frame *frame);
};

enum link_state {
	LINK_DOWN,
	LINK_HELLO,
	LINK_GREETED, /* waits for hsm_accept or hsm_decline */
	LINK_UP,
	LINK_CLOSING,
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

	enum link_state state;
	int fd;
	struct event read_event;
	struct event write_event;
	struct timer timer; /* LINK_DOWN: the next try; LINK_HELLO: how long the answer may take */
	uint32_t backoff_ms;
	uint64_t up_since_ms;
	bool answered; /* anything since the link came up */
	key_type_set key_types;
	struct message_store stores[MESSAGE_STORES_MAX]; /* of the last hello */
	size_t stores_len;
	char peer[PEER_SIZE];
	char reason[REASON_SIZE]; /* "" when up */
	char logged_reason[REASON_SIZE];
	struct log_gate still_down;

	uint8_t *in; /* FRAME_BYTES_MAX */
	size_t in_len;
	struct buf out; /* one frame */
	size_t out_sent;
	struct call *out_call; /* whose frame it is; NULL for hello */

	struct call **slots; /* by the low bits of the request id */
	uint32_t *free_slots;
	size_t free_len;
	size_t slots_len;
	uint16_t generation; /* the high bits */
	struct call_list unsent;
	struct call_list refused;
	struct timer refused_timer;
	unsigned owed;                      /* callers that have not been told yet */
	struct call reserve[RESERVE_CALLS]; /* to say "no memory" with, when there is none */
	unsigned reserve_used;              /* bit set */
};

static void link_down(struct hsm *hsm, bool broke_protocol, const char *format, ...) PRINTF_LIKE(3, 4);

/* ---- calls: memory and bookkeeping ---- */

static struct call *call_new(struct hsm *hsm, const struct call_kind *kind)
{
	struct call *call = calloc(1, sizeof(*call));

	for (unsigned i = 0; !call && i < RESERVE_CALLS; i++) {
		if (hsm->reserve_used & 1u << i)
			continue;
		hsm->reserve_used |= 1u << i;
		call = &hsm->reserve[i];
		memset(call, 0, sizeof(*call));
		call->is_reserve = true;
	}
	if (!call) {
		/* A callback is owed, later, and nothing is left to remember it by. */
		log_error("no memory for a call to signer '%s'", hsm->token_name);
		abort();
	}
	call->hsm = hsm;
	call->kind = kind;
	buf_init(&call->payload, FRAME_PAYLOAD_MAX);
	hsm->owed++;
	return call;
}

static void call_free(struct call *call)
{
	struct hsm *hsm = call->hsm;

	buf_release(&call->payload);
	if (call->is_reserve)
		hsm->reserve_used &= ~(1u << (unsigned)(call - hsm->reserve));
	else
		free(call);
}

static void call_detach(struct call *call)
{
	struct hsm *hsm = call->hsm;
	uint32_t slot = call->request_id % SLOTS_MAX;

	call->over = true;
	if (call->state == CALL_REFUSED) {
		TAILQ_REMOVE(&hsm->refused, call, next);
		return;
	}
	if (call->state == CALL_UNSENT)
		TAILQ_REMOVE(&hsm->unsent, call, next);
	if (hsm->out_call == call)
		hsm->out_call = NULL;
	timer_stop(&call->timer);
	hsm->slots[slot] = NULL;
	hsm->free_slots[hsm->free_len++] = slot;
}

/* True when the caller is still to be told, which is then up to the caller of this. */
static bool call_tell(struct call *call)
{
	if (call->told)
		return false;
	call->told = true;
	call->hsm->owed--;
	return true;
}

/* The last answer came: the id is free again.  Returns as call_tell. */
static bool call_over(struct call *call)
{
	call_detach(call);
	return call_tell(call);
}

static void call_fail(struct call *call, enum err e, const char *detail)
{
	if (call_over(call))
		call->kind->fail(call, e, detail);
	call_free(call);
}

/* What the end of the link means for a call. */
static enum err call_lost(const struct call *call)
{
	if (call->state == CALL_REFUSED)
		return call->refusal;
	return call->kind->mutates && call->state == CALL_SENT ? E_UNCERTAIN : E_UNAVAIL;
}

static void on_deadline(void *arg)
{
	struct call *call = arg;

	if (call->state == CALL_UNSENT) {
		call_fail(call, E_TIMEOUT, "the deadline passed before the request was sent");
		return;
	}
	if (call_tell(call))
		call->kind->fail(call, call->kind->mutates ? E_UNCERTAIN : E_TIMEOUT,
				 "the deadline passed before the signer answered");
}

/* ---- calls: failures and answers by kind ---- */

static void fail_create_csr(const struct call *call, enum err e, const char *detail)
{
	call->done.create_csr(call->arg, e, detail, NULL);
}

static enum err answer_create_csr(struct call *call, const struct frame *frame)
{
	struct message_create_csr_reply reply;
	enum err e = message_create_csr_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (reply.key.key_type != call->key_type)
		e = E_PROTO;
	else if (call_over(call))
		call->done.create_csr(call->arg, E_OK, "", &reply);
	message_create_csr_reply_release(&reply);
	return e;
}

static void fail_destroy_key(const struct call *call, enum err e, const char *detail)
{
	call->done.destroy_key(call->arg, e, detail, 0);
}

static enum err answer_destroy_key(struct call *call, const struct frame *frame)
{
	struct message_destroy_key_reply reply;
	enum err e = message_destroy_key_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e == E_OK && call_over(call))
		call->done.destroy_key(call->arg, E_OK, "", reply.destroyed);
	return e;
}

static void fail_find_key(const struct call *call, enum err e, const char *detail)
{
	call->done.find_key(call->arg, e, detail, NULL);
}

static enum err answer_find_key(struct call *call, const struct frame *frame)
{
	struct message_find_key_reply reply;
	enum err e = message_find_key_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e == E_OK && call_over(call))
		call->done.find_key(call->arg, E_OK, "", &reply);
	return e;
}

static void fail_inspect_key(const struct call *call, enum err e, const char *detail)
{
	call->done.inspect_key(call->arg, e, detail, NULL);
}

static enum err answer_inspect_key(struct call *call, const struct frame *frame)
{
	struct message_inspect_key_reply reply;
	enum err e = message_inspect_key_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (call_over(call))
		call->done.inspect_key(call->arg, E_OK, "", &reply);
	message_inspect_key_reply_release(&reply);
	return E_OK;
}

static void fail_list_keys(const struct call *call, enum err e, const char *detail)
{
	call->done.list_keys(call->arg, e, detail, NULL);
}

static enum err answer_list_keys(struct call *call, const struct frame *frame)
{
	struct message_list_keys_part part;
	enum err e = message_list_keys_part_decode(frame->payload, frame->payload_len, &part);

	if (e != E_OK)
		return e;
	if (part.last ? call_over(call) : !call->told)
		call->done.list_keys(call->arg, E_OK, "", &part);
	message_list_keys_part_release(&part);
	return E_OK;
}

static void fail_list_pools(const struct call *call, enum err e, const char *detail)
{
	call->done.list_pools(call->arg, e, detail, NULL);
}

static enum err answer_list_pools(struct call *call, const struct frame *frame)
{
	struct message_list_pools_reply reply;
	enum err e = message_list_pools_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (call_over(call))
		call->done.list_pools(call->arg, E_OK, "", &reply);
	message_list_pools_reply_release(&reply);
	return E_OK;
}

static void fail_status(const struct call *call, enum err e, const char *detail)
{
	call->done.status(call->arg, e, detail, NULL);
}

static enum err answer_status(struct call *call, const struct frame *frame)
{
	struct message_status_reply reply;
	enum err e = message_status_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (call_over(call))
		call->done.status(call->arg, E_OK, "", &reply);
	message_status_reply_release(&reply);
	return E_OK;
}

static void fail_note_store(const struct call *call, enum err e, const char *detail)
{
	call->done.note_store(call->arg, e, detail);
}

static enum err answer_note_store(struct call *call, const struct frame *frame)
{
	if (frame->payload_len > 0)
		return E_PROTO;
	if (call_over(call))
		call->done.note_store(call->arg, E_OK, "");
	return E_OK;
}

static void fail_confirm(const struct call *call, enum err e, const char *detail)
{
	call->done.confirm(call->arg, e, detail);
}

static enum err answer_confirm(struct call *call, const struct frame *frame)
{
	if (frame->payload_len > 0)
		return E_PROTO;
	if (call_over(call))
		call->done.confirm(call->arg, E_OK, "");
	return E_OK;
}

static void fail_unsettled(const struct call *call, enum err e, const char *detail)
{
	call->done.unsettled(call->arg, e, detail, NULL);
}

static enum err answer_unsettled(struct call *call, const struct frame *frame)
{
	struct message_unsettled_reply reply;
	enum err e = message_unsettled_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (call_over(call))
		call->done.unsettled(call->arg, E_OK, "", &reply);
	message_unsettled_reply_release(&reply);
	return E_OK;
}

static const struct call_kind kind_create_csr = {MESSAGE_CREATE_CSR, true, fail_create_csr,
						 answer_create_csr};
static const struct call_kind kind_destroy_key = {MESSAGE_DESTROY_KEY, true, fail_destroy_key,
						  answer_destroy_key};
static const struct call_kind kind_find_key = {MESSAGE_FIND_KEY, false, fail_find_key, answer_find_key};
static const struct call_kind kind_inspect_key = {MESSAGE_INSPECT_KEY, false, fail_inspect_key,
						  answer_inspect_key};
static const struct call_kind kind_list_keys = {MESSAGE_LIST_KEYS, false, fail_list_keys, answer_list_keys};
static const struct call_kind kind_list_pools = {MESSAGE_LIST_POOLS, false, fail_list_pools,
						 answer_list_pools};
static const struct call_kind kind_destroy_pool = {MESSAGE_DESTROY_POOL, true, fail_destroy_key,
						   answer_destroy_key};
static const struct call_kind kind_note_store = {MESSAGE_NOTE_STORE, false, fail_note_store,
						 answer_note_store};
static const struct call_kind kind_confirm = {MESSAGE_CONFIRM, false, fail_confirm, answer_confirm};
static const struct call_kind kind_unsettled = {MESSAGE_UNSETTLED, false, fail_unsettled, answer_unsettled};
static const struct call_kind kind_status = {MESSAGE_STATUS, false, fail_status, answer_status};

/* An error reply.  A read that went wrong changed nothing, so it is never uncertain. */
static enum err answer_error(struct call *call, const struct frame *frame)
{
	struct message_error error;
	enum err e = message_error_decode(frame->payload, frame->payload_len, &error);

	if (e != E_OK)
		return e;
	if (error.code == E_UNCERTAIN && !call->kind->mutates)
		error.code = E_HSM;
	if (call_over(call))
		call->kind->fail(call, error.code, error.detail);
	message_error_release(&error);
	return E_OK;
}

/* The answer is there and cannot be taken in. */
static void answer_lost(struct call *call)
{
	if (call_tell(call))
		call->kind->fail(call, call->kind->mutates ? E_UNCERTAIN : E_NOMEM,
				 "no memory for the answer");
	if (call->kind != &kind_list_keys) /* whose other parts may follow */
		call_detach(call);
}

static bool hsm_take_answer(struct hsm *hsm, const struct frame *frame)
{
	uint32_t slot = frame->request_id % SLOTS_MAX;
	struct call *call = slot < hsm->slots_len ? hsm->slots[slot] : NULL;
	enum err e = E_PROTO;

	if (!call || call->request_id != frame->request_id || call->state != CALL_SENT) {
		link_down(hsm, true, "it answered request %u, which was not asked", frame->request_id);
		return false;
	}
	if (frame->type == MESSAGE_ERROR)
		e = answer_error(call, frame);
	else if (frame->type == (unsigned)(call->kind->type | MESSAGE_REPLY))
		e = call->kind->answer(call, frame);
	if (e == E_NOMEM)
		answer_lost(call);
	if (call->over)
		call_free(call);
	if (e != E_PROTO) {
		hsm->answered = true;
		return true;
	}
	link_down(hsm, true, "its answer of type 0x%04x to a request of type 0x%04x makes no sense",
		  frame->type, (unsigned)call->kind->type);
	return false;
}

/* ---- the link ---- */

/* One line for each change of the reason, and a reminder now and then. */
static void log_down(struct hsm *hsm)
{
	const struct log_context context = {.token = hsm->token_name};
	unsigned suppressed;

	if (strcmp(hsm->reason, hsm->logged_reason) != 0) {
		memcpy(hsm->logged_reason, hsm->reason, REASON_SIZE);
		hsm->still_down = (struct log_gate){.last_ms = clock_ms()};
		log_write(LOG_LEVEL_WARN, &context, "signer '%s' is down: %s", hsm->token_name, hsm->reason);
	} else if (log_gate_pass(&hsm->still_down, STILL_DOWN_EVERY_MS, &suppressed)) {
		log_write(LOG_LEVEL_WARN, &context, "signer '%s' is still down after %u more tries: %s",
			  hsm->token_name, suppressed + 1, hsm->reason);
	}
}

static void close_socket(struct hsm *hsm)
{
	if (hsm->fd < 0)
		return;
	event_del(&hsm->read_event);
	event_del(&hsm->write_event);
	fd_close(&hsm->fd);
	buf_reset(&hsm->out);
	hsm->out_sent = 0;
	hsm->out_call = NULL;
	hsm->in_len = 0;
}

static void fail_calls(struct hsm *hsm, const char *why)
{
	char detail[REASON_SIZE + 32];

	snprintf(detail, sizeof(detail), "the link to the signer is lost: %s", why);
	for (size_t i = 0; i < hsm->slots_len; i++)
		if (hsm->slots[i])
			call_fail(hsm->slots[i], call_lost(hsm->slots[i]), detail);
}

/*
 * A link that was of use is tried again soon; a signer that cannot be reached,
 * or that hangs up or breaks the protocol whenever it is, less and less often.
 */
static void link_down(struct hsm *hsm, bool broke_protocol, const char *format, ...)
{
	bool was_up = hsm->state == LINK_UP;
	va_list args;

	va_start(args, format);
	vsnprintf(hsm->reason, sizeof(hsm->reason), format, args);
	va_end(args);
	hsm->state = LINK_DOWN;
	close_socket(hsm);
	log_down(hsm);
	if (was_up && !broke_protocol &&
	    (hsm->answered || clock_ms() - hsm->up_since_ms >= hsm->reconnect_max_ms))
		hsm->backoff_ms = hsm->reconnect_min_ms;
	timer_start(&hsm->timer, hsm->backoff_ms);
	hsm->backoff_ms =
	    hsm->backoff_ms > hsm->reconnect_max_ms / 2 ? hsm->reconnect_max_ms : 2 * hsm->backoff_ms;
	fail_calls(hsm, hsm->reason);
	if ((was_up || hsm->tell_failures) && hsm->on_link)
		hsm->on_link(hsm->arg, hsm, false);
}

static void link_up(struct hsm *hsm)
{
	const struct log_context context = {.token = hsm->token_name};

	hsm->state = LINK_UP;
	hsm->up_since_ms = clock_ms();
	hsm->answered = false;
	hsm->reason[0] = '\0';
	hsm->logged_reason[0] = '\0';
	log_write(LOG_LEVEL_NOTICE, &context, "signer '%s' is up: %s", hsm->token_name, hsm->peer);
	if (hsm->on_link)
		hsm->on_link(hsm->arg, hsm, true);
}

/* What the log says of the signer once the link is up. */
static void describe_peer(struct hsm *hsm, const struct message_hello_reply *hello)
{
	struct buf types;

	buf_init(&types, 256);
	key_type_set_format(hello->key_types, &types);
	snprintf(hsm->peer, sizeof(hsm->peer),
		 "token '%s', serial '%s', manufacturer '%s', model '%s', key types '%s'", hello->token_label,
		 hello->token_serial, hello->token_manufacturer, hello->token_model, buf_text(&types));
	buf_release(&types);
}

static void link_greeted(struct hsm *hsm, const struct message_hello_reply *hello)
{
	timer_stop(&hsm->timer);
	hsm->key_types = hello->key_types;
	hsm->stores_len = hello->stores_len;
	memcpy(hsm->stores, hello->stores, sizeof(hsm->stores));
	describe_peer(hsm, hello);
	if (!hsm->on_hello) {
		link_up(hsm);
		return;
	}
	hsm->state = LINK_GREETED;
	snprintf(hsm->reason, sizeof(hsm->reason), "what it remembers of the store is being looked at");
	hsm->on_hello(hsm->arg, hsm);
}

void hsm_accept(struct hsm *hsm)
{
	if (hsm->state == LINK_GREETED)
		link_up(hsm);
}

void hsm_decline(struct hsm *hsm, const char *why)
{
	if (hsm->state == LINK_GREETED)
		link_down(hsm, false, "%s", why);
}

static void hello_refused(struct hsm *hsm, const struct frame *frame)
{
	struct message_error error;

	if (message_error_decode(frame->payload, frame->payload_len, &error) != E_OK) {
		link_down(hsm, true, "its answer to hello makes no sense");
		return;
	}
	link_down(hsm, false, "it refused: %s: %s", err_str(error.code), error.detail);
	message_error_release(&error);
}

static bool take_hello(struct hsm *hsm, const struct frame *frame)
{
	struct message_hello_reply hello;
	bool ok = false;

	if (frame->request_id == HELLO_REQUEST_ID && frame->type == MESSAGE_ERROR) {
		hello_refused(hsm, frame);
		return false;
	}
	if (frame->request_id != HELLO_REQUEST_ID || frame->type != (MESSAGE_HELLO | MESSAGE_REPLY) ||
	    message_hello_reply_decode(frame->payload, frame->payload_len, &hello) != E_OK) {
		link_down(hsm, true, "its answer to hello makes no sense");
		return false;
	}
	if (hello.version != MESSAGE_PROTOCOL_VERSION)
		link_down(hsm, true, "it speaks version %u of the protocol, this program version %u",
			  hello.version, MESSAGE_PROTOCOL_VERSION);
	else if (strcmp(hello.token_name, hsm->token_name) != 0)
		link_down(hsm, true, "the signer at '%s' serves token '%s'", hsm->socket_path,
			  hello.token_name);
	else
		ok = true;
	if (ok)
		link_greeted(hsm, &hello);
	message_hello_reply_release(&hello);
	return ok;
}

static void take_frames(struct hsm *hsm)
{
	size_t done = 0;

	for (;;) {
		struct frame frame;
		size_t consumed;
		enum err e = frame_parse(hsm->in + done, hsm->in_len - done, &frame, &consumed);

		if (e == E_BUSY)
			break;
		if (e != E_OK) {
			link_down(hsm, true, "it sent a frame of an impossible length");
			return;
		}
		if (!(hsm->state == LINK_HELLO ? take_hello(hsm, &frame) : hsm_take_answer(hsm, &frame)))
			return;
		done += consumed;
	}
	hsm->in_len -= done;
	if (done > 0 && hsm->in_len > 0)
		memmove(hsm->in, hsm->in + done, hsm->in_len);
}

/* A whole frame always fits the buffer and is taken out at once, so there is room to read into. */
static void hsm_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct hsm *hsm = arg;
	ssize_t n;

	(void)what;
	n = read(fd, hsm->in + hsm->in_len, FRAME_BYTES_MAX - hsm->in_len);
	if (n > 0) {
		hsm->in_len += (size_t)n;
		take_frames(hsm);
	} else if (n == 0) {
		link_down(hsm, false, "it closed the connection");
	} else if (errno != EAGAIN && errno != EINTR) {
		link_down(hsm, false, "cannot read from '%s': %s", hsm->socket_path, strerror(errno));
	}
}

/* Puts the next call's frame into hsm->out; false when there is none. */
static bool next_frame(struct hsm *hsm)
{
	struct call *call;

	while ((call = TAILQ_FIRST(&hsm->unsent))) {
		enum err e;

		buf_reset(&hsm->out);
		hsm->out_sent = 0;
		frame_put(&hsm->out, call->request_id, (uint16_t)call->kind->type, call->payload.data,
			  call->payload.len);
		e = buf_status(&hsm->out);
		if (e != E_OK) {
			buf_reset(&hsm->out);
			call_fail(call, e, "no memory for the request");
			continue;
		}
		TAILQ_REMOVE(&hsm->unsent, call, next);
		buf_release(&call->payload);
		call->state = CALL_WRITING;
		hsm->out_call = call;
		return true;
	}
	return false;
}

static void write_failed(struct hsm *hsm, int error)
{
	if (error == EAGAIN) {
		if (event_add(&hsm->write_event, NULL))
			link_down(hsm, false, "no memory to wait for '%s'", hsm->socket_path);
		return;
	}
	/* What the signer said last says more than the error. */
	hsm_on_readable(hsm->fd, EV_READ, hsm);
	if (hsm->fd >= 0)
		link_down(hsm, false, "cannot write to '%s': %s", hsm->socket_path, strerror(error));
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct hsm *hsm = arg;

	(void)what;
	while (hsm->out_sent < hsm->out.len || next_frame(hsm)) {
		ssize_t n =
		    send(fd, hsm->out.data + hsm->out_sent, hsm->out.len - hsm->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			write_failed(hsm, errno);
			return;
		}
		hsm->out_sent += (size_t)n;
		if (hsm->out_sent == hsm->out.len && hsm->out_call) {
			hsm->out_call->state = CALL_SENT;
			hsm->out_call = NULL;
		}
	}
}

static enum err put_hello(struct hsm *hsm)
{
	struct buf payload;
	enum err e;

	buf_init(&payload, 1024);
	message_hello_encode(&payload, &(struct message_hello){.version = MESSAGE_PROTOCOL_VERSION,
							       .client = hsm->client_name});
	e = buf_status(&payload);
	if (e == E_OK) {
		frame_put(&hsm->out, HELLO_REQUEST_ID, MESSAGE_HELLO, payload.data, payload.len);
		e = buf_status(&hsm->out);
	}
	buf_release(&payload);
	return e;
}

static void link_start(struct hsm *hsm)
{
	enum err e = fd_unix_connect(hsm->socket_path, &hsm->fd);

	if (e == E_UNAVAIL) {
		link_down(hsm, false, "nobody listens on '%s'", hsm->socket_path);
		return;
	}
	if (e != E_OK) {
		link_down(hsm, false, "cannot connect to '%s': %s", hsm->socket_path, err_str(e));
		return;
	}
	hsm->state = LINK_HELLO;
	event_assign(&hsm->read_event, hsm->base, hsm->fd, EV_READ | EV_PERSIST, hsm_on_readable, hsm);
	event_assign(&hsm->write_event, hsm->base, hsm->fd, EV_WRITE, on_writable, hsm);
	if (put_hello(hsm) != E_OK || event_add(&hsm->read_event, NULL) ||
	    event_add(&hsm->write_event, NULL)) {
		link_down(hsm, false, "no memory to connect to '%s'", hsm->socket_path);
		return;
	}
	timer_start(&hsm->timer, hsm->hello_timeout_ms);
}

static void hsm_on_timer(void *arg)
{
	struct hsm *hsm = arg;

	if (hsm->state == LINK_DOWN)
		link_start(hsm);
	else if (hsm->state == LINK_HELLO)
		link_down(hsm, false, "no answer to hello within %u ms on '%s'", hsm->hello_timeout_ms,
			  hsm->socket_path);
}

/* ---- making calls ---- */

static const char *refusal_detail(const struct call *call)
{
	switch (call->refusal) {
	case E_UNAVAIL:
		return call->hsm->state == LINK_UP ? "there was no link to the signer" : call->hsm->reason;
	case E_BUSY:
		return "too many calls in flight";
	case E_TIMEOUT:
		return "the deadline passed before the request was sent";
	case E_INVAL:
		return "the values do not fit a message";
	default:
		return "no memory for the request";
	}
}

static void on_refused(void *arg)
{
	struct hsm *hsm = arg;
	struct call_list now = TAILQ_HEAD_INITIALIZER(now);
	struct call *call;

	/* Only those of before: a callback that calls again does not hold up the loop. */
	TAILQ_CONCAT(&now, &hsm->refused, next);
	while ((call = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, call, next);
		TAILQ_INSERT_HEAD(&hsm->refused, call, next);
		call_fail(call, call->refusal, refusal_detail(call));
	}
}

static void call_refuse(struct call *call, enum err e)
{
	struct hsm *hsm = call->hsm;

	call->state = CALL_REFUSED;
	call->refusal = e;
	TAILQ_INSERT_TAIL(&hsm->refused, call, next);
	timer_start(&hsm->refused_timer, 0);
}

static bool time_left(uint64_t deadline_ms, uint32_t *ret_ms)
{
	uint64_t now = clock_ms();

	if (deadline_ms <= now)
		return false;
	*ret_ms = deadline_ms - now > UINT32_MAX ? UINT32_MAX : (uint32_t)(deadline_ms - now);
	return true;
}

/* A little less than the time left: a signer that gives up in time says so in time. */
static uint32_t timeout_for_signer(uint64_t deadline_ms)
{
	uint32_t left_ms = 0;

	if (!time_left(deadline_ms, &left_ms))
		return 0;
	return left_ms - (left_ms / 20 > 500 ? 500 : left_ms / 20);
}

/* What is asked while it is not decided whether the link may be used. */
static bool call_is_of_greeting(const struct call *call)
{
	return call->kind == &kind_note_store || call->kind == &kind_confirm || call->kind == &kind_unsettled;
}

static enum err call_queue(struct call *call)
{
	struct hsm *hsm = call->hsm;
	enum err e = buf_status(&call->payload);
	uint32_t slot;
	uint32_t left_ms;

	if (hsm->state != LINK_UP && !(hsm->state == LINK_GREETED && call_is_of_greeting(call)))
		return E_UNAVAIL;
	if (e != E_OK)
		return e == E_LIMIT ? E_INVAL : e;
	if (call->is_reserve)
		return E_NOMEM;
	if (!time_left(call->deadline_ms, &left_ms))
		return E_TIMEOUT;
	if (hsm->free_len == 0)
		return E_BUSY;
	if (event_add(&hsm->write_event, NULL))
		return E_NOMEM;
	slot = hsm->free_slots[--hsm->free_len];
	hsm->slots[slot] = call;
	if (++hsm->generation == 0)
		hsm->generation = 1;
	call->request_id = (uint32_t)hsm->generation * SLOTS_MAX + slot;
	call->state = CALL_UNSENT;
	TAILQ_INSERT_TAIL(&hsm->unsent, call, next);
	timer_init(&call->timer, hsm->base, on_deadline, call);
	timer_start(&call->timer, left_ms);
	return E_OK;
}

static void call_start(struct call *call, uint64_t deadline_ms)
{
	enum err e;

	call->deadline_ms = deadline_ms;
	e = call_queue(call);
	if (e != E_OK)
		call_refuse(call, e);
}

void hsm_create_csr(struct hsm *hsm, const char *csr_id, const struct csr_spec *spec, uint64_t deadline_ms,
		    hsm_create_csr_fn done, void *arg)
{
	struct call *call = call_new(hsm, &kind_create_csr);
	struct message_create_csr m = {.timeout_ms = timeout_for_signer(deadline_ms), .spec = *spec};

	call->done.create_csr = done;
	call->arg = arg;
	call->key_type = spec->key_type;
	if (str_copy(m.csr_id, sizeof(m.csr_id), csr_id) != E_OK)
		m.csr_id[0] = '\0'; /* which encode refuses */
	message_create_csr_encode(&call->payload, &m);
	call_start(call, deadline_ms);
}

static void start_key_request(struct call *call, const char *label, uint64_t deadline_ms)
{
	struct message_key_request m = {.timeout_ms = timeout_for_signer(deadline_ms)};

	if (str_copy(m.label, sizeof(m.label), label) != E_OK)
		m.label[0] = '\0';
	message_key_request_encode(&call->payload, &m);
	call_start(call, deadline_ms);
}

void hsm_destroy_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_destroy_key_fn done,
		     void *arg)
{
	struct call *call = call_new(hsm, &kind_destroy_key);

	call->done.destroy_key = done;
	call->arg = arg;
	start_key_request(call, label, deadline_ms);
}

void hsm_find_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_find_key_fn done, void *arg)
{
	struct call *call = call_new(hsm, &kind_find_key);

	call->done.find_key = done;
	call->arg = arg;
	start_key_request(call, label, deadline_ms);
}

void hsm_inspect_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_inspect_key_fn done,
		     void *arg)
{
	struct call *call = call_new(hsm, &kind_inspect_key);

	call->done.inspect_key = done;
	call->arg = arg;
	start_key_request(call, label, deadline_ms);
}

void hsm_list_keys(struct hsm *hsm, uint64_t deadline_ms, hsm_list_keys_fn done, void *arg)
{
	struct call *call = call_new(hsm, &kind_list_keys);

	call->done.list_keys = done;
	call->arg = arg;
	message_list_keys_encode(&call->payload,
				 &(struct message_list_keys){.timeout_ms = timeout_for_signer(deadline_ms)});
	call_start(call, deadline_ms);
}

void hsm_list_pools(struct hsm *hsm, uint64_t deadline_ms, hsm_list_pools_fn done, void *arg)
{
	struct call *call = call_new(hsm, &kind_list_pools);

	call->done.list_pools = done;
	call->arg = arg;
	message_list_keys_encode(&call->payload,
				 &(struct message_list_keys){.timeout_ms = timeout_for_signer(deadline_ms)});
	call_start(call, deadline_ms);
}

void hsm_destroy_pool(struct hsm *hsm, const char *node, uint64_t deadline_ms, hsm_destroy_key_fn done,
		      void *arg)
{
	struct call *call = call_new(hsm, &kind_destroy_pool);
	struct message_destroy_pool m = {.timeout_ms = timeout_for_signer(deadline_ms)};

	call->done.destroy_key = done;
	call->arg = arg;
	if (str_copy(m.node, sizeof(m.node), node) != E_OK)
		m.node[0] = '\0'; /* which encode refuses */
	message_destroy_pool_encode(&call->payload, &m);
	call_start(call, deadline_ms);
}

void hsm_note_store(struct hsm *hsm, const struct message_store *store, uint64_t deadline_ms,
		    hsm_note_store_fn done, void *arg)
{
	struct call *call = call_new(hsm, &kind_note_store);

	call->done.note_store = done;
	call->arg = arg;
	message_note_store_encode(&call->payload, store);
	call_start(call, deadline_ms);
}

void hsm_confirm(struct hsm *hsm, const struct message_confirm *confirm, uint64_t deadline_ms,
		 hsm_confirm_fn done, void *arg)
{
	struct call *call = call_new(hsm, &kind_confirm);

	call->done.confirm = done;
	call->arg = arg;
	message_confirm_encode(&call->payload, confirm);
	call_start(call, deadline_ms);
}

void hsm_unsettled(struct hsm *hsm, uint64_t from, uint64_t deadline_ms, hsm_unsettled_fn done, void *arg)
{
	struct call *call = call_new(hsm, &kind_unsettled);

	call->done.unsettled = done;
	call->arg = arg;
	message_unsettled_encode(
	    &call->payload,
	    &(struct message_unsettled){.timeout_ms = timeout_for_signer(deadline_ms), .from = from});
	call_start(call, deadline_ms);
}

void hsm_status(struct hsm *hsm, uint64_t deadline_ms, hsm_status_fn done, void *arg)
{
	struct call *call = call_new(hsm, &kind_status);

	call->done.status = done;
	call->arg = arg;
	call_start(call, deadline_ms);
}

/* ---- life ---- */

static void hsm_release(struct hsm *hsm)
{
	free(hsm->token_name);
	free(hsm->socket_path);
	free(hsm->client_name);
	free(hsm->in);
	free(hsm->slots);
	free(hsm->free_slots);
	buf_release(&hsm->out);
	free(hsm);
}

static bool allocate(struct hsm *hsm, const struct hsm_options *options)
{
	hsm->slots_len = options->in_flight_max;
	if (hsm->slots_len < 1)
		hsm->slots_len = 1;
	if (hsm->slots_len > SLOTS_MAX)
		hsm->slots_len = SLOTS_MAX;
	hsm->token_name = strdup(options->token_name);
	hsm->socket_path = strdup(options->socket_path);
	hsm->client_name = strdup(options->client_name);
	hsm->in = malloc(FRAME_BYTES_MAX);
	hsm->slots = calloc(hsm->slots_len, sizeof(struct call *));
	hsm->free_slots = calloc(hsm->slots_len, sizeof(uint32_t));
	if (!hsm->token_name || !hsm->socket_path || !hsm->client_name || !hsm->in || !hsm->slots ||
	    !hsm->free_slots)
		return false;
	while (hsm->free_len < hsm->slots_len) {
		hsm->free_slots[hsm->free_len] = (uint32_t)(hsm->slots_len - 1 - hsm->free_len);
		hsm->free_len++;
	}
	return true;
}

enum err hsm_new(struct event_base *base, const struct hsm_options *options, hsm_link_fn on_link, void *arg,
		 struct hsm **ret_hsm)
{
	struct hsm *hsm = calloc(1, sizeof(*hsm));

	if (!hsm)
		return E_NOMEM;
	buf_init(&hsm->out, FRAME_BYTES_MAX);
	if (!allocate(hsm, options)) {
		hsm_release(hsm);
		return E_NOMEM;
	}
	hsm->base = base;
	hsm->on_link = on_link;
	hsm->on_hello = options->on_hello;
	hsm->arg = arg;
	hsm->tell_failures = options->tell_failures;
	hsm->fd = -1;
	hsm->reconnect_min_ms = options->reconnect_min_ms > 0 ? options->reconnect_min_ms : 1;
	hsm->reconnect_max_ms = options->reconnect_max_ms > hsm->reconnect_min_ms ? options->reconnect_max_ms
										  : hsm->reconnect_min_ms;
	hsm->hello_timeout_ms = options->hello_timeout_ms > 0 ? options->hello_timeout_ms : HELLO_TIMEOUT_MS;
	hsm->backoff_ms = hsm->reconnect_min_ms;
	TAILQ_INIT(&hsm->unsent);
	TAILQ_INIT(&hsm->refused);
	snprintf(hsm->reason, sizeof(hsm->reason), "not connected yet");
	timer_init(&hsm->timer, base, hsm_on_timer, hsm);
	timer_init(&hsm->refused_timer, base, on_refused, hsm);
	timer_start(&hsm->timer, 0);
	*ret_hsm = hsm;
	return E_OK;
}

void hsm_free(struct hsm *hsm)
{
	if (!hsm)
		return;
	hsm->state = LINK_CLOSING;
	snprintf(hsm->reason, sizeof(hsm->reason), "this program is closing it");
	close_socket(hsm);
	timer_stop(&hsm->timer);
	fail_calls(hsm, hsm->reason);
	while (!TAILQ_EMPTY(&hsm->refused))
		on_refused(hsm);
	timer_stop(&hsm->refused_timer);
	hsm_release(hsm);
}

const char *hsm_token_name(const struct hsm *hsm)
{
	return hsm->token_name;
}

bool hsm_is_up(const struct hsm *hsm)
{
	return hsm->state == LINK_UP;
}

key_type_set hsm_key_types(const struct hsm *hsm)
{
	return hsm->key_types;
}

bool hsm_remembers(const struct hsm *hsm, const uint8_t lineage[MESSAGE_LINEAGE_BYTES],
		   uint64_t *ret_sequence)
{
	for (size_t i = 0; i < hsm->stores_len; i++) {
		if (memcmp(hsm->stores[i].lineage, lineage, MESSAGE_LINEAGE_BYTES) != 0)
			continue;
		*ret_sequence = hsm->stores[i].sequence;
		return true;
	}
	return false;
}

bool hsm_remembers_any(const struct hsm *hsm)
{
	return hsm->stores_len > 0;
}

const char *hsm_down_reason(const struct hsm *hsm)
{
	return hsm->reason;
}

unsigned hsm_in_flight(const struct hsm *hsm)
{
	return hsm->owed;
}
