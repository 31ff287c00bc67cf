/* SPDX-License-Identifier: Apache-2.0 */
/* What each request to the signer says, and what its answer means. */
#include "hsm/hsm.h"

#include "base/str.h"
#include "hsm/hsm_private.h"

#include <stdlib.h>
#include <string.h>

#define HELLO_TIMEOUT_MS 10000

/* ---- failures and answers by kind ---- */

static void fail_create_csr(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.create_csr(call->arg, e, detail, NULL);
}

static enum err answer_create_csr(struct hsm_call *call, const struct frame *frame)
{
	struct message_create_csr_reply reply;
	enum err e = message_create_csr_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (reply.key.key_type != call->key_type)
		e = E_PROTO;
	else if (hsm_call_over(call))
		call->done.create_csr(call->arg, E_OK, "", &reply);
	message_create_csr_reply_release(&reply);
	return e;
}

static void fail_destroy_key(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.destroy_key(call->arg, e, detail, 0);
}

static enum err answer_destroy_key(struct hsm_call *call, const struct frame *frame)
{
	struct message_destroy_key_reply reply;
	enum err e = message_destroy_key_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e == E_OK && hsm_call_over(call))
		call->done.destroy_key(call->arg, E_OK, "", reply.destroyed);
	return e;
}

static void fail_find_key(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.find_key(call->arg, e, detail, NULL);
}

static enum err answer_find_key(struct hsm_call *call, const struct frame *frame)
{
	struct message_find_key_reply reply;
	enum err e = message_find_key_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e == E_OK && hsm_call_over(call))
		call->done.find_key(call->arg, E_OK, "", &reply);
	return e;
}

static void fail_inspect_key(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.inspect_key(call->arg, e, detail, NULL);
}

static enum err answer_inspect_key(struct hsm_call *call, const struct frame *frame)
{
	struct message_inspect_key_reply reply;
	enum err e = message_inspect_key_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (hsm_call_over(call))
		call->done.inspect_key(call->arg, E_OK, "", &reply);
	message_inspect_key_reply_release(&reply);
	return E_OK;
}

static void fail_list_keys(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.list_keys(call->arg, e, detail, NULL);
}

static enum err answer_list_keys(struct hsm_call *call, const struct frame *frame)
{
	struct message_list_keys_part part;
	enum err e = message_list_keys_part_decode(frame->payload, frame->payload_len, &part);

	if (e != E_OK)
		return e;
	if (part.last ? hsm_call_over(call) : hsm_call_goes_on(call))
		call->done.list_keys(call->arg, E_OK, "", &part);
	message_list_keys_part_release(&part);
	return E_OK;
}

static void fail_list_pools(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.list_pools(call->arg, e, detail, NULL);
}

static enum err answer_list_pools(struct hsm_call *call, const struct frame *frame)
{
	struct message_list_pools_reply reply;
	enum err e = message_list_pools_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (hsm_call_over(call))
		call->done.list_pools(call->arg, E_OK, "", &reply);
	message_list_pools_reply_release(&reply);
	return E_OK;
}

static void fail_status(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.status(call->arg, e, detail, NULL);
}

static enum err answer_status(struct hsm_call *call, const struct frame *frame)
{
	struct message_status_reply reply;
	enum err e = message_status_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (hsm_call_over(call))
		call->done.status(call->arg, E_OK, "", &reply);
	message_status_reply_release(&reply);
	return E_OK;
}

static void fail_note_store(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.note_store(call->arg, e, detail);
}

static enum err answer_note_store(struct hsm_call *call, const struct frame *frame)
{
	if (frame->payload_len > 0)
		return E_PROTO;
	if (hsm_call_over(call))
		call->done.note_store(call->arg, E_OK, "");
	return E_OK;
}

static void fail_confirm(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.confirm(call->arg, e, detail);
}

static enum err answer_confirm(struct hsm_call *call, const struct frame *frame)
{
	if (frame->payload_len > 0)
		return E_PROTO;
	if (hsm_call_over(call))
		call->done.confirm(call->arg, E_OK, "");
	return E_OK;
}

static void fail_unsettled(const struct hsm_call *call, enum err e, const char *detail)
{
	call->done.unsettled(call->arg, e, detail, NULL);
}

static enum err answer_unsettled(struct hsm_call *call, const struct frame *frame)
{
	struct message_unsettled_reply reply;
	enum err e = message_unsettled_reply_decode(frame->payload, frame->payload_len, &reply);

	if (e != E_OK)
		return e;
	if (hsm_call_over(call))
		call->done.unsettled(call->arg, E_OK, "", &reply);
	message_unsettled_reply_release(&reply);
	return E_OK;
}

static const struct hsm_call_kind kind_create_csr = {
    .type = MESSAGE_CREATE_CSR,
    .mutates = true,
    .fail = fail_create_csr,
    .answer = answer_create_csr,
};
static const struct hsm_call_kind kind_destroy_key = {
    .type = MESSAGE_DESTROY_KEY,
    .mutates = true,
    .fail = fail_destroy_key,
    .answer = answer_destroy_key,
};
static const struct hsm_call_kind kind_find_key = {
    .type = MESSAGE_FIND_KEY,
    .fail = fail_find_key,
    .answer = answer_find_key,
};
static const struct hsm_call_kind kind_inspect_key = {
    .type = MESSAGE_INSPECT_KEY,
    .fail = fail_inspect_key,
    .answer = answer_inspect_key,
};
static const struct hsm_call_kind kind_list_keys = {
    .type = MESSAGE_LIST_KEYS,
    .in_parts = true,
    .fail = fail_list_keys,
    .answer = answer_list_keys,
};
static const struct hsm_call_kind kind_list_pools = {
    .type = MESSAGE_LIST_POOLS,
    .fail = fail_list_pools,
    .answer = answer_list_pools,
};
static const struct hsm_call_kind kind_destroy_pool = {
    .type = MESSAGE_DESTROY_POOL,
    .mutates = true,
    .fail = fail_destroy_key,
    .answer = answer_destroy_key,
};
static const struct hsm_call_kind kind_note_store = {
    .type = MESSAGE_NOTE_STORE,
    .early = true,
    .fail = fail_note_store,
    .answer = answer_note_store,
};
static const struct hsm_call_kind kind_confirm = {
    .type = MESSAGE_CONFIRM,
    .early = true,
    .fail = fail_confirm,
    .answer = answer_confirm,
};
static const struct hsm_call_kind kind_unsettled = {
    .type = MESSAGE_UNSETTLED,
    .early = true,
    .fail = fail_unsettled,
    .answer = answer_unsettled,
};
static const struct hsm_call_kind kind_status = {
    .type = MESSAGE_STATUS,
    .fail = fail_status,
    .answer = answer_status,
};

/* ---- making calls ---- */

void hsm_create_csr(struct hsm *hsm, const char *csr_id, const struct csr_spec *spec, uint64_t deadline_ms,
		    hsm_create_csr_fn done, void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_create_csr);
	struct message_create_csr m = {.timeout_ms = hsm_call_timeout_ms(deadline_ms), .spec = *spec};

	call->done.create_csr = done;
	call->arg = arg;
	call->key_type = spec->key_type;
	if (str_copy(m.csr_id, sizeof(m.csr_id), csr_id) != E_OK)
		m.csr_id[0] = '\0'; /* which encode refuses */
	message_create_csr_encode(&call->payload, &m);
	hsm_call_start(call, deadline_ms);
}

static void start_key_request(struct hsm_call *call, const char *label, uint64_t deadline_ms)
{
	struct message_key_request m = {.timeout_ms = hsm_call_timeout_ms(deadline_ms)};

	if (str_copy(m.label, sizeof(m.label), label) != E_OK)
		m.label[0] = '\0';
	message_key_request_encode(&call->payload, &m);
	hsm_call_start(call, deadline_ms);
}

void hsm_destroy_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_destroy_key_fn done,
		     void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_destroy_key);

	call->done.destroy_key = done;
	call->arg = arg;
	start_key_request(call, label, deadline_ms);
}

void hsm_find_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_find_key_fn done, void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_find_key);

	call->done.find_key = done;
	call->arg = arg;
	start_key_request(call, label, deadline_ms);
}

void hsm_inspect_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_inspect_key_fn done,
		     void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_inspect_key);

	call->done.inspect_key = done;
	call->arg = arg;
	start_key_request(call, label, deadline_ms);
}

void hsm_list_keys(struct hsm *hsm, uint64_t deadline_ms, hsm_list_keys_fn done, void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_list_keys);

	call->done.list_keys = done;
	call->arg = arg;
	message_list_keys_encode(&call->payload,
				 &(struct message_list_keys){.timeout_ms = hsm_call_timeout_ms(deadline_ms)});
	hsm_call_start(call, deadline_ms);
}

void hsm_list_pools(struct hsm *hsm, uint64_t deadline_ms, hsm_list_pools_fn done, void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_list_pools);

	call->done.list_pools = done;
	call->arg = arg;
	message_list_keys_encode(&call->payload,
				 &(struct message_list_keys){.timeout_ms = hsm_call_timeout_ms(deadline_ms)});
	hsm_call_start(call, deadline_ms);
}

void hsm_destroy_pool(struct hsm *hsm, const char *node, uint64_t deadline_ms, hsm_destroy_key_fn done,
		      void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_destroy_pool);
	struct message_destroy_pool m = {.timeout_ms = hsm_call_timeout_ms(deadline_ms)};

	call->done.destroy_key = done;
	call->arg = arg;
	if (str_copy(m.node, sizeof(m.node), node) != E_OK)
		m.node[0] = '\0'; /* which encode refuses */
	message_destroy_pool_encode(&call->payload, &m);
	hsm_call_start(call, deadline_ms);
}

void hsm_note_store(struct hsm *hsm, const struct message_store *store, uint64_t deadline_ms,
		    hsm_note_store_fn done, void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_note_store);

	call->done.note_store = done;
	call->arg = arg;
	message_note_store_encode(&call->payload, store);
	hsm_call_start(call, deadline_ms);
}

void hsm_confirm(struct hsm *hsm, const struct message_confirm *confirm, uint64_t deadline_ms,
		 hsm_confirm_fn done, void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_confirm);

	call->done.confirm = done;
	call->arg = arg;
	message_confirm_encode(&call->payload, confirm);
	hsm_call_start(call, deadline_ms);
}

void hsm_unsettled(struct hsm *hsm, uint64_t from, uint64_t deadline_ms, hsm_unsettled_fn done, void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_unsettled);

	call->done.unsettled = done;
	call->arg = arg;
	message_unsettled_encode(
	    &call->payload,
	    &(struct message_unsettled){.timeout_ms = hsm_call_timeout_ms(deadline_ms), .from = from});
	hsm_call_start(call, deadline_ms);
}

void hsm_status(struct hsm *hsm, uint64_t deadline_ms, hsm_status_fn done, void *arg)
{
	struct hsm_call *call = hsm_call_new(hsm, &kind_status);

	call->done.status = done;
	call->arg = arg;
	hsm_call_start(call, deadline_ms);
}

/* ---- life ---- */

static void hsm_release(struct hsm *hsm)
{
	hsm_calls_release(hsm);
	hsm_link_release(hsm);
	free(hsm->token_name);
	free(hsm->socket_path);
	free(hsm->client_name);
	free(hsm);
}

enum err hsm_new(struct event_base *base, const struct hsm_options *options, hsm_link_fn on_link, void *arg,
		 struct hsm **ret_hsm)
{
	struct hsm *hsm = calloc(1, sizeof(*hsm));
	enum err e;

	if (!hsm)
		return E_NOMEM;
	hsm->base = base;
	hsm->token_name = strdup(options->token_name);
	hsm->socket_path = strdup(options->socket_path);
	hsm->client_name = strdup(options->client_name);
	hsm->on_link = on_link;
	hsm->on_hello = options->on_hello;
	hsm->arg = arg;
	hsm->tell_failures = options->tell_failures;
	hsm->reconnect_min_ms = options->reconnect_min_ms > 0 ? options->reconnect_min_ms : 1;
	hsm->reconnect_max_ms = options->reconnect_max_ms > hsm->reconnect_min_ms ? options->reconnect_max_ms
										  : hsm->reconnect_min_ms;
	hsm->hello_timeout_ms = options->hello_timeout_ms > 0 ? options->hello_timeout_ms : HELLO_TIMEOUT_MS;
	e = hsm_calls_init(hsm, options->in_flight_max);
	if (e == E_OK && (!hsm->token_name || !hsm->socket_path || !hsm->client_name))
		e = E_NOMEM;
	if (e == E_OK) /* last, since it starts a timer */
		e = hsm_link_init(hsm);
	if (e != E_OK) {
		hsm_release(hsm);
		return e;
	}
	*ret_hsm = hsm;
	return E_OK;
}

void hsm_free(struct hsm *hsm)
{
	if (!hsm)
		return;
	hsm_link_close(hsm);
	hsm_calls_fail(hsm, hsm->reason);
	hsm_calls_end_refused(hsm);
	hsm_release(hsm);
}

const char *hsm_token_name(const struct hsm *hsm)
{
	return hsm->token_name;
}

bool hsm_is_up(const struct hsm *hsm)
{
	return hsm->state == HSM_LINK_UP;
}

key_type_set hsm_key_types(const struct hsm *hsm)
{
	return hsm->key_types;
}

bool hsm_remembers(const struct hsm *hsm, const uint8_t lineage[MESSAGE_LINEAGE_BYTES],
		   uint64_t *ret_sequence)
{
	if (hsm->stores_len == 0 || memcmp(hsm->stores[0].lineage, lineage, MESSAGE_LINEAGE_BYTES) != 0)
		return false;
	*ret_sequence = hsm->stores[0].sequence;
	return true;
}

bool hsm_remembers_any(const struct hsm *hsm)
{
	return hsm->stores_len > 0;
}

const char *hsm_down_reason(const struct hsm *hsm)
{
	return hsm->reason;
}

const struct hsm_figures *hsm_figures(const struct hsm *hsm)
{
	return &hsm->figures;
}

unsigned hsm_in_flight(const struct hsm *hsm)
{
	return hsm->owed;
}
